/* kill9.h -- Writers whose every operation is known by its number, and the state after n of them.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A writer owns its keys and repeats one cycle of operations, so operation n of writer
 * w is a function of (w, n), and so is the state of its keys after n operations. Replies of one
 * connection come in order and the log keeps a prefix: after a crash the keys of w must be in the
 * state after n operations for some n between what was acknowledged or seen by anybody, and what
 * was sent. Values are "w:n", so whoever reads one knows how far w must have come.
 * THREADS     A model belongs to one thread. struct load is shared by all threads of a round: its
 * fields say how. */
#ifndef CRASH_KILL9_H
#define CRASH_KILL9_H

#include "base/base.h"
#include "request.h"
#include "server.h"
#include <pthread.h>
#include <stdatomic.h>

/* One cycle of a writer, in this order. */
enum op {
    OP_SET,     /* SET s:w v */
    OP_INCR,    /* INCR c:w */
    OP_PUSH,    /* RPUSH l:w v */
    OP_ONCE,    /* SET o:w:i v; the key of cycle i is never set again */
    OP_MULTI,   /* SET m, INCR mc, RPUSH ml, LTRIM ml in one EXEC */
    OP_QUEUE,   /* RPUSH q:w v, for consumers */
    OP_PUBLISH, /* PUBLISH said w:n */
    OP_SHORT,   /* SET p:w:i v PXAT soon */
    OP_PERSIST, /* PERSIST p:w:i */
    OP_TTL,     /* PEXPIREAT s:w far */
    OP_PAST,    /* SET e:w 100 PXAT 1: expired at once */
    OP_AFTER,   /* INCR e:w answers 1 */
    OP_GONE,    /* DEL o:w:i of KEEP_ONCE cycles before, by DEL, UNLINK or GETDEL */
    OP_POP,     /* LPOP l:w, once there are KEEP_LIST */
    OP_MSET,    /* MSET x:w v y:w v */
    OP_RENAME,  /* RENAME s:w r:w in every third cycle, else SET o:w:i v NX, which answers nil */
    OPS
};

#define WRITERS     8
#define CONSUMERS   4
#define OBSERVERS   6
#define KEEP_ONCE   4
#define KEEP_LIST   16
#define KEEP_SHORT  4
#define CYCLES_MAX  20000
#define NX_MAX      20000
#define FLUSHES_MAX 4000
#define FAR_MS      4000000000000 /* in the year 2096 */
#define DB_NX       9
#define DB_FLUSH    12

static inline uint64_t op_number(uint64_t cycle, enum op op)
{
    return cycle * OPS + op;
}

/* ---- What is in a server ---- */

struct dump_key {
    unsigned db;
    char *key;
    char *value; /* "s VALUE" or "l A B C" */
    int64_t ttl; /* PEXPIRETIME */
    bool used;   /* a check has taken note of it */
};
struct dump {
    struct dump_key *key;
    size_t n, cap;
};
/* All keys of the databases that are used here, sorted. */
void dump_read(struct dump *d, struct client *c);
void dump_free(struct dump *d);
struct dump_key *dump_find(struct dump *d, unsigned db, const char *key);
/* False, and the difference as text in `why`, when they differ. */
bool dump_equal(const struct dump *a, const struct dump *b, char *why, size_t size);

/* ---- A round ---- */

struct writer {
    struct load *load;
    unsigned id, db;
    uint64_t state;                     /* of its random numbers */
    _Atomic uint64_t sent;              /* operations that may have reached the server */
    _Atomic uint64_t acked;             /* operations whose reply came */
    _Atomic uint64_t must;              /* operations that somebody has seen the effect of */
    _Atomic uint64_t counter;           /* highest value of c:w somebody has seen */
    int64_t short_ms[CYCLES_MAX];       /* OP_SHORT: the time it was given */
    bool lost[CYCLES_MAX];              /* OP_PERSIST answered 0: it had expired before */
    _Atomic uint8_t popped[CYCLES_MAX]; /* times the element of that cycle was handed out */
};

enum { NX_TRIED = 1, NX_SEEN = 2 };

struct load {
    const struct server *kv;
    bool flushes;      /* FLUSHDB all the time: its floor also gates everything else */
    bool lasting;      /* OP_SHORT gives a time that does not come */
    _Atomic bool stop; /* writers end after the replies they wait for */
    _Atomic unsigned violations;
    _Atomic uint64_t observed; /* replies and messages whose truth is checked */
    pthread_t thread[WRITERS + CONSUMERS + OBSERVERS + 3];
    unsigned threads;
    struct writer writer[WRITERS];
    _Atomic unsigned nx_next;
    _Atomic uint8_t nx[NX_MAX];                                     /* NX_TRIED, NX_SEEN */
    _Atomic uint8_t nx_winner[NX_MAX];                              /* observer + 1 whose OK came */
    _Atomic unsigned flush_set, flush_done, flush_sent, flush_must; /* generations */
};

struct load *load_new(const struct server *kv, uint64_t seed);
void load_free(struct load *l);
void load_start(struct load *l);
/* Waits for all threads; with `politely` they are told to end first. */
void load_join(struct load *l, bool politely);

/* Writes what is wrong to standard error and counts it. */
void violation(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Somebody has seen operation n of writer w. */
void observed_op(struct load *l, unsigned w, uint64_t n);

/* ---- Inside: the threads ---- */

void *writer_main(void *arg);
struct actor { /* a consumer or an observer */
    struct load *load;
    unsigned id;
    uint64_t state;
};
void *consumer_main(void *arg);
void *observer_main(void *arg);
void *listener_main(void *arg);
void *watcher_main(void *arg);
void *flusher_main(void *arg);
unsigned writer_db(unsigned w);

/* After the restart: everything that was acknowledged or seen is in `d`, and nothing else. */
void load_verify(struct load *l, struct dump *d);
#endif
