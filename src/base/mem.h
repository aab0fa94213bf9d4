/* mem.h -- The allocator seam: jemalloc (or libc under a sanitizer), counted, failable on demand.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * Two kinds of request. mem_alloc() is for sizes the code chooses: it never returns NULL; when the
 * machine has no memory left the process logs that and exits with EXIT_NOMEM (nothing acknowledged
 * is lost: it is in the log). mem_try_alloc() is for sizes a client can choose (arguments, values,
 * reply buffers; rule of thumb: anything that may exceed 64 KiB): it returns NULL and the caller
 * answers -OOM and leaves its object as it was.
 *
 * THREADS  Any.
 * FAULTS   "mem.alloc" fails mem_try_alloc(), mem_try_calloc() and mem_try_realloc(). "mem.large"
 * fails mem_alloc() and mem_realloc() of 64 KiB and more, which ends the process: it shows that
 * none is of a size that a client has chosen. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include "base/base.h"

#define EXIT_NOMEM 71

void *mem_alloc(size_t n) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_calloc(size_t n) __attribute__((malloc, alloc_size(1), returns_nonnull)); /* zeroed */
void *mem_realloc(void *p, size_t n) __attribute__((alloc_size(2), returns_nonnull));
void *mem_try_alloc(size_t n) __attribute__((malloc, alloc_size(1))) must_check;
void *mem_try_calloc(size_t n) __attribute__((malloc, alloc_size(1))) must_check;
/* On NULL p is still valid. */
void *mem_try_realloc(void *p, size_t n) __attribute__((alloc_size(2))) must_check;
/* align: a power of two, at least sizeof(void *); free with mem_free(). */
void *mem_aligned(size_t align, size_t n) __attribute__((malloc, returns_nonnull));
/* A mapping of n bytes, zeroed, aligned to a page, for a buffer that is there from start to end and
 * mostly idle: only what was touched is resident, and mem_used() does not count it. */
void *mem_map(size_t n) __attribute__((returns_nonnull));
void mem_unmap(void *p, size_t n);      /* NULL is fine */
void mem_free(void *p);                 /* NULL is fine */
char *mem_dup(const void *p, size_t n); /* copy of n bytes and a NUL (not counted in n) */
char *mem_strdup(const char *s);
size_t mem_usable(const void *p); /* what the allocation can really hold; NULL gives 0 */
size_t mem_good_size(size_t n);   /* the size the allocator would really give for n (>= n) */

/* Bytes allocated and not freed in this process (under a sanitizer: through this module); sums
 * per-thread counters and may lag by what other threads do meanwhile. Takes a short lock: ask once
 * per loop turn, not per command.
 * mem_thread_start() registers the calling thread: each server thread calls it first (the main
 * thread need not) and mem_thread_stop() last. Threads that do neither are not counted. */
size_t mem_used(void);
void mem_thread_start(void);
void mem_thread_stop(void);

size_t mem_rss(void);          /* resident set in bytes, from /proc/self; 0 when unreadable */
size_t mem_total(void);        /* physical memory of the machine */
const char *mem_library(void); /* "jemalloc-5.3.0" or "libc" */

/* Allocator numbers for INFO memory and MEMORY STATS; zero where the allocator has none. */
struct mem_stats {
    size_t allocated, active, resident, retained, muzzy;
};
void mem_stats(struct mem_stats *out);
/* Reads and, with new_len > 0, writes one of the allocator's own settings by name ("arenas.page").
 * 0 or -errno; -ENOTSUP: it has none. */
must_check int mem_setting(const char *name, void *old, size_t *old_len, void *to, size_t new_len);
void mem_purge(void); /* give dirty pages back to the system */
/* The allocator's own report, in pieces of text that carry their line ends. */
void mem_report(void (*piece)(void *arg, const char *text), void *arg);
#endif
