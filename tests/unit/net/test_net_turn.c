/* test_net_turn.c -- What a turn guarantees: gates, stops, handles, messages, timers; many
 * connections.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- Gates ---- */

static void wait_passing(const struct fixture *f, bool some)
{
    int64_t until = clock_mono_ms() + unit_patient_ms(10000);
    while ((net_passing_bytes(f->net) > 0) != some && clock_mono_ms() < until) {
        sleep_ms(1);
    }
    ck_assert_int_eq(net_passing_bytes(f->net) > 0, some);
}

START_TEST(gates_release_in_order)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_send(c, "GATE 10 a");
    client_send(c, "GATE 20 b");
    client_send(c, "GATE 15 c"); /* behind b: waits for 20 */
    client_send(c, "GATE 30 d");
    client_send(c, "PING"); /* behind d */
    client_expect_nothing(c, 30);
    wait_passing(f, true);
    ck_assert_uint_eq(atomic_load(&f->lowest_asked), 10);
    fixture_release(f, 9);
    client_expect_nothing(c, 20);
    fixture_release(f, 10);
    client_expect_next(c, "\"a\"");
    client_expect_nothing(c, 20);
    ck_assert_uint_eq(atomic_load(&f->lowest_asked), 20);
    fixture_release(f, 29);
    client_expect_next(c, "\"b\"");
    client_expect_next(c, "\"c\"");
    client_expect_nothing(c, 20);
    fixture_release(f, 30);
    client_expect_next(c, "\"d\"");
    client_expect_next(c, "+PONG");
    client_expect_nothing(c, 10);
    ck_assert(atomic_load(&f->lowest_asked) == UINT64_MAX);
    wait_passing(f, false);
    client_send(c, "GATE 40 e");
    wait_passing(f, true);
    client_send(c, "DROP"); /* what it takes goes with it */
    wait_passing(f, false);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(more_gates_than_marks)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    enum { N = 100 };
    for (unsigned i = 1; i <= N; i++) {
        client_send(c, "GATE %u v%u", i, i);
    }
    unsigned got = 0;
    for (unsigned g = 0; g <= N; g++) {
        fixture_release(f, g);
        client_timeout(c, g == N ? 5000 : 2);
        const struct resp *r;
        while (got < N && client_try_read(c, &r) == RESP_OK) {
            got++;
            char want[16];
            snprintf(want, sizeof want, "v%u", got);
            ck_assert_uint_le(got, g); /* never early */
            ck_assert_uint_eq(r->len, strlen(want));
            ck_assert_mem_eq(r->text, want, r->len);
        }
    }
    ck_assert_uint_eq(got, N);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(bytes_without_a_gate_stay)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_send(c, "PING");
    client_expect_next(c, "+PONG");
    client_send(c, "HOLD 3");
    client_expect_nothing(c, 30);
    client_send(c, "PING"); /* its gate covers both */
    client_expect_next(c, "\"abc\"");
    client_expect_next(c, "+PONG");
    client_close(c);
    fixture_stop(f);
}
END_TEST

/* Many connections, gates in no order; each gets its own when its gate opens and not before. */
START_TEST(many_wait_for_gates)
{
    enum { N = 300 };
    rng_seed_all(unit_seed());
    struct fixture *f = fixture_run(3);
    struct client *c[N];
    unsigned gate[N];
    for (unsigned i = 0; i < N; i++) {
        c[i] = connect_to(f);
        gate[i] = 1 + (unsigned)rng_below(1000);
        client_send(c[i], "GATE %u v", gate[i]);
    }
    for (unsigned i = 0; i < N; i += 10) { /* some go away while they wait */
        client_close(c[i]);
        c[i] = NULL;
    }
    sleep_ms(50);
    for (unsigned release = 100; release <= 1000; release += 100) {
        fixture_release(f, release);
        for (unsigned i = 0; i < N; i++) {
            if (c[i] != NULL && gate[i] <= release && gate[i] > release - 100) {
                client_expect_next(c[i], "\"v\"");
            }
        }
        for (unsigned i = 0; i < N; i++) {
            if (c[i] != NULL && gate[i] > release && i % 13 == 0) {
                client_expect_nothing(c[i], 0);
            }
        }
    }
    for (unsigned i = 0; i < N; i++) {
        client_close(c[i]);
    }
    wait_uint(&f->closed, N);
    fixture_stop(f);
}
END_TEST

