/* exec_int.h -- What the files of exec/ share: workers, transactions, sessions, per-shard side
 * tables. SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  A worker belongs to one thread. A session belongs to its reactor; other threads reach it
 * by handle and message only, or while nobody runs (exclusive section). Fields say otherwise where
 * it is so. */
#ifndef EXEC_EXEC_INT_H
#define EXEC_EXEC_INT_H

#include "base/fault.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "exec/exec.h"
#include "net/net.h"
#include "wal/wal.h"

#define BATCH_MAX 64 /* requests parsed ahead; enough to hide a memory access per request */
#define RECENT_GROUPS \
    16 /* recent LSNs per shard; 1,024 x 16 groups: two unrelated keys meet with P = 6e-5 */
#define ERROR_KINDS  64
#define COMMANDS_MAX 1024 /* with subcommands */

/* ---- Command references: a row plus what is counted about it ---- */
struct cmd_ref {
    const struct command *row;
    const struct cmd_ref *parent;
    struct slice name;   /* as clients call it (rename-command) */
    char full[64];       /* "config|get" */
    unsigned id;         /* index of statistics */
    struct cmd_ref *sub; /* nsub of them */
    unsigned nsub;
    uint32_t acl;      /* categories with those that follow from the flags */
    bool one_key;      /* exactly one declared key at argv[1]: the prefetched fast path */
    bool counted_keys; /* its first key, if any, is argv[3], behind a count: prefetched, too */
    bool letters;      /* the name is a few letters: command.c compares it as a number */
};
struct cmd_stat {
    counter_t calls, ticks, rejected, failed;
    struct latency_histogram *_Atomic histogram; /* made by its worker at the first call */
};

/* ---- Side tables of a shard, under its lock ---- */
struct keymap;
struct script_scope;
struct watch_node;
struct waiter;
struct exec_shard {
    uint64_t recent[RECENT_GROUPS]; /* newest LSN of a record that changed a key of this group */
    struct keymap *watches;         /* NULL: nobody watches a key here; multi.c */
    struct keymap *waits;           /* NULL: nobody waits for a key here; blocking.c */
    struct keymap *tracked;         /* NULL: nobody is to be told of a key here; tracking.c */
} cacheline_aligned;

/* ---- Effects of one transaction (command, EXEC, script) ---- */
struct touched {
    uint32_t shard;
    uint8_t group;
};
struct ready_key {
    unsigned db;
    struct key key; /* bytes copied */
};
struct event {                  /* a message to publish when the transaction has its record */
    int kind;                   /* pubsub.c: enum sub_kind; EVENT_* */
    struct slice channel, text; /* copied */
};
struct txn {
    struct worker *w;
    uint64_t gate; /* of the replies written in it */
    uint64_t lsn;  /* of its record, 0: none */
    struct buf fx; /* serialized effects */
    unsigned fx_commands;
    unsigned fx_db;        /* database the stream is in after fx */
    struct slice verbatim; /* one command that can go as it came; then fx is empty */
    unsigned verbatim_db;
    uint32_t slot; /* of its keys so far; SLOT_NONE */
    const uint32_t *locked;
    unsigned nlocked;
    bool exclusive;
    bool replay;
    bool in_multi; /* more than one command may share it */
    bool image;    /* content for a new log (image.c); queued: for its queue */
    bool queued;
    bool unlogged; /* it changed something while the log ends */
    struct touched *touched;
    unsigned ntouched, touched_cap;
    struct ready_key *ready;
    unsigned nready, ready_cap;
    uint64_t ready_list; /* of no other list, ever; nready > 0 */
    struct event *events;
    unsigned nevents, events_cap;
    unsigned lost;   /* LOST_*: events that had no memory */
    uint64_t author; /* handle of the client whose command it is; set when an event needs it */
};
#define SLOT_NONE 0xffffffffu

struct call_int {
    struct txn *t;
    struct worker *w;
    const struct cmd_ref *ref;
    struct request *req;    /* NULL: copied arguments */
    struct slice raw;       /* the request as it came, if contiguous */
    bool changed;           /* key_changed() was called */
    bool explicit_fx;       /* effect_*() was called: no verbatim */
    bool error;             /* replied with an error */
    bool blocked;           /* call_block() was called */
    size_t reply_from;      /* 1 + out_size() before the reply; 0: not known */
    uint32_t redacted;      /* arguments that are secrets, by bit; call_redact() */
    bool held;              /* a pause began before it could run: nothing was done */
    bool over_memory;       /* there was no room when its client's request came */
    bool force_verbatim;    /* WHY here: one load of it and `changed` would wait for their stores */
    struct waiter *serving; /* the blocked client this runs for */
    unsigned serving_key;   /* index of the ready key */
    int64_t more_changes;   /* call_more_changes(); -1 after flushing nothing */
};

