/* exec.h -- Running commands: rows, the call a handler works in, keys, effects, events, blocking;
 * and what server/ composes. SPDX-License-Identifier: BSD-3-Clause
 *
 * A HANDLER   `static void cmd_x(struct call *c)` runs with the locks of every key its row declares
 * (c->keys), sees one time (c->now_ms), changes the store only through key_* below or store
 * functions on entries it got from them, tells of each change with key_changed(), and writes
 * exactly one reply. It must not block, sleep, do I/O or take locks. If it replies with an error it
 * must have changed nothing. EFFECT      What goes into the log: by default, when key_changed() was
 * called, the arguments as they came. A handler whose command is relative, random or conditional
 * replaces that by effect_*() (absolute, deterministic). THREADS     Handlers run on reactors, on
 * replay workers (CALL_REPLAY: c->session == NULL) and, for a blocked client, on the reactor of
 *             whoever made its key ready (CALL_SERVING). So a handler never touches thread-owned
 * state except through `c`. */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include "base/bytes.h"
#include "base/option.h"
#include "store/store.h"
#include <sys/types.h>

struct exec;
struct session;
struct call;
struct out;

#define EXEC_REDIS_VERSION \
    "7.4.2" /* the Redis surface this engine has; clients decide by it what they may send */

/* ================= Command rows ================= */

enum command_flags {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENYOOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NOSCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7,
    CMD_STALE = 1 << 8,
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_SLOWLOG = 1 << 10,
    CMD_ASKING = 1 << 11,
    CMD_FAST = 1 << 12,
    CMD_NO_AUTH = 1 << 13,
    CMD_MAY_REPLICATE = 1 << 14,
    CMD_NO_MANDATORY_KEYS = 1 << 15,
    CMD_NO_ASYNC_LOADING = 1 << 16,
    CMD_NO_MULTI = 1 << 17,
    CMD_ALLOW_BUSY = 1 << 18,
    CMD_MOVABLEKEYS = 1 << 19, /* shown in COMMAND INFO; set by hand where Redis shows it */
    CMD_PROTECTED = 1 << 20,
    /* kv's own, never shown: */
    CMD_ANY_KEY = 1 << 23,   /* may change keys that it does not declare (DEBUG) */
    CMD_EXCLUSIVE = 1 << 24, /* runs alone in an exclusive section: whole-keyspace writes, reads of
                                other reactors' sessions */
    CMD_KEYSPACE = 1 << 25, /* takes shard locks itself one at a time (KEYS, SCAN, DBSIZE): makes an
                               EXEC that holds it exclusive */
    CMD_SERVE_ONE = 1 << 26, /* a blocked call may be served with the lock of the ready key alone
                                (call_serves()) */
    CMD_OWN_TXN = 1 << 28,   /* its handler makes the transaction itself: EXEC, EVAL */
    CMD_NO_QUEUE = 1 << 27,  /* acts at once inside MULTI: EXEC, DISCARD, WATCH, QUIT, RESET, MULTI,
                                UNWATCH is queued */
    CMD_OWN_MONITOR = 1 << 30, /* its handler feeds MONITOR itself: EXEC */
    CMD_SYSCMD = 1 << 29,      /* COMMAND DOCS says "syscmd": not meant for users */
};
enum command_acl { /* ACL categories set by hand;
                      write/read/fast/slow/admin+dangerous/blocking/pubsub follow from the flags as
                      in Redis */
                   ACL_KEYSPACE = 1 << 0,
                   ACL_READ = 1 << 1,
                   ACL_WRITE = 1 << 2,
                   ACL_SET = 1 << 3,
                   ACL_SORTEDSET = 1 << 4,
                   ACL_LIST = 1 << 5,
                   ACL_HASH = 1 << 6,
                   ACL_STRING = 1 << 7,
                   ACL_BITMAP = 1 << 8,
                   ACL_HYPERLOGLOG = 1 << 9,
                   ACL_GEO = 1 << 10,
                   ACL_STREAM = 1 << 11,
                   ACL_PUBSUB = 1 << 12,
                   ACL_ADMIN = 1 << 13,
                   ACL_FAST = 1 << 14,
                   ACL_SLOW = 1 << 15,
                   ACL_BLOCKING = 1 << 16,
                   ACL_DANGEROUS = 1 << 17,
                   ACL_CONNECTION = 1 << 18,
                   ACL_TRANSACTION = 1 << 19,
                   ACL_SCRIPTING = 1 << 20,
};
enum key_flags { /* of a key spec, as COMMAND INFO shows them */
                 KEY_RO = 1,
                 KEY_RW = 2,
                 KEY_OW = 4,
                 KEY_RM = 8,
                 KEY_ACCESS = 16,
                 KEY_UPDATE = 32,
                 KEY_INSERT = 64,
                 KEY_DELETE = 128,
                 KEY_NOT_KEY = 256,
                 KEY_INCOMPLETE = 512,
                 KEY_VARIABLE = 1024,
};
/* One key specification. begin: an index, or the argument after a keyword; then a range (last
 * relative to the first key or, negative, to the end; every `step`th), or a count argument
 * (numkeys). */
