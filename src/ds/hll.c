/* hll.c -- HyperLogLog sketches.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  Bytes equal to those of Redis need the same runs after the same changes: which runs are
 * split and which neighbours are joined again is part of the format. What Redis 7.0.15 answers to
 * GET is the reference. */
#include "ds/hll.h"
#include <endian.h>
#include <errno.h>
#include <math.h>

#define FORM_AT     4
#define FORM_DENSE  0
#define FORM_SPARSE 1

#define REG_BITS  14 /* of the hash, for the register; the rest is looked at for the rank */
#define RANK_BITS (64 - REG_BITS)
#define RANK_MAX  63 /* what 6 bits hold; no hash gives more than RANK_BITS + 1 */

/* ---- Elements ---- */

static uint64_t load_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static uint64_t murmur64a(struct slice s, uint64_t seed)
{
    const uint64_t m = 0xc6a4a7935bd1e995;
    const unsigned r = 47;
    uint64_t h = seed ^ (s.n * m);
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t k = load_u64(s.p + i) * m;
        h = (h ^ ((k ^ (k >> r)) * m)) * m;
    }
    if (i < s.n) {
        uint64_t tail = 0;
        for (unsigned shift = 0; i < s.n; i++, shift += 8) {
            tail |= (uint64_t)(uint8_t)s.p[i] << shift;
        }
        h = (h ^ tail) * m;
    }
    h = (h ^ (h >> r)) * m;
    return h ^ (h >> r);
}

struct hll_mark hll_mark_of(struct slice element)
{
    uint64_t hash = murmur64a(element, 0xadc83b19);
    uint64_t rest = (hash >> REG_BITS) | (uint64_t)1 << RANK_BITS; /* an end for the zeros */
    return (struct hll_mark){ (uint16_t)(hash & (HLL_REGISTERS - 1)),
                              (uint8_t)(__builtin_ctzll(rest) + 1) };
}

/* ---- Header ---- */

bool hll_is(struct slice s)
{
    if (s.n < HLL_HEADER || memcmp(s.p, "HYLL", 4) != 0) {
        return false;
    }
    return s.p[FORM_AT] == FORM_SPARSE || (s.p[FORM_AT] == FORM_DENSE && s.n == HLL_DENSE_BYTES);
}

bool hll_is_dense(struct slice s)
{
    return s.p[FORM_AT] == FORM_DENSE;
}

#define OUTDATED ((uint64_t)1 << 63)

bool hll_cached(struct slice s, uint64_t *count)
{
    uint64_t v = load_u64(s.p + HLL_CACHE_AT);
    if (v & OUTDATED) {
        return false;
    }
    *count = v;
    return true;
}

void hll_set_cached(char *bytes, uint64_t count)
{
    count = htole64(count);
    memcpy(bytes + HLL_CACHE_AT, &count, HLL_CACHE_BYTES);
}

void hll_outdate(char *bytes)
{
    bytes[HLL_CACHE_AT + HLL_CACHE_BYTES - 1] |= (char)0x80;
}

/* ---- Dense ---- */

unsigned hll_dense_rank(const char *bytes, unsigned reg)
{
    const uint8_t *p = (const uint8_t *)bytes + HLL_HEADER + reg * 6 / 8;
    unsigned shift = reg * 6 % 8, v = p[0];
    if (shift > 2) { /* else the register ends in this byte, perhaps the last one */
        v |= (unsigned)p[1] << 8;
    }
    return v >> shift & RANK_MAX;
}

bool hll_mark_dense(char *bytes, struct hll_mark m)
{
    uint8_t *p = (uint8_t *)bytes + HLL_HEADER + m.reg * 6 / 8;
    unsigned shift = m.reg * 6u % 8;
    if (hll_dense_rank(bytes, m.reg) >= m.rank) {
        return false;
    }
    p[0] = (uint8_t)((p[0] & ~(unsigned)(RANK_MAX << shift)) | (unsigned)m.rank << shift);
    if (shift > 2) {
        unsigned low = 8 - shift; /* bits of it that are in the first byte */
        p[1] = (uint8_t)((p[1] & ~(unsigned)(RANK_MAX >> low)) | (unsigned)m.rank >> low);
    }
    return true;
}

