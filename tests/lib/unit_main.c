/* unit_main.c -- The runner of a test program: registered Check suites, all or those named on the
 * command line. SPDX-License-Identifier: BSD-3-Clause
 *
 * A name selects suites, cases or single tests. `--list` prints all of them, `--has NAME` only sets
 * the status. The last line is
 * "<program>: N passed, N failed, N skipped" (utils/test.sh adds these up), where program is unit
 * for unit-tests.
 *
 * WHY         Tests wait for disks and servers more than they compute, so as many cases run at a
 * time as there are cores (TEST_JOBS=n; one with CK_FORK=no): workers take the next case each until
 * none is left. INVARIANTS  A case runs in one worker, with its fixtures, in its order. */
#include "unit.h"
#include "unit_watch.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CASES_MAX   1024 /* of one program */
#define WORKERS_MAX 16
#define LOOK_MS     50
#define GRACE_S     600  /* Check kills what unit_watch.h has not */
#define TMPDIRS_MAX 1024 /* directories one test process may ask for */

static struct unit_suite *suites;
static uint64_t seed;
static char tmp_root[256];
static char work_dir[sizeof tmp_root + 32]; /* where this process makes directories */

/* What was selected, seen by unit_case_add(): a suite that is selected itself adds all its tests.
 */
static struct {
    char **names;
    int count;
    const char *suite;
    bool whole_suite;
    bool list;
    SRunner *never; /* owns what does not run */
} pick;

/* The selected cases, each in a runner of its own. */
static struct {
    SRunner *runner;
    const char *suite;
    const char *name;
    double timeout_s; /* of each test and fixture */
} cases[CASES_MAX];
static unsigned ncases;

/* Shared by the workers and their tests. */
static struct tally {
    _Atomic unsigned next; /* case to take */
    _Atomic int run, failed;
    struct watch watch[WORKERS_MAX];
} * tally;
static struct watch *watched; /* of this worker; NULL where nobody looks */

void unit_register(struct unit_suite *s)
{
    struct unit_suite **at = &suites;
    while (*at != NULL && strcmp((*at)->name, s->name) < 0) {
        at = &(*at)->next;
    }
    s->next = *at;
    *at = s;
}

uint64_t unit_seed(void)
{
    return seed;
}

int unit_torture(void)
{
    const char *set = getenv("KV_TORTURE");
    return set != NULL && *set != '\0' && strcmp(set, "0") != 0;
}

static bool picked(const char *name)
{
    for (int i = 0; i < pick.count; i++) {
        if (strcmp(name, pick.names[i]) == 0) {
            return true;
        }
    }
    return pick.count == 0;
}

int unit_patient_ms(int ms)
{
    const char *factor = getenv("CK_TIMEOUT_MULTIPLIER");
    double times = factor != NULL ? strtod(factor, NULL) : 1.0;
    return times > 1.0 ? (int)(ms * times) : ms;
}

static void add_runner(Suite *suite, const char *name, double timeout_s)
{
    must(ncases < CASES_MAX);
    cases[ncases].runner = srunner_create(suite);
    cases[ncases].suite = pick.suite;
    cases[ncases].name = name;
    cases[ncases].timeout_s = timeout_s;
    ncases++;
}

static void note_test(void)
{
    if (watched != NULL) {
        watch_test(watched);
    }
}

/* The case gets a suite of its own, so that cases can run side by side. One without tests would
 * still run its fixtures: it is put away. */
static TCase *add_case(const char *name, double timeout_s, bool wanted, TCase *tc)
{
    tcase_set_timeout(tc, timeout_s + GRACE_S);
    tcase_add_checked_fixture(tc, note_test, NULL); /* before those of the case */
    Suite *own = suite_create(pick.suite);
    suite_add_tcase(own, tc);
    if (wanted) {
        add_runner(own, name, timeout_s);
    } else {
        srunner_add_suite(pick.never, own);
    }
    return tc;
}

static bool pick_test(const char *case_name, const TTest *test)
{
    bool wanted = pick.whole_suite || picked(case_name) || picked(test->name);
    if (wanted && pick.list) {
        printf("%s %s %s\n", pick.suite, case_name, test->name);
    }
    return wanted;
}

TCase *unit_case_add(Suite *suite unused_arg, const char *name, const TTest *const *tests,
                     unsigned count, double timeout_s)
{
    TCase *tc = tcase_create(name);
    bool wanted = false;
    for (unsigned i = 0; i < count; i++) {
        if (pick_test(name, tests[i])) {
            tcase_add_test(tc, tests[i]);
            wanted = true;
        }
    }
    return add_case(name, timeout_s, wanted, tc);
}

TCase *unit_case_loop(Suite *suite unused_arg, const char *name, double timeout_s,
                      const TTest *test, int count)
{
    TCase *tc = tcase_create(name);
    tcase_add_loop_test(tc, test, 0, count);
    return add_case(name, timeout_s, pick_test(name, test), tc);
}

/* ---- temporary directories ---- */