struct keyspec {
    uint16_t flags;
    int8_t begin; /* index of the first key, or with `keyword` where the search starts (negative:
                     from the end, backwards) */
    const char *keyword; /* NULL: `begin` is the index */
    int8_t last, step; /* range form: last key relative to the first (0: one key; -1: to the end of
                          argv, -2 ...), step 1.. */
    int8_t limit; /* range to the end: only the first 1/limit of the arguments (XREAD: 2); 0, 1: no
                     limit */
    bool numkeys; /* argv[begin] is the number of keys; they follow it, every `step`th */
    const char *notes;
};
#define KEYSPEC_MAX 3
/* Keys that no rule finds, for COMMAND INFO only: the row has getkeys. */
#define KEYS_UNKNOWN(fl, why)                                \
    {                                                        \
        .flags = (fl), .begin = 0, .step = 1, .notes = (why) \
    }
#define KEY_AT(i, fl)                                     \
    {                                                     \
        .flags = (fl), .begin = (i), .last = 0, .step = 1 \
    }
#define KEYS_FROM(i, to, st, fl)                                \
    {                                                           \
        .flags = (fl), .begin = (i), .last = (to), .step = (st) \
    }
#define KEYS_COUNTED(at, fl)                                     \
    {                                                            \
        .flags = (fl), .begin = (at), .numkeys = true, .step = 1 \
    } /* argv[at] = numkeys, keys follow */
#define KEYS_AFTER(word, from, to, st, lim, fl)                                        \
    {                                                                                  \
        .flags = (fl), .begin = (from), .keyword = (word), .last = (to), .step = (st), \
        .limit = (lim)                                                                 \
    }

/* Keys of odd layouts (SORT STORE, EVAL, GEORADIUS STORE ...): fills index[] with argv positions;
 * returns how many, -1: invalid arguments (the handler will answer the error and touches no key).
 * room: size of index[]; more keys than room: return the needed count. */
typedef int (*keys_fn)(const struct slice *argv, unsigned argc, uint32_t *index, unsigned room);

struct command_arg;
/* What of the container at the key a command with one key looks up first: members that a pipeline
 * names are fetched before its commands run (ahead.c). */
enum command_ahead {
    AHEAD_NOTHING,
    AHEAD_MEMBER,       /* argv[2], a field or member */
    AHEAD_RANK,         /* argv[2], and its place by score */
    AHEAD_SCORE_MEMBER, /* argv[3], which gets the score argv[2] */
    AHEAD_BY_MEMBER     /* argv[3], to whose score argv[2] is added */
};

struct command {
    const char *name; /* lower case */
    void (*proc)(struct call *c);
    int arity; /* as Redis: counts the name; negative: at least */
    uint32_t flags;
    uint32_t acl;
    enum command_ahead ahead;
    struct keyspec keys[KEYSPEC_MAX]; /* step 0: unused */
    keys_fn
        getkeys; /* overrides keys[] for finding keys; keys[] is still what COMMAND INFO shows */
    uint32_t (*key_flags)(const struct slice *argv,
                          unsigned argc); /* of all its keys when keys[0] is KEY_VARIABLE; valid
                                             arity */
    bool (*exclusive)(
        const struct slice *argv,
        unsigned argc); /* these arguments need an exclusive section (SORT BY/GET patterns) */
    /* May this call write though the row does not say so? What CLIENT PAUSE WRITE holds back. */
    bool (*may_write)(struct exec *x, const struct slice *argv, unsigned argc);
    const struct command *sub; /* subcommands, terminated by name NULL; name is the bare subcommand
                                  ("get" of "config") */
    const char *group, *since, *complexity, *summary;
    const char *syntax; /* "key [NX|XX] value": COMMAND DOCS arguments are parsed from it */
    const char *tips;   /* comma-separated, as COMMAND INFO shows */
    const char *deprecated_since, *replaced_by;
    const char *history; /* "6.2.0:Added the X option.|7.0.0:..." */
};

struct bit_name {
    uint32_t bit;
    const char *name;
};
/* Names of enum command_acl without the @, in Redis's order. */
#define COMMAND_CATEGORIES 21
extern const struct bit_name command_categories[COMMAND_CATEGORIES];
uint32_t command_category(struct slice name); /* in any case; 0: unknown */

/* ================= The call ================= */

enum call_flags {
    CALL_MULTI = 1,   /* inside EXEC */
    CALL_SCRIPT = 2,  /* inside a script */
    CALL_REPLAY = 4,  /* log mode: no clock, expiry, eviction, events, blocked clients, memory limit
                         (2-wal.md 5.7) */
    CALL_SERVING = 8, /* run again for a blocked client whose key became ready */
    CALL_EXCLUSIVE = 16 /* nobody else runs */
};
struct call {
    const struct command *cmd;
    const struct slice *argv;
    unsigned argc;
    unsigned nkeys;
    struct key *keys; /* declared keys in argv order (of their specs) */
    unsigned db;
    int resp;       /* 2 or 3 */
    unsigned flags; /* enum call_flags */
    int64_t now_ms; /* unix time of this command */
    struct exec *x;
    struct keyspace *ks;
    struct session *session; /* NULL on replay; other than asking session_* about the caller, use
                                the fields of the call */
    struct out *out;
    struct call_int *in; /* exec's own */
};

