/* test_stream_log.c -- Streams after a restart: what was logged is what was, whatever failed.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/hash.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct server kv;

START_TEST(test_stream_recovered)
{
    compare_recovered(
        "CONFIG SET stream-node-max-entries 10", "XADD s 1-1 a 1 b 2", "XADD s 1-* a 1",
        "XADD s 3 a 1 c 3", "XADD s MAXLEN 2 4 a 4", "XADD s MAXLEN ~ 1 5 a 5",
        "XADD s NOMKSTREAM 6 x y", "XADD s MINID 4 7 x y", "XDEL s 5", "XADD t 0-* f v",
        "XADD t 0-* f v", "XTRIM t MAXLEN 1", "XADD e 1-1 a 1", "XDEL e 1-1",
        "XGROUP CREATE k g $ MKSTREAM", "XSETID t 9-9 ENTRIESADDED 17", "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g alice COUNT 1 STREAMS s >", "MULTI", "XADD m 1-1 a 1", "XADD m 2-1 a 1",
        "XTRIM m MAXLEN 1", "EXEC", "SELECT 3", "XADD s 1-1 in 3", "SELECT 0", "COPY s c",
        "RENAME c d", "XADD d 99 a 1", "@b &XREAD BLOCK 0 STREAMS w 0", "XADD w 1-1 a 1", "@b <");
}
END_TEST

/* Deliveries, times and all, come back; so does a log that begins with what is there. Two streams
 * have many nodes, one of them with groups. */
static void fill(struct client *c)
{
    client_expect(c, "+OK", "CONFIG SET stream-node-max-entries 10");
    for (unsigned i = 1; i <= 3000; i++) {
        client_send(c, "XADD big %u-%u field %u word \"a b\\x00%u\"", i, i % 3, i, i);
        client_send(c, "XADD small%u 5-5 n %u", i % 20, i);
        if (i % 20 == 0) {
            client_send(c, "XADD big * odd %u x y 12 -5", i);
            client_read(c);
            client_send(c, "DEL big");
            client_read(c);
        }
        client_read(c);
        client_read(c);
    }
    for (unsigned i = 1; i <= 300; i++) {
        client_expect(c, "1",
                      "EVAL 'redis.call(\"XADD\", \"g\", ARGV[1], \"f\", ARGV[1], \"%s\", "
                      "1) return 1' 1 g %u",
                      i % 7 == 0 ? "x" : "y", i);
    }
    client_line(c, "XGROUP CREATE g one 0");
    client_line(c, "XGROUP CREATE g two 100 ENTRIESREAD 100");
    client_line(c, "XGROUP CREATE g 'none \\x00' $");
    client_line(c, "XREADGROUP GROUP one alice COUNT 150 STREAMS g >");
    client_line(c, "XREADGROUP GROUP one bob COUNT 50 STREAMS g >");
    client_line(c, "XREADGROUP GROUP two bob COUNT 20 STREAMS g >");
    client_line(c, "XREADGROUP GROUP two carol NOACK COUNT 20 STREAMS g >");
    client_line(c, "XREADGROUP GROUP one alice COUNT 70 STREAMS g 20");
    client_line(c, "XREADGROUP GROUP one idle STREAMS g >");
    client_line(c, "XREADGROUP GROUP one idle2 STREAMS g 0");
    client_line(c, "XACK g one 3 4 5 6");
    client_line(c, "XDEL g 10 11 12 200 300");
    client_line(c, "XCLAIM g one dora 0 10 13 14 TIME 1234 RETRYCOUNT 9");
    client_line(c, "XCLAIM g one dora 0 250 FORCE JUSTID LASTID 299");
    client_line(c, "XAUTOCLAIM g one eve 0 100 COUNT 30");
    client_line(c, "XGROUP DELCONSUMER g two bob");
    client_line(c, "XTRIM g MAXLEN 150");
    client_line(c, "XADD empty 7-7 a b");
    client_line(c, "XGROUP CREATE empty e 0");
    client_line(c, "XREADGROUP GROUP e x STREAMS empty >");
    client_line(c, "XDEL empty 7-7");
    client_line(c, "XGROUP CREATE never n 0 MKSTREAM");
}

