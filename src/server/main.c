/* main.c -- Arguments and the start of the process.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void usage(void)
{
    puts("Usage: kv-server [/path/to/kv.conf] [options] [-]\n"
         "       kv-server - (read the configuration from standard input)\n"
         "       kv-server -v or --version\n"
         "       kv-server -h or --help\n"
         "       kv-server --test-memory <megabytes> [passes]\n"
         "       kv-server --check-system        (is this machine set up well; 1: no)\n"
         "       kv-server --print-config        (every directive with its default)\n"
         "       kv-server --list-fault-points   (test builds)\n"
         "\n"
         "Options are directives of the configuration file: --port 7777 --threads 4 --save ''\n"
         "A last argument - reads more of it from standard input.\n"
         "--force-lossy-recovery cuts a damaged log instead of refusing to start, keeps the old "
         "files aside, and says what was lost.\n"
         "\n"
         "Exit status: 0 stopped as asked, 1 could not start or a second SIGINT, 71 out of memory, "
         "72 the log could not be written or synced\n"
         "(a restart finds everything acknowledged), 73 the log is damaged below what was "
         "acknowledged.");
}

#ifdef KV_FAULTS
static void print_name(void *arg, const char *name)
{
    (void)arg;
    puts(name);
}
#endif

static bool wants(int argc, char **argv, const char *a, const char *b)
{
    return argc >= 2 && (strcmp(argv[1], a) == 0 || (b != NULL && strcmp(argv[1], b) == 0));
}

/* Options that print and end. */
static bool informational(int argc, char **argv, struct server *s)
{
    if (wants(argc, argv, "-v", "--version")) {
        /* Harnesses read the surface they may use from "v=". */
        printf("Redis server v=%s sha=00000000:0 malloc=%s bits=64 build=0 (kv %s)\n",
               REDIS_VERSION, mem_library(), KV_VERSION);
        return true;
    }
    if (wants(argc, argv, "-h", "--help")) {
        usage();
        return true;
    }
    if (wants(argc, argv, "--print-config", NULL)) {
        struct buf text = { 0 };
        config_print_default(s->config, &text);
        fwrite(text.p, 1, text.n, stdout);
        buf_free(&text);
        return true;
    }
    if (wants(argc, argv, "--list-fault-points", NULL)) {
#ifdef KV_FAULTS
        fault_list(print_name, NULL);
#else
        puts("this build has none");
#endif
        return true;
    }
    return false;
}

/* --force-lossy-recovery stands for itself: no directive, or a configuration file could make it
 * permanent. */
static int take_force_lossy(int argc, char **argv, bool *force)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--force-lossy-recovery") == 0) {
            *force = true;
        } else {
            argv[n++] = argv[i];
        }
    }
    return n;
}

static bool load_config(struct server *s, int argc, char **argv, struct buf *error)
{
    int i = 1;
    if (i < argc && strncmp(argv[i], "--", 2) != 0 &&
        !config_load_file(s->config, argv[i++], error)) {
        return false;
    }
    if (i < argc && strcmp(argv[argc - 1], "-") == 0) {
        argc--;
        if (!config_load_file(s->config, "-", error)) {
            return false;
        }
    }
    return config_load_args(s->config, argc - i, argv + i, error);
}

int main(int argc, char **argv)
{
    clock_init();
    uint8_t seed[16];
    rng_secret(seed, sizeof seed);
    hash_seed(seed);
#ifdef KV_FAULTS
    fault_arm_env();
#endif
    struct server *s = server_new();
    bool force_lossy = false;
    int given = argc;
    argc = take_force_lossy(argc, argv, &force_lossy);
    if (informational(argc, argv, s)) {
        return 0;
    }
    struct buf error = { 0 };
    if (argc >= 2 && strcmp(argv[1], "--check-system") == 0) {
        return system_check();
    }
    if (argc >= 2 && strcmp(argv[1], "--test-memory") == 0) {
        return memory_test(argc >= 3 ? argv[2] : "", argc >= 4 ? argv[3] : NULL);
    }
    if (!load_config(s, argc, argv, &error)) {
        fprintf(stderr, "%.*s\n", (int)error.n, error.p);
        buf_free(&error);
        return 1;
    }
    buf_free(&error);
    process_title_init(s, given, argv);
    return server_run(s, force_lossy);
}
