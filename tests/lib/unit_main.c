/* unit_main.c -- Runs the registered Check suites, all or those named on the command line.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct unit_suite *suites;
static uint64_t seed;
static char tmp_root[64];

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

void unit_case_add(Suite *suite, const char *name, const TTest *const *tests, unsigned count,
                   double timeout_s)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, timeout_s);
    for (unsigned i = 0; i < count; i++) {
        tcase_add_test(tc, tests[i]);
    }
    suite_add_tcase(suite, tc);
}

const char *unit_tmpdir(void)
{
    static unsigned serial;
    static char path[128];
    snprintf(path, sizeof path, "%s/%ld-%u", tmp_root, (long)getpid(), serial++);
    char cmd[200];
    snprintf(cmd, sizeof cmd, "mkdir -p %s", path);
    ck_assert_int_eq(system(cmd), 0);
    return strdup(path);
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(name, argv[i]) == 0) {
            return true;
        }
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    clock_init();
    const char *given = getenv("SEED");
    seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)clock_wall_us();
    rng_seed_all(seed);
    hash_seed((const uint8_t *)"unit-test-hash-k");
    const char *tmp = getenv("TMPDIR");
    snprintf(tmp_root, sizeof tmp_root, "%s/kv-unit-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(tmp_root) == NULL) {
        perror("mkdtemp");
        return 2;
    }
    printf("SEED=%llu\n", (unsigned long long)seed);
    SRunner *runner = srunner_create(NULL);
    for (struct unit_suite *s = suites; s != NULL; s = s->next) {
        if (wanted(s->name, argc, argv)) {
            Suite *suite = suite_create(s->name);
            s->fill(suite);
            srunner_add_suite(runner, suite);
        }
    }
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    int run = srunner_ntests_run(runner);
    srunner_free(runner);
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", tmp_root);
    if (system(cmd) != 0) {
        fprintf(stderr, "could not remove %s\n", tmp_root);
    }
    printf("unit: %d passed, %d failed\n", run - failed, failed);
    return failed == 0 ? 0 : 1;
}
