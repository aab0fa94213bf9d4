/* test_net.c -- Connections over real sockets: requests, replies, limits, failures.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "net_fixture.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include <stdio.h>
#include <sys/socket.h>

/* ---- Requests and replies ---- */

START_TEST(echo_and_pipelines)
{
    struct fixture *f = fixture_run(2);
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    client_expect(c, "\"hello\"", "ECHO hello");
    send_text(c, "PING\r\nECHO x\r\n"); /* inline */
    client_expect_next(c, "+PONG");
    client_expect_next(c, "\"x\"");
    for (unsigned i = 0; i < 1000; i++) {
        client_send(c, "ECHO v%u", i);
    }
    for (unsigned i = 0; i < 1000; i++) {
        char want[32];
        snprintf(want, sizeof want, "\"v%u\"", i);
        client_expect_next(c, want);
    }
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(one_read_and_one_write_for_a_pipeline)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    struct net_stats before, after;
    wait_uint(&f->sleeping, 1); /* it counts after it has written */
    net_stats(f->net, &before);
    char request[16 * 6];
    for (unsigned i = 0; i < 16; i++) {
        memcpy(request + 6 * i, "PING\r\n", 6);
    }
    client_send_raw(c, request, sizeof request);
    for (unsigned i = 0; i < 16; i++) {
        client_expect_next(c, "+PONG");
    }
    wait_uint(&f->sleeping, 1);
    net_stats(f->net, &after);
    ck_assert_uint_eq(after.reads - before.reads, 1);
    ck_assert_uint_eq(after.writes - before.writes, 1);
    ck_assert_uint_eq(after.in_bytes - before.in_bytes, sizeof request);
    ck_assert_uint_eq(after.out_bytes - before.out_bytes, 16 * 7);
    ck_assert_uint_eq(after.connected, 1);
    ck_assert_uint_eq(after.accepted, 1);
    ck_assert_uint_gt(after.turns, before.turns);
    ck_assert_uint_ge(after.turn_us, before.turn_us);
    net_stats_reset(f->net);
    net_stats(f->net, &after);
    ck_assert_uint_eq(after.reads, 0);
    ck_assert_uint_eq(after.accepted, 0);
    ck_assert_uint_eq(after.connected, 1);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(requests_in_pieces)
{
    static const char request[] = "*2\r\n$4\r\nECHO\r\n$10\r\n0123456789\r\n";
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    for (size_t i = 0; i < sizeof request - 1; i++) {
        client_send_raw(c, request + i, 1);
        if (i % 8 == 0) {
            sleep_ms(2);
        }
    }
    client_expect_next(c, "\"0123456789\"");
    client_expect(c, "17", "INBYTES"); /* its own 17 bytes: nothing else is kept */
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(big_arguments)
{
    const size_t sizes[] = { 32767, 32768, 65536, 100000, 1000000, 9000000 };
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    for (unsigned i = 0; i < countof(sizes); i++) {
        char *p = filled(sizes[i]);
        const char *argv[] = { "LEN", p };
        const size_t lens[] = { 3, sizes[i] };
        client_send(c, "PING");
        client_send_args(c, 2, argv, lens);
        client_send(c, "PING");
        client_expect_next(c, "+PONG");
        ck_assert_int_eq(client_read(c)->integer, (int64_t)sizes[i]);
        client_expect_next(c, "+PONG");
        mem_free(p);
    }
    ck_assert_uint_ge(atomic_load(&f->took_big), 3);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(protocol_errors_close_after_the_text)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    send_text(c, "PING\r\n*x\r\nPING\r\n");
    client_expect_next(c, "+PONG");
    client_expect_next(c, "-ERR Protocol error: invalid multibulk length");
    client_expect_closed(c);
    client_close(c);
    wait_uint(&f->closed, 1);
    fixture_stop(f);
}
END_TEST

START_TEST(end_of_input_still_gets_replies)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    send_text(c, "PING\r\nGATE 5 x\r\n");
    shutdown(client_fd(c), SHUT_WR);
    client_expect_next(c, "+PONG");
    client_expect_nothing(c, 30);
    fixture_release(f, 5);
    client_expect_next(c, "\"x\"");
    client_expect_closed(c);
    client_close(c);
    wait_uint(&f->closed, 1);
    fixture_stop(f);
}
END_TEST

START_TEST(quit_and_drop)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    send_text(c, "PING\r\nQUIT\r\nPING\r\n");
    client_expect_next(c, "+PONG");
    client_expect_next(c, "+OK");
    client_expect_closed(c);
    client_close(c);
    c = connect_to(f);
    client_send(c, "DROP");
    client_expect_closed(c);
    client_close(c);
    wait_uint(&f->closed, 2);
    fixture_stop(f);
}
END_TEST

