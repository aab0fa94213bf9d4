/* stream_group.c -- Consumer groups: three trees for all of a stream.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * PENDING   An ID must stand in the tree by owner, then ms, then seq, and comparing one number is
 *           what the tree does best. So the order of a record is 22 bits of the owner's number and
 *           42 bits of ms (the year 2109), and its key is seq; what does not fit says the rest in
 *           its key, behind the records that fit:
 *               owner < OWNERS, ms < MS_MAX      owner << 42 | ms          seq
 *               owner < OWNERS                   owner << 42 | MS_MAX      ms seq
 *               other owners                     OWNERS << 42              owner ms seq */
#include "ds/stream_int.h"
#include "base/mem.h"
#include <errno.h>

#define MS_BITS 42
#define MS_MAX  ((UINT64_C(1) << MS_BITS) - 1)
#define OWNERS  ((UINT64_C(1) << (64 - MS_BITS)) - 1)
#define GROUPS  0 /* the order of groups in `names` */
#define NUMBER  sizeof(uint64_t)

struct stream_groups {
    struct btree *names, *owners, *pending;
    uint64_t count; /* groups */
    uint64_t next;  /* number */
};

/* What `owners` has under a number and the empty key. */
struct owner {
    uint64_t group; /* of a consumer; 0: this is a group */
    struct stream_id last;
    int64_t read;
    int64_t seen, active;
};
struct delivery { /* what `pending` has for a group */
    uint64_t consumer;
    int64_t time;
    uint64_t count;
};

/* ---- As a whole ---- */

static struct stream_groups *groups_of(struct stream *s)
{
    if (s->groups == NULL) {
        s->groups = mem_alloc(sizeof *s->groups);
        *s->groups = (struct stream_groups){ btree_new(), btree_new(), btree_new(), 0, 1 };
    }
    return s->groups;
}

struct stream_groups *stream_groups_dup(const struct stream_groups *g)
{
    struct stream_groups *copy = mem_alloc(sizeof *copy);
    *copy = (struct stream_groups){ btree_dup(g->names), btree_dup(g->owners),
                                    btree_dup(g->pending), g->count, g->next };
    return copy;
}

void stream_groups_free(struct stream_groups *g)
{
    if (g != NULL) {
        btree_free(g->names);
        btree_free(g->owners);
        btree_free(g->pending);
        mem_free(g);
    }
}

size_t stream_groups_bytes(const struct stream_groups *g)
{
    return sizeof *g + btree_bytes(g->names) + btree_bytes(g->owners) + btree_bytes(g->pending);
}

uint64_t stream_groups_effort(const struct stream_groups *g)
{
    return 4 + btree_pages(g->names) + btree_pages(g->owners) + btree_pages(g->pending);
}

void stream_groups_set_next(struct stream *s, uint64_t number)
{
    groups_of(s)->next = number;
}

/* ---- Names and owners ---- */

/* The key under which an owner's name stands: not the empty one. */
static int put_owner_name(struct stream_groups *g, uint64_t number, struct slice name)
{
    char few[256], *key = name.n < sizeof few ? few : mem_try_alloc(name.n + 1);
    if (key == NULL) {
        return -ENOMEM;
    }
    key[0] = 'n';
    memcpy(key + 1, name.p, name.n);
    int rc = btree_put(g->owners, number, slice_of(key, name.n + 1), S(""), BTREE_NO_DUE);
    if (key != few) {
        mem_free(key);
    }
    return rc;
}

/* 1; -ENOMEM: nothing changed. */
static int owner_add(struct stream_groups *g, uint64_t order, struct slice name,
                     const struct owner *o)
{
    uint64_t number = g->next;
    int rc = btree_put(g->names, order, name, slice_of(&number, sizeof number), BTREE_NO_DUE);
    if (rc < 0) {
        return rc;
    }
    rc = put_owner_name(g, number, name);
    if (rc < 0) {
        must(btree_remove(g->names, order, name));
        return rc;
    }
    rc = btree_put(g->owners, number, S(""), slice_of(o, sizeof *o), BTREE_NO_DUE);
    must(rc == 1); /* small: no memory of its own */
    g->next++;
    return 1;
}

