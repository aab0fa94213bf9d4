/* test_section.c -- The exclusive section: who is waited for.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include <pthread.h>
#include <unistd.h>

static atomic_bool left; /* the busy worker has */

static void *enter(void *arg)
{
    struct worker *w = arg;
    section_enter(w);
    ck_assert(atomic_load(&left));
    section_leave(w);
    return NULL;
}

/* A worker that went on while a slow script had the keyspace may get a shard's lock when the script
 * is over. The next section waits for it. */
START_TEST(test_busy_is_waited_for)
{
    struct exec *x = engine_new(NULL);
    struct worker *busy = &x->workers[1];
    pthread_t thread;
    atomic_store(&x->section_flag, 1); /* as the script has it */
    atomic_store(&x->busy, SCRIPT_EVAL);
    worker_wake(busy);
    ck_assert(busy->busy);
    atomic_store(&x->busy, 0);
    atomic_store(&x->section_flag, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, enter, &x->workers[0]), 0);
    while (atomic_load(&x->section_flag) == 0) {
        usleep(100);
    }
    usleep(20000); /* time to do it wrong */
    atomic_store(&left, true);
    section_poll(busy); /* parks until the section is over */
    ck_assert(!busy->busy);
    worker_sleep(busy);
    pthread_join(thread, NULL);
    engine_free(x);
}
END_TEST

/* A busy worker that wants a section itself is waited for by nobody who has it. */
START_TEST(test_busy_enters)
{
    struct exec *x = engine_new(NULL);
    struct worker *busy = &x->workers[1];
    pthread_t thread;
    atomic_store(&x->section_flag, 1);
    atomic_store(&x->busy, SCRIPT_EVAL);
    worker_wake(busy);
    atomic_store(&x->busy, 0);
    atomic_store(&x->section_flag, 0);
    atomic_store(&left, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, enter, &x->workers[0]), 0);
    while (atomic_load(&x->section_flag) == 0) {
        usleep(100); /* it waits for the busy one */
    }
    section_enter(busy);
    ck_assert(!busy->busy); /* the keyspace is its own now */
    section_leave(busy);
    ck_assert_uint_eq(atomic_load(&busy->state), WORKER_RUNNING);
    worker_sleep(busy);
    pthread_join(thread, NULL);
    engine_free(x);
}
END_TEST

static atomic_bool went_on;

static void *script_in_exec(void *arg)
{
    struct worker *w = arg;
    section_enter(w);
    atomic_store(&w->x->busy, SCRIPT_EVAL);
    while (!atomic_load(&went_on)) {
        usleep(100);
    }
    atomic_store(&w->x->busy, 0);
    section_alone_again(w);
    ck_assert(atomic_load(&left));
    section_leave(w);
    return NULL;
}

/* A section that goes on behind a slow script waits for whom the script let go on. */
START_TEST(test_alone_again)
{
    struct exec *x = engine_new(NULL);
    struct worker *busy = &x->workers[1];
    pthread_t thread;
    atomic_store(&left, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, script_in_exec, &x->workers[0]), 0);
    while (atomic_load(&x->busy) == 0) {
        usleep(100);
    }
    worker_wake(busy);
    ck_assert(busy->busy);
    atomic_store(&went_on, true);
    while (atomic_load(&x->busy) != 0) {
        usleep(100);
    }
    usleep(20000); /* time to do it wrong */
    atomic_store(&left, true);
    section_poll(busy);
    ck_assert(!busy->busy);
    worker_sleep(busy);
    pthread_join(thread, NULL);
    engine_free(x);
}
END_TEST

UNIT_SUITE(section)
{
    unit_case(suite, "busy", test_busy_is_waited_for, test_busy_enters, test_alone_again);
}
