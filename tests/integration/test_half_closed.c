/* test_half_closed.c -- A client sends all it has to say and ends its side, while a command of it
 * waits for a thread that works with files: it is answered as if it had stayed.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The thread takes its time, so that the end is read before the reply is there. Where it is not,
 * nothing is tested, and nothing fails. */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct server kv;
static struct client *c;

static void write_file(const char *path)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("\n", f);
    fclose(f);
}

static void setup(void)
{
    char users[340];
    server_init(&kv, SERVER_KV);
    snprintf(users, sizeof users, "%s/users.acl", kv.dir);
    snprintf(kv.conf, sizeof kv.conf, "%s/kv.conf", kv.dir);
    write_file(users);
    write_file(kv.conf);
    server_start(&kv, "--threads", "2", "--aclfile", users, "--unixsocket", kv.socket);
    server_wait_ready(&kv);
    c = server_connect(&kv);
}

static void teardown(void)
{
    client_close(c);
    server_stop(&kv);
}

static void arm(void)
{
#ifdef KV_FAULTS
    client_expect(c, "+OK", "DEBUG FAULT exec.replace_file=delay100");
#endif
}

static void end_side(struct client *half)
{
    ck_assert_int_eq(shutdown(client_fd(half), SHUT_WR), 0);
}

static const struct {
    const char *sent, *replies[10];
} inputs[] = {
    { "CONFIG REWRITE\r\nPING\r\n", { "+OK", "+PONG" } },
    { "SET k v\r\nACL SAVE\r\nGET k\r\n", { "+OK", "+OK", "\"v\"" } },
    { "CONFIG REWRITE\r\nINCR n\r\nACL SAVE\r\nCONFIG REWRITE\r\nINCR n\r\nACL SAVE\r\n",
      { "+OK", "1", "+OK", "+OK", "2", "+OK" } },
    { "ACL SAVE\r\nINCR n\r\nCONFIG SET appendonly no\r\nINCR n\r\nCONFIG SET appendonly yes\r\n"
      "INCR n\r\n",
      { "+OK", "1", "+OK", "2", "+OK", "3" } },
    { "CONFIG REWRITE\r\nMULTI\r\nCONFIG REWRITE\r\nINCR n\r\nEXEC\r\nACL SAVE\r\nPING\r\n",
      { "+OK", "+OK", "+QUEUED", "+QUEUED", "[+OK, 1]", "+OK", "+PONG" } },
    { "CONFIG REWRITE\r\nMULTI\r\nINCR n\r\n", { "+OK", "+OK", "+QUEUED" } },
    { "CONFIG REWRITE\r\nRPUSH list a\r\nBLPOP list 0\r\nBLPOP list 0\r\nPING\r\n",
      { "+OK", "1", "[\"list\", \"a\"]" } },
    { "CONFIG REWRITE\r\nCLIENT PAUSE 100000 WRITE\r\nINCR n\r\nPING\r\n", { "+OK", "+OK" } },
    { "CLIENT REPLY SKIP\r\nCONFIG REWRITE\r\nCLIENT REPLY OFF\r\nACL SAVE\r\nCLIENT REPLY ON\r\n"
      "PING\r\n",
      { "+OK", "+PONG" } },
    { "CONFIG REWRITE\r\nQUIT\r\nINCR n\r\n", { "+OK", "+OK" } },
    { "CONFIG REWRITE\r\nPING\r\n*x\r\nINCR n\r\n",
      { "+OK", "+PONG", "-ERR Protocol error: invalid multibulk length" } },
    { "CONFIG REWRITE\r\nPING\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn", { "+OK", "+PONG" } },
};