static bool owner_find(const struct stream_groups *g, uint64_t number, struct owner *o,
                       struct slice *name)
{
    struct btree_iter it;
    struct btree_item item;
    btree_iter(&it, g->owners, btree_rank(g->owners, number, S("")), true);
    if (!btree_next(&it, &item) || item.order != number) {
        return false;
    }
    must(item.key.n == 0 && item.value.n == sizeof *o);
    memcpy(o, item.value.p, sizeof *o);
    must(btree_next(&it, &item) && item.order == number);
    *name = slice_of(item.key.p + 1, item.key.n - 1);
    return true;
}

static void owner_set(struct stream_groups *g, uint64_t number, const struct owner *o)
{
    char *value;
    int rc = btree_edit(g->owners, number, S(""), &value);
    must(rc == 1);
    memcpy(value, o, sizeof *o);
}

/* The number is found without a look at the name's record: both lie behind one another. */
static void owner_remove(struct stream_groups *g, uint64_t order, uint64_t number)
{
    struct owner o;
    struct slice name;
    must(owner_find(g, number, &o, &name));
    must(btree_remove(g->names, order, name));
    must(btree_remove_range(g->owners, btree_rank(g->owners, number, S("")), 2) == 2);
}

static bool name_find(const struct stream *s, uint64_t order, struct slice name, uint64_t *number)
{
    struct btree_item item;
    if (s->groups == NULL || !btree_find(s->groups->names, order, name, &item)) {
        return false;
    }
    memcpy(number, item.value.p, sizeof *number);
    return true;
}

/* ---- Pending: keys ---- */

struct pend_key {
    struct stream_key bytes;
    uint64_t order;
    struct slice key;
};

static void pend_key(struct pend_key *k, uint64_t owner, struct stream_id id)
{
    unsigned n = 0;
    char *p = k->bytes.bytes;
    if (owner >= OWNERS) {
        stream_key_put(p, owner);
        n += NUMBER;
    }
    if (owner >= OWNERS || id.ms >= MS_MAX) {
        stream_key_put(p + n, id.ms);
        n += NUMBER;
    }
    stream_key_put(p + n, id.seq);
    k->order = owner >= OWNERS ? OWNERS << MS_BITS : owner << MS_BITS | u64_min(id.ms, MS_MAX);
    k->key = slice_of(p, n + NUMBER);
}

static void pend_key_read(const struct btree_item *item, uint64_t *owner, struct stream_id *id)
{
    const char *p = item->key.p;
    *owner = item->order >> MS_BITS;
    id->ms = item->order & MS_MAX;
    if (item->key.n == 3 * NUMBER) {
        *owner = stream_key_get(p);
    }
    if (item->key.n > NUMBER) {
        id->ms = stream_key_get(p + item->key.n - 2 * NUMBER);
    }
    id->seq = stream_key_get(p + item->key.n - NUMBER);
}

/* Records before those of (owner, id) on. */
static uint64_t pend_rank(const struct stream_groups *g, uint64_t owner, struct stream_id id)
{
    struct pend_key k;
    pend_key(&k, owner, id);
    return btree_rank(g->pending, k.order, k.key);
}

static void pend_range(const struct stream_groups *g, uint64_t owner, struct stream_id first,
                       struct stream_id last, uint64_t *rank, uint64_t *count)
{
    uint64_t end;
    *rank = pend_rank(g, owner, first);
    if (stream_id_next(&last)) {
        end = pend_rank(g, owner, last);
    } else {
        end = pend_rank(g, owner + 1, STREAM_ID_MIN);
    }
    *count = end > *rank ? end - *rank : 0;
}

static void pend_clear(struct stream_groups *g, uint64_t owner)
{
    uint64_t rank, n;
    pend_range(g, owner, STREAM_ID_MIN, STREAM_ID_MAX, &rank, &n);
    btree_remove_range(g->pending, rank, n);
}

