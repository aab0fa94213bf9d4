/* main.c -- Composition root, first form: starts store, log, engine and network from a handful of
 * arguments. SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "commands/commands.h"
#include "exec/exec.h"
#include "net/net.h"
#include "wal/wal.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *arg_of(int argc, char **argv, const char *name, const char *def)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0) {
            return argv[i + 1];
        }
    }
    return def;
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
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    unsigned threads = (unsigned)atoi(arg_of(argc, argv, "threads", "2"));
    bool log_on = strcmp(arg_of(argc, argv, "appendonly", "yes"), "yes") == 0;
    const char *fs = arg_of(argc, argv, "appendfsync", "always");
    struct keyspace *ks;
    struct exec *x;
    struct keyspace_config kc = { .shards = 1024, .databases = 16 };
    if (keyspace_new(&ks, &kc) != 0) {
        return 1;
    }
    struct exec_config ec = { .ks = ks, .reactors = threads };
    if (exec_new(&x, &ec) != 0) {
        return 1;
    }
    struct exec_options *o = exec_options(x);
    o->active_expire = 1;
    o->durable_reads = 1;
    o->proto_max_bulk_len = 512 << 20;
    o->client_query_buffer_limit = 1 << 30;
    o->list_max_listpack_size = -2;
    for (const struct command *const *f = command_families; *f != NULL; f++) {
        exec_register(x, *f);
    }
    exec_prepare(x);
    struct wal *w = NULL;
    if (log_on) {
        struct wal_config wc = { .dir = arg_of(argc, argv, "dir", "."),
                                 .producers = threads + 1,
                                 .depth = 2, .segment_bytes = 64 << 20, .queue_bytes = 64 << 20,
                                 .wake = exec_wal_wake,
                                 .wake_arg = x };
        wc.sync = strcmp(fs, "always") == 0 ? WAL_SYNC_ALWAYS
                  : strcmp(fs, "no") == 0   ? WAL_SYNC_NO
                                            : WAL_SYNC_EVERYSEC;
        struct wal_report rep;
        int rc = wal_open(&w, &wc, &rep);
        if (rc != 0) {
            log_warning("Can't open the log: %d %s", rc, rep.message);
            return 1;
        }
        rc = exec_replay(x, w, threads);
        if (rc != 0 || (rc = wal_start(w)) != 0) {
            log_warning("Can't recover the log: %d", rc);
            return 1;
        }
        exec_set_wal(x, w);
    }
    struct net_upcalls up;
    exec_net_upcalls(x, &up);
    const char *bind[] = { "127.0.0.1" };
    struct net_config nc = { .threads = threads,
                             .bind = bind,
                             .nbind = 1,
                             .port = atoi(arg_of(argc, argv, "port", "6379")),
                             .backlog = 511,
                             .maxclients = 10000,
                             .keepalive_s = 300,
                             .scratch_bytes = 65536 };
    struct net *n;
    struct buf err = { 0 };
    if (net_open(&n, &nc, &up, &err) != 0) {
        log_warning("%.*s", (int)err.n, err.p);
        return 1;
    }
    exec_set_net(x, n);
    if (net_start(n) != 0) {
        return 1;
    }
    log_notice("Ready to accept connections");
    int sig;
    sigwait(&set, &sig);
    net_stop(n);
    if (w != NULL && wal_stop(w) != 0) {
        return 1;
    }
    net_free(n);
    exec_free(x);
    return 0;
}
