/* ahead.c -- What the next inputs of a turn will need is fetched before the first of them runs.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A client that sends one request at a time leaves nothing to fetch ahead within its own
 *          input. What several such clients sent together is as good as a pipeline: each memory
 *          access of a lookup then overlaps with those of the others.
 *
 * GUESS    The second argument of a request is nearly always its key. It is looked for without the
 *          parser, whose state belongs to the bytes it was given; a wrong guess costs a useless
 *          fetch, and nothing else.
 *
 * MEMBERS  Requests of a pipeline that name elements of one large container are in the same place:
 *          its key is in the cache, but each element is a walk to memory. They are fetched together
 *          under the shard's lock, which they need anyway. If somebody has it they are not. Neither
 *          are they while a log is loaded, which may change everything without a lock.
 *
 * THREADS  The reactor's; the shard's lock for members, no other. */
#include "ds/fields.h"
#include "ds/set.h"
#include "ds/zset.h"
#include "exec/exec_int.h"

#define KEY_MAX 256 /* of a key, or a member: the hash of a longer one costs more than it gains */

/* "<kind><number>\r\n" at *at; moves behind it. */
static bool take_length(struct slice in, size_t *at, char kind, size_t *value)
{
    size_t i = *at, n = 0, first = i + 1;
    if (i >= in.n || in.p[i] != kind) {
        return false;
    }
    for (i = first; i < in.n && in.p[i] >= '0' && in.p[i] <= '9' && i < first + 4; i++) {
        n = n * 10 + (size_t)(in.p[i] - '0');
    }
    if (i == first || in.n - i < 2 || in.p[i] != '\r') {
        return false;
    }
    *at = i + 2;
    *value = n;
    return true;
}

bool guess_key(struct slice in, struct slice *key)
{
    size_t at = 0, n;
    if (!take_length(in, &at, '*', &n) || n < 2 || !take_length(in, &at, '$', &n) ||
        in.n - at < n + 2) {
        return false;
    }
    at += n + 2;
    if (!take_length(in, &at, '$', &n) || n > KEY_MAX || in.n - at < n) {
        return false;
    }
    *key = slice_of(in.p + at, n);
    return true;
}

void inputs_ahead(struct worker *w, const struct net_input *in, unsigned n)
{
    if (w->busy) {
        return; /* nobody waits for our looks */
    }
    unsigned db = ((const struct session *)in[0].user)->db;
    w->nsweep = 0;
    for (unsigned i = 0; i < n && w->nsweep < countof(w->sweep); i++) {
        struct slice guess;
        if (((const struct session *)in[i].user)->db == db && guess_key(in[i].in, &guess)) {
            struct key key = keyspace_key(w->x->ks, guess);
            sweep_key_set(&w->sweep[w->nsweep++], &key);
        }
    }
    keyspace_sweep(w->x->ks, db, w->sweep, w->nsweep);
    w->nsweep = 0;
}

/* ---- Members of a container ---- */

/* Index of the argument that names it. The row says that it looks one up. */
static unsigned member_index(const struct pending *p)
{
    enum command_ahead ahead = p->ref->row->ahead;
    return ahead == AHEAD_SCORE_MEMBER || ahead == AHEAD_BY_MEMBER ? 3 : 2;
}

static bool names_member(const struct pending *p)
{
    return p->keyed && p->ref->row->ahead != AHEAD_NOTHING && p->req.argc > member_index(p) &&
           p->req.argv[member_index(p)].n <= KEY_MAX;
}

static struct zset_planned plan_of(const struct pending *p)
{
    static const enum zset_plan plans[] = { [AHEAD_NOTHING] = ZSET_PLAN_SCORE,
                                            [AHEAD_MEMBER] = ZSET_PLAN_SCORE,
                                            [AHEAD_RANK] = ZSET_PLAN_RANK,
                                            [AHEAD_SCORE_MEMBER] = ZSET_PLAN_TO,
                                            [AHEAD_BY_MEMBER] = ZSET_PLAN_BY };
    struct zset_planned z = { .plan = plans[p->ref->row->ahead],
                              .member = p->req.argv[member_index(p)] };
    if (member_index(p) == 3 && !parse_f64(p->req.argv[2], &z.score)) {
        z.plan = ZSET_PLAN_SCORE; /* an option, or an error */
    }
    return z;
}

static void planned_ahead(const struct entry *e, const struct pending *p, unsigned n)
{
    struct zset z;
    struct zset_planned planned[BATCH_MAX];
    entry_get_zset(e, &z);
    for (unsigned i = 0; i < n; i++) {
        planned[i] = plan_of(&p[i]);
    }
    zset_ahead(z, planned, n);
}

static void hashes_ahead(const struct entry *e, const struct pending *p, unsigned n)
{
    uint64_t hash[BATCH_MAX];
    for (unsigned i = 0; i < n; i++) {
        struct slice member = p[i].req.argv[member_index(&p[i])];
        hash[i] = hash_key(member.p, member.n);
    }
    if (entry_type(e) == OBJ_SET) {
        struct set s;
        entry_get_set(e, &s);
        set_ahead(&s, hash, n);
    } else {
        struct fields f;
        entry_get_fields(e, FIELDS_ALL, &f);
        fields_ahead(&f, hash, n);
    }
}

/* n requests with the same key. */
static void members_of_key(struct worker *w, unsigned db, const struct pending *p, unsigned n)
{
    struct shard *s = keyspace_shard(w->x->ks, p->key.shard);
    if (!shard_try_lock(s)) {
        return;
    }
    const struct entry *e = shard_find(s, db, &p->key);
    if (e != NULL) {
        switch (entry_enc(e)) {
        case ENC_SKIPLIST: planned_ahead(e, p, n); break;
        case ENC_HASHTABLE:
        case ENC_HASHTABLE_EX: hashes_ahead(e, p, n); break;
        default: break; /* what is small comes with its key */
        }
    }
    shard_unlock(s);
}

void members_ahead(struct worker *w, unsigned db, unsigned n)
{
    const struct pending *p = w->batch;
    if (unlikely(atomic_load_explicit(&w->x->loading, memory_order_acquire))) {
        return; /* what the log did alone is done without locks (replay.c) */
    }
    for (unsigned i = 0, end; i < n; i = end) {
        end = i + 1;
        if (!names_member(&p[i])) {
            continue;
        }
        while (end < n && names_member(&p[end]) && p[end].key.hash == p[i].key.hash &&
               slice_eq(p[end].key.s, p[i].key.s)) {
            end++;
        }
        if (end > i + 1) {
            members_of_key(w, db, &p[i], end - i);
        }
    }
}
