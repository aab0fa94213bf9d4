/* net_int.h -- Private structs of net/: included in this folder (and its unit tests) alone.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include "base/lock.h"
#include "base/option.h"
#include "net/net.h"
#include <ev.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/uio.h>

/* ---- out.c ---- */

/* The first `limit` unsent bytes as at most `max` pieces; head_sent bytes of the first block are
 * out already. Returns the number of pieces. */
unsigned out_iov(const struct out *o, size_t head_sent, size_t limit, struct iovec *v,
                 unsigned max);
/* Drops n more bytes that were sent. Returns the new head_sent; *base grows by the lengths of the
 * blocks freed. */
size_t out_drop(struct out *o, size_t head_sent, size_t n, uint64_t *base);
/* What the limits of a connection speak of. */
size_t out_counted(const struct out *o);
bool out_over_limit(const struct out *o); /* or lost */
void out_lose(struct out *o);
void out_check(const struct out *o);

/* ---- resp_parse.c ---- */

struct big_arg { /* an argument that is read straight into a buffer of its own */
    struct big_arg *next;
    unsigned index; /* in its request */
    bool taken;     /* by request_take_big(): p belongs to somebody else */
    char *p;
    size_t len, have, cap;
};
struct argv_chunk;
struct parse_temp;
struct parser {
    /* the request being parsed; all zero between requests */
    uint8_t stage; /* enum parse_stage */
    bool have_len; /* the length line of argument `argc` was read */
    bool own_argv; /* argv is a heap array of argv_cap slices, else it lies in `chunk` */
    unsigned argc, nargs, argv_cap;
    struct slice *argv;
    size_t pos;       /* offset of the first byte not yet understood */
    size_t scanned;   /* bytes behind pos known to hold no end of line */
    size_t arg_len;   /* with have_len */
    const char *base; /* where the request began when the slices in argv were made */
    /* the batch */
    unsigned handed_out; /* requests since the last reset */
    struct argv_chunk *chunk;
    struct parse_temp *temps;
    struct big_arg *bigs; /* of the first request in the input */
};
void parser_init(struct parser *p);
void parser_done(struct parser *p); /* frees what it holds */
/* True when `rest`, the input that was left, ends inside a big argument: its bytes are moved into
 * a buffer of their own and only the first *kept bytes of rest are still input. */
must_check bool parser_big_begin(struct parser *p, struct slice rest, size_t *kept);
size_t parser_big_missing(const struct parser *p); /* bytes of it still to come; 0: none begun */
size_t parser_big_current(const struct parser *p); /* bytes of it so far */
size_t parser_big_have(const struct parser *p);    /* bytes in all of them */
/* Room for the next bytes of it, *n > 0; NULL: out of memory. Then parser_big_filled(). */
char *parser_big_room(struct parser *p, size_t *n);
void parser_big_filled(struct parser *p, size_t n);
size_t parser_memory(const struct parser *p);
size_t parser_announced(const struct parser *p); /* what its big arguments will take beyond that */
/* Where the next request's bytes must begin for the progress made so far to hold; NULL: anywhere.
 */
const char *parser_base(const struct parser *p);
void argv_cache_start(void);
void argv_cache_stop(void);

/* ---- heap.c: a binary heap of keys whose owners know their place ---- */

#define HEAP_NONE UINT32_MAX
struct heap_entry {
    uint64_t key;
    uint32_t *place; /* in the owner; kept up to date, HEAP_NONE when it leaves */
};
struct heap { /* the smallest key is a[0] */
    struct heap_entry *a;
    unsigned n, cap;
};
void heap_push(struct heap *h, uint64_t key, uint32_t *place);
void heap_remove(struct heap *h, uint32_t place);
void heap_free(struct heap *h);
void heap_check(const struct heap *h);
static inline uint64_t heap_lowest(const struct heap *h)
{
    return h->n > 0 ? h->a[0].key : UINT64_MAX;
}

/* ---- Connections ---- */

struct peer_addr {
    uint8_t ip[16]; /* 4 bytes of an IPv4 address, 16 of an IPv6 one */
    uint16_t port;
    uint8_t family; /* AF_INET, AF_INET6, AF_UNIX */
};