/* before_sleep may find that the point has moved: what it frees is written before sleeping. */
START_TEST(release_found_before_sleep)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    atomic_store(&f->late, true);
    client_expect(c, "\"a\"", "GATE 100 a");
    for (unsigned i = 0; i < 20; i++) {
        client_send(c, "GATE %u v%u", 200 + i, i);
    }
    for (unsigned i = 0; i < 20; i++) {
        char want[16];
        snprintf(want, sizeof want, "\"v%u\"", i);
        client_expect_next(c, want);
    }
    client_close(c);
    fixture_stop(f);
}
END_TEST

/* ---- Stop, resume, close ---- */

START_TEST(stop_and_resume_by_reason)
{
    const unsigned reasons[] = { STOP_ADMISSION, STOP_BLOCKED, STOP_PAUSED };
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    for (unsigned i = 0; i < countof(reasons); i++) {
        char text[64];
        int n =
            snprintf(text, sizeof text, "PING\r\nSTOP %u 150\r\nPING\r\nECHO y\r\n", reasons[i]);
        client_send_raw(c, text, (size_t)n);
        client_expect_next(c, "+PONG");
        client_expect_next(c, "+OK");
        client_send(c, "ECHO z");
        client_expect_nothing(c, 50);
        if (reasons[i] == STOP_ADMISSION) {
            ck_assert(atomic_load(&f->stopped_asked));
        }
        client_expect_next(c, "+PONG");
        client_expect_next(c, "\"y\"");
        client_expect_next(c, "\"z\"");
    }
    sleep_ms(20);
    ck_assert(!atomic_load(&f->stopped_asked));
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(parked_output_stops_reading)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    char text[64];
    client_send(c, "GATE 7 a");
    int n = snprintf(text, sizeof text, "BYTES 1000\r\nSTOP %u 100000\r\nPING\r\n", STOP_PARKED);
    client_send_raw(c, text, (size_t)n);
    client_expect_nothing(c, 50);
    fixture_release(f, 7); /* less than half is parked now: reading goes on by itself */
    client_expect_next(c, "\"a\"");
    client_read(c);
    client_expect_next(c, "+OK");
    client_expect_next(c, "+PONG");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(blocked_and_unblocked)
{
    struct fixture *f = fixture_run(2);
    struct client *a = connect_to(f), *b = connect_to(f);
    int64_t ha = client_int(a, "HANDLE");
    send_text(a, "BLOCK\r\nPING\r\n");
    client_expect_nothing(a, 30);
    client_expect(b, "+OK", "UNBLOCK %lld", (long long)ha);
    client_expect_next(a, "+UNBLOCKED");
    client_expect_next(a, "+PONG");
    client_close(a);
    client_close(b);
    fixture_stop(f);
}
END_TEST

START_TEST(blocked_client_that_leaves_is_noticed)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    send_text(c, "BLOCK\r\nPING\r\n");
    client_expect_nothing(c, 20);
    client_close(c);
    wait_uint(&f->closed, 1);
    fixture_stop(f);
}
END_TEST

START_TEST(blocked_client_keeps_its_input)
{
    enum { N = 5000 };
    struct fixture *f = fixture_run(2);
    struct client *a = connect_to(f), *b = connect_to(f);
    int64_t ha = client_int(a, "HANDLE");
    client_send(a, "BLOCK");
    char *big = filled(100000);
    const char *argv[] = { "LEN", big };
    const size_t lens[] = { 3, 100000 };
    for (unsigned i = 0; i < N; i++) {
        client_send(a, "ECHO v%u", i);
        if (i % 500 == 0) {
            client_send_args(a, 2, argv, lens);
        }
    }
    client_expect(b, "+OK", "UNBLOCK %lld", (long long)ha);
    client_expect_next(a, "+UNBLOCKED");
    for (unsigned i = 0; i < N; i++) {
        char want[32];
        snprintf(want, sizeof want, "\"v%u\"", i);
        client_expect_next(a, want);
        if (i % 500 == 0) {
            client_expect_next(a, "100000");
        }
    }
    mem_free(big);
    client_close(a);
    client_close(b);
    fixture_stop(f);
}
END_TEST

START_TEST(handles_die_with_their_connection)
{
    struct fixture *f = fixture_run(2);
    struct client *watch = connect_to(f);
    int64_t seen[200];
    for (unsigned i = 0; i < countof(seen); i++) {
        struct client *c = connect_to(f);
        seen[i] = client_int(c, "HANDLE");
        ck_assert_int_ne(seen[i], 0);
        for (unsigned k = 0; k < i; k++) {
            must(seen[k] != seen[i]);
        }
        client_expect(watch, "1", "ALIVE %lld", (long long)seen[i]);
        client_expect(watch, "+OK", "KILL %lld", (long long)seen[i]);
        client_expect_closed(c);
        client_close(c);
        client_expect(watch, "0", "ALIVE %lld", (long long)seen[i]);
        client_expect(watch, "+OK", "KILL %lld", (long long)seen[i]); /* harmless */
    }
    client_expect(watch, "0", "ALIVE 0");
    client_expect(watch, "+PONG", "PING");
    client_close(watch);
    fixture_stop(f);
}
END_TEST

