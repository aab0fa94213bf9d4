/* elements.c -- Ranges of indexes, popping from the first of several keys.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/elements.h"

bool index_range(int64_t start, int64_t stop, uint64_t n, uint64_t *first, uint64_t *count)
{
    int64_t len = (int64_t)n;
    start = start < 0 ? (start + len < 0 ? 0 : start + len) : start;
    stop = stop < 0 ? stop + len : stop;
    if (start > stop || start >= len || stop < 0) {
        return false;
    }
    stop = stop >= len ? len - 1 : stop;
    *first = (uint64_t)start;
    *count = (uint64_t)(stop - start + 1);
    return true;
}

bool first_existing(struct call *c, enum obj_type t, unsigned *i, struct entry **e)
{
    *e = NULL;
    for (*i = 0; *i < c->nkeys; ++*i) {
        if (!call_serves(c, *i)) {
            continue;
        }
        *e = key_write(c, &c->keys[*i]);
        if (!key_is(c, *e, t)) {
            return false;
        }
        if (*e != NULL) {
            return true;
        }
    }
    return true;
}

bool mpop_parse(struct call *c, unsigned at, const char *first, const char *last,
                struct mpop_args *a)
{
    int64_t n, count = 1;
    if (!arg_i64_range(c, at, 1, INT64_MAX, &n, "ERR numkeys should be greater than 0")) {
        return false;
    }
    unsigned i = at + 1;
    if (n >= c->argc - i) {
        reply_syntax(c);
        return false;
    }
    i += (unsigned)n;
    a->last = arg_is(c, i, last);
    if (!a->last && !arg_is(c, i, first)) {
        reply_syntax(c);
        return false;
    }
    i++;
    if (i < c->argc) {
        if (!arg_is(c, i, "count") || i + 1 == c->argc) {
            reply_syntax(c);
            return false;
        }
        if (!arg_i64_range(c, i + 1, 1, INT64_MAX, &count, "ERR count should be greater than 0")) {
            return false;
        }
        if (i + 2 < c->argc) {
            reply_syntax(c);
            return false;
        }
    }
    a->count = (uint64_t)count;
    return true;
}

void null_array_reply(struct call *c)
{
    reply_null_array(c);
}
