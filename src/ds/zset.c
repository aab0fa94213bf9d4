/* zset.c -- Sorted sets: pairs in a listpack, or two trees with the same members.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ORDER    A tree stands in the order of unsigned numbers. The bits of a double are one that orders
 *          like it, once the sign is turned: negative numbers are inverted, the others get the
 *          highest bit.
 * RECORDS  by_score  (order of the score, member)
 *          by_hash   (hash, member), with the eight bytes of the score as value */
#include "ds/zset.h"
#include "base/hash.h"
#include "base/mem.h"
#include <errno.h>
#include <math.h>

struct trees {
    struct btree *by_score, *by_hash;
};

static struct listpack *small_of(struct zset z)
{
    return z.p;
}

static struct trees *big_of(struct zset z)
{
    return z.p;
}

/* ---- Scores ---- */

#define SIGN (UINT64_C(1) << 63)

static uint64_t bits_of(double d)
{
    uint64_t v;
    memcpy(&v, &d, sizeof v);
    return v;
}

/* -0 becomes 0. */
static double plain(double score)
{
    return score == 0 ? 0 : score;
}

static uint64_t order_of(double score)
{
    must(!isnan(score));
    uint64_t v = bits_of(plain(score));
    return v & SIGN ? ~v : v | SIGN;
}

static double by_score_score(const struct btree_item *r)
{
    uint64_t v = r->order & SIGN ? r->order & ~SIGN : ~r->order;
    double d;
    memcpy(&d, &v, sizeof d);
    return d;
}

static double by_hash_score(const struct btree_item *r)
{
    double d;
    must(r->value.n == sizeof d);
    memcpy(&d, r->value.p, sizeof d);
    return d;
}

/* 2^63: integers below it, and above its negative, are stored as integers. */
#define INTEGER_LIMIT 9223372036854775808.0

static bool is_integer(double score, int64_t *i)
{
    if (!(score > -INTEGER_LIMIT && score < INTEGER_LIMIT)) {
        return false;
    }
    *i = (int64_t)score;
    return (double)*i == score;
}

/* The text of a score as the listpack has it. */
static struct slice score_text(double score, char store[F64_TEXT_MAX])
{
    int64_t i;
    if (is_integer(score, &i)) {
        return slice_of(store, format_i64(store, i));
    }
    return slice_of(store, format_f64(store, score));
}

static bool score_parse(const struct lp_value *v, double *out)
{
    if (v->p == NULL) {
        *out = (double)v->i;
        return true;
    }
    bool number = parse_f64(slice_of(v->p, v->n), out);
    *out = number ? plain(*out) : 0;
    return number;
}

static double score_at(const struct listpack *lp, uint32_t at)
{
    struct lp_value v = lp_get(lp, at);
    double score = 0;
    must(score_parse(&v, &score));
    return score;
}

/* ---- Small: pairs in a listpack. A position is that of a member. ---- */

static uint32_t pair_next(const struct listpack *lp, uint32_t at)
{
    return lp_next(lp, lp_next(lp, at));
}

static uint32_t pair_find(const struct listpack *lp, struct slice member)
{
    return lp_find(lp, lp_first(lp), member, 1);
}

/* Does the pair at `at` stand behind (score, member)? */
static bool pair_is_behind(const struct listpack *lp, uint32_t at, struct slice member,
                           double score)
{
    double here = score_at(lp, lp_next(lp, at));
    if (here != score) {
        return here > score;
    }
    char digits[I64_TEXT_MAX];
    struct lp_value v = lp_get(lp, at);
    return slice_cmp(lp_text(&v, digits), member) > 0;
}