/* ---- Workers ---- */
enum worker_state { WORKER_ASLEEP = 0, WORKER_RUNNING = 1, WORKER_PARKED = 2, WORKER_BUSY = 3 };

struct pending { /* one parsed request of a batch */
    struct request req;
    size_t used;
    const struct cmd_ref *ref; /* NULL: unknown */
    struct key key;            /* when ref->one_key */
    bool keyed;
    bool copied; /* arguments are a struct queued, not input bytes */
};
struct retired {
    struct retired *next;
    void *p;
    void (*free_fn)(void *p);
    uint64_t epoch;
};
struct worker {
    /* set at start */
    struct exec *x;
    struct reactor *r; /* NULL for extra and replay workers */
    unsigned id;
    bool producer; /* may append to the log */

    /* owner thread */
    struct pending batch[BATCH_MAX];
    struct sweep_key sweep[BATCH_MAX]; /* keys of the batch */
    unsigned nsweep;
    struct txn txn;
    struct key *keys; /* scratch for declared keys */
    uint32_t *key_index, *lock_set;
    unsigned keys_cap;
    struct buf scratch;
    int64_t wall_ms;     /* the time commands of this batch see */
    int64_t logged_ms;   /* replay: when the record was logged */
    uint64_t wall_ticks; /* when it was read */
    uint64_t wall_keeps; /* ticks for which it is good: half a millisecond */
    uint64_t ticks;      /* end of the previous command */
    bool appended;       /* something went to the log in this turn */
    bool in_section;     /* this thread holds the exclusive section */
    bool busy;           /* it answers without the keyspace: a slow script has that */
    bool script_killed;  /* the script that was told of; under busy_lock */
    bool declared_only;  /* in it, nothing changes but whole databases and declared keys */
    struct session *current;
    struct session *stopped; /* connections stopped at admission or for too many parked bytes
                                (session.next_stopped) */
    size_t stopped_bytes;    /* the largest number that admission refused one of them */
    uint64_t slow_ticks;     /* a command above this goes to slowlog_note() */
    size_t large_request, large_reply; /* bytes - 1 from which commandlog_note_sizes() looks */
    struct hotkeys_part *hotkeys;      /* NULL: nobody wants to know; hotkeys.c */
    struct txn serve_txn;              /* of a blocked client served inside another transaction */
    struct ready_key *rest; /* keys whose first waiter needs more locks than were held, and those
                               made ready after them */
    unsigned nrest, rest_cap;
    bool waits_left;              /* nrest > 0 */
    struct script_scope *scripts; /* scripted.c; NULL: none ran here */
    struct waiter *durable_waits; /* its clients that wait for an LSN to be durable */
    uint64_t lock_bits[1024];     /* scratch of lock sets: one bit per shard */
    struct session *sessions;     /* all of this reactor */
    int64_t idle_checked_ms, recounted_ms;
    struct retired *retired;
    struct worker *next_replaying;    /* section.c: while it replays */
    struct reactor_timer pause_timer; /* releases held sessions */
    bool unpaused;                    /* UNPAUSE ran: what expired meanwhile goes now */
    unsigned expire_from;             /* the next of its shards, after a slice that was cut */
    int64_t expire_look;              /* when its slice looks again; wall ms */
    _Atomic int64_t expire_wanted;    /* the same, or earlier: somebody made a key due before it */
    bool check_clients;               /* the memory of all clients may be above its limit */
    struct told *told, *told_last;    /* tracking.c: to be told when the request is complete */
    struct keymap **forgotten;        /* tables that a flush has left, to be freed */
    unsigned nforgotten;

    /* atomic */
    _Atomic uint32_t state cacheline_aligned; /* enum worker_state */
    _Atomic uint64_t quiescent;               /* epoch seen at its last quiescent point */

    /* counters: written by the owner, read by anybody */
    struct cmd_stat *stats; /* by cmd_ref.id */
    counter_t commands, hits, misses, expired, expired_fields, evicted, expire_slices;
    counter_t changes; /* by commands; expiry and eviction are none */
    counter_t writes_stopped, parked_replies, gate_ticks, unblocked;
    counter_t errors_total;
    counter_t net_turns;
    counter_t clients_mem, clients_in_max, clients_out_max; /* client_memory.c */
} cacheline_aligned;

/* ---- Sessions ---- */
/* REPLY_SKIP: this command's reply; REPLY_SKIP_NEXT: the next one's. */
enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP };
struct queued { /* a request kept beyond its input bytes: MULTI, held requests, blocked clients; one
                   allocation */
    struct queued *next;
    const struct cmd_ref *ref;
    unsigned argc;
    struct slice argv[];
};
struct session {
    /* set at open */
    uint64_t id;
    struct session *registry_chain; /* under the registry's lock */
    uint64_t handle;
    struct conn *conn;
    struct worker *w;
    int64_t created_ms;          /* unix */
    struct session *next, *prev; /* of w->sessions */