/* The four registers in three bytes. */
static inline void dense_four(const uint8_t *p, uint8_t rank[4])
{
    unsigned v = (unsigned)p[0] | (unsigned)p[1] << 8 | (unsigned)p[2] << 16;
    for (unsigned i = 0; i < 4; i++) {
        rank[i] = v >> 6 * i & RANK_MAX;
    }
}

/* ---- Sparse ---- */

#define ZEROS_SHORT_MAX 64 /* registers in a run of one byte */
#define RANKS_MAX       4
#define RUN_RANK_MAX    32

struct run {
    unsigned count; /* registers */
    unsigned rank;  /* 0: zeros */
    unsigned bytes;
};

/* Of [p, end): false when it ends inside of a run. */
static inline bool run_read(const uint8_t *p, const uint8_t *end, struct run *r)
{
    if (p == end) {
        return false;
    }
    if (*p & 0x80) {
        *r = (struct run){ (*p & 3u) + 1, (*p >> 2 & 31u) + 1, 1 };
        return true;
    }
    *r = (struct run){ (*p & 0x3fu) + 1, 0, 1 };
    if (*p & 0x40) {
        if (end - p < 2) {
            return false;
        }
        *r = (struct run){ ((*p & 0x3fu) << 8 | p[1]) + 1, 0, 2 };
    }
    return true;
}

/* Writes a run of so many registers, perhaps none; returns its bytes. */
static unsigned run_write(uint8_t *p, unsigned count, unsigned rank)
{
    if (count == 0) {
        return 0;
    }
    if (rank > 0) {
        *p = (uint8_t)(0x80 | (rank - 1) << 2 | (count - 1));
        return 1;
    }
    if (count <= ZEROS_SHORT_MAX) {
        *p = (uint8_t)(count - 1);
        return 1;
    }
    p[0] = (uint8_t)(0x40 | (count - 1) >> 8);
    p[1] = (uint8_t)(count - 1);
    return 2;
}

/* Walks over the runs of a sparse sketch: for (w = walk_of(s); walk_next(&w);) ... w.run;
 * walk_whole() afterwards. */
struct walk {
    const uint8_t *p, *end;
    unsigned first; /* register where the run begins */
    struct run run;
};

static struct walk walk_of(struct slice s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    return (struct walk){ .p = p + HLL_HEADER, .end = p + s.n };
}

/* False at the end, and before a run that is none. The run may go beyond the registers: who steps
 * on from such a one has left them. */
static inline bool walk_step(struct walk *w)
{
    w->p += w->run.bytes;
    w->first += w->run.count;
    w->run = (struct run){ 0, 0, 0 };
    return run_read(w->p, w->end, &w->run);
}

/* The same; false before a run that goes beyond the registers, too. */
static inline bool walk_next(struct walk *w)
{
    return walk_step(w) && w->run.count <= HLL_REGISTERS - w->first;
}

static bool walk_whole(const struct walk *w)
{
    return w->p == w->end && w->first == HLL_REGISTERS;
}

void hll_init(struct buf *b)
{
    b->n = 0;
    uint8_t *p = (uint8_t *)buf_reserve(b, HLL_HEADER + 2);
    memset(p, 0, HLL_HEADER);
    memcpy(p, "HYLL", 4);
    p[FORM_AT] = FORM_SPARSE;
    b->n = HLL_HEADER + run_write(p + HLL_HEADER, HLL_REGISTERS, 0);
}

