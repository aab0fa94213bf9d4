/* durability.c -- The log as the directives want it, at start and while serving: opening it,
 * loading it, CONFIG SET appendonly and appendfsync.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      These changes wait for the disk, and no reactor may. A thread makes them, one at a time;
 * the client that asked gets its reply when the change is complete.
 * ON       A new history gets the keyspace and every change of what it has (exec/log_begin.c). When
 * all that is durable, CURRENT names it; when what was done meanwhile is durable, too, OK is said.
 * Until then the new log promises nothing: a crash leaves the old state, a failure ends the new
 * history and removes it.
 * OFF      Nothing is appended from one moment on; what was appended becomes durable; then the log
 * ends cleanly, and replies that waited leave: also those about changes since that moment, which
 * nothing promises any more. A later start with either setting loads it.
 * THREADS  The thread "log-change", and the main thread at start and stop. s->wal changes in
 * exclusive sections only, so that commands may use it.
 * FAULTS   server.log_begun, exec.image, server.log_imaged, server.before_current,
 *          server.after_current, server.log_closing, server.log_closed: 0 or an error. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_US 20000 /* between two looks whether the disk has space again */

/* ---- Opening ---- */

static void fill_config(struct server *s, struct wal_config *wc)
{
    *wc = (struct wal_config){ .dir = ".",
                               .sync = (enum wal_sync)option_int(&s->opt.appendfsync),
                               .producers = exec_reactors(s->x) + EXEC_EXTRA_WORKERS,
                               .depth = (unsigned)option_int(&s->opt.wal_depth),
                               .segment_bytes =
                                   (uint64_t)option_int(&s->opt.wal_segment_size) & ~(uint64_t)4095,
                               .queue_bytes = (size_t)option_int(&s->opt.wal_queue),
                               .first_ticket = s->first_ticket,
                               .buffered = !option_int(&s->opt.wal_direct_io),
                               .wake = exec_wal_wake,
                               .barrier = exec_wal_barrier,
                               .wake_arg = s->x };
}

static void explain(struct buf *why, int rc, const struct wal_report *report)
{
    switch (rc) {
    case WAL_E_LOCKED:
        buf_add_str(why, "The data directory is in use by another kv-server.");
        break;
    case WAL_E_DAMAGED:
        buf_printf(why, "The log is damaged below what was acknowledged: %s. Nothing was changed.",
                   report->message);
        break;
    case WAL_E_VERSION:
        buf_printf(why, "The log was written by a newer kv: %s. Nothing was changed.",
                   report->message);
        break;
    case WAL_E_FOREIGN:
        buf_printf(why, "The log's files belong to another history: %s. Nothing was changed.",
                   report->message);
        break;
    default:
        buf_printf(why, "Can't open the log in the data directory: %s.",
                   rc < 0 && rc > -1000 ? strerror(-rc) : report->message);
    }
}

/* Is there a log, or something that cannot be looked at? Opening it will tell. A directory that
 * holds the lock alone, or nothing, is no log yet. */
static bool log_found(void)
{
    struct stat st;
    if (lstat("wal", &st) != 0) {
        return errno != ENOENT;
    }
    DIR *d = opendir("wal");
    bool found = d == NULL;
    struct dirent *e;
    while (!found && (errno = 0, e = readdir(d)) != NULL) {
        found = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                strcmp(e->d_name, "LOCK") != 0;
    }
    found |= errno != 0;
    if (d != NULL) {
        closedir(d);
    }
    return found;
}

bool log_wanted_at_start(const struct server *s)
{
    return option_int(&s->opt.appendonly) || log_found();
}

/* Adds the directive's file if it is there. */
static void add_if_there(struct server *s, struct buf *found, const char *directive)
{
    struct buf name = { 0 };
    if (config_value(s->config, directive, &name) && name.n > 0) {
        buf_add_char(&name, '\0');
        if (access(name.p, F_OK) == 0) {
            buf_printf(found, "%s%s", found->n > 0 ? ", " : "", name.p);
        }
    }
    buf_free(&name);
}

