/* cmd_hash_random.c -- HRANDFIELD: fields of a hash at random.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * CHANCE   Each field is as likely as any other, and with a count each subset, whatever the form of
 *          the hash: fields are chosen by rank. */
#include "commands/hash.h"
#include "commands/sample.h"
#include "base/rng.h"

/* Without what is due, for ranks are of all fields: then it is a copy, to be freed. False: replied
 * that there is no memory. */
static bool read_pruned(struct call *c, struct entry **e, struct fields *f, bool *copied)
{
    struct fields copy;
    *copied = false;
    if (!hash_read(c, &c->keys[0], e, f)) {
        return false;
    }
    if (*e == NULL || fields_hidden(f) == 0) {
        return true;
    }
    if (!fields_dup(f, &copy)) {
        reply_oom(c);
        return false;
    }
    while (fields_hides(&copy, fields_first_due(&copy))) {
        fields_drop_first(&copy);
    }
    *f = copy;
    *copied = true;
    return true;
}

static void at_random(const struct fields *f, struct fields_item *item)
{
    struct fields_iter it;
    fields_iter(&it, f, rng_below(fields_count(f)));
    must(fields_next(&it, item));
}

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

/* Independent draws: a field may come again. */
static void hrandfield_draws(struct call *c, const struct fields *f, uint64_t n, bool values)
{
    struct fields_item item;
    if (!sample_reply_fits(n)) {
        reply_oom(c);
        return;
    }
    reply_heading(c, n, values);
    for (uint64_t i = 0; i < n && !call_reply_lost(c); i++) {
        at_random(f, &item);
        reply_field(c, &item, values);
    }
}

static void hrandfield_sample(struct call *c, const struct fields *f, uint64_t n, bool values)
{
    struct sample chosen;
    struct fields_iter it;
    struct fields_item item;
    uint64_t rank;
    n = u64_min(n, fields_count(f));
    if (!sample_begin(&chosen, fields_count(f), n)) {
        reply_oom(c);
        return;
    }
    reply_heading(c, n, values);
    fields_iter(&it, f, 0);
    while (sample_next(&chosen, &rank)) {
        fields_skip_to(&it, rank);
        must(fields_next(&it, &item));
        reply_field(c, &item, values);
    }
    sample_end(&chosen);
}

static void hrandfield_count(struct call *c)
{
    int64_t n;
    struct entry *e;
    struct fields f;
    bool values = c->argc == 4, copied;
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
    if (!read_pruned(c, &e, &f, &copied)) {
        return;
    }
    if (e == NULL || n == 0) {
        reply_array(c, 0);
    } else if (n < 0) {
        hrandfield_draws(c, &f, (uint64_t)-n, values);
    } else {
        hrandfield_sample(c, &f, (uint64_t)n, values);
    }
    if (copied) {
        fields_free(&f);
    }
}

static void cmd_hrandfield(struct call *c)
{
    struct entry *e;
    struct fields f;
    struct fields_item item;
    bool copied;
    if (c->argc > 2) {
        hrandfield_count(c);
    } else if (read_pruned(c, &e, &f, &copied)) {
        if (e != NULL) {
            at_random(&f, &item);
            reply_bulk(c, item.field);
        } else {
            reply_null(c);
        }
        if (copied) {
            fields_free(&f);
        }
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