    /* reactor-owned */
    unsigned db;
    int resp;
    bool authenticated;    /* it logged in, or nobody needs to */
    bool restricted;       /* its user may not do everything: acl_check() */
    bool logged_in;        /* its user's name and password were right, or none were needed then */
    struct acl_user *user; /* NULL: deleted, the session is being closed */
    bool paused;           /* CLIENT PAUSE holds it */
    bool doomed;           /* session_kill(): its reactor is about to close it */
    size_t counted_mem;    /* its part of w->clients_mem */
    size_t leaving_mem;    /* its part of x->leaving_mem */
    bool monitor;
    bool no_touch, no_evict;
    bool capa_redirect;             /* CLIENT CAPA: it understands -REDIRECT */
    bool deferred, deferred_silent; /* its reply comes later; with CLIENT REPLY OFF: none */
    bool is_stopped;                /* in w->stopped */
    struct session *next_stopped;
    bool killed_script; /* its SCRIPT KILL has worked before it was read */
    bool in_input;      /* inside session_input(): no re-entry */
    enum reply_mode reply_mode;
    bool confirmed;    /* what this command has said is not silenced: it confirms a subscription, or
                          is EXEC, which has silenced its commands itself */
    uint64_t last_lsn; /* of its last write: WAIT, published messages */
    uint64_t last_gate; /* newest gate of any reply */
    char *name, *lib_name, *lib_ver;
    struct queued *held, *held_tail; /* requests parsed but not executed: it blocked or was paused
                                        in the middle of a batch */
    const struct cmd_ref *last_cmd;
    uint64_t commands;
    struct multi *multi;         /* NULL: not in MULTI */
    struct watch_node *watching; /* its WATCHes, newest first */
    unsigned watch_count;
    bool unwatches;             /* it does not watch any more; exec_request() says so when it can */
    struct waiter *waiter;      /* blocked; NULL: not */
    struct subscriptions *subs; /* NULL: none */
    unsigned own_messages;      /* on their way to it, that it has published itself */
    bool hears_first;           /* deferred: its next request waits for them */
    struct tracking *tracking;  /* NULL: it does not track what it reads */
    struct parse_limits limits;
    size_t multi_mem;

    /* atomic */
    _Atomic bool
        watch_dirty; /* a watched key changed: set under that key's shard lock by anybody */
};

struct exec {
    struct keyspace *ks;
    struct net *net;
    struct wal *wal;
    struct exec_shard *shards;
    unsigned nshards, reactors, nworkers;
    struct worker *workers;
    struct exec_options opt;
    struct command_table *commands;
    char maxclients_error[128]; /* options.c; CONFIG SET runs alone */
    _Atomic uint64_t floor;     /* gate of everything: last whole-keyspace change */
    _Atomic bool loading;
    _Atomic uint64_t next_session_id;
    _Atomic uint64_t load_done, load_total; /* bytes of the log replayed, and all */
    _Atomic int64_t load_start_ms;
    int64_t load_logged_ms; /* dispatcher of the replay */

    /* a log that begins or ends while clients are served (log_begin.c); change in exclusive
     * sections */
    _Atomic bool imaging;       /* begin != NULL */
    _Atomic bool tracking_used; /* somebody has tracked since the start: key_changed() asks */
    _Atomic bool log_partial;   /* it does not hold everything yet, or not durably: no LSNs */
    struct log_begin *begin;
    bool log_closing; /* nothing is appended any more, gates still hold; a change made meanwhile
                         has a gate that this log does not reach */

    /* exclusive section (section.c) */
    struct lock section_lock;
    _Atomic uint32_t section_flag; /* 1: reactors park at the next command boundary */
    _Atomic uint32_t section_word; /* futex: bumped when the flag falls or a worker stops running */
    _Atomic uint64_t retire_epoch;
    struct worker *_Atomic replaying; /* workers of a replay; they sweep, too */

