/* test_stream_delex.c -- XDELEX, XACKDEL and the words of XTRIM, which no reference knows.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What their documentation says; and beside a model, with the log. */
#include "base/base.h"
#include "base/rng.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

SERVER_CLIENT_FIXTURE("--threads", "2", "--notify-keyspace-events", "Et")

/* n entries i-0, two groups that have read them all. */
static void make_stream(unsigned n)
{
    client_ask(c, "DEL s");
    for (unsigned i = 1; i <= n; i++) {
        client_ask(c, "XADD s %u-0 f v", i);
    }
    client_expect(c, "+OK", "XGROUP CREATE s g 0");
    client_expect(c, "+OK", "XGROUP CREATE s h 0");
    client_ask(c, "XREADGROUP GROUP g alice STREAMS s >");
    client_ask(c, "XREADGROUP GROUP h bob STREAMS s >");
}

/* kill -9: what the log says is what was there. */
static void restart_as_it_was(void)
{
    char digest[64];
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, digest, "DEBUG DIGEST");
}

START_TEST(test_arguments)
{
    static const char *const commands[] = { "XDELEX s", "XACKDEL s g" };
    make_stream(1);
    client_expect_error(c, "ERR wrong number", "XDELEX s");
    client_expect_error(c, "ERR wrong number", "XDELEX s IDS 1");
    client_expect_error(c, "ERR wrong number", "XACKDEL s g IDS 1");
    for (unsigned i = 0; i < countof(commands); i++) {
        const char *name = commands[i];
        static const char *const counts[] = {
            "0", "-1", "abc", "9223372036854775808", "-9223372036854775808", "1.0", "''",
        };
        for (unsigned n = 0; n < countof(counts); n++) {
            client_expect(c, "-ERR Number of IDs must be a positive integer", "%s IDS %s 1-0", name,
                          counts[n]);
        }
        static const char *const many[] = { "2", "2147483648", "4294967297",
                                            "9223372036854775807" };
        for (unsigned n = 0; n < countof(many); n++) {
            client_expect(c, "-ERR The `numids` parameter must match the number of arguments",
                          "%s IDS %s 1-0", name, many[n]);
        }
        static const char *const wrong[] = {
            "IDS 1 1-0 2-0",           "KEEPREF DELREF IDS 1 1-0",
            "KEEPREF IDS 1 1-0 ACKED", "IDS 1 1-0 IDS 1 1-0",
            "BOGUS IDS 1 1-0",         "KEEPREF IDS 1",
            "ACKED ACKED IDS 1 1-0",   "1-0 2-0 3-0",
            "KEEPREF 1-0 2-0",
        };
        for (unsigned n = 0; n < countof(wrong); n++) {
            client_expect(c, "-ERR syntax error", "%s %s", name, wrong[n]);
        }
        client_expect(c, "-ERR Invalid stream ID specified as stream command argument",
                      "%s IDS 2 1-0 x", name);
        client_expect(c, "-ERR Invalid stream ID specified as stream command argument",
                      "%s IDS 1 -", name);
    }
    client_expect(c, "1", "XLEN s");
    client_expect(c, "[1, \"1-0\", \"1-0\", [[\"alice\", \"1\"]]]", "XPENDING s g");
    client_ask(c, "SET str v");
    client_expect_error(c, "WRONGTYPE", "XDELEX str IDS 1 1-0");
    client_expect_error(c, "WRONGTYPE", "XACKDEL str g IDS 1 1-0");
    client_expect(c, "[-1, -1]", "XDELEX none IDS 2 1-0 2-0");
    client_expect(c, "[-1, -1]", "XACKDEL none g ACKED IDS 2 1-0 2-0");
    client_expect(c, "[-1, -1]", "XACKDEL s nogroup DELREF IDS 2 1-0 2-0");
    client_expect(c, "0", "EXISTS none");
}
END_TEST

#define NOTHING_PENDING "[0, nil, nil, nil*]"

