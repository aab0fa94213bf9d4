/* cmd_bitfield.c -- BITFIELD and BITFIELD_RO: integers of any width inside a string.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY        All operations are parsed before the first one runs: an error changes nothing, and the
 *            string grows once, to the farthest bit that is written.
 * INVARIANT  Values are computed in 128 bits, where no sum of a field and an increment overflows;
 *            the field's range is then a comparison. */
#include "base/mem.h"
#include "commands/bits.h"
#include "commands/commands.h"
#include "commands/string_ops.h"

enum op_kind { OP_GET, OP_SET, OP_INCRBY };
enum overflow { OVERFLOW_WRAP, OVERFLOW_SAT, OVERFLOW_FAIL };

struct op {
    enum op_kind kind;
    enum overflow overflow;
    bool is_signed;
    uint8_t width; /* bits: 1..64 signed, 1..63 unsigned */
    uint64_t offset;
    int64_t value; /* of SET and INCRBY */
};

struct ops {
    struct op *v;
    unsigned n;
    bool writes;
    uint64_t last_written; /* bit */
};

/* ================= Parsing ================= */

/* i1..i64, u1..u63 in argv[i]; false after having replied the error. */
static bool arg_field_type(struct call *c, unsigned i, struct op *op)
{
    struct slice s = c->argv[i];
    int64_t width;
    if (s.n >= 2 && (s.p[0] == 'i' || s.p[0] == 'u')) {
        op->is_signed = s.p[0] == 'i';
        if (parse_i64(slice_of(s.p + 1, s.n - 1), &width) && width >= 1 &&
            width <= (op->is_signed ? 64 : 63)) {
            op->width = (uint8_t)width;
            return true;
        }
    }
    reply_error(c, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
                   "supported but i64 is.");
    return false;
}

static bool arg_overflow(struct call *c, unsigned i, enum overflow *o)
{
    if (arg_is(c, i, "wrap")) {
        *o = OVERFLOW_WRAP;
    } else if (arg_is(c, i, "sat")) {
        *o = OVERFLOW_SAT;
    } else if (arg_is(c, i, "fail")) {
        *o = OVERFLOW_FAIL;
    } else {
        reply_error(c, "ERR Invalid OVERFLOW type specified");
        return false;
    }
    return true;
}

/* One GET, SET or INCRBY from argv[*i] on; moves *i behind it. */
static bool parse_op(struct call *c, unsigned *i, struct op *op)
{
    static const struct {
        const char *word;
        enum op_kind kind;
        unsigned args;
    } words[] = { { "get", OP_GET, 2 }, { "set", OP_SET, 3 }, { "incrby", OP_INCRBY, 3 } };
    unsigned at = *i, w = 0;
    while (w < countof(words) && !(arg_is(c, at, words[w].word) && c->argc - at > words[w].args)) {
        w++;
    }
    if (w == countof(words)) {
        reply_syntax(c);
        return false;
    }
    op->kind = words[w].kind;
    if (!arg_field_type(c, at + 1, op) || !arg_bit_offset(c, at + 2, op->width, &op->offset) ||
        (op->kind != OP_GET && !arg_i64(c, at + 3, &op->value))) {
        return false;
    }
    *i = at + 1 + words[w].args;
    return true;
}

/* ops->v has room for every operation that argv can hold. */
static bool parse_ops(struct call *c, struct ops *ops)
{
    enum overflow overflow = OVERFLOW_WRAP;
    for (unsigned i = 2; i < c->argc;) {
        if (arg_is(c, i, "overflow") && i + 1 < c->argc) {
            if (!arg_overflow(c, i + 1, &overflow)) {
                return false;
            }
            i += 2;
            continue;
        }
        struct op *op = &ops->v[ops->n];
        if (!parse_op(c, &i, op)) {
            return false;
        }
        op->overflow = overflow;
        ops->n++;
        if (op->kind != OP_GET) {
            ops->writes = true;
            ops->last_written = u64_max(ops->last_written, op->offset + op->width - 1);
        }
    }
    return true;
}

/* ================= Running ================= */

typedef __int128 wide;

/* The field's bits as the number they mean. */
static wide field_value(const struct op *op, uint64_t bits)
{
    if (op->is_signed && bits >> (op->width - 1)) {
        return (wide)bits - ((wide)1 << op->width);
    }
    return (wide)bits;
}

/* v brought into the field's range as OVERFLOW says; false: it does not fit and must fail. */
static bool field_fit(const struct op *op, wide *v)
{
    wide max = ((wide)1 << (op->is_signed ? op->width - 1 : op->width)) - 1;
    wide min = op->is_signed ? -max - 1 : 0;
    if (*v >= min && *v <= max) {
        return true;
    }
    /* Redis computes max - value in 64 bits: a SET so far below the range saturates upwards. */
    bool above = *v > max || (op->kind == OP_SET && max - *v > INT64_MAX);
    switch (op->overflow) {
    case OVERFLOW_FAIL: return false;
    case OVERFLOW_SAT: *v = above ? max : min; return true;
    case OVERFLOW_WRAP: break;
    }
    *v = field_value(op, (uint64_t)*v & (UINT64_MAX >> (64 - op->width)));
    return true;
}

/* SET or INCRBY on n bytes that reach far enough, just grown to that or not. Replies; true when it
 * wrote something new. */