    struct registry *registry; /* sessions by id */
    struct errors *errors;     /* errorstat_* */
    struct pubsub *pubsub;
    struct trackers *trackers;
    struct slowlog *slowlog;
    struct hotkeys *hotkeys; /* the last session; changes in exclusive sections */
    struct latency *latency;
    struct acl *acl;
    struct monitors *monitors;
    struct files *files;
    struct scripts *scripts; /* of script/; set before threads, as the next */
    const struct script_hooks *script_hooks;
    /* a script that runs alone for longer than busy-reply-threshold (scripted.c) */
    _Atomic uint32_t busy;          /* enum script_kind; 0: there is none */
    struct lock busy_lock;          /* RANK_STATS; over what is told of a script (script_told.c) */
    struct slow_script busy_script; /* without ms; one that is not slow yet may be told of, too */
    int64_t busy_since_us;
    struct worker *busy_by; /* who runs it; NULL: nothing is told */
    bool busy_function, busy_wrote;
    _Atomic unsigned monitor_count;
    _Atomic int64_t pause_until_ms; /* monotonic; 0: nobody paused the clients */
    _Atomic bool pause_all;         /* not only writes; written in an exclusive section */
    _Atomic uint64_t evicted_clients;
    _Atomic int64_t leaving_mem; /* of evicted clients that are not closed yet */
    _Atomic int64_t telling_mem; /* of invalidations on their way to reactors */
    _Atomic int shutdown_flags;  /* -1: none asked */
    void (*stop)(void *arg);     /* NULL: nothing to do; set before threads, as the next two */
    void (*leave)(void *arg);
    void *leave_arg;
    _Atomic unsigned blocked_now, blocked_timed, blocking_keys, watching_clients, watched_keys,
        blocking_missing;
    _Atomic uint64_t ready_lists; /* txn.ready_list is the next one */
};

/* command.c */
int commands_new(struct exec *x);
void commands_free(struct exec *x);
const struct cmd_ref *command_lookup(const struct exec *x, const struct slice *argv,
                                     unsigned argc); /* with its subcommand */
const struct cmd_ref *command_lookup_top(const struct exec *x, struct slice name);
/* By the name in the log: rename-command is for clients only. */
const struct cmd_ref *command_lookup_logged(const struct exec *x, const struct slice *argv,
                                            unsigned argc);
/* The name of the command that clients call by another one, or NULL. */
const char *command_original_name(const struct cmd_ref *ref);
unsigned commands_count(const struct exec *x); /* statistics ids: 0..count-1 */
const struct cmd_ref *command_by_id(const struct exec *x, unsigned id);

/* execute.c: one transaction = one command, EXEC or script */
void txn_begin(struct txn *t, struct worker *w);
void txn_lock(struct txn *t, const struct key *keys, unsigned nkeys,
              uint32_t *lock_set); /* shards of the keys; collects their gates */
void txn_commit(struct txn *t);    /* appends the record, publishes events; locks still held */
void txn_unlock(struct txn *t);
bool txn_holds(const struct txn *t, uint32_t shard);                   /* its lock */
void txn_gates(struct txn *t, const struct key *keys, unsigned nkeys); /* their gates; locks held */
void txn_touch(struct txn *t, const struct key *k, bool changed);
void call_invoke(struct call *c); /* runs the handler and collects its effects into the transaction;
                                     locks held */
/* Why nothing can be written now; NULL: it can, or row does not. */
const char *write_refusal(struct exec *x, const struct command *row);
/* One request of a session from lookup to reply. */
void exec_request(struct session *s, struct pending *p);
unsigned call_add_keys(struct worker *w, unsigned at, const struct cmd_ref *ref,
                       const struct slice *argv, unsigned argc);
void worker_keys_reserve(struct worker *w, unsigned n); /* room in w->keys, key_index, lock_set */
#define KEYS_KEPT 1024 /* places that a worker keeps between turns; for so few there is room */
must_check bool worker_keys_try_reserve(struct worker *w, unsigned n);
void worker_keys_shrink(struct worker *w); /* between turns: what one large request needed */
/* Room for the keys of a request behind `at` others. False: there is no memory. */
must_check bool call_keys_fit(struct worker *w, unsigned at, const struct cmd_ref *ref,
                              const struct slice *argv, unsigned argc);
void call_account(struct session *s, struct call *c); /* statistics of a call that just ended */
unsigned call_find_keys(struct worker *w, const struct cmd_ref *ref, const struct slice *argv,
                        unsigned argc); /* into w->keys */
int64_t worker_now_slow(struct worker *w);
/* The time that commands see: that of w->ticks, to half a millisecond. */
static inline int64_t worker_now_ms(struct worker *w)
{
    return likely(w->ticks - w->wall_ticks <= w->wall_keeps) ? w->wall_ms : worker_now_slow(w);
}

/* image.c */
struct log_walk;
struct image_part { /* a large value that waits to be written */
    struct image_part *next;
    unsigned db;
    struct entry *e; /* in no table; shares the value of that moment */
};
/* The content of a shard, whose lock is held; large values are put before *big instead. big NULL:
 * all of it goes to the queue of log_begin.c. */
void image_shard(struct worker *w, unsigned index, struct image_part **big);
/* Without a lock. False: there was no room for all of it, and there will be none. */
bool image_part_write(struct log_walk *walk, struct worker *w, const struct image_part *p);
void image_part_free(struct image_part *p);
/* What belongs to no shard: libraries. In an exclusive section. */
void image_libraries(struct worker *w);