/* ---- Groups ---- */

uint64_t stream_group_count(const struct stream *s)
{
    return s->groups != NULL ? s->groups->count : 0;
}

static void group_from(struct stream_group *out, uint64_t number, struct slice name,
                       const struct owner *o)
{
    *out = (struct stream_group){ name, number, o->last, o->read };
}

static bool group_by(const struct stream *s, uint64_t number, struct stream_group *out)
{
    struct owner o;
    struct slice name;
    if (!owner_find(s->groups, number, &o, &name) || o.group != 0) {
        return false;
    }
    group_from(out, number, name, &o);
    return true;
}

bool stream_group_at(const struct stream *s, uint64_t index, struct stream_group *out)
{
    struct btree_item item;
    uint64_t number;
    if (index >= stream_group_count(s)) {
        return false;
    }
    must(btree_at(s->groups->names, index, &item));
    memcpy(&number, item.value.p, sizeof number);
    must(group_by(s, number, out));
    return true;
}

bool stream_group_find(const struct stream *s, struct slice name, struct stream_group *out)
{
    uint64_t number;
    if (!name_find(s, GROUPS, name, &number)) {
        return false;
    }
    must(group_by(s, number, out));
    return true;
}

int stream_group_add(struct stream *s, struct slice name, struct stream_id last, int64_t read)
{
    uint64_t number;
    if (name_find(s, GROUPS, name, &number)) {
        return 0;
    }
    struct owner o = { 0, last, read, 0, 0 };
    int rc = owner_add(groups_of(s), GROUPS, name, &o);
    s->groups->count += rc > 0;
    return rc;
}

void stream_group_set(struct stream *s, const struct stream_group *g)
{
    struct owner o = { 0, g->last, g->read, 0, 0 };
    owner_set(s->groups, g->number, &o);
}

#define PENDING_PER_PAGE 128 /* at least, when there are many */

void stream_group_remove(struct stream *s, const struct stream_group *g, struct stream **old)
{
    struct stream_consumer c;
    uint64_t number = g->number;
    if (old != NULL) {
        uint64_t pages = stream_pending_count(s, number) / PENDING_PER_PAGE;
        *old = pages > STREAM_MUCH ? stream_dup(s) : NULL;
    }
    while (stream_consumer_at(s, g, 0, &c)) {
        pend_clear(s->groups, c.number);
        owner_remove(s->groups, number, c.number);
    }
    pend_clear(s->groups, number);
    owner_remove(s->groups, GROUPS, number);
    s->groups->count--;
}

/* ---- How far a group has read ---- */

int64_t stream_distance(const struct stream *s, struct stream_id id)
{
    const struct stream_state *t = &s->state;
    struct stream_id first, none = STREAM_ID_MIN;
    int to_last = stream_id_cmp(id, t->last);
    if (t->added == 0) {
        return 0;
    }
    if (t->length == 0 && to_last <= 0) {
        return (int64_t)t->added;
    }
    /* entries were deleted behind it, nobody knows how many */
    if (stream_id_cmp(id, none) != 0 && stream_id_cmp(id, t->max_deleted) < 0) {
        return STREAM_READ_UNKNOWN;
    }
    if (to_last >= 0) {
        return to_last == 0 ? (int64_t)t->added : STREAM_READ_UNKNOWN;
    }
    must(stream_edge(s, true, &first));
    int to_first = stream_id_cmp(id, first);
    if (to_first <= 0 &&
        (stream_id_cmp(t->max_deleted, none) == 0 || stream_id_cmp(t->max_deleted, first) < 0)) {
        return (int64_t)(t->added - t->length) + (to_first == 0);
    }
    return STREAM_READ_UNKNOWN;
}

/* Was an entry behind `from` deleted by itself, as far as is known? */
static bool has_gaps(const struct stream *s, struct stream_id from)
{
    return s->state.length > 0 && stream_id_cmp(s->state.max_deleted, STREAM_ID_MIN) != 0 &&
           stream_id_cmp(from, s->state.max_deleted) <= 0;
}

