/* test_fault.c -- Fault points: every action, counts, the list, the environment, seeded bugs.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/clock.h"
#include "base/fault.h"
#include "child.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#ifdef KV_FAULTS
static int here(void)
{
    return fault("test.here");
}

/* A second point of that name. */
static int there(void)
{
    return fault("test.here");
}

static int other(void)
{
    return fault("test.other");
}

static void arm(const char *spec)
{
    ck_assert_msg(fault_arm(spec) == 0, "%s", spec);
}

START_TEST(test_unarmed)
{
    ck_assert_int_eq(here(), 0);
    ck_assert_int_eq(other(), 0);
}
END_TEST

START_TEST(test_answers)
{
    static const struct {
        const char *spec;
        int answer;
    } cases[] = {
        { "test.here=eio", EIO },           { "test.here=enospc", ENOSPC },
        { "test.here=eintr", EINTR },       { "test.here=nomem", ENOMEM },
        { "test.here=short", FAULT_SHORT }, { "test.here=fail", FAULT_FAIL },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        arm(cases[i].spec);
        ck_assert_int_eq(other(), 0);
        ck_assert_int_eq(here(), cases[i].answer);
        ck_assert_int_eq(here(), 0);
    }
}
END_TEST

START_TEST(test_counts)
{
    arm("test.here=eio:2:3");
    const int want[] = { 0, 0, EIO, EIO, EIO, 0, 0 };
    for (unsigned i = 0; i < countof(want); i++) {
        ck_assert_int_eq(i % 2 == 0 ? here() : there(), want[i]);
    }
    arm("test.here=eio:1:0");
    ck_assert_int_eq(here(), 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(i % 2 == 0 ? here() : there(), EIO);
    }
    arm("test.here=eio:1");
    ck_assert_int_eq(here(), 0);
    ck_assert_uint_eq(fault_armed(), 1);
    ck_assert_int_eq(here(), EIO);
    ck_assert_uint_eq(fault_armed(), 0);
    ck_assert_int_eq(here(), 0);
}
END_TEST

START_TEST(test_several)
{
    arm("test.here=eio:0:0,test.other=enospc:0:0");
    ck_assert_int_eq(here(), EIO);
    ck_assert_int_eq(other(), ENOSPC);
    /* A new rule for one leaves the other. */
    arm("test.here=eintr:0:0");
    ck_assert_int_eq(here(), EINTR);
    ck_assert_int_eq(other(), ENOSPC);
    ck_assert_uint_eq(fault_armed(), 2);
    arm("");
    ck_assert_uint_eq(fault_armed(), 0);
    ck_assert_int_eq(here(), 0);
    ck_assert_int_eq(there(), 0);
    ck_assert_int_eq(other(), 0);
}
END_TEST