/* log_begin.c; while x->imaging */
/* Before a transaction that holds the locks of these shards changes anything. */
void log_begin_mixed(struct worker *w, const uint32_t *shards, unsigned n);
/* In an exclusive section, before these keys, or just any, change. */
void log_begin_keys(struct worker *w, const struct key *keys, unsigned n);
void log_begin_all(struct worker *w);
/* Instead of appending; the locks of what t changed are held. False: it is to be appended. */
bool log_begin_takes(const struct txn *t, struct wal_frame frame, const struct slice *parts,
                     unsigned n);
bool log_begin_full(const struct exec *x); /* clients that write are to be stopped */
bool log_walk_room(struct log_walk *walk); /* waits for it; false: there will be none */
/* Something is missing in the log that begins, for lack of memory: it is given up. */
void log_begin_no_memory(struct exec *x);
static inline bool log_begins(const struct exec *x)
{
    return unlikely(atomic_load_explicit(&x->imaging, memory_order_relaxed));
}

/* acl.c: what the rest asks of users */
void acl_new(struct exec *x);
void acl_free(struct exec *x);
void acl_counts(struct exec *x, struct exec_stats *out);
void acl_counts_reset(struct exec *x);
void acl_user_line_free(struct exec_user_line *l);
/* May the session's user run this now? False: refused and replied. Only for s->restricted. */
must_check bool acl_admits(struct call *c);
const char *session_user_name(const struct session *s);
void session_reset_user(struct session *s);         /* as a connection that has just been made */
bool session_subs_allowed(const struct session *s); /* all it listens to */
void session_forbid_wait(
    struct session *s); /* exclusive section: blocked, it is not served any more */
void client_describe(const struct call *c, struct session *s,
                     struct buf *out); /* a CLIENT LIST line */

/* session.c, dispatch.c */
struct session *session_open(struct worker *w, struct conn *conn);
void session_close(struct session *s);
/* Its client hears no more than was promised: it waits for nothing, and runs nothing. */
void session_end_wait(struct session *s);
size_t session_input(struct session *s, struct slice in);
/* ahead.c: the upcall; and the second argument of the request at the start of `in`, if it is there.
 */
void inputs_ahead(struct worker *w, const struct net_input *in, unsigned n);
/* The first n of w->batch: members that several in a row name of the same key. Takes and gives back
 * shard locks; not while the worker is busy. */
void members_ahead(struct worker *w, unsigned db, unsigned n);
must_check bool guess_key(struct slice in, struct slice *key);
void session_resume(
    struct session *s); /* held requests and input go on: after unblocking, unpausing */
void session_kill(struct session *s); /* closes it by a message to its reactor; exclusive section */
void session_hold(struct session *s, struct pending *p);
void sessions_unstop(struct worker *w);
void session_set_authenticated(struct session *s, bool yes);
enum obuf_class { OBUF_NORMAL, OBUF_REPLICA, OBUF_PUBSUB };
void session_set_obuf_class(struct session *s, enum obuf_class cls);
bool session_set_text(char **at, struct slice value); /* false: not printable */
void session_protocol_error(struct session *s, const char *error);
void session_greet(struct session *s);    /* protected mode may refuse it */
void security_warning(struct session *s); /* an HTTP request on a Redis port */
void registry_add(struct session *s);
void registry_remove(struct session *s);
struct session *registry_find(struct exec *x, uint64_t id); /* exclusive section */
uint64_t registry_handle(struct exec *x, uint64_t id);      /* 0: there is no such client */
unsigned registry_count(struct exec *x);
unsigned clients_cron(struct worker *w); /* idle timeouts; -> ms until it wants to run again */
void parts_new(struct exec *x);          /* creates the parts: errors, pub/sub, slow log, ... */
void parts_free(struct exec *x);
void session_unblock_closed(struct session *s); /* its connection is gone: out of every queue */
void session_unsubscribe_all(struct session *s);
void session_unmonitor(struct session *s);
/* A request that is to run later. NULL: no memory, and its client's connection is closed. */
must_check struct queued *session_copy(struct session *s, const struct pending *p);
must_check struct queued *queued_try_copy(const struct cmd_ref *ref, const struct slice *argv,
                                          unsigned argc); /* NULL: no memory */
/* p runs before whatever is held, when it goes on. False: no memory; closed. */
must_check bool session_hold_first(struct session *s, const struct pending *p);
/* defer.c: p waits for s->own_messages; session_heard() when there are none any more. */
void session_hear_first(struct session *s, const struct pending *p);
void session_heard(struct session *s);
bool session_runs(const struct session *s); /* not blocked, paused, deferred, doomed, closing */