static void same_value(struct client *c, const char *a, const char *b)
{
    char digest[100];
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST-VALUE %s", a));
    client_expect(c, digest, "DEBUG DIGEST-VALUE %s", b);
}

START_TEST(test_stream_image)
{
    struct server s;
    char digest[200];
    server_init(&s, SERVER_KV);
    server_start(&s, "--appendonly", _i == 0 ? "no" : "yes", "--threads", "2");
    struct client *c = server_connect(&s);
    fill(c);
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    char *groups = strdup(client_line(c, "XINFO GROUPS g"));
    char *pending = strdup(client_line(c, "XPENDING g one"));
    if (_i == 0) {
        client_expect(c, "+OK", "CONFIG SET appendonly yes");
        client_expect(c, digest, "DEBUG DIGEST");
    }
    client_close(c);
    server_kill(&s);
    server_start(&s, "--threads", "2");
    c = server_connect(&s);
    client_expect(c, groups, "XINFO GROUPS g");
    client_expect(c, pending, "XPENDING g one");
    client_expect(c, digest, "DEBUG DIGEST");
    client_expect(c, "+OK", "DEBUG RELOAD");
    client_expect(c, digest, "DEBUG DIGEST");
    client_expect_error(c, "BUSYGROUP", "XGROUP CREATE g one 0");
    client_expect(
        c, "1",
        "EVAL 'redis.call(\"RESTORE\", \"r\", 0, redis.call(\"DUMP\", \"g\")) "
        "redis.call(\"RESTORE\", \"e\", 0, redis.call(\"DUMP\", \"empty\")) return 1' 4 g r "
        "empty e");
    same_value(c, "g", "r");
    same_value(c, "empty", "e");
    client_expect(c, "2", "DEL r e");
    client_expect(c, "1", "COPY g g2");
    client_expect(c, "1", "XGROUP DESTROY g2 one");
    client_expect(c, "0", "XGROUP DESTROY g2 one");
    client_expect(c, "1", "DEL g2");
    client_expect(c, digest, "DEBUG DIGEST");
    free(groups);
    free(pending);
    client_close(c);
    server_stop(&s);
}
END_TEST

static int64_t wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const struct resp *field_of(const struct resp *map, const char *field)
{
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (strcmp(map->at[i]->text, field) == 0) {
            return map->at[i + 1];
        }
    }
    ck_abort_msg("no field %s", field);
    return NULL;
}

/* The field of consumer `name` of the first group. */
static int64_t consumer_field(struct client *c, const char *name, const char *field)
{
    const struct resp *full = client_ask(c, "XINFO STREAM s FULL");
    const struct resp *all = field_of(field_of(full, "groups")->at[0], "consumers");
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(field_of(all->at[i], "name")->text, name) == 0) {
            return field_of(all->at[i], field)->integer;
        }
    }
    ck_abort_msg("no consumer %s", name);
    return 0;
}

/* When consumers were seen and got something is known after a kill; whatever time a client claims
 * for a delivery. */
START_TEST(test_stream_consumers_seen)
{
    static const struct {
        const char *name, *command;
        bool active;
    } steps[] = {
        { "made", "XGROUP CREATECONSUMER s g made", false },
        { "read", "XREADGROUP GROUP g read COUNT 2 STREAMS s >", true },
        { "noack", "XREADGROUP GROUP g noack NOACK COUNT 1 STREAMS s >", false },
        { "nothing", "XREADGROUP GROUP g nothing STREAMS s 0", false },
        { "claims", "XCLAIM s g claims 0 1-1 TIME 1000", true },
        { "autoclaims", "XAUTOCLAIM s g autoclaims 0 2-1 COUNT 1", true },
    };
    int64_t from[countof(steps)], to[countof(steps)];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    for (unsigned id = 1; id <= 4; id++) {
        client_line(c, "XADD s %u-1 f v", id);
    }
    client_expect(c, "+OK", "XGROUP CREATE s g 0");
    for (unsigned i = 0; i < countof(steps); i++) {
        from[i] = wall_ms();
        ck_assert_int_ne(client_ask(c, "%s", steps[i].command)->type, RESP_ERROR);
        to[i] = wall_ms();
    }
    client_close(c);
    for (unsigned turn = 0; turn < 2; turn++) {
        server_kill(&kv);
        server_start(&kv, "--threads", "1");
        c = server_connect(&kv);
        for (unsigned i = 0; i < countof(steps); i++) {
            int64_t seen = consumer_field(c, steps[i].name, "seen-time"),
                    active = consumer_field(c, steps[i].name, "active-time");
            ck_assert_msg(seen >= from[i] && seen <= to[i], "%s: seen", steps[i].name);
            ck_assert_msg(active == (steps[i].active ? seen : -1), "%s: active", steps[i].name);
        }
        client_close(c);
    }
    server_stop(&kv);
}
END_TEST