const char *unit_tmpdir(void)
{
    static char given[TMPDIRS_MAX][sizeof work_dir + 64];
    static unsigned serial;
    ck_assert_uint_lt(serial, TMPDIRS_MAX);
    char *path = given[serial];
    int rc;
    unsigned life = 0; /* the kernel gives a process id again after a while */
    do {
        snprintf(path, sizeof given[0], "%s/%ld-%u.%u", work_dir, (long)getpid(), serial, life++);
        rc = mkdir(path, 0700);
    } while (rc != 0 && errno == EEXIST);
    ck_assert_msg(rc == 0, "mkdir %s: %s", path, strerror(errno));
    serial++;
    return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int make_tmp_root(void)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(tmp_root, sizeof tmp_root, "%s/kv-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof tmp_root || mkdtemp(tmp_root) == NULL) {
        perror(tmp_root);
        return -1;
    }
    snprintf(work_dir, sizeof work_dir, "%s", tmp_root);
    return 0;
}

/* A worker's tests have their directories in one of its own, which is emptied after each case: all
 * servers of a whole run have had tens of GB. */
static void work_dir_begin(void)
{
    snprintf(work_dir, sizeof work_dir, "%s/w%ld", tmp_root, (long)getpid());
    must(mkdir(work_dir, 0700) == 0);
}