/* ---- Replies: exactly one per command; RESP2/3 by c->resp ---- */
void reply_ok(struct call *c);
void reply_simple(struct call *c, const char *text);
void reply_error(struct call *c,
                 const char *text); /* with its code: "ERR syntax error"; counted in errorstat */
/* The same for an error that was counted already: a script passes it on. */
void reply_error_again(struct call *c, const char *text);
void reply_errorf(struct call *c, const char *fmt, ...) printf_like(2, 3);
void reply_int(struct call *c, int64_t v);
void reply_bulk(struct call *c, struct slice s);
void reply_bulk_str(struct call *c, const char *s);
void reply_bulk_i64(struct call *c, int64_t v);
void reply_entry_string(
    struct call *c,
    struct entry *e); /* the string value of e as bulk, without a copy when it is large */
void reply_null(struct call *c);
void reply_null_array(struct call *c);
void reply_array(struct call *c, size_t n);
void reply_map(struct call *c, size_t pairs);
void reply_set(struct call *c, size_t n);
void reply_push(struct call *c, size_t n);
void reply_bool(struct call *c, bool v);
void reply_double(struct call *c, double v);
void reply_long_double(struct call *c, long double v);
void reply_human_double(struct call *c, long double v); /* coordinates: %.17Lf without zeros */
void reply_bignum(struct call *c, struct slice digits);
void reply_verbatim(struct call *c, struct slice s, const char ext[3]);
struct out_block *reply_array_deferred(struct call *c);
void reply_array_fill(struct call *c, struct out_block *hole, size_t n);
void reply_bulk_u64_fill(struct call *c, struct out_block *hole,
                         uint64_t v); /* the hole becomes a number as bulk */
void reply_bulk_fill(struct call *c, struct out_block *hole,
                     struct slice s); /* the hole becomes a bulk of up to 48 bytes */
void reply_map_fill(struct call *c, struct out_block *hole, size_t pairs);
void reply_set_fill(struct call *c, struct out_block *hole, size_t n);
void reply_help(
    struct call *c,
    const char *const *lines); /* XXX HELP: lines end with NULL; heading and HELP line are added */
/* Common errors in Redis's words. */
void reply_wrongtype(struct call *c);
void reply_syntax(struct call *c);
void reply_not_int(struct call *c);   /* ERR value is not an integer or out of range */
void reply_not_float(struct call *c); /* ERR value is not a valid float */
void reply_arity(struct call *c);     /* ERR wrong number of arguments for 'x' command; 'config|get'
                                         form for subcommands */
void reply_unknown_sub(
    struct call *c); /* ERR unknown subcommand or wrong number of arguments for 'x'. Try Y HELP. */
/* A subcommand with an argument too many, where the row's arity allows more: ERR unknown subcommand
 * or wrong number of arguments for 'y'. Try X HELP. */
void reply_wrong_sub(struct call *c);
void reply_oom(struct call *c);    /* -OOM, also for an allocation that failed */
void reply_no_key(struct call *c); /* ERR no such key */
/* Argument parsing: false after having replied the error. */
must_check bool arg_i64(struct call *c, unsigned i, int64_t *out);
must_check bool arg_i64_range(struct call *c, unsigned i, int64_t min, int64_t max, int64_t *out,
                              const char *error); /* error NULL: not_int, or the range in words */
must_check bool arg_f64(struct call *c, unsigned i, double *out);
must_check bool arg_ld(struct call *c, unsigned i, long double *out);
must_check bool arg_timeout_ms(struct call *c, unsigned i, bool seconds,
                               int64_t *deadline_ms); /* "timeout is negative" ...; 0: for ever */
bool arg_is(const struct call *c, unsigned i,
            const char *lower); /* i < argc and equal, ignoring case */
/* Argument i is a secret: SLOWLOG does not show it. */
void call_redact(struct call *c, unsigned i);

/* ---- Keys. `k` is a declared key (&c->keys[i]) or, in an exclusive call, any (call_key()). ----
 */
struct key call_key(struct call *c, struct slice s); /* hash of an undeclared key */
/* The caller's user may read whatever key there is: SORT BY and GET. */
bool call_reads_all_keys(const struct call *c);
/* The live entry or NULL. Counts keyspace hits and misses, updates the access clock (unless CLIENT
 * NO-TOUCH). An expired entry is NULL; nothing is deleted (except while DEBUG SET-ACTIVE-EXPIRE is
 * 0). */
struct entry *key_read(struct call *c, const struct key *k);
/* The same without touching the access clock: EXISTS, TYPE, TTL. miss_event false: a miss is
 * counted but tells nobody (OBJECT). */
struct entry *key_look(struct call *c, const struct key *k, bool miss_event);
/* The same without counting or touching: DEBUG, MEMORY, and what a handler looks at again. */
struct entry *key_peek(struct call *c, const struct key *k);
/* For a command that may change k: an expired entry is deleted first, with its event and DEL
 * effect. No hit or miss counted. */
struct entry *key_write(struct call *c, const struct key *k);
/* For a command that sets k and has no other reason to look it up: under an LFU policy the write
 * counts as an access. */