START_TEST(test_xdelex)
{
    make_stream(4);
    client_expect(c, "[1, -1, -1]", "XDELEX s IDS 3 1-0 1-0 9-9");
    client_expect(c, "[1]", "XDELEX s ids 1 2 keepref");
    client_expect(c, "[4, \"1-0\", \"4-0\", [[\"alice\", \"4\"]]]", "XPENDING s g");
    client_expect(c, "[-1, -1, 1]", "XDELEX s DELREF IDS 3 1-0 2-0 3-0");
    client_expect(c, "[1, \"4-0\", \"4-0\", [[\"alice\", \"1\"]]]", "XPENDING s g");
    client_expect(c, "[1, \"4-0\", \"4-0\", [[\"bob\", \"1\"]]]", "XPENDING s h");
    client_expect(c, "[2]", "XDELEX s ACKED IDS 1 4-0");
    client_expect(c, "1", "XACK s g 4-0");
    client_expect(c, "[2]", "XDELEX s ACKED IDS 1 4-0");
    client_expect(c, "1", "XACK s h 4-0");
    client_ask(c, "XADD s 5-0 f v");
    client_expect(c, "[1, 2, -1]", "XDELEX s ACKED IDS 3 4-0 5-0 6-0");
    client_expect(c, "+OK", "XGROUP SETID s g 5-0");
    client_expect(c, "[2]", "XDELEX s ACKED IDS 1 5-0");
    client_expect(c, "1", "XGROUP DESTROY s h");
    client_expect(c, "[1]", "XDELEX s ACKED IDS 1 5-0");
    client_ask(c, "XADD s 7-0 f v");
    client_expect(c, "1", "XGROUP DESTROY s g");
    client_expect(c, "[1]", "XDELEX s ACKED IDS 1 7-0");
    client_expect(c, "0", "XLEN s");
    client_expect(c, "1", "EXISTS s");
    client_hello(c, 3);
    client_expect(c, "[-1]", "XDELEX s IDS 1 1-0");
}
END_TEST

START_TEST(test_xackdel)
{
    make_stream(2);
    client_expect(c, "[1, -1, 1, -1]", "XACKDEL s g IDS 4 1-0 1-0 2-0 3-0");
    client_expect(c, "0", "XLEN s");
    client_expect(c, NOTHING_PENDING, "XPENDING s g");
    client_expect(c, "[2, \"1-0\", \"2-0\", [[\"bob\", \"2\"]]]", "XPENDING s h");
    client_expect(c, "[1, 1]", "XACKDEL s h KEEPREF IDS 2 1-0 2-0");
    client_expect(c, NOTHING_PENDING, "XPENDING s h");

    make_stream(3);
    client_expect(c, "[2, 2]", "XACKDEL s g ACKED IDS 2 1-0 2-0");
    client_expect(c, "[-1]", "XACKDEL s g ACKED IDS 1 1-0");
    client_expect(c, "3", "XLEN s");
    client_expect(c, "[1]", "XACKDEL s h ACKED IDS 1 1-0");
    client_expect(c, "[1, \"3-0\", \"3-0\", [[\"alice\", \"1\"]]]", "XPENDING s g");
    client_expect(c, "[-1, 1]", "XACKDEL s g DELREF IDS 2 2-0 3-0");
    client_expect(c, "[1, \"2-0\", \"2-0\", [[\"bob\", \"1\"]]]", "XPENDING s h");
    client_expect(c, "[[\"2-0\", [\"f\", \"v\"]]]", "XRANGE s - +");
    client_hello(c, 3);
    client_expect(c, "[1]", "XACKDEL s h IDS 1 2-0");
}
END_TEST

