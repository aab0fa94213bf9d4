/* test_log_begin_types.c -- Integration tests of a log that begins while values of every type,
 * large ones too, are changed: what it holds is what is in memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EACH    4    /* keys of a type */
#define LARGE   4000 /* members of one: enough to be written outside of the lock */
#define MEMBERS 8000 /* names of members in use */
#define CLIENTS 4
#define FIELDS  40 /* whose dues are compared */

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    if (server_running(&kv)) {
        server_stop(&kv);
    }
}

struct load {
    pthread_t thread;
    unsigned seed;
};
static _Atomic bool load_ends;

/* `lines` with its first three @ replaced by numbers. */
static size_t expand(char *to, const char *lines, unsigned a, unsigned b, unsigned c)
{
    unsigned numbers[] = { a, b, c }, at = 0;
    char *p = to;
    for (; *lines != '\0'; lines++) {
        if (*lines == '@' && at < 3) {
            p += sprintf(p, "%u", numbers[at++]);
        } else {
            *p++ = *lines;
        }
    }
    return (size_t)(p - to);
}

static const char *const fillers[] = {
    "HSET h@ m@ 0123456789012345678901234567890123456789@\r\n",
    "HSETEX h@ EX 1000 FIELDS 1 m@ v@\r\n",
    "SADD s@ m@-@\r\n",
    "ZADD z@ @ m@\r\n",
    "XADD x@ 1-@ f @\r\n",
    "RPUSH l@ e@-@\r\n",
};

static void fill(struct client *c)
{
    char line[128];
    for (unsigned key = 0; key < EACH; key++) {
        for (unsigned f = 0; f < sizeof fillers / sizeof *fillers; f++) {
            for (unsigned i = 1; i <= (key == 0 ? 20 : LARGE); i++) {
                client_send_raw(c, line, expand(line, fillers[f], key, i, i));
            }
            for (unsigned i = 1; i <= (key == 0 ? 20 : LARGE); i++) {
                ck_assert_int_ne(client_read(c)->type, RESP_ERROR);
            }
        }
        client_expect(c, "+OK", "XGROUP CREATE x%u g 0", key);
        (void)client_ask(c, "XREADGROUP GROUP g a COUNT 1000 STREAMS x%u >", key);
    }
}

/* ---- A random mixture ---- */

static const char *const changes[] = {
    "HSET h@ m@ v h@ w\r\n",
    "HDEL h@ m@ m@\r\n",
    "HINCRBY h@ count @\r\n",
    "HPEXPIRE h@ 20 FIELDS 2 m@ m1@\r\n",
    "HEXPIRE h@ 10000@ FIELDS 1 m1@\r\n",
    "HPERSIST h@ FIELDS 2 m@ m1@\r\n",
    "HGETDEL h@ FIELDS 1 m@\r\n",
    "HGETEX h@ PX 15 FIELDS 1 m@\r\n",
    "HSETEX h@ KEEPTTL FIELDS 1 m@ x\r\n",
    "SADD s@ m@ m@\r\n",
    "SREM s@ m@-@\r\n",
    "SPOP s@ 3\r\n",
    "SMOVE s@ s@ m@\r\n",
    "SINTERSTORE s@ s1 s2\r\n",
    "SDIFFSTORE s0 s@ s2\r\n",
    "ZADD z@ @ m@\r\n",
    "ZINCRBY z@ 0.1 m@\r\n",
    "ZREM z@ m@\r\n",
    "ZPOPMIN z@ 2\r\n",
    "ZREMRANGEBYRANK z@ -3 -2\r\n",
    "ZREMRANGEBYSCORE z@ 5@ 6000\r\n",
    "ZUNIONSTORE z0 2 z@ z2 WEIGHTS 2 1 AGGREGATE MAX\r\n",
    "ZRANGESTORE z0 z@ 0 100\r\n",
    "GEOADD z@ 13.3 52.5 m@\r\n",
    "XADD x@ * f @\r\n",
    "XADD x@ MAXLEN ~ 3900 * f @\r\n",
    "XTRIM x@ MAXLEN 3950\r\n",
    "XDEL x@ 1-@\r\n",
    "XREADGROUP GROUP g b COUNT 7 STREAMS x@ >\r\n",
    "XACK x@ g 1-@\r\n",
    "XCLAIM x@ g c 0 1-@\r\n",
    "XAUTOCLAIM x@ g b 0 1-@ COUNT 5\r\n",
    "XGROUP CREATE x@ g@ $ MKSTREAM\r\n",
    "XGROUP DESTROY x@ g@\r\n",
    "XGROUP CREATECONSUMER x@ g d@\r\n",
    "XGROUP DELCONSUMER x@ g c\r\n",
    "XSETID x@ 99999999999999-@\r\n",
    "RPUSH l@ @\r\n",
    "LREM l@ 1 e@-@\r\n",
    "LINSERT l@ BEFORE e@-1@ n\r\n",
    "LTRIM l@ 0 3900\r\n",
    "SORT l@ ALPHA LIMIT 0 50 STORE l0\r\n",
    "PFADD p@ @ @\r\n",
    "PFMERGE p0 p@ p1\r\n",
    "SETBIT b@ 100@ 1\r\n",
    "BITOP XOR b0 b@ b1\r\n",
    "APPEND b@ @\r\n",
    "PEXPIRE h@ 20 NX\r\n",
    "EXPIRE z@ 10000@\r\n",
    "PERSIST z@\r\n",
    "PERSIST h@\r\n",
    "RENAME h@ h0\r\n",
    "COPY x@ x0 REPLACE\r\n",
    "COPY z@ z0 REPLACE\r\n",
    "COPY h@ h0 REPLACE\r\n",
    "UNLINK s@\r\n",
    "MULTI\r\nHSET h@ m@ v\r\nZADD z1 1 m\r\nXADD x1 * a b\r\nSPOP s1\r\nEXEC\r\n",
    "EVAL \"redis.call('HSET',KEYS[1],ARGV[1],1) redis.call('ZADD',KEYS[2],2,ARGV[1]) return 1\" "
    "2 h@ z1 m@\r\n",
    "EVAL \"redis.call('SADD','s'..ARGV[1],ARGV[2]) redis.call('XADD','x1','*','a','b') return 1\" "
    "0 @ m@\r\n",
    "EVAL \"redis.call('DEL',KEYS[1]) redis.call('HSET',KEYS[1],'a','b') return redis.call('LPUSH',"
    "'h1','x')\" 1 h@\r\n", /* fails in its middle */
};

