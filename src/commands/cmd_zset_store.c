/* cmd_zset_store.c -- Sorted sets: unions, intersections and differences of several, to be read,
 * counted or stored. SPDX-License-Identifier: BSD-3-Clause
 *
 * INPUTS   Sorted sets and sets, whose members count 1.
 * EFFECTS  As they came: the inputs are added up in a defined order, so replay finds the same
 *          scores. An input that has expired is deleted first, with its effect: replay knows no
 *          time. */
#include "commands/zset_ops.h"
#include "base/mem.h"
#include "ds/set.h"
#include <math.h>
#include <stdlib.h>

enum zset_op { OP_UNION, OP_INTER, OP_DIFF };
enum aggregate { SUM, MIN, MAX };

struct source {
    const struct entry *e; /* NULL: no such key */
    uint64_t count;
    double weight;
    unsigned place; /* among the keys */
};
struct algebra {
    enum zset_op op;
    bool stores, counts, with_scores;
    enum aggregate aggregate;
    uint64_t limit; /* of counting; 0: none */
    unsigned n;
    struct source *source;
};

/* ---- Sources ---- */

static bool is_set(const struct source *s)
{
    return entry_type(s->e) == OBJ_SET;
}

struct source_iter {
    bool is_set;
    struct zset_iter zset;
    struct set set;
    struct set_iter members;
    struct set_member member;
};

static void source_iter(struct source_iter *it, const struct source *s)
{
    it->is_set = is_set(s);
    if (it->is_set) {
        entry_get_set(s->e, &it->set);
        set_iter(&it->members, &it->set, 0);
    } else {
        zset_iter(&it->zset, zset_of(s->e), 0, true);
    }
}

static bool source_next(struct source_iter *it, struct zset_item *out)
{
    if (!it->is_set) {
        return zset_next(&it->zset, out);
    }
    if (!set_next(&it->members, &it->member)) {
        return false;
    }
    *out = (struct zset_item){ set_text(&it->member), 1 };
    return true;
}

static bool source_score(const struct source *s, struct slice member, double *score)
{
    if (s->e == NULL || !is_set(s)) {
        return s->e != NULL && zset_score(zset_of(s->e), member, score);
    }
    struct set set;
    struct set_member m;
    entry_get_set(s->e, &set);
    set_member_text(&m, member);
    *score = 1;
    return set_has(&set, &m);
}

static uint64_t source_count(const struct source *s)
{
    struct set set;
    if (s->e == NULL || !is_set(s)) {
        return s->e != NULL ? zset_count(zset_of(s->e)) : 0;
    }
    entry_get_set(s->e, &set);
    return set_count(&set);
}

/* ---- Arguments ---- */

static bool source_read(struct call *c, const struct algebra *a, unsigned i, struct source *s)
{
    const struct key *k = &c->keys[i + a->stores];
    if (a->stores) {
        (void)key_write(c, k);
    }
    *s = (struct source){ .e = key_read(c, k), .weight = 1, .place = i };
    if (s->e != NULL && !is_set(s) && !key_is(c, s->e, OBJ_ZSET)) {
        return false;
    }
    s->count = source_count(s);
    return true;
}

static bool weights_parse(struct call *c, struct algebra *a, unsigned first)
{
    for (unsigned i = 0; i < a->n; i++) {
        if (!parse_f64(c->argv[first + i], &a->source[i].weight)) {
            reply_error(c, "ERR weight value is not a float");
            return false;
        }
    }
    return true;
}

static bool aggregate_parse(struct call *c, struct algebra *a, unsigned i)
{
    static const char *const names[] = { [SUM] = "sum", [MIN] = "min", [MAX] = "max" };
    for (unsigned k = 0; k < countof(names); k++) {
        if (arg_is(c, i, names[k])) {
            a->aggregate = (enum aggregate)k;
            return true;
        }
    }
    reply_syntax(c);
    return false;
}

