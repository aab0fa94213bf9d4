/* mem.c -- The allocator seam over jemalloc, or over libc where a sanitizer owns malloc.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * jemalloc keeps two byte counters per thread (allocated, freed). Reading those costs the
 * allocation path nothing; a counter of our own would cost a size lookup on each call. A block that
 * another thread frees than the one that allocated it is right in the sum.
 *
 * THREADS
 * Any. The counters of a thread live in its thread-local memory, so that mem_thread_stop() must run
 * before it ends.
 *
 * LOCKS
 * counters.mutex, a plain mutex outside the ranks: it may be taken under any lock, nothing is taken
 * under it. It keeps a thread from ending while mem_used() reads its counters.
 *
 * FAILURE
 * See mem.h. Sizes above MEM_SIZE_MAX fail without asking the allocator. */
#include "base/mem.h"
#include "base/fault.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef KV_SANITIZE
#include <jemalloc/jemalloc.h>
#endif

/* Beyond any machine's memory; sanitizers abort on larger requests instead of failing them. */
#define MEM_SIZE_MAX ((size_t)1 << 39)

static _Noreturn void out_of_memory(size_t n)
{
    char text[128];
    snprintf(text, sizeof text, "=== out of memory: %zu bytes; exit %d ===\n", n, EXIT_NOMEM);
    log_raw(text);
    _exit(EXIT_NOMEM);
}

#ifdef KV_SANITIZE
static _Atomic int64_t counted;

static void *note_new(void *p)
{
    if (p != NULL) {
        atomic_fetch_add_explicit(&counted, (int64_t)malloc_usable_size(p), memory_order_relaxed);
    }
    return p;
}

static void note_free(size_t usable)
{
    atomic_fetch_sub_explicit(&counted, (int64_t)usable, memory_order_relaxed);
}

size_t mem_used(void)
{
    int64_t sum = atomic_load_explicit(&counted, memory_order_relaxed);
    return sum > 0 ? (size_t)sum : 0;
}

void mem_thread_start(void)
{
}

void mem_thread_stop(void)
{
}
#else
#define MEM_THREADS_MAX 1024 /* reactors (64), writers, background threads, and room for tests */

struct thread_counters {
    const uint64_t *allocated, *freed;
};
static struct {
    pthread_mutex_t mutex;
    struct thread_counters thread[MEM_THREADS_MAX];
    unsigned count;
    int64_t ended; /* balance of the threads that stopped */
} counters = { .mutex = PTHREAD_MUTEX_INITIALIZER };

thread_local_fast struct thread_counters own;
thread_local_fast int64_t own_ended; /* this thread's part of counters.ended, should it return */

static inline void *note_new(void *p)
{
    return p;
}

static inline void note_free(size_t usable unused_arg)
{
}

static int64_t balance(const struct thread_counters *t)
{
    /* Freed first: what is allocated and freed in between can then only add to the sum, never drive
     * it below the truth. */
    uint64_t freed = __atomic_load_n(t->freed, __ATOMIC_ACQUIRE);
    return (int64_t)(__atomic_load_n(t->allocated, __ATOMIC_RELAXED) - freed);
}

void mem_thread_start(void)
{
    if (own.allocated != NULL) {
        return;
    }
    uint64_t *allocated = NULL, *freed = NULL;
    size_t len = sizeof allocated;
    int err = mallctl("thread.allocatedp", &allocated, &len, NULL, 0);
    err |= mallctl("thread.deallocatedp", &freed, &len, NULL, 0);
    must(err == 0);
    own = (struct thread_counters){ allocated, freed };
    pthread_mutex_lock(&counters.mutex);
    must(counters.count < MEM_THREADS_MAX);
    counters.thread[counters.count++] = own;
    counters.ended -= own_ended;
    pthread_mutex_unlock(&counters.mutex);
}

void mem_thread_stop(void)
{
    if (own.allocated == NULL) {
        return;
    }
    pthread_mutex_lock(&counters.mutex);
    unsigned i = 0;
    while (counters.thread[i].allocated != own.allocated) {
        i++;
        must(i < counters.count);
    }
    own_ended = balance(&own);
    counters.ended += own_ended;
    counters.thread[i] = counters.thread[--counters.count];
    pthread_mutex_unlock(&counters.mutex);
    own = (struct thread_counters){ NULL, NULL };
}

__attribute__((constructor)) static void register_main_thread(void)
{
    mem_thread_start();
}

size_t mem_used(void)
{
    pthread_mutex_lock(&counters.mutex);
    int64_t sum = counters.ended;
    for (unsigned i = 0; i < counters.count; i++) {
        sum += balance(&counters.thread[i]);
    }
    pthread_mutex_unlock(&counters.mutex);
    return sum > 0 ? (size_t)sum : 0;
}
#endif

#define LARGE ((size_t)64 * 1024) /* nothing that the code alone chooses and often */

void *mem_alloc(size_t n)
{
    bool none = n >= LARGE && fault("mem.large") != 0;
    void *p = n <= MEM_SIZE_MAX && !none ? note_new(malloc(n)) : NULL;
    if (unlikely(p == NULL)) {
        out_of_memory(n);
    }
    return p;
}

