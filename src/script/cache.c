/* cache.c -- The scripts that EVALSHA finds, and which of them are evicted.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EVICTION   A client may make a text of its own for each EVAL. What only EVAL brought is limited:
 *            one more, and the one that ran longest ago goes. What SCRIPT LOAD brought stays until
 *            SCRIPT FLUSH, as since Redis 7.4.
 * LIFETIME   A script belongs to the cache and to each Lua state that compiled it, which may run it
 *            just now: the last of them frees it. States let go of evicted ones, a number of them
 *            at a time, when nothing runs in them.
 * LOCKS      scripts.lock over the tree and what may be evicted; a state is its worker's. */
#include "script/script_int.h"
#include "base/mem.h"
#include <search.h>
#include <string.h>

#define LET_GO_AT 64 /* evictions that a state waits for */

static int by_sha(const void *a, const void *b)
{
    return strcmp(((const struct script *)a)->sha, ((const struct script *)b)->sha);
}

static void release(void *script)
{
    struct script *sc = script;
    if (atomic_fetch_sub_explicit(&sc->owners, 1, memory_order_acq_rel) == 1) {
        mem_free(sc);
    }
}

/* Scripts that ran at once in two workers are equally old. */
void cache_used(struct scripts *s, struct script *sc)
{
    uint64_t newest = atomic_load_explicit(&s->uses, memory_order_relaxed);
    if (atomic_load_explicit(&sc->used, memory_order_relaxed) != newest) {
        newest = atomic_fetch_add_explicit(&s->uses, 1, memory_order_relaxed) + 1;
        atomic_store_explicit(&sc->used, newest, memory_order_relaxed);
    }
}

struct script *cache_new(struct scripts *s, const char sha[41], struct slice text, unsigned flags)
{
    struct script *sc = mem_try_alloc(sizeof *sc + s->nvm * sizeof sc->held[0] + text.n);
    if (sc == NULL) {
        return NULL;
    }
    memcpy(sc->sha, sha, sizeof sc->sha);
    sc->flags = flags;
    atomic_init(&sc->alone, false);
    atomic_init(&sc->evicted, false);
    atomic_init(&sc->owners, 1);
    atomic_init(&sc->used, UINT64_MAX); /* never */
    memset(sc->held, 0, s->nvm * sizeof sc->held[0]);
    char *copy = (char *)&sc->held[s->nvm];
    memcpy(copy, text.p, text.n);
    sc->text = slice_of(copy, text.n);
    return sc;
}

void cache_discard(struct script *sc)
{
    release(sc);
}

/* ---- Under the lock ---- */

static void keep_for_good(struct scripts *s, const struct script *sc)
{
    for (unsigned i = 0; i < s->nevictable; i++) {
        if (s->evictable[i] == sc) {
            s->evictable[i] = s->evictable[--s->nevictable];
            return;
        }
    }
}

static void evict_oldest(struct scripts *s)
{
    unsigned oldest = 0;
    for (unsigned i = 1; i < s->nevictable; i++) {
        if (atomic_load_explicit(&s->evictable[i]->used, memory_order_relaxed) <
            atomic_load_explicit(&s->evictable[oldest]->used, memory_order_relaxed)) {
            oldest = i;
        }
    }
    struct script *sc = s->evictable[oldest];
    s->evictable[oldest] = s->evictable[--s->nevictable];
    (void)tdelete(sc, &s->cache, by_sha);
    s->cached--;
    s->cache_bytes -= sizeof *sc + sc->text.n;
    atomic_store_explicit(&sc->evicted, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->evictions, 1, memory_order_relaxed);
    release(sc);
}

static void hold(struct vm *vm, struct script *sc)
{
    if (sc->held[vm->id]) {
        return;
    }
    if (vm->nheld == vm->held_cap) {
        vm->held_cap = vm->held_cap == 0 ? 16 : vm->held_cap * 2;
        vm->held = mem_realloc(vm->held, vm->held_cap * sizeof(struct script *));
    }
    vm->held[vm->nheld++] = sc;
    sc->held[vm->id] = true;
    atomic_fetch_add_explicit(&sc->owners, 1, memory_order_relaxed);
}

static struct script *find(struct scripts *s, const char *sha)
{
    struct script want;
    memcpy(want.sha, sha, sizeof want.sha);
    struct script **at = tfind(&want, &s->cache, by_sha);
    return at != NULL ? *at : NULL;
}

/* ---- What others call ---- */

struct script *cache_find(struct vm *vm, const char *sha, bool keep)
{
    struct scripts *s = vm->s;
    lock_acquire(&s->lock);
    struct script *found = find(s, sha);
    if (found != NULL) {
        hold(vm, found);
        if (keep) {
            keep_for_good(s, found);
        }
    }
    lock_release(&s->lock);
    return found;
}

bool cache_has(struct scripts *s, const char *sha, unsigned *flags)
{
    lock_acquire(&s->lock);
    const struct script *found = find(s, sha);
    if (found != NULL) {
        *flags = found->flags;
    }
    lock_release(&s->lock);
    return found != NULL;
}

struct script *cache_add(struct vm *vm, struct script *new, bool keep)
{
    struct scripts *s = vm->s;
    cache_used(s, new);
    lock_acquire(&s->lock);
    struct script **at = tsearch(new, &s->cache, by_sha);
    must(at != NULL);
    struct script *there = *at;
    if (there == new) {
        s->cached++;
        s->cache_bytes += sizeof *new + new->text.n;
        if (!keep) {
            if (s->nevictable == EVICTABLE_MAX) {
                evict_oldest(s);
            }
            s->evictable[s->nevictable++] = new;
        }
    } else if (keep) {
        keep_for_good(s, there);
    }
    hold(vm, there);
    lock_release(&s->lock);
    if (there != new) {
        release(new);
    }
    return there;
}

void cache_clear(struct scripts *s)
{
    lock_acquire(&s->lock);
    tdestroy(s->cache, release);
    s->cache = NULL;
    s->cached = 0;
    s->cache_bytes = 0;
    s->nevictable = 0;
    lock_release(&s->lock);
    atomic_fetch_add(&s->cache_generation, 1);
}

/* ---- A state's share ---- */

static void let_go(struct vm *vm, struct script *sc)
{
    recent_forget(vm, sc);
    lua_getfield(vm->L, LUA_REGISTRYINDEX, "scripts");
    lua_pushnil(vm->L);
    lua_setfield(vm->L, -2, sc->sha);
    lua_pop(vm->L, 1);
    sc->held[vm->id] = false;
    release(sc);
}

void cache_let_go(struct vm *vm)
{
    uint64_t evictions = atomic_load_explicit(&vm->s->evictions, memory_order_relaxed);
    if (likely(evictions - vm->evictions < LET_GO_AT)) {
        return;
    }
    vm->evictions = evictions;
    unsigned left = 0;
    for (unsigned i = 0; i < vm->nheld; i++) {
        struct script *sc = vm->held[i];
        if (atomic_load_explicit(&sc->evicted, memory_order_relaxed)) {
            let_go(vm, sc);
        } else {
            vm->held[left++] = sc;
        }
    }
    vm->nheld = left;
}

void cache_leave(struct vm *vm)
{
    for (unsigned i = 0; i < vm->nheld; i++) {
        vm->held[i]->held[vm->id] = false;
        release(vm->held[i]);
    }
    mem_free(vm->held);
}