static bool options_parse(struct call *c, struct algebra *a, unsigned i)
{
    bool combines = a->op != OP_DIFF && !a->counts;
    while (i < c->argc) {
        unsigned rest = c->argc - i;
        if (combines && rest > a->n && arg_is(c, i, "weights")) {
            if (!weights_parse(c, a, i + 1)) {
                return false;
            }
            i += 1 + a->n;
        } else if (combines && rest > 1 && arg_is(c, i, "aggregate")) {
            if (!aggregate_parse(c, a, i + 1)) {
                return false;
            }
            i += 2;
        } else if (!a->stores && !a->counts && arg_is(c, i, "withscores")) {
            a->with_scores = true;
            i++;
        } else if (a->counts && rest > 1 && arg_is(c, i, "limit")) {
            int64_t limit;
            if (!arg_i64_range(c, i + 1, 0, INT64_MAX, &limit, "ERR LIMIT can't be negative")) {
                return false;
            }
            a->limit = (uint64_t)limit;
            i += 2;
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

/* The number of keys is argv[at]. Allocates a->source. */
static bool algebra_parse(struct call *c, struct algebra *a, unsigned at)
{
    int64_t n;
    if (!arg_i64(c, at, &n)) {
        return false;
    }
    if (n < 1) {
        reply_errorf(c, "ERR at least 1 input key is needed for '%s' command", c->cmd->name);
        return false;
    }
    if (n > c->argc - at - 1) {
        reply_syntax(c);
        return false;
    }
    a->n = (unsigned)n;
    a->source = mem_try_alloc(a->n * sizeof *a->source);
    if (a->source == NULL) {
        reply_oom(c);
        return false;
    }
    for (unsigned i = 0; i < a->n; i++) {
        if (!source_read(c, a, i, &a->source[i])) {
            return false;
        }
    }
    return options_parse(c, a, at + 1 + a->n);
}

/* ---- Results ---- */

/* 0 times infinity, and infinity minus infinity, are 0 here. */
static double or_zero(double v)
{
    return isnan(v) ? 0 : v;
}

static double combine(enum aggregate how, double a, double b)
{
    switch (how) {
    case SUM: return or_zero(a + b);
    case MIN: return b < a ? b : a;
    case MAX: return b > a ? b : a;
    default: must_not_reach();
    }
}

static int smaller_first(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* All return false when there is no memory. */
static bool union_of(const struct algebra *a, const struct zset_limits *limits, struct zset *out)
{
    for (unsigned i = 0; i < a->n; i++) {
        const struct source *s = &a->source[i];
        struct source_iter it;
        struct zset_item item;
        if (s->e == NULL) {
            continue;
        }
        source_iter(&it, s);
        while (source_next(&it, &item)) {
            double score = or_zero(s->weight * item.score), old;
            int rc = 0;
            if (!zset_score(*out, item.member, &old)) {
                rc = zset_add(out, limits, item.member, score);
            } else if ((score = combine(a->aggregate, old, score)) != old) {
                rc = zset_move(out, item.member, old, score);
            }
            if (rc != 0) {
                return false;
            }
        }
    }
    return true;
}

/* Is the member of the first source in all others? Then *score is the combined one. */
static bool in_all(const struct algebra *a, const struct zset_item *item, double *score)
{
    *score = or_zero(a->source[0].weight * item->score);
    for (unsigned i = 1; i < a->n; i++) {
        const struct source *s = &a->source[i];
        double other;
        if (!source_score(s, item->member, &other)) {
            return false;
        }
        *score = combine(a->aggregate, *score, other * s->weight);
    }
    return true;
}

static bool intersection_of(const struct algebra *a, const struct zset_limits *limits,
                            struct zset *out)
{
    struct source_iter it;
    struct zset_item item;
    double score;
    if (a->source[0].e == NULL) {
        return true;
    }
    source_iter(&it, &a->source[0]);
    while (source_next(&it, &item)) {
        if (in_all(a, &item, &score) && zset_add(out, limits, item.member, score) != 0) {
            return false;
        }
    }
    return true;
}

static uint64_t intersection_count(const struct algebra *a)
{
    struct source_iter it;
    struct zset_item item;
    double score;
    uint64_t n = 0;
    if (a->source[0].e == NULL) {
        return 0;
    }
    source_iter(&it, &a->source[0]);
    while ((a->limit == 0 || n < a->limit) && source_next(&it, &item)) {
        n += in_all(a, &item, &score);
    }
    return n;
}

static bool difference_of(const struct algebra *a, const struct zset_limits *limits,
                          struct zset *out)
{
    struct source_iter it;
    struct zset_item item;
    if (a->source[0].e == NULL) {
        return true;
    }
    source_iter(&it, &a->source[0]);
    while (source_next(&it, &item)) {
        unsigned i = 1;
        double score;
        while (i < a->n && !source_score(&a->source[i], item.member, &score)) {
            i++;
        }
        if (i == a->n && zset_add(out, limits, item.member, item.score) != 0) {
            return false;
        }
    }
    return true;
}

static bool result_of(struct call *c, const struct algebra *a, struct zset *out)
{
    struct zset_limits limits = zset_limits(c);
    switch (a->op) {
    case OP_UNION: return union_of(a, &limits, out);
    case OP_INTER: return intersection_of(a, &limits, out);
    case OP_DIFF: return difference_of(a, &limits, out);
    default: must_not_reach();
    }
}

/* ---- The commands ---- */

static void reply_all(struct call *c, struct zset z, bool with_scores)
{
    struct zset_iter it;
    struct zset_item item;
    zset_reply_head(c, zset_count(z), with_scores);
    zset_iter(&it, z, 0, true);
    while (zset_next(&it, &item)) {
        zset_reply_item(c, &item, with_scores);
    }
}

static void algebra_run(struct call *c, struct algebra *a, const char *event)
{
    if (a->op != OP_DIFF) {
        qsort(a->source, a->n, sizeof *a->source, smaller_first);
    }
    if (a->counts) {
        reply_int(c, (int64_t)intersection_count(a));
        return;
    }
    struct zset out = zset_new();
    if (!result_of(c, a, &out)) {
        zset_free(out);
        reply_oom(c);
    } else if (a->stores) {
        zset_store(c, &c->keys[0], out, event);
    } else {
        reply_all(c, out, a->with_scores);
        zset_free(out);
    }
}

static void algebra_call(struct call *c, struct algebra a, unsigned at, const char *event)
{
    if (algebra_parse(c, &a, at)) {
        algebra_run(c, &a, event);
    }
    mem_free(a.source);
}

static void cmd_zunion(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_UNION }, 1, NULL);
}

static void cmd_zinter(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_INTER }, 1, NULL);
}