void log_tell_unread(struct server *s)
{
    struct buf found = { 0 };
    add_if_there(s, &found, "dbfilename");
    add_if_there(s, &found, "appenddirname");
    add_if_there(s, &found, "appendfilename"); /* where Redis had it before 7.0 */
    if (found.n > 0) {
        log_warning("WARNING This directory has data of a Redis (%.*s) and no log of kv. kv does "
                    "not read it yet: it starts empty. What is there is left untouched.",
                    (int)found.n, found.p);
    }
    buf_free(&found);
}

/* The log is as it was. The exit status. */
static int refused(const struct server *s, int rc)
{
    struct buf why = { 0 };
    explain(&why, rc, &s->report);
    log_warning("%.*s Exiting.", (int)why.n, why.p);
    buf_free(&why);
    return rc == WAL_E_DAMAGED || rc == WAL_E_FOREIGN ? EXIT_WAL_DAMAGED : 1;
}

int log_open_at_start(struct server *s, bool force_lossy)
{
    struct wal_config wc;
    fill_config(s, &wc);
    wc.force_lossy_recovery = force_lossy;
    wc.judge_later = true;
    if (!option_int(&s->opt.appendonly)) {
        wc.sync = WAL_SYNC_ALWAYS; /* it is only ended: that needs no new history */
    }
    int rc = wal_open(&s->wal, &wc, &s->report);
    return rc == 0 ? 0 : refused(s, rc);
}

static void no_log(void *arg)
{
    struct server *s = arg;
    exec_log_end(s->x);
    s->first_ticket = wal_tail(s->wal) + 1; /* gates of changes while it ended are one above it */
    s->wal = NULL;
}

/* `appendonly no` in a directory that holds a log: it has been loaded, and it ends here. */
static int end_old_log(struct server *s)
{
    struct wal *w = s->wal;
    bool ended = s->report.clean || s->report.created; /* created: there was none after all */
    int rc = ended ? 0 : wal_start(w);
    if (rc == 0 && !ended) {
        rc = wal_stop(w);
    }
    if (rc == -ENOSPC || rc == -EDQUOT) { /* what was loaded is in it; the rest can wait */
        log_warning("The log could not be ended: %s. The next start recovers it again.",
                    strerror(-rc));
        rc = 0;
    }
    exec_exclusive(s->x, no_log, s);
    wal_free(w);
    if (!s->report.created) {
        log_warning("appendonly no: the log of this directory was loaded, up to LSN %llu, and gets "
                    "nothing more. What is written from here on is lost when the process ends; the "
                    "next start loads the log again.",
                    (unsigned long long)s->report.end_lsn);
    }
    return rc;
}

/* The log into the keyspace, nothing on disk changes. 0 or the exit status. */
static int load(struct server *s, unsigned threads)
{
    int rc = exec_replay(s->x, s->wal, threads, &s->report);
    if (rc == -ENOMEM || rc == -EAGAIN || rc == -EBADMSG) {
        log_warning("The log could not be recovered: %s", strerror(-rc));
        return rc == -EBADMSG ? EXIT_WAL_DAMAGED : EXIT_NOMEM; /* else no memory, or no thread */
    }
    if (rc != 0) {
        return refused(s, rc);
    }
    if (s->report.torn_bytes > 0 && !option_int(&s->opt.aof_load_truncated)) {
        log_warning("%s. aof-load-truncated no: nothing was changed. Exiting.", s->report.message);
        return EXIT_WAL_DAMAGED;
    }
    return 0;
}

int log_load(struct server *s, unsigned threads, bool on)
{
    int64_t start = clock_mono_ms();
    int status = load(s, threads);
    if (status != 0) {
        return status;
    }
    int rc = on ? wal_start(s->wal) : end_old_log(s);
    if (rc != 0) {
        log_warning("The log could not be recovered: %s",
                    rc < 0 && rc > -1000 ? strerror(-rc) : s->report.message);
        return rc == WAL_E_DAMAGED || rc == WAL_E_FOREIGN ? EXIT_WAL_DAMAGED : EXIT_WAL;
    }
    if (!s->report.created) {
        log_notice("DB loaded from the log: %.3f seconds, %llu records up to LSN %llu%s",
                   (double)(clock_mono_ms() - start) / 1000, (unsigned long long)s->report.records,
                   (unsigned long long)s->report.end_lsn,
                   s->report.torn_bytes > 0 ? ", unacknowledged bytes cut" : "");
    }
    if (s->report.torn_bytes > 0) {
        log_warning("WAL: %s", s->report.message);
    }
    if (on) {
        exec_set_wal(s->x, s->wal);
    }
    return 0;
}