/* Does what is left of the stream begin behind `last`? Then `gaps` says whether an entry of it was
 * deleted by itself. */
static bool begins_behind(const struct stream *s, struct stream_id last, bool *gaps)
{
    struct stream_id first;
    if (!stream_edge(s, true, &first)) {
        return false;
    }
    *gaps = stream_id_cmp(s->state.max_deleted, first) >= 0;
    return stream_id_cmp(last, first) < 0;
}

bool stream_lag(const struct stream *s, const struct stream_group *g, uint64_t *lag)
{
    int64_t read = g->read;
    bool gaps;
    if (s->state.length == 0 || (begins_behind(s, g->last, &gaps) && !gaps)) {
        *lag = s->state.length; /* all of it, however much went unread before */
        return true;
    }
    if (read == STREAM_READ_UNKNOWN || has_gaps(s, g->last)) {
        read = stream_distance(s, g->last);
    }
    *lag = s->state.added - (uint64_t)read;
    return read != STREAM_READ_UNKNOWN;
}

void stream_group_resume(const struct stream *s, struct stream_group *g)
{
    bool gaps;
    if (g->read != STREAM_READ_UNKNOWN && begins_behind(s, g->last, &gaps)) {
        g->read = STREAM_READ_UNKNOWN;
    }
}

void stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id)
{
    struct stream_id ahead = g->last;
    if (g->read != STREAM_READ_UNKNOWN && stream_id_next(&ahead) && !has_gaps(s, ahead)) {
        g->read = (int64_t)stream_counted((uint64_t)g->read);
    } else if (s->state.added > 0) {
        g->read = stream_distance(s, id);
    }
    g->last = id;
}

/* ---- Consumers ---- */

static uint64_t names_before(const struct stream *s, uint64_t group)
{
    return btree_rank(s->groups->names, group, S(""));
}

uint64_t stream_consumer_count(const struct stream *s, const struct stream_group *g)
{
    return names_before(s, g->number + 1) - names_before(s, g->number);
}

bool stream_consumer_by(const struct stream *s, uint64_t number, struct stream_consumer *out)
{
    struct owner o;
    struct slice name;
    if (!owner_find(s->groups, number, &o, &name) || o.group == 0) {
        return false;
    }
    *out = (struct stream_consumer){ name, number, o.group, o.seen, o.active };
    return true;
}

bool stream_consumer_at(const struct stream *s, const struct stream_group *g, uint64_t index,
                        struct stream_consumer *out)
{
    struct btree_item item;
    uint64_t number;
    if (!btree_at(s->groups->names, names_before(s, g->number) + index, &item) ||
        item.order != g->number) {
        return false;
    }
    memcpy(&number, item.value.p, sizeof number);
    must(stream_consumer_by(s, number, out));
    return true;
}

bool stream_consumer_find(const struct stream *s, const struct stream_group *g, struct slice name,
                          struct stream_consumer *out)
{
    uint64_t number;
    if (!name_find(s, g->number, name, &number)) {
        return false;
    }
    must(stream_consumer_by(s, number, out));
    return true;
}

int stream_consumer_add(struct stream *s, const struct stream_group *g, struct slice name,
                        int64_t seen, int64_t active)
{
    uint64_t number;
    if (name_find(s, g->number, name, &number)) {
        return 0;
    }
    struct owner o = { g->number, STREAM_ID_MIN, 0, seen, active };
    return owner_add(s->groups, g->number, name, &o);
}

void stream_consumer_set(struct stream *s, const struct stream_consumer *c)
{
    struct owner o = { c->group, STREAM_ID_MIN, 0, c->seen, c->active };
    owner_set(s->groups, c->number, &o);
}

#define PEND_BATCH 64 /* a record is looked up once, or once for as many that lie side by side */

