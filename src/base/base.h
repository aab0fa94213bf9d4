/* base.h -- What every file needs: assertions that stay on, and a few compiler words.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)         __builtin_expect(!!(x), 1)
#define unlikely(x)       __builtin_expect(!!(x), 0)
#define countof(a)        (sizeof(a) / sizeof((a)[0]))
#define must_check        __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define cacheline_aligned __attribute__((aligned(64)))
#define unused_arg        __attribute__((unused))

/* A thread-local that server threads read on hot paths (initial-exec: no call to resolve it). */
#define thread_local_fast static _Thread_local __attribute__((tls_model("initial-exec")))

/* must(x): x cannot be false unless there is a bug. Always compiled in. On failure the process logs
 * the place with a stack trace and aborts. Never used for what the outside world (disk, peer,
 * client, memory) can cause: those are returned and tested. */
#define must(x)          ((void)(likely(x) || (must_failed(#x, __FILE__, __LINE__, __func__), 0)))
#define must_not_reach() must_failed("reached", __FILE__, __LINE__, __func__)
_Noreturn void must_failed(const char *what, const char *file, int line, const char *func);

/* Called by must_failed() before it aborts; the server installs its crash report here, once, at
 * start. A failure inside the hook aborts at once. */
void must_set_hook(void (*hook)(const char *what, const char *file, int line));

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}
static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Checked size arithmetic: false (and *out untouched) on overflow. */
static inline must_check bool size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    return !__builtin_add_overflow(a, b, &sum) && (*out = sum, true);
}
static inline must_check bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    return !__builtin_mul_overflow(a, b, &product) && (*out = product, true);
}
#endif