/* ---- appendonly no -> yes ---- */

static bool go_on(void *arg)
{
    return !atomic_load(&((struct server *)arg)->stopping);
}

/* All that is appended so far; on a full disk, when there is space again. False: the server stops
 * before that. */
static bool wait_durable(struct server *s)
{
    while (wal_wait_until(s->wal, wal_tail(s->wal)) != 0) {
        if (!go_on(s)) {
            return false;
        }
        usleep(RETRY_US);
    }
    return true;
}

static void begun(void *arg)
{
    struct server *s = arg;
    exec_log_begin(s->x, s->next_wal);
    s->wal = s->next_wal;
}

static void imaged(void *arg)
{
    exec_log_imaged(((struct server *)arg)->x);
}

static void whole(void *arg)
{
    exec_log_whole(((struct server *)arg)->x);
}

static void refuse(struct buf *why, int rc)
{
    if (rc != 0) {
        buf_add_str(why, rc < 0 && rc > -1000 ? strerror(-rc) : "the log failed");
    }
}

static int fault_error(int hit)
{
    return hit == 0 ? 0 : hit < FAULT_SHORT ? -hit : -EIO;
}

/* The keyspace goes into the new history and is durable there. */
static int fill_log(struct server *s)
{
    int rc = fault_error(fault("server.log_begun"));
    rc = rc != 0 ? rc : exec_log_image(s->x, go_on, s);
    if (rc != 0) {
        return rc;
    }
    exec_exclusive(s->x, imaged, s);
    rc = fault_error(fault("server.log_imaged"));
    return rc != 0 ? rc : wal_wait_until(s->wal, wal_tail(s->wal));
}

static void begin_log(struct server *s, struct buf *why)
{
    struct wal_config wc;
    struct wal_report report;
    fill_config(s, &wc);
    wc.whole = true;
    int rc = wal_open(&s->next_wal, &wc, &report);
    if (rc != 0) {
        explain(why, rc, &report);
        return;
    }
    rc = wal_start(s->next_wal);
    if (rc != 0) {
        wal_free(s->next_wal);
        refuse(why, rc);
        return;
    }
    exec_exclusive(s->x, begun, s);
    rc = fill_log(s);
    rc = rc != 0 ? rc : fault_error(fault("server.before_current"));
    rc = rc != 0 ? rc : wal_make_current(s->wal);
    (void)fault("server.after_current");
    if (rc != 0) {
        exec_exclusive(s->x, no_log, s);
        wal_discard(s->next_wal);
        wal_free(s->next_wal);
        refuse(why, rc);
        return;
    }
    exec_exclusive(s->x, whole, s);
    if (!wait_durable(s)) { /* OK would say that it is */
        refuse(why, -ECANCELED);
        return;
    }
    log_notice("appendonly yes: the log holds the keyspace and every change from here on");
}

/* ---- appendonly yes -> no ---- */

static void closing(void *arg)
{
    exec_log_close(((struct server *)arg)->x);
}

static void end_log(struct server *s, struct buf *why)
{
    struct wal *w = s->wal;
    int rc = wal_wait_until(w, wal_tail(w));
    if (rc != 0) {
        refuse(why, rc);
        return;
    }
    exec_exclusive(s->x, closing, s);
    (void)fault("server.log_closing");
    /* What was appended since the first wait has not been acknowledged; without space nothing more
     * was. */
    if (!wait_durable(s)) { /* nor may it be now, without a log that replies wait for */
        refuse(why, -ECANCELED);
        return;
    }
    exec_exclusive(s->x, no_log, s);
    (void)fault("server.log_closed");
    uint64_t end = wal_durable_lsn(w);
    rc = wal_stop(w);
    wal_free(w);
    if (rc != 0) {
        log_warning("The log could not be ended: %s. All that was acknowledged is in it.",
                    strerror(-rc));
    }
    log_warning("appendonly no: the log ends at LSN %llu. What is written from here on is lost "
                "when the process ends; the next start loads the log up to there.",
                (unsigned long long)end);
}

/* ---- One change at a time ---- */

static enum wal_sync sync_now(struct wal *w)
{
    struct wal_stats st;
    wal_stats(w, &st);
    return st.sync;
}

