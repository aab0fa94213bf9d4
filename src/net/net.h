/* net.h -- Bytes and sockets: reactors, connections, TLS, the RESP parser and the output chain.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Knows no keys and no log.
 *
 * THREADS
 *     One libev loop per reactor thread. A connection lives and dies on one reactor; every conn_*
 *     function is for that thread only, except where said. Other threads reach it by handle and
 *     message (reactor_post).
 *
 * TURN
 *     One pass of the loop: messages, readable connections (read -> input upcall), timers, resumed
 *     connections, then the turn_end upcall, then every connection with released output is written
 *     with writev, then closed connections are freed (the only place). Then sleep. Upcalls never
 *     nest: what one of them resumes or closes is looked at later in the turn.
 *
 * GATES
 *     Output bytes carry a gate (an opaque, per-connection non-decreasing uint64). Bytes leave when
 *     their gate is <= the reactor's release point. Bytes that conn_gate() was never called for do
 *     not leave. net does not know what a gate means. */
#ifndef NET_NET_H
#define NET_NET_H

#include "base/bytes.h"
#include <stdatomic.h>

struct net;
struct reactor;
struct conn;

/* ================= Output chain: what replies are written into ================= */

/* A chain of blocks. Zero-initialised is empty. Not thread-safe; may be built on one thread and
 * handed to another in a message. Above its limit, that of the connection it is of, it is lost:
 * what is written from there on is counted and dropped, as its connection will be. */
struct out_block {
    struct out_block *next;
    uint32_t len, cap; /* cap 0: `ext` bytes owned elsewhere and released with `ext_free` */
    const char *ext;
    void (*ext_free)(void *owner);
    void *ext_owner;
    char data[];
};
struct out {
    struct out_block *head, *tail;
    char *cur, *end; /* free room in tail: tail->len is brought up to date by out_sync() */
    size_t bytes;    /* in blocks before tail's room (out_size() gives the whole) */
    size_t mem;      /* allocated for all blocks, heads and unused room included, plus ext bytes */
    size_t limit;    /* of mem, looked at where a block is needed; 0: none */
    size_t dropped;  /* of `bytes`: they are in no block */
    bool lost;
};
#define OUT_BLOCK_BYTES 16384

char *out_room_slow(struct out *o, size_t n);
/* Contiguous room for n bytes (n <= 64 KiB); then out_used(o, end pointer). */
static inline char *out_room(struct out *o, size_t n)
{
    return likely((size_t)(o->end - o->cur) >= n) ? o->cur : out_room_slow(o, n);
}
static inline void out_used(struct out *o, char *to)
{
    o->cur = to;
}
void out_add(struct out *o, const void *p, size_t n);
/* Adds bytes without copying; ext_free(owner) runs once when they are sent or dropped (any thread
 * that owns the chain; it may be at once). */
void out_add_ext(struct out *o, const char *p, size_t n, void (*ext_free)(void *), void *owner);
void out_splice(
    struct out *to,
    struct out *from); /* moves all of `from` to the end of `to`; `from` becomes empty */
void out_clear(struct out *o);
/* The calling thread keeps freed blocks from now on / gives them back to the allocator. */
void out_cache_start(void);
void out_cache_stop(void);
/* Idle blocks of the calling reactor: lean keeps next to none. Cheap: once per turn is fine. */
void out_cache_lean(bool lean);
static inline size_t out_size(const struct out *o)
{
    return o->bytes + (o->cur != NULL ? (size_t)(o->cur - o->tail->data) : 0);
}
void out_copy_to(const struct out *o, struct buf *b); /* appends all bytes; for tests and scripts */
/* Position to roll back to: everything written after out_mark() is dropped by out_rewind(). What
 * was lost since then is not lost any more. */
struct out_mark {
    struct out_block *tail;
    size_t tail_len;
};
struct out_mark out_mark(struct out *o);
void out_rewind(struct out *o, struct out_mark m);
/* A hole of a length known later (array header): returns a token; fill it once before the chain is
 * sent or spliced. */
struct out_block *out_hole(struct out *o);
void out_fill_hole(struct out *o, struct out_block *hole, const void *p, size_t n); /* n <= 64 */