/* exec.c: the process ends, and a script with it; late: it has had its time. */
bool scripts_end(struct exec *x, bool late);

/* section.c */
void section_enter(
    struct worker *w); /* the calling worker holds no lock; w NULL: not a worker thread */
/* The same on a reactor. False: a script that runs long has the section; w may be busy. */
must_check bool section_enter_unless_busy(struct worker *w);
void section_leave(struct worker *w);
/* In a section that goes on behind a script that ran long (x->busy is 0 again): waits until those
 * that the script let go on have stopped, and gives back the shard locks that it took. */
void section_alone_again(struct worker *w);
void section_poll_slow(struct worker *w);
static inline void section_poll(struct worker *w)
{
    if (unlikely(atomic_load_explicit(&w->x->section_flag, memory_order_relaxed) || w->busy)) {
        section_poll_slow(w);
    }
}
void worker_sleep(struct worker *w);
void worker_wake(struct worker *w);
void worker_quiesce(struct worker *w); /* reclaims what it retired and nobody can see any more */
/* Workers of a replay, which are no reactors; those retire nothing meanwhile. replay_join() before
 * its thread starts and replay_left() behind its end, by the caller of exec_replay(); replay_here()
 * in the thread, which calls worker_quiesce() wherever it looks at nothing of the keyspace. */
void replay_join(struct worker *w);
void replay_here(struct worker *w);
void replay_left(struct exec *x); /* all of them; frees what they retired, or hands it on */

/* effects.c */
void fx_argv(struct txn *t, unsigned db, const struct slice *argv, unsigned argc);
void fx_collect_slow(struct call *c);
/* Verbatim effect of a changed call without explicit ones. */
static inline void fx_collect(struct call *c)
{
    if ((c->in->changed || c->in->force_verbatim) && c->x->wal != NULL) {
        fx_collect_slow(c);
    }
}
static inline bool fx_any(const struct txn *t)
{
    return t->fx_commands != 0 || t->verbatim.n != 0;
}
/* Room for effects of so many bytes, before the first change. False: there is no memory. What is
 * small needs none of its own. */
must_check bool fx_room(struct txn *t, size_t bytes);
must_check bool fx_room_slow(struct call *c); /* for what c was given */
/* The same where the request's size tells that it is small, unless it is not in one piece. */
must_check static inline bool fx_room_request(struct call *c)
{
    return likely(c->in->raw.n - 1 < WAL_COPIED_MAX / 2) || !(c->cmd->flags & CMD_WRITE) ||
           fx_room_slow(c);
}
uint64_t fx_append(struct txn *t); /* -> LSN, 0 when there is nothing to log */
void fx_reset(struct txn *t);
void fx_slot(struct txn *t, const struct key *k); /* k's hash slot joins the record's */

/* multi.c, blocking.c, pubsub.c, notify.c, stats.c, monitor.c ... */
void watch_touch_slow(struct exec *x, unsigned db, const struct key *k);
static inline void watch_touch(struct exec *x, unsigned db,
                               const struct key *k) /* shard lock held */
{
    if (unlikely(x->shards[k->shard].watches != NULL)) {
        watch_touch_slow(x, db, k);
    }
}
void watch_touch_expired(struct exec *x, unsigned db,
                         const struct key *k); /* deleted because it had expired */
void watch_touch_swap(struct call *c, unsigned a,
                      unsigned b); /* exclusive section, before the swap */
unsigned multi_count(const struct session *s);
uint32_t multi_flags(const struct session *s); /* of all queued rows; in MULTI */
void watch_touch_db(struct exec *x, int db);   /* exclusive section */
void session_unwatch(struct session *s);       /* takes shard locks */
void session_discard(struct session *s);       /* leaves MULTI */
/* False: no memory. */
must_check bool multi_queue(struct session *s, const struct cmd_ref *ref, const struct slice *argv,
                            unsigned argc);
#define EXECABORT "EXECABORT Transaction discarded because of: "
void multi_flag_error(struct session *s);
/* A request that is refused: true when it is EXEC. Then its transaction has ended, and the reply is
 * EXECABORT with the reason behind it. */
bool exec_refused(struct call *c);
void multi_begin(struct session *s); /* in no MULTI yet */

/* events.c: what a transaction has to tell when it has its record. Clients choose the sizes, and it
 * is told after the change: what there is no memory for is noted in txn.lost, and whoever would
 * have heard of it is disconnected, or told that all keys have changed (tracking). */