/* ---- Writing ---- */

START_TEST(slow_readers_get_every_byte)
{
    struct fixture *f = fixture_run(2);
    struct client *c[4];
    for (unsigned i = 0; i < countof(c); i++) {
        c[i] = connect_to(f);
        client_send(c[i], "BYTES 3000000");
        client_send(c[i], "EXT 3000000");
        client_send(c[i], "PING");
    }
    sleep_ms(50);
    for (unsigned i = 0; i < countof(c); i++) {
        expect_pattern(client_read(c[i]), 3000000);
        sleep_ms(5);
        expect_pattern(client_read(c[i]), 3000000);
        client_expect_next(c[i], "+PONG");
        client_close(c[i]);
    }
    fixture_stop(f);
}
END_TEST

START_TEST(hard_output_limit)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+OK", "LIMITS 1000000 0 0");
    client_ask(c, "BYTES 900000");
    client_send(c, "BYTES 1100000");
    client_expect_closed(c);
    client_close(c);
    wait_uint(&f->limits, 1);
    ck_assert_str_eq(atomic_load(&f->limit_what), "hard output buffer limit");
    struct net_stats st;
    net_stats(f->net, &st);
    ck_assert_uint_eq(st.output_limit_closed, 1);
    fixture_stop(f);
}
END_TEST

START_TEST(soft_output_limit)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+OK", "LIMITS 0 10000 1");
    int64_t start = clock_mono_ms();
    client_send(c, "GATE 9 x");
    client_send(c, "BYTES 20000"); /* waits behind the gate */
    wait_uint(&f->limits, 1);
    ck_assert_int_ge(clock_mono_ms() - start, 900);
    ck_assert_str_eq(atomic_load(&f->limit_what), "soft output buffer limit");
    client_expect_closed(c);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(soft_limit_forgets)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+OK", "LIMITS 0 10000 1");
    for (unsigned i = 1; i <= 3; i++) {
        client_send(c, "GATE %u x", i);
        client_send(c, "BYTES 20000");
        sleep_ms(500);
        fixture_release(f, i);
        client_expect_next(c, "\"x\"");
        client_read(c);
    }
    client_expect(c, "+PONG", "PING");
    ck_assert_uint_eq(atomic_load(&f->limits), 0);
    client_close(c);
    fixture_stop(f);
}
END_TEST

/* Other seconds count from when it was first above the limit. */
START_TEST(soft_limit_changes)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    send_text(c, "LIMITS 0 10000 1\r\nGATE 9 x\r\nBYTES 40000\r\nLIMITS 0 10000 3600\r\n");
    client_expect_next(c, "+OK");
    sleep_ms(1500);
    ck_assert_uint_eq(atomic_load(&f->limits), 0);
    client_send(c, "LIMITS 0 10000 1");
    wait_uint(&f->limits, 1);
    ck_assert_str_eq(atomic_load(&f->limit_what), "soft output buffer limit");
    client_expect_closed(c);
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(query_limit)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+OK", "QUERYLIMIT 1000000");
    char *p = filled(2000000);
    send_text(c, "*2\r\n$3\r\nLEN\r\n$500000\r\n");
    client_send_raw(c, p, 500000);
    send_text(c, "\r\n");
    client_expect_next(c, "500000");
    send_text(c, "*2\r\n$3\r\nLEN\r\n$2000000\r\n");
    client_try_send_raw(c, p, 1500000);
    client_expect_closed(c);
    mem_free(p);
    client_close(c);
    wait_uint(&f->limits, 1);
    ck_assert_str_eq(atomic_load(&f->limit_what), "query buffer limit");
    fixture_stop(f);
}
END_TEST