void key_count_write(struct call *c, const struct key *k);
/* True when e is NULL or of that type; else replies WRONGTYPE. */
must_check bool key_is(struct call *c, const struct entry *e, enum obj_type t);

/* Changes with all their bookkeeping (events are the handler's: notify()). The key_ versions call
 * key_changed themselves. */
struct entry *key_set_string(struct call *c, const struct key *k, struct slice v,
                             enum string_form form, bool keep_expire); /* NULL: replied -OOM */
struct entry *key_set_arg(struct call *c, const struct key *k, unsigned argi,
                          bool keep_expire); /* argument argi as string; NULL: replied -OOM */
/* Of entry_new_string(): cannot fail. */
struct entry *key_set_entry(struct call *c, const struct key *k, struct entry *e);
struct entry *key_set_int(struct call *c, const struct key *k, int64_t v, bool keep_expire);
struct entry *key_add(struct call *c, const struct key *k, enum obj_type t, enum obj_enc enc,
                      void *ptr); /* a new key; wakes blocked clients */
/* The same whatever k holds: the old value and its expiry go, without an event for them. */
struct entry *key_replace(struct call *c, const struct key *k, enum obj_type t, enum obj_enc enc,
                          void *ptr);
bool key_delete(
    struct call *c,
    const struct key *k); /* live entry deleted? (an expired one too, answering false) */
struct entry *key_expire_at(struct call *c, const struct key *k, struct entry *e,
                            int64_t unix_ms); /* -1: persist */
/* Fields of hashes (ds/fields.h): the `now` for entry_get_fields(), so that a call sees nothing
 * that is due; on replay it sees all. */
struct fields;
int64_t call_view(const struct call *c);
/* The fields of e after a change; key_changed() or key_delete() is to follow. */
void key_put_fields(struct call *c, const struct key *k, struct entry *e, const struct fields *f);
/* Before a command changes or depends on the fields name[0], name[step] ... (n of them): those that
 * are due are removed, with event and HDEL effect, because replay knows no time. False: replied
 * -OOM, and nothing changed. */
must_check bool key_drop_due(struct call *c, const struct key *k, struct entry *e, struct fields *f,
                             const struct slice *name, unsigned n, unsigned step);
/* The value of k changed in place, k was created, deleted or overwritten: WATCH, client tracking,
 * the log. */
void key_changed(struct call *c, const struct key *k);
/* Something beside the value changed, the groups of a stream: for the log alone. COMPAT: WATCH and
 * client tracking do not count it. */
void key_changed_quietly(struct call *c, const struct key *k);
/* INFO's rdb_changes_since_last_save counts elements and keys, as Redis does: n more than the one
 * that a command counts for when it changed anything; n when it changed nothing. */
void call_more_changes(struct call *c, int64_t n);
/* Elements were added to k, for which clients may be blocked (push to an existing key; key_add does
 * it itself). Served after the command. */
void key_ready(struct call *c, const struct key *k);
/* Whole entries between keys (both declared, or the same key in two databases: set c->db around
 * key_* calls to work in another database). The destination must be free (key_delete it first), but
 * of key_copy(), which replaces it. Events are the handler's, except "new". */
void key_rename(struct call *c, const struct key *from,
                const struct key *to); /* keeps the expiry */
void key_move_db(struct call *c, const struct key *k, unsigned to_db);
must_check bool key_copy(struct call *c, const struct key *from, unsigned to_db,
                         const struct key *to); /* false: replied -OOM */
/* Whole databases, in CMD_EXCLUSIVE handlers; db -1: all. Marks WATCHers, wakes who must be woken;
 * returns the number of keys. */
size_t call_flush(struct call *c, int db, bool async);
void call_swapdb(struct call *c, unsigned a, unsigned b);
/* Shard locks in CMD_KEYSPACE handlers; nothing inside an exclusive section. */
void call_shard_lock(struct call *c, struct shard *s);
void call_shard_unlock(struct call *c, struct shard *s);
/* Its time is over, or that of all its fields; false in log mode. */
bool entry_expired(const struct call *c, const struct entry *e);
void call_gate_all(
    struct call *c); /* a whole-keyspace read: the reply waits for everything appended so far */
/* Counts that a CMD_KEYSPACE handler read without the lock show changes that are not appended yet.
 * After the read and before call_gate_all(): until those seen of this shard are. call_gate_counts()
 * does it for all shards, and then what call_gate_all() does. */
void call_settle(struct call *c, struct shard *s);
void call_gate_counts(struct call *c);

/* ---- Effects ---- */
/* Replaces "the arguments as they came": each effect_* call appends one command to what this call
 * logs, in order; several become one MULTI ... EXEC record. Requires that the store change they
 * describe was made (or is made in this call). */
void effect(struct call *c, const struct slice *argv, unsigned argc);
#define EFFECT(c, ...)                                 \
    effect((c), (const struct slice[]){ __VA_ARGS__ }, \
           (unsigned)(sizeof((const struct slice[]){ __VA_ARGS__ }) / sizeof(struct slice)))
/* The effects of this call read k, which it does not change: on replay they keep their place among
 * the changes of k. Not needed for what is logged as it came. */