enum { LOST_MESSAGES = 1, LOST_LINES = 2, LOST_KEYS = 4 };
void events_publish(struct txn *t, uint64_t gate);
void events_forget(struct txn *t);
static inline bool events_any(const struct txn *t)
{
    return (t->nevents | t->lost) != 0;
}
/* Of copies. The second is for who can still refuse: false: no memory, and nothing is noted. */
bool event_message(struct txn *t, int kind, struct slice channel, struct slice text);
must_check bool event_try(struct txn *t, int kind, struct slice channel, struct slice text);
void event_own(struct txn *t, int kind,
               struct buf *text); /* takes its memory; text is empty then */
void event_lost(struct txn *t, int kind);
unsigned session_subs(const struct session *s,
                      int kind); /* 0 channels, 1 patterns, 2 shard channels */
void pubsub_new(struct exec *x);
void pubsub_counts(struct exec *x, struct exec_stats *out);
void pubsub_free(struct exec *x);
void waits_ready(struct txn *t, unsigned db,
                 const struct key *k); /* shard lock held: remember it when somebody waits */
/* k was changed: if it is no stream any more, who waits for a group of it has to know. */
void waits_changed(struct txn *t, unsigned db, const struct key *k);
/* SWAPDB, FLUSHALL: whoever waits in `db` (-1: in any) may find its key there now, or learns that
 * it is gone. Exclusive section. */
void waits_ready_db(struct txn *t, int db);
void waits_serve(struct txn *t);                /* after the record, locks of t still held */
void waits_serve_rest(struct worker *w);        /* after unlocking: those that need more locks */
uint64_t waiter_handle(const struct waiter *w); /* of its client */
void waits_durable(struct worker *w);           /* each turn: ends the waits whose LSN is durable */
bool waits_durable_pending(struct worker *w);   /* before sleeping; true: take another turn */
bool session_unblock(struct session *s,
                     bool with_error); /* CLIENT UNBLOCK: exclusive section or home reactor */
void error_count(struct exec *x, struct worker *w, struct slice code);
void slowlog_note(struct call *c, uint64_t ticks);
void commandlog_note_sizes(struct call *c);
bool session_subscribed(const struct session *s); /* to anything */
/* A command that runs in t; s NULL: a script calls it. Between txn_begin() and txn_commit(). */
void monitor_feed_slow(struct txn *t, const struct session *s, unsigned db,
                       const struct slice *argv, unsigned argc);
static inline void monitor_feed(struct txn *t, const struct session *s, unsigned db,
                                const struct slice *argv, unsigned argc)
{
    if (unlikely(atomic_load_explicit(&t->w->x->monitor_count, memory_order_relaxed) > 0)) {
        monitor_feed_slow(t, s, db, argv, argc);
    }
}
#define EVENT_MONITORED 20 /* its text is a line of monitor.c */
void monitor_publish(struct exec *x, struct event *e, uint64_t gate); /* takes the text */
size_t memory_not_counted(const struct exec *x); /* of mem_used(), for maxmemory */
/* Above maxmemory: clients above their own limit go before keys do. It may park the worker. */
void memory_let_clients_go(struct worker *w);
bool memory_make_room(struct worker *w); /* true: under maxmemory (after evicting) */
bool memory_is_full(struct exec *x);     /* above maxmemory, and nothing may be evicted */
#define NO_MEMORY "OOM command not allowed when used memory > 'maxmemory'."
/* Between commands: what CONFIG SET maxmemory, or a slice before, left over; -> ms until it wants
 * to run again. */
unsigned evict_slice(struct worker *w);
void key_expire_now(struct call *c, const struct key *k,
                    struct entry *e); /* access.c: deletes an expired entry, DEL effect, event */
/* Removes some fields that are due, none where there is no memory to log it; some fields are left,
 * or e is entry_expired(). */
#define FIELDS_PER_RECORD 32
void key_expire_fields(struct call *c, const struct key *k, struct entry *e);
unsigned expire_slice(struct worker *w); /* -> ms until it wants to run again */
/* Any thread, under the shard's lock: its next due is earlier than it was
 * (keyspace_tell_earlier()).
 */
void expire_earlier(void *exec, unsigned shard, int64_t due_ms);
void expire_look_earlier(struct worker *w); /* its reactor, in each turn: what others asked for */

/* scripted.c */
void scripts_free(struct worker *w);
/* script_told.c */
struct running_script {
    const char *name;
    int64_t since_us; /* monotonic */
    bool wrote;
};
bool script_is_function(const struct call *c); /* c is an FCALL, or else an EVAL */
/* Others hear of the script that c runs, if they hear of no other, or if it is the slow one. True:
 * they do, until script_untell() of its worker. */