/* RESP writer; `resp` is 2 or 3. Exact forms as Redis sends them. */
void resp_simple(struct out *o, struct slice text); /* +text */
void resp_error(struct out *o, struct slice text);  /* -text ; CR and LF inside become spaces */
void resp_int(struct out *o, int64_t v);
void resp_bulk(struct out *o, struct slice s);
void resp_bulk_i64(struct out *o, int64_t v); /* integer as bulk string */
void resp_array(struct out *o, size_t n);
void resp_map(struct out *o, size_t pairs, int resp);           /* RESP2: array of 2n */
void resp_set(struct out *o, size_t n, int resp);               /* RESP2: array */
void resp_push(struct out *o, size_t n, int resp);              /* RESP2: array */
void resp_attribute(struct out *o, size_t pairs);               /* RESP3 only */
void resp_null(struct out *o, int resp);                        /* $-1 or _ */
void resp_null_array(struct out *o, int resp);                  /* *-1 or _ */
void resp_bool(struct out *o, bool v, int resp);                /* :1/:0 or #t/#f */
void resp_double(struct out *o, double v, int resp);            /* bulk or , */
void resp_long_double(struct out *o, long double v);            /* bulk, INCRBYFLOAT style */
void resp_human_double(struct out *o, long double v, int resp); /* the same digits, bulk or , */
void resp_bignum(struct out *o, struct slice digits, int resp);
void resp_verbatim(struct out *o, struct slice s, const char ext[3], int resp); /* bulk or = */
struct out_block *resp_array_deferred(struct out *o);
void resp_array_fill(struct out *o, struct out_block *hole, size_t n);
void resp_map_fill(struct out *o, struct out_block *hole, size_t pairs, int resp);
void resp_set_fill(struct out *o, struct out_block *hole, size_t n, int resp);

/* ================= Request parser ================= */

struct request {
    unsigned argc;
    struct slice *argv; /* points into the input bytes (or big arguments); valid until the input
                           upcall returns */
    struct slice raw; /* the whole request as it stood in the input when it was one contiguous RESP
                         array; else n == 0 */
    struct parser *owner; /* for request_take_big */
};
enum parse_status { PARSE_OK, PARSE_MORE, PARSE_ERROR };
struct parse_limits {
    size_t max_bulk;      /* proto-max-bulk-len */
    unsigned max_args;    /* INT_MAX in Redis */
    size_t max_inline;    /* 64 KiB: an inline line, or the line of a length */
    bool unauthenticated; /* at most 10 arguments of 16 KiB each, with Redis's texts for it */
};
/* Parses the next request from `in` (RESP array or inline). PARSE_OK: *used bytes belong to it
 * (argc may be 0: empty line or *0; skip it). PARSE_MORE: incomplete; progress is remembered, so
 * that the next call does not look at old bytes again; the caller passes the same unconsumed bytes
 * plus more. PARSE_ERROR: *error is Redis's text ("ERR Protocol error: ..."); close after sending.
 * Big arguments (>= 32 KiB, incomplete in the input) are gathered in buffers of their own, read
 * straight into place. */
enum parse_status parser_next(struct parser *p, const struct parse_limits *limits, struct slice in,
                              size_t *used, struct request *req, const char **error);
/* Drops the requests handed out so far (their argv arrays). Call once after a batch was executed.
 */
void parser_reset_batch(struct parser *p);
/* Instead of parser_reset_batch() when only the first `executed` requests handed out since the last
 * reset were executed (the client blocked, or was refused admission): the input upcall returns
 * without the bytes of the others, and they will be parsed again from there. Big arguments of a
 * request that was not executed are kept (unless taken). */
void parser_unread(struct parser *p, unsigned executed);
/* A parser without a connection: fuzzing, tests, streams that are not clients. */
struct parser *parser_new(void);
void parser_free(struct parser *p);
/* Takes over the buffer of argument i when it is a big one: mem_free() it later. NULL: not big;
 * copy it. */
char *request_take_big(struct request *req, unsigned i);

/* ================= Connections ================= */

enum conn_close_how { CLOSE_AFTER_REPLY, CLOSE_NOW };
enum conn_stop_reason {
    STOP_ADMISSION = 1,
    STOP_PARKED = 2,
    STOP_BLOCKED = 4,
    STOP_PAUSED = 8,
    STOP_CLOSING = 16,
    STOP_DEFERRED = 32
};
enum conn_kind { CONN_TCP, CONN_UNIX, CONN_TLS };