START_TEST(test_bad_specs)
{
    static const char *const bad[] = {
        "test.here",
        "test.here=",
        "test.here=oops",
        "test.none=eio",
        "=eio",
        "test.here=eio:",
        "test.here=eio:x",
        "test.here=eio:1:",
        "test.here=eio:1:-1",
        "test.here=eio:1:2:3",
        "test.here=delay",
        "test.here=delayx",
        "test.here=delay-1",
        "test.here=delay1x",
        "test.here=bug",
        "test.here=eio:-1",
        "test.here=EIO",
        "test.here=delay999999",
        "test.here=eio:99999999999999999999",
    };
    for (unsigned i = 0; i < countof(bad); i++) {
        arm("test.other=eio:0:0");
        ck_assert_msg(fault_arm(bad[i]) == -EINVAL, "%s", bad[i]);
        ck_assert_int_eq(here(), 0);
        ck_assert_int_eq(other(), 0);
    }
    char longest[3000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(fault_arm(longest), -EINVAL);
    ck_assert_int_eq(fault_arm("test.here=eio,test.none=eio"), -EINVAL);
    ck_assert_int_eq(here(), 0);
}
END_TEST

static void killed(void)
{
    arm("test.here=kill:1");
    here();
    here();
}

static void exits(void)
{
    arm("test.here=exit");
    here();
}

START_TEST(test_process_ends)
{
    static char text[CHILD_TEXT_MAX];
    int status = child_run(killed, text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    child_must_exit(exits, 72);
}
END_TEST

START_TEST(test_delay)
{
    arm("test.here=delay30");
    int64_t from = clock_mono_us();
    ck_assert_int_eq(here(), 0);
    ck_assert_int_ge(clock_mono_us() - from, 30000);
    ck_assert_int_eq(here(), 0);
}
END_TEST

struct seen {
    unsigned here, other, total;
};

static void note(void *arg, const char *name)
{
    struct seen *seen = arg;
    seen->here += strcmp(name, "test.here") == 0;
    seen->other += strcmp(name, "test.other") == 0;
    seen->total++;
}

START_TEST(test_list)
{
    struct seen seen = { 0, 0, 0 };
    fault_list(note, &seen);
    ck_assert_uint_eq(seen.here, 1);
    ck_assert_uint_eq(seen.other, 1);
    ck_assert_uint_gt(seen.total, 10); /* those of io and mem */
}
END_TEST

START_TEST(test_environment)
{
    unsetenv("KV_FAULTS");
    unsetenv("KV_BUG");
    fault_arm_env();
    ck_assert_int_eq(here(), 0);
    setenv("KV_FAULTS", "test.here=eio", 1);
    fault_arm_env();
    ck_assert_int_eq(here(), EIO);
    setenv("KV_FAULTS", "", 1);
    fault_arm_env();
    ck_assert_int_eq(here(), 0);
    setenv("KV_FAULTS", "test.none=eio", 1);
    child_must_exit(fault_arm_env, 64);
    unsetenv("KV_FAULTS");
    setenv("KV_BUG", "test.none", 1);
    child_must_exit(fault_arm_env, 64);
}
END_TEST

static void *hit_often(void *arg)
{
    unsigned *hits = arg;
    for (int i = 0; i < 10000; i++) {
        *hits += here() != 0;
    }
    return NULL;
}

/* However the threads meet, exactly `count` hits fail. */
START_TEST(test_threads)
{
    arm("test.here=eio:5000:12345");
    pthread_t thread[4];
    unsigned hits[4] = { 0 };
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, hit_often, &hits[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    ck_assert_uint_eq(hits[0] + hits[1] + hits[2] + hits[3], 12345);
}
END_TEST

START_TEST(test_no_bug_unless_seeded)
{
    ck_assert(!fault_bug("test.bug"));
    ck_assert(!fault_bug("test.none"));
    ck_assert(!seeded_bug("test.bug"));
}
END_TEST

#ifdef KV_SEEDED_BUGS
static bool buggy(void)
{
    return seeded_bug("test.bug");
}

static bool buggy_too(void)
{
    return seeded_bug("test.bug2");
}

static void note_bug(void *arg, const char *name)
{
    *(unsigned *)arg += strcmp(name, "test.bug2") == 0;
}

START_TEST(test_seeded_bug)
{
    ck_assert(!buggy());
    setenv("KV_BUG", "test.bug", 1);
    unsetenv("KV_FAULTS");
    fault_arm_env();
    ck_assert(buggy());
    ck_assert(!buggy_too());
    ck_assert(fault_bug("test.bug"));
    ck_assert(!fault_bug("test.bug2"));
    arm("");
    ck_assert(!buggy());
    arm("test.bug2=bug,test.here=eio");
    ck_assert(buggy_too());
    ck_assert(!buggy());
    ck_assert_int_eq(here(), EIO);
    ck_assert_int_eq(fault_arm("test.bug2=eio"), -EINVAL);
    unsigned listed = 0;
    fault_list(note_bug, &listed);
    ck_assert_uint_eq(listed, 1);
}
END_TEST
#endif
#endif

START_TEST(test_constant_without_faults)
{
    ck_assert_int_eq(fault("test.always"), 0);
    ck_assert(FAULT_SHORT != FAULT_FAIL);
}
END_TEST

UNIT_SUITE(fault)
{
    unit_case(suite, "constant", test_constant_without_faults);
#ifdef KV_FAULTS
    unit_case(suite, "fault", test_unarmed, test_answers, test_counts, test_several, test_bad_specs,
              test_process_ends, test_delay, test_list, test_environment, test_threads,
              test_no_bug_unless_seeded);
#endif
#ifdef KV_SEEDED_BUGS
    unit_case(suite, "bugs", test_seeded_bug);
#endif
}
