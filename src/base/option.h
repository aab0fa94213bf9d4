/* option.h -- How a module declares its configuration directives and its metrics; server/ composes
 * them. SPDX-License-Identifier: BSD-3-Clause
 *
 * A module keeps its settings in a struct of its own and declares one table of struct option with
 * offsets into that struct. server/ binds the table to the struct, parses files and CONFIG SET into
 * it, prints CONFIG GET and REWRITE from it, and checks kv.conf against it. THREADS  Values are
 * written by one thread at a time (CONFIG SET runs in an exclusive section) with relaxed atomics
 * and may be read by any thread with option_int(); strings only change in an exclusive section, so
 * a reactor may read them in a command. */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/bytes.h"
#include <stdatomic.h>

enum option_kind {
    OPT_BOOL,              /* _Atomic int64_t 0/1; yes, no */
    OPT_INT,               /* _Atomic int64_t in [min,max] */
    OPT_MEMORY,            /* _Atomic int64_t bytes, with units; CONFIG GET prints plain bytes */
    OPT_PERCENT_OR_MEMORY, /* as OPT_MEMORY; "5%" is stored negative (-5) and printed so
                              (maxmemory-clients) */
    OPT_ENUM,              /* _Atomic int64_t value of a struct option_name */
    OPT_FLAGS, /* _Atomic int64_t bits; several words (oom-score..., shutdown-on-sigterm "save now")
                */
    OPT_OCTAL, /* _Atomic int64_t (unixsocketperm) */
    OPT_STRING, /* char *, mem_alloc'ed; "" is the empty value */
    OPT_BYTES,  /* struct slice, mem_alloc'ed: as OPT_STRING, but with NULs kept (passwords) */
    OPT_CUSTOM  /* several arguments or a form of its own: set/get below do everything */
};
struct option_name { /* terminated by name NULL */
    const char *name;
    int64_t value;
};
enum option_flags {
    OPTF_IMMUTABLE = 1, /* only in the file and on the command line: CONFIG SET refuses */
    OPTF_PROTECTED = 2, /* enable-protected-configs */
    OPTF_SENSITIVE = 4, /* never in logs, MONITOR, SLOWLOG */
    OPTF_MULTI = 8,     /* may stand several times, each adds (save, client-output-buffer-limit,
                           rename-command) */
    OPTF_INERT =
        16, /* stored and reported, acts on nothing (3-compat.md section 2 lists which may) */
    OPTF_HIDDEN = 32, /* only in the file: CONFIG GET and SET do not know it */
    OPTF_LINES = 128, /* OPT_CUSTOM: get gives whole lines for CONFIG REWRITE, "" for none; CONFIG
                         GET does not know it */
    OPTF_OWN = 64, /* Redis has no directive of this name: who sets all to the values they have must
                      not fail for it, though it is immutable */
};
struct option {
    const char *name, *alias; /* alias: an older name of the same directive, or NULL */
    enum option_kind kind;
    unsigned flags;
    size_t offset; /* of the value in the bound struct */
    int64_t min, max;
    /* OPT_INT, OPT_MEMORY: a value in [min,max] but below or above these becomes the nearer one,
     * without an error. Both 0: none does. */
    int64_t least, most;
    const char *def; /* text of the default */
    const struct option_name *names;
    /* OPT_STRING; OPT_FLAGS, as CONFIG GET shows it, the names in the order of the table: may the
     * value be this text? False with *error set: refused, also at start. */
    bool (*check)(struct slice text, const char **error);
    /* After a change by CONFIG SET (not at start): make it act. False with *error set: refused, the
     * old value is restored. */
    bool (*apply)(void *base, const char **error);
    /* OPT_CUSTOM: argv are the words after the name. */
    bool (*set)(void *base, const struct slice *argv, unsigned argc, const char **error);
    void (*get)(void *base, struct buf *out); /* the CONFIG GET text */
    const char *doc;                          /* for kv.conf: what, units, when it acts */
};
static inline int64_t option_int(const _Atomic int64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* A metric becomes a line of INFO ("name:value") and of the metrics page. */
struct metric {
    const char *section, *name;                /* section in INFO's capitalisation: "Stats" */
    uint64_t (*get)(void *base);               /* a number, or */
    void (*text)(void *base, struct buf *out); /* a text */
};

/* Counters owned by one thread and read by others: plain increments without a lock prefix. */
typedef _Atomic uint64_t counter_t;
static inline void counter_add(counter_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t counter_get(const counter_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}
#endif