struct parser *conn_parser(struct conn *c);
struct out *conn_out(struct conn *c);
/* Everything written since the previous call carries max(gate, earlier gates). Marks the connection
 * for the writev of this turn. Cheap: once per reply is fine. Output limits are checked here. */
void conn_gate(struct conn *c, uint64_t gate);
uint64_t conn_lowest_gate(const struct conn *c); /* UINT64_MAX when nothing waits */
/* Above the hard limit: conn_gate() will close it, and what is written until then is dropped.
 * Whoever hears so need not write the rest of a reply. */
bool conn_over_limit(struct conn *c);
size_t conn_out_bytes(const struct conn *c);    /* unsent, gated or not, with block overhead */
size_t conn_parked_bytes(const struct conn *c); /* unsent because of a gate */
/* After conn_gate(): what was written counts for net_passing_bytes() now, not from the end of the
 * turn. */
void conn_count_passing(struct conn *c);
/* Buffered input that no upcall consumed; of a request that stops in a big argument, this
 * argument's bytes, as Redis's query buffer has them. While the input upcall runs: all that it was
 * given. */
size_t conn_in_bytes(const struct conn *c);
size_t conn_in_cap(const struct conn *c);
size_t conn_memory(const struct conn *c); /* big arguments at their announced length */

/* Stop and resume reading, by reason; reading goes on when no reason is left. With STOP_BLOCKED,
 * STOP_PAUSED and STOP_DEFERRED the socket is still read, so that the peer's close is seen; the
 * bytes are kept, up to the query limit. With the others nothing is read. With STOP_DEFERRED the
 * peer's end waits: until it is resumed and the upcall was given what is kept. Resume calls the
 * input upcall again for bytes already there (in this turn or the next; never from within
 * conn_resume). STOP_PARKED ends by itself when no more than half of what was parked at conn_stop()
 * still is. */
void conn_stop(struct conn *c, enum conn_stop_reason why);
void conn_resume(struct conn *c, enum conn_stop_reason why);
/* Marks only; the connection is freed at the end of a turn after the closed upcall, and stays
 * readable for conn_* until then. With CLOSE_AFTER_REPLY what conn_gate() spoke of leaves first,
 * whenever its gate opens. No input upcall comes after either. When the peer ends its side, net
 * closes after the replies. */
void conn_close(struct conn *c, enum conn_close_how how);
bool conn_closing(const struct conn *c);
/* CLOSE_NOW of a client that is owed output which there is no memory for: counts and is told
 * (conn_limit) as an output limit. what: static text. */
void conn_close_limit(struct conn *c, const char *what);
void conn_set_limits(struct conn *c, size_t hard, size_t soft,
                     unsigned soft_seconds); /* output buffer limits; 0 = none. Up to 16 KiB do not
                                                count; what is above the hard one is not kept */
void conn_set_query_limit(struct conn *c, size_t bytes); /* client-query-buffer-limit */

/* Handle: reactor, slot and generation; survives as a number when the connection is gone. 0 is
 * never valid. */
uint64_t conn_handle(const struct conn *c);
unsigned handle_reactor(uint64_t handle);
struct conn *conn_by_handle(struct reactor *r,
                            uint64_t handle); /* on that reactor's thread; NULL when it is gone */

void *conn_user(const struct conn *c); /* what the open upcall returned */
struct reactor *conn_reactor(const struct conn *c);
enum conn_kind conn_kind(const struct conn *c);
int conn_fd(const struct conn *c);
#define ADDR_TEXT_MAX 128
void conn_peer(const struct conn *c,
               char text[ADDR_TEXT_MAX]); /* "127.0.0.1:5000", "[::1]:5000", "/path:0" */
void conn_local(const struct conn *c, char text[ADDR_TEXT_MAX]);
bool conn_peer_is_loopback(const struct conn *c);
/* In a command that takes long: writes what an earlier one of this turn has answered, as far as
 * `release` lets it; otherwise it waits for the turn's end. Not the connection of that command. */
void conn_write_early(struct conn *c, uint64_t release);
/* Up to n bytes that came and were given to nobody (with TLS, those of one record); 0: none, or
 * part of a request was read already. Never blocks. Not of a connection whose input upcall is
 * running: what it was given comes first. */
