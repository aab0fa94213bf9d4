/* cmd_set_random.c -- Members of a set at random: SPOP and SRANDMEMBER.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * CHANCE   Each member is as likely as any other, and with a count each subset, whatever the form
 * of the set: members are chosen by rank. EFFECTS  What was popped, not that something was: SREM,
 * or DEL when nothing is left over. */
#include "commands/set.h"
#include "commands/sample.h"
#include "base/rng.h"

/* ---- SPOP ---- */

static void spop_one(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct entry *e;
    struct set s;
    struct set_member m;
    if (!set_write(c, k, &e, &s)) {
        return;
    }
    if (e == NULL) {
        reply_null(c);
        return;
    }
    uint64_t rank = rng_below(set_count(&s));
    set_at(&s, rank, &m);
    set_reply_member(c, &m);
    EFFECT(c, S("SREM"), k->s, set_text(&m));
    set_remove_at(&s, rank);
    notify(c, NOTIFY_SET, "spop", k);
    set_shrunk(c, k, e, &s);
}

static void spop_all(struct call *c, const struct key *k, const struct set *s)
{
    set_reply_all(c, s);
    call_more_changes(c, (int64_t)set_count(s) - 1);
    EFFECT(c, S("DEL"), k->s);
    notify(c, NOTIFY_SET, "spop", k);
    (void)key_delete(c, k);
    notify(c, NOTIFY_GENERIC, "del", k);
}

#define EFFECT_BATCH 128 /* members per SREM: what it needs fits the stack */

struct batch {
    struct set_member m[EFFECT_BATCH];
    uint64_t rank[EFFECT_BATCH];
    struct slice argv[2 + EFFECT_BATCH];
    unsigned n;
};

/* The next ones, which are all there. False: no memory for the effect of removing them. */
static bool batch_choose(struct call *c, const struct set *s, struct sample *chosen, uint64_t gone,
                         struct batch *b)
{
    uint64_t rank;
    size_t room = c->keys[0].s.n + 2 * (size_t)EFFECT_ARG;
    b->argv[0] = S("SREM");
    b->argv[1] = c->keys[0].s;
    for (b->n = 0; b->n < EFFECT_BATCH && sample_next(chosen, &rank); b->n++) {
        b->rank[b->n] = rank - gone; /* so many stood before it and are gone */
        set_at(s, b->rank[b->n], &b->m[b->n]);
        b->argv[2 + b->n] = set_text(&b->m[b->n]);
        room += b->argv[2 + b->n].n + EFFECT_ARG;
    }
    return effect_fits(c, room);
}

/* Replied and logged while they are there, then removed. */
static void batch_pop(struct call *c, struct set *s, const struct batch *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        reply_bulk(c, b->argv[2 + i]);
    }
    effect(c, b->argv, 2 + b->n);
    for (unsigned i = b->n; i-- > 0;) { /* from the end: ranks before it stay */
        set_remove_at(s, b->rank[i]);
    }
}

/* Fewer than there are; fewer than asked for where memory ends. */
static void spop_some(struct call *c, const struct key *k, struct entry *e, struct set *s,
                      uint64_t n)
{
    struct sample chosen;
    struct batch b;
    uint64_t done = 0;
    if (!sample_begin(&chosen, set_count(s), n)) {
        reply_oom(c);
        return;
    }
    bool room = batch_choose(c, s, &chosen, done, &b);
    if (!room) {
        sample_end(&chosen);
        reply_oom(c);
        return;
    }
    struct out_block *hole = NULL;
    if (n <= EFFECT_BATCH) {
        reply_set(c, n);
    } else {
        hole = reply_array_deferred(c);
    }
    while (room && b.n > 0) {
        batch_pop(c, s, &b);
        done += b.n;
        room = batch_choose(c, s, &chosen, done, &b);
    }
    if (hole != NULL) {
        reply_set_fill(c, hole, done);
    }
    sample_end(&chosen);
    call_more_changes(c, (int64_t)done - 1);
    notify(c, NOTIFY_SET, "spop", k);
    set_shrunk(c, k, e, s);
}