bool script_tell(const struct call *c, const struct running_script *script, bool slow);
/* True: it was killed, from when it was told of to now. */
must_check bool script_untell(struct worker *w);
/* Asked now and then by the script that is told of, which says whether it has written. */
bool script_killed(struct worker *w, bool wrote);
/* Before its first write. False: it was killed; true: nobody hears any more that it was. */
bool script_may_write(struct worker *w);
void script_unlock(struct worker *w); /* what a slow script in this section has locked */
enum script_kind { SCRIPT_EVAL = 1, SCRIPT_FUNCTION = 2 };
const char *script_busy_text(const struct exec *x); /* what others are answered meanwhile */
#define SCRIPT_LOOK_MS 10 /* what has to wait for a script that runs long looks again so often */

/* pause.c */
bool pause_active_slow(struct exec *x);
bool pause_holds_slow(const struct call *c);
/* CLIENT PAUSE lasts: nothing expires, nothing is evicted. */
static inline bool pause_active(struct exec *x)
{
    return unlikely(atomic_load_explicit(&x->pause_until_ms, memory_order_relaxed) != 0) &&
           pause_active_slow(x);
}
/* This request must wait, or its client was killed and it must not run at all: pause_hold() knows.
 * Ask after anything that may park the worker. */
static inline bool pause_holds(const struct call *c)
{
    return unlikely(c->session->doomed) ||
           (unlikely(atomic_load_explicit(&c->x->pause_until_ms, memory_order_relaxed) != 0) &&
            pause_holds_slow(c));
}
void pause_hold(struct session *s, const struct pending *p);
void pause_closed(struct session *s);
void cmd_client_pause(struct call *c);
void cmd_client_unpause(struct call *c);
void expire_slice_all(struct worker *w); /* one slice over every reactor's shards */

/* latency.c */
enum latency_event {
    LATENCY_COMMAND,
    LATENCY_FAST_COMMAND,
    LATENCY_EXPIRE_CYCLE,
    LATENCY_EVICTION_CYCLE,
    LATENCY_EVICTION_DEL,
    LATENCY_FSYNC,
    LATENCY_EVENTS
};
void latency_new(struct exec *x);
void latency_free(struct exec *x);
/* Records an event that took at least latency-monitor-threshold. Any thread. */
void latency_note(struct exec *x, enum latency_event e, int64_t us);
void latency_count(struct cmd_stat *st, uint64_t ticks); /* owner of st */
void latency_reset_histogram(struct cmd_stat *st);       /* exclusive section */
static inline void stat_count(struct worker *w, unsigned id, uint64_t ticks, bool failed)
{
    struct cmd_stat *st = &w->stats[id];
    counter_add(&st->calls, 1);
    counter_add(&st->ticks, ticks);
    if (unlikely(failed)) {
        counter_add(&st->failed, 1);
    }
    if (likely(option_int(&w->x->opt.latency_tracking))) {
        latency_count(st, ticks);
    }
}

void stat_served(struct call *c, uint64_t ticks); /* stats.c; of a blocked client, by its server */

/* client_memory.c */
size_t session_memory(const struct session *s); /* its reactor, or an exclusive section */
void clients_account(struct session *s);        /* after input, after a push; its reactor */
void clients_recount(struct worker *w);
/* On a reactor, between requests: before sleeping, when w->check_clients. It may park w; a script
 * that runs long makes w busy instead, and leaves w->check_clients. */
void clients_evict(struct worker *w);
void clients_evict_now(struct exec *x); /* inside the exclusive section */

extern const struct command client_commands[], slowlog_commands[], monitor_commands[];
extern const struct command hotkeys_commands[];
extern const struct command latency_commands[], acl_commands[], commandlog_commands[];
void slowlog_new(struct exec *x);
void slowlog_free(struct exec *x);
void hotkeys_note(struct call *c, uint64_t ticks); /* of a call that ended; w->hotkeys != NULL */
void hotkeys_free(struct exec *x);
void monitors_new(struct exec *x);
void monitors_free(struct exec *x);
void files_new(struct exec *x);
void files_free(struct exec *x);
extern const struct command multi_commands[], connection_commands[], pubsub_commands[];

uint64_t worker_slow_ticks(struct exec *x, int64_t slowlog_us);

/* Replies whose gate is not above it may leave. */
uint64_t exec_release_point(const struct exec *x);

/* Nothing can be logged. Writes are refused; nothing expires or is evicted either, or whoever reads
 * what has gone would wait for space. */
static inline bool log_is_full(const struct exec *x)
{
    return x->wal != NULL && unlikely(wal_state(x->wal) == WAL_NOSPACE);
}

/* min-replicas-to-write: there never is one. Either 0 switches it off. */
static inline bool lacks_replicas(const struct exec *x)
{
    return option_int(&x->opt.min_replicas_to_write) > 0 &&
           option_int(&x->opt.min_replicas_max_lag) > 0;
}

static inline uint8_t key_group(const struct key *k)
{
    return (uint8_t)((k->hash >> 44) & (RECENT_GROUPS - 1));
}
#endif