/* Output up to `end` (an offset in all bytes ever written) waits for `gate`. */
struct gate_mark {
    uint64_t end, gate;
};
#define GATE_MARKS 8 /* groups in flight are two or three; what exceeds is merged upwards */

/* Why a connection is on a list of its reactor; each list is handled once per turn. */
enum conn_list_id {
    LIST_READY,  /* its socket has events */
    LIST_RESUME, /* has input, or its end, that waited for conn_resume() */
    LIST_FLUSH,  /* has new output, may release some, or watches the wrong events */
    LIST_CLOSE,  /* to be freed */
    LISTS
};
struct conn_list {
    struct conn *head, *tail;
};

struct tls_session;
struct conn {
    /* set at open */
    struct reactor *reactor;
    void *user;
    struct tls_session *tls; /* NULL: plain */
    int fd;
    uint32_t slot;
    enum conn_kind kind;
    struct peer_addr peer;

    /* reactor-owned */
    ev_io io;
    struct conn *next[LISTS];
    uint8_t on_list;  /* bit per list */
    uint8_t stop;     /* enum conn_stop_reason */
    bool ended;       /* the peer's end was read, and waits for STOP_DEFERRED */
    bool opened;      /* conn_open was called */
    bool close_drain; /* CLOSE_AFTER_REPLY */
    bool close_now;
    bool write_full; /* the kernel took less than was offered: wait for EV_WRITE */
    uint8_t revents;
    int64_t last_input_ms, last_output_ms;

    /* input */
    struct parser parser;
    char *in;
    size_t in_start, in_n, in_cap;
    size_t feeding;     /* bytes given to the input upcall that is running */
    struct slice ahead; /* in scratch: read in this turn, to be fed in it */
    size_t query_limit;

    /* output */
    struct out out;
    size_t head_sent;  /* of the first block */
    uint64_t out_base; /* offset of the first block's first byte */
    uint64_t released; /* offset up to which bytes may leave */
    uint64_t gated;    /* offset up to which conn_gate() spoke */
    uint8_t mark_first, nmarks;
    uint32_t wait_place; /* in reactor->waiting */
    struct gate_mark marks[GATE_MARKS];
    size_t parked_low; /* STOP_PARKED ends when no more than this is parked */
    size_t passing;    /* its part of stats.passing */
    size_t soft;       /* the hard limit is that of `out` */
    unsigned soft_seconds;
    int64_t soft_since_ms;  /* with soft_timer armed: above the soft limit since then */
    const char *limit_what; /* a limit was exceeded: for conn_limit */
    struct reactor_timer soft_timer;
};

struct conn_slot {
    struct conn *c;
    uint32_t generation;
    uint32_t next_free;
};

struct reactor_stats { /* written by the reactor, read by any thread */
    counter_t accepted, in_bytes, out_bytes, reads, writes, tls_accept_errors;
    counter_t output_limit_closed, query_limit_closed, turns, turn_ticks;
    counter_t passing; /* bytes: see net_passing_bytes() */
};

struct reactor {
    /* set at start */
    struct net *net;
    unsigned id;
    pthread_t thread;
    bool started;
    struct ev_loop *loop;
    void *user;
    char *scratch;
    size_t scratch_bytes;

    /* reactor-owned */
    struct conn_slot *slots;
    uint32_t nslots, free_slot; /* free_slot: nslots when none */
    struct conn_list lists[LISTS];
    struct heap waiting; /* connections by the gate of their first mark */
    struct heap timers;
    unsigned admission; /* connections with STOP_ADMISSION */
    int64_t now_ms, tick_ms, alarm_ms;
    uint64_t busy_since; /* clock_ticks() when the loop last woke */
    bool may_block, spinning;
    bool woken;          /* by on_wake(), since spin() began */
    unsigned spin_looks; /* before the next sleep */
    unsigned sleeps;     /* without a look before them */
    ev_async wake;
    ev_timer alarm;
    struct message *put_off; /* taken from the inbox, oldest first, and not run yet */

    /* atomic */
    _Atomic(struct message *) inbox; /* newest first */
    atomic_uint load;                /* connections, those on their way included */
    atomic_bool away;                /* new ones are better off elsewhere */
    atomic_bool stopping;
    struct reactor_stats stats;
};

