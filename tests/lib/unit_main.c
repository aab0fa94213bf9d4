/* unit_main.c -- The runner of a test program: registered Check suites, all or those named on the
 * command line. SPDX-License-Identifier: BSD-3-Clause
 *
 * A name selects suites, cases or single tests. `--list` prints all of them, `--has NAME` only sets
 * the status. The last line is
 * "<program>: N passed, N failed, N skipped" (utils/test.sh adds these up), where program is unit
 * for unit-tests. */
#include "unit.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMPDIRS_MAX 256 /* directories one test process may ask for */

static struct unit_suite *suites;
static uint64_t seed;
static char tmp_root[256];

/* What was selected, seen by unit_case_add(): a suite that is selected itself adds all its tests.
 */
static struct {
    char **names;
    int count;
    const char *suite;
    bool whole_suite;
    bool list;
    unsigned added;
    Suite *unselected; /* owns the cases that do not run, */
    SRunner *never;    /* this one it and the suites without any */
} pick;

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

TCase *unit_case_add(Suite *suite, const char *name, const TTest *const *tests, unsigned count,
                     double timeout_s)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, timeout_s);
    bool whole = pick.whole_suite || picked(name);
    unsigned added = 0;
    for (unsigned i = 0; i < count; i++) {
        if (whole || picked(tests[i]->name)) {
            tcase_add_test(tc, tests[i]);
            added++;
            if (pick.list) {
                printf("%s %s %s\n", pick.suite, name, tests[i]->name);
            }
        }
    }
    /* A case without tests would still run its fixtures. */
    suite_add_tcase(added > 0 ? suite : pick.unselected, tc);
    pick.added += added;
    return tc;
}

/* ---- temporary directories ---- */

const char *unit_tmpdir(void)
{
    static char given[TMPDIRS_MAX][sizeof tmp_root + 32];
    static unsigned serial;
    ck_assert_uint_lt(serial, TMPDIRS_MAX);
    char *path = given[serial];
    snprintf(path, sizeof given[0], "%s/%ld-%u", tmp_root, (long)getpid(), serial);
    ck_assert_msg(mkdir(path, 0700) == 0, "mkdir %s: %s", path, strerror(errno));
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
    return 0;
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

static SRunner *fill_runner(void)
{
    SRunner *runner = srunner_create(NULL);
    pick.unselected = suite_create("unselected");
    pick.never = srunner_create(pick.unselected);
    for (struct unit_suite *s = suites; s != NULL; s = s->next) {
        pick.suite = s->name;
        pick.whole_suite = picked(s->name);
        Suite *suite = suite_create(s->name);
        unsigned before = pick.added;
        s->fill(suite);
        srunner_add_suite(pick.added > before ? runner : pick.never, suite);
    }
    return runner;
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

static int run_tests(SRunner *runner, const char *program)
{
    if (make_tmp_root() != 0) {
        return 2;
    }
    printf("SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout); /* not once more from each child */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    int skipped = skipped_count();
    int passed = srunner_ntests_run(runner) - failed - skipped;
    remove_tmp_root();
    printf("%s: %d passed, %d failed, %d skipped\n", program, passed, failed, skipped);
    return failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    clock_init();
    const char *given = getenv("SEED");
    seed = given != NULL && *given != '\0' ? strtoull(given, NULL, 0) : (uint64_t)clock_wall_us();
    rng_seed_all(seed);
    hash_seed((const uint8_t *)"unit-test-hash-k");

    bool has = argc == 3 && strcmp(argv[1], "--has") == 0;
    pick.list = argc == 2 && strcmp(argv[1], "--list") == 0;
    int options = has || pick.list ? 1 : 0;
    pick.names = argv + 1 + options;
    pick.count = argc - 1 - options;

    SRunner *runner = fill_runner();
    int status = pick.added > 0 ? 0 : 1;
    if (!has && !pick.list) {
        if (pick.added == 0 && pick.count > 0) {
            fprintf(stderr, "%s: no such suite, case or test: %s\n", argv[0], pick.names[0]);
        } else {
            status = run_tests(runner, program_name(argv[0]));
        }
    }
    srunner_free(runner);
    srunner_free(pick.never);
    return status;
}
