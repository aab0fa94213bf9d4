/* test_changes.c -- What rdb_changes_since_last_save counts: elements, fields and keys, as Redis.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The numbers are what redis-server 7.0.15 and valkey-server 8.0.1 add for the same commands. */
#include "base/base.h"
#include "lib/server.h"
#include "lib/unit.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
}

static void teardown(void)
{
    server_stop(&kv);
}

static int64_t changes(struct client *c)
{
    const char *field = "rdb_changes_since_last_save:";
    const char *at = strstr(client_ask(c, "INFO persistence")->text, field);
    ck_assert_ptr_nonnull(at);
    return strtoll(at + strlen(field), NULL, 10);
}

struct step {
    const char *line;
    int counts;
};

static void run_steps(const struct step *steps, unsigned n)
{
    struct client *c = server_connect(&kv), *looks = server_connect(&kv);
    for (unsigned i = 0; i < n; i++) {
        int64_t before = changes(looks);
        const struct resp *r = client_ask(c, "%s", steps[i].line);
        ck_assert_msg(r->type != RESP_ERROR, "%s: %s", steps[i].line, r->text);
        int counted = (int)(changes(looks) - before);
        ck_assert_msg(counted == steps[i].counts, "%s: %d changes, not %d", steps[i].line, counted,
                      steps[i].counts);
    }
    client_close(c);
    client_close(looks);
}

START_TEST(test_keys)
{
    static const struct step steps[] = {
        { "FLUSHALL", 0 },
        { "MSET a 1 b 2", 2 },
        { "MSETNX c 1 d 2 e 3", 3 },
        { "MSETNX c 1 f 2", 0 },
        { "DEL a b z", 2 },
        { "UNLINK c d", 2 },
        { "DEL a", 0 },
        { "SET k v EX 100", 1 },
        { "GETEX k PX 100000", 1 },
        { "GETEX k PERSIST", 1 },
        { "EXPIRE k 100", 1 },
        { "PERSIST k", 1 },
        { "RENAME k l", 1 },
        { "COPY l k", 1 },
        { "MOVE k 1", 1 },
        { "SWAPDB 0 1", 1 },
        { "SET n v NX", 1 },
        { "SET n v NX", 0 },
        { "PEXPIRE n -1", 1 },
        { "BITFIELD bf SET u8 0 1 SET u8 8 2 GET u8 0", 2 },
        { "SETBIT bf 1 1", 1 },
        { "SETBIT bf 1 1", 0 },
        { "BITOP NOT bd bf", 1 },
        { "PFADD p a b c", 4 },
        { "PFADD p a", 0 },
        { "GEOADD g 1 1 a 2 2 b", 2 },
        { "GEORADIUS g 1 1 1000 km STORE gg", 2 },
        { "GEOSEARCHSTORE gs g FROMMEMBER a BYRADIUS 1000 km", 2 },
        { "PUBLISH x y", 0 },
        { "FUNCTION FLUSH", 1 },
        { "MULTI", 0 },
        { "RPUSH m a b", 0 },
        { "SADD t a b c", 0 },
        { "EXEC", 5 },
        { "EVAL \"redis.call('rpush', KEYS[1], 'a', 'b', 'c'); redis.call('set', KEYS[2], 1)\" 2 x "
          "y",
          4 },
        { "FLUSHDB", 11 },
        { "FLUSHALL", 2 },
    };
    run_steps(steps, countof(steps));
}
END_TEST

START_TEST(test_elements)
{
    static const struct step steps[] = {
        { "RPUSH l a b c a b a", 6 },
        { "LREM l 0 a", 3 },
        { "LINSERT l BEFORE b z", 1 },
        { "LTRIM l 1 1", 3 },
        { "LTRIM l 0 -1", 0 },
        { "LPUSH l a b c", 3 },
        { "LPOP l 2", 2 },
        { "LMPOP 1 l LEFT COUNT 5", 2 },
        { "RPUSH l a b c", 3 },
        { "BLMPOP 0 1 l LEFT COUNT 1", 1 },
        { "SORT l ALPHA STORE so", 2 },
        { "LMOVE l so LEFT LEFT", 1 },
        { "LMOVE so new LEFT LEFT", 1 },
        { "SADD s1 a b c", 3 },
        { "SADD s1 a d", 1 },
        { "SREM s1 a b z", 2 },
        { "SPOP s1 5", 2 },
        { "SADD s1 a b c d e", 5 },
        { "SPOP s1 2", 2 },
        { "SPOP s1", 1 },
        { "SUNIONSTORE s2 s1", 1 },
        { "HSET h a 1 b 2", 2 },
        { "HMSET h a 1 c 2 d 3", 3 },
        { "HDEL h a b z", 2 },
        { "HGETDEL h FIELDS 2 c d", 2 },
        { "HSETEX h FIELDS 2 c 1 d 2", 2 },
        { "HINCRBY h n 1", 1 },
        { "ZADD z 1 a 2 b 3 c", 3 },
        { "ZADD z 1 a 3 b 4 d", 2 },
        { "ZADD z 1 a", 0 },
        { "ZREM z a b zz", 2 },
        { "ZADD z 1 a 2 b", 2 },
        { "ZPOPMIN z 2", 2 },
        { "ZMPOP 1 z MIN", 1 },
        { "ZREMRANGEBYRANK z 0 -1", 1 },
        { "ZADD z 1 a 2 b", 2 },
        { "ZREMRANGEBYSCORE z 0 9", 2 },
        { "ZINCRBY z 1 a", 1 },
        { "ZUNIONSTORE zz 1 z", 1 },
    };
    run_steps(steps, countof(steps));
}
END_TEST