void effect_reads(struct call *c, const struct key *k);
/* Room for effects of `bytes` more than the request has, before the first change. False: there is
 * no memory. */
must_check bool effect_reserve(struct call *c, size_t bytes);
/* The same without what the call was given: its effects from here on come to at most `bytes`, with
 * EFFECT_ARG for each argument. */
must_check bool effect_fits(struct call *c, size_t bytes);
#define EFFECT_ARG (I64_TEXT_MAX + 5)
void effect_i64(struct call *c, struct slice name, struct slice key, int64_t v); /* NAME key v */
/* Unix ms: c->now_ms, and on replay, which has no time of its own, when the command was logged. For
 * what is told to users and decides nothing. */
int64_t call_logged_ms(const struct call *c);
/* False while the disk is full: a read that would log something of its own accord does not. */
bool call_may_log(const struct call *c);
void effect_none(struct call *c); /* the change needs no log entry of its own (already written by
                                     effect_*, or nothing durable changed) */
void effect_verbatim(struct call *c); /* the arguments as they came, even without key_changed()
                                         (PUBLISH-like, FLUSHALL of an empty keyspace) */

/* What was effected so far becomes a record of its own, and the call goes on: for exclusive admin
 * commands with more effects than one record should hold. More effects must follow. Nothing inside
 * MULTI, where all is one record. */
void call_commit_part(struct call *c);

/* ---- Keyspace events ---- */
enum notify_class {
    NOTIFY_GENERIC = 1 << 2,
    NOTIFY_STRING = 1 << 3,
    NOTIFY_LIST = 1 << 4,
    NOTIFY_SET = 1 << 5,
    NOTIFY_HASH = 1 << 6,
    NOTIFY_ZSET = 1 << 7,
    NOTIFY_EXPIRED = 1 << 8,
    NOTIFY_EVICTED = 1 << 9,
    NOTIFY_STREAM = 1 << 10,
    NOTIFY_KEY_MISS = 1 << 11,
    NOTIFY_MODULE = 1 << 13,
    NOTIFY_NEW = 1 << 14, /* 'n' */
};
void notify(struct call *c, enum notify_class cls, const char *event, const struct key *k);

/* ---- Blocking ---- */
/* The handler found nothing and may block: parks the client on keys[first..first+n) until
 * key_ready() of one of them, the deadline, UNBLOCK or disconnect. Then the row's proc runs again
 * with CALL_SERVING on copies of the arguments: if it still finds nothing it calls call_block again
 * (and keeps its place). May the call block at all? Inside MULTI or a script, or on replay, it may
 * not: call_may_block() is false and the handler replies what Redis replies on a timeout.
 * Without memory for the copies the client gets an error and is not blocked.
 * deadline_ms: monotonic as from arg_timeout_ms; 0: for ever. */
bool call_may_block(const struct call *c);
/* BLOCK_GROUP also runs again when the key is gone or something else. */
enum block_kind { BLOCK_LIST, BLOCK_ZSET, BLOCK_STREAM, BLOCK_GROUP, BLOCK_WAIT };
void call_block(struct call *c, enum block_kind kind, unsigned first, unsigned n,
                int64_t deadline_ms, void (*timeout_reply)(struct call *c));
/* Parks the client until everything up to lsn is durable (UINT64_MAX: that never comes), the
 * deadline, UNBLOCK or disconnect; then `reply` answers, whichever it was. After
 * call_may_block(). */
void call_block_until(struct call *c, uint64_t lsn, int64_t deadline_ms,
                      void (*reply)(struct call *c));
uint64_t session_last_write(const struct session *s); /* LSN of its last write; 0: none */
/* Blocking commands ask before they look at keys[i]. False: it counts as empty. Either a blocked
 * client is being served, another key is the ready one and the lock of this one is not held
 * (CMD_SERVE_ONE rows); or what is there is for those who wait for it already. */
bool call_serves(const struct call *c, unsigned i);

/* The reply of this call comes later, by exec_deferred_reply(): the handler writes none. The client
 * is parked meanwhile; when it ends its side, it still gets this reply and those to what it sent
 * behind. 0: not possible here (MULTI, scripts); nothing happened. */
must_check uint64_t call_defer(struct call *c);
/* Replaces a file (atomic_replace(); it keeps its mode, a new one gets `mode`) while the reactor
 * goes on. Writes the reply when it is on the disk: OK, or the error that `failed` writes, in
 * another thread. In MULTI and scripts it waits. Takes what is in *text. */
typedef void replace_failed_fn(struct buf *error, const char *path, int rc);
void call_replace_file(struct call *c, const char *path, mode_t mode, struct buf *text,
                       replace_failed_fn *failed);

/* ================= Scripts: script/ runs them, exec knows no language ================= */
/* Runs `body` as one transaction with the locks of c->keys: for the handler of a CMD_OWN_TXN row.
 * When body answers false, because call_script_command() did, all it did is undone and it runs once
 * more, in an exclusive section. alone: begins there. Inside EXEC the transaction is EXEC's. Before
 * the section other exclusive commands may run: body looks its script up again. c->in->held may be
 * set after it, and nothing was done. name lasts as long as the call. */
