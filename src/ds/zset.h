/* zset.h -- A sorted set: members with scores, in order of score and, where scores are equal, of
 * bytes. SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMS     small  one listpack: member, score, member, score ... in order (the bytes of RDB files
 *                  and DUMP); an integral score is stored as an integer
 *           big    two counted B+ trees with the same members: in order of score, for ranges and
 *                  ranks; and in order of hash_key(member) with the score, for lookups and scans
 *           zset_add() turns small into big when a limit would be exceeded; nothing turns back.
 * OWNER     struct zset is a reference that is passed by value; whoever holds the container keeps
 *           the one that counts. A call that takes a pointer to it may change what it refers to.
 * SCORES    Any double but NaN. COMPAT: -0 is stored as 0. In Redis the big form alone keeps the
 *           sign; but the log does not tell which form a set had: on replay it may be the other.
 * MEMBERS   Given ones must not point into the set. Those that are given back are valid until the
 *           next change of the set, or the next step of the same iterator.
 * MEMORY    Calls that may return -ENOMEM leave the set as it was then. No other can fail.
 * THREADS   One writer, or several readers. A copy is independent of its original.
 * INVARIANTS, checked by zset_check():
 *           Z1 the listpack is well-formed and holds pairs; each second is a number
 *           Z2 pairs stand in strictly ascending order, and no member twice
 *           Z3 both trees are sound and have as many records
 *           Z4 each record by score has one by hash, with the same score */
#ifndef DS_ZSET_H
#define DS_ZSET_H

#include "ds/btree.h"
#include "ds/listpack.h"

struct zset {
    bool big;
    void *p;
};

struct zset_limits { /* of the small form */
    uint64_t members;
    uint64_t member_bytes;
};

struct zset zset_new(void);    /* empty and small */
void zset_free(struct zset z); /* any thread */
/* Makes it big whatever its size. False: no memory. */
bool zset_make_big(struct zset *z) must_check;
/* O(1) if big. False: no memory. */
must_check bool zset_dup(struct zset z, struct zset *copy);

uint64_t zset_count(struct zset z);
size_t zset_bytes(struct zset z);         /* allocated, about */
uint64_t zset_allocations(struct zset z); /* the effort to free it, about */

/* ---- By member ---- */

bool zset_score(struct zset z, struct slice member, double *score); /* is it there? */
/* Whether adding or moving this member could answer -ENOMEM. */
bool zset_may_fail(struct zset z, struct slice member);
/* Adds a member that is not there. 0 or -ENOMEM. */
must_check int zset_add(struct zset *z, const struct zset_limits *limits, struct slice member,
                        double score);
/* The member is there with the score `from`; `to` is a different one. 0 or -ENOMEM. */
must_check int zset_move(struct zset *z, struct slice member, double from, double to);
bool zset_remove(struct zset *z, struct slice member); /* was it there? */
bool zset_rank(struct zset z, struct slice member, uint64_t *rank, double *score);

/* What will be asked about a member, or done with it. */
enum zset_plan {
    ZSET_PLAN_SCORE, /* its score is read */
    ZSET_PLAN_RANK,  /* and its rank */
    ZSET_PLAN_TO,    /* it gets this score */
    ZSET_PLAN_BY     /* this is added to its score */
};
struct zset_planned {
    enum zset_plan plan;
    struct slice member;
    double score; /* of the last two; anything, also NaN */
};
/* Fetches what that will read, in either tree: btree_ahead(). n <= BTREE_AHEAD / 2. */
void zset_ahead(struct zset z, const struct zset_planned *p, unsigned n);

/* ---- By rank, 0 = lowest ---- */

/* Up to n members from `rank` on; returns how many. */
uint64_t zset_remove_range(struct zset *z, uint64_t rank, uint64_t n);
/* Members whose score is lower, or with `or_equal` not higher. */
uint64_t zset_below(struct zset z, double score, bool or_equal);

struct zset_item {
    struct slice member;
    double score;
};
struct zset_iter {             /* fields are private */
    const struct listpack *lp; /* NULL: big */
    uint32_t at;
    bool forward;
    char digits[I64_TEXT_MAX];
    struct btree_iter tree;
};
/* zset_next() will give the member at `rank`, then those after it (or, not forward, before it);
 * false at the end. A rank that is not there: at the end at once. A change makes it stale. */
void zset_iter(struct zset_iter *it, struct zset z, uint64_t rank, bool forward);
bool zset_next(struct zset_iter *it, struct zset_item *out);
/* Up to max (at least 1, at most ZSET_RUN) of them at once; how many: 0 at the end only. The
 * members are good until the next call. */
#define ZSET_RUN 16
unsigned zset_next_run(struct zset_iter *it, struct zset_item *out, unsigned max);

/* ---- In the order of hashes ---- */

/* Visits about `count` members and returns the next cursor, below 2^53; 0: all were visited. From
 * cursor 0 to cursor 0 each member that is there all the time is visited, whatever else changes.
 * The small form visits all at once. */
uint64_t zset_scan(struct zset z, uint64_t cursor, uint64_t count,
                   void (*visit)(void *arg, const struct zset_item *item), void *arg);

const char *zset_check(struct zset z); /* NULL, or the invariant that does not hold */
#endif