/* The words of XADD and XTRIM. */
START_TEST(test_trim)
{
    make_stream(5);
    client_expect(c, "0", "XTRIM s MAXLEN 1 ACKED"); /* all is pending */
    client_expect(c, "2", "XACK s g 2-0 4-0");
    client_expect(c, "0", "XTRIM s MINID 4 acked");
    client_expect(c, "1", "XACK s h 2-0");
    client_expect(c, "0", "XTRIM s ACKED MINID 2");
    client_expect(c, "1", "XTRIM s MINID 4 ACKED");
    client_expect(c, "4", "XLEN s");
    client_expect(c, "1", "XTRIM s MAXLEN 3 KEEPREF"); /* 1-0 */
    client_expect(c, "3", "XLEN s");
    client_expect(c, "[3, \"1-0\", \"5-0\", [[\"alice\", \"3\"]]]", "XPENDING s g");
    client_expect(c, "2", "XTRIM s MAXLEN = 1 DELREF"); /* 3-0, 4-0; of 1-0 it knows nothing */
    client_expect(c, "[2, \"1-0\", \"5-0\", [[\"alice\", \"2\"]]]", "XPENDING s g");
    client_expect(c, "[2, \"1-0\", \"5-0\", [[\"bob\", \"2\"]]]", "XPENDING s h");
    client_expect(c, "\"6-0\"", "XADD s MAXLEN = 1 ACKED 6-0 f v");
    client_expect(c, "2", "XLEN s");
    client_expect(c, "\"7-0\"", "XADD s DELREF MAXLEN = 1 7-0 f v");
    client_expect(c, "[1, \"1-0\", \"1-0\", [[\"bob\", \"1\"]]]", "XPENDING s h");
    client_expect(c, "\"8-0\"", "XADD s ACKED 8-0 f v"); /* nothing to do with it */
    client_expect(c, "-ERR syntax error", "XTRIM s MAXLEN 1 ACKED DELREF");
    client_expect_error(c, "ERR Invalid stream ID", "XADD s KEEPREF ACKED * f v");
    client_expect_error(c, "ERR syntax error", "XTRIM s ACKED KEEPREF");
    client_expect(c, "0", "XTRIM none MAXLEN 1 ACKED");
    client_expect(c, "\"1-0\"", "XADD none MAXLEN = 0 ACKED 1-0 f v"); /* no groups: it goes */
    client_expect(c, "0", "XLEN none");
}
END_TEST

#ifdef KV_FAULTS
/* What is pending for a group without its entry, in any number, is not looked at each time. */
START_TEST(test_trim_looks_at_few)
{
    make_stream(300);
    client_expect(c, "299", "XTRIM s MAXLEN 1");
    client_expect(c, "+OK", "DEBUG FAULT stream.trim_looks=fail:30");
    for (unsigned i = 301; i <= 303; i++) {
        client_ask(c, "XADD s MAXLEN = 1 DELREF %u-0 f v", i);
        client_ask(c, "XREADGROUP GROUP g alice STREAMS s >");
        client_ask(c, "XADD s MAXLEN = 1 ACKED %u-1 f v", i);
    }
    client_expect(c, "0", "XTRIM s MINID 303-1 ACKED");
    client_expect(c, "[299, \"1-0\", \"299-0\", [[\"bob\", \"299\"]]]", "XPENDING s h");
    client_expect(c, "2", "XTRIM s MAXLEN 0 DELREF");
    client_expect(c, "0", "XTRIM s MAXLEN 0 DELREF");
    client_expect(c, "\"304-0\"", "XADD s MAXLEN = 0 DELREF 304-0 f v");
    client_expect(c, "1", "DEBUG FAULT"); /* it has not looked so often */
    client_expect(c, "+OK", "DEBUG FAULT ''");
    restart_as_it_was();
}
END_TEST
#endif

/* Whole nodes, and more IDs than one command has in the log. */
START_TEST(test_trim_many)
{
    client_ask(c, "CONFIG SET stream-node-max-entries 10");
    make_stream(500);
    client_expect(c, "0", "XTRIM s MAXLEN ~ 7 ACKED");
    client_expect(c, "1", "XACK s g 3-0");
    client_expect(c, "1", "XACK s h 3-0");
    client_expect(c, "1", "XTRIM s MAXLEN ~ 7 ACKED");
    client_expect(c, "249", "XTRIM s MINID ~ 255-0 DELREF");
    client_expect(c, "250", "XLEN s");
    client_expect(c, "[250, \"251-0\", \"500-0\", [[\"alice\", \"250\"]]]", "XPENDING s g");
    for (unsigned i = 251; i <= 500; i++) {
        client_ask(c, "XACK s g %u-0", i);
        client_ask(c, "XACK s h %u-0", i == 400 ? 251 : i);
    }
    client_expect(c, "249", "XTRIM s MAXLEN 0 ACKED");
    client_expect(c, "1", "XLEN s");
    restart_as_it_was();
}
END_TEST

