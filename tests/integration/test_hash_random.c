/* test_hash_random.c -- HRANDFIELD of a hash with fields that are due and still there.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server kv;

static void kv_start(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "1");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-ACTIVE-EXPIRE 0");
    client_close(c);
}

static void kv_stop(void)
{
    server_stop(&kv);
}

/* h has the visible fields v0, v1 ... and so many hidden ones d0, d1 ..., each with its name as its
 * value. */
static void fill(struct client *c, unsigned visible, unsigned hidden)
{
    client_ask(c, "DEL h");
    for (unsigned i = 0; i < visible; i++) {
        client_send(c, "HSET h v%u v%u", i, i);
    }
    for (unsigned i = 0; i < hidden; i += 100) {
        char line[4000];
        unsigned n = hidden - i < 100 ? hidden - i : 100;
        size_t at = (size_t)sprintf(line, "HSETEX h PX 1 FIELDS %u", n);
        for (unsigned j = i; j < i + n; j++) {
            at += (size_t)sprintf(line + at, " d%u d%u", j, j);
        }
        client_send(c, "%s", line);
    }
    for (unsigned i = 0; i < visible + (hidden + 99) / 100; i++) {
        ck_assert_int_eq(client_read(c)->integer, 1);
    }
    usleep(5000);
    ck_assert_int_eq(client_int(c, "HLEN h"), visible);
}

static unsigned number(const struct resp *field, unsigned visible)
{
    ck_assert_msg(field->text[0] == 'v', "%s is hidden", field->text);
    unsigned i = (unsigned)atoi(field->text + 1);
    ck_assert_uint_lt(i, visible);
    return i;
}

/* One of each kind, with what is replied looked at. */
static void ask_each(struct client *c, unsigned visible)
{
    const struct resp *r = client_ask(c, "HRANDFIELD h");
    ck_assert_int_eq(r->type, RESP_BULK);
    number(r, visible);
    r = client_ask(c, "HRANDFIELD h 5");
    ck_assert_int_eq(r->type, RESP_ARRAY);
    ck_assert_uint_eq(r->count, visible < 5 ? visible : 5);
    for (size_t i = 0; i < r->count; i++) {
        number(r->at[i], visible);
    }
    r = client_ask(c, "HRANDFIELD h -3 WITHVALUES");
    ck_assert_int_eq(r->type, RESP_ARRAY);
    ck_assert_uint_eq(r->count, 6);
    for (size_t i = 0; i < r->count; i += 2) {
        number(r->at[i], visible);
        ck_assert_str_eq(r->at[i]->text, r->at[i + 1]->text);
    }
}

/* Due fields are passed over, in a hash that stays as it is: no copy is made of it. */
START_TEST(test_no_copy)
{
#ifdef KV_FAULTS
    static const unsigned visible[] = { 2, 1000, 50, 3 }, hidden[] = { 100000, 20000, 10, 7 };
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < countof(visible); i++) {
        fill(c, visible[i], hidden[i]);
        client_expect(c, "+OK", "DEBUG FAULT fields.dup=nomem:0:0");
        ask_each(c, visible[i]);
        ck_assert_int_eq(client_ask(c, "COPY h h2")->type, RESP_ERROR); /* the point works */
        client_expect(c, "+OK", "DEBUG FAULT \"\"");
    }
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

/* Of 50 expected, fewer than 5 or more than 150 is never. */
static void expect_alike(const unsigned *hits, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        ck_assert_msg(hits[i] >= 5 && hits[i] <= 150, "field %u of %u: %u times", i, n, hits[i]);
    }
}

/* Every visible field is as likely as any other, and a sample has none twice: both forms, few or
 * many of them hidden. */
START_TEST(test_chance)
{
    static const struct {
        unsigned visible, hidden;
    } hashes[] = { { 20, 10 }, { 10, 90 }, { 200, 1 }, { 200, 150 }, { 200, 1000 }, { 20, 2000 } };
    static unsigned hits[200], last[200], sample; /* the last one that a field was in */
    struct client *c = server_connect(&kv);
    for (unsigned h = 0; h < countof(hashes); h++) {
        unsigned n = hashes[h].visible;
        fill(c, n, hashes[h].hidden);
        memset(hits, 0, sizeof hits);
        const struct resp *r = client_ask(c, "HRANDFIELD h -%u", n * 50);
        ck_assert_uint_eq(r->count, n * 50);
        for (size_t i = 0; i < r->count; i++) {
            hits[number(r->at[i], n)]++;
        }
        expect_alike(hits, n);
        for (unsigned k = 1; k <= n; k = k * 4 + 1) { /* 1, 5, 21, 85: looked up, and walked */
            unsigned times = (50 * n + k - 1) / k;
            memset(hits, 0, sizeof hits);
            for (unsigned t = 0; t < times; t++) {
                client_send(c, "HRANDFIELD h %u WITHVALUES", k);
            }
            for (unsigned t = 0; t < times; t++) {
                r = client_read(c);
                sample++;
                ck_assert_uint_eq(r->count, k * 2);
                for (size_t i = 0; i < r->count; i += 2) {
                    unsigned field = number(r->at[i], n);
                    ck_assert_str_eq(r->at[i]->text, r->at[i + 1]->text);
                    ck_assert_uint_ne(last[field], sample);
                    last[field] = sample;
                    hits[field]++;
                }
            }
            expect_alike(hits, n);
        }
        r = client_ask(c, "HRANDFIELD h 100000");
        ck_assert_uint_eq(r->count, n);
    }
    client_close(c);
}
END_TEST

/* What it needs to choose by is refused, with nothing chosen. */
START_TEST(test_no_memory)
{
#ifdef KV_FAULTS
    static const char *const asked[] = { "HRANDFIELD h", "HRANDFIELD h -3", "HRANDFIELD h 1" };
    static const unsigned visible[] = { 2, 2, 64 };
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < countof(asked); i++) {
        fill(c, visible[i], 100);
        unsigned failed = 0;
        for (unsigned after = 0; after < 6; after++) {
            client_expect(c, "+OK", "DEBUG FAULT mem.alloc=nomem:%u", after);
            const struct resp *r = client_ask(c, "%s", asked[i]);
            if (r->type == RESP_ERROR) {
                ck_assert_ptr_nonnull(strstr(r->text, "OOM"));
                failed++;
            } else if (r->type == RESP_ARRAY) {
                ck_assert_uint_eq(r->count, i == 1 ? 3 : 1);
            } else {
                number(r, visible[i]);
            }
        }
        client_expect(c, "+OK", "DEBUG FAULT \"\"");
        ck_assert_uint_ge(failed, 1);
    }
    client_close(c);
#else
    unit_skip("needs fault points");
#endif
}
END_TEST

UNIT_SUITE(hash_random)
{
    TCase *tc =
        unit_case_slow(suite, "hash_random", 120, test_no_copy, test_chance, test_no_memory);
    tcase_add_unchecked_fixture(tc, kv_start, kv_stop);
}