static void spop_count(struct call *c)
{
    const struct key *k = &c->keys[0];
    int64_t n;
    struct entry *e;
    struct set s;
    if (!arg_i64_range(c, 2, 0, INT64_MAX, &n, "ERR value is out of range, must be positive") ||
        !set_write(c, k, &e, &s)) {
        return;
    }
    if (e == NULL || n == 0) {
        reply_set(c, 0);
    } else if ((uint64_t)n >= set_count(&s)) {
        spop_all(c, k, &s);
    } else {
        spop_some(c, k, e, &s, (uint64_t)n);
    }
}

static void cmd_spop(struct call *c)
{
    if (c->argc > 3) {
        reply_syntax(c);
    } else if (c->argc == 3) {
        spop_count(c);
    } else {
        spop_one(c);
    }
}

/* ---- SRANDMEMBER ---- */

static void srandmember_one(struct call *c)
{
    struct entry *e;
    struct set s;
    struct set_member m;
    if (!set_read(c, &c->keys[0], &e, &s)) {
        return;
    }
    if (e == NULL) {
        reply_null(c);
        return;
    }
    set_at(&s, rng_below(set_count(&s)), &m);
    set_reply_member(c, &m);
}

/* Independent draws: a member may come again. */
static void srandmember_draws(struct call *c, const struct set *s, uint64_t n)
{
    struct set_member m;
    if (!sample_reply_fits(n)) {
        reply_oom(c);
        return;
    }
    reply_array(c, n);
    for (uint64_t i = 0; i < n && !call_reply_lost(c); i++) {
        set_at(s, rng_below(set_count(s)), &m);
        set_reply_member(c, &m);
    }
}

static void srandmember_sample(struct call *c, const struct set *s, uint64_t n)
{
    struct sample chosen;
    struct set_iter it;
    struct set_member m;
    uint64_t rank, next = 0, have = set_count(s);
    n = n < have ? n : have;
    if (!sample_begin(&chosen, have, n)) {
        reply_oom(c);
        return;
    }
    reply_array(c, n);
    set_iter(&it, s, 0);
    while (sample_next(&chosen, &rank)) {
        if (rank - next > have / n + 1) { /* far: looked up, else walked */
            set_iter(&it, s, rank);
            next = rank;
        }
        while (next <= rank) {
            must(set_next(&it, &m));
            next++;
        }
        set_reply_member(c, &m);
    }
    sample_end(&chosen);
}

static void srandmember_count(struct call *c)
{
    int64_t n;
    struct entry *e;
    struct set s;
    if (!arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, &n, NULL) ||
        !set_read(c, &c->keys[0], &e, &s)) {
        return;
    }
    if (e == NULL || n == 0) {
        reply_array(c, 0);
    } else if (n < 0) {
        srandmember_draws(c, &s, (uint64_t)-n);
    } else {
        srandmember_sample(c, &s, (uint64_t)n);
    }
}

static void cmd_srandmember(struct call *c)
{
    if (c->argc > 3) {
        reply_syntax(c);
    } else if (c->argc == 3) {
        srandmember_count(c);
    } else {
        srandmember_one(c);
    }
}

#define SET_ROW .acl = ACL_SET, .group = "set"
const struct command set_random_commands[] = {
    { .name = "spop",
      .proc = cmd_spop,
      .arity = -2,
      .flags = CMD_WRITE | CMD_FAST,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE) },
      .since = "1.0.0",
      .complexity = "Without the count argument O(1), otherwise O(N) where N is the value of the "
                    "passed count.",
      .summary = "Remove and return one or multiple random members from a set",
      .syntax = "key [count:int]@3.2.0",
      .tips = "nondeterministic_output",
      .history = "3.2.0:Added the `count` argument." },
    { .name = "srandmember",
      .proc = cmd_srandmember,
      .arity = -2,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "1.0.0",
      .complexity = "Without the count argument O(1), otherwise O(N) where N is the absolute value "
                    "of the passed count.",
      .summary = "Get one or multiple random members from a set",
      .syntax = "key [count:int]@2.6.0",
      .tips = "nondeterministic_output",
      .history = "2.6.0:Added the optional `count` argument." },
    { .name = NULL },
};
