/* test_net_ahead.c -- Several connections are read before the first of them is executed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The reactor is held inside a request while the others send: the turn after it finds all of them.
 */
#include "net_fixture.h"
#include "base/mem.h"
#include <stdio.h>

enum { MANY = 70 }; /* more than are read at once */

/* Connections 1.. have sent when the reactor goes on; 0 is the one that held it. */
struct crowd {
    struct fixture *f;
    struct client *c[MANY + 1];
    unsigned n;
};

static void crowd_new(struct crowd *w, unsigned n)
{
    w->f = fixture_run(1);
    w->n = n;
    for (unsigned i = 0; i <= n; i++) {
        w->c[i] = connect_to(w->f);
        client_expect(w->c[i], "+PONG", "PING");
    }
}

static void crowd_hold(struct crowd *w)
{
    unsigned before = atomic_load(&w->f->stalls);
    atomic_store(&w->f->go, false);
    client_send(w->c[0], "STALL");
    wait_uint(&w->f->stalls, before + 1);
}

static void crowd_go(struct crowd *w)
{
    atomic_store(&w->f->go, true);
    client_expect_next(w->c[0], "+OK");
}

static void crowd_free(struct crowd *w)
{
    for (unsigned i = 0; i <= w->n; i++) {
        if (w->c[i] != NULL) {
            client_close(w->c[i]);
        }
    }
    fixture_stop(w->f);
}

START_TEST(inputs_are_announced_together)
{
    struct crowd w;
    crowd_new(&w, MANY);
    unsigned calls = atomic_load(&w.f->ahead_calls), inputs = atomic_load(&w.f->ahead_inputs);
    crowd_hold(&w);
    for (unsigned i = 1; i <= MANY; i++) {
        client_send(w.c[i], "ECHO v%u", i);
    }
    crowd_go(&w);
    for (unsigned i = 1; i <= MANY; i++) {
        char want[32];
        snprintf(want, sizeof want, "\"v%u\"", i);
        client_expect_next(w.c[i], want);
    }
    /* libev tells of 64 events at a time */
    ck_assert_uint_ge(atomic_load(&w.f->ahead_inputs) - inputs, MANY - 2);
    ck_assert_uint_le(atomic_load(&w.f->ahead_calls) - calls, 4);
    ck_assert_uint_eq(atomic_load(&w.f->ahead_unfed), 0);
    crowd_free(&w);
}
END_TEST

/* One input longer than all the others together, one that is a part of a request, one whose big
 * argument goes on, one that has left: among the others, and each gets its own. */
START_TEST(long_and_partial_inputs_among_them)
{
    struct crowd w;
    crowd_new(&w, 8);
    char *big = filled(200000);
    const char *argv[] = { "LEN", big };
    const char *const pieces[] = { "*1\r\n", "$4\r\nPI", "NG\r\n" };
    const size_t lens[] = { 3, 200000 }, part = 1000;
    send_text(w.c[5], "*2\r\n$3\r\nLEN\r\n$200000\r\n");
    client_send_raw(w.c[5], big, part);
    for (unsigned round = 0; round < 3; round++) {
        crowd_hold(&w);
        for (unsigned i = 1; i <= 4; i++) {
            client_send(w.c[i], "ECHO %u", round);
        }
        client_send_raw(w.c[5], big, round < 2 ? part : lens[1] - 3 * part);
        if (round == 2) {
            send_text(w.c[5], "\r\n");
        }
        send_text(w.c[6], pieces[round]);
        client_send_args(w.c[7], 2, argv, lens);
        if (round == 2) {
            client_close(w.c[8]);
            w.c[8] = NULL;
        }
        crowd_go(&w);
        for (unsigned i = 1; i <= 4; i++) {
            char want[8];
            snprintf(want, sizeof want, "\"%u\"", round);
            client_expect_next(w.c[i], want);
        }
        client_expect_next(w.c[7], "200000");
    }
    client_expect_next(w.c[5], "200000");
    client_expect_next(w.c[6], "+PONG");
    mem_free(big);
    crowd_free(&w);
}
END_TEST

/* What a request does to a connection that was read before it ran, and would be executed after it.
 * libev promises no order: the first and the last of them do the same. */
START_TEST(stopped_and_closed_by_one_before_them)
{
    struct crowd w;
    crowd_new(&w, 6);
    int64_t paused = client_int(w.c[3], "HANDLE"), shut = client_int(w.c[4], "HANDLE");
    char both[128];
    snprintf(both, sizeof both, "PAUSE %lld 100\r\nSHUT %lld\r\n", (long long)paused,
             (long long)shut);
    crowd_hold(&w);
    send_text(w.c[1], both);
    for (unsigned i = 2; i <= 5; i++) {
        client_send(w.c[i], "ECHO %u", i);
    }
    send_text(w.c[6], both);
    crowd_go(&w);
    for (unsigned i = 1; i <= 6; i += 5) {
        client_expect_next(w.c[i], "+OK");
        client_expect_next(w.c[i], "+OK");
    }
    client_expect_next(w.c[2], "\"2\"");
    client_expect_next(w.c[5], "\"5\"");
    client_expect_next(w.c[3], "\"3\""); /* kept, and executed when it went on */
    client_expect_closed(w.c[4]);
    ck_assert_uint_eq(atomic_load(&w.f->ahead_unfed), 2); /* as it was announced: late, and never */
    crowd_free(&w);
}
END_TEST

/* What was read ahead comes before what the kernel has, also for one that looks and answers. */
START_TEST(looked_at_before_it_is_fed)
{
    struct crowd w;
    crowd_new(&w, 3);
    int64_t handle = client_int(w.c[2], "HANDLE");
    crowd_hold(&w);
    client_send(w.c[1], "BUSY %lld", (long long)handle);
    client_send(w.c[2], "ECHO 2");
    client_send(w.c[3], "BUSY %lld", (long long)handle);
    crowd_go(&w);
    client_expect_next(w.c[1], "+OK");
    client_expect_next(w.c[3], "+OK");
    client_expect_next(w.c[2], "-BUSY"); /* libev promises no order: not in the middle, and it is */
    client_expect(w.c[2], "+PONG", "PING");
    ck_assert_uint_eq(atomic_load(&w.f->ahead_unfed), 1);
    crowd_free(&w);
}
END_TEST

UNIT_SUITE(net_ahead)
{
    unit_case(suite, "read ahead", inputs_are_announced_together,
              long_and_partial_inputs_among_them, stopped_and_closed_by_one_before_them,
              looked_at_before_it_is_fed);
}