START_TEST(test_entries)
{
    static const struct step steps[] = {
        { "XADD s 1-1 a b", 1 },
        { "XADD s MAXLEN 1 1-2 a b", 1 },
        { "XADD s 1-3 a b", 1 },
        { "XDEL s 1-2 1-3 9-9", 2 },
        { "XADD s 1-4 a b", 1 },
        { "XADD s 1-5 a b", 1 },
        { "XGROUP CREATE s g 0", 1 },
        { "XREADGROUP GROUP g c STREAMS s >", 2 },
        { "XREADGROUP GROUP g c STREAMS s >", 0 },
        { "XREADGROUP GROUP g b STREAMS s >", 1 },
        { "XCLAIM s g d 0 1-4 1-5", 3 },
        { "XCLAIM s g d 0 1-4 1-5", 2 },
        { "XAUTOCLAIM s g e 0 0", 3 },
        { "XACK s g 1-4 1-5 9-9", 2 },
        { "XTRIM s MAXLEN 0", 2 },
        { "XADD h 1-1 a b", 1 },
        { "XADD i 1-1 a b", 1 },
        { "XGROUP CREATE h g 0", 1 },
        { "XGROUP CREATE i g 0", 1 },
        { "XREADGROUP GROUP g a STREAMS h 0", 2 }, /* a history counts, as does who is new */
        { "XREADGROUP GROUP g a STREAMS h 0", 1 },
        { "XREADGROUP GROUP g b STREAMS h i 0 0", 4 },
        { "XREADGROUP GROUP g b STREAMS h i 0 0", 2 },
        { "XREADGROUP GROUP g c STREAMS h i 0 >", 4 },
        { "XREADGROUP GROUP g c STREAMS h i 0 >", 1 },
        { "XREADGROUP GROUP g c STREAMS i h 0 >", 2 },
        { "XREADGROUP GROUP g c STREAMS i h 0 0", 2 },
        { "XCLAIM h g d 0 1-1 LASTID 9-9", 2 }, /* LASTID counts when nothing is claimed */
        { "XCLAIM h g d 0 1-1 LASTID 9-10", 1 },
        { "XCLAIM h g d 0 5-5 LASTID 9-11", 1 },
        { "XCLAIM h g d 0 5-5 LASTID 9-11", 0 },
    };
    run_steps(steps, countof(steps));
}
END_TEST

/* Who was blocked counts for itself, once. */
START_TEST(test_served)
{
    struct client *c = server_connect(&kv), *b = server_connect(&kv);
    static const char *const waits[] = { "BLPOP w 0", "BLMOVE w v LEFT LEFT 0" };
    for (unsigned i = 0; i < countof(waits); i++) {
        client_send(b, "%s", waits[i]);
        while (strstr(client_ask(c, "INFO clients")->text, "blocked_clients:1") == NULL) {
            usleep(1000);
        }
        int64_t before = changes(c);
        client_expect(c, "1", "LPUSH w a");
        (void)client_read_line(b);
        ck_assert_int_eq(changes(c), before + 2);
    }
    client_close(c);
    client_close(b);
}
END_TEST

/* Nor does a key count whose time comes. */
START_TEST(test_expired)
{
    struct client *c = server_connect(&kv);
    int64_t before = changes(c);
    client_expect(c, "+OK", "SET k v PX 1");
    while (client_int(c, "DBSIZE") != 0) {
        usleep(1000);
    }
    ck_assert_int_eq(changes(c), before + 1);
    client_close(c);
}
END_TEST

UNIT_SUITE(changes)
{
    TCase *tc = unit_case(suite, "changes", test_keys, test_elements, test_entries, test_served,
                          test_expired);
    tcase_add_checked_fixture(tc, setup, teardown);
}
