/* lock.c -- The slow half of the ranked mutex, futex calls, and the rank checks of debug builds.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * Three states (Drepper, "Futexes Are Tricky", mutex 2): only a holder that saw state 2 pays for a
 * wake-up call. A thread that has given up spinning takes the lock in state 2, because others may
 * be parked behind it.
 *
 * THREADS
 * Any. The list of held locks is thread-local. */
#include "base/lock.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_ROUNDS 100 /* some 4 us with pause at 40 ns: several times the longest usual hold */

_Static_assert(sizeof(struct lock) == 8, "1,024 shards own one each");

void lock_init(struct lock *l, enum lock_rank rank, unsigned order)
{
    must(order <= UINT16_MAX);
    atomic_init(&l->word, 0);
    l->rank = (uint16_t)rank;
    l->order = (uint16_t)order;
}

void lock_acquire_slow(struct lock *l)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        uint32_t seen = atomic_load_explicit(&l->word, memory_order_relaxed);
        if (seen == 0 && atomic_compare_exchange_weak_explicit(
                             &l->word, &seen, 1, memory_order_acquire, memory_order_relaxed)) {
            return;
        }
        cpu_relax();
    }
    while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0) {
        futex_wait(&l->word, 2, -1);
    }
}

void lock_release_slow(struct lock *l)
{
    futex_wake(&l->word, 1);
}

void futex_wait(_Atomic uint32_t *word, uint32_t expect, int64_t timeout_us)
{
    struct timespec ts = { timeout_us / 1000000, timeout_us % 1000000 * 1000 };
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expect, timeout_us < 0 ? NULL : &ts,
            NULL, 0);
}

void futex_wake(_Atomic uint32_t *word, int how_many)
{
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}

#ifdef KV_DEBUG
#define HELD_MAX 4160 /* all shards at their largest number, and a few others */

thread_local_fast struct {
    unsigned count;
    uint64_t assumed[2]; /* bit r: all locks of rank r count as held */
    const struct lock *lock[HELD_MAX];
} held;

static const char *rank_name(unsigned rank)
{
    switch ((enum lock_rank)rank) {
    case RANK_CONFIG: return "CONFIG";
    case RANK_SECTION: return "SECTION";
    case RANK_SHARD: return "SHARD";
    case RANK_CLIENTS: return "CLIENTS";
    case RANK_SCRIPTS: return "SCRIPTS";
    case RANK_CHANNELS: return "CHANNELS";
    case RANK_TRACKING: return "TRACKING";
    case RANK_MONITOR: return "MONITOR";
    case RANK_LOG_BEGIN: return "LOG_BEGIN";
    case RANK_WAL_TAKE: return "WAL_TAKE";
    case RANK_WAL_PUBLISH: return "WAL_PUBLISH";
    case RANK_WAL_FILES: return "WAL_FILES";
    case RANK_MAILBOX: return "MAILBOX";
    case RANK_LAZYFREE: return "LAZYFREE";
    case RANK_STATS: return "STATS";
    case RANK_LEAF: return "LEAF";
    }
    return "?";
}

static bool may_follow(const struct lock *taken, const struct lock *next)
{
    return next->rank > taken->rank ||
           (next->rank == RANK_SHARD && taken->rank == RANK_SHARD && next->order > taken->order);
}

void lock_note_acquire(struct lock *l)
{
    for (unsigned i = 0; i < held.count; i++) {
        const struct lock *h = held.lock[i];
        if (unlikely(!may_follow(h, l))) {
            char text[128];
            snprintf(text, sizeof text, "lock order: %s/%u taken while holding %s/%u",
                     rank_name(l->rank), l->order, rank_name(h->rank), h->order);
            must_failed(text, __FILE__, __LINE__, __func__);
        }
    }
    must(held.count < HELD_MAX);
    held.lock[held.count++] = l;
}

void lock_note_release(struct lock *l)
{
    for (unsigned i = held.count; i-- > 0;) {
        if (held.lock[i] == l) {
            held.lock[i] = held.lock[--held.count];
            return;
        }
    }
    char text[128];
    snprintf(text, sizeof text, "lock order: %s/%u released but not held", rank_name(l->rank),
             l->order);
    must_failed(text, __FILE__, __LINE__, __func__);
}

bool lock_is_mine(const struct lock *l)
{
    if ((held.assumed[l->rank / 64] >> l->rank % 64 & 1) != 0) {
        return true;
    }
    for (unsigned i = held.count; i-- > 0;) {
        if (held.lock[i] == l) {
            return true;
        }
    }
    return false;
}

void lock_assume_all(enum lock_rank rank, bool on)
{
    uint64_t bit = (uint64_t)1 << rank % 64;
    if (on) {
        held.assumed[rank / 64] |= bit;
    } else {
        held.assumed[rank / 64] &= ~bit;
    }
}
#endif
