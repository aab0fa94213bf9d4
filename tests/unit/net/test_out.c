/* test_out.c -- The output chain against a flat buffer.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/net_int.h"

static unsigned ext_freed;

static void ext_release(void *owner)
{
    ext_freed++;
    mem_free(owner);
}

struct model {
    struct out o;
    struct buf flat;  /* the unsent bytes */
    size_t head_sent; /* as conn_out.c keeps it */
    uint64_t base;
    unsigned ext_added;
};

/* Of `o`, without what a limit left out. */
static size_t kept_size(const struct out *o)
{
    size_t in_sink = o->lost && o->tail != NULL ? (size_t)(o->cur - o->tail->data) : 0;
    return out_size(o) - o->dropped - in_sink;
}

static void expect_equal(const struct model *m)
{
    size_t kept = kept_size(&m->o) - m->head_sent;
    out_check(&m->o);
    ck_assert_uint_eq(out_size(&m->o) - m->head_sent, m->flat.n);
    struct buf got = { 0 };
    out_copy_to(&m->o, &got);
    ck_assert_uint_eq(got.n, out_size(&m->o) - m->o.dropped);
    if (kept > 0) {
        ck_assert_mem_eq(got.p + m->head_sent, m->flat.p, kept);
    }
    ck_assert(m->o.lost || kept == m->flat.n);
    buf_free(&got);
}

static char *random_bytes(size_t n)
{
    char *p = mem_alloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)rng_u64();
    }
    return p;
}

static size_t random_size(void)
{
    switch (rng_below(4)) {
    case 0: return rng_below(16);
    case 1: return rng_below(300);
    case 2: return rng_below(5000);
    default: return rng_below(rng_below(4) == 0 ? 60000 : 3000);
    }
}

static void do_add(struct out *o, struct buf *flat)
{
    size_t n = random_size();
    char *p = random_bytes(n);
    if (rng_below(2) == 0) {
        out_add(o, p, n);
    } else {
        size_t spare = rng_below(100);
        char *room = out_room(o, n + spare);
        memcpy(room, p, n);
        out_used(o, room + n);
    }
    buf_add(flat, p, n);
    mem_free(p);
}

static void do_ext(struct model *m, struct out *o, struct buf *flat)
{
    size_t n = random_size();
    char *p = random_bytes(n);
    buf_add(flat, p, n);
    out_add_ext(o, p, n, ext_release, p); /* above a limit they are released at once */
    m->ext_added++;
}

static void do_hole(struct out *o, struct buf *flat)
{
    struct out_block *hole = out_hole(o);
    struct buf behind = { 0 };
    unsigned k = (unsigned)rng_below(4);
    for (unsigned i = 0; i < k; i++) {
        do_add(o, &behind);
    }
    char text[64];
    size_t n = rng_below(sizeof text + 1);
    memset(text, 'h', n);
    out_fill_hole(o, hole, text, n);
    buf_add(flat, text, n);
    buf_add_slice(flat, buf_slice(&behind));
    buf_free(&behind);
}

static void do_rewind(struct model *m)
{
    struct out_mark mark = out_mark(&m->o);
    size_t n = m->flat.n;
    if (m->o.lost) { /* its connection writes nothing more that may be taken back */
        return;
    }
    for (uint64_t k = rng_below(4); k > 0; k--) {
        switch (rng_below(3)) {
        case 0: do_add(&m->o, &m->flat); break;
        case 1: do_ext(m, &m->o, &m->flat); break;
        default: do_hole(&m->o, &m->flat); break;
        }
    }
    out_rewind(&m->o, mark);
    ck_assert(!m->o.lost);
    m->flat.n = n;
    if (mark.tail == NULL) {
        m->head_sent = 0;
    }
}

static void do_splice(struct model *m)
{
    struct out other = { 0 };
    struct buf flat = { 0 };
    for (uint64_t k = rng_below(4); k > 0; k--) {
        if (rng_below(4) == 0) {
            do_ext(m, &other, &flat);
        } else {
            do_add(&other, &flat);
        }
    }
    out_splice(&m->o, &other);
    ck_assert_ptr_null(other.head);
    out_check(&other);
    buf_add_slice(&m->flat, buf_slice(&flat));
    buf_free(&flat);
}