static bool run_write(struct call *c, const struct op *op, char *bytes, size_t n, bool grown)
{
    wide old = field_value(op, bits_read(bytes, n, op->offset, op->width));
    wide v;
    if (op->kind == OP_INCRBY) {
        v = old + op->value;
    } else {
        /* For an unsigned field a negative value is a very large one. */
        v = op->is_signed ? (wide)op->value : (wide)(uint64_t)op->value;
    }
    if (!field_fit(op, &v)) {
        reply_null(c);
        return false;
    }
    reply_int(c, (int64_t)(op->kind == OP_SET ? old : v));
    bits_write(bytes, op->offset, op->width, (uint64_t)v);
    return grown || v != old;
}

static void run_get(struct call *c, const struct op *op, const char *bytes, size_t n)
{
    reply_int(c, (int64_t)field_value(op, bits_read(bytes, n, op->offset, op->width)));
}

static void read_only(struct call *c, const struct ops *ops)
{
    struct entry *e = key_read(c, c->keys);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    char tmp[I64_TEXT_MAX];
    struct slice s = e != NULL ? entry_string(e, tmp) : S("");
    reply_array(c, ops->n);
    for (unsigned i = 0; i < ops->n; i++) {
        run_get(c, &ops->v[i], s.p, s.n);
    }
}

static void read_write(struct call *c, const struct ops *ops)
{
    const struct key *k = c->keys;
    struct entry *e = key_write(c, k);
    if (!key_is(c, e, OBJ_STRING)) {
        return;
    }
    size_t had = e != NULL ? entry_strlen(e) : 0;
    size_t n = size_max(had, (size_t)(ops->last_written >> 3) + 1);
    bool grown = e == NULL || n > had;
    char *bytes;
    if (string_grow(c, k, e, n, &bytes) == NULL) {
        return;
    }
    unsigned changes = 0;
    reply_array(c, ops->n);
    for (unsigned i = 0; i < ops->n; i++) {
        if (ops->v[i].kind == OP_GET) {
            run_get(c, &ops->v[i], bytes, n);
        } else {
            changes += run_write(c, &ops->v[i], bytes, n, grown);
        }
    }
    /* An operation that failed may have left the string longer: no event, as in Redis, but logged.
     */
    if (changes > 0 || grown) {
        key_changed(c, k);
    }
    if (changes > 0) {
        call_more_changes(c, (int64_t)changes - 1);
        notify(c, NOTIFY_STRING, "setbit", k);
    }
}

static void bitfield(struct call *c, bool may_write)
{
    struct ops ops = { .v = NULL };
    ops.v = mem_try_alloc((c->argc / 3 + 1) * sizeof *ops.v);
    if (ops.v == NULL) {
        reply_oom(c);
        return;
    }
    if (!parse_ops(c, &ops)) {
        /* replied */
    } else if (!ops.writes) {
        read_only(c, &ops);
    } else if (!may_write) {
        reply_error(c, "ERR BITFIELD_RO only supports the GET subcommand");
    } else {
        read_write(c, &ops);
    }
    mem_free(ops.v);
}

static void cmd_bitfield(struct call *c)
{
    bitfield(c, true);
}

static void cmd_bitfield_ro(struct call *c)
{
    bitfield(c, false);
}

/* ================= Rows ================= */

/* With nothing but complete GETs it only reads; what is not understood may write. */
static uint32_t bitfield_key_flags(const struct slice *argv, unsigned argc)
{
    for (unsigned i = 2; i < argc;) {
        unsigned words = slice_is(argv[i], "get") ? 3 : slice_is(argv[i], "overflow") ? 2 : 0;
        if (words == 0 || words > argc - i) {
            return KEY_RW | KEY_ACCESS | KEY_UPDATE;
        }
        i += words;
    }
    return KEY_RO | KEY_ACCESS;
}

/* clang-format off */
const struct command bitfield_commands[] = {
    { .name = "bitfield", .proc = cmd_bitfield, .arity = -2, .flags = CMD_WRITE | CMD_DENYOOM,
      .acl = ACL_BITMAP,
      .keys = { { .flags = KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE, .begin = 1, .step = 1,
                  .notes = "This command allows both access and modification of the key" } },
      .key_flags = bitfield_key_flags,
      .group = "bitmap", .since = "3.2.0", .complexity = "O(1) for each subcommand specified",
      .summary = "Perform arbitrary bitfield integer operations on strings",
      .syntax = "key [operation=<GET encoding_offset=<encoding offset:int>|write=<[OVERFLOW "
                "wrap_sat_fail=<WRAP|SAT|FAIL>] write_operation=<SET "
                "encoding_offset_value=<encoding offset:int value:int>|INCRBY "
                "encoding_offset_increment=<encoding offset:int increment:int>>>>]..." },
    { .name = "bitfield_ro", .proc = cmd_bitfield_ro, .arity = -2,
      .flags = CMD_READONLY | CMD_FAST, .acl = ACL_BITMAP,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) }, .group = "bitmap", .since = "6.0.0",
      .complexity = "O(1) for each subcommand specified",
      .summary = "Perform arbitrary bitfield integer operations on strings. Read-only variant of "
                 "BITFIELD",
      .syntax = "key [GET encoding_offset=<encoding offset:int>]..." },
    { .name = NULL },
};
/* clang-format on */
