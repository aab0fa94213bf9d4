/* zset_ops.h -- What the files of the sorted-set family share.
 * SPDX-License-Identifier: BSD-3-Clause
 * All need the lock of the key they are given, as every handler has it. */
#ifndef COMMANDS_ZSET_OPS_H
#define COMMANDS_ZSET_OPS_H

#include "commands/commands.h"
#include "ds/zset.h"

struct zset zset_of(const struct entry *e);
struct zset_limits zset_limits(struct call *c); /* as configured */

/* The live sorted set at k, *e NULL if there is none. False: replied that it is something else. */
must_check bool zset_read(struct call *c, const struct key *k, struct entry **e);
must_check bool zset_write(struct call *c, const struct key *k, struct entry **e);

/* ZADD, and GEOADD: members among the arguments with a score each. Replies, logs and notifies. */
struct zset_adding {
    bool nx, xx, gt, lt, ch, incr;
    unsigned first, step; /* argv from `first` on; each `step` arguments end in a member */
    unsigned pairs;
    bool (*read)(struct call *c, unsigned i, double *score); /* what stands before the member;
                                                                false: replied the error */
    /* The rest is the call's own, 0 before. */
    bool big;      /* some member, or their number, is none for the small form */
    double *score; /* one per pair */
    uint64_t added, updated;
    double result; /* score of the last pair that was not passed over */
    bool processed;
};
void zset_adding_run(struct call *c, struct zset_adding *z);

/* After members were taken out of e, whose event the caller has sent: an empty set is deleted. */
void zset_shrunk(struct call *c, const struct key *k, struct entry *e, struct zset z);
/* z becomes what k holds, whatever that was, and `event` is sent; an empty one is freed and k
 * deleted. Replies how many members there are. */
void zset_store(struct call *c, const struct key *k, struct zset z, const char *event);

/* n members with or without their scores follow, each by zset_reply_item(). */
void zset_reply_head(struct call *c, uint64_t n, bool with_scores);
void zset_reply_item(struct call *c, const struct zset_item *item, bool with_scores);

/* ---- Ranges ---- */

struct score_range {
    double min, max;
    bool min_open, max_open; /* the bound itself is outside */
};
struct lex_bound {
    int infinite; /* -1: before all members; 1: behind all; 0: `member` */
    struct slice member;
    bool open;
};
struct lex_range {
    struct lex_bound min, max;
};
/* argv[min] and argv[max]. False: replied the error. */
must_check bool arg_score_range(struct call *c, unsigned min, unsigned max, struct score_range *r);
must_check bool arg_lex_range(struct call *c, unsigned min, unsigned max, struct lex_range *r);

/* The members in the range are *count, from rank *first on. By lex, a set whose scores differ has
 * no defined answer; from_end: it is looked for from the highest on, as Redis then does. */
void zset_by_score(struct zset z, const struct score_range *r, uint64_t *first, uint64_t *count);
void zset_by_lex(struct zset z, const struct lex_range *r, bool from_end, uint64_t *first,
                 uint64_t *count);
#endif
