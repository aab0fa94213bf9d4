/* zset_ops.c -- Entries with sorted sets, replies with scores, ranges of scores and of members.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An empty sorted set does not exist: whoever takes the last member deletes the key. */
#include "commands/zset_ops.h"
#include "base/mem.h"
#include <math.h>
#include <stdlib.h>

struct zset zset_of(const struct entry *e)
{
    struct zset z;
    entry_get_zset(e, &z);
    return z;
}

struct zset_limits zset_limits(struct call *c)
{
    const struct exec_options *o = exec_options(c->x);
    return (struct zset_limits){ (uint64_t)option_int(&o->zset_max_listpack_entries),
                                 (uint64_t)option_int(&o->zset_max_listpack_value) };
}

bool zset_read(struct call *c, const struct key *k, struct entry **e)
{
    *e = key_read(c, k);
    return key_is(c, *e, OBJ_ZSET);
}

bool zset_write(struct call *c, const struct key *k, struct entry **e)
{
    *e = key_write(c, k);
    return key_is(c, *e, OBJ_ZSET);
}

void zset_shrunk(struct call *c, const struct key *k, struct entry *e, struct zset z)
{
    entry_put_zset(e, &z);
    if (zset_count(z) == 0) {
        (void)key_delete(c, k);
        notify(c, NOTIFY_GENERIC, "del", k);
    } else {
        key_changed(c, k);
    }
}

void zset_store(struct call *c, const struct key *k, struct zset z, const char *event)
{
    uint64_t n = zset_count(z);
    if (n > 0) {
        (void)key_replace(c, k, OBJ_ZSET, entry_zset_enc(&z), z.p);
        notify(c, NOTIFY_ZSET, event, k);
    } else {
        zset_free(z);
        if (key_delete(c, k)) {
            notify(c, NOTIFY_GENERIC, "del", k);
        }
    }
    reply_int(c, (int64_t)n);
}

void zset_reply_head(struct call *c, uint64_t n, bool with_scores)
{
    reply_array(c, with_scores && c->resp == 2 ? 2 * n : n);
}

void zset_reply_item(struct call *c, const struct zset_item *item, bool with_scores)
{
    if (with_scores && c->resp > 2) {
        reply_array(c, 2);
    }
    reply_bulk(c, item->member);
    if (with_scores) {
        reply_double(c, item->score);
    }
}

/* ---- Ranges of scores ---- */

/* As strtod() reads it: no text is 0, a NUL ends it, space before it is fine, too much is infinite.
 */
static bool lenient_number(struct slice text, double *out)
{
    if (parse_f64(text, out)) {
        return true;
    }
    char *copy = mem_try_alloc(text.n + 1), *end;
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *out = strtod(copy, &end);
    bool whole = *end == '\0';
    mem_free(copy);
    return whole && !isnan(*out);
}

static bool score_bound(struct slice text, double *bound, bool *open)
{
    *open = text.n > 0 && text.p[0] == '(';
    return lenient_number(slice_of(text.p + *open, text.n - *open), bound);
}

bool arg_score_range(struct call *c, unsigned min, unsigned max, struct score_range *r)
{
    if (score_bound(c->argv[min], &r->min, &r->min_open) &&
        score_bound(c->argv[max], &r->max, &r->max_open)) {
        return true;
    }
    reply_error(c, "ERR min or max is not a float");
    return false;
}

void zset_by_score(struct zset z, const struct score_range *r, uint64_t *first, uint64_t *count)
{
    uint64_t end = zset_below(z, r->max, !r->max_open);
    *first = zset_below(z, r->min, r->min_open);
    *count = end > *first ? end - *first : 0;
}

/* ---- Ranges of members ---- */

static bool lex_bound(struct slice text, struct lex_bound *b)
{
    char kind = text.n > 0 ? text.p[0] : '\0';
    *b = (struct lex_bound){ .open = kind == '(' };
    if (kind == '+' || kind == '-') {
        b->infinite = kind == '+' ? 1 : -1;
        return text.n == 1 || text.p[1] == '\0';
    }
    if (kind != '(' && kind != '[') {
        return false;
    }
    b->member = slice_of(text.p + 1, text.n - 1);
    return true;
}

bool arg_lex_range(struct call *c, unsigned min, unsigned max, struct lex_range *r)
{
    if (lex_bound(c->argv[min], &r->min) && lex_bound(c->argv[max], &r->max)) {
        return true;
    }
    reply_error(c, "ERR min or max not valid string range item");
    return false;
}

/* Is it not below the lower bound? */
static bool above_min(const struct lex_range *r, struct slice member)
{
    if (r->min.infinite != 0) {
        return r->min.infinite < 0;
    }
    int order = slice_cmp(member, r->min.member);
    return order > 0 || (order == 0 && !r->min.open);
}

static bool below_max(const struct lex_range *r, struct slice member)
{
    if (r->max.infinite != 0) {
        return r->max.infinite > 0;
    }
    int order = slice_cmp(member, r->max.member);
    return order < 0 || (order == 0 && !r->max.open);
}

static bool lex_empty(const struct lex_range *r)
{
    if (r->min.infinite != 0 || r->max.infinite != 0) {
        return r->min.infinite > 0 || r->max.infinite < 0;
    }
    int order = slice_cmp(r->min.member, r->max.member);
    return order > 0 || (order == 0 && (r->min.open || r->max.open));
}

static struct slice member_at(struct zset z, uint64_t rank, struct zset_iter *it)
{
    struct zset_item item = { 0 };
    zset_iter(it, z, rank, true);
    must(zset_next(it, &item));
    return item.member;
}

/* The rank behind the last member that is below the range, or above_it: the first above it. */
static uint64_t lex_edge(struct zset z, const struct lex_range *r, bool above_it)
{
    uint64_t low = 0, high = zset_count(z);
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        struct zset_iter it;
        struct slice member = member_at(z, mid, &it);
        if (above_it ? below_max(r, member) : !above_min(r, member)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* A small set is walked over, so that one whose scores differ is answered as Redis does: from the
 * first member that is not below (above) the range, as long as members are not above (below) it. */
static void lex_walk(struct zset z, const struct lex_range *r, bool from_end, uint64_t *first,
                     uint64_t *count)
{
    struct zset_iter it;
    struct zset_item item;
    uint64_t n = zset_count(z), skipped = 0;
    *count = 0;
    zset_iter(&it, z, from_end ? n - 1 : 0, !from_end);
    while (zset_next(&it, &item)) {
        bool entered = from_end ? below_max(r, item.member) : above_min(r, item.member);
        bool inside = from_end ? above_min(r, item.member) : below_max(r, item.member);
        if (*count == 0 && !entered) {
            skipped++;
        } else if (inside) {
            ++*count;
        } else {
            break;
        }
    }
    *first = from_end ? n - skipped - *count : skipped;
}

void zset_by_lex(struct zset z, const struct lex_range *r, bool from_end, uint64_t *first,
                 uint64_t *count)
{
    struct zset_iter it;
    uint64_t n = zset_count(z);
    *first = *count = 0;
    if (lex_empty(r) || !above_min(r, member_at(z, n - 1, &it)) ||
        !below_max(r, member_at(z, 0, &it))) {
        return;
    }
    if (!z.big) {
        lex_walk(z, r, from_end, first, count);
        return;
    }
    uint64_t end = lex_edge(z, r, true);
    *first = lex_edge(z, r, false);
    *count = end > *first ? end - *first : 0;
}