void call_script(struct call *c, const char *name, bool alone,
                 bool (*body)(struct call *c, void *arg), void *arg);
enum script_rules {
    SCRIPT_READONLY = 1,
    SCRIPT_OVER_MEMORY = 2, /* maxmemory was exceeded when the script began */
};
/* In that body: one command. *reply: its RESP bytes, errors too, until the next call. False: it
 * needs more than the locks that are held, nothing was done, and the script must end. */
must_check bool call_script_command(struct call *c, const struct slice *argv, unsigned argc,
                                    int resp, unsigned rules, struct slice *reply);
/* Asked now and then by a script that runs. SCRIPT_END: it was killed. SCRIPT_ALONE: it takes long;
 * its body must answer false, as after a false of call_script_command(). */
enum script_fate { SCRIPT_GOES_ON, SCRIPT_END, SCRIPT_ALONE };
must_check enum script_fate call_script_slow(struct call *c);
/* Now, in microseconds since 1970; stands still while a script runs. */
int64_t call_time_us(const struct call *c);
/* SCRIPT KILL (function false) and FUNCTION KILL. NULL: it will end; else the error. */
const char *call_script_kill(struct call *c, bool function);
/* What runs for longer than busy-reply-threshold; false: nothing does, or there is no memory to say
 * what. mem_free(name): one allocation with argv. */
struct slow_script {
    struct slice *name; /* of the script */
    struct slice *argv; /* how it was called; argc 0: there was no memory for it */
    unsigned argc;
    int64_t ms;
};
bool exec_slow_script(struct exec *x, struct slow_script *out);
unsigned call_worker(const struct call *c); /* id of the worker, below exec_workers() */
unsigned exec_workers(const struct exec *x);
/* Might the client run this command? redis.acl_check_cmd() */
must_check bool call_may_command(struct call *c, const struct slice *argv, unsigned argc);
/* What script/ attached; NULL: nothing. */
struct scripts;
struct script_hooks { /* called in exclusive sections */
    /* Calls emit(to, ...) with the commands that make its data, for a log that begins. */
    void (*each)(struct scripts *s, void (*emit)(void *to, const struct slice *argv, unsigned argc),
                 void *to);
    void (*flush)(struct scripts *s); /* drops that data: the log is loaded again */
};
/* Before threads. `hooks` stay; NULL only with `s`. */
void exec_set_scripts(struct exec *x, struct scripts *s, const struct script_hooks *hooks);
struct scripts *exec_scripts(const struct exec *x);
/* When the client's request came there was room, or it could be made: what a CMD_DENYOOM command
 * goes by. False: above maxmemory. */
bool call_has_room(const struct call *c);
/* Why no command could write now; NULL: it could. */
const char *call_write_refusal(const struct call *c);

/* The reply is above the client's hard output limit already, and the client is going to be closed:
 * a handler that would write on for long may stop where it is. */
bool call_reply_lost(const struct call *c);

/* ================= Options and state commands may read ================= */

/* What a command log keeps: by microseconds of execution, bytes of the request, of the reply. */
enum commandlog_kind {
    COMMANDLOG_SLOW,
    COMMANDLOG_LARGE_REQUEST,
    COMMANDLOG_LARGE_REPLY,
    COMMANDLOG_KINDS
};
#define LATENCY_PERCENTILES_MAX 32
struct exec_options { /* bound to the option tables of exec; read with option_int() */
    _Atomic int64_t list_max_listpack_size, list_compress_depth;
    _Atomic int64_t hash_max_listpack_entries, hash_max_listpack_value;
    _Atomic int64_t set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value;
    _Atomic int64_t zset_max_listpack_entries, zset_max_listpack_value;
    _Atomic int64_t hll_sparse_max_bytes;
    _Atomic int64_t stream_node_max_bytes, stream_node_max_entries;
    _Atomic int64_t proto_max_bulk_len;
    _Atomic int64_t maxmemory, maxmemory_policy, maxmemory_samples, maxmemory_eviction_tenacity;
    _Atomic int64_t lfu_log_factor, lfu_decay_time;
    _Atomic int64_t notify_flags;
    _Atomic int64_t commandlog_limit[COMMANDLOG_KINDS], commandlog_max_len[COMMANDLOG_KINDS];
    _Atomic int64_t latency_threshold, latency_tracking;
    _Atomic int64_t timeout_s, tcp_keepalive, maxclients;
    _Atomic int64_t durable_reads, active_expire; /* active_expire: DEBUG SET-ACTIVE-EXPIRE */
    _Atomic int64_t scripts_call_all; /* DEBUG SET-DISABLE-DENY-SCRIPTS: noscript means nothing */
    _Atomic int64_t cron_paused;      /* DEBUG PAUSE-CRON: no client is looked after */
    _Atomic int64_t protected_mode;
    _Atomic int64_t client_query_buffer_limit, maxmemory_clients;
    _Atomic int64_t obuf_hard[3], obuf_soft[3], obuf_soft_s[3]; /* normal, replica, pubsub */
    _Atomic int64_t busy_reply_threshold, slave_priority, min_replicas_to_write;
    _Atomic int64_t min_replicas_max_lag;
    _Atomic int64_t tracking_table_max_keys;
    unsigned latency_percentiles; /* written in an exclusive section */
    double latency_percentile[LATENCY_PERCENTILES_MAX];
    struct slice requirepass; /* owned */
    _Atomic int64_t acl_pubsub_default, acllog_max_len;
    char *aclfile;
    struct exec_user_line { /* directive `user`, for exec_load_users() */
        struct slice *word; /* name, rules; owned */
        unsigned words;
    } * user_line;
    unsigned nuser_lines;
    struct acl *acl; /* NULL until exec_adopt_options() */
};
#define EXEC_RESERVED_FILES 64 /* beside clients: log segments, listeners, epoll, the log file */
struct exec_options *exec_options(struct exec *x);
enum {
    POLICY_NOEVICTION,
    POLICY_ALLKEYS_LRU,
    POLICY_VOLATILE_LRU,
    POLICY_ALLKEYS_LFU,
    POLICY_VOLATILE_LFU,
    POLICY_ALLKEYS_RANDOM,
    POLICY_VOLATILE_RANDOM,
    POLICY_VOLATILE_TTL
};
#define POLICY_IS_LFU(p) ((p) == POLICY_ALLKEYS_LFU || (p) == POLICY_VOLATILE_LFU)
#define LFU_INIT         5 /* the counter of a new key */
#define POLICY_IS_LRU(p) ((p) == POLICY_ALLKEYS_LRU || (p) == POLICY_VOLATILE_LRU)
int64_t entry_idle_s(struct exec *x, const struct entry *e, int64_t now_ms); /* OBJECT IDLETIME */
unsigned entry_lfu(struct exec *x, const struct entry *e,
                   int64_t now_ms); /* OBJECT FREQ, decayed */