/* Who reads again what it has is seen, and not active: also after a kill. */
START_TEST(test_stream_consumer_reads_again)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    client_line(c, "XADD s 1-1 f v");
    client_expect(c, "+OK", "XGROUP CREATE s g 0");
    client_line(c, "XREADGROUP GROUP g a STREAMS s >");
    int64_t read = wall_ms();
    while (wall_ms() <= read + 20) {
        usleep(1000);
    }
    client_expect(c, "[[\"s\", [[\"1-1\", [\"f\", \"v\"]]]]]", "XREADGROUP GROUP g a STREAMS s 0");
    for (unsigned turn = 0; turn < 3; turn++) {
        ck_assert_int_le(consumer_field(c, "a", "active-time"), read);
        ck_assert_int_gt(consumer_field(c, "a", "seen-time"), read);
        const struct resp *p = client_ask(c, "XPENDING s g - + 10");
        ck_assert_int_eq(p->at[0]->at[3]->integer, 2); /* deliveries */
        client_close(c);
        server_kill(&kv);
        server_start(&kv, "--threads", "1");
        c = server_connect(&kv);
    }
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* Counts that have reached their end, and one more of what is counted. */
#define END    "9223372036854775807"
#define READ   "XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >"
#define IMAGED "CONFIG SET appendonly no", "CONFIG SET appendonly yes"
static const struct {
    const char *lines[8];
    const char *ask, *end; /* where it can be seen; what a log tells in which it ran over */
} at_end[] = {
    { { READ, "XCLAIM s g c 0 1-1 RETRYCOUNT " END, "XCLAIM s g c 0 1-1" },
      "XPENDING s g - + 10",
      ", " END "]]" },
    { { READ, "XCLAIM s g c 0 1-1 RETRYCOUNT " END, "XAUTOCLAIM s g c 0 0" },
      "XPENDING s g - + 10",
      ", " END "]]" },
    { { READ, "XCLAIM s g c 0 1-1 RETRYCOUNT " END, "XREADGROUP GROUP g c STREAMS s 0" },
      "XPENDING s g - + 10",
      ", " END "]]" },
    { { READ, "XCLAIM s g c 0 1-1 RETRYCOUNT " END, "XCLAIM s g c 0 1-1", IMAGED },
      "XPENDING s g - + 10",
      ", " END "]]" },
    { { "XADD s 1-1 f v", "XADD s 2-1 f v", "XGROUP CREATE s g 1-1 ENTRIESREAD " END,
        "XREADGROUP GROUP g c STREAMS s >" },
      "XINFO GROUPS s",
      "\"entries-read\", nil," },
    { { "XADD s 1-1 f v", "XADD s 2-1 f v", "XGROUP CREATE s g 1-1 ENTRIESREAD " END,
        "XREADGROUP GROUP g c STREAMS s >", IMAGED },
      "XINFO GROUPS s",
      "\"entries-read\", nil," },
    { { "XADD s 1-1 f v", "XSETID s 9-9 ENTRIESADDED " END, "XADD s 10-1 f v", IMAGED },
      "XINFO STREAM s",
      "\"entries-added\", " END "," },
};

static void expect_part(struct client *c, const char *part, const char *ask)
{
    const char *line = client_line(c, "%s", ask);
    ck_assert_msg(strstr(line, part) != NULL, "%s: %s", ask, line);
}

/* They stay where they are, and the log can be read. */
START_TEST(test_stream_counts_end)
{
    char digest[200];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; at_end[_i].lines[i] != NULL; i++) {
        ck_assert_int_ne(client_ask(c, "%s", at_end[_i].lines[i])->type, RESP_ERROR);
    }
    expect_part(c, END, at_end[_i].ask);
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "1");
    c = server_connect(&kv);
    expect_part(c, END, at_end[_i].ask);
    client_expect(c, digest, "DEBUG DIGEST");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* A log in which they ran over is read, too. */