/* Inserts the pair where it belongs; *at becomes its position. False: no memory, unchanged. */
static bool pair_insert(struct zset *z, struct slice member, double score, uint32_t *at)
{
    char store[F64_TEXT_MAX];
    struct slice text = score_text(score, store);
    struct listpack *lp = small_of(*z);
    uint32_t p = lp_first(lp);
    while (p != LP_NONE && !pair_is_behind(lp, p, member, score)) {
        p = pair_next(lp, p);
    }
    if (p == LP_NONE) {
        *at = lp_end(lp);
        lp = lp_append_many(lp, (const struct slice[]){ member, text }, 2);
        z->p = lp != NULL ? lp : z->p;
        return lp != NULL;
    }
    *at = p;
    lp = lp_insert_before(lp, &p, text);
    if (lp == NULL) {
        return false;
    }
    z->p = lp;
    p = *at;
    lp = lp_insert_before(lp, &p, member);
    if (lp == NULL) {
        z->p = lp_delete(small_of(*z), at);
        return false;
    }
    z->p = lp;
    return true;
}

static struct listpack *pair_delete(struct listpack *lp, uint32_t at)
{
    lp = lp_delete(lp, &at);
    return lp_delete(lp, &at);
}

/* ---- Big: two trees ---- */

static struct btree_item record_of(const struct btree *t, uint64_t rank)
{
    struct btree_item r;
    must(btree_at(t, rank, &r));
    return r;
}

static int by_score_put(struct trees *t, struct slice member, double score)
{
    return btree_put(t->by_score, order_of(score), member, slice_of(NULL, 0), BTREE_NO_DUE);
}

static int by_hash_put(struct trees *t, struct slice member, double score)
{
    score = plain(score);
    return btree_put(t->by_hash, hash_key(member.p, member.n), member,
                     slice_of(&score, sizeof score), BTREE_NO_DUE);
}

static int big_add(struct trees *t, struct slice member, double score)
{
    if (by_score_put(t, member, score) < 0) {
        return -ENOMEM;
    }
    if (by_hash_put(t, member, score) < 0) {
        must(btree_remove(t->by_score, order_of(score), member));
        return -ENOMEM;
    }
    return 0;
}

static bool big_find(const struct trees *t, struct slice member, struct btree_item *r)
{
    return btree_find(t->by_hash, hash_key(member.p, member.n), member, r);
}

static struct zset big_new(void)
{
    struct trees *t = mem_alloc(sizeof *t);
    *t = (struct trees){ btree_new(), btree_new() };
    return (struct zset){ true, t };
}

static int grow_big(struct zset *z)
{
    struct zset big = big_new();
    struct zset_iter it;
    struct zset_item item;
    zset_iter(&it, *z, 0, true);
    while (zset_next(&it, &item)) {
        if (big_add(big_of(big), item.member, item.score) != 0) {
            zset_free(big);
            return -ENOMEM;
        }
    }
    zset_free(*z);
    *z = big;
    return 0;
}

bool zset_make_big(struct zset *z)
{
    return z->big || grow_big(z) == 0;
}

/* ---- Life ---- */

struct zset zset_new(void)
{
    return (struct zset){ false, lp_new() };
}

void zset_free(struct zset z)
{
    if (z.big) {
        btree_free(big_of(z)->by_score);
        btree_free(big_of(z)->by_hash);
        mem_free(z.p);
    } else {
        lp_free(z.p);
    }
}

bool zset_dup(struct zset z, struct zset *copy)
{
    if (!z.big) {
        *copy = (struct zset){ false, lp_dup(small_of(z)) };
        return copy->p != NULL;
    }
    struct trees *t = mem_alloc(sizeof *t);
    *t = (struct trees){ btree_dup(big_of(z)->by_score), btree_dup(big_of(z)->by_hash) };
    *copy = (struct zset){ true, t };
    return true;
}

uint64_t zset_count(struct zset z)
{
    return z.big ? btree_count(big_of(z)->by_score) : lp_count(small_of(z)) / 2;
}

size_t zset_bytes(struct zset z)
{
    return z.big ? mem_good_size(sizeof(struct trees)) + btree_bytes(big_of(z)->by_score) +
                       btree_bytes(big_of(z)->by_hash)
                 : mem_usable(z.p);
}

uint64_t zset_allocations(struct zset z)
{
    return z.big ? 1 + btree_pages(big_of(z)->by_score) + btree_pages(big_of(z)->by_hash) : 1;
}