void entry_set_idle(struct exec *x, struct entry *e, int64_t idle_s, int64_t now_ms);
void entry_set_lfu(struct exec *x, struct entry *e, unsigned freq, int64_t now_ms);

/* Row by name ("config|get" too), and all of them: COMMAND. NULL: unknown. */
const struct command *exec_find_command(struct exec *x, const struct slice *argv, unsigned argc);
/* Declared keys of a request: argv indexes; -1 when the arguments are invalid for it. */
int command_keys(const struct command *cmd, const struct slice *argv, unsigned argc,
                 uint32_t *index, unsigned room);
/* The same with each key's enum key_flags, if `flags` is given (its size is room, too). */
int command_keys_flags(const struct command *cmd, const struct slice *argv, unsigned argc,
                       uint32_t *index, uint32_t *flags, unsigned room);
/* All ACL categories of a row: its own and those that follow from its flags. */
uint32_t command_acl(const struct command *row);
/* Top-level commands clients can call (rename-command may have removed some), in the order of the
 * tables. */
void exec_each_command(struct exec *x, void (*visit)(void *arg, const struct command *row),
                       void *arg);

/* ================= Composition: called by server/ only ================= */

struct net;
struct net_upcalls;
struct wal;
struct wal_report;
struct exec_config {
    struct keyspace *ks;
    unsigned reactors; /* worker ids 0..reactors-1 are the reactors and their log producers */
};
/* Extra worker (log producer) behind the reactors, for the main thread: loading, admin work. */
#define EXEC_EXTRA_WORKERS 1
int exec_new(struct exec **out, const struct exec_config *cfg) must_check;
void exec_free(struct exec *x);
void exec_register(
    struct exec *x,
    const struct command *rows); /* terminated by name NULL; before any thread starts */
const struct command *const *exec_families(struct exec *x, unsigned *n);
extern const struct command
    *const exec_own_families[]; /* multi, pub/sub, client, ... ; terminated by NULL */
must_check bool exec_rename_command(struct exec *x, struct slice from,
                                    struct slice to); /* rename-command; "" removes */
extern const struct option exec_option_table[];       /* bound to exec_options() */
void exec_options_started(struct exec *x);            /* values are loaded: before threads */
void exec_prepare(struct exec *x); /* after the last exec_register(), before threads */
void exec_adopt_options(struct exec *x, struct exec_options *loaded); /* takes the values over */
/* Users from requirepass and from the ACL file or the `user` directives; after exec_prepare(),
 * before threads. False: *error says why. */
must_check bool exec_load_users(struct exec *x, struct buf *error);
void exec_set_net(struct exec *x, struct net *n);
/* Before threads; both are called on any reactor. stop(arg): a SHUTDOWN NOSAVE was seen beside a
 * script, and the process stops from here on, whatever becomes of its client. leave(arg): the
 * process ends at once because a script that has written has to. */
void exec_set_leave(struct exec *x, void (*stop)(void *arg), void (*leave)(void *arg), void *arg);
void exec_set_wal(struct exec *x, struct wal *w); /* NULL: no log */
/* A log that begins or ends while clients are served. One thread of server/, which calls
 * exec_log_image() outside of exclusive sections and the others inside.
 * begin: from here on w gets the content, and changes of what it has. image: writes the content;
 * 0; -ECANCELED: go_on() said so; -ENOSPC, -ENOMEM, -EIO: it is to be given up. imaged: all of it
 * is in w. whole: and durable, and w is the current log: from here on replies wait for it. close:
 * nothing is appended from here on, but replies wait for what was; then, all of it durable, end:
 * there is no log. Ends a begun one, too. */