static void work_dir_empty(void)
{
    if (strcmp(work_dir, tmp_root) == 0 || getenv("KEEP") != NULL) {
        return;
    }
    if (nftw(work_dir, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0 || mkdir(work_dir, 0700) != 0) {
        fprintf(stderr, "could not empty %s: %s\n", work_dir, strerror(errno));
    }
}

static void remove_tmp_root(void)
{
    if (getenv("KEEP") != NULL) {
        printf("kept: %s\n", tmp_root);
    } else if (nftw(tmp_root, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0) {
        fprintf(stderr, "could not remove %s: %s\n", tmp_root, strerror(errno));
    }
}

/* ---- skipped tests: one byte each in a file, because tests run in child processes ---- */

static void skip_path(char *out, size_t size)
{
    snprintf(out, size, "%s/skipped", tmp_root);
}

void unit_skip(const char *reason)
{
    char path[sizeof tmp_root + 16];
    skip_path(path, sizeof path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_msg(fd >= 0 && write(fd, "s", 1) == 1, "%s: %s", path, strerror(errno));
    close(fd);
    printf("skipped: %s\n", reason);
    exit(EXIT_SUCCESS);
}

static int skipped_count(void)
{
    char path[sizeof tmp_root + 16];
    struct stat st;
    skip_path(path, sizeof path);
    return stat(path, &st) == 0 ? (int)st.st_size : 0;
}

/* ---- running ---- */

static void fill_cases(void)
{
    pick.never = srunner_create(NULL);
    for (struct unit_suite *s = suites; s != NULL; s = s->next) {
        pick.suite = s->name;
        pick.whole_suite = picked(s->name);
        Suite *direct = suite_create(s->name); /* holds what was added to it without unit_case() */
        s->fill(direct);
        if (pick.whole_suite && !pick.list) {
            add_runner(direct, "others", GRACE_S);
        } else {
            srunner_add_suite(pick.never, direct);
        }
    }
}

static void free_cases(void)
{
    for (unsigned i = 0; i < ncases; i++) {
        srunner_free(cases[i].runner);
    }
    srunner_free(pick.never);
}

/* What a case prints is shown when it fails, or as it comes when cases were named. */
static void capture_path(char *out, size_t size, unsigned i)
{
    snprintf(out, size, "%s/case-%u.out", tmp_root, i);
}

/* Sends standard output and error to the file of case i; returns what undoes it, -1 for nothing. */
static int capture_begin(unsigned i)
{
    char path[sizeof tmp_root + 32];
    if (pick.count > 0) {
        return -1;
    }
    capture_path(path, sizeof path, i);
    fflush(NULL);
    int saved = dup(STDOUT_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    must(saved >= 0 && fd >= 0);
    must(dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
    return saved;
}

static void capture_show(unsigned i)
{
    char path[sizeof tmp_root + 32], part[4096];
    capture_path(path, sizeof path, i);
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        for (size_t n = 0; (n = fread(part, 1, sizeof part, f)) > 0;) {
            fwrite(part, 1, n, stdout);
        }
        fclose(f);
    }
}

static void capture_end(unsigned i, int saved, bool show)
{
    if (saved < 0) {
        return;
    }
    fflush(NULL);
    must(dup2(saved, STDOUT_FILENO) >= 0 && dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    if (show) {
        capture_show(i);
    }
}

static void run_watched(unsigned i)
{
    if (watched != NULL) {
        int64_t limit = (int64_t)unit_patient_ms(1000) * (int64_t)cases[i].timeout_s;
        watched->number = i;
        watch_case(watched, cases[i].suite, cases[i].name, limit);
    }
    srunner_run_all(cases[i].runner, CK_SILENT);
    if (watched != NULL) {
        watch_case(watched, cases[i].suite, cases[i].name, 0);
    }
}

static void run_case(unsigned i)
{
    int64_t start = clock_mono_ms();
    SRunner *r = cases[i].runner;
    int saved = capture_begin(i);
    run_watched(i);
    int run = srunner_ntests_run(r), failed = srunner_ntests_failed(r);
    capture_end(i, saved, failed > 0);
    work_dir_empty();
    if (run == 0) {
        return;
    }
    printf("%-6s %s: %s, %d tests, %.1f s\n", failed == 0 ? "ok" : "FAILED", cases[i].suite,
           cases[i].name, run, (double)(clock_mono_ms() - start) / 1000);
    if (failed > 0) {
        srunner_print(r, CK_NORMAL);
    }
    fflush(stdout);
    tally->run += run;
    tally->failed += failed;
}

static void run_cases(void)
{
    for (unsigned i = tally->next++; i < ncases; i = tally->next++) {
        run_case(i);
    }
}

static bool forks(void)
{
    const char *mode = getenv("CK_FORK");
    return mode == NULL || strcmp(mode, "no") != 0;
}

static unsigned count_workers(void)
{
    const char *given = getenv("TEST_JOBS");
    long n = given != NULL ? strtol(given, NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    n = n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : n;
    return (unsigned)n < ncases ? (unsigned)n : ncases;
}

static void start_worker(struct watch *w)
{
    fflush(NULL);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        watched = w;
        work_dir_begin();
        run_cases();
        free_cases();
        exit(EXIT_SUCCESS);
    }
    w->worker = pid; /* not before: the memory is shared with the worker */
}

/* True: another one takes its place, since it has left cases. One that does not come to its end
 * counts as a failure. */
static bool worker_ended(struct watch *w, int status)
{
    if (status == 0) {
        return false;
    }
    if (w->limit_ms != 0) {
        capture_show(w->number);
        printf("FAILED %s: %s, the rest of it: its worker", w->suite, w->name);
    } else {
        printf("FAILED a worker of the runner");
    }
    printf(" has ended with status %#x\n", (unsigned)status);
    tally->run++;
    tally->failed++;
    w->limit_ms = 0;
    return tally->next < ncases;
}

/* All cases, by several workers. */
static void run_workers(void)
{
    unsigned n = count_workers(), running = n;
    for (unsigned i = 0; i < n; i++) {
        start_worker(&tally->watch[i]);
    }
    while (running > 0) {
        nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
        for (unsigned i = 0; i < n; i++) {
            struct watch *w = &tally->watch[i];
            int status = 0;
            if (w->worker == 0) {
                continue;
            }
            if (waitpid(w->worker, &status, WNOHANG) == 0) {
                watch_look(w);
            } else if (worker_ended(w, status)) {
                start_worker(w);
            } else {
                w->worker = 0;
                running--;
            }
        }
    }
}

/* "build/asan/unit-tests" -> "unit" */
static const char *program_name(const char *argv0)
{
    static char name[64];
    const char *slash = strrchr(argv0, '/');
    snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : argv0);
    name[strcspn(name, "-")] = '\0';
    return name;
}

static int run_tests(const char *program)
{
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (make_tmp_root() != 0 || tally == MAP_FAILED) {
        return 2;
    }
    printf("SEED=%llu\n", (unsigned long long)seed);
    if (forks()) {
        run_workers();
    } else {
        run_cases();
    }
    int failed = tally->failed, skipped = skipped_count();
    remove_tmp_root();
    printf("%s: %d passed, %d failed, %d skipped\n", program, tally->run - failed - skipped, failed,
           skipped);
    return failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    must(setvbuf(stdout, NULL, _IOLBF, 0) == 0); /* a test that fails does not flush */
    clock_init();
    const char *given = getenv("SEED");
    seed = given != NULL && *given != '\0' ? strtoull(given, NULL, 0) : (uint64_t)clock_wall_us();
    rng_seed_all(seed);
    hash_seed((const uint8_t *)"unit-test-hash-k");

#ifdef KV_SEEDED_BUGS
    /* A bug of a part that this program does not contain is for the servers it starts. */
    char bug[128];
    snprintf(bug, sizeof bug, "%s=bug", getenv("KV_BUG") != NULL ? getenv("KV_BUG") : "");
    (void)!fault_arm(bug);
#endif

    bool has = argc == 3 && strcmp(argv[1], "--has") == 0;
    pick.list = argc == 2 && strcmp(argv[1], "--list") == 0;
    int options = has || pick.list ? 1 : 0;
    pick.names = argv + 1 + options;
    pick.count = argc - 1 - options;

    fill_cases();
    int status = ncases > 0 ? 0 : 1;
    if (!has && !pick.list) {
        if (ncases == 0 && pick.count > 0) {
            fprintf(stderr, "%s: no such suite, case or test: %s\n", argv[0], pick.names[0]);
        } else {
            status = run_tests(program_name(argv[0]));
        }
    }
    free_cases();
    return status;
}