static unsigned replies_of(const char *lines)
{
    unsigned n = 0;
    for (; (lines = strstr(lines, "\r\n")) != NULL; lines += 2) {
        n++;
    }
    return n;
}

static void *load_run(void *arg)
{
    struct load *l = arg;
    struct client *c = client_connect(kv.port);
    char line[512];
    while (!atomic_load(&load_ends)) {
        unsigned a = (unsigned)rand_r(&l->seed), b = (unsigned)rand_r(&l->seed);
        const char *what = changes[b / 7 % (sizeof changes / sizeof *changes)];
        client_send_raw(c, line, expand(line, what, a % EACH, a / 7 % MEMBERS, b % EACH));
        for (unsigned r = replies_of(what); r > 0; r--) {
            (void)client_read(c);
        }
    }
    client_close(c);
    return NULL;
}

/* The digest, and when keys and fields are due. */
static char *state(struct client *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    for (const char *type = "hszxlpb"; *type != '\0'; type++) {
        for (unsigned key = 0; key < EACH; key++) {
            const char *due = client_line(c, "PEXPIRETIME %c%u", *type, key);
            fprintf(f, "\n%c%u %s", *type, key, due);
            fprintf(f, " %s", client_line(c, "DEBUG DIGEST-VALUE %c%u", *type, key));
        }
    }
    for (unsigned key = 0; key < EACH; key++) {
        for (unsigned i = 1; i < FIELDS; i++) {
            fprintf(f, "\nh%u m%u %s", key, i,
                    client_line(c, "HPEXPIRETIME h%u FIELDS 1 m%u", key, i));
        }
    }
    fprintf(f, "\n%s", client_line(c, "DEBUG DIGEST"));
    fclose(f);
    return text;
}

/* Line by line: all of it would be too much for a message. */
static void must_equal(char *a, char *b)
{
    char *in_a = NULL, *in_b = NULL;
    char *one = strtok_r(a, "\n", &in_a), *other = strtok_r(b, "\n", &in_b);
    while (one != NULL && other != NULL) {
        ck_assert_str_eq(one, other);
        one = strtok_r(NULL, "\n", &in_a);
        other = strtok_r(NULL, "\n", &in_b);
    }
    ck_assert_ptr_eq(one, other);
}

static const char *const slow[] = { "", "exec.image=delay1:0:0", "exec.image_behind=delay10:0:0",
                                    "exec.image=delay1:0:0,exec.image_behind=delay100:0:5" };

START_TEST(test_types_begin_under_load)
{
    struct load load[CLIENTS];
    server_env(&kv, "KV_FAULTS", slow[_i]);
    server_start(&kv, "--threads", "4", "--appendonly", "no");
    struct client *c = server_connect(&kv);
    fill(c);
    for (unsigned i = 0; i < CLIENTS; i++) {
        load[i].seed = (unsigned)unit_seed() + i;
        ck_assert_int_eq(pthread_create(&load[i].thread, NULL, load_run, &load[i]), 0);
    }
    client_timeout(c, 60000);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    usleep(50000);
    atomic_store(&load_ends, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(load[i].thread, NULL);
    }
    usleep(200000); /* what expires has expired */
    char *before = state(c);
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--appendonly", "yes");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    char *after = state(c);
    must_equal(after, before);
    free(before);
    free(after);
    client_close(c);
}
END_TEST

UNIT_SUITE(log_begin_types)
{
    tcase_add_checked_fixture(unit_case_loop(suite, "all types", 300, test_types_begin_under_load,
                                             sizeof slow / sizeof slow[0]),
                              setup, teardown);
}
