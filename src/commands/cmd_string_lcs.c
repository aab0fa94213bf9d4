/* cmd_string_lcs.c -- LCS: the longest common subsequence of two strings.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The textbook table: at(i, j) is the length of the longest common subsequence of the first i bytes
 * of a and the first j of b. Read back from its far corner it gives the subsequence, last byte
 * first. Where there is more than one, the way through the table decides which: it is part of the
 * reply, so it is the one that Redis takes (a match is always taken; else towards the greater
 * neighbour, on a tie towards shorter b). */
#include "base/mem.h"
#include "commands/commands.h"

struct lcs {
    struct slice a, b;
    uint32_t *cells; /* (a.n + 1) rows of (b.n + 1) */
};

struct lcs_options {
    bool len, idx, withmatchlen;
    int64_t minmatchlen;
};

static uint32_t *lcs_row(const struct lcs *l, size_t i)
{
    return l->cells + i * (l->b.n + 1);
}

static bool parse_options(struct call *c, struct lcs_options *o)
{
    *o = (struct lcs_options){ .minmatchlen = 0 };
    for (unsigned i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "len")) {
            o->len = true;
        } else if (arg_is(c, i, "idx")) {
            o->idx = true;
        } else if (arg_is(c, i, "withmatchlen")) {
            o->withmatchlen = true;
        } else if (arg_is(c, i, "minmatchlen") && i + 1 < c->argc) {
            if (!arg_i64(c, ++i, &o->minmatchlen)) {
                return false;
            }
        } else {
            reply_syntax(c);
            return false;
        }
    }
    if (o->len && o->idx) {
        reply_error(c, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

/* The table, not yet filled. False after having replied the error. */
static bool lcs_alloc(struct call *c, struct lcs *l)
{
    size_t bytes;
    if (l->a.n >= UINT32_MAX - 1 || l->b.n >= UINT32_MAX - 1) {
        reply_error(c, "ERR String too long for LCS");
        return false;
    }
    if (!size_mul(l->a.n + 1, l->b.n + 1, &bytes) || !size_mul(bytes, sizeof *l->cells, &bytes)) {
        bytes = 0;
    }
    if (bytes > (uint64_t)option_int(&exec_options(c->x)->proto_max_bulk_len)) {
        reply_error(c, "ERR Insufficient memory, transient memory for LCS exceeds "
                       "proto-max-bulk-len");
        return false;
    }
    l->cells = bytes != 0 ? mem_try_alloc(bytes) : NULL;
    if (l->cells == NULL) {
        reply_error(c, "ERR Insufficient memory, failed allocating transient memory for LCS");
        return false;
    }
    return true;
}

static void lcs_fill(const struct lcs *l)
{
    memset(l->cells, 0, (l->b.n + 1) * sizeof *l->cells);
    for (size_t i = 1; i <= l->a.n; i++) {
        const uint32_t *above = lcs_row(l, i - 1);
        uint32_t *row = lcs_row(l, i);
        char ch = l->a.p[i - 1];
        row[0] = 0;
        for (size_t j = 1; j <= l->b.n; j++) {
            uint32_t best = row[j - 1] > above[j] ? row[j - 1] : above[j];
            row[j] = ch == l->b.p[j - 1] ? above[j - 1] + 1 : best;
        }
    }
}

/* Goes back from (*i, *j) to the end of the next run of equal bytes; returns the length of that
 * run, and *i, *j at its start. 0: there is none. */
static size_t lcs_run_back(const struct lcs *l, size_t *i, size_t *j)
{
    while (*i > 0 && *j > 0) {
        size_t run = 0;
        while (*i > 0 && *j > 0 && l->a.p[*i - 1] == l->b.p[*j - 1]) {
            --*i;
            --*j;
            run++;
        }
        if (run > 0) {
            return run;
        }
        if (lcs_row(l, *i - 1)[*j] > lcs_row(l, *i)[*j - 1]) {
            --*i;
        } else {
            --*j;
        }
    }
    return 0;
}

static void reply_range(struct call *c, size_t first, size_t n)
{
    reply_array(c, 2);
    reply_int(c, (int64_t)first);
    reply_int(c, (int64_t)(first + n - 1));
}

static void reply_matches(struct call *c, const struct lcs *l, const struct lcs_options *o)
{
    reply_map(c, 2);
    reply_bulk_str(c, "matches");
    struct out_block *hole = reply_array_deferred(c);
    size_t i = l->a.n, j = l->b.n, run, count = 0;
    while ((run = lcs_run_back(l, &i, &j)) > 0) {
        if ((int64_t)run < o->minmatchlen) {
            continue;
        }
        reply_array(c, o->withmatchlen ? 3 : 2);
        reply_range(c, i, run);
        reply_range(c, j, run);
        if (o->withmatchlen) {
            reply_int(c, (int64_t)run);
        }
        count++;
    }
    reply_array_fill(c, hole, count);
    reply_bulk_str(c, "len");
    reply_int(c, lcs_row(l, l->a.n)[l->b.n]);
}

static void reply_text(struct call *c, const struct lcs *l)
{
    size_t n = lcs_row(l, l->a.n)[l->b.n], at = n;
    char *text = mem_try_alloc(n + 1);
    if (text == NULL) {
        reply_oom(c);
        return;
    }
    size_t i = l->a.n, j = l->b.n, run;
    while ((run = lcs_run_back(l, &i, &j)) > 0) {
        at -= run;
        memcpy(text + at, l->a.p + i, run);
    }
    must(at == 0);
    reply_bulk(c, slice_of(text, n));
    mem_free(text);
}

static void cmd_lcs(struct call *c)
{
    struct entry *a = key_read(c, &c->keys[0]), *b = key_read(c, &c->keys[1]);
    if ((a != NULL && entry_type(a) != OBJ_STRING) || (b != NULL && entry_type(b) != OBJ_STRING)) {
        reply_error(c, "ERR The specified keys must contain string values");
        return;
    }
    char atext[I64_TEXT_MAX], btext[I64_TEXT_MAX];
    struct lcs l = { .a = a != NULL ? entry_string(a, atext) : S(""),
                     .b = b != NULL ? entry_string(b, btext) : S("") };
    struct lcs_options o;
    if (!parse_options(c, &o) || !lcs_alloc(c, &l)) {
        return;
    }
    lcs_fill(&l);
    if (o.idx) {
        reply_matches(c, &l, &o);
    } else if (o.len) {
        reply_int(c, lcs_row(&l, l.a.n)[l.b.n]);
    } else {
        reply_text(c, &l);
    }
    mem_free(l.cells);
}

/* ================= Rows ================= */

/* clang-format off */
const struct command lcs_commands[] = {
    { .name = "lcs", .proc = cmd_lcs, .arity = -3, .flags = CMD_READONLY, .acl = ACL_STRING,
      .keys = { KEYS_FROM(1, 1, 1, KEY_RO | KEY_ACCESS) }, .group = "string", .since = "7.0.0",
      .complexity = "O(N*M) where N and M are the lengths of s1 and s2, respectively",
      .summary = "Find longest common substring",
      .syntax = "key1:key key2:key [LEN] [IDX] [MINMATCHLEN len:int] [WITHMATCHLEN]" },
    { .name = NULL },
};
/* clang-format on */