/* ---- By member ---- */

bool zset_score(struct zset z, struct slice member, double *score)
{
    if (z.big) {
        struct btree_item r;
        if (!big_find(big_of(z), member, &r)) {
            return false;
        }
        *score = by_hash_score(&r);
        return true;
    }
    const struct listpack *lp = small_of(z);
    uint32_t at = pair_find(lp, member);
    if (at == LP_NONE) {
        return false;
    }
    *score = score_at(lp, lp_next(lp, at));
    return true;
}

#define SHORT_MEMBER 900u /* bytes that fit a page of a tree for sure, with a score (btree.h) */

/* Where it stands by score and where it will stand, as orders; how many. */
static unsigned places_of(const struct trees *t, const struct zset_planned *p, uint64_t hash,
                          uint64_t orders[2])
{
    struct btree_item r;
    unsigned n = 0;
    double from = 0, to = p->score;
    if (p->plan == ZSET_PLAN_SCORE) {
        return 0;
    }
    bool had = btree_find(t->by_hash, hash, p->member, &r);
    if (had) {
        from = by_hash_score(&r);
        to = p->plan == ZSET_PLAN_TO ? to : p->plan == ZSET_PLAN_BY ? from + to : from;
        if (to == from && p->plan != ZSET_PLAN_RANK) {
            return 0;
        }
        orders[n++] = order_of(from);
    }
    if (p->plan != ZSET_PLAN_RANK && !isnan(to)) {
        orders[n++] = order_of(to);
    }
    return n;
}

void zset_ahead(struct zset z, const struct zset_planned *p, unsigned n)
{
    uint64_t hash[BTREE_AHEAD / 2], orders[BTREE_AHEAD];
    unsigned norders = 0;
    must(n <= BTREE_AHEAD / 2);
    if (!z.big || n == 0) {
        return;
    }
    const struct trees *t = big_of(z);
    for (unsigned i = 0; i < n; i++) {
        hash[i] = hash_key(p[i].member.p, p[i].member.n);
    }
    btree_ahead(t->by_hash, hash, n);
    for (unsigned i = 0; i < n; i++) {
        norders += places_of(t, &p[i], hash[i], orders + norders);
    }
    btree_ahead(t->by_score, orders, norders);
}

bool zset_may_fail(struct zset z, struct slice member)
{
    return !z.big || member.n >= SHORT_MEMBER;
}

#define PAIR_OVERHEAD \
    64 /* more than the heads and lengths of two entries and the text of a score */

static bool fits_small(struct zset z, const struct zset_limits *limits, struct slice member)
{
    return zset_count(z) < limits->members && member.n <= limits->member_bytes &&
           member.n < LP_BYTES_MAX - PAIR_OVERHEAD - lp_bytes(small_of(z));
}

int zset_add(struct zset *z, const struct zset_limits *limits, struct slice member, double score)
{
    if (!z->big && !fits_small(*z, limits, member) && grow_big(z) != 0) {
        return -ENOMEM;
    }
    if (z->big) {
        return big_add(big_of(*z), member, score);
    }
    uint32_t at;
    return pair_insert(z, member, score, &at) ? 0 : -ENOMEM;
}

static int small_move(struct zset *z, struct slice member, double to)
{
    uint32_t old = pair_find(small_of(*z), member), at;
    size_t before = lp_bytes(small_of(*z));
    must(old != LP_NONE);
    if (!pair_insert(z, member, to, &at)) {
        return -ENOMEM;
    }
    old += at <= old ? (uint32_t)(lp_bytes(small_of(*z)) - before) : 0;
    z->p = pair_delete(small_of(*z), old);
    return 0;
}

int zset_move(struct zset *z, struct slice member, double from, double to)
{
    must(from != to);
    if (!z->big) {
        return small_move(z, member, to);
    }
    struct trees *t = big_of(*z);
    if (by_score_put(t, member, to) < 0) {
        return -ENOMEM;
    }
    if (by_hash_put(t, member, to) < 0) {
        must(btree_remove(t->by_score, order_of(to), member));
        return -ENOMEM;
    }
    must(btree_remove(t->by_score, order_of(from), member));
    return 0;
}

