/* server_int.h -- The composition root's own state, shared by the files of server/.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVER_SERVER_INT_H
#define SERVER_SERVER_INT_H

#include "base/mem.h"
#include "exec/exec.h"
#include "net/net.h"
#include "server/config.h"
#include "wal/wal.h"
#include <pthread.h>
#include <semaphore.h>

#define KV_VERSION    "0.1.0"
#define REDIS_VERSION EXEC_REDIS_VERSION

enum { SUPERVISED_NO, SUPERVISED_AUTO, SUPERVISED_SYSTEMD, SUPERVISED_UPSTART };
enum { PROTECT_NO, PROTECT_YES, PROTECT_LOCAL };

struct save_rule {
    int64_t seconds, changes;
};
struct server_options { /* bound to server_option_table */
    _Atomic int64_t threads, shards, databases;
    _Atomic int64_t port, tls_port, unixsocketperm, tcp_backlog;
    _Atomic int64_t daemonize, supervised, loglevel, syslog_enabled, syslog_facility,
        set_proc_title;
    _Atomic int64_t appendonly, appendfsync, wal_segment_size, wal_depth, wal_direct_io, wal_queue;
    _Atomic int64_t shutdown_timeout, shutdown_on_sigterm, shutdown_on_sigint, crash_log,
        aof_load_truncated, always_show_logo;
    _Atomic int64_t enable_protected_configs, enable_debug_command, enable_module_command;
    _Atomic int64_t tls_auth_clients, tls_prefer_server_ciphers, tls_session_caching,
        tls_session_cache_size, tls_session_cache_timeout;
    char *unixsocket, *dir, *logfile, *pidfile, *syslog_ident, *proc_title_template, *dbfilename;
    char *tls_cert_file, *tls_key_file, *tls_key_file_pass, *tls_client_cert_file,
        *tls_client_key_file, *tls_client_key_file_pass;
    char *tls_dh_params_file, *tls_ca_cert_file, *tls_ca_cert_dir, *tls_protocols, *tls_ciphers,
        *tls_ciphersuites;
    struct slice *bind; /* words; each mem_dup'ed */
    unsigned nbind;
    struct slice *renames; /* pairs of rename-command */
    unsigned nrenames;
    struct save_rule save[32];
    unsigned nsave;
};
extern const struct option server_option_table[];
#define BIND_MAX 16 /* addresses, as in Redis */

union stored_value {
    _Atomic int64_t number;
    char *text;
    struct slice bytes;
};
#define STORED_SLOTS 128
struct stored_options { /* bound to stored_option_table; nothing reads it but CONFIG */
    union stored_value slot[STORED_SLOTS];
    int64_t oom_values[3];
};
extern const struct option stored_option_table[];

enum change_life { CHANGE_NONE, CHANGE_STARTS, CHANGE_RUNS };
/* Means over the last samples, for INFO. */
enum rate {
    RATE_COMMANDS, /* per second */
    RATE_IN,       /* bytes per second */
    RATE_OUT,
    RATE_TURNS,   /* of the event loops, per second */
    RATE_TURN_US, /* of one turn */
    RATES
};
#define RATE_SAMPLES 16
struct rates {
    /* of the main thread */
    int64_t last_ms;
    uint64_t last[RATES], sample[RATES][RATE_SAMPLES];
    unsigned at;
    /* atomic */
    _Atomic uint64_t mean[RATES];
};

struct server {
    struct server_options opt;
    struct exec_options exec_opt; /* until the engine exists; then its own are bound */
    struct stored_options stored;
    struct config *config;
    char apply_error[128]; /* of the last refused CONFIG SET */
    struct keyspace *ks;
    struct exec *x;
    struct scripts *scripts;
    struct wal *wal;       /* NULL: no log; changes in exclusive sections */
    struct wal *next_wal;  /* of the thread that changes the log */
    uint64_t first_ticket; /* above all gates of logs that have ended; changes in sections */
    struct net *net;
    bool tls_loaded; /* net has the certificates; changes in exclusive sections */
    struct {
        pthread_t thread;
        _Atomic int life; /* CHANGE_RUNS: to be joined */
        _Atomic bool busy;
        uint64_t ticket; /* of the client that waits */
        struct config_saved *undo;
    } change;                 /* CONFIG SET appendonly or appendfsync; durability.c */
    struct wal_report report; /* of the log this start found */
    int64_t start_ms;         /* unix */
    char run_id[41];
    char executable[4096];
    struct {
        bool tcp, tls, unix_socket;
    } listens; /* as it was started */
    _Atomic int64_t peak_memory, startup_memory;
    struct rates rates;
    _Atomic bool stopping;
    _Atomic int signal_state; /* signals.c */
    _Atomic bool engine_made; /* x is set: for the signal thread */
    _Atomic bool listening;   /* the Unix socket is there, if there is to be one */
    sem_t stop_asked;
    _Atomic(char *) pid_file; /* full path, once this process writes it */
    char *title;              /* where the kernel reads the title of the process */
    size_t title_room;
};
struct server *server_new(void);
int server_run(struct server *s,
               bool force_lossy); /* serves until it is told to stop; the exit status */