START_TEST(test_events)
{
    struct client *listener = server_connect(&kv);
    make_stream(3);
    client_ask(listener, "SUBSCRIBE __keyevent@0__:xdel");
    client_expect(c, "[-1]", "XDELEX s IDS 1 9-0");
    client_expect(c, "[2]", "XDELEX s ACKED IDS 1 1-0");
    client_expect(c, "[2]", "XACKDEL s g ACKED IDS 1 1-0");
    client_expect(c, "[1, 1]", "XDELEX s DELREF IDS 2 1-0 2-0");
    client_expect_next(listener, "[\"message\", \"__keyevent@0__:xdel\", \"s\"]");
    client_expect(c, "[1]", "XACKDEL s g IDS 1 3-0");
    client_expect_next(listener, "[\"message\", \"__keyevent@0__:xdel\", \"s\"]");
    client_close(listener);
}
END_TEST

/* What changes only what is pending is a change for WATCH, what changes nothing is none. */
START_TEST(test_watch)
{
    static const struct {
        const char *command, *reply;
        bool changes;
    } cases[] = {
        { "XDELEX s ACKED IDS 1 1-0", "[2]", false },
        { "XDELEX s IDS 1 9-0", "[-1]", false },
        { "XACKDEL s g ACKED IDS 1 1-0", "[2]", true },
        { "XDELEX s DELREF IDS 1 3-0", "[-1]", true },
        { "XDELEX s DELREF IDS 1 3-0", "[-1]", false },
        { "XDELEX s IDS 1 1-0", "[1]", true },
    };
    struct client *other = server_connect(&kv);
    make_stream(3);
    client_expect(c, "1", "XDEL s 3-0");
    for (unsigned i = 0; i < countof(cases); i++) {
        client_expect(c, "+OK", "WATCH s");
        client_expect(other, cases[i].reply, "%s", cases[i].command);
        client_expect(c, "+OK", "MULTI");
        client_expect(c, cases[i].changes ? "nil*" : "[]", "EXEC");
    }
    client_close(other);
}
END_TEST

#ifdef KV_FAULTS
#define FAULTS_TRIED 8

/* False: refused, and nothing has changed. */
static bool delete_or_nothing(const char *command)
{
    char digest[64], pending[1024];
    snprintf(digest, sizeof digest, "%s", client_line(c, "DEBUG DIGEST"));
    snprintf(pending, sizeof pending, "%s", client_line(c, "XPENDING s g"));
    const struct resp *r = client_ask(c, "%s", command);
    if (r->type != RESP_ERROR) {
        return true;
    }
    ck_assert_msg(strncmp(r->text, "OOM", 3) == 0, "%s", r->text);
    client_expect(c, digest, "DEBUG DIGEST");
    client_expect(c, pending, "XPENDING s g");
    return false;
}

/* Each allocation fails once, also in the middle of many IDs. */
START_TEST(test_out_of_memory)
{
    static char big[2001]; /* smaller nodes are never refused */
    unsigned refused = 0, tried = 0;
    memset(big, 'b', sizeof big - 1);
    for (unsigned after = 0; tried < FAULTS_TRIED; after++) {
        char spec[64];
        server_init(&kv, SERVER_KV);
        snprintf(spec, sizeof spec, "mem.alloc=nomem:%u", after);
        server_env(&kv, "KV_FAULTS", spec);
        if (server_try_start(&kv, "--threads", "1", "--stream-node-max-entries", "3") != 0) {
            continue;
        }
        tried++;
        server_wait_ready(&kv);
        c = server_connect(&kv);
        for (unsigned i = 1; i <= 6; i++) {
            client_ask(c, "XADD s %u-0 f %s", i, big);
        }
        client_ask(c, "XGROUP CREATE s g 0");
        client_ask(c, "XREADGROUP GROUP g alice STREAMS s >");
        refused += !delete_or_nothing("XDELEX s DELREF IDS 2 1-0 4-0");
        refused += !delete_or_nothing("XACKDEL s g IDS 17 2-0 5-0 9-1 9-2 9-3 9-4 9-5 9-6 9-7 9-8 "
                                      "9-9 9-10 9-11 9-12 9-13 9-14 9-15");
        stop();
    }
    ck_assert_uint_ge(refused, 3);
}
END_TEST
#endif

