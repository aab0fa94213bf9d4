/* test_log_begin.c -- Integration tests of a log that begins under load: what it holds when OK is
 * said is what is in memory.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "lib/server.h"
#include "lib/unit.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATABASES 3
#define LISTS     6
#define ELEMENTS  400 /* of 1,000 bytes: large enough to be written outside of the lock */
#define KEYS      40
#define CLIENTS   4
#define EACH      4    /* keys of a type */
#define LARGE     4000 /* members of one: enough to be written outside of the lock */
#define MEMBERS   8000 /* names of members in use */
#define FIELDS    40   /* whose dues are compared */

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

static void fill_list(struct client *c, const char *key, unsigned n)
{
    static const char word[1001] = { [0 ... 999] = 'e' };
    for (unsigned i = 0; i < n; i++) {
        client_send(c, "RPUSH %s %u%s", key, i, word);
    }
    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(client_read(c)->type, RESP_INT);
    }
}

/* ---- A random mixture ---- */

struct load {
    pthread_t thread;
    unsigned seed;
    void (*random)(char *line, size_t size, unsigned *seed);
};
static _Atomic bool load_ends;

static void random_transaction(char *line, size_t size, unsigned *seed)
{
    unsigned a = (unsigned)rand_r(seed), b = (unsigned)rand_r(seed);
    /* DBSIZE and FLUSHDB make it exclusive. */
    static const char *const middle[] = { "GET k1", "DBSIZE", "SWAPDB 0 1", "FLUSHDB" };
    snprintf(line, size, "MULTI\r\nSET k%u %u\r\n%s\r\nRPUSH list%u x\r\nSET k%u y\r\nEXEC\r\n",
             a % KEYS, b,
             middle[b % 100 == 0  ? 3
                    : b % 50 == 1 ? 2
                                  : b % 2],
             a % LISTS, b % KEYS);
}

static void random_lines(char *line, size_t size, unsigned *seed)
{
    unsigned a = (unsigned)rand_r(seed), b = (unsigned)rand_r(seed), l = a / 7 % LISTS;
    switch (a % 24) {
    case 0: snprintf(line, size, "RPUSH list%u p%u\r\n", l, b); break;
    case 1: snprintf(line, size, "LPOP list%u\r\n", l); break;
    case 2: snprintf(line, size, "LSET list%u 5 s%u\r\n", l, b); break;
    case 3: snprintf(line, size, "LMOVE list%u list%u LEFT RIGHT\r\n", l, b % LISTS); break;
    case 4: snprintf(line, size, "LMOVE list%u k%u RIGHT LEFT\r\n", l, b % KEYS); break;
    case 5: snprintf(line, size, "RENAME list%u list%u\r\n", l, b % LISTS); break;
    case 6: snprintf(line, size, "RENAME k%u k%u\r\n", a / 7 % KEYS, b % KEYS); break;
    case 7: snprintf(line, size, "COPY list%u list%u REPLACE\r\n", l, b % LISTS); break;
    case 8: snprintf(line, size, "COPY list%u list%u DB 2 REPLACE\r\n", l, b % LISTS); break;
    case 9: snprintf(line, size, "MOVE k%u 2\r\n", b % KEYS); break;
    case 10: snprintf(line, size, "MSET k%u 1 k%u 2\r\n", a / 7 % KEYS, b % KEYS); break;
    case 11: snprintf(line, size, "SET k%u v PX %u\r\n", b % KEYS, 1 + a / 7 % 40); break;
    case 12: snprintf(line, size, "PERSIST k%u\r\n", b % KEYS); break;
    case 13: snprintf(line, size, "SELECT %u\r\n", b % DATABASES); break;
    case 14: snprintf(line, size, "SWAPDB 0 %u\r\n", b % 40 == 0 ? 1 : 0); break;
    case 15: snprintf(line, size, "%s\r\n", b % 100 == 0 ? "FLUSHDB" : "DBSIZE"); break;
    case 16: snprintf(line, size, "SETRANGE k%u 2000000 x\r\n", b % KEYS); break;
    case 17: snprintf(line, size, "DEL k%u k%u\r\n", a / 7 % KEYS, b % KEYS); break;
    case 18: random_transaction(line, size, seed); break;
    default: snprintf(line, size, "INCR k%u\r\n", b % KEYS); break;
    }
}

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
        l->random(line, sizeof line, &l->seed);
        client_send_raw(c, line, strlen(line));
        for (unsigned r = replies_of(line); r > 0; r--) {
            (void)client_read(c);
        }
    }
    client_close(c);
    return NULL;
}

