/* cmd_hash_random.c -- HRANDFIELD: fields of a hash at random.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * CHANCE   Each field is as likely as any other, and with a count each subset, whatever the form of
 *          the hash: fields are chosen by rank.
 * HIDDEN   Fields that are due have a rank, too. So a field is looked up by a rank among all, again
 *          until it is a visible one; or, where that takes longer, one walk over the hash finds the
 *          visible ones. Nothing is copied or removed. */
#include "commands/hash.h"
#include "commands/sample.h"
#include "base/mem.h"
#include "base/rng.h"

#define WALKED 32u /* fields that a walk passes in the time of one look-up, about */

/* Is looking up n visible fields, and the hidden ones that come instead, less work than a walk? */
static bool look_up_pays(uint64_t visible, uint64_t n)
{
    return n < visible / WALKED;
}

/* The same fields, with nothing hidden. */
static struct fields all_of(const struct fields *f)
{
    struct fields all = *f;
    all.now = FIELDS_ALL;
    return all;
}

/* ---- Independent draws ---- */

struct draws {
    const struct fields *f;
    struct fields all;
    uint64_t *visible; /* their ranks; NULL: draws among all, until a visible one comes */
    uint64_t n;        /* ranks to draw from */
};

/* For n draws; f is not empty. False: no memory. */
static bool draws_begin(struct draws *d, const struct fields *f, uint64_t n)
{
    uint64_t visible = fields_count(f), hidden = fields_hidden(f), have = 0;
    struct fields_iter it;
    struct fields_item item;
    *d = (struct draws){ f, all_of(f), NULL, visible + hidden };
    if (hidden <= visible || look_up_pays(visible, n)) {
        return true;
    }
    d->visible = mem_try_alloc(visible * sizeof *d->visible);
    if (d->visible == NULL) {
        return false;
    }
    fields_iter(&it, &d->all, 0);
    for (uint64_t rank = 0; have < visible; rank++) {
        must(fields_next(&it, &item));
        if (!fields_hides(f, item.due)) {
            d->visible[have++] = rank;
        }
    }
    d->n = visible;
    return true;
}

static void draw(const struct draws *d, struct fields_item *item)
{
    struct fields_iter it;
    do {
        uint64_t i = rng_below(d->n);
        fields_iter(&it, &d->all, d->visible != NULL ? d->visible[i] : i);
        must(fields_next(&it, item));
    } while (fields_hides(d->f, item->due));
}

static void draws_end(struct draws *d)
{
    mem_free(d->visible);
}

/* ---- Different ones ---- */

/* Ranks of visible fields, at least n, ascending, and each set of as many as likely as any other:
 * that part of a sample of all which is not hidden. NULL: no memory. */
static uint64_t *some_visible(const struct fields *f, uint64_t n, uint64_t *have)
{
    struct fields all = all_of(f);
    struct fields_iter it;
    struct fields_item item;
    struct sample s;
    uint64_t of = fields_count(&all), rank;
    uint64_t k = n * 2 * (of / fields_count(f) + 1); /* twice as many as it takes on average */
    uint64_t *visible = mem_try_alloc(k * sizeof *visible);
    *have = 0;
    while (visible != NULL && *have < n) {
        if (!sample_begin(&s, of, k)) {
            mem_free(visible);
            return NULL;
        }
        *have = 0;
        fields_iter(&it, &all, 0);
        while (sample_next(&s, &rank)) {
            fields_skip_to(&it, rank);
            must(fields_next(&it, &item));
            if (!fields_hides(f, item.due)) {
                visible[(*have)++] = rank;
            }
        }
        sample_end(&s);
    }
    return visible;
}

/* n of the visible ones, which are no fewer. */
struct picks {
    struct fields_iter it;
    struct sample chosen;
    uint64_t *visible; /* the ranks that are chosen from; NULL: from all the visible ones */
    bool walks;        /* past hidden ones, to the chosen of the visible ones */
    uint64_t at;       /* how many of those were passed */
};

/* False: no memory. */
static bool picks_begin(struct picks *p, const struct fields *f, uint64_t n)
{
    uint64_t visible = fields_count(f);
    *p = (struct picks){ .walks = fields_hidden(f) > 0 };
    if (p->walks && look_up_pays(visible, n)) {
        p->walks = false;
        p->visible = some_visible(f, n, &visible);
        if (p->visible == NULL) {
            return false;
        }
    }
    if (!sample_begin(&p->chosen, visible, n)) {
        mem_free(p->visible);
        return false;
    }
    fields_iter(&p->it, f, 0);
    return true;
}

