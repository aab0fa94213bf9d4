/* cmd_set_ops.c -- Sets of sets: intersection, union, difference; replied, counted or stored.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WAYS     Intersection: the members of the smallest, looked up in the others, next bigger first.
 *          Union: a copy of the biggest tree, which shares its pages, and the members of the
 * others. Difference: the first one's members looked up in the others, or a copy of it from which
 *          the members of the others are removed, whichever is less work.
 *          All trees have one order, so looking up the members of one in another stays near the
 * page of the last one. KEYS     Every source is looked at, and its type judged, even if the result
 * is known before. EFFECTS  As it came: what is stored depends on nothing but the sources. */
#include "commands/set.h"
#include "base/mem.h"
#include <stdlib.h>

struct source {
    struct set s;
    uint64_t n;   /* members; 0: no such key, and s is not set */
    unsigned arg; /* for a stable order */
};

/* What happens to a member of the result; false: no more are wanted, or there was no memory. */
typedef bool (*take_fn)(void *arg, struct set_member *m);

/* ---- Sources ---- */

/* The sets at keys[first] and after it. NULL: replied. */
static struct source *load_sources(struct call *c, unsigned first, unsigned n)
{
    struct source *v = mem_try_alloc(n * sizeof *v);
    if (v == NULL) {
        reply_oom(c);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        struct entry *e;
        if (!set_read(c, &c->keys[first + i], &e, &v[i].s)) {
            mem_free(v);
            return NULL;
        }
        v[i].n = e != NULL ? set_count(&v[i].s) : 0;
        v[i].arg = i;
    }
    return v;
}

static int smaller_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->n != y->n) {
        return x->n < y->n ? -1 : 1;
    }
    return (x->arg > y->arg) - (x->arg < y->arg);
}

/* ---- Results ---- */

struct out_members {
    struct call *c;
    uint64_t n;
};

static bool take_reply(void *arg, struct set_member *m)
{
    struct out_members *o = arg;
    set_reply_member(o->c, m);
    o->n++;
    return true;
}

struct out_count {
    uint64_t n, limit;
};

static bool take_count(void *arg, struct set_member *m unused_arg)
{
    struct out_count *o = arg;
    return ++o->n != o->limit;
}

struct out_set {
    struct set s;
    struct set_limits limits;
    bool no_memory;
};

static bool take_store(void *arg, struct set_member *m)
{
    struct out_set *o = arg;
    o->no_memory = set_add(&o->s, m, &o->limits) < 0;
    return !o->no_memory;
}

static bool each_member(const struct set *s, take_fn take, void *arg)
{
    struct set_iter it;
    struct set_member m;
    set_iter(&it, s, 0);
    while (set_next(&it, &m)) {
        if (!take(arg, &m)) {
            return false;
        }
    }
    return true;
}

/* A set that is not in the keyspace: as reply. */
static void reply_result(struct call *c, struct set *s)
{
    set_reply_all(c, s);
    set_free(s);
}

/* The result becomes the set at keys[0], instead of what is there; an empty one deletes it. */
static void store_result(struct call *c, struct out_set *o, const char *event)
{
    const struct key *k = &c->keys[0];
    uint64_t n = set_count(&o->s);
    if (o->no_memory) {
        set_free(&o->s);
        reply_oom(c);
        return;
    }
    if (n > 0) {
        (void)key_replace(c, k, OBJ_SET, entry_set_enc(&o->s), o->s.p);
        notify(c, NOTIFY_SET, event, k);
    } else {
        set_free(&o->s);
        if (key_delete(c, k)) {
            notify(c, NOTIFY_GENERIC, "del", k);
        }
    }
    reply_int(c, (int64_t)n);
}

static void out_set_begin(struct call *c, struct out_set *o)
{
    *o = (struct out_set){ .limits = set_limits_of(c) };
    set_new_smallest(&o->s);
}

/* ---- Intersection ---- */

static bool in_all(struct source *v, unsigned n, struct set_member *m)
{
    for (unsigned i = 0; i < n; i++) {
        if (!set_has(&v[i].s, m)) {
            return false;
        }
    }
    return true;
}

/* Sorts the sources. */
static void intersect(struct source *v, unsigned n, take_fn take, void *arg)
{
    struct set_iter it;
    struct set_member m;
    qsort(v, n, sizeof *v, smaller_first);
    if (v[0].n == 0) {
        return;
    }
    set_iter(&it, &v[0].s, 0);
    while (set_next(&it, &m)) {
        if (in_all(v + 1, n - 1, &m) && !take(arg, &m)) {
            return;
        }
    }
}