size_t conn_peek(struct conn *c, char *buf, size_t n);
/* Of what conn_peek() gave, takes `used` bytes away and sends `text` at once. False: other output
 * is on its way or waits, nothing was done. */
must_check bool conn_answer_peeked(struct conn *c, size_t used, struct slice text);
/* On its thread, in an exclusive section: new connections that wait are taken; those that it was
 * given already are opened, and their handshakes go on. */
void reactor_accept(struct reactor *r);
/* Its thread has no time for clients, or has again: others get new connections, if there are any.
 */
void reactor_away(struct reactor *r, bool away);
int64_t conn_last_input_ms(const struct conn *c); /* monotonic; for idle and timeout */
int64_t conn_last_output_ms(const struct conn *c);
bool conn_tls_peer_name(const struct conn *c, struct buf *cn); /* tls-auth-clients-user */

/* ================= Reactors ================= */

struct message {
    struct message *next;
    void (*run)(struct reactor *r, struct message *m); /* on the receiving reactor; frees m */
};
/* Any thread. Never blocks, keeps the order of one sender. Wakes the receiver if it sleeps. After
 * net_stop began the message still runs once (so that it can free itself) with the receiver's loop
 * no longer serving. */
void reactor_post(struct reactor *to, struct message *m);
void reactor_wake(struct reactor *r); /* any thread: makes it take a turn */

unsigned reactor_id(const struct reactor *r);
struct reactor *reactor_self(void); /* NULL on other threads */
struct reactor *net_reactor(struct net *n, unsigned id);
unsigned net_reactors(const struct net *n);
void *reactor_user(const struct reactor *r); /* what reactor_start upcall returned */
/* The reactor's own thread: the tick upcall comes no later than in_ms from now. */
void reactor_tick_within(struct reactor *r, int64_t in_ms);
int64_t reactor_now_ms(const struct reactor *r); /* monotonic, as of this turn */
void reactor_each(struct reactor *r, bool (*visit)(void *arg, struct conn *c),
                  void *arg);                    /* stops on false; visit may close */
unsigned reactor_conns(const struct reactor *r); /* any thread */
/* One-shot timers of a reactor, for timeouts of blocked clients and the like; exact to 1 ms. */
struct reactor_timer {
    int64_t due_ms; /* monotonic */
    uint32_t heap_index;
    bool armed;
    void (*fire)(struct reactor *r, struct reactor_timer *t);
};
void reactor_timer_set(struct reactor *r, struct reactor_timer *t, int64_t due_ms);
void reactor_timer_cancel(struct reactor *r, struct reactor_timer *t);

struct net_stats {
    uint64_t accepted, rejected, in_bytes, out_bytes, reads, writes, tls_accept_errors;
    uint64_t output_limit_closed, query_limit_closed;
    unsigned connected;
    uint64_t turns, turn_us; /* event loop cycles and the time spent in them (without sleeping) */
};
void net_stats(struct net *n, struct net_stats *out); /* any thread, may lag */
void net_stats_reset(struct net *n);
/* Output memory that waits for a gate, thus for no peer. Any thread, may lag by a turn. */
size_t net_passing_bytes(const struct net *n);

/* ================= Composition ================= */

struct net_input {
    void *user; /* conn_user */
    struct conn *c;
    struct slice in;
};

