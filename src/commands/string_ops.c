/* string_ops.c -- Limits and ranges of strings; growing them in place.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/string_ops.h"

bool string_length_ok(struct call *c, uint64_t size, uint64_t more)
{
    if (c->flags & CALL_REPLAY) {
        return true;
    }
    uint64_t max = (uint64_t)option_int(&exec_options(c->x)->proto_max_bulk_len), total;
    if (!__builtin_add_overflow(size, more, &total) && total <= max) {
        return true;
    }
    reply_error(c, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}

struct entry *string_grow(struct call *c, const struct key *k, struct entry *e, size_t size,
                          char **bytes)
{
    bool created = e == NULL;
    if (created && (e = key_set_string(c, k, S(""), STRING_RAW, false)) == NULL) {
        return NULL;
    }
    e = shard_string_writable(keyspace_shard(c->ks, k->shard), c->db, e, size, bytes);
    if (e == NULL) {
        if (created) {
            (void)key_delete(c, k);
            effect_none(c);
        }
        reply_oom(c);
    }
    return e;
}

bool arg_bit_offset(struct call *c, unsigned i, unsigned width, uint64_t *offset)
{
    struct slice s = c->argv[i];
    uint64_t max = (uint64_t)option_int(&exec_options(c->x)->proto_max_bulk_len);
    int64_t v;
    bool counted = width > 0 && s.n > 0 && s.p[0] == '#';
    if (counted) {
        s = slice_of(s.p + 1, s.n - 1);
    }
    if (!parse_i64(s, &v) || v < 0 || (counted && __builtin_mul_overflow(v, width, &v)) ||
        (!(c->flags & CALL_REPLAY) && (uint64_t)v >> 3 >= max)) {
        reply_error(c, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *offset = (uint64_t)v;
    return true;
}

bool range_clamp(int64_t start, int64_t end, uint64_t len, uint64_t *first, uint64_t *last)
{
    /* No sum can overflow: len is the length of a string in bits at most. */
    int64_t n = (int64_t)len;
    start = start < 0 ? start + n : start;
    end = end < 0 ? end + n : end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end >= n ? n - 1 : end;
    if (start > end) {
        return false;
    }
    *first = (uint64_t)start;
    *last = (uint64_t)end;
    return true;
}