static char *digest(struct client *c)
{
    return strdup(client_line(c, "DEBUG DIGEST"));
}

/* ---- Values of every type ---- */

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

static void fill_types(struct client *c)
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

/* @ are, in this order, a key, another number, another key. */
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

static void random_change(char *line, size_t size, unsigned *seed)
{
    unsigned a = (unsigned)rand_r(seed), b = (unsigned)rand_r(seed);
    const char *what = changes[b / 7 % (sizeof changes / sizeof *changes)];
    ck_assert_uint_lt(strlen(what) + 30, size);
    line[expand(line, what, a % EACH, a / 7 % MEMBERS, b % EACH)] = '\0';
}

/* ---- The log begins ---- */

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

/* What the log holds when it has begun while CLIENTS change what `fill` made. how: KV_FAULTS. */
static void begins_under_load(const char *how, void (*fill)(struct client *c),
                              void (*random)(char *, size_t, unsigned *))
{
    struct load load[CLIENTS];
    server_env(&kv, "KV_FAULTS", how);
    server_start(&kv, "--threads", "4", "--appendonly", "no");
    struct client *c = server_connect(&kv);
    fill(c);
    for (unsigned i = 0; i < CLIENTS; i++) {
        load[i].seed = (unsigned)unit_seed() + i;
        load[i].random = random;
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

static void fill_lists(struct client *c)
{
    for (unsigned db = 0; db < DATABASES; db++) {
        client_expect(c, "+OK", "SELECT %u", db);
        for (unsigned i = 0; i < LISTS; i++) {
            char key[16];
            snprintf(key, sizeof key, "list%u", i);
            fill_list(c, key, ELEMENTS);
        }
    }
}

static const char *const slow[] = { "", "exec.image=delay1:0:0", "exec.image_behind=delay10:0:0",
                                    "exec.image=delay1:0:0,exec.image_behind=delay100:0:5" };

START_TEST(test_begins_under_load)
{
    begins_under_load(slow[_i], fill_lists, random_lines);
}
END_TEST

/* Values of every type, large ones too. */
START_TEST(test_types_begin_under_load)
{
    begins_under_load(slow[_i], fill_types, random_change);
}
END_TEST

/* While a large value waits to be written its changes wait behind it, and nobody else: what they
 * queue is bounded. */
START_TEST(test_queue_is_bounded)
{
    static const char mib[1 << 20] = { [0 ...(1 << 20) - 1] = 'm' };
    server_env(&kv, "KV_FAULTS", "exec.image_behind=delay1500:0:1");
    server_start(&kv, "--threads", "4", "--appendonly", "no");
    struct client *c = server_connect(&kv), *w = server_connect(&kv), *r = server_connect(&kv);
    fill_list(c, "list", ELEMENTS);
    client_expect(c, "+OK", "SET other 1");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(r, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    usleep(200000);
    client_timeout(w, 60000);
    const char *const push[] = { "RPUSH", "list", mib };
    const size_t lens[] = { 5, 4, sizeof mib };
    for (unsigned i = 0; i < 48; i++) {
        client_send_args(w, 3, push, lens);
        client_expect(r, "2", "INCR other");
        client_expect(r, "1", "DECR other");
    }
    for (unsigned i = 0; i < 48; i++) {
        ck_assert_int_eq(client_read(w)->integer, ELEMENTS + 1 + i);
    }
    client_expect_next(c, "+OK");
    char *before = digest(c);
    client_close(c);
    client_close(w);
    client_close(r);
    server_kill(&kv);
    server_start(&kv, "--appendonly", "yes");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    char *after = digest(c);
    ck_assert_str_eq(after, before);
    free(before);
    free(after);
    client_close(c);
}
END_TEST

/* Nothing can be waited for before the log is whole, and everything after. */
START_TEST(test_waitaof_while_it_begins)
{
    server_env(&kv, "KV_FAULTS", "server.log_imaged=delay1000");
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(d, "+OK", "SET k v");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    client_expect_error(d, "ERR WAITAOF cannot be used", "WAITAOF 1 0 1000");
    client_expect_next(c, "+OK");
    client_expect(d, "[1, 0]", "WAITAOF 1 0 0");
    client_close(c);
    client_close(d);
}
END_TEST

/* Without a prepared segment a full disk means that nothing at all can be written. */
static void wait_prepared(struct client *c)
{
    while (strstr(client_ask(c, "INFO durability")->text, "wal_prepared_segments:2") == NULL) {
        usleep(1000);
    }
}

/* appendonly no: while the disk is full replies wait for the end of the log, also when the server
 * stops meanwhile. Who was told OK finds the key. */
START_TEST(test_stopped_while_it_ends)
{
#ifdef KV_FAULTS
    static char big[3 << 20];
    memset(big, 'v', sizeof big);
    const char *const set[] = { "SET", "k", big };
    const size_t lens[] = { 3, 1, sizeof big };
    server_start(&kv, "--threads", "2", "--wal-segment-size", "1mb");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(d, "+OK", "SET before 1");
    wait_prepared(d);
    client_expect(d, "+OK", "DEBUG FAULT wal.segment_zero=enospc:0:0,exec.append=delay2000:1:1");
    client_expect(d, "+OK", "DEBUG AOF-FLUSH-SLEEP 1000000");
    client_send(c, "SET slowly 1");
    usleep(100000);
    client_send(d, "CONFIG SET appendonly no"); /* it waits for that write first */
    usleep(200000);
    client_send_args(c, 3, set, lens); /* and meanwhile there is one more, without space */
    bool ended = false; /* before that write: on a machine that sleeps for a second */
    while (!ended && !server_log_has(&kv, "no segment can be prepared")) {
        ended = server_log_has(&kv, "the log ends at LSN");
        usleep(10000);
    }
    ck_assert_int_eq(kill(kv.pid, SIGTERM), 0);
    const struct resp *r = NULL;
    client_expect_next(c, "+OK");
    bool told = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
    (void)server_wait_exit(&kv, 30000);
    client_close(c);
    client_close(d);
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET before");
    ck_assert(!told || ended || client_int(c, "EXISTS k") == 1);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* Sends d something that needs more space than there is, and waits until the server knows. */
static void fill_disk(struct client *d)
{
    static char big[3 << 20];
    memset(big, 'v', sizeof big);
    const char *const set[] = { "SET", "k", big };
    const size_t lens[] = { 3, 1, sizeof big };
    wait_prepared(d);
    client_expect(d, "+OK", "DEBUG FAULT wal.segment_zero=enospc:0:0");
    client_send_args(d, 3, set, lens);
    server_wait_log(&kv, 0, "no segment can be prepared", 60000);
}

/* appendonly yes: OK says that all that was done before is durable, also when the server stops
 * while the disk has no space for the last of it. */
START_TEST(test_stopped_while_it_begins)
{
#ifdef KV_FAULTS
    server_env(&kv, "KV_FAULTS", "server.after_current=delay2000");
    server_start(&kv, "--threads", "2", "--appendonly", "no", "--wal-segment-size", "1mb");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    char current[400];
    snprintf(current, sizeof current, "%s/wal/CURRENT", kv.dir);
    ck_assert_int_ne(access(current, F_OK), 0);
    client_send(c, "CONFIG SET appendonly yes");
    while (access(current, F_OK) != 0) {
        usleep(1000);
    }
    fill_disk(d);
    const struct resp *r = NULL;
    client_timeout(d, 5000);
    bool before = client_try_read(d, &r) == RESP_OK; /* nothing was promised yet */
    usleep(2000000);
    ck_assert_int_eq(kill(kv.pid, SIGTERM), 0);
    bool told = client_try_read(c, &r) == RESP_OK && r->type != RESP_ERROR;
    (void)server_wait_exit(&kv, 30000);
    client_close(c);
    client_close(d);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    ck_assert(!told || !before || client_int(c, "EXISTS k") == 1);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

static const char *const modes[] = { "always", "everysec", "no" };

/* appendonly no: until nothing more is promised, what is acknowledged survives the end of the
 * process, in every mode. */
START_TEST(test_killed_while_it_ends)
{
#ifdef KV_FAULTS
    server_env(&kv, "KV_FAULTS", "server.log_closing=delay60000");
    server_start(&kv, "--threads", "2", "--appendfsync", modes[_i]);
    struct client *c = server_connect(&kv), *d = server_connect(&kv), *r = server_connect(&kv);
    client_expect(d, "+OK", "SET n 0");
    client_timeout(d, 1000);
    client_send(c, "CONFIG SET appendonly no");
    int64_t told = 0;
    const struct resp *reply = NULL;
    for (unsigned i = 0; i < 200; i++) {
        client_send(d, "INCR n");
        if (client_try_read(d, &reply) != RESP_OK) {
            break;
        }
        told = reply->integer;
        usleep(5000);
    }
    client_send(r, "GET n"); /* nor may others hear of it */
    client_timeout(r, 1000);
    if (client_try_read(r, &reply) == RESP_OK) {
        told = atoll(reply->text) > told ? atoll(reply->text) : told;
    }
    client_close(c);
    client_close(d);
    client_close(r);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "2");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    ck_assert_int_ge(atoll(client_ask(c, "GET n")->text), told);
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

static const char *const by_pattern[] = { "SORT list BY w_* STORE d", "SORT_RO list BY w_*",
                                          "MULTI\r\nSORT list BY w_* GET w_*\r\nEXEC",
                                          "MULTI\r\nSWAPDB 0 1\r\nSELECT 1\r\nSORT_RO list BY "
                                          "w_*\r\nEXEC" };
#define LIVE 2000 /* keys that stay, in all shards */

/* While active expiry is off, the first access deletes: SORT finds keys by a pattern, anywhere, and
 * half of the shards are in the log. */
START_TEST(test_sort_expires_while_it_begins)
{
    server_env(&kv, "KV_FAULTS", "exec.image=delay3000:500:1");
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    for (unsigned i = 0; i < 100; i++) {
        client_expect(c, "+OK", "SET w_%u %u PX 1", i, i);
        client_send(c, "RPUSH list %u", i);
        ck_assert_int_eq(client_read(c)->integer, i + 1);
    }
    for (unsigned i = 0; i < LIVE; i++) {
        client_expect(c, "+OK", "SET live_%u %u", i, i);
    }
    const char *left = _i == 0 ? "2002" : "2001";
    usleep(20000);
    client_expect(c, "2101", "DBSIZE");
    client_send(c, "CONFIG SET appendonly yes");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL) {
        usleep(1000);
    }
    usleep(300000);
    client_send_raw(d, by_pattern[_i], strlen(by_pattern[_i]));
    client_send_raw(d, "\r\nPING\r\n", 8);
    while (strcmp(client_read_line(d), "+PONG") != 0) {
    }
    client_expect(d, left, "DBSIZE"); /* of database 1, where that was selected */
    client_expect_next(c, "+OK");
    char *before = digest(c);
    client_close(c);
    client_close(d);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--appendonly", "yes");
    c = server_connect(&kv);
    char *after = digest(c);
    ck_assert_str_eq(after, before);
    client_expect(c, "+OK", "SELECT %d", _i == 3);
    client_expect(c, left, "DBSIZE");
    free(before);
    free(after);
    client_close(c);
}
END_TEST

/* ---- A change that fails ---- */

/* A directory with a log that is none. */
static const char *bad_directory(void)
{
    static char dir[400];
    char path[500];
    snprintf(dir, sizeof dir, "%s/other", kv.dir);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    snprintf(path, sizeof path, "%s/wal", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/wal/CURRENT", dir);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs("garbage", f), 0);
    ck_assert_int_eq(fclose(f), 0);
    return dir;
}

static void must_be_off(struct client *c, const char *dir)
{
    client_expect(c, "[\"appendonly\", \"no\"]", "CONFIG GET appendonly");
    client_expect(c, dir, "CONFIG GET dir");
    ck_assert_ptr_nonnull(strstr(client_ask(c, "INFO persistence")->text, "aof_enabled:0"));
}

static void on_and_killed(struct client *c)
{
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    client_expect(c, "+OK", "SET acked 1");
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--appendonly", "yes");
    server_wait_ready(&kv);
    c = server_connect(&kv);
    client_expect(c, "\"1\"", "GET acked");
    client_expect(c, "2", "DBSIZE");
    client_close(c);
}

/* `dir` goes back with the log, whichever was named first. */
START_TEST(test_dir_goes_back)
{
    server_start(&kv, "--threads", "2", "--appendonly", "no", "--enable-protected-configs", "yes");
    struct client *c = server_connect(&kv);
    const char *bad = bad_directory();
    char *dir = strdup(client_line(c, "CONFIG GET dir"));
    client_expect(c, "+OK", "SET before 1");
    for (unsigned i = 0; i < 4; i++) {
        client_expect_error(c, "ERR CONFIG SET failed",
                            i % 2 == 0 ? "CONFIG SET dir %s appendonly yes"
                                       : "CONFIG SET appendonly yes dir %s",
                            bad);
        must_be_off(c, dir);
    }
    free(dir);
    on_and_killed(c);
}
END_TEST

/* What waits for a log that has ended is heard, though the next one, elsewhere, begins at LSN 0
 * before the reactor's turn is over. */
START_TEST(test_gates_of_an_ended_log)
{
    enum { SCRIPTS = 30, LISTENERS = 4 };
    char other[400];
    server_start(&kv, "--threads", "2", "--enable-protected-configs", "yes");
    struct client *c = server_connect(&kv), *a = server_connect(&kv), *told[LISTENERS];
    snprintf(other, sizeof other, "%s/other", kv.dir);
    ck_assert_int_eq(mkdir(other, 0700), 0);
    static char pad[3000001]; /* an LSN that the next log is far from */
    memset(pad, 'x', sizeof pad - 1);
    client_expect(c, "+OK", "SET pad %s", pad);
    client_expect(c, "1", "DEL pad");
    client_expect(c, "+OK", "CONFIG SET notify-keyspace-events KEA");
    for (unsigned i = 0; i < LISTENERS; i++) {
        told[i] = server_connect(&kv);
        client_line(told[i], "SUBSCRIBE __keyspace@0__:seen");
    }
    client_send(a, "SET mine 1");
    for (unsigned i = 0; i < SCRIPTS; i++) {
        client_send(a, "EVAL \"local t = os.clock() repeat until os.clock() - t > 0.1\" 0");
    }
    client_expect(c, "+OK", "SET seen 1");
    client_expect(c, "+OK", "CONFIG SET appendonly no");
    client_expect(c, "+OK", "CONFIG SET dir %s", other);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    ck_assert_str_eq(client_read_line(a), "+OK");
    for (unsigned i = 0; i < SCRIPTS; i++) {
        ck_assert_str_eq(client_read_line(a), "nil");
    }
    for (unsigned i = 0; i < LISTENERS; i++) {
        ck_assert_str_eq(client_read_line(told[i]),
                         "[\"message\", \"__keyspace@0__:seen\", \"set\"]");
        client_close(told[i]);
    }
    unsigned long long lsn = 0;
    const char *line = strstr(client_ask(c, "INFO durability")->text, "wal_durable_lsn:");
    ck_assert(line != NULL && sscanf(line, "wal_durable_lsn:%llu", &lsn) == 1);
    ck_assert_uint_lt(lsn, 1000000); /* of this log, whatever the replies are gated by */
    snprintf(other, sizeof other, "[\"master\", %llu, []]", lsn);
    client_expect(c, other, "ROLE");
    client_close(a);
    client_close(c);
    server_kill(&kv);
}
END_TEST

/* What cannot go back keeps nothing else from it. */
START_TEST(test_dir_cannot_go_back)
{
    char gone[400];
    server_start(&kv, "--threads", "2", "--appendonly", "no", "--enable-protected-configs", "yes");
    struct client *c = server_connect(&kv);
    const char *bad = bad_directory();
    char *dir = strdup(client_line(c, "CONFIG GET dir"));
    client_expect(c, "+OK", "SET before 1");
    snprintf(gone, sizeof gone, "%s/gone", kv.dir);
    ck_assert_int_eq(mkdir(gone, 0700), 0);
    client_expect(c, "+OK", "CONFIG SET dir %s", gone);
    ck_assert_int_eq(rmdir(gone), 0);
    client_expect_error(c, "ERR CONFIG SET failed",
                        "CONFIG SET timeout 77 appendonly yes dir %s maxclients 777", bad);
    client_expect(c, "[\"timeout\", \"0\"]", "CONFIG GET timeout");
    client_expect(c, "[\"maxclients\", \"10000\"]", "CONFIG GET maxclients");
    client_expect(c, "[\"appendonly\", \"no\"]", "CONFIG GET appendonly");
    client_expect(c, "+OK", "CONFIG SET dir %s", kv.dir);
    must_be_off(c, dir);
    free(dir);
    on_and_killed(c);
}
END_TEST

/* Values that others set meanwhile stay, be it the same value; a CONFIG SET that was refused set
 * none. */
START_TEST(test_only_its_own_values_go_back)
{
#ifdef KV_FAULTS
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv), *d = server_connect(&kv);
    client_expect(d, "+OK", "SET before 1");
    client_expect(d, "+OK", "DEBUG FAULT server.log_begun=delay1500,server.log_imaged=eio");
    client_send(c, "CONFIG SET appendonly yes maxmemory 100mb timeout 77 maxclients 777 hz 77");
    while (strstr(client_ask(d, "INFO durability")->text, "wal_appended_lsn") == NULL &&
           !server_log_has(&kv, "The log stays as it was")) {
        usleep(1000);
    }
    client_expect(d, "+OK", "CONFIG SET maxmemory 200mb");
    client_expect(d, "+OK", "CONFIG SET timeout 77");
    client_expect_error(d, "ERR", "CONFIG SET maxclients 888 hz nonsense");
    ck_assert_int_eq(client_read(c)->type, RESP_ERROR);
    client_expect(d, "[\"maxmemory\", \"209715200\"]", "CONFIG GET maxmemory");
    client_expect(d, "[\"timeout\", \"77\"]", "CONFIG GET timeout");
    client_expect(d, "[\"maxclients\", \"10000\"]", "CONFIG GET maxclients");
    client_expect(d, "[\"hz\", \"10\"]", "CONFIG GET hz");
    client_expect(d, "[\"appendonly\", \"no\"]", "CONFIG GET appendonly");
    client_close(d);
    on_and_killed(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(log_begin)
{
    tcase_add_checked_fixture(unit_case_loop(suite, "under load", 300, test_begins_under_load,
                                             sizeof slow / sizeof slow[0]),
                              setup, teardown);
    tcase_add_checked_fixture(unit_case_loop(suite, "all types", 300, test_types_begin_under_load,
                                             sizeof slow / sizeof slow[0]),
                              setup, teardown);
    TCase *c =
        unit_case_slow(suite, "meanwhile", 120, test_queue_is_bounded, test_waitaof_while_it_begins,
                       test_stopped_while_it_ends, test_stopped_while_it_begins);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "killed", 120, test_killed_while_it_ends,
                       sizeof modes / sizeof modes[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case_loop(suite, "keys by a pattern", 120, test_sort_expires_while_it_begins,
                       sizeof by_pattern / sizeof by_pattern[0]);
    tcase_add_checked_fixture(c, setup, teardown);
    c = unit_case(suite, "fails", test_dir_goes_back, test_dir_cannot_go_back,
                  test_gates_of_an_ended_log, test_only_its_own_values_go_back);
    tcase_add_checked_fixture(c, setup, teardown);
}