/* ---- Beside a model ---- */

#define IDS    24
#define GROUPS 3

static struct {
    bool there[IDS];
    unsigned last; /* highest ID ever added */
    struct {
        unsigned read;
        bool pending[IDS];
    } group[GROUPS];
} model;

enum { KEEP, DROP, ACKS };
static const char *const words[] = { "KEEPREF", "DELREF", "ACKED" };

static bool model_referenced(unsigned id)
{
    for (unsigned g = 0; g < GROUPS; g++) {
        if (id > model.group[g].read || model.group[g].pending[id]) {
            return true;
        }
    }
    return false;
}

static int model_delete(unsigned id, int refs)
{
    int status = !model.there[id] ? -1 : refs == ACKS && model_referenced(id) ? 2 : 1;
    model.there[id] = model.there[id] && status != 1;
    return status;
}

static int model_one(unsigned id, int refs, int acks)
{
    int status = -1;
    if (acks < 0) {
        status = model_delete(id, refs);
    } else if (model.group[acks].pending[id]) {
        model.group[acks].pending[id] = false;
        status = refs == ACKS && model_referenced(id) ? 2 : 1;
        model.there[id] = model.there[id] && status != 1;
    }
    for (unsigned g = 0; g < GROUPS && refs == DROP && (acks < 0 || status > 0); g++) {
        model.group[g].pending[id] = false;
    }
    return status;
}

/* MINID or MAXLEN `limit`. Returns how many went. */
static unsigned model_trim(bool by_id, unsigned limit, int refs)
{
    unsigned length = 0, gone = 0;
    for (unsigned id = 0; id < IDS; id++) {
        length += model.there[id];
    }
    for (unsigned id = 0; id < IDS && (by_id ? id < limit : length - gone > limit); id++) {
        if (!model.there[id] || (refs == ACKS && model_referenced(id))) {
            continue;
        }
        model.there[id] = false;
        gone++;
        for (unsigned g = 0; g < GROUPS && refs == DROP; g++) {
            model.group[g].pending[id] = false;
        }
    }
    return gone;
}

static void model_compare(void)
{
    char want[512];
    size_t n = 0;
    for (unsigned id = 0; id < IDS; id++) {
        n += model.there[id] ? (size_t)snprintf(want + n, sizeof want - n, "%u-0 ", id) : 0;
    }
    want[n] = '\0';
    const struct resp *r = client_ask(c, "XRANGE m - +");
    char got[512];
    size_t m = 0;
    for (size_t i = 0; i < r->count; i++) {
        m += (size_t)snprintf(got + m, sizeof got - m, "%s ", r->at[i]->at[0]->text);
    }
    got[m] = '\0';
    ck_assert_str_eq(got, want);
    for (unsigned g = 0; g < GROUPS; g++) {
        r = client_ask(c, "XPENDING m g%u - + 1000", g);
        size_t at = 0;
        for (unsigned id = 0; id < IDS; id++) {
            if (model.group[g].pending[id]) {
                char text[16];
                snprintf(text, sizeof text, "%u-0", id);
                ck_assert_uint_lt(at, r->count);
                ck_assert_str_eq(r->at[at++]->at[0]->text, text);
            }
        }
        ck_assert_uint_eq(at, r->count);
    }
}