void exec_log_begin(struct exec *x, struct wal *w);
must_check int exec_log_image(struct exec *x, bool (*go_on)(void *arg), void *arg);
void exec_log_imaged(struct exec *x);
void exec_log_whole(struct exec *x);
void exec_log_close(struct exec *x);
void exec_log_end(struct exec *x);
bool exec_log_promises(const struct exec *x); /* workers: there is one, and it holds everything */
/* Any thread: the reply that call_defer() promised; error "": OK. Nothing if the client is gone. */
void exec_deferred_reply(struct exec *x, uint64_t ticket, const char *error);
/* Returns when all files are replaced; later ones are by those who ask. Before net_stop(). */
void exec_files_stop(struct exec *x);
void exec_net_upcalls(struct exec *x, struct net_upcalls *up);
void exec_wal_wake(void *exec, unsigned producer);               /* wal_config.wake */
void exec_wal_barrier(void *exec, int64_t us);                   /* wal_config.barrier */
void exec_set_loading(struct exec *x, bool on);                  /* -LOADING */
void exec_retire(void *exec, void *p, void (*free_fn)(void *p)); /* keyspace_config.retire */
/* Replays the log into the keyspace, while clients get -LOADING, with `threads` workers or as many
 * as can be started. 0, -EAGAIN (none can) or the error of wal_load(), whose report it fills; then
 * the keyspace is good for nothing. report NULL: the log has been judged (wal_replay_begin()). */
must_check int exec_replay(struct exec *x, struct wal *w, unsigned threads,
                           struct wal_report *report);
/* DEBUG RELOAD and LOADAOF, in a CMD_EXCLUSIVE handler: waits until the log is durable, then
 * empties the keyspace and replays the log into it, with as many threads as there are reactors.
 * Watched keys count as changed; blocked clients, gates and watermarks stay. 0; -EBUSY: this
 * transaction holds writes that have no record yet; -ENOENT: no log; other errors of the log. Then
 * nothing changed. If the replay itself fails the process ends with EXIT_WAL: the log has
 * everything, the memory would not. */
must_check int exec_reload(struct call *c);
/* Runs fn while no reactor executes: CONFIG SET, flips of the log. From worker threads inside a
 * CMD_EXCLUSIVE call it runs at once. */
void exec_exclusive(struct exec *x, void (*fn)(void *arg), void *arg);
/* Sums over all workers; any thread, each number recent. */
struct exec_stats {
    uint64_t commands, hits, misses, expired, expired_fields, evicted, changes, errors, unblocked;
    unsigned clients, blocked, pubsub_clients, watching_clients, watched_keys, blocking_keys,
        blocking_missing;
    unsigned blocked_timed;
    uint64_t evicted_clients, clients_mem, clients_in_max, clients_out_max;
    uint64_t mem_not_counted; /* of the memory in use, for maxmemory */
    unsigned pubsub_channels, pubsub_patterns, pubsub_shard_channels;
    unsigned tracking_clients, tracking_prefixes;
    uint64_t tracked_keys, tracked_items;
    uint64_t denied_auth, denied_command, denied_key, denied_channel; /* by ACL */
};
void exec_stats(struct exec *x, struct exec_stats *out);
uint64_t exec_commands_run(const struct exec *x); /* exec_stats.commands alone */
/* Time spent in commands. What transactions and scripts run counts, they themselves do not: nothing
 * counts twice. Any thread. */
uint64_t exec_commands_us(struct exec *x);
void exec_stats_reset(struct exec *x); /* exclusive section */
void exec_commandstats(struct exec *x,
                       void (*visit)(void *arg, const char *name, uint64_t calls, uint64_t usec,
                                     uint64_t rejected, uint64_t failed),
                       void *arg);
/* text: "p50=1.003,p99=2.007" in microseconds, for the commands that were called */
void exec_latencystats(struct exec *x,
                       void (*visit)(void *arg, const char *name, struct slice text), void *arg);
unsigned exec_reactors(const struct exec *x);
struct load_progress {
    bool loading;
    uint64_t done, total; /* bytes of the log */
    int64_t eta_s;
};
void exec_load_progress(struct exec *x, struct load_progress *out);
bool session_is_local(const struct session *s); /* loopback or Unix socket; NULL: no */
void exec_errorstats(struct exec *x, void (*visit)(void *arg, const char *code, uint64_t count),
                     void *arg);
void exec_errorstats_reset(struct exec *x);
int exec_shutdown_requested(struct exec *x);           /* flags, -1: nobody asked */
const char *exec_current_command(void);                /* of this thread, for crash reports; NULL */
void exec_shutdown_request(struct exec *x, int flags); /* SHUTDOWN and signals; server/ polls it */
/* The error for what a script that runs long refuses; NULL: this call meets none. */
const char *call_busy_text(const struct call *c);
#define EXEC_ENDS (1 << 30) /* a flag: a script is given the time until it would be busy */

#endif