START_TEST(test_stream_counts_ran_over)
{
#ifdef KV_FAULTS
    server_init(&kv, SERVER_KV);
    server_env(&kv, "KV_FAULTS", "ds.stream_counted=fail:0:0");
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; at_end[_i].lines[i] != NULL; i++) {
        ck_assert_int_ne(client_ask(c, "%s", at_end[_i].lines[i])->type, RESP_ERROR);
    }
    expect_part(c, "-9223372036854775808", at_end[_i].ask);
    client_close(c);
    server_kill(&kv);
    server_env(&kv, "KV_FAULTS", "");
    server_start(&kv, "--threads", "1");
    c = server_connect(&kv);
    expect_part(c, at_end[_i].end, at_end[_i].ask);
    client_close(c);
    server_stop(&kv);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* Each part of what a stream is changes its digest. */
START_TEST(test_stream_digest)
{
    static const char *const steps[] = { "XADD s 1-1 a 1",
                                         "XADD s 2-1 a 1",
                                         "XGROUP CREATE s g 0",
                                         "XGROUP SETID s g 1-1",
                                         "XGROUP SETID s g 1-1 ENTRIESREAD 1",
                                         "XGROUP CREATECONSUMER s g c",
                                         "XREADGROUP GROUP g c STREAMS s >",
                                         "XCLAIM s g c 0 2-1 RETRYCOUNT 5 JUSTID TIME 5",
                                         "XCLAIM s g c 0 2-1 RETRYCOUNT 5 JUSTID TIME 6",
                                         "XCLAIM s g c 0 2-1 RETRYCOUNT 6 JUSTID TIME 6",
                                         "XCLAIM s g d 0 2-1 RETRYCOUNT 6 JUSTID TIME 6",
                                         "XSETID s 5-5",
                                         "XSETID s 5-5 ENTRIESADDED 9",
                                         "XSETID s 5-5 ENTRIESADDED 9 MAXDELETEDID 1-1",
                                         "XACK s g 2-1" };
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    char before[200] = "";
    for (unsigned i = 0; i < countof(steps); i++) {
        client_line(c, "%s", steps[i]);
        const char *now = client_line(c, "DEBUG DIGEST-VALUE s");
        ck_assert_msg(strcmp(before, now) != 0, "%s", steps[i]);
        snprintf(before, sizeof before, "%s", now);
    }
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* ---- Much at once ---- */

static void wait_lazyfreed(struct client *c, int64_t n)
{
    int64_t freed = -1;
    for (int ms = 0; freed != n; ms += 5) {
        ck_assert_msg(ms < unit_patient_ms(10000), "lazyfreed_objects: %d", (int)freed);
        usleep(5000);
        const char *at = strstr(client_ask(c, "INFO memory")->text, "lazyfreed_objects:");
        ck_assert_ptr_nonnull(at);
        freed = strtoll(at + strlen("lazyfreed_objects:"), NULL, 10);
    }
}

/* What is large goes in the background: nobody waits for it under the lock of the stream. */
START_TEST(test_stream_much)
{
    server_init(&kv, SERVER_KV);
    /* A script that takes long begins anew, and what its first attempt had made is freed. */
    server_start(&kv, "--threads", "1", "--busy-reply-threshold", "0");
    struct client *c = server_connect(&kv);
    client_expect(
        c, "nil",
        "EVAL \"for i = 1, 20000 do redis.call('XADD', KEYS[1], i .. '-1', 'f', 'v') end\" "
        "1 s");
    client_expect(c, "+OK", "XGROUP CREATE s g 0");
    ck_assert_int_eq(client_ask(c, "XREADGROUP GROUP g c STREAMS s >")->type, RESP_ARRAY);
    wait_lazyfreed(c, 0);
    client_expect(c, "1", "XGROUP DESTROY s g");
    wait_lazyfreed(c, 1);
    client_expect(c, "19990", "XTRIM s MAXLEN 10");
    wait_lazyfreed(c, 2);
    client_expect(c, "9", "XTRIM s MAXLEN 1");
    client_expect(c, "\"20001-1\"", "XADD s MAXLEN 1 20001-1 f v");
    wait_lazyfreed(c, 2);
    client_expect(c, "[[\"20001-1\", [\"f\", \"v\"]]]", "XRANGE s - +");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* ---- No memory ---- */

#ifdef KV_FAULTS
/* Commands that need memory of a size which the client chose. */
static void need_memory(struct client *c, const char *big, unsigned *refused)
{
    static const char *const commands[] = {
        "XADD s 1-1 f",      "XADD s 2-1 f",
        "XADD s 3-1 f",      "XGROUP CREATE s g 0 x",
        "XGROUP CREATE new", "XGROUP CREATECONSUMER s g",
        "XADD new 1-1 f",    NULL,
    };
    client_line(c, "XGROUP CREATE s g 0 MKSTREAM");
    client_line(c, "XGROUP CREATE u g 0 MKSTREAM");
    client_line(c, "XADD u 1-1 f v");
    for (unsigned i = 0; i < countof(commands); i++) {
        char before[64];
        snprintf(before, sizeof before, "%s", client_line(c, "DEBUG DIGEST"));
        const struct resp *r = i == 4   ? client_ask(c, "XGROUP CREATE new %s 0 MKSTREAM", big)
                               : i == 3 ? client_ask(c, "XGROUP CREATE s %s 0", big)
                               : i == 7
                                   ? client_ask(c, "XREADGROUP GROUP g %s STREAMS u s > >", big)
                                   : client_ask(c, "%s %s", commands[i], big);
        if (r->type == RESP_ERROR) {
            ck_assert_msg(strstr(r->text, "OOM") != NULL, "%s: %s", commands[i], r->text);
            client_expect(c, before, "DEBUG DIGEST");
            ++*refused;
        }
    }
    client_line(c, "COPY s t");
    client_line(c, "XDEL s 1-1 2-1");
    client_line(c, "XTRIM t MAXLEN 1");
    client_line(c, "XREADGROUP GROUP g %s COUNT 1 STREAMS t >", big);
}

/* One allocation after the other fails: what is refused changes nothing, and all else is logged as
 * it was done. */
START_TEST(test_stream_nomem)
{
    static char big[1501];
    unsigned refused = 0, tried = 0;
    memset(big, 'b', sizeof big - 1);
    for (unsigned after = 0; tried < 24; after++) {
        struct server s;
        char spec[64], digest[64];
        server_init(&s, SERVER_KV);
        snprintf(spec, sizeof spec, "mem.alloc=nomem:%u", after);
        server_env(&s, "KV_FAULTS", spec);
        if (server_try_start(&s, "--threads", "1", "--stream-node-max-entries", "1") != 0) {
            continue;
        }
        tried++;
        server_wait_ready(&s);
        struct client *c = server_connect(&s);
        need_memory(c, big, &refused);
        snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
        client_close(c);
        server_kill(&s);
        server_env(&s, "KV_FAULTS", "");
        server_start(&s, "--threads", "1");
        c = server_connect(&s);
        client_expect(c, digest, "DEBUG DIGEST");
        client_close(c);
        server_stop(&s);
    }
    ck_assert_uint_ge(refused, 4);
}
END_TEST
#endif

/* ---- Times of consumers ---- */

/* A stream without entries, as 7.2 has it (type 21): 1-1 is its last ID, and that of the group. */
static const char timed[] = "\x15\x00\x00\x01\x01\x00\x00\x00\x00\x00\x01\x01g\x01\x01\x00\x00"
                            "\x03" /* consumers: name, seen, active, nothing pending */
                            "\x05never\x01\x02\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x00"
                            "\x05other\x05\x02\0\0\0\0\0\0\x07\x01\0\0\0\0\0\0\x00"
                            "\x04same\x06\x02\0\0\0\0\0\0\x06\x02\0\0\0\0\0\0\x00"
                            "\x0b\x00"; /* version 11; its CRC comes behind it */

static void expect_times(struct client *c, const char *key)
{
    static const char *const want[] = { "\"never\", \"seen-time\", 513, \"active-time\", -1,",
                                        "\"other\", \"seen-time\", 517, \"active-time\", 263,",
                                        "\"same\", \"seen-time\", 518, \"active-time\", 518," };
    const char *line = client_line(c, "XINFO STREAM %s FULL", key);
    for (unsigned i = 0; i < countof(want); i++) {
        ck_assert_msg(strstr(line, want[i]) != NULL, "%s: %s", key, line);
    }
}

/* What RESTORE was told of them is what is there after a crash. */
START_TEST(test_stream_restored_times)
{
    char payload[sizeof timed - 1 + 8];
    uint64_t crc = htole64(crc64(0, timed, sizeof timed - 1));
    memcpy(payload, timed, sizeof timed - 1);
    memcpy(payload + sizeof timed - 1, &crc, sizeof crc);
    const char *argv[] = { "RESTORE", "s", "0", payload };
    const size_t len[] = { 7, 1, 1, sizeof payload };
    struct server s;
    server_init(&s, SERVER_KV);
    server_start(&s, "--threads", "2");
    struct client *c = server_connect(&s);
    client_send_args(c, countof(argv), argv, len);
    client_expect_next(c, "+OK");
    client_expect(c, "1", "COPY s t");
    for (unsigned i = 0; i < 2; i++) {
        expect_times(c, "s");
        expect_times(c, "t");
        client_close(c);
        server_kill(&s);
        server_start(&s, "--threads", "2");
        server_wait_ready(&s);
        c = server_connect(&s);
    }
    client_close(c);
    server_stop(&s);
}
END_TEST

/* What XINFO says of the groups of a stream; to be freed. */
static char *groups_of(struct client *c, const char *key)
{
    char *groups = strstr(client_line(c, "XINFO STREAM %s FULL COUNT 1", key), "\"groups\"");
    ck_assert_ptr_nonnull(groups);
    return strdup(groups);
}

/* A log that begins has the times of consumers, with small streams and with those that are written
 * later. */
START_TEST(test_stream_imaged_times)
{
    static const char *const keys[] = { "small", "large" };
    char *before[countof(keys)];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < countof(keys); i++) {
        client_expect(c, "1",
                      "EVAL \"for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], i .. '-1', 'f', "
                      "('v'):rep(300)) end return 1\" 1 %s %u",
                      keys[i], i == 0 ? 3 : 20000);
        client_expect(c, "+OK", "XGROUP CREATE %s g 0", keys[i]);
        client_expect(c, "1", "XGROUP CREATECONSUMER %s g made", keys[i]);
        client_line(c, "XREADGROUP GROUP g got COUNT 1 STREAMS %s >", keys[i]);
        client_line(c, "XREADGROUP GROUP g both COUNT 1 STREAMS %s >", keys[i]);
        client_line(c, "XCLAIM %s g both 0 2-1 TIME 1234 RETRYCOUNT 9", keys[i]);
        usleep(20000);
        client_line(c, "XREADGROUP GROUP g asked COUNT 1 STREAMS %s 0", keys[i]);
        client_line(c, "XREADGROUP GROUP g both COUNT 1 STREAMS %s 0", keys[i]);
        before[i] = groups_of(c, keys[i]);
    }
    usleep(20000);
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    for (unsigned turn = 0; turn < 2; turn++) {
        client_close(c);
        server_kill(&kv);
        server_start(&kv, "--threads", "2");
        c = server_connect(&kv);
        for (unsigned i = 0; i < countof(keys); i++) {
            char *after = groups_of(c, keys[i]);
            ck_assert_str_eq(after, before[i]);
            free(after);
        }
    }
    for (unsigned i = 0; i < countof(keys); i++) {
        free(before[i]);
    }
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(integration_stream_log)
{
    unit_case_slow(suite, "recovered", 120, test_stream_recovered, test_stream_digest,
                   test_stream_consumers_seen, test_stream_consumer_reads_again,
                   test_stream_restored_times, test_stream_imaged_times);
    unit_case_loop(suite, "counts_end", 60, test_stream_counts_end, countof(at_end));
    unit_case_loop(suite, "counts_ran_over", 60, test_stream_counts_ran_over, countof(at_end));
    unit_case_slow(suite, "much", 60, test_stream_much);
    unit_case_loop(suite, "image", 120, test_stream_image, 2);
#ifdef KV_FAULTS
    unit_case_slow(suite, "memory", 120, test_stream_nomem);
#endif
}
