/* lock.h -- A ranked mutex that spins briefly and then parks on a futex; futex sleep and wake.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * Shard locks are held for under a microsecond. A spin longer than that means the holder was
 * preempted: parking lets it run (more threads than cores must not collapse). 8 bytes, so that
 * 1,024 shards can each own one.
 *
 * THREADS
 * Any. Not recursive. Debug builds (KV_DEBUG) keep a per-thread list of held locks and abort on a
 * rank violation. */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include "base/base.h"
#include "base/lock_ranks.h"
#include <stdatomic.h>

struct lock {
    _Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody is parked */
    uint16_t rank;
    uint16_t order; /* among locks of the same rank; ascending */
};

void lock_init(struct lock *l, enum lock_rank rank, unsigned order);
void lock_acquire_slow(struct lock *l);
void lock_release_slow(struct lock *l);
#ifdef KV_DEBUG
void lock_note_acquire(struct lock *l);
void lock_note_release(struct lock *l);
bool lock_is_mine(const struct lock *l);
#else
static inline void lock_note_acquire(struct lock *l unused_arg)
{
}
static inline void lock_note_release(struct lock *l unused_arg)
{
}
#endif

static inline void lock_acquire(struct lock *l)
{
    lock_note_acquire(l);
    uint32_t expect = 0;
    if (unlikely(!atomic_compare_exchange_strong_explicit(
            &l->word, &expect, 1, memory_order_acquire, memory_order_relaxed))) {
        lock_acquire_slow(l);
    }
}
static inline must_check bool lock_try(struct lock *l)
{
    uint32_t expect = 0;
    if (!atomic_compare_exchange_strong_explicit(&l->word, &expect, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        return false;
    }
    lock_note_acquire(l);
    return true;
}
/* Nobody held it at some moment of the call: what earlier holders did is complete and visible, and
 * that is all there is behind what the caller read before of stores that they made with release. */
static inline bool lock_was_free(const struct lock *l)
{
    return atomic_load_explicit(&l->word, memory_order_acquire) == 0;
}
static inline void lock_release(struct lock *l)
{
    lock_note_release(l);
    if (unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)) {
        lock_release_slow(l);
    }
}

/* First line of every _locked function. In an exclusive section (exec/section) all shard locks
 * count as held: lock_assume_all(true) is set there for the calling thread. */
#ifdef KV_DEBUG
#define lock_assert_held(l) must(lock_is_mine(l))
void lock_assume_all(enum lock_rank rank, bool on);
#else
#define lock_assert_held(l) ((void)0)
static inline void lock_assume_all(enum lock_rank rank unused_arg, bool on unused_arg)
{
}
#endif

/* Futex sleep: returns at once if *word != expect; spurious returns are normal; timeout_us < 0
 * waits for ever. */
void futex_wait(_Atomic uint32_t *word, uint32_t expect, int64_t timeout_us);
void futex_wake(_Atomic uint32_t *word, int how_many);
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}
#endif