START_TEST(test_answered)
{
    for (unsigned i = 0; i < 2; i++) {
        struct client *half = i == 0 ? server_connect(&kv) : client_connect_unix(kv.socket);
        client_expect(c, "+OK", "FLUSHALL");
        arm();
        client_send_raw(half, inputs[_i].sent, strlen(inputs[_i].sent));
        end_side(half);
        for (unsigned r = 0; inputs[_i].replies[r] != NULL; r++) {
            client_expect_next(half, inputs[_i].replies[r]);
        }
        client_expect_closed(half);
        client_close(half);
        client_expect(c, "+OK", "CLIENT UNPAUSE");
        client_expect(c, "1", "RPUSH list v"); /* nobody waits for it any more */
        client_expect(c, "1", "LLEN list");
    }
}
END_TEST

/* More than one read, and more than a batch; at last an argument with a buffer of its own. */
START_TEST(test_long_input)
{
    enum { INCRS = 3000, BIG = 1 << 20 };
    struct client *half = server_connect(&kv);
    arm();
    client_send(half, "CONFIG REWRITE");
    for (unsigned i = 0; i < INCRS; i++) {
        client_send(half, "INCR n");
    }
    client_send(half, "ACL SAVE");
    char *big = malloc(BIG);
    ck_assert_ptr_nonnull(big);
    memset(big, 'b', BIG);
    client_send_args(half, 3, (const char *const[]){ "SET", "big", big },
                     (const size_t[]){ 3, 3, BIG });
    free(big);
    client_send(half, "STRLEN big");
    end_side(half);
    client_expect_next(half, "+OK");
    for (unsigned i = 1; i <= INCRS; i++) {
        ck_assert_int_eq(client_read(half)->integer, i);
    }
    client_expect_next(half, "+OK");
    client_expect_next(half, "+OK");
    client_expect_next(half, "1048576");
    client_expect_closed(half);
    client_close(half);
}
END_TEST

/* Until the peer closes, whatever comes before. */
static void drain(struct client *half)
{
    const struct resp *r;
    while (client_try_read(half, &r) == RESP_OK) {
    }
    client_expect_closed(half);
    client_close(half);
}

/* Whoever is killed, or leaves without a word, while its command waits: nobody is there any more
 * when the reply comes. */
START_TEST(test_killed)
{
    struct client *half[3];
    arm();
    for (unsigned i = 0; i < countof(half); i++) {
        half[i] = server_connect(&kv);
        client_send_raw(half[i], "CONFIG REWRITE\r\nACL SAVE\r\nPING\r\n", 32);
        if (i > 0) {
            end_side(half[i]);
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        struct linger now = { 1, 0 };
        ck_assert_int_eq(setsockopt(client_fd(half[i]), SOL_SOCKET, SO_LINGER, &now, sizeof now),
                         0);
        client_close(half[i]);
    }
    client_ask(c, "CLIENT KILL TYPE normal"); /* unless it has been answered by now */
    drain(half[2]);
    client_expect(c, "+OK", "CONFIG REWRITE"); /* behind theirs */
    client_expect(c, "+PONG", "PING");
}
END_TEST

START_TEST(test_shutdown)
{
    struct client *waits = server_connect(&kv), *half = server_connect(&kv);
    arm();
    client_send_raw(waits, "ACL SAVE\r\nCONFIG REWRITE\r\nPING\r\n", 32);
    end_side(waits);
    client_expect(half, "+OK", "SET k v");
    client_send_raw(half, "SHUTDOWN\r\nSET k w\r\n", 19);
    end_side(half);
    client_expect_closed(half);
    drain(waits);
    ck_assert_int_eq(server_wait_exit(&kv, unit_patient_ms(20000)), 0);
    client_close(half);
    client_close(c);
    server_start(&kv);
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, "\"v\"", "GET k");
}
END_TEST

UNIT_SUITE(half_closed)
{
    TCase *tc = unit_case_loop(suite, "answered", 60, test_answered, (int)countof(inputs));
    tcase_add_checked_fixture(tc, setup, teardown);
    tc = unit_case(suite, "ends", test_long_input, test_killed, test_shutdown);
    tcase_add_checked_fixture(tc, setup, teardown);
}