static void cmd_zdiff(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_DIFF }, 1, NULL);
}

static void cmd_zintercard(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_INTER, .counts = true }, 1, NULL);
}

static void cmd_zunionstore(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_UNION, .stores = true }, 2, "zunionstore");
}

static void cmd_zinterstore(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_INTER, .stores = true }, 2, "zinterstore");
}

static void cmd_zdiffstore(struct call *c)
{
    algebra_call(c, (struct algebra){ .op = OP_DIFF, .stores = true }, 2, "zdiffstore");
}

#define ZSET_ROW .acl = ACL_SORTEDSET, .group = "sorted-set"
const struct command zset_store_commands[] = {
    { .name = "zunion",
      .proc = cmd_zunion,
      .arity = -3,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, "
                    "and M being the number of elements in the resulting sorted set.",
      .summary = "Add multiple sorted sets",
      .syntax = "numkeys:int key... [WEIGHTS weight:int...] [AGGREGATE aggregate=<SUM|MIN|MAX>] "
                "[WITHSCORES]" },
    { .name = "zinter",
      .proc = cmd_zinter,
      .arity = -3,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K "
                    "being the number of input sorted sets and M being the number of elements in "
                    "the resulting sorted set.",
      .summary = "Intersect multiple sorted sets",
      .syntax = "numkeys:int key... [WEIGHTS weight:int...] [AGGREGATE aggregate=<SUM|MIN|MAX>] "
                "[WITHSCORES]" },
    { .name = "zdiff",
      .proc = cmd_zdiff,
      .arity = -3,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity =
          "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, "
          "N is the size of the first set, and K is the size of the result set.",
      .summary = "Subtract multiple sorted sets",
      .syntax = "numkeys:int key... [WITHSCORES]" },
    { .name = "zunionstore",
      .proc = cmd_zunionstore,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE), KEYS_COUNTED(2, KEY_RO | KEY_ACCESS) },
      .since = "2.0.0",
      .complexity = "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, "
                    "and M being the number of elements in the resulting sorted set.",
      .summary = "Add multiple sorted sets and store the resulting sorted set in a new key",
      .syntax = "destination:key numkeys:int key:key1... [WEIGHTS weight:int...] [AGGREGATE "
                "aggregate=<SUM|MIN|MAX>]" },
    { .name = "zinterstore",
      .proc = cmd_zinterstore,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE), KEYS_COUNTED(2, KEY_RO | KEY_ACCESS) },
      .since = "2.0.0",
      .complexity = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K "
                    "being the number of input sorted sets and M being the number of elements in "
                    "the resulting sorted set.",
      .summary = "Intersect multiple sorted sets and store the resulting sorted set in a new key",
      .syntax = "destination:key numkeys:int key:key1... [WEIGHTS weight:int...] [AGGREGATE "
                "aggregate=<SUM|MIN|MAX>]" },
    { .name = "zdiffstore",
      .proc = cmd_zdiffstore,
      .arity = -4,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE), KEYS_COUNTED(2, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity =
          "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, "
          "N is the size of the first set, and K is the size of the result set.",
      .summary = "Subtract multiple sorted sets and store the resulting sorted set in a new key",
      .syntax = "destination:key numkeys:int key:key1..." },
    { .name = "zintercard",
      .proc = cmd_zintercard,
      .arity = -3,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      ZSET_ROW,
      .keys = { KEYS_COUNTED(1, KEY_RO | KEY_ACCESS) },
      .since = "7.0.0",
      .complexity = "O(N*K) worst case with N being the smallest input sorted set, K being the "
                    "number of input sorted sets.",
      .summary = "Intersect multiple sorted sets and return the cardinality of the result",
      .syntax = "numkeys:int key... [LIMIT limit:int]" },
    { .name = NULL },
};