/* ---- Messages and timers ---- */

enum { SENDERS = 4, MESSAGES = 20000 };
struct numbered {
    struct message m;
    unsigned sender, seq;
};
struct sender {
    struct fixture *f;
    unsigned id;
    pthread_t thread;
};
static unsigned next_seq[SENDERS];
static atomic_uint received;

static void numbered_here(struct reactor *r, struct message *m)
{
    struct numbered *n = container_of(m, struct numbered, m);
    must(r == reactor_self());
    must(n->seq == next_seq[n->sender]); /* ck_assert costs a system call */
    next_seq[n->sender]++;
    mem_free(n);
    atomic_fetch_add(&received, 1);
}

static void *send_numbered(void *arg)
{
    struct sender *s = arg;
    ck_assert_ptr_null(reactor_self());
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct numbered *n = mem_alloc(sizeof *n);
        *n = (struct numbered){ .m.run = numbered_here, .sender = s->id, .seq = i };
        reactor_post(net_reactor(s->f->net, 1), &n->m);
        if (i % 1000 == 0) {
            sleep_ms(1); /* lets the receiver fall asleep */
        }
    }
    return NULL;
}

START_TEST(messages_in_order)
{
    struct fixture *f = fixture_run(2);
    struct sender s[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){ .f = f, .id = i };
        pthread_create(&s[i].thread, NULL, send_numbered, &s[i]);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(s[i].thread, NULL);
    }
    wait_uint(&received, SENDERS * MESSAGES);
    fixture_stop(f);
}
END_TEST

static atomic_uint late_runs;

static void count_late(struct reactor *r unused_arg, struct message *m)
{
    mem_free(m);
    atomic_fetch_add(&late_runs, 1);
}

START_TEST(messages_after_the_end_run_once)
{
    struct fixture *f = fixture_run(2);
    net_stop(f->net);
    for (unsigned i = 0; i < 10; i++) {
        struct message *m = mem_alloc(sizeof *m);
        m->run = count_late;
        reactor_post(net_reactor(f->net, i % 2), m);
    }
    net_free(f->net);
    ck_assert_uint_eq(atomic_load(&late_runs), 10);
    mem_free(f);
}
END_TEST

START_TEST(timers_fire_in_time)
{
    struct fixture *f = fixture_run(1);
    enum { N = 40 };
    struct client *c[N];
    int64_t start[N];
    for (unsigned i = 0; i < N; i++) {
        c[i] = connect_to(f);
        start[i] = clock_mono_ms();
        client_send(c[i], "AFTER %u", (N - i) * 5);
    }
    for (unsigned i = 0; i < N; i++) {
        client_expect_next(c[N - 1 - i], "+AFTER");
        ck_assert_int_ge(clock_mono_ms() - start[N - 1 - i], (int64_t)(i + 1) * 5 - 1);
    }
    client_send(c[0], "AFTER 100000"); /* cancelled by the close */
    ck_assert_uint_gt(atomic_load(&f->ticks), 0);
    for (unsigned i = 0; i < N; i++) {
        client_close(c[i]);
    }
    fixture_stop(f);
}
END_TEST