/* Called on the reactor's thread unless said. */
struct net_upcalls {
    void *arg;
    void *(*reactor_start)(
        void *arg, struct reactor *r); /* first thing on the thread; result = reactor_user */
    void (*reactor_stop)(void *arg, struct reactor *r);
    /* A new connection (TLS: after the handshake); may write (an error), conn_gate() and conn_close
     * it. Returns conn_user. */
    void *(*conn_open)(void *arg, struct conn *c);
    /* Unconsumed input, in order. Executes complete requests and returns how many bytes were
     * consumed (whole requests only; may be 0). Called again when more arrives or after
     * conn_resume; never while a stop reason is set or the connection is closing. If requests were
     * parsed and not executed, parser_unread() tells the parser. */
    size_t (*conn_input)(void *user, struct conn *c, struct slice in);
    /* NULL, or: the inputs of n connections of this reactor, n > 1, will be given to conn_input one
     * after the other: a chance to fetch what they need. Nothing may be changed or kept. */
    void (*inputs_ahead)(void *arg, struct reactor *r, const struct net_input *in, unsigned n);
    /* NULL, or: bytes of a big argument came, and it is not complete. */
    void (*conn_partial)(void *user, struct conn *c);
    /* NULL, or: the peer has ended its side, and net will close after the replies that
     * conn_gate() spoke of. What the client waits for is for others now, as in Redis. */
    void (*conn_ended)(void *user, struct conn *c);
    void (*conn_closed)(void *user, struct conn *c); /* last call for it; free the session here */
    /* Output memory or query limit exceeded, about to be closed; for the log and counters. what:
     * "hard output buffer limit", "soft output buffer limit", "query buffer limit" or an "out of
     * memory ..." text. Comes just before conn_closed. */
    void (*conn_limit)(void *user, struct conn *c, const char *what);
    /* After all events of this turn, before writing. Returns the release point for this turn's
     * writes. */
    uint64_t (*turn_end)(void *arg, struct reactor *r);
    /* Before sleeping: given the lowest gate any connection of this reactor waits for (UINT64_MAX
     * none) and whether any is stopped for admission; returns the release point as of a fence (net
     * writes what it frees and asks again before it sleeps). */
    uint64_t (*before_sleep)(void *arg, struct reactor *r, uint64_t lowest_gate, bool stopped);
    void (*sleep_begin)(void *arg,
                        struct reactor *r); /* just before and just after blocking in epoll */
    void (*sleep_end)(void *arg, struct reactor *r);
    /* Periodic work; returns milliseconds until it wants to run again (1..1000). */
    unsigned (*tick)(void *arg, struct reactor *r);
};

struct tls_config {
    const char *cert_file, *key_file, *key_file_pass, *client_cert_file, *client_key_file,
        *dh_params_file;
    const char *ca_cert_file, *ca_cert_dir, *protocols, *ciphers, *ciphersuites;
    int auth_clients; /* 0 no, 1 yes, 2 optional */
    bool prefer_server_ciphers, session_caching;
    int session_cache_size, session_cache_timeout;
};
struct net_config {
    unsigned threads;        /* 1..64 */
    unsigned processors;     /* no more threads than this get clients; 0: all */
    const char *const *bind; /* addresses; a leading '-' means: no error when it is not there; "*"
                                and "::*" as Redis */
    unsigned nbind;
    int port;                /* 0: no TCP */
    int tls_port;            /* 0: no TLS */
    const char *unixsocket;  /* NULL: none */
    unsigned unixsocketperm; /* 0: leave */
    int backlog;
    unsigned maxclients;
    unsigned keepalive_s;         /* 0: off */
    const struct tls_config *tls; /* needed with tls_port */
    size_t scratch_bytes;         /* read buffer of a reactor; default 64 KiB */
    int64_t accept_after_ms;      /* 0: net_start accepts; else it does so then, if net_accept_now
                                     has not been called */
};

/* Binds and listens; nothing is accepted before net_start. On failure *error says which address and
 * why, in Redis's words
 * ("Failed listening on port 6379 (tcp), aborting."). 0 or -errno. */
must_check int net_open(struct net **out, const struct net_config *cfg,
                        const struct net_upcalls *up, struct buf *error);
must_check int net_start(struct net *n); /* starts the reactor threads */
void net_accept_now(struct net *n);      /* after net_start; any thread */
void net_stop_accepting(struct net *n);
void net_stop(struct net *n); /* closes connections (what is released is still written), joins the
                                 threads; not from a reactor */
void net_free(struct net *n);
/* CONFIG SET; any thread. net_set_listen: of cfg only bind, port, tls_port and backlog count; the
 * unix socket stays. New sockets are open when it returns, old ones close soon after on reactor 0;
 * on failure nothing changes. */
unsigned net_processors(void); /* that this process may use; any thread */
void net_set_maxclients(struct net *n, unsigned maxclients);
void net_set_keepalive(struct net *n, unsigned seconds);
must_check int net_set_listen(struct net *n, const struct net_config *cfg, struct buf *error);
must_check int net_set_tls(struct net *n, const struct tls_config *tls, struct buf *error);
/* The lines of INFO server: "listener0:name=tcp,bind=127.0.0.1,bind=::1,port=6379\r\n" ... */
void net_listeners(struct net *n, struct buf *out);
#endif
