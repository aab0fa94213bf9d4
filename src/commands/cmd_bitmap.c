/* cmd_bitmap.c -- SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/mem.h"
#include "commands/bits.h"
#include "commands/commands.h"
#include "commands/string_ops.h"

/* ================= One bit ================= */

static void cmd_setbit(struct call *c)
{
    const struct key *k = c->keys;
    uint64_t offset;
    if (!arg_bit_offset(c, 2, 0, &offset)) {
        return;
    }
    int64_t bit;
    if (!arg_i64_range(c, 3, 0, 1, &bit, "ERR bit is not an integer or out of range")) {
        return;
    }
    struct entry *e = key_write(c, k);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    size_t need = (size_t)(offset >> 3) + 1;
    bool grows = e == NULL || entry_strlen(e) < need;
    char *bytes;
    if (string_grow(c, k, e, need, &bytes) == NULL) {
        return;
    }
    uint64_t old = bits_read(bytes, need, offset, 1);
    if (grows || old != (uint64_t)bit) {
        bits_write(bytes, offset, 1, (uint64_t)bit);
        key_changed(c, k);
        notify(c, NOTIFY_STRING, "setbit", k);
    }
    reply_int(c, (int64_t)old);
}

static void cmd_getbit(struct call *c)
{
    uint64_t offset;
    if (!arg_bit_offset(c, 2, 0, &offset)) {
        return;
    }
    struct entry *e = key_read(c, c->keys);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = e != NULL ? entry_string(e, tmp) : S("");
    reply_int(c, (int64_t)bits_read(s.p, s.n, offset, 1));
}

/* ================= Ranges ================= */

/* BYTE or BIT in argv[i]; false after having replied the error. */
static bool arg_unit(struct call *c, unsigned i, bool *bits)
{
    *bits = arg_is(c, i, "bit");
    if (*bits || arg_is(c, i, "byte")) {
        return true;
    }
    reply_syntax(c);
    return false;
}

/* Positions of bytes or bits as the range of bits they mean in a string of n bytes. */
static bool bit_range(int64_t start, int64_t end, bool in_bits, size_t n, uint64_t *first,
                      uint64_t *last)
{
    if (!range_clamp(start, end, in_bits ? (uint64_t)n * 8 : n, first, last)) {
        return false;
    }
    if (!in_bits) {
        *first = *first * 8;
        *last = *last * 8 + 7;
    }
    return true;
}

static void cmd_bitcount(struct call *c)
{
    int64_t start = 0, end = -1;
    bool in_bits = false;
    if (c->argc == 3 || c->argc > 5) {
        reply_syntax(c);
        return;
    }
    if (c->argc >= 4 && (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &end))) {
        return;
    }
    if (c->argc == 5 && !arg_unit(c, 4, &in_bits)) {
        return;
    }
    struct entry *e = key_read(c, c->keys);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = e != NULL ? entry_string(e, tmp) : S("");
    uint64_t first, last;
    if (range_reversed(start, end) || !bit_range(start, end, in_bits, s.n, &first, &last)) {
        reply_int(c, 0);
    } else {
        reply_int(c, (int64_t)bits_count(s.p, first, last));
    }
}

