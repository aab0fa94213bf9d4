/* scan.c -- Cursor and options of the SCAN family.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/scan.h"

#define COUNT_DEFAULT 10
#define CURSOR_BITS   53
#define HASH_SHIFT    (64 - CURSOR_BITS)

/* As strtoull() reads it: sign and leading zeros are fine, no digits at all are 0. */
static bool parse_cursor(struct slice s, uint64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t v = 0;
    for (size_t i = s.n > 0 && (negative || s.p[0] == '+'); i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, digit, &v)) {
            return false;
        }
    }
    *out = negative ? -v : v;
    return s.n != 1 || (s.p[0] != '-' && s.p[0] != '+');
}

bool scan_cursor(struct call *c, unsigned i, struct scan_args *a)
{
    *a = (struct scan_args){ .count = COUNT_DEFAULT, .type = -1 };
    if (!parse_cursor(c->argv[i], &a->cursor)) {
        reply_error(c, "ERR invalid cursor");
        return false;
    }
    return true;
}

static int type_named(struct slice name)
{
    for (int t = OBJ_STRING; t <= OBJ_STREAM; t++) {
        if (slice_is(name, obj_type_name((enum obj_type)t))) {
            return t;
        }
    }
    return SCAN_NO_TYPE;
}

bool scan_options(struct call *c, unsigned first, unsigned with, struct scan_args *a)
{
    for (unsigned i = first; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        if ((with & SCAN_WITH_NOVALUES) && arg_is(c, i, "novalues")) {
            a->no_values = true;
            i--; /* it has no argument */
        } else if (more && arg_is(c, i, "count")) {
            int64_t count;
            if (!arg_i64(c, i + 1, &count)) {
                return false;
            }
            if (count < 1) {
                reply_syntax(c);
                return false;
            }
            a->count = (size_t)count;
        } else if (more && arg_is(c, i, "match")) {
            bool all = slice_eq(c->argv[i + 1], S("*"));
            a->pattern = all ? (struct slice){ NULL, 0 } : c->argv[i + 1];
        } else if (more && (with & SCAN_WITH_TYPE) && arg_is(c, i, "type")) {
            a->type = type_named(c->argv[i + 1]);
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

uint64_t scan_tree(const struct btree *t, const struct scan_args *a,
                   void (*visit)(void *arg, const struct btree_item *item), void *arg)
{
    if (a->cursor >> CURSOR_BITS != 0) {
        return 0; /* never given out */
    }
    struct btree_iter it;
    struct btree_item item;
    size_t seen = 0;
    uint64_t last = 0;
    btree_iter(&it, t, btree_rank(t, a->cursor << HASH_SHIFT, S("")), true);
    while (btree_next(&it, &item)) {
        uint64_t place = item.order >> HASH_SHIFT;
        if (seen >= a->count && place != last) {
            return place;
        }
        visit(arg, &item);
        last = place;
        seen++;
    }
    return 0;
}

struct scan_reply scan_reply_begin(struct call *c)
{
    struct scan_reply r;
    reply_array(c, 2);
    r.cursor = reply_array_deferred(c);
    r.array = reply_array_deferred(c);
    return r;
}

void scan_reply_end(struct call *c, const struct scan_reply *r, uint64_t next, size_t replied)
{
    reply_array_fill(c, r->array, replied);
    reply_bulk_u64_fill(c, r->cursor, next);
}

void scan_reply_nothing(struct call *c)
{
    struct scan_reply r = scan_reply_begin(c);
    scan_reply_end(c, &r, 0, 0);
}