bool zset_remove(struct zset *z, struct slice member)
{
    if (!z->big) {
        uint32_t at = pair_find(small_of(*z), member);
        if (at != LP_NONE) {
            z->p = pair_delete(small_of(*z), at);
        }
        return at != LP_NONE;
    }
    struct trees *t = big_of(*z);
    struct btree_item r;
    if (!big_find(t, member, &r)) {
        return false;
    }
    must(btree_remove(t->by_score, order_of(by_hash_score(&r)), member));
    must(btree_remove(t->by_hash, r.order, member));
    return true;
}

bool zset_rank(struct zset z, struct slice member, uint64_t *rank, double *score)
{
    if (z.big) {
        struct btree_item r;
        if (!big_find(big_of(z), member, &r)) {
            return false;
        }
        *score = by_hash_score(&r);
        *rank = btree_rank(big_of(z)->by_score, order_of(*score), member);
        return true;
    }
    const struct listpack *lp = small_of(z);
    struct lp_needle needle = lp_needle_of(member);
    *rank = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = pair_next(lp, at), ++*rank) {
        struct lp_value v = lp_get(lp, at);
        if (lp_matches(&needle, &v)) {
            *score = score_at(lp, lp_next(lp, at));
            return true;
        }
    }
    return false;
}

/* ---- By rank ---- */

uint64_t zset_remove_range(struct zset *z, uint64_t rank, uint64_t n)
{
    uint64_t count = zset_count(*z);
    if (rank >= count) {
        return 0;
    }
    n = u64_min(n, count - rank);
    if (!z->big) {
        z->p = lp_delete_range(small_of(*z), (int64_t)(2 * rank), (uint32_t)(2 * n));
        return n;
    }
    struct trees *t = big_of(*z);
    struct btree_iter it;
    struct btree_item r;
    btree_iter(&it, t->by_score, rank, true);
    for (uint64_t i = 0; i < n; i++) {
        must(btree_next(&it, &r));
        must(btree_remove(t->by_hash, hash_key(r.key.p, r.key.n), r.key));
    }
    must(btree_remove_range(t->by_score, rank, n) == n);
    return n;
}

uint64_t zset_below(struct zset z, double score, bool or_equal)
{
    if (z.big) { /* an order exists above that of +inf: those of NaN */
        return btree_rank(big_of(z)->by_score, order_of(score) + or_equal, slice_of(NULL, 0));
    }
    const struct listpack *lp = small_of(z);
    uint64_t n = 0;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = pair_next(lp, at), n++) {
        double here = score_at(lp, lp_next(lp, at));
        if (here > score || (here == score && !or_equal)) {
            break;
        }
    }
    return n;
}

void zset_iter(struct zset_iter *it, struct zset z, uint64_t rank, bool forward)
{
    it->forward = forward;
    it->lp = z.big ? NULL : small_of(z);
    if (z.big) {
        btree_iter(&it->tree, big_of(z)->by_score, rank, forward);
    } else {
        it->at = rank < zset_count(z) ? lp_seek(it->lp, (int64_t)(2 * rank)) : LP_NONE;
    }
}

bool zset_next(struct zset_iter *it, struct zset_item *out)
{
    if (it->lp == NULL) {
        struct btree_item r;
        if (!btree_next(&it->tree, &r)) {
            return false;
        }
        *out = (struct zset_item){ r.key, by_score_score(&r) };
        return true;
    }
    if (it->at == LP_NONE) {
        return false;
    }
    struct lp_value v = lp_get(it->lp, it->at);
    uint32_t score = lp_next(it->lp, it->at);
    *out = (struct zset_item){ lp_text(&v, it->digits), score_at(it->lp, score) };
    if (it->forward) {
        it->at = lp_next(it->lp, score);
    } else {
        uint32_t before = lp_prev(it->lp, it->at);
        it->at = before != LP_NONE ? lp_prev(it->lp, before) : LP_NONE;
    }
    return true;
}