/* The IDs of n records from rank on. */
static void pend_ids(const struct stream_groups *g, uint64_t rank, uint64_t n,
                     struct stream_id *ids)
{
    struct btree_iter it;
    struct btree_item item;
    uint64_t owner;
    btree_iter(&it, g->pending, rank, true);
    for (uint64_t i = 0; i < n; i++) {
        must(btree_next(&it, &item));
        pend_key_read(&item, &owner, &ids[i]);
    }
}

/* The group's records of n ascending IDs. */
static void pend_remove(struct stream_groups *g, uint64_t group, const struct stream_id *ids,
                        uint64_t n)
{
    uint64_t first = pend_rank(g, group, ids[0]);
    if (pend_rank(g, group, ids[n - 1]) - first == n - 1) { /* no other consumer's between them */
        must(btree_remove_range(g->pending, first, n) == n);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        struct pend_key k;
        pend_key(&k, group, ids[i]);
        must(btree_remove(g->pending, k.order, k.key));
    }
}

void stream_consumer_remove(struct stream *s, const struct stream_consumer *c)
{
    struct stream_groups *g = s->groups;
    uint64_t number = c->number, group = c->group, rank, n;
    struct stream_id ids[PEND_BATCH];
    pend_range(g, number, STREAM_ID_MIN, STREAM_ID_MAX, &rank, &n);
    must(group < number); /* so what the group has stands before: the next ones come to `rank` */
    for (uint64_t left = n, some; left > 0; left -= some) {
        some = u64_min(left, PEND_BATCH);
        pend_ids(g, rank, some, ids);
        pend_remove(g, group, ids, some);
    }
    must(btree_remove_range(g->pending, rank - n, n) == n);
    owner_remove(g, group, number);
}

/* ---- Pending entries ---- */

uint64_t stream_pending_count(const struct stream *s, uint64_t owner)
{
    uint64_t rank, n;
    pend_range(s->groups, owner, STREAM_ID_MIN, STREAM_ID_MAX, &rank, &n);
    return n;
}

static void pending_from(struct stream_pending *out, struct stream_id id, struct slice value)
{
    struct delivery d;
    must(value.n == sizeof d);
    memcpy(&d, value.p, sizeof d);
    *out = (struct stream_pending){ id, d.consumer, d.time, d.count };
}

bool stream_pending_find(const struct stream *s, const struct stream_group *g, struct stream_id id,
                         struct stream_pending *out)
{
    struct pend_key k;
    struct btree_item item;
    pend_key(&k, g->number, id);
    if (!btree_find(s->groups->pending, k.order, k.key, &item)) {
        return false;
    }
    pending_from(out, id, item.value);
    return true;
}

bool stream_pending_edge(const struct stream *s, const struct stream_group *g, bool first,
                         struct stream_pending *out)
{
    uint64_t rank, n, owner;
    struct btree_item item;
    struct stream_id id;
    pend_range(s->groups, g->number, STREAM_ID_MIN, STREAM_ID_MAX, &rank, &n);
    if (n == 0) {
        return false;
    }
    must(btree_at(s->groups->pending, first ? rank : rank + n - 1, &item));
    pend_key_read(&item, &owner, &id);
    pending_from(out, id, item.value);
    return true;
}

void stream_pend(struct stream *s, const struct stream_group *g, const struct stream_pending *p)
{
    struct btree *t = s->groups->pending;
    struct delivery was, d = { p->consumer, p->time, p->count };
    struct pend_key k, own;
    char *value;
    pend_key(&k, g->number, p->id);
    pend_key(&own, p->consumer, p->id);
    if (btree_edit(t, k.order, k.key, &value) > 0) {
        memcpy(&was, value, sizeof was);
        memcpy(value, &d, sizeof d);
        if (was.consumer == p->consumer) {
            return;
        }
        struct pend_key before;
        pend_key(&before, was.consumer, p->id);
        must(btree_remove(t, before.order, before.key));
    } else {
        int rc = btree_put(t, k.order, k.key, slice_of(&d, sizeof d), BTREE_NO_DUE);
        must(rc == 1);
    }
    int rc = btree_put(t, own.order, own.key, S(""), BTREE_NO_DUE);
    must(rc == 1);
}

