/* powerloss_wal.c -- The log under power loss: after every I/O call, with groups in flight, during
 * recovery. SPDX-License-Identifier: BSD-3-Clause
 *
 * A run is several lives of a process on one directory. Each replays what is there, starts the log,
 * appends, and ends when the shim (preload_powerloss.c) cuts the power; the last one ends by
 * itself. Lives are processes of this program, told apart by KV_LIFE; what they have been told is
 * kept in memory that they share. Checked at the beginning of each life:
 *   - every record whose ticket was durable when the power failed is there, and whatever an earlier
 *     life had recovered when it began to serve
 *   - each producer's records are there without a gap, with exactly the bytes that were appended
 *   - a record that a serving life did not have never comes back
 * Sampled, or every call with five subsets: powerloss_sweep.h. */
#include "powerloss_sweep.h"
#include "unit.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/rng.h"
#include "wal/wal.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PRODUCERS     2
#define RECORDS       1024 /* of one producer, in all lives together */
#define PER_LIFE      110
#define LIVES         8
#define SEGMENT_BYTES (12u * 4096)
#define PAYLOAD_MAX   65536
#define POWER_LOST    99
#define KILLED        98
#define FAULT_EXIT    72 /* of a fault point armed with "exit" */
#define LOSES_ALL     5  /* seeds that are multiples of it lose everything unsynced */

struct producer {
    uint64_t started, appended; /* counters; appended: ticket[] is set */
    uint64_t ticket[RECORDS + 1];
    uint64_t must;           /* counters up to here must be there */
    uint64_t allowed[LIVES]; /* counters up to here may come from that life */
};
struct shared {
    struct producer p[PRODUCERS];
    uint64_t base[PRODUCERS]; /* counter before the first of this life */
    uint64_t durable;
    int serving;  /* wal_start() has returned in this life */
    bool hurried; /* nobody waits until something is durable */
};

/* ---- A life ---- */

static struct {
    struct shared *shared;
    struct wal *w;
    unsigned life;
    uint64_t seed, count[PRODUCERS];
} me;