int hll_make_dense(struct buf *b)
{
    struct buf dense = { NULL, 0, 0 };
    struct walk w = walk_of(buf_slice(b));
    if (!buf_try_reserve(&dense, HLL_DENSE_BYTES)) {
        return -ENOMEM;
    }
    memset(dense.p, 0, HLL_DENSE_BYTES);
    memcpy(dense.p, b->p, HLL_HEADER);
    dense.p[FORM_AT] = FORM_DENSE;
    dense.n = HLL_DENSE_BYTES;
    while (walk_next(&w)) {
        for (unsigned i = 0; w.run.rank > 0 && i < w.run.count; i++) {
            struct hll_mark m = { (uint16_t)(w.first + i), (uint8_t)w.run.rank };
            (void)hll_mark_dense(dense.p, m);
        }
    }
    bool whole = walk_whole(&w);
    if (whole) {
        struct buf sparse = *b;
        *b = dense;
        dense = sparse;
    }
    buf_free(&dense);
    return whole ? 0 : -EINVAL;
}

static int mark_as_dense(struct buf *b, struct hll_mark m)
{
    int rc = hll_make_dense(b);
    return rc < 0 ? rc : hll_mark_dense(b->p, m);
}

/* Joins equal ranks where a run was put in: of five runs from `p` on. */
static void join_runs(struct buf *b, uint8_t *p)
{
    uint8_t *end = (uint8_t *)b->p + b->n;
    struct run r, next;
    for (unsigned left = 5; left > 0 && run_read(p, end, &r); left--) {
        bool joins = r.rank > 0 && run_read(p + 1, end, &next) && next.rank == r.rank &&
                     r.count + next.count <= RANKS_MAX;
        if (joins) {
            (void)run_write(p + 1, r.count + next.count, r.rank);
            memmove(p, p + 1, (size_t)(end - p) - 1);
            end--;
            b->n--;
        } else {
            p += r.bytes;
        }
    }
}

/* Up to three runs in the place of one: what is before the register, the register, what is behind.
 * COMPAT: damage that is not in the way is not seen, a last run that is too long is split as any.
 */
static int mark_sparse(struct buf *b, struct hll_mark m, uint64_t max_bytes)
{
    struct walk w = walk_of(buf_slice(b));
    const uint8_t *before = w.p;
    bool found = false;
    while (walk_step(&w) && !(found = m.reg < w.first + w.run.count)) {
        before = w.p;
    }
    if (!found) {
        return -EINVAL;
    }
    if (w.run.rank >= m.rank) {
        return 0;
    }
    uint8_t runs[5];
    unsigned n = run_write(runs, m.reg - w.first, w.run.rank);
    n += run_write(runs + n, 1, m.rank);
    n += run_write(runs + n, w.first + w.run.count - 1 - m.reg, w.run.rank);
    if (n > w.run.bytes && b->n + (n - w.run.bytes) > max_bytes) {
        return mark_as_dense(b, m);
    }
    size_t at = (size_t)(w.p - (uint8_t *)b->p), from = (size_t)(before - (uint8_t *)b->p);
    size_t behind = at + w.run.bytes;
    if (!buf_try_reserve(b, n)) {
        return -ENOMEM;
    }
    memmove(b->p + at + n, b->p + behind, b->n - behind);
    memcpy(b->p + at, runs, n);
    b->n = b->n + n - w.run.bytes;
    join_runs(b, (uint8_t *)b->p + from);
    return 1;
}

int hll_mark(struct buf *b, struct hll_mark m, uint64_t max_bytes)
{
    if (hll_is_dense(buf_slice(b))) {
        return hll_mark_dense(b->p, m);
    }
    return m.rank > RUN_RANK_MAX ? mark_as_dense(b, m) : mark_sparse(b, m, max_bytes);
}

/* ---- Counting ---- */

/* Ertl, algorithm 6: sigma(x) = x + sum over k of x^(2^k) * 2^(k-1). */
static double sigma(double x)
{
    if (x == 1) {
        return INFINITY;
    }
    double sum = x, before, power = 1;
    do {
        before = sum;
        x *= x;
        sum += x * power;
        power += power;
    } while (sum != before);
    return sum;
}