/* The small form has one buffer for digits, so it gives one at a time. */
unsigned zset_next_run(struct zset_iter *it, struct zset_item *out, unsigned max)
{
    if (it->lp != NULL) {
        return zset_next(it, out) ? 1 : 0;
    }
    struct btree_item r[ZSET_RUN];
    must(max <= ZSET_RUN);
    unsigned n = btree_next_many(&it->tree, r, max);
    for (unsigned i = 0; i < n; i++) {
        out[i] = (struct zset_item){ r[i].key, by_score_score(&r[i]) };
    }
    return n;
}

/* ---- In the order of hashes ---- */

/* A cursor is the upper 53 bits of a hash. Members that share them are visited in one call: so the
 * next cursor, which is that of the first member behind them, is never 0. */
#define CURSOR_SHIFT 11

uint64_t zset_scan(struct zset z, uint64_t cursor, uint64_t count,
                   void (*visit)(void *arg, const struct zset_item *item), void *arg)
{
    if (!z.big) {
        struct zset_iter it;
        struct zset_item item;
        zset_iter(&it, z, 0, true);
        while (zset_next(&it, &item)) {
            visit(arg, &item);
        }
        return 0;
    }
    const struct btree *t = big_of(z)->by_hash;
    struct btree_iter it;
    struct btree_item r;
    uint64_t from = cursor << CURSOR_SHIFT;
    if (from >> CURSOR_SHIFT != cursor) {
        return 0; /* no cursor of ours: behind the end */
    }
    btree_iter(&it, t, btree_rank(t, from, slice_of(NULL, 0)), true);
    uint64_t last = 0;
    for (uint64_t n = 0; btree_next(&it, &r); n++) {
        uint64_t here = r.order >> CURSOR_SHIFT;
        if (n >= count && here != last) {
            return here;
        }
        last = here;
        struct zset_item item = { r.key, by_hash_score(&r) };
        visit(arg, &item);
    }
    return 0;
}

/* ---- Invariants ---- */

static const char *small_check(struct zset z)
{
    const struct listpack *lp = small_of(z);
    if (!lp_valid(lp_slice(lp)) || lp_count(lp) % 2 != 0) {
        return "Z1: a listpack of pairs";
    }
    double score;
    for (uint32_t at = lp_first(lp); at != LP_NONE; at = pair_next(lp, at)) {
        struct lp_value second = lp_get(lp, lp_next(lp, at));
        if (!score_parse(&second, &score)) {
            return "Z1: scores are numbers";
        }
    }
    for (uint32_t at = lp_first(lp), next; at != LP_NONE; at = next) {
        char digits[I64_TEXT_MAX];
        struct lp_value v = lp_get(lp, at);
        struct slice member = lp_text(&v, digits);
        next = pair_next(lp, at);
        if (next != LP_NONE && (!pair_is_behind(lp, next, member, score_at(lp, lp_next(lp, at))) ||
                                lp_find(lp, next, member, 1) != LP_NONE)) {
            return "Z2: ascending, no member twice";
        }
    }
    return NULL;
}

const char *zset_check(struct zset z)
{
    if (!z.big) {
        return small_check(z);
    }
    const struct trees *t = big_of(z);
    const char *bad = btree_check(t->by_score);
    bad = bad != NULL ? bad : btree_check(t->by_hash);
    if (bad != NULL) {
        return bad;
    }
    uint64_t n = btree_count(t->by_score);
    if (btree_count(t->by_hash) != n) {
        return "Z3: as many records in both trees";
    }
    for (uint64_t i = 0; i < n; i++) {
        struct btree_item r = record_of(t->by_score, i), h;
        if (!big_find(t, r.key, &h) || bits_of(by_hash_score(&h)) != bits_of(by_score_score(&r))) {
            return "Z4: the same score in both trees";
        }
    }
    return NULL;
}