/* ---- Failures ---- */

START_TEST(one_byte_at_a_time)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    ck_assert_int_eq(fault_arm("net.read=short:0:0,net.write=short:0:0"), 0);
    for (unsigned i = 0; i < 20; i++) {
        client_send(c, "ECHO value%u", i);
    }
    client_send(c, "GATE 5 x");
    client_send(c, "EXT 3000");
    for (unsigned i = 0; i < 20; i++) {
        char want[16];
        snprintf(want, sizeof want, "\"value%u\"", i);
        client_expect_next(c, want);
    }
    client_expect_nothing(c, 20);
    fixture_release(f, 5);
    client_expect_next(c, "\"x\"");
    expect_pattern(client_read(c), 3000);
    ck_assert_int_eq(fault_arm(""), 0);
    client_expect(c, "+PONG", "PING");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(broken_connections_are_freed)
{
    const char *const faults[] = { "net.read=fail", "net.write=fail", "net.read=eio",
                                   "net.write=eio" };
    struct fixture *f = fixture_run(1);
    for (unsigned i = 0; i < countof(faults); i++) {
        struct client *c = connect_to(f);
        client_expect(c, "+PONG", "PING");
        ck_assert_int_eq(fault_arm(faults[i]), 0);
        client_send(c, "PING");
        client_expect_closed(c);
        client_close(c);
        wait_uint(&f->closed, i + 1);
    }
    struct client *c = connect_to(f);
    client_expect(c, "+PONG", "PING");
    ck_assert_int_eq(fault_arm("net.read=eintr,net.write=eintr"), 0); /* tried again */
    client_expect(c, "+PONG", "PING");
    client_close(c);
    fixture_stop(f);
}
END_TEST

START_TEST(out_of_memory_closes_one)
{
    struct fixture *f = fixture_run(1);
    struct client *c = connect_to(f), *other = connect_to(f);
    client_expect(c, "+PONG", "PING");
    client_expect(other, "+PONG", "PING");
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    send_text(c, "*2\r\n$4\r\nECHO\r\n$5\r\nab"); /* the rest must be kept */
    client_expect_closed(c);
    wait_uint(&f->limits, 1);
    ck_assert_str_eq(atomic_load(&f->limit_what), "out of memory for the query buffer");
    ck_assert_int_eq(fault_arm(""), 0);
    client_close(c);
    c = connect_to(f);
    char *p = filled(100000);
    send_text(c, "*2\r\n$3\r\nLEN\r\n$200000\r\n");
    client_send_raw(c, p, 100000);
    client_expect(other, "+PONG", "PING");
    sleep_ms(50); /* its buffer has room for what came; more needs memory */
    ck_assert_int_eq(fault_arm("mem.alloc=nomem:0:0"), 0);
    client_try_send_raw(c, p, 100000);
    client_try_send_raw(c, p, 100000);
    mem_free(p);
    wait_uint(&f->closed, 2);
    ck_assert_int_eq(fault_arm(""), 0);
    client_expect(other, "+PONG", "PING");
    client_close(c);
    client_close(other);
    fixture_stop(f);
}
END_TEST

UNIT_SUITE(net)
{
    unit_case(suite, "requests", echo_and_pipelines, one_read_and_one_write_for_a_pipeline,
              requests_in_pieces, big_arguments, protocol_errors_close_after_the_text,
              end_of_input_still_gets_replies, quit_and_drop);
    unit_case(suite, "writing", slow_readers_get_every_byte, hard_output_limit, soft_output_limit,
              soft_limit_forgets, soft_limit_changes, query_limit);
    unit_case(suite, "failures", one_byte_at_a_time, broken_connections_are_freed,
              out_of_memory_closes_one);
}
