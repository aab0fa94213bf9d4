/* heap.c -- A binary min-heap whose entries can be removed from the middle.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Timers and gates come mostly in ascending order, where a push costs one compare; but any
 *     order must stay cheap, and a connection may leave at any time.
 *
 * INVARIANTS
 *     I1 a[i].key >= a[(i - 1) / 2].key
 *     I2 *a[i].place == i
 *     Checked by heap_check(). */
#include "net/net_int.h"
#include "base/mem.h"

static void put(struct heap *h, uint32_t at, struct heap_entry e)
{
    h->a[at] = e;
    *e.place = at;
}

static void sift_up(struct heap *h, uint32_t at, struct heap_entry e)
{
    while (at > 0 && h->a[(at - 1) / 2].key > e.key) {
        put(h, at, h->a[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(h, at, e);
}

static void sift_down(struct heap *h, uint32_t at, struct heap_entry e)
{
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= h->n) {
            break;
        }
        if (child + 1 < h->n && h->a[child + 1].key < h->a[child].key) {
            child++;
        }
        if (h->a[child].key >= e.key) {
            break;
        }
        put(h, at, h->a[child]);
        at = child;
    }
    put(h, at, e);
}

void heap_push(struct heap *h, uint64_t key, uint32_t *place)
{
    if (h->n == h->cap) {
        h->cap = h->cap != 0 ? h->cap * 2 : 64;
        h->a = mem_realloc(h->a, h->cap * sizeof *h->a);
    }
    sift_up(h, h->n++, (struct heap_entry){ key, place });
}

void heap_remove(struct heap *h, uint32_t place)
{
    must(place < h->n && *h->a[place].place == place);
    *h->a[place].place = HEAP_NONE;
    struct heap_entry last = h->a[--h->n];
    if (place == h->n) {
        return;
    }
    if (place > 0 && h->a[(place - 1) / 2].key > last.key) {
        sift_up(h, place, last);
    } else {
        sift_down(h, place, last);
    }
}

void heap_free(struct heap *h)
{
    mem_free(h->a);
    *h = (struct heap){ 0 };
}

void heap_check(const struct heap *h)
{
    for (uint32_t i = 0; i < h->n; i++) {
        must(*h->a[i].place == i);
        must(i == 0 || h->a[i].key >= h->a[(i - 1) / 2].key);
    }
}