static bool picks_next(struct picks *p, struct fields_item *item)
{
    uint64_t i;
    if (!sample_next(&p->chosen, &i)) {
        return false;
    }
    if (!p->walks) {
        fields_skip_to(&p->it, p->visible != NULL ? p->visible[i] : i);
    }
    do {
        must(fields_next(&p->it, item));
    } while (p->walks && p->at++ < i);
    return true;
}

static void picks_end(struct picks *p)
{
    sample_end(&p->chosen);
    mem_free(p->visible);
}

/* ---- The command ---- */

/* RESP3 has an array of pairs. */
static void reply_heading(struct call *c, uint64_t n, bool values)
{
    reply_array(c, values && c->resp == 2 ? n * 2 : n);
}

static void reply_field(struct call *c, const struct fields_item *item, bool values)
{
    if (values && c->resp > 2) {
        reply_array(c, 2);
    }
    reply_bulk(c, item->field);
    if (values) {
        reply_bulk(c, item->value);
    }
}

/* A field may come again. */
static void hrandfield_draws(struct call *c, const struct fields *f, uint64_t n, bool values)
{
    struct draws d;
    struct fields_item item;
    if (!sample_reply_fits(n) || !draws_begin(&d, f, n)) {
        reply_oom(c);
        return;
    }
    reply_heading(c, n, values);
    for (uint64_t i = 0; i < n && !call_reply_lost(c); i++) {
        draw(&d, &item);
        reply_field(c, &item, values);
    }
    draws_end(&d);
}

static void hrandfield_sample(struct call *c, const struct fields *f, uint64_t n, bool values)
{
    struct picks p;
    struct fields_item item;
    n = u64_min(n, fields_count(f));
    if (!picks_begin(&p, f, n)) {
        reply_oom(c);
        return;
    }
    reply_heading(c, n, values);
    while (picks_next(&p, &item)) {
        reply_field(c, &item, values);
    }
    picks_end(&p);
}

static void hrandfield_count(struct call *c)
{
    int64_t n;
    struct entry *e;
    struct fields f;
    bool values = c->argc == 4;
    if (!arg_i64_range(c, 2, -INT64_MAX, INT64_MAX, &n, NULL)) {
        return;
    }
    if (c->argc > 4 || (values && !arg_is(c, 3, "withvalues"))) {
        reply_syntax(c);
        return;
    }
    if (values && (n < -INT64_MAX / 2 || n > INT64_MAX / 2)) {
        reply_error(c, "ERR value is out of range");
        return;
    }
    if (!hash_read(c, &c->keys[0], &e, &f)) {
        return;
    }
    if (e == NULL || n == 0) {
        reply_array(c, 0);
    } else if (n < 0) {
        hrandfield_draws(c, &f, (uint64_t)-n, values);
    } else {
        hrandfield_sample(c, &f, (uint64_t)n, values);
    }
}

static void hrandfield_one(struct call *c)
{
    struct entry *e;
    struct fields f;
    struct draws d;
    struct fields_item item;
    if (!hash_read(c, &c->keys[0], &e, &f)) {
        return;
    }
    if (e == NULL) {
        reply_null(c);
    } else if (!draws_begin(&d, &f, 1)) {
        reply_oom(c);
    } else {
        draw(&d, &item);
        reply_bulk(c, item.field);
        draws_end(&d);
    }
}

static void cmd_hrandfield(struct call *c)
{
    if (c->argc > 2) {
        hrandfield_count(c);
    } else {
        hrandfield_one(c);
    }
}

const struct command hash_random_commands[] = {
    { .name = "hrandfield",
      .proc = cmd_hrandfield,
      .arity = -2,
      .flags = CMD_READONLY,
      .acl = ACL_HASH,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .group = "hash",
      .since = "6.2.0",
      .complexity = "O(N) where N is the number of fields returned",
      .summary = "Get one or multiple random fields from a hash",
      .syntax = "key [options=<count:int [WITHVALUES]>]",
      .tips = "nondeterministic_output" },
    { .name = NULL },
};