#define ENSURE(condition, ...)                      \
    do {                                            \
        if (!(condition)) {                         \
            fprintf(stderr, __VA_ARGS__);           \
            fprintf(stderr, " (%s)\n", #condition); \
            fflush(NULL);                           \
            _exit(1);                               \
        }                                           \
    } while (0)

/* What record `c` of a producer is when that life appends it. */
static size_t make_payload(char *dst, unsigned p, uint64_t c, unsigned life)
{
    uint64_t x = power_scramble(p + 10 * c + 100000ull * life);
    size_t n = 24 + x % 300;
    n = x % 11 == 0 ? 24 + x % 9000 : x % 97 == 0 ? 24 + x % 60000 : n;
    int head = snprintf(dst, PAYLOAD_MAX, "%u %llu %u ", p, (unsigned long long)c, life);
    for (size_t i = (size_t)head; i < n; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        dst[i] = (char)(x >> 56);
    }
    return n;
}

static int check_records(void *arg, struct wal_batch *batch, const struct wal_record *rec,
                         unsigned n)
{
    static char expected[PAYLOAD_MAX];
    (void)arg;
    for (unsigned i = 0; i < n; i++) {
        unsigned p, life;
        unsigned long long c;
        char head[64] = { 0 };
        memcpy(head, rec[i].payload.p, size_min(rec[i].payload.n, sizeof head - 1));
        ENSURE(sscanf(head, "%u %llu %u ", &p, &c, &life) == 3 && p < PRODUCERS && life < LIVES,
               "a record nobody appended: %s", head);
        size_t size = make_payload(expected, p, c, life);
        ENSURE(size == rec[i].payload.n && memcmp(expected, rec[i].payload.p, size) == 0,
               "record %u %llu of life %u has other bytes", p, c, life);
        ENSURE(c == me.count[p] + 1, "record %u %llu of life %u follows %llu", p, c, life,
               (unsigned long long)me.count[p]);
        ENSURE(c <= me.shared->p[p].allowed[life], "record %u %llu of life %u was gone before", p,
               c, life);
        me.count[p] = c;
    }
    wal_batch_release(batch);
    return 0;
}

static void check_promises(const struct wal_report *report)
{
    for (unsigned p = 0; p < PRODUCERS; p++) {
        ENSURE(me.count[p] >= me.shared->p[p].must,
               "life %u: producer %u has %llu records, %llu were durable; %llu batches, %s",
               me.life, p, (unsigned long long)me.count[p],
               (unsigned long long)me.shared->p[p].must, (unsigned long long)report->last_seq,
               report->message);
    }
}

/* Whoever asks now is answered from this state: it may not change any more. */
static void begin_to_serve(void)
{
    for (unsigned p = 0; p < PRODUCERS; p++) {
        struct producer *s = &me.shared->p[p];
        s->must = me.count[p];
        for (unsigned life = 0; life < me.life; life++) {
            s->allowed[life] = u64_min(s->allowed[life], me.count[p]);
        }
        s->allowed[me.life] = UINT64_MAX;
        s->started = s->appended = me.shared->base[p] = me.count[p];
    }
    __atomic_store_n(&me.shared->serving, 1, __ATOMIC_SEQ_CST);
}

/* The power fails: what is durable by now may have been told to anybody. */
static void remember_promises(void)
{
    if (!__atomic_load_n(&me.shared->serving, __ATOMIC_SEQ_CST)) {
        return;
    }
    uint64_t durable = wal_durable(me.w).v;
    for (unsigned p = 0; p < PRODUCERS; p++) {
        struct producer *s = &me.shared->p[p];
        uint64_t appended = __atomic_load_n(&s->appended, __ATOMIC_ACQUIRE);
        for (uint64_t c = me.shared->base[p] + 1; c <= appended; c++) {
            s->must = s->ticket[c] <= durable ? c : s->must;
        }
    }
}

static void *produce(void *arg)
{
    static _Thread_local char payload[PAYLOAD_MAX];
    unsigned p = (unsigned)(uintptr_t)arg;
    struct producer *s = &me.shared->p[p];
    uint64_t x = power_scramble(me.seed + p);
    uint64_t end = me.count[p] + PER_LIFE;
    for (uint64_t c = me.count[p] + 1; c <= end && c <= RECORDS; c++) {
        size_t n = make_payload(payload, p, c, me.life);
        while (!wal_admit(me.w, p, n)) {
            usleep(100);
        }
        struct slice part = slice_of(payload, n);
        struct wal_frame frame = { .slot = (uint16_t)(c % 16384) };
        __atomic_store_n(&s->started, c, __ATOMIC_SEQ_CST);
        s->ticket[c] = wal_append(me.w, p, frame, &part, 1).v;
        __atomic_store_n(&s->appended, c, __ATOMIC_RELEASE);
        x = power_scramble(x + c);
        if (x % 3 != 0) {
            wal_announce(me.w, p);
        }
        if ((x % 4 == 0 && !me.shared->hurried) || c == end) {
            ENSURE(wal_wait_until(me.w, s->ticket[c]) == 0, "waiting for durability");
        } else if (x % 29 == 1 && !me.shared->hurried) {
            usleep((useconds_t)(x % 3000));
        }
    }
    return NULL;
}

static void live(const char *mode)
{
    char *text = getenv("KV_LIFE_DIR");
    struct wal_config cfg = { .dir = text,
                              .producers = PRODUCERS,
                              .depth = 2,
                              .segment_bytes = SEGMENT_BYTES,
                              .queue_bytes = 1u << 20,
                              .buffered = strcmp(mode, "buffered") == 0,
                              .sync = strcmp(mode, "everysec") == 0 ? WAL_SYNC_EVERYSEC
                                      : strcmp(mode, "no") == 0     ? WAL_SYNC_NO
                                                                    : WAL_SYNC_ALWAYS };
    cfg.judge_later = me.seed % 2 == 0;
    struct wal_report report;
    void (*set_hook)(void (*)(void)) =
        (void (*)(void (*)(void)))dlsym(RTLD_DEFAULT, "powerloss_set_hook");
    ENSURE(set_hook != NULL, "the shim is not there");
    set_hook(remember_promises);
    int err = wal_open(&me.w, &cfg, &report);
    ENSURE(err == 0, "life %u: wal_open: %d %s", me.life, err, report.message);
    struct wal_replay to = { .records = check_records };
    err = cfg.judge_later ? wal_load(me.w, &to, &report) : wal_replay(me.w, &to);
    ENSURE(err == 0, "life %u: wal_replay: %d %s", me.life, err, report.message);
    check_promises(&report);
    err = wal_start(me.w);
    ENSURE(err == 0, "life %u: wal_start: %d", me.life, err);
    begin_to_serve();
    pthread_t thread[PRODUCERS];
    for (unsigned p = 0; p < PRODUCERS; p++) {
        pthread_create(&thread[p], NULL, produce, (void *)(uintptr_t)p);
    }
    for (unsigned p = 0; p < PRODUCERS; p++) {
        pthread_join(thread[p], NULL);
    }
    if (me.seed % 9 == 0) {
        usleep(130000); /* the end of an idle log is proven */
    }
    err = wal_stop(me.w);
    ENSURE(err == 0, "life %u: wal_stop: %d", me.life, err);
    remember_promises();
    __atomic_store_n(&me.shared->serving, 0, __ATOMIC_SEQ_CST); /* the hook asks no log any more */
    wal_free(me.w);
}

/* A child of the tests below: lives before main(), with the shim. */
__attribute__((constructor)) static void be_a_life(void)
{
    const char *life = getenv("KV_LIFE");
    if (life == NULL) {
        return;
    }
    clock_init();
    fault_arm_env();
    log_set_level(LOG_NOTHING_);
    me.life = (unsigned)atoi(life);
    me.seed = strtoull(getenv("KV_LIFE_SEED"), NULL, 0);
    int fd = open(getenv("KV_LIFE_SHARED"), O_RDWR | O_CLOEXEC);
    me.shared = mmap(NULL, sizeof *me.shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ENSURE(me.shared != MAP_FAILED, "shared memory");
    live(getenv("KV_LIFE_MODE"));
    exit(0);
}

/* ---- Runs ---- */

struct run {
    const char *mode;
    char *dir, *shared, *count, *log, *shim;
    struct shared *memory;
    /* Of the next lives: KV_FAULTS, and losing power when the process ends by itself. */
    const char *faults;
    bool loses_at_exit;
};

static char *path_of(const char *a, const char *b)
{
    char *s = NULL;
    ck_assert_int_ge(asprintf(&s, "%s%s", a, b), 0);
    return s;
}

static void run_init(struct run *r, const char *mode)
{
    const char *root = unit_tmpdir();
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    *r = (struct run){ .mode = mode,
                       .faults = "",
                       .dir = path_of(root, "/data"),
                       .shared = path_of(root, "/shared"),
                       .count = path_of(root, "/count"),
                       .log = path_of(root, "/log"),
                       .shim = path_of(dirname(self), "/preload_powerloss.so") };
    ck_assert_msg(access(r->shim, R_OK) == 0, "%s is not built", r->shim);
    int fd = open(r->shared, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, sizeof *r->memory), 0);
    r->memory = mmap(NULL, sizeof *r->memory, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(r->memory, MAP_FAILED);
    close(fd);
}

static void run_done(struct run *r)
{
    free(r->dir);
    free(r->shared);
    free(r->count);
    free(r->log);
    free(r->shim);
    must(munmap(r->memory, sizeof *r->memory) == 0);
}

static void put(const char *name, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    setenv(name, text, 1);
}

/* One life; its exit status. */
static int run_life(struct run *r, unsigned life, uint64_t after, bool killed, uint64_t seed)
{
    r->memory->serving = 0;
    fflush(stdout);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("LD_PRELOAD", r->shim, 1);
        setenv("KV_POWERLOSS_DIR", r->dir, 1);
        setenv("KV_POWERLOSS_COUNT", r->count, 1);
        setenv("KV_LIFE_DIR", r->dir, 1);
        setenv("KV_LIFE_SHARED", r->shared, 1);
        setenv("KV_LIFE_MODE", r->mode, 1);
        put("KV_LIFE", life);
        put("KV_LIFE_SEED", seed);
        char plan[200];
        snprintf(plan, sizeof plan, "after=%llu seed=%llu kill=%d delay=300 exit=%d",
                 (unsigned long long)after, (unsigned long long)seed, killed, r->loses_at_exit);
        setenv("KV_FAULTS", r->faults, 1);
        setenv("KV_POWERLOSS_PLAN", plan, 1);
        int fd = open(r->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        dup2(fd, 2);
        execl("/proc/self/exe", "life", (char *)NULL);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static uint64_t calls_counted(const struct run *r)
{
    char text[32] = { 0 };
    int fd = open(r->count, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_gt(read(fd, text, sizeof text - 1), 0);
    close(fd);
    return strtoull(text, NULL, 10);
}

static void run_reset(struct run *r)
{
    char *command = NULL;
    ck_assert_int_ge(asprintf(&command, "rm -rf %s %s.attic && mkdir %s", r->dir, r->dir, r->dir),
                     0);
    ck_assert_int_eq(system(command), 0);
    free(command);
    memset(r->memory, 0, sizeof *r->memory);
}

static void fail_with_log(const struct run *r, unsigned life, uint64_t after, uint64_t seed,
                          int status)
{
    char text[2048] = { 0 };
    int fd = open(r->log, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
    }
    ck_abort_msg("%s, life %u, power lost after call %llu, seed %llu: status %d: %s", r->mode, life,
                 (unsigned long long)after, (unsigned long long)seed, status, text);
}

/* What a sweep has besides its counts. */
struct swept {
    struct run *run;
    uint64_t lives;
};

/* Lives until one ends by itself. The first loses power after call n, or is killed there; the next
 * ones early on (that is: during recovery, or soon after) or not at all. */
static bool one_run(void *arg, uint64_t n, uint64_t seed, bool killed)
{
    struct swept *w = arg;
    run_reset(w->run);
    uint64_t after = n;
    for (unsigned life = 0; life < LIVES; life++) {
        uint64_t x = power_scramble(seed + 77 * life);
        bool kill_it = life == 0 ? killed : x % 4 == 0;
        int status = run_life(w->run, life, after, kill_it, seed + life);
        w->lives++;
        if (status == 0) {
            return life > 0;
        }
        if (status != (kill_it ? KILLED : POWER_LOST)) {
            fail_with_log(w->run, life, after, seed + life, status);
        }
        after = life + 2 < LIVES && (x >> 8) % 3 != 0 ? 1 + (x >> 16) % 40 : 0;
    }
    ck_abort_msg("a life that was not cut short did not end");
    return false;
}

static void sweep(const char *mode, unsigned samples)
{
    struct run r;
    struct swept w = { .run = &r };
    char text[200];
    run_init(&r, mode);
    run_reset(&r);
    int status = run_life(&r, 0, 0, false, unit_seed());
    if (status != 0) {
        fail_with_log(&r, 0, 0, unit_seed(), status);
    }
    /* Half of the samples where most names and headers are made. */
    struct power_sweep s = { .calls = calls_counted(&r), .samples = samples, .early = 60 };
    ck_assert_uint_gt(s.calls, 100);
    power_sweep(&s, one_run, &w);
    power_sweep_text(&s, text, sizeof text);
    printf("power loss, %s: %llu lives, %s\n", mode, (unsigned long long)w.lives, text);
    run_done(&r);
}

START_TEST(test_direct)
{
    sweep("direct", 60);
}
END_TEST
START_TEST(test_buffered)
{
    sweep("buffered", 60);
}
END_TEST
START_TEST(test_everysec)
{
    sweep("everysec", 30);
}
END_TEST
START_TEST(test_no)
{
    sweep("no", 20);
}
END_TEST

static void expect_life(struct run *r, unsigned life, uint64_t after, bool killed, int expected)
{
    int status = run_life(r, life, after, killed, LOSES_ALL);
    if (status != expected) {
        fail_with_log(r, life, after, LOSES_ALL, status);
    }
}

/* A process is killed at each call before it serves, between each rename and the sync of its
 * directory too. The next one serves from what it sees, then the power fails: the names it found
 * must have been made durable. */
START_TEST(test_names_found)
{
    struct run r;
    run_init(&r, "direct");
    uint64_t n = 0;
    for (bool served = false; !served;) {
        run_reset(&r);
        expect_life(&r, 0, ++n, true, KILLED);
        served = r.memory->serving != 0;
        r.loses_at_exit = true;
        expect_life(&r, 1, 0, false, 0);
        r.loses_at_exit = false;
        expect_life(&r, 2, 0, false, 0);
    }
    ck_assert_uint_gt(n, 10);
    run_done(&r);
}
END_TEST

/* The power fails when a segment that is left has been called durable and has no footer yet. Nobody
 * waits for the disk, so that in the modes that may, nothing of it is synced before it is left. */
START_TEST(test_segment_left)
{
    static const char *const modes[] = { "direct", "buffered", "everysec", "no" };
    struct run r;
    run_init(&r, modes[_i]);
    run_reset(&r);
    r.memory->hurried = true;
    r.faults = "wal.seal=exit";
    r.loses_at_exit = true;
    expect_life(&r, 0, 0, false, FAULT_EXIT);
    r.faults = "";
    r.loses_at_exit = false;
    ck_assert_uint_gt(r.memory->p[0].must + r.memory->p[1].must, 0);
    expect_life(&r, 1, 0, false, 0);
    run_done(&r);
}
END_TEST

UNIT_SUITE(powerloss_wal)
{
    unit_case(suite, "names", test_names_found);
    unit_case_loop(suite, "segments", 60, test_segment_left, 4);
    unit_case_slow(suite, "powerloss_wal", unit_torture() ? 3600 : 400, test_direct, test_buffered,
                   test_everysec, test_no);
}
