/* btree_int.h -- The pages and nodes of a btree.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to btree*.c and the test that damages one on purpose.
 *
 *     | struct btree_page | order .. | off .. | unused | record .. |
 *                         ^ order[0]  ^ order[n]                   ^ end
 *
 * Orders stand together because a search looks at nothing else until it has found one: 64 bytes
 * hold eight. off[i] is the distance of record i from the end of the page, so that a page grows
 * without a change of them. Records lie in any sequence. One is
 *
 *     u8      bits 0: it has a value; 1: it has a due time; 2..7: bytes of the key, or KLEN_U16:
 *             they follow as u16, or KLEN_BIG: the rest is the pointer to a struct btree_big
 *     u8      bytes of the value, if there is one; 255: they follow as u16
 *     i64     due, if there is one
 *     key, value
 *
 * Functions that change a page need it unshared (refs == 1); those that return a page give its
 * address from then on. */
#ifndef DS_BTREE_INT_H
#define DS_BTREE_INT_H

#include "ds/btree.h"
#include <stdatomic.h>

/* Head of pages and nodes alike. */
struct btree_node {
    _Atomic uint32_t refs; /* nodes and trees that point here; > 1: immutable */
    uint16_t n;            /* records of a page, children of a node */
    uint8_t level;         /* 0: page */
};

struct btree_page {
    struct btree_node node;
    uint16_t cap;       /* bytes behind this head */
    uint16_t heap;      /* of those, at the end: records and what was left by removed ones */
    uint16_t dead;      /* of those: left by removed ones */
    uint16_t nbig;      /* records that are big */
    uint64_t big_bytes; /* and their allocations */
    uint64_t order[];
};
_Static_assert(sizeof(struct btree_page) == 24, "the head of small trees");

struct btree_big {
    _Atomic uint32_t refs; /* pages that point here; never changes but for this */
    uint32_t klen, vlen;
    int64_t due;
    char bytes[]; /* key, value */
};

#define BTREE_ROOM_MAX   (8192 - sizeof(struct btree_page))
#define BTREE_RECORD_MAX 1024u /* bigger ones would leave a page with few of them */
#define BTREE_SLOT       10u   /* order and off of a record */

#define BTREE_FANOUT 62 /* makes a node 1.5 KiB, less the allocator's rounding */

struct btree_sum {
    uint64_t count, pages;
    uint64_t bytes; /* of the allocations: pages, big records, nodes */
};

struct btree_inner {
    struct btree_node node;
    struct btree_sum sum;        /* over the children, and this node's own bytes */
    uint64_t from[BTREE_FANOUT]; /* T4; from[0] says nothing */
    struct btree_node *child[BTREE_FANOUT];
    uint64_t count[BTREE_FANOUT]; /* records below each child */
};
_Static_assert(sizeof(struct btree_inner) <= 1536, "a node fits its allocation class");

struct btree {
    struct btree_node *root; /* NULL: empty */
};

static inline struct btree_inner *btree_inner_of(const struct btree_node *n)
{
    return (struct btree_inner *)(uintptr_t)n;
}

static inline struct btree_page *btree_page_of(const struct btree_node *n)
{
    return (struct btree_page *)(uintptr_t)n;
}