/* Ertl, algorithm 6: tau(x) = (1 - x - sum over k of (1 - x^(2^-k))^2 * 2^-k) / 3. */
static double tau(double x)
{
    if (x == 0 || x == 1) {
        return 0;
    }
    double sum = 1 - x, before, power = 1;
    do {
        before = sum;
        x = sqrt(x);
        power *= 0.5;
        sum -= (1 - x) * (1 - x) * power;
    } while (sum != before);
    return sum / 3;
}

/* many[r]: registers with the rank r. */
static uint64_t estimate(const unsigned many[RANK_MAX + 1])
{
    const double m = HLL_REGISTERS, alpha_inf = 0.721347520444481703680; /* 1 / (2 ln 2) */
    double z = m * tau((m - many[RANK_BITS + 1]) / m);
    for (unsigned r = RANK_BITS; r > 0; r--) {
        z = 0.5 * (z + many[r]);
    }
    z += m * sigma(many[0] / m);
    return (uint64_t)llround(alpha_inf * m * m / z);
}

static void dense_histogram(struct slice s, unsigned many[RANK_MAX + 1])
{
    const uint8_t *end = (const uint8_t *)s.p + s.n;
    for (const uint8_t *p = (const uint8_t *)s.p + HLL_HEADER; p < end; p += 3) {
        uint8_t rank[4];
        dense_four(p, rank);
        for (unsigned i = 0; i < 4; i++) {
            many[rank[i]]++;
        }
    }
}

int hll_count(struct slice s, uint64_t *count)
{
    unsigned many[RANK_MAX + 1] = { 0 };
    if (hll_is_dense(s)) {
        dense_histogram(s, many);
    } else {
        struct walk w = walk_of(s);
        while (walk_next(&w)) {
            many[w.run.rank] += w.run.count;
        }
        if (!walk_whole(&w)) {
            return -EINVAL;
        }
    }
    *count = estimate(many);
    return 0;
}

uint64_t hll_count_ranks(const uint8_t rank[HLL_REGISTERS])
{
    unsigned many[RANK_MAX + 1] = { 0 };
    for (unsigned i = 0; i < HLL_REGISTERS; i++) {
        many[rank[i] & RANK_MAX]++;
    }
    return estimate(many);
}

static void raise_to(uint8_t *rank, unsigned to)
{
    if (*rank < to) {
        *rank = (uint8_t)to;
    }
}

int hll_union(uint8_t rank[HLL_REGISTERS], struct slice s)
{
    if (hll_is_dense(s)) {
        const uint8_t *p = (const uint8_t *)s.p + HLL_HEADER;
        for (unsigned i = 0; i < HLL_REGISTERS; i += 4, p += 3) {
            uint8_t four[4];
            dense_four(p, four);
            for (unsigned j = 0; j < 4; j++) {
                raise_to(&rank[i + j], four[j]);
            }
        }
        return 0;
    }
    struct walk w = walk_of(s);
    while (walk_next(&w)) {
        for (unsigned i = 0; w.run.rank > 0 && i < w.run.count; i++) {
            raise_to(&rank[w.first + i], w.run.rank);
        }
    }
    return walk_whole(&w) ? 0 : -EINVAL;
}

/* ---- Debugging ---- */

void hll_describe(struct slice s, struct buf *text)
{
    struct walk w = walk_of(s);
    const char *space = "";
    for (; run_read(w.p, w.end, &w.run); w.p += w.run.bytes) {
        if (w.run.rank > 0) {
            buf_printf(text, "%sv:%u,%u", space, w.run.rank, w.run.count);
        } else {
            buf_printf(text, "%s%c:%u", space, w.run.bytes > 1 ? 'Z' : 'z', w.run.count);
        }
        space = " ";
    }
}