bool log_change_needed(struct server *s)
{
    bool on = option_int(&s->opt.appendonly) != 0;
    return on != (s->wal != NULL) ||
           (on && (int64_t)sync_now(s->wal) != option_int(&s->opt.appendfsync));
}

bool log_change_busy(const struct server *s)
{
    return atomic_load(&s->change.busy);
}

/* In an exclusive section: CONFIG SET runs in one, too, so no other change begins before this is
 * complete. Whoever begins one after it joins this thread first. */
static void undo(void *arg)
{
    struct server *s = arg;
    struct buf error = { 0 };
    atomic_store(&s->change.busy, false); /* `dir` stays where it is during a change */
    if (!config_restore(s->config, s->change.undo, &error)) {
        log_warning("A directive could not be set back: %.*s", (int)error.n, error.p);
    }
    buf_free(&error);
}

static void make_change(struct server *s, struct buf *why)
{
    bool on = option_int(&s->opt.appendonly) != 0;
    if (on && s->wal == NULL) {
        begin_log(s, why);
    } else if (!on && s->wal != NULL) {
        end_log(s, why);
    } else if (on) {
        enum wal_sync sync = (enum wal_sync)option_int(&s->opt.appendfsync);
        refuse(why, wal_set_sync(s->wal, sync));
        if (why->n == 0) {
            log_durability(s);
        }
    }
}

static void *change_main(void *arg)
{
    struct server *s = arg;
    mem_thread_start();
    struct buf why = { 0 }, error = { 0 };
    make_change(s, &why);
    if (why.n > 0) {
        buf_printf(&error, "ERR CONFIG SET failed - %.*s", (int)why.n, why.p);
        log_warning("The log stays as it was: %.*s", (int)why.n, why.p);
        exec_exclusive(s->x, undo, s);
    }
    buf_add_char(&error, '\0');
    config_saved_free(s->change.undo);
    atomic_store(&s->change.busy, false);
    exec_deferred_reply(s->x, s->change.ticket, error.p);
    buf_free(&why);
    buf_free(&error);
    mem_thread_stop();
    return NULL;
}

/* A reactor starts changes, one at a time; the main thread joins the last one when the server
 * stops. Whoever starts tells that it does before it looks whether the server stops, and stop()
 * says so before it looks: one of them sees the other. A thread that ran is joined by the one of
 * them that takes its place. */
static void change_take(struct server *s)
{
    for (;;) {
        int was = CHANGE_RUNS;
        if (atomic_compare_exchange_strong(&s->change.life, &was, CHANGE_STARTS)) {
            pthread_join(s->change.thread, NULL);
            return;
        }
        was = CHANGE_NONE;
        if (atomic_compare_exchange_strong(&s->change.life, &was, CHANGE_STARTS)) {
            return;
        }
        usleep(100);
    }
}

void log_change_join(struct server *s)
{
    change_take(s);
    atomic_store(&s->change.life, CHANGE_NONE);
}

bool log_change_start(struct server *s, uint64_t ticket, struct config_saved *saved)
{
    change_take(s); /* the previous one has nothing left to do but to end */
    if (atomic_load(&s->stopping)) {
        atomic_store(&s->change.life, CHANGE_NONE);
        return false;
    }
    s->change.ticket = ticket;
    s->change.undo = saved;
    atomic_store(&s->change.busy, true);
    bool started = thread_start(&s->change.thread, "log-change", change_main, s) == 0;
    if (!started) {
        atomic_store(&s->change.busy, false);
    }
    atomic_store(&s->change.life, started ? CHANGE_RUNS : CHANGE_NONE);
    return started;
}

void log_durability(const struct server *s)
{
    if (!option_int(&s->opt.appendonly)) {
        log_warning("WARNING appendonly no: everything is lost when this process ends.");
    } else if (option_int(&s->opt.appendfsync) == WAL_SYNC_EVERYSEC) {
        log_warning("WARNING appendfsync everysec: a crash of the machine may take back about one "
                    "second of acknowledged writes.");
    } else if (option_int(&s->opt.appendfsync) == WAL_SYNC_NO) {
        log_warning("WARNING appendfsync no: a crash of the machine may take back whatever the "
                    "kernel had not written.");
    }
}