/* Each would be a second late otherwise, and all of them more than the patience of one wait. */
START_TEST(tick_comes_earlier_when_asked)
{
    enum { N = 40 };
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    atomic_store(&f->tick_wait, 1000);
    int64_t until = clock_mono_ms() + unit_patient_ms(10000);
    for (unsigned i = 0; i < N; i++) {
        unsigned before = atomic_load(&f->ticks);
        client_expect(c, "+OK", "TICK %u", i % 3);
        while (atomic_load(&f->ticks) == before) {
            ck_assert_msg(clock_mono_ms() < until, "after %u ticks", i);
            sleep_ms(1);
        }
    }
    client_expect(c, "+OK", "TICK 5000"); /* no later than it would be */
    unsigned before = atomic_load(&f->ticks);
    while (atomic_load(&f->ticks) == before) {
        ck_assert(clock_mono_ms() < until);
        sleep_ms(1);
    }
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(sleep_is_announced)
{
    struct fixture *f = fixture_run(3);
    wait_uint(&f->sleeping, 3);
    unsigned before = atomic_load(&f->sleeps);
    reactor_wake(net_reactor(f->net, 2));
    int64_t until = clock_mono_ms() + unit_patient_ms(5000);
    while (atomic_load(&f->sleeps) == before && clock_mono_ms() < until) {
        sleep_ms(1);
    }
    ck_assert_uint_gt(atomic_load(&f->sleeps), before);
    fixture_stop(f);
}
END_TEST

/* However busy it was: it looks for more only so many times, then it sleeps, and what comes then
 * wakes it, from clients as from other threads. */
START_TEST(sleeps_after_a_burst)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f), *other = connect_to(f);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 1 + round % 7; i++) {
            client_send(c, "PING");
            client_expect_next(c, "+PONG");
        }
        client_send(c, "AFTER 1");
        client_send(other, "PING");
        client_expect_next(other, "+PONG");
        client_read(c);
    }
    wait_uint(&f->sleeping, 1);
    struct net_stats before, after;
    net_stats(f->net, &before);
    sleep_ms(100);
    net_stats(f->net, &after);
    ck_assert_uint_lt(after.turns - before.turns, 100); /* ticks, no more */
    unsigned sleeps = atomic_load(&f->sleeps);
    client_send(c, "PING");
    client_expect_next(c, "+PONG");
    wait_uint(&f->sleeping, 1);
    ck_assert_uint_gt(atomic_load(&f->sleeps), sleeps);
    client_close(c);
    client_close(other);
    fixture_stop(f);
}
END_TEST

/* ---- Many connections ---- */

START_TEST(churn)
{
    rng_seed_all(unit_seed());
    struct fixture *f = fixture_run(4);
    struct client *c[50] = { 0 };
    for (unsigned i = 0; i < 2000; i++) {
        unsigned k = (unsigned)rng_below(countof(c));
        client_close(c[k]);
        c[k] = connect_to(f);
        switch (rng_below(4)) {
        case 0: client_expect(c[k], "+PONG", "PING"); break;
        case 1: client_send(c[k], "BYTES 50000"); break; /* leaves without reading */
        case 2: send_text(c[k], "*2\r\n$4\r\nECHO\r\n$50000\r\nabc"); break;
        default: client_send(c[k], "GATE 5 x"); break;
        }
    }
    for (unsigned k = 0; k < countof(c); k++) {
        client_close(c[k]);
    }
    fixture_release(f, 5);
    wait_uint(&f->opened, 2000);
    wait_uint(&f->closed, 2000);
    struct net_stats st;
    int64_t until =
        clock_mono_ms() +
        unit_patient_ms(10000); /* a connection is counted until after its last upcall */
    do {
        net_stats(f->net, &st);
    } while (st.connected != 0 && clock_mono_ms() < until);
    ck_assert_uint_eq(st.connected, 0);
    ck_assert_uint_eq(st.accepted, 2000);
    fixture_stop(f);
}
END_TEST

static bool count_conn(void *arg, struct conn *c)
{
    must(conn_user(c) != NULL);
    ++*(unsigned *)arg;
    return true;
}

struct counting {
    struct message m;
    atomic_uint done;
    unsigned n;
};

static void count_here(struct reactor *r, struct message *m)
{
    struct counting *k = container_of(m, struct counting, m);
    reactor_each(r, count_conn, &k->n);
    atomic_store(&k->done, 1);
}

START_TEST(spread_over_reactors)
{
    struct fixture *f = fixture_run(4);
    struct client *c[40];
    for (unsigned i = 0; i < countof(c); i++) {
        c[i] = connect_to(f);
        client_expect(c[i], "+PONG", "PING");
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(reactor_conns(net_reactor(f->net, i)), 10);
        struct counting k = { .m.run = count_here };
        reactor_post(net_reactor(f->net, i), &k.m);
        wait_uint(&k.done, 1);
        ck_assert_uint_eq(k.n, 10);
    }
    int64_t hit = client_int(c[5], "REACTOR");
    ck_assert_int_ge(hit, 0);
    ck_assert_int_lt(hit, 4);
    for (unsigned i = 0; i < countof(c); i++) {
        client_close(c[i]);
    }
    fixture_stop(f);
}
END_TEST

