/* syscheck.c -- --check-system and --test-memory: is this machine fit to run a server?
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  The main thread, instead of serving. */
#include "server/server_int.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* ---- The system ---- */

static bool file_has(const char *path, const char *text, struct buf *content)
{
    content->n = 0;
    bool read = io_read_file(path, content, 4096) == 0;
    buf_add_char(content, '\0');
    return read && strstr(content->p, text) != NULL;
}

/* NULL: fine; else what is wrong and what to do. */
static const char *check_clock(struct buf *content)
{
    static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    return file_has(path, "hpet", content) || file_has(path, "acpi_pm", content) ||
                   file_has(path, "xen", content)
               ? "The clock of this machine is slow to read. Prefer tsc: see the files in "
                 "/sys/devices/system/clocksource/clocksource0."
               : NULL;
}

static const char *check_overcommit(struct buf *content)
{
    return file_has("/proc/sys/vm/overcommit_memory", "2", content)
               ? "Memory overcommit is forbidden (vm.overcommit_memory = 2): an allocation can "
                 "fail while memory is free. kv never forks, so 0 suffices: 'sysctl "
                 "vm.overcommit_memory=0'."
               : NULL;
}

static const char *check_huge_pages(struct buf *content)
{
    return file_has("/sys/kernel/mm/transparent_hugepage/enabled", "[always]", content)
               ? "Transparent huge pages are always on, which can cost memory and latency: 'echo "
                 "madvise > /sys/kernel/mm/transparent_hugepage/enabled'."
               : NULL;
}

static const char *check_files(struct buf *content)
{
    (void)content;
    struct rlimit lim;
    return getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_max < 10064
               ? "The limit of open files is below 10064: maxclients will be reduced. See 'ulimit "
                 "-n'."
               : NULL;
}

int system_check(void)
{
    static const struct {
        const char *name;
        const char *(*check)(struct buf *content);
    } checks[] = { { "slow-clocksource", check_clock },
                   { "overcommit", check_overcommit },
                   { "THP", check_huge_pages },
                   { "open-files", check_files } };
    struct buf content = { 0 };
    bool all = true;
    for (unsigned i = 0; i < countof(checks); i++) {
        const char *why = checks[i].check(&content);
        printf("[%s]...%s\n", checks[i].name, why != NULL ? "WARNING:" : "OK");
        if (why != NULL) {
            puts(why);
            all = false;
        }
    }
    buf_free(&content);
    return all ? 0 : 1;
}

/* ---- Memory ---- */

static uint64_t mix(uint64_t v)
{
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

/* What word i holds in this pass: its address, all ones and zeros in turn, or noise. */
static uint64_t pattern(unsigned pass, uint64_t seed, size_t i)
{
    switch (pass % 4) {
    case 0: return i;
    case 1: return i % 2 == 0 ? UINT64_MAX : 0;
    case 2: return i % 2 == 0 ? 0x5555555555555555u : 0xaaaaaaaaaaaaaaaau;
    default: return mix(seed + i);
    }
}

int memory_test(const char *megabytes, const char *passes)
{
    int64_t mb, n = 4;
    if (!parse_i64(slice_str(megabytes), &mb) || mb < 1 || mb > (INT64_C(1) << 30) ||
        (passes != NULL && (!parse_i64(slice_str(passes), &n) || n < 1))) {
        fputs("Usage: kv-server --test-memory <megabytes> [passes]\n", stderr);
        return 1;
    }
    size_t words = (size_t)mb * 1024 * 1024 / sizeof(uint64_t);
    volatile uint64_t *m = mem_try_alloc(words * sizeof *m);
    if (m == NULL) {
        fprintf(stderr, "Unable to allocate %lld megabytes\n", (long long)mb);
        return 1;
    }
    for (unsigned pass = 0; pass < n; pass++) {
        uint64_t seed;
        rng_secret(&seed, sizeof seed);
        for (size_t i = 0; i < words; i++) {
            m[i] = pattern(pass, seed, i);
        }
        for (size_t i = 0; i < words; i++) {
            if (m[i] != pattern(pass, seed, i)) {
                printf("*** MEMORY ERROR DETECTED: word %zu in pass %u\n", i, pass + 1);
                return 1;
            }
        }
        printf("Pass %u of %lld: %lld MB fine\n", pass + 1, (long long)n, (long long)mb);
    }
    mem_free((void *)(uintptr_t)m);
    puts("\nYour memory passed this test.");
    return 0;
}