static void do_send(struct model *m)
{
    struct iovec v[8];
    size_t limit = rng_below(kept_size(&m->o) - m->head_sent + 1);
    unsigned n = out_iov(&m->o, m->head_sent, limit, v, (unsigned)countof(v));
    size_t at = 0;
    for (unsigned i = 0; i < n; i++) {
        ck_assert_uint_gt(v[i].iov_len, 0);
        ck_assert_mem_eq(m->flat.p + at, v[i].iov_base, v[i].iov_len);
        at += v[i].iov_len;
    }
    ck_assert_uint_le(at, limit);
    ck_assert(at == limit || n == countof(v));
    size_t sent = rng_below(at + 1);
    uint64_t before = m->base + m->head_sent;
    m->head_sent = out_drop(&m->o, m->head_sent, sent, &m->base);
    ck_assert_uint_eq(m->base + m->head_sent, before + sent);
    if (sent < m->flat.n) {
        memmove(m->flat.p, m->flat.p + sent, m->flat.n - sent);
    }
    m->flat.n -= sent;
}

START_TEST(random_operations)
{
    const unsigned rounds = unit_torture() ? 100 : 10;
    rng_seed_all(unit_seed());
    for (unsigned round = 0; round < rounds; round++) {
        struct model m = { 0 };
        m.o.limit = round % 3 == 0 ? 1 + rng_below(400000) : 0;
        ext_freed = 0;
        if (round % 2 == 0) {
            out_cache_start();
        }
        for (unsigned i = 0; i < 200; i++) {
            switch (rng_below(8)) {
            case 0:
            case 1: do_add(&m.o, &m.flat); break;
            case 2: do_ext(&m, &m.o, &m.flat); break;
            case 3: do_hole(&m.o, &m.flat); break;
            case 4: do_rewind(&m); break;
            case 5: do_splice(&m); break;
            default: do_send(&m); break;
            }
            expect_equal(&m);
        }
        out_clear(&m.o);
        ck_assert_ptr_null(m.o.head);
        ck_assert_uint_eq(m.o.mem, 0);
        ck_assert_uint_eq(ext_freed, m.ext_added);
        buf_free(&m.flat);
        out_cache_stop();
    }
}
END_TEST

START_TEST(everything_sent_owns_nothing)
{
    struct out o = { 0 };
    uint64_t base = 0;
    out_add(&o, "+OK\r\n", 5);
    ck_assert_uint_gt(o.mem, 5);
    ck_assert_uint_eq(out_drop(&o, 0, 5, &base), 0);
    ck_assert_uint_eq(base, 5);
    ck_assert_ptr_null(o.head);
    ck_assert_uint_eq(o.mem, 0);
}
END_TEST

START_TEST(short_reply_is_a_small_block)
{
    struct out o = { 0 };
    out_add(&o, "x", 1);
    ck_assert_uint_le(o.mem, 2048);
    char big[4000] = { 0 };
    out_add(&o, big, sizeof big);
    ck_assert_uint_gt(o.mem, OUT_BLOCK_BYTES);
    ck_assert_uint_le(o.mem, OUT_BLOCK_BYTES + 2048);
    out_clear(&o);
}
END_TEST

START_TEST(blocks_are_used_again)
{
    out_cache_start();
    struct out o = { 0 };
    out_add(&o, "x", 1);
    struct out_block *first = o.head;
    out_clear(&o);
    out_add(&o, "y", 1);
    ck_assert_ptr_eq(o.head, first);
    out_clear(&o);
    out_cache_stop();
}
END_TEST

START_TEST(lean_keeps_no_blocks)
{
    char big[100000] = { 0 };
    struct out o = { 0 };
    out_cache_start();
    out_add(&o, big, sizeof big);
    out_clear(&o);
    size_t kept = mem_used();
    out_cache_lean(true);
    size_t lean = mem_used();
    ck_assert_uint_le(lean + sizeof big, kept);
    out_add(&o, big, sizeof big);
    out_clear(&o);
    ck_assert_uint_le(mem_used(), lean);
    out_cache_lean(false);
    out_add(&o, big, sizeof big);
    out_clear(&o);
    ck_assert_uint_ge(mem_used(), lean + sizeof big);
    out_cache_stop();
}
END_TEST

START_TEST(small_splice_is_copied)
{
    struct out to = { 0 }, from = { 0 };
    out_add(&to, "a", 1);
    for (unsigned i = 0; i < 100; i++) {
        out_add(&from, "message", 7);
        out_splice(&to, &from);
    }
    ck_assert_uint_eq(out_size(&to), 701);
    ck_assert_ptr_eq(to.head, to.tail);
    out_clear(&to);
}
END_TEST

START_TEST(rewind_to_nothing)
{
    struct out o = { 0 };
    struct out_mark m = out_mark(&o);
    out_add(&o, "abc", 3);
    out_rewind(&o, m);
    ck_assert_ptr_null(o.head);
    ck_assert_uint_eq(out_size(&o), 0);
}
END_TEST