static void cmd_bitpos(struct call *c)
{
    int64_t bit, start = 0, end = -1;
    bool in_bits = false, end_given = c->argc >= 5;
    if (!arg_i64(c, 2, &bit)) {
        return;
    }
    if (bit != 0 && bit != 1) {
        reply_error(c, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (c->argc > 6) {
        reply_syntax(c);
        return;
    }
    if ((c->argc >= 4 && !arg_i64(c, 3, &start)) || (c->argc == 6 && !arg_unit(c, 5, &in_bits)) ||
        (end_given && !arg_i64(c, 4, &end))) {
        return;
    }
    struct entry *e = key_read(c, c->keys);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    if (e == NULL) {
        reply_int(c, bit == 1 ? -1 : 0);
        return;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = entry_string(e, tmp);
    uint64_t first, last, found;
    if (!bit_range(start, end, in_bits, s.n, &first, &last)) {
        reply_int(c, -1);
    } else if ((found = bits_find(s.p, first, last, bit == 1)) != BITS_NONE) {
        reply_int(c, (int64_t)found);
    } else if (bit == 0 && !end_given) {
        /* Without an end the string goes on in zeros. */
        reply_int(c, (int64_t)s.n * 8);
    } else {
        reply_int(c, -1);
    }
}

/* ================= BITOP ================= */

struct source {
    struct slice s;
    char text[I64_TEXT_MAX];
};

enum bitop { AND, OR, XOR, NOT, DIFF, DIFF1, ANDOR, ONE };

static bool arg_bitop(struct call *c, enum bitop *op)
{
    static const struct {
        const char *name, *shown;
        unsigned sources; /* at least; NOT: exactly */
    } ops[] = {
        [AND] = { "and", "AND", 1 },       [OR] = { "or", "OR", 1 },
        [XOR] = { "xor", "XOR", 1 },       [NOT] = { "not", "NOT", 1 },
        [DIFF] = { "diff", "DIFF", 2 },    [DIFF1] = { "diff1", "DIFF1", 2 },
        [ANDOR] = { "andor", "ANDOR", 2 }, [ONE] = { "one", "ONE", 1 },
    };
    for (unsigned i = 0; i < countof(ops); i++) {
        if (!arg_is(c, 1, ops[i].name)) {
            continue;
        }
        *op = (enum bitop)i;
        if (i == NOT && c->argc != 4) {
            reply_error(c, "ERR BITOP NOT must be called with a single source key.");
            return false;
        }
        if (c->argc - 3 < ops[i].sources) {
            reply_errorf(c, "ERR BITOP %s must be called with at least two source keys.",
                         ops[i].shown);
            return false;
        }
        return true;
    }
    reply_syntax(c);
    return false;
}

/* The strings at keys[1..]; a missing one is empty. False after having replied the error. */
static bool read_sources(struct call *c, struct source *src, unsigned n, size_t *longest)
{
    *longest = 0;
    for (unsigned i = 0; i < n; i++) {
        struct entry *e = key_read(c, &c->keys[1 + i]);
        if (!key_is(c, e, OBJ_STRING)) {
            return false;
        }
        src[i].s = e != NULL ? entry_string(e, src[i].text) : S("");
        *longest = size_max(*longest, src[i].s.n);
    }
    return true;
}

/* A source ends in zeros up to `size`, the longest of them. */
static void start_with(char *to, size_t size, const struct source *src)
{
    memcpy(to, src->s.p, src->s.n);
    memset(to + src->s.n, 0, size - src->s.n);
}

/* What all sources from the first on have in common, or any of them, or an odd number of them. */
static void combine_all(char *to, size_t size, enum bits_op op, const struct source *src,
                        unsigned n)
{
    start_with(to, size, &src[0]);
    for (unsigned i = 1; i < n; i++) {
        bits_combine(to, op, src[i].s.p, src[i].s.n);
        if (op == BITS_AND) {
            memset(to + src[i].s.n, 0, size - src[i].s.n);
        }
    }
}

/* The first one against any of the others, which are in spare. */
static void combine_first(char *to, char *spare, size_t size, enum bitop op,
                          const struct source *src, unsigned n)
{
    combine_all(spare, size, BITS_OR, src + 1, n - 1);
    start_with(to, size, &src[0]);
    if (op == DIFF1) {
        bits_combine(to, BITS_NOT, to, size);
    }
    bits_combine(to, op == DIFF ? BITS_AND_NOT : BITS_AND, spare, size);
}

/* Bits that are set in one source only; *again: those that were found twice. */
static void combine_one(char *to, char *again, size_t size, const struct source *src, unsigned n)
{
    start_with(to, size, &src[0]);
    memset(again, 0, size);
    for (unsigned i = 1; i < n; i++) {
        const char *p = src[i].s.p;
        for (size_t at = 0; at < src[i].s.n; at++) {
            again[at] = (char)(again[at] | (to[at] & p[at]));
        }
        bits_combine(to, BITS_OR, p, src[i].s.n);
    }
    bits_combine(to, BITS_AND_NOT, again, size);
}

/* to: `size` bytes, and as many to spare behind them. */
static void combine(char *to, size_t size, enum bitop op, const struct source *src, unsigned n)
{
    switch (op) {
    case AND: combine_all(to, size, BITS_AND, src, n); break;
    case OR: combine_all(to, size, BITS_OR, src, n); break;
    case XOR: combine_all(to, size, BITS_XOR, src, n); break;
    case NOT: bits_combine(to, BITS_NOT, src[0].s.p, size); break;
    case DIFF:
    case DIFF1:
    case ANDOR: combine_first(to, to + size, size, op, src, n); break;
    case ONE: combine_one(to, to + size, size, src, n); break;
    default: must_not_reach();
    }
}

static void cmd_bitop(struct call *c)
{
    enum bitop op;
    const struct key *dest = &c->keys[0];
    unsigned n = c->argc - 3;
    size_t size;
    if (!arg_bitop(c, &op)) {
        return;
    }
    char *result = NULL; /* and what combine() wants to spare */
    struct source *src = mem_try_alloc(n * sizeof *src);
    if (src == NULL) {
        reply_oom(c);
        return;
    }
    if (!read_sources(c, src, n, &size)) {
        goto out;
    }
    if (size == 0) {
        if (key_delete(c, dest)) {
            notify(c, NOTIFY_GENERIC, "del", dest);
            EFFECT(c, S("DEL"), dest->s);
        }
        reply_int(c, 0);
        goto out;
    }
    /* Not in place: the destination may be one of the sources. */
    if ((result = mem_try_alloc(op < DIFF ? size : 2 * size)) == NULL ||
        (op >= DIFF && !effect_reserve(c, size))) {
        reply_oom(c);
        goto out;
    }
    combine(result, size, op, src, n);
    key_count_write(c, dest);
    if (key_set_string(c, dest, slice_of(result, size), STRING_RAW, false) != NULL) {
        notify(c, NOTIFY_STRING, "set", dest);
        if (op >= DIFF) { /* not every Redis knows it */
            EFFECT(c, S("SET"), dest->s, slice_of(result, size));
        }
        reply_int(c, (int64_t)size);
    }
out:
    mem_free(result);
    mem_free(src);
}

/* ================= Rows ================= */

/* clang-format off */
const struct command bitmap_commands[] = {
    { .name = "bitcount", .proc = cmd_bitcount, .arity = -2, .flags = CMD_READONLY,
      .acl = ACL_BITMAP, .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "bitmap",
      .since = "2.6.0", .complexity = "O(N)", .summary = "Count set bits in a string",
      .syntax = "key [index=<start:int end:int [index_unit=<BYTE|BIT>]@7.0.0>]",
      .history = "7.0.0:Added the `BYTE|BIT` option." },
    { .name = "bitop", .proc = cmd_bitop, .arity = -4, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_BITMAP,
      .keys = { KEY_AT(2, KEY_OW | KEY_UPDATE), KEYS_FROM(3, -1, 1, KEY_RO | KEY_ACCESS) },
      .group = "bitmap", .since = "2.6.0", .complexity = "O(N)",
      .summary = "Perform bitwise operations between strings",
      .syntax = "operation destkey:key key:key1...",
      .history = "8.2.0:Added the `DIFF`, `DIFF1`, `ANDOR`, and `ONE` operations." },
    { .name = "bitpos", .proc = cmd_bitpos, .arity = -3, .flags = CMD_READONLY, .acl = ACL_BITMAP,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "bitmap", .since = "2.8.7",
      .complexity = "O(N)", .summary = "Find first bit set or clear in a string",
      .syntax = "key bit:int [index=<start:int [end_index=<end:int "
                "[index_unit=<BYTE|BIT>]@7.0.0>]>]",
      .history = "7.0.0:Added the `BYTE|BIT` option." },
    { .name = "getbit", .proc = cmd_getbit, .arity = 3, .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_BITMAP, .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "bitmap",
      .since = "2.2.0", .complexity = "O(1)",
      .summary = "Returns the bit value at offset in the string value stored at key",
      .syntax = "key offset:int" },
    { .name = "setbit", .proc = cmd_setbit, .arity = 4, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_BITMAP, .keys = { KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_UPDATE) },
      .group = "bitmap", .since = "2.2.0", .complexity = "O(1)",
      .summary = "Sets or clears the bit at offset in the string value stored at key",
      .syntax = "key offset:int value:int" },
    { .name = NULL },
};
/* clang-format on */