/* conn.c */
void conn_new(struct reactor *r, int fd, enum conn_kind kind, const struct peer_addr *peer);
void conn_opened(struct conn *c); /* the transport is up: calls conn_open */
void conn_free(struct conn *c);
void conn_watch(struct conn *c); /* makes libev watch what the state asks for */
void conn_fail(struct conn *c);  /* the transport broke */
void peer_addr_from(struct peer_addr *a, const struct sockaddr_storage *sa);
/* conn_in.c */
void conn_ready(struct conn *c);
/* A connection on whose socket nothing but input waits, and which may be read, is read to `to`, a
 * part of scratch: *n bytes, 0 when there are none. They go to conn_feed_ahead() in the same turn,
 * before anything else is done with the connection. False: it is one for conn_ready(). */
must_check bool conn_read_ahead(struct conn *c, char *to, size_t room, size_t *n);
void conn_feed_ahead(struct conn *c);
void conn_resumed(struct conn *c); /* it is on LIST_RESUME: input that was kept, then the end */
/* conn_out.c */
void conn_flush(struct conn *c, uint64_t release);
bool conn_drained(const struct conn *c); /* nothing is left that conn_gate() spoke of */
void conn_check(struct conn *c);

/* ---- reactor.c ---- */
void list_push(struct reactor *r, enum conn_list_id id, struct conn *c); /* once at a time */
must_check int reactor_init(struct reactor *r, struct net *n, unsigned id, size_t scratch_bytes);
void reactor_done(struct reactor *r);
void *reactor_main(void *arg);
void reactor_drain_inbox(struct reactor *r);
/* Only the messages that `run` is for; the others stay, in their order. */
void reactor_drain_only(struct reactor *r, void (*run)(struct reactor *r, struct message *m));

/* ---- listen.c: all listeners; their events are reactor 0's ---- */
struct listener {
    struct listener *next;
    struct net *net;
    ev_io io;
    int fd;
    enum conn_kind kind;
    int port;
    bool keep;  /* during a change: part of the new set */
    char *addr; /* as in bind, or the unix path */
};
must_check int listeners_open(struct net *n, const struct net_config *cfg, struct buf *error);
void listeners_start(struct net *n); /* the new ones accept, the retired end: soon, on reactor 0 */
void listeners_start_late(struct net *n, int64_t ms); /* the same, but; before threads */
void listeners_close(struct net *n);                  /* on reactor 0, or when no thread runs */

/* ---- tls.c ---- */
struct tls_context;
must_check int tls_context_new(struct tls_context **out, const struct tls_config *cfg,
                               struct buf *error);
void tls_context_free(struct tls_context *t);
must_check bool tls_attach(struct conn *c); /* gives c a session in the handshake */
void tls_detach(struct conn *c);
/* > 0 bytes, 0 end, -EAGAIN, or another -errno */
ssize_t tls_read(struct conn *c, char *p, size_t n);
/* Like tls_read(), but the bytes stay; 0: none, now. Whatever else it learns is found again by the
 * next turn. */
size_t tls_peek(struct conn *c, char *p, size_t n);
ssize_t tls_write(struct conn *c, const struct iovec *v, unsigned n);
bool tls_has_input(const struct conn *c); /* decrypted or buffered bytes that epoll cannot see */
bool tls_handshaking(const struct conn *c);
void tls_handshake(struct conn *c);
int tls_events(const struct conn *c); /* libev events it needs beyond the connection's own */

struct net {
    /* set at open */
    struct net_upcalls up;
    unsigned nreactors;
    unsigned serving; /* of them, the first ones: those that get clients */
    bool may_spin;    /* there is a processor for each that serves */
    struct reactor *reactors;
    char *unix_path;

    /* under lock */
    struct lock lock;
    struct listener *listeners;
    struct listener *retired; /* still bound; reactor 0 takes and closes them */
    int backlog;
    struct tls_context *tls;
    bool started, accepting_ended;
    struct net_stats baseline; /* what net_stats_reset() saw */

    /* atomic */
    atomic_uint maxclients, keepalive_s;
    atomic_uint connected;
    counter_t rejected; /* written by reactor 0 */

    int64_t accept_after_ms; /* as configured */

    /* reactor 0 */
    struct reactor_timer accept_pause;
};

#endif