#define LIMIT 100000

static void write_one_kind(struct model *m, unsigned kind)
{
    static char big[200000];
    switch (kind) {
    case 0: out_add(&m->o, big, sizeof big); break;
    case 1: resp_bulk(&m->o, slice_of(big, 300)); break;
    case 2: resp_bulk(&m->o, slice_of(big, 5000)); break;
    case 3: resp_int(&m->o, 7); break;
    case 4: resp_array_fill(&m->o, resp_array_deferred(&m->o), 7); break;
    case 5: out_used(&m->o, out_room(&m->o, 65536) + 65536); break;
    case 6: do_ext(m, &m->o, &m->flat); break;
    default: do_splice(m); break;
    }
}

/* Whoever writes: above the limit nothing grows but the count. */
START_TEST(above_limit_nothing_is_kept)
{
    for (unsigned kind = 0; kind < 8; kind++) {
        struct model m = { .o.limit = LIMIT };
        ext_freed = 0;
        while (!m.o.lost) {
            size_t before = m.o.mem;
            ck_assert_uint_lt(before, 10 * LIMIT);
            write_one_kind(&m, kind);
            ck_assert(!m.o.lost || before > LIMIT || kind == 0);
        }
        size_t mem = m.o.mem, kept = kept_size(&m.o);
        for (unsigned i = 0; i < 1000; i++) {
            size_t size = out_size(&m.o);
            write_one_kind(&m, i % 2 == 0 ? kind : (unsigned)rng_below(8));
            ck_assert_uint_ge(out_size(&m.o), size);
            out_check(&m.o);
        }
        ck_assert(out_over_limit(&m.o));
        ck_assert_uint_eq(m.o.mem, mem);
        ck_assert_uint_eq(kept_size(&m.o), kept);
        out_clear(&m.o);
        ck_assert_uint_eq(m.o.mem, 0);
        ck_assert_uint_eq(ext_freed, m.ext_added);
        ck_assert(m.o.lost); /* what comes next is not the whole either */
        ck_assert_uint_eq(m.o.limit, LIMIT);
        buf_free(&m.flat);
    }
}
END_TEST

/* What is there is sent, and no more than that, and holes that were there are filled. */
START_TEST(lost_keeps_what_was_there)
{
    static char big[200000];
    struct out o = { .limit = LIMIT };
    uint64_t base = 0;
    memset(big, 'x', sizeof big);
    struct out_block *hole = resp_array_deferred(&o);
    out_add(&o, "abc", 3);
    struct out_mark mark = out_mark(&o);
    out_add(&o, big, sizeof big);
    ck_assert(o.lost);
    struct out_block *other = resp_array_deferred(&o);
    resp_int(&o, 1);
    resp_array_fill(&o, other, 100);
    resp_array_fill(&o, hole, 3);
    out_check(&o);
    ck_assert_uint_eq(out_size(&o), 4 + 3 + sizeof big + 4 + 6);
    size_t kept = kept_size(&o);
    ck_assert_uint_eq(out_drop(&o, 0, kept, &base), 0);
    ck_assert_uint_eq(base, kept);
    ck_assert(o.lost);
    out_check(&o);
    out_clear(&o);

    o = (struct out){ .limit = LIMIT };
    out_add(&o, "abc", 3);
    mark = out_mark(&o);
    out_add(&o, big, sizeof big);
    out_rewind(&o, mark);
    ck_assert(!out_over_limit(&o));
    out_add(&o, "def", 3);
    struct buf got = { 0 };
    out_copy_to(&o, &got);
    ck_assert_uint_eq(got.n, 6);
    ck_assert_mem_eq(got.p, "abcdef", 6);
    buf_free(&got);
    out_check(&o);
    out_clear(&o);
}
END_TEST

/* No limit is so low that short replies do not come. */
START_TEST(little_is_not_counted)
{
    struct out o = { .limit = 1 };
    for (unsigned i = 0; out_size(&o) < 16000; i++) {
        resp_array_fill(&o, resp_array_deferred(&o), 0);
        resp_int(&o, 1);
    }
    ck_assert(!out_over_limit(&o));
    out_clear(&o);
}
END_TEST

UNIT_SUITE(net_out)
{
    unit_case(suite, "chain", random_operations, everything_sent_owns_nothing,
              short_reply_is_a_small_block, blocks_are_used_again, lean_keeps_no_blocks,
              small_splice_is_copied, rewind_to_nothing);
    unit_case(suite, "limit", above_limit_nothing_is_kept, lost_keeps_what_was_there,
              little_is_not_counted);
}