void *mem_calloc(size_t n)
{
    void *p = n <= MEM_SIZE_MAX ? note_new(calloc(1, n)) : NULL;
    if (unlikely(p == NULL)) {
        out_of_memory(n);
    }
    return p;
}

/* realloc() to 0 bytes may free: never asked for. */
static void *resize(void *p, size_t n)
{
    if (unlikely(n > MEM_SIZE_MAX)) {
        return NULL;
    }
#ifdef KV_SANITIZE
    size_t before = mem_usable(p);
#else
    size_t before = 0;
#endif
    void *q = realloc(p, n > 0 ? n : 1);
    if (likely(q != NULL)) {
        note_free(before);
        note_new(q);
    }
    return q;
}

void *mem_realloc(void *p, size_t n)
{
    bool none = n >= LARGE && fault("mem.large") != 0;
    void *q = !none ? resize(p, n) : NULL;
    if (unlikely(q == NULL)) {
        out_of_memory(n);
    }
    return q;
}

void *mem_try_alloc(size_t n)
{
    if (fault("mem.alloc") || n > MEM_SIZE_MAX) {
        return NULL;
    }
    return note_new(malloc(n));
}

void *mem_try_calloc(size_t n)
{
    if (fault("mem.alloc") || n > MEM_SIZE_MAX) {
        return NULL;
    }
    return note_new(calloc(1, n));
}

void *mem_try_realloc(void *p, size_t n)
{
    return fault("mem.alloc") ? NULL : resize(p, n);
}

void *mem_aligned(size_t align, size_t n)
{
    void *p = NULL;
    if (n > MEM_SIZE_MAX || posix_memalign(&p, align, n > 0 ? n : 1) != 0) {
        out_of_memory(n);
    }
    return note_new(p);
}

void *mem_map(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        out_of_memory(n);
    }
    return p;
}

void mem_unmap(void *p, size_t n)
{
    must(p == NULL || munmap(p, n) == 0);
}

void mem_free(void *p)
{
#ifdef KV_SANITIZE
    note_free(mem_usable(p));
#endif
    free(p);
}

char *mem_dup(const void *p, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (n > 0) {
        memcpy(copy, p, n);
    }
    copy[n] = '\0';
    return copy;
}

char *mem_strdup(const char *s)
{
    return mem_dup(s, strlen(s));
}

size_t mem_usable(const void *p)
{
    return p != NULL ? malloc_usable_size((void *)(uintptr_t)p) : 0;
}

static size_t proc_self_rss_pages(void)
{
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    char text[128];
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    const char *second = strchr(text, ' ');
    return second != NULL ? strtoull(second, NULL, 10) : 0;
}

size_t mem_rss(void)
{
    return proc_self_rss_pages() * (size_t)sysconf(_SC_PAGESIZE);
}

size_t mem_total(void)
{
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

#ifdef KV_SANITIZE
size_t mem_good_size(size_t n)
{
    return n;
}

const char *mem_library(void)
{
    return "libc";
}

void mem_stats(struct mem_stats *out)
{
    *out = (struct mem_stats){ .allocated = mem_used() };
}

int mem_setting(const char *name unused_arg, void *old unused_arg, size_t *old_len unused_arg,
                void *to unused_arg, size_t new_len unused_arg)
{
    return -ENOTSUP;
}

void mem_purge(void)
{
}

void mem_report(void (*piece)(void *arg, const char *text), void *arg)
{
    piece(arg, "Stats not supported for the current allocator");
}
#else
size_t mem_good_size(size_t n)
{
    return n <= MEM_SIZE_MAX ? nallocx(n > 0 ? n : 1, 0) : n;
}

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *mem_library(void)
{
    return "jemalloc-" TEXT(JEMALLOC_VERSION_MAJOR) "." TEXT(JEMALLOC_VERSION_MINOR) "." TEXT(
        JEMALLOC_VERSION_BUGFIX);
}

static size_t stat_of(const char *name)
{
    size_t value = 0, len = sizeof value;
    return mallctl(name, &value, &len, NULL, 0) == 0 ? value : 0;
}

void mem_stats(struct mem_stats *out)
{
    /* jemalloc answers from a snapshot that is taken when the epoch is written. */
    uint64_t epoch = 1;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    out->allocated = stat_of("stats.allocated");
    out->active = stat_of("stats.active");
    out->resident = stat_of("stats.resident");
    out->retained = stat_of("stats.retained");
    out->muzzy =
        stat_of("stats.arenas." TEXT(MALLCTL_ARENAS_ALL) ".pmuzzy") * stat_of("arenas.page");
}

int mem_setting(const char *name, void *old, size_t *old_len, void *to, size_t new_len)
{
    return -mallctl(name, old, old_len, new_len > 0 ? to : NULL, new_len);
}

void mem_purge(void)
{
    mallctl("arena." TEXT(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0);
}

void mem_report(void (*piece)(void *arg, const char *text), void *arg)
{
    malloc_stats_print(piece, arg, NULL);
}
#endif