/* Reactors beyond the processors get no clients, but one stands in for an only one that is busy. */
START_TEST(spread_over_processors)
{
    struct fixture *f = fixture_new(4);
    struct client *c[8];
    f->config.processors = 2;
    fixture_start(f);
    for (unsigned i = 0; i < countof(c); i++) {
        c[i] = client_connect((uint16_t)f->port);
        client_expect(c[i], "+PONG", "PING");
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(reactor_conns(net_reactor(f->net, i)), i < 2 ? 4 : 0);
    }
    for (unsigned i = 0; i < countof(c); i++) {
        client_close(c[i]);
    }
    fixture_stop(f);
    ck_assert_uint_gt(net_processors(), 0);
}
END_TEST

START_TEST(maxclients_refuses)
{
    struct fixture *f = fixture_new(2);
    f->config.maxclients = 3;
    fixture_start(f);
    struct client *c[3];
    for (unsigned i = 0; i < 3; i++) {
        c[i] = connect_to(f);
        client_expect(c[i], "+PONG", "PING");
    }
    struct client *more = connect_to(f);
    client_expect_next(more, "-ERR max number of clients reached");
    client_expect_closed(more);
    client_close(more);
    struct net_stats st;
    net_stats(f->net, &st);
    ck_assert_uint_eq(st.rejected, 1);
    net_set_maxclients(f->net, 4);
    more = connect_to(f);
    client_expect(more, "+PONG", "PING");
    client_close(more);
    client_close(c[0]);
    wait_uint(&f->closed, 2);
    client_close(c[1]);
    client_close(c[2]);
    fixture_stop(f);
}
END_TEST

START_TEST(out_of_descriptors)
{
    struct fixture *f = fixture_run(1);
    ck_assert_int_eq(fault_arm("net.accept=fail:0:1"), 0);
    struct client *lost = connect_to(f); /* accepted and dropped, as if the kernel had refused */
    client_expect_closed(lost);
    client_close(lost);
    ck_assert_int_eq(fault_arm(""), 0);
    struct client *c = connect_to(f); /* accepting goes on after a pause */
    client_expect(c, "+PONG", "PING");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(idle_connections_own_nothing)
{
    struct fixture *f = fixture_run(1);
    enum { N = 200 };
    struct client *c[N];
    for (unsigned i = 0; i < N; i++) {
        c[i] = connect_to(f);
        client_expect(c[i], "+PONG", "PING");
    }
    size_t before = mem_used();
    for (unsigned i = 0; i < N; i++) {
        char *p = filled(100000);
        send_text(c[i], "*2\r\n$3\r\nLEN\r\n$100000\r\n");
        client_send_raw(c[i], p, 100000);
        send_text(c[i], "\r\n");
        client_expect_next(c[i], "100000");
        client_expect(c[i], "17", "INBYTES");
        send_text(c[i], "BYTES 100000\r\n");
        for (size_t got = 0; got < 100000 + 11;) { /* past the client's own buffer */
            struct pollfd pfd = { .fd = client_fd(c[i]), .events = POLLIN };
            ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
            ssize_t n = recv(client_fd(c[i]), p, 100000, 0);
            ck_assert_int_gt(n, 0);
            got += (size_t)n;
        }
        mem_free(p);
    }
    ck_assert_uint_le(mem_used(), before + 1000000 + N * 1024);
    for (unsigned i = 0; i < N; i++) {
        client_close(c[i]);
    }
    fixture_stop(f);
}
END_TEST

START_TEST(stop_writes_what_is_released)
{
    struct fixture *f = fixture_run(2);
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    client_send(c, "GATE 5 a");
    client_send(c, "GATE 9 b");
    client_expect_nothing(c, 30);
    atomic_store(&f->release, 5); /* nobody is woken */
    fixture_stop(f);
    client_expect_next(c, "\"a\"");
    client_expect_closed(c);
    client_close(c);
}
END_TEST

UNIT_SUITE(net_turn)
{
    unit_case(suite, "gates", gates_release_in_order, more_gates_than_marks,
              bytes_without_a_gate_stay, many_wait_for_gates, release_found_before_sleep);
    unit_case(suite, "stop", stop_and_resume_by_reason, parked_output_stops_reading,
              blocked_and_unblocked, blocked_client_that_leaves_is_noticed,
              blocked_client_keeps_its_input, handles_die_with_their_connection);
    unit_case(suite, "messages", messages_in_order, messages_after_the_end_run_once,
              timers_fire_in_time, tick_comes_earlier_when_asked, sleep_is_announced,
              sleeps_after_a_burst);
    unit_case(suite, "many", churn, spread_over_reactors, spread_over_processors,
              maxclients_refuses, out_of_descriptors, idle_connections_own_nothing,
              stop_writes_what_is_released);
}