bool stream_pending_remove(struct stream *s, const struct stream_group *g, struct stream_id id)
{
    struct stream_pending p;
    struct pend_key k;
    if (!stream_pending_find(s, g, id, &p)) {
        return false;
    }
    pend_key(&k, g->number, id);
    must(btree_remove(s->groups->pending, k.order, k.key));
    pend_key(&k, p.consumer, id);
    must(btree_remove(s->groups->pending, k.order, k.key));
    return true;
}

void stream_pending_iter(struct stream_pending_iter *it, const struct stream *s,
                         const struct stream_group *g, const struct stream_consumer *c,
                         struct stream_id first, struct stream_id last)
{
    uint64_t rank;
    it->s = s;
    it->group = g->number;
    it->by_consumer = c != NULL;
    pend_range(s->groups, c != NULL ? c->number : g->number, first, last, &rank, &it->left);
    btree_iter(&it->it, s->groups->pending, rank, true);
}

bool stream_pending_next(struct stream_pending_iter *it, struct stream_pending *out)
{
    struct btree_item item;
    struct stream_id id;
    uint64_t owner;
    if (it->left == 0) {
        return false;
    }
    it->left--;
    must(btree_next(&it->it, &item));
    pend_key_read(&item, &owner, &id);
    if (it->by_consumer) {
        struct stream_group g = { .number = it->group };
        must(stream_pending_find(it->s, &g, id, out));
    } else {
        pending_from(out, id, item.value);
    }
    return true;
}

/* ---- Check ---- */

static const char *check_consumer(const struct stream *s, const struct stream_group *g,
                                  const struct stream_consumer *c)
{
    struct stream_pending_iter it;
    struct stream_pending p;
    stream_pending_iter(&it, s, g, c, STREAM_ID_MIN, STREAM_ID_MAX);
    while (it.left > 0) {
        struct stream_pending_iter at = it;
        struct btree_item item;
        uint64_t owner;
        struct stream_id id;
        must(btree_next(&at.it, &item));
        pend_key_read(&item, &owner, &id);
        if (owner != c->number || item.value.n != 0 || !stream_pending_find(s, g, id, &p) ||
            p.consumer != c->number) {
            return "M4 pending for a consumer";
        }
        must(stream_pending_next(&it, &p));
    }
    return NULL;
}

static const char *check_group(const struct stream *s, const struct stream_group *g,
                               uint64_t *owners, uint64_t *pending)
{
    struct stream_consumer c;
    uint64_t of_group = stream_pending_count(s, g->number), of_consumers = 0;
    for (uint64_t i = 0; stream_consumer_at(s, g, i, &c); i++) {
        const char *bad = check_consumer(s, g, &c);
        if (bad != NULL) {
            return bad;
        }
        if (c.group != g->number) {
            return "M4 group of a consumer";
        }
        of_consumers += stream_pending_count(s, c.number);
        ++*owners;
    }
    *pending += of_group + of_consumers;
    return of_group == of_consumers ? NULL : "M4 pending for a group";
}

const char *stream_groups_check(const struct stream *s)
{
    const struct stream_groups *all = s->groups;
    struct stream_group g;
    uint64_t owners = 0, pending = 0;
    if (all == NULL) {
        return NULL;
    }
    const char *bad = btree_check(all->names);
    bad = bad != NULL ? bad : btree_check(all->owners);
    bad = bad != NULL ? bad : btree_check(all->pending);
    for (uint64_t i = 0; bad == NULL && stream_group_at(s, i, &g); i++) {
        owners++;
        bad = check_group(s, &g, &owners, &pending);
    }
    if (bad == NULL &&
        (btree_count(all->names) != owners || btree_count(all->owners) != 2 * owners)) {
        bad = "M4 names";
    }
    return bad == NULL && btree_count(all->pending) != pending ? "M4 pending for nobody" : bad;
}