static void cmd_sinter(struct call *c)
{
    struct source *v = load_sources(c, 0, c->nkeys);
    if (v != NULL) {
        struct out_members o = { .c = c };
        struct out_block *hole = reply_array_deferred(c);
        intersect(v, c->nkeys, take_reply, &o);
        reply_set_fill(c, hole, o.n);
        mem_free(v);
    }
}

static void cmd_sinterstore(struct call *c)
{
    struct source *v = load_sources(c, 1, c->nkeys - 1);
    if (v != NULL) {
        struct out_set o;
        out_set_begin(c, &o);
        intersect(v, c->nkeys - 1, take_store, &o);
        store_result(c, &o, "sinterstore");
        mem_free(v);
    }
}

static void cmd_sintercard(struct call *c)
{
    int64_t numkeys, limit = 0;
    if (!arg_i64_range(c, 1, 1, INT64_MAX, &numkeys, "ERR numkeys should be greater than 0")) {
        return;
    }
    if (numkeys > (int64_t)c->argc - 2) {
        reply_error(c, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (unsigned i = 2 + (unsigned)numkeys; i < c->argc; i += 2) {
        if (!arg_is(c, i, "limit") || i + 1 >= c->argc) {
            reply_syntax(c);
            return;
        }
        if (!arg_i64_range(c, i + 1, 0, INT64_MAX, &limit, "ERR LIMIT can't be negative")) {
            return;
        }
    }
    struct source *v = load_sources(c, 0, (unsigned)numkeys);
    if (v != NULL) {
        struct out_count o = { .limit = (uint64_t)limit };
        intersect(v, (unsigned)numkeys, take_count, &o);
        reply_int(c, (int64_t)o.n);
        mem_free(v);
    }
}

/* ---- Union ---- */

static const struct source *biggest_tree(const struct source *v, unsigned n)
{
    const struct source *best = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (v[i].n > 0 && v[i].s.form == SET_TREE && (best == NULL || v[i].n > best->n)) {
            best = &v[i];
        }
    }
    return best;
}

/* The result so far becomes a copy of s, in the form that its members would get one by one. */
static void start_from(struct out_set *o, const struct set *s)
{
    struct set copy;
    if (!set_dup(s, &copy)) {
        o->no_memory = true;
        return;
    }
    set_free(&o->s);
    o->s = copy;
    o->no_memory = set_shrink(&o->s, &o->limits) < 0;
}

static void unite(struct source *v, unsigned n, struct out_set *o)
{
    const struct source *base = biggest_tree(v, n);
    if (base != NULL) {
        start_from(o, &base->s);
        if (o->no_memory) {
            return;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (v[i].n > 0 && &v[i] != base && !each_member(&v[i].s, take_store, o)) {
            return;
        }
    }
}

/* ---- Difference ---- */

static bool take_remove(void *arg, struct set_member *m)
{
    struct set *s = arg;
    (void)set_remove(s, m);
    return set_count(s) > 0;
}

/* How many members are touched in either way; looking up ends at the first set that has it, so on
 * average half of them are looked at. */
static bool removing_is_less(const struct source *v, unsigned n)
{
    uint64_t lookups = v[0].n * n / 2, removals = v[0].n;
    for (unsigned i = 1; i < n; i++) {
        removals += v[i].n;
    }
    return removals < lookups;
}

static bool in_none(struct source *v, unsigned n, struct set_member *m)
{
    for (unsigned i = 0; i < n; i++) {
        if (v[i].n > 0 && set_has(&v[i].s, m)) {
            return false;
        }
    }
    return true;
}

/* v[0] without the members of the others. */
static void subtract(struct source *v, unsigned n, struct out_set *o)
{
    if (v[0].n == 0) {
        return;
    }
    if (removing_is_less(v, n)) {
        start_from(o, &v[0].s);
        for (unsigned i = 1; i < n && !o->no_memory && set_count(&o->s) > 0; i++) {
            if (v[i].n > 0) {
                (void)each_member(&v[i].s, take_remove, &o->s);
            }
        }
        return;
    }
    struct set_iter it;
    struct set_member m;
    if (n > 1) { /* most likely to have it first */
        qsort(v + 1, n - 1, sizeof *v, smaller_first);
        for (unsigned i = 1, j = n - 1; i < j; i++, j--) {
            struct source swap = v[i];
            v[i] = v[j];
            v[j] = swap;
        }
    }
    set_iter(&it, &v[0].s, 0);
    while (set_next(&it, &m)) {
        if (in_none(v + 1, n - 1, &m) && !take_store(o, &m)) {
            return;
        }
    }
}

static void combine(struct call *c, void (*how)(struct source *v, unsigned n, struct out_set *o),
                    const char *store_event)
{
    unsigned first = store_event != NULL;
    struct source *v = load_sources(c, first, c->nkeys - first);
    if (v == NULL) {
        return;
    }
    struct out_set o;
    out_set_begin(c, &o);
    how(v, c->nkeys - first, &o);
    mem_free(v);
    if (store_event != NULL) {
        store_result(c, &o, store_event);
    } else if (o.no_memory) {
        set_free(&o.s);
        reply_oom(c);
    } else {
        reply_result(c, &o.s);
    }
}

static void cmd_sunion(struct call *c)
{
    combine(c, unite, NULL);
}

static void cmd_sunionstore(struct call *c)
{
    combine(c, unite, "sunionstore");
}

static void cmd_sdiff(struct call *c)
{
    combine(c, subtract, NULL);
}

static void cmd_sdiffstore(struct call *c)
{
    combine(c, subtract, "sdiffstore");
}

#define SET_ROW .acl = ACL_SET, .group = "set"
#define SOURCES                                  \
    {                                            \
        KEYS_FROM(1, -1, 1, KEY_RO | KEY_ACCESS) \
    }
#define DESTINATION  KEY_AT(1, KEY_OW | KEY_UPDATE)
#define STORE_SOURCE KEYS_FROM(2, -1, 1, KEY_RO | KEY_ACCESS)
#define ALL_MEMBERS  "O(N) where N is the total number of elements in all given sets."
#define SMALLEST                                                                               \
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of " \
    "sets."
const struct command set_ops_commands[] = {
    { .name = "sinter",
      .proc = cmd_sinter,
      .arity = -2,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = SOURCES,
      .since = "1.0.0",
      .complexity = SMALLEST,
      .summary = "Intersect multiple sets",
      .syntax = "key...",
      .tips = "nondeterministic_output_order" },
    { .name = "sinterstore",
      .proc = cmd_sinterstore,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM,
      SET_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE), STORE_SOURCE },
      .since = "1.0.0",
      .complexity = SMALLEST,
      .summary = "Intersect multiple sets and store the resulting set in a key",
      .syntax = "destination:key key:key1..." },
    { .name = "sintercard",
      .proc = cmd_sintercard,
      .arity = -3,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      SET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RO | KEY_ACCESS) },
      .since = "7.0.0",
      .complexity = SMALLEST,
      .summary = "Intersect multiple sets and return the cardinality of the result",
      .syntax = "numkeys:int key... [LIMIT limit:int]" },
    { .name = "sunion",
      .proc = cmd_sunion,
      .arity = -2,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = SOURCES,
      .since = "1.0.0",
      .complexity = ALL_MEMBERS,
      .summary = "Add multiple sets",
      .syntax = "key...",
      .tips = "nondeterministic_output_order" },
    { .name = "sunionstore",
      .proc = cmd_sunionstore,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM,
      SET_ROW,
      .keys = { DESTINATION, STORE_SOURCE },
      .since = "1.0.0",
      .complexity = ALL_MEMBERS,
      .summary = "Add multiple sets and store the resulting set in a key",
      .syntax = "destination:key key:key1..." },
    { .name = "sdiff",
      .proc = cmd_sdiff,
      .arity = -2,
      .flags = CMD_READONLY,
      SET_ROW,
      .keys = SOURCES,
      .since = "1.0.0",
      .complexity = ALL_MEMBERS,
      .summary = "Subtract multiple sets",
      .syntax = "key...",
      .tips = "nondeterministic_output_order" },
    { .name = "sdiffstore",
      .proc = cmd_sdiffstore,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM,
      SET_ROW,
      .keys = { DESTINATION, STORE_SOURCE },
      .since = "1.0.0",
      .complexity = ALL_MEMBERS,
      .summary = "Subtract multiple sets and store the resulting set in a key",
      .syntax = "destination:key key:key1..." },
    { .name = NULL },
};
