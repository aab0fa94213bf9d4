/* order_cases.c -- Histories with a known flaw, and the checker's verdict on them.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "order.h"
#include "unit.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool anonymous_nine(uint32_t key)
{
    return key == 9;
}

/* Adds an operation: "a1=5" appends 5 to key 1, "a1=5,2" is told length 2, "r1=5,6" reads it,
 * "s1=5" sees element 5. */
static void op(struct order_history *h, uint32_t process, int64_t start, int64_t end,
               const char *text)
{
    struct order_op *o = order_add(h, process, start, end);
    const char *at = text;
    while (*at != '\0') {
        char kind = *at++, *rest;
        uint32_t key = (uint32_t)strtoul(at, &rest, 10), seen[64] = { 0 }, n = 0;
        while (*rest == '=' || *rest == ',') {
            if (rest[1] == ' ' || rest[1] == '\0') {
                rest++;
                break;
            }
            seen[n++] = (uint32_t)strtoul(rest + 1, &rest, 10);
        }
        if (kind == 'r') {
            order_read(o, key, seen, n);
        } else if (kind == 'a') {
            order_append(o, key, seen[0]);
            o->micro[o->n - 1].told = n > 1 ? seen[1] : 0;
        } else {
            order_sees(o, key, seen[0]);
        }
        at = *rest == ' ' ? rest + 1 : rest;
    }
}

struct line {
    uint32_t process;
    int64_t start, end;
    const char *text;
};
#define ENDLESS ORDER_UNKNOWN

/* All of one moment unless the times say otherwise. */
static const struct {
    const char *name;
    enum order_verdict want;
    struct line line[6];
} cases[] = {
    { "nothing", ORDER_OK, { { 0 } } },
    { "one after the other",
      ORDER_OK,
      { { 1, 1, 2, "a1=1" }, { 2, 3, 4, "a1=2" }, { 1, 5, 6, "r1=1,2" } } },
    { "overlapping, in either order",
      ORDER_OK,
      { { 1, 1, 9, "a1=1" }, { 2, 2, 8, "a1=2" }, { 3, 3, 10, "r1=2" }, { 4, 20, 21, "r1=2,1" } } },
    { "an unanswered append that happened late",
      ORDER_OK,
      { { 1, 1, ENDLESS, "a1=1" }, { 2, 5, 6, "r1=" }, { 2, 7, 8, "r1=1" } } },
    { "an unanswered append that never happened",
      ORDER_OK,
      { { 1, 1, ENDLESS, "a1=1" }, { 2, 5, 6, "r1=" }, { 2, 7, 8, "r1=" } } },
    { "a transaction sees its own appends",
      ORDER_OK,
      { { 1, 1, 2, "a1=1 r1=1 a1=2 r1=1,2" }, { 2, 3, 4, "r1=1,2" } } },
    { "an element nobody appended", ORDER_BAD_LIST, { { 1, 1, 2, "r1=7" } } },
    { "an element of unknown origin where that may be", ORDER_OK, { { 1, 1, 2, "r9=7" } } },
    { "an element twice", ORDER_BAD_LIST, { { 1, 1, 2, "a1=1" }, { 1, 3, 4, "r1=1,1" } } },
    { "two orders",
      ORDER_BAD_LIST,
      { { 1, 1, 9, "a1=1" }, { 2, 1, 9, "a1=2" }, { 3, 1, 9, "r1=1,2" }, { 4, 1, 9, "r1=2" } } },
    { "told the right place",
      ORDER_OK,
      { { 1, 1, 9, "a1=1,2" }, { 2, 1, 9, "a1=2,1" }, { 3, 1, 9, "r1=2,1" } } },
    { "told another place",
      ORDER_BAD_LIST,
      { { 1, 1, 9, "a1=1,2" }, { 2, 1, 9, "a1=2,2" }, { 3, 1, 9, "r1=2,1" } } },
    { "dirty write",
      ORDER_G0,
      { { 1, 1, 9, "a1=1 a2=1" },
        { 2, 1, 9, "a1=2 a2=2" },
        { 3, 1, 9, "r1=1,2" },
        { 4, 1, 9, "r2=2,1" } } },
    { "circular information", ORDER_G1C, { { 1, 1, 9, "a1=1 r2=1" }, { 2, 1, 9, "a2=1 r1=1" } } },
    { "circular information, by a glimpse",
      ORDER_G1C,
      { { 1, 1, 9, "a1=1 s2=1" }, { 2, 1, 9, "a2=1 s1=1" } } },
    { "half a transaction",
      ORDER_G_SINGLE,
      { { 1, 1, 9, "a1=1 a2=1" }, { 2, 1, 9, "r1=1 r2=" }, { 3, 20, 21, "r2=1" } } },
    { "half a transaction whose rest never came",
      ORDER_G_SINGLE,
      { { 1, 1, ENDLESS, "a1=1 a2=1" }, { 2, 1, 9, "r1=1 r2=" } } },
    { "lost update",
      ORDER_G_SINGLE,
      { { 1, 1, 9, "r1= a1=1" }, { 2, 1, 9, "r1= a1=2" }, { 3, 20, 21, "r1=1,2" } } },
    { "write skew",
      ORDER_G2,
      { { 1, 1, 9, "r1= a2=1" }, { 2, 1, 9, "r2= a1=1" }, { 3, 20, 21, "r1=1 r2=1" } } },
    { "stale read",
      ORDER_G_SINGLE_REALTIME,
      { { 1, 1, 2, "a1=1" }, { 2, 5, 6, "r1=" }, { 3, 8, 9, "r1=1" } } },
    { "an acknowledged append is lost",
      ORDER_G_SINGLE_REALTIME,
      { { 1, 1, 2, "a1=1" }, { 2, 5, 6, "r1=" } } },
    { "an acknowledged append after others is lost",
      ORDER_G_SINGLE_REALTIME,
      { { 1, 1, 2, "a1=1" }, { 1, 3, 4, "a1=2" }, { 2, 5, 6, "r1=1" } } },
    { "a read goes back",
      ORDER_G_SINGLE_REALTIME,
      { { 1, 1, 9, "a1=1" }, { 2, 2, 3, "r1=1" }, { 3, 5, 6, "r1=" } } },
    { "appended in another order than answered",
      ORDER_G0_REALTIME,
      { { 1, 1, 2, "a1=1" }, { 2, 5, 6, "a1=2" }, { 3, 1, 9, "r1=2,1" } } },
    { "read before it was sent", ORDER_G1C_REALTIME, { { 1, 1, 2, "r1=1" }, { 2, 5, 6, "a1=1" } } },
    { "long fork",
      ORDER_G2,
      { { 1, 1, 2, "a1=1" },
        { 2, 3, 9, "r1= r2=1" },
        { 3, 1, 2, "a2=1 r1=" },
        { 4, 3, 9, "r2= r1=1" } } },
};