/* durability.c. At start: is there a log to open? Open it, load it (and end it unless `on`:
 * appendonly as it was before clients could set it). While serving: do the directives differ from
 * what the log does? Then the change is made by a thread, which replies to the client of `ticket`;
 * `saved` (its own from then on) is what the directives go back to on failure. False: no thread,
 * nothing happened. */
bool log_wanted_at_start(const struct server *s);
must_check int log_open_at_start(struct server *s, bool force_lossy); /* 0 or the exit status */
must_check int log_load(struct server *s, unsigned threads, bool on); /* 0 or the exit status */
void log_tell_unread(struct server *s); /* without a log: a warning of what Redis left in `dir` */
void log_durability(const struct server *s); /* one line of warning where it is not `always` */
bool log_change_needed(struct server *s);
bool log_change_busy(const struct server *s);
must_check bool log_change_start(struct server *s, uint64_t ticket, struct config_saved *saved);
void log_change_join(struct server *s); /* before stopping; s->stopping is set */
/* What net_open() and net_set_listen() are to have; the texts live as long as the directives. */
void server_fill_listen(struct server *s, struct net_config *nc, const char *bind[BIND_MAX],
                        struct tls_config *tls);
const char *server_save_problem(const struct server *s); /* NULL: none */
/* info.c. The main thread, each SAMPLE_MS: rates, and how much memory is in use at most. */
#define SAMPLE_MS 100
void server_sample(struct server *s);
/* cmd_memory.c. For INFO and MEMORY; any thread, no shard lock. */
struct memory_view {
    struct mem_stats m;
    size_t used, rss, peak, startup, keys;
    size_t clients, log_buffer, scripts, libraries;
    size_t overhead;     /* all that is not data, these four and startup included */
    size_t dataset, net; /* used without overhead, without startup */
};
void memory_look(struct server *s, struct memory_view *v);
size_t memory_peak(struct server *s, size_t used); /* that `used` is part of */
/* process.c */
const char *server_supervisor(const struct server *s); /* "no", "systemd", "upstart" */
bool process_in_background(const struct server *s);
void process_daemonize(void); /* returns in the child; before any thread */
void process_tell_ready(const struct server *s);
void process_tell_stopping(const struct server *s);
/* Once the port is bound: it is no other process's that runs. Removed is only what was written. */
void process_pidfile_write(struct server *s);
void process_pidfile_remove(const struct server *s);
/* Any thread, where the process ends without stop(): the pid file and the Unix socket go. */
void process_leave(void *server);
void process_raise_limits(struct server *s); /* or lowers maxclients, and says so */
void process_title_init(struct server *s, int argc, char **argv); /* argv itself, first of all */
must_check bool process_title_make(struct server *s, struct buf *out); /* false: bad template */
void process_title_set(struct server *s);
/* signals.c: from signals_start() on, signals are a matter of its thread; before others start. */
must_check bool signals_start(struct server *s);
void signals_serving(struct server *s); /* before: a SIGTERM ends the process at once */
void signals_wait(struct server *s);    /* until the server is to stop */
/* syscheck.c: exit status; they print. */
int system_check(void);
int memory_test(const char *megabytes, const char *passes); /* passes NULL: 4 */
/* chdir to the directive `dir`, which becomes the absolute path. False: *error says why. */
must_check bool server_enter_dir(struct server *s, const char **error);
void crash_handlers_install(struct server *s);
void exec_retire_of_server(void *arg, void *p, void (*free_fn)(void *p));
/* The one server of the process: command handlers reach it through here (their struct call has no
 * room for every layer). Set once in main before threads start; tests of single modules never need
 * it. */
struct server *server_of(const struct call *c);
struct server *server_of_exec(struct exec *x);

extern const struct command server_commands[], config_commands[], command_commands[];
extern const struct command debug_commands[], memory_commands[], wait_commands[];
extern const struct command *const server_families[]; /* all of them; terminated by NULL */
/* INFO's text; any thread. True: it has counts of keys, read without locks. */
bool info_write(struct server *s, const struct slice *sections, unsigned n, struct buf *out);
void server_counters_reset(struct server *s); /* CONFIG RESETSTAT */

/* digest.c: DEBUG DIGEST as redis-server computes it; equal data gives equal digests. With the
 * locks of what is read. */
#define DIGEST_BYTES 20
void digest_of_entry(const struct entry *e, uint8_t digest[DIGEST_BYTES]);  /* DIGEST-VALUE */
void digest_of_keyspace(struct keyspace *ks, uint8_t digest[DIGEST_BYTES]); /* all databases */
/* debug_object.c: what DEBUG shows of one key or table. The shard's lock is held. */
size_t rdb_length(const struct entry *e); /* bytes of the value in an RDB file, uncompressed */
void debug_object(struct call *c, const struct entry *e);
void debug_listpack(struct call *c, const struct entry *e);
void debug_quicklist(struct call *c, const struct entry *e);
void debug_htstats(struct call *c, unsigned db);
#endif
