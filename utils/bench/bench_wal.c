/* bench_wal.c -- The log alone: cost of an append, groups per second.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Usage: bench_wal [append|groups] [directory]. Without a word: both, in a directory below $TMPDIR.
 *
 *   append   CPU time of a producer per record of 100 bytes, with 1, 2 and 4 producers, while a
 *            writer takes them away; and the rate of all together
 *   groups   records per second that become durable one after the other (1 client) and with 50 and
 *            500 outstanding, with the number of groups they took; both write paths */
#include "base/clock.h"
#include "base/lock.h"
#include "base/mem.h"
#include "wal/wal.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS_MAX 4
#define APPENDS       2000000u
#define SECONDS       3

static char dir[256];
static char payload[128] = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$50\r\n";

/* ---- A log and its producers ---- */

struct producer {
    struct wal *w;
    pthread_t thread;
    unsigned id;
    _Atomic uint32_t woken;
    double cpu_ns; /* of its appends */
    uint64_t stops;
};
static struct producer producers[PRODUCERS_MAX];

static void on_wake(void *arg, unsigned id)
{
    struct producer *p = (struct producer *)arg + id;
    atomic_store(&p->woken, 1);
    futex_wake(&p->woken, 1);
}

static struct wal *open_log(bool buffered, enum wal_sync sync)
{
    struct wal *w;
    struct wal_report report;
    struct wal_config cfg = {
        .dir = dir,
        .sync = sync,
        .producers = PRODUCERS_MAX,
        .depth = 2,
        .segment_bytes = 64 << 20,
        .queue_bytes = 2 << 20,
        .buffered = buffered,
        .wake = on_wake,
        .wake_arg = producers,
    };
    char clean[300];
    snprintf(clean, sizeof clean, "rm -rf %s/wal", dir);
    must(system(clean) == 0);
    int err = wal_open(&w, &cfg, &report);
    err = err != 0 ? err : wal_start(w);
    if (err != 0) {
        fprintf(stderr, "%s: %s\n", dir, strerror(-err));
        exit(1);
    }
    memset(producers, 0, sizeof producers);
    for (unsigned i = 0; i < PRODUCERS_MAX; i++) {
        producers[i].w = w;
        producers[i].id = i;
    }
    return w;
}

static void close_log(struct wal *w)
{
    must(wal_stop(w) == 0);
    wal_free(w);
}

static double thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void sleep_until_woken(struct producer *p, uint64_t gate, bool stopped)
{
    atomic_store(&p->woken, 0);
    uint64_t released = wal_wait(p->w, p->id, gate, stopped);
    if (stopped || released < gate) {
        futex_wait(&p->woken, 0, -1);
    }
}

static uint64_t append(struct producer *p)
{
    struct slice parts[] = { slice_of(payload, 40), slice_of(payload + 40, 60) };
    struct wal_frame frame = { .slot = 77 };
    return wal_append(p->w, p->id, frame, parts, 2).v;
}

/* ---- append ---- */

static void *append_main(void *arg)
{
    struct producer *p = arg;
    for (unsigned done = 0; done < APPENDS;) {
        if (!wal_admit(p->w, p->id, 64 * 100)) {
            p->stops++;
            wal_announce(p->w, p->id);
            sleep_until_woken(p, UINT64_MAX, true);
            continue;
        }
        double begin = thread_ns();
        for (unsigned i = 0; i < 64; i++) {
            append(p);
        }
        p->cpu_ns += thread_ns() - begin;
        done += 64;
        wal_announce(p->w, p->id);
    }
    return NULL;
}

static void bench_append(void)
{
    for (unsigned n = 1; n <= PRODUCERS_MAX; n *= 2) {
        struct wal *w = open_log(false, WAL_SYNC_ALWAYS);
        int64_t begin = clock_mono_us();
        for (unsigned i = 0; i < n; i++) {
            must(pthread_create(&producers[i].thread, NULL, append_main, &producers[i]) == 0);
        }
        double cpu = 0;
        uint64_t stops = 0;
        for (unsigned i = 0; i < n; i++) {
            pthread_join(producers[i].thread, NULL);
            cpu += producers[i].cpu_ns;
            stops += producers[i].stops;
        }
        must(wal_wait_until(w, wal_tail(w)) == 0);
        double s = (double)(clock_mono_us() - begin) / 1e6;
        printf("append  %u producers  %5.1f ns per record  %5.2f M records/s durable  %llu stops\n",
               n, cpu / ((double)APPENDS * n), (double)APPENDS * n / s / 1e6,
               (unsigned long long)stops);
        close_log(w);
    }
}

/* ---- groups ---- */

/* One producer, as a reactor with so many clients of one request each. */
static void bench_outstanding(bool buffered, unsigned clients)
{
    struct wal *w = open_log(buffered, WAL_SYNC_ALWAYS);
    struct producer *p = &producers[0];
    uint64_t *gate = mem_calloc(clients * sizeof *gate);
    struct wal_stats before, after;
    uint64_t records = 0;
    wal_stats(w, &before);
    int64_t begin = clock_mono_us(), end = begin + SECONDS * 1000000;
    while (clock_mono_us() < end) {
        uint64_t released = wal_release_point(w), lowest = UINT64_MAX;
        for (unsigned i = 0; i < clients; i++) {
            if (gate[i] <= released) {
                gate[i] = append(p);
                records++;
            }
            lowest = u64_min(lowest, gate[i]);
        }
        wal_announce(w, 0);
        sleep_until_woken(p, lowest, false);
    }
    double s = (double)(clock_mono_us() - begin) / 1e6;
    wal_stats(w, &after);
    printf("groups  %-8s %3u clients  %8.0f records/s  %6.0f groups/s  barrier p50 %llu us, p99 "
           "%llu us\n",
           after.direct ? "direct" : "buffered", clients, (double)records / s,
           (double)(after.groups - before.groups) / s, (unsigned long long)after.sync_us_p50,
           (unsigned long long)after.sync_us_p99);
    mem_free(gate);
    close_log(w);
}

static void bench_groups(void)
{
    static const unsigned clients[] = { 1, 50, 500 };
    for (unsigned i = 0; i < countof(clients); i++) {
        bench_outstanding(false, clients[i]);
    }
    for (unsigned i = 0; i < countof(clients); i++) {
        bench_outstanding(true, clients[i]);
    }
}

int main(int argc, char **argv)
{
    clock_init();
    const char *what = argc > 1 ? argv[1] : "all", *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/kv-bench-XXXXXX",
             argc > 2      ? argv[2]
             : tmp != NULL ? tmp
                           : "/tmp");
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    if (strcmp(what, "groups") != 0) {
        bench_append();
    }
    if (strcmp(what, "append") != 0) {
        bench_groups();
    }
    char clean[300];
    snprintf(clean, sizeof clean, "rm -rf %s", dir);
    return system(clean) == 0 ? 0 : 1;
}