static inline struct btree_node *btree_node_ref(struct btree_node *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

/* The load that reads 1 is an acquire: it pairs with the release by which another holder ended its
 * reading. */
static inline bool btree_owned(struct btree_node *n)
{
    return atomic_load_explicit(&n->refs, memory_order_acquire) == 1;
}

/* ---- Records ---- */

/* A record to be put in. */
struct btree_fresh {
    struct btree_item item;
    uint32_t size;         /* in a page */
    struct btree_big *big; /* has key, value and due, if not NULL; owned */
};
/* 0; -ENOMEM. */
must_check int btree_fresh_make(struct btree_fresh *f, const struct btree_item *item);

/* ---- Pages ---- */

static inline const uint16_t *btree_page_off(const struct btree_page *p)
{
    return (const uint16_t *)(p->order + p->node.n);
}

static inline const uint8_t *btree_page_record(const struct btree_page *p, unsigned i)
{
    return (const uint8_t *)p->order + p->cap - btree_page_off(p)[i];
}

static inline uint32_t btree_page_live(const struct btree_page *p)
{
    return p->node.n * BTREE_SLOT + p->heap - p->dead;
}

static inline bool btree_page_takes(const struct btree_page *p, uint32_t size)
{
    return btree_page_live(p) + BTREE_SLOT + size <= BTREE_ROOM_MAX;
}

static inline size_t btree_page_mem(const struct btree_page *p)
{
    return sizeof *p + p->cap;
}

#define HAS_VALUE 1u
#define HAS_DUE   2u
#define KLEN_U16  62u
#define KLEN_BIG  63u
#define VLEN_U16  255u

uint32_t btree_record_read(const uint8_t *at, struct btree_item *out); /* bytes in the page */
uint32_t btree_record_size(const uint8_t *at);
static inline void btree_page_get(const struct btree_page *p, unsigned i, struct btree_item *out)
{
    const uint8_t *at = btree_page_record(p, i);
    uint8_t head = at[0];
    out->order = p->order[i];
    /* The usual ones here: a loop over the members of a sorted set is little else. */
    if (likely((head & HAS_DUE) == 0 && head >> 2 < KLEN_U16 &&
               !((head & HAS_VALUE) != 0 && at[1] == VLEN_U16))) {
        unsigned has = head & HAS_VALUE;
        out->key = slice_of(at + 1 + has, head >> 2);
        out->value = slice_of(at + 1 + has + (head >> 2), has != 0 ? at[1] : 0);
        out->due = BTREE_NO_DUE;
        return;
    }
    btree_record_read(at, out);
}

/* Where (order, key) is, or would be: then false. The guess may be any number. */
bool btree_page_search(const struct btree_page *p, uint64_t order, struct slice key, unsigned guess,
                       unsigned *at);
/* Fetches the record that such a search would compare first; which it is, or how many there are. */
unsigned btree_page_ahead(const struct btree_page *p, uint64_t order, unsigned guess);
int btree_page_compare(const struct btree_page *p, unsigned i, uint64_t order, struct slice key);

struct btree_page *btree_page_new(const struct btree_fresh *f);
struct btree_page *btree_page_copy(const struct btree_page *p); /* with room to grow */
struct btree_page *btree_page_part(const struct btree_page *p, unsigned from, unsigned to);
struct btree_page *btree_page_join(const struct btree_page *a, const struct btree_page *b);
void btree_page_drop(struct btree_page *p); /* the last holder */

/* It takes the record (btree_page_takes). */
struct btree_page *btree_page_insert(struct btree_page *p, unsigned at,
                                     const struct btree_fresh *f);
/* The same for the record that is there; NULL: the page is full, that record is gone. */
struct btree_page *btree_page_replace(struct btree_page *p, unsigned at,
                                      const struct btree_fresh *f);
/* Would the record at `at`, which has the item's key, keep its form with the item's value and due?
 * Then btree_page_write() gives it those. */
bool btree_page_like(const struct btree_page *p, unsigned at, const struct btree_item *item);
void btree_page_write(struct btree_page *p, unsigned at, const struct btree_item *item);
void btree_page_delete(struct btree_page *p, unsigned from, unsigned n);
char *btree_page_edit(struct btree_page *p, unsigned at); /* its value; NULL: no memory */
struct btree_page *btree_page_fit(struct btree_page *p);  /* gives back what is mostly unused */
/* Where to split so that both sides are of about the same size. */
unsigned btree_page_middle(const struct btree_page *p);
const char *btree_page_check(const struct btree_page *p);

/* ---- The tree ---- */

void btree_node_release(struct btree_node *n);

static inline struct btree_sum btree_node_sum(const struct btree_node *n)
{
    if (n->level > 0) {
        return btree_inner_of(n)->sum;
    }
    const struct btree_page *p = btree_page_of(n);
    return (struct btree_sum){ n->n, 1u + p->nbig, btree_page_mem(p) + p->big_bytes };
}

/* The paths of a tree that is not empty. After insert, remove, tidy and cut a path is stale. */
bool btree_path_find(const struct btree *t, uint64_t order, struct slice key, struct btree_path *p);
/* A page in which the order is or belongs, one of several if records share it, and where in it to
 * guess: good enough for fetching. The page is not read, only fetched. The root is no page. */
const struct btree_page *btree_page_guess(const struct btree *t, uint64_t order, unsigned *guess);
void btree_path_rank(const struct btree *t, uint64_t rank, struct btree_path *p); /* < count */
must_check bool btree_path_step(struct btree_path *p, bool forward); /* false: path unchanged */

void btree_path_own_nodes(struct btree *t, struct btree_path *p);
void btree_path_own(struct btree *t, struct btree_path *p); /* the page, too */
/* The owned page of the path, whose sum was `was`, is now at `now`. */
void btree_path_changed(struct btree *t, struct btree_path *p, struct btree_page *now,
                        const struct btree_sum *was);
/* No record stands behind (or before) the page. */
bool btree_path_at_edge(const struct btree_path *p, bool last);

/* Structure; they own the nodes of the path themselves. */
void btree_tree_insert(struct btree *t, struct btree_path *p, struct btree_page *page, bool after);
void btree_tree_remove(struct btree *t, struct btree_path *p);   /* drops the page */
void btree_tree_tidy(struct btree *t, struct btree_path *p);     /* joins small neighbours */
void btree_tree_cut(struct btree *t, uint64_t from, uint64_t n); /* from + n <= count */
const char *btree_tree_check(const struct btree *t);
#endif