static void random_delete(void)
{
    char line[512], want[256];
    int refs = (int)rng_below(3), acks = (int)rng_below(GROUPS + 1) - 1;
    unsigned n = 1 + (unsigned)rng_below(rng_below(4) == 0 ? 20 : 4);
    size_t at = acks < 0 ? (size_t)snprintf(line, sizeof line, "XDELEX m ")
                         : (size_t)snprintf(line, sizeof line, "XACKDEL m g%d ", acks);
    at += (size_t)snprintf(line + at, sizeof line - at, "%s IDS %u", words[refs], n);
    size_t w = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned id = 1 + (unsigned)rng_below(IDS - 1);
        at += (size_t)snprintf(line + at, sizeof line - at, " %u-0", id);
        w += (size_t)snprintf(want + w, sizeof want - w, "%s%d", i == 0 ? "[" : ", ",
                              model_one(id, refs, acks));
    }
    snprintf(want + w, sizeof want - w, "]");
    ck_assert_msg(strcmp(client_line(c, "%s", line), want) == 0, "%s: %s, not %s", line,
                  client_last_line(c), want);
}

/* By XTRIM or, while there is room, XADD. */
static void random_trim(void)
{
    char trim[64], gone[16];
    bool by_id = rng_below(2) == 0, add = rng_below(2) == 0 && model.last + 1 < IDS;
    int refs = (int)rng_below(3);
    unsigned limit = (unsigned)rng_below(by_id ? IDS : 8);
    snprintf(trim, sizeof trim, "%s = %u %s", by_id ? "MINID" : "MAXLEN", limit, words[refs]);
    if (add) {
        client_ask(c, "XADD m %s %u-0 f v", trim, ++model.last);
        model.there[model.last] = true;
        (void)model_trim(by_id, limit, refs);
    } else {
        snprintf(gone, sizeof gone, "%u", model_trim(by_id, limit, refs));
        ck_assert_msg(strcmp(client_line(c, "XTRIM m %s", trim), gone) == 0, "%s: %s, not %s", trim,
                      client_last_line(c), gone);
    }
}

static void model_step(void)
{
    unsigned g = (unsigned)rng_below(GROUPS);
    switch (rng_below(9)) {
    case 0: random_trim(); break;
    case 1:
    case 2:
        if (model.last + 1 < IDS) {
            client_ask(c, "XADD m %u-0 f v", ++model.last);
            model.there[model.last] = true;
        }
        break;
    case 3:
    case 4:
        client_ask(c, "XREADGROUP GROUP g%u c%u COUNT 1 STREAMS m >", g, (unsigned)rng_below(2));
        for (unsigned id = model.group[g].read + 1; id < IDS; id++) {
            if (model.there[id]) {
                model.group[g].read = id;
                model.group[g].pending[id] = true;
                break;
            }
        }
        break;
    case 5:
    case 6: {
        unsigned id = 1 + (unsigned)rng_below(IDS - 1);
        client_expect(c, model.group[g].pending[id] ? "1" : "0", "XACK m g%u %u-0", g, id);
        model.group[g].pending[id] = false;
        break;
    }
    default: random_delete(); break;
    }
}

START_TEST(test_model)
{
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < 4; round++) {
        client_ask(c, "DEL m");
        memset(&model, 0, sizeof model);
        client_ask(c, "CONFIG SET stream-node-max-entries %u", 1 + (unsigned)rng_below(8));
        for (unsigned g = 0; g < GROUPS; g++) {
            client_expect(c, "+OK", "XGROUP CREATE m g%u 0 MKSTREAM", g);
        }
        for (unsigned i = 0; i < 150; i++) {
            model_step();
        }
        model_compare();
        restart_as_it_was();
        model_compare();
    }
}
END_TEST

UNIT_SUITE(stream_delex)
{
    TCase *tc =
        unit_case_slow(suite, "stream_delex", 120, test_arguments, test_xdelex, test_xackdel,
                       test_trim, test_trim_many, test_events, test_watch, test_model);
    tcase_add_checked_fixture(tc, start, stop);
#ifdef KV_FAULTS
    unit_case_slow(suite, "memory", 120, test_out_of_memory);
    tc = unit_case(suite, "trimming", test_trim_looks_at_few);
    tcase_add_checked_fixture(tc, start, stop);
#endif
}