START_TEST(test_verdicts)
{
    struct order_history h;
    char report[8192];
    order_init(&h);
    h.anonymous = anonymous_nine;
    for (unsigned i = 0; i < countof(cases[_i].line) && cases[_i].line[i].text != NULL; i++) {
        const struct line *l = &cases[_i].line[i];
        op(&h, l->process, l->start, l->end, l->text);
    }
    enum order_verdict got = order_check(&h, report, sizeof report);
    ck_assert_msg(got == cases[_i].want, "%s: %s, expected %s\n%s", cases[_i].name, order_name(got),
                  order_name(cases[_i].want), report);
    ck_assert_msg((got == ORDER_OK) == (report[0] == '\0'), "%s: report: %s", cases[_i].name,
                  report);
    order_free(&h);
}
END_TEST

/* What a store that executes one operation after the other would answer is always accepted; with
 * the first and last element exchanged in the last read of a key it never is: they were appended
 * too far from one another for any other sequence. */
#define KEYS      5
#define LENGTH    40
#define PROCESSES 6

static void random_history(struct order_history *h, bool spoil)
{
    uint32_t list[KEYS][LENGTH], n[KEYS] = { 0 }, value = 0;
    int64_t free_at[PROCESSES] = { 0 };
    for (int64_t now = 0; value < KEYS * LENGTH / 2; now += 10) {
        uint32_t p = (uint32_t)rng_below(PROCESSES);
        if (free_at[p] >= now) {
            continue;
        }
        int64_t start = now - (int64_t)rng_below((uint64_t)(now - free_at[p]));
        free_at[p] = now + (int64_t)rng_below(60);
        struct order_op *o = order_add(h, p, start, free_at[p]);
        for (uint64_t m = 1 + rng_below(3); m > 0; m--) {
            uint32_t k = (uint32_t)rng_below(KEYS);
            if (rng_below(2) == 0 && n[k] < LENGTH) {
                order_append(o, k, ++value);
                list[k][n[k]++] = value;
            } else {
                order_read(o, k, list[k], n[k]);
            }
        }
    }
    for (uint32_t k = 0; k < KEYS; k++) {
        if (spoil && n[k] >= 12) {
            uint32_t x = list[k][0];
            list[k][0] = list[k][n[k] - 1];
            list[k][n[k] - 1] = x;
            spoil = false;
        }
        struct order_op *o = order_add(h, 99, 1000000, 1000001);
        order_read(o, k, list[k], n[k]);
    }
}

START_TEST(test_random)
{
    char report[8192];
    unsigned caught = 0;
    for (unsigned i = 0; i < 300; i++) {
        struct order_history h, part;
        order_init(&h);
        order_init(&part);
        random_history(&part, false);
        order_join(&h, &part);
        enum order_verdict v = order_check(&h, report, sizeof report);
        ck_assert_msg(v == ORDER_OK, "%s\n%s", order_name(v), report);
        order_free(&h);
        random_history(&h, true);
        caught += order_check(&h, report, sizeof report) != ORDER_OK;
        order_free(&h);
    }
    ck_assert_uint_eq(caught, 300);
}
END_TEST

UNIT_SUITE(order_checker)
{
    unit_case_loop(suite, "verdicts", 60, test_verdicts, (int)countof(cases));
    unit_case(suite, "random", test_random);
}
