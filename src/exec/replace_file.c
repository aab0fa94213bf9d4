/* replace_file.c -- CONFIG REWRITE and ACL SAVE: a file is replaced while the reactors go on.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      No reactor waits for the disk, and these commands run while all others stand still.
 * THREADS  Any worker hands over; a thread that is there as long as there is something to write
 *          replaces one file after the other, in the order in which they came, and brings the
 *          replies.
 * ORDER    MULTI, which cannot wait for a reply, writes itself when nothing else is queued: an
 *          older text must not end up above a newer one. Who asks is in an exclusive section, so
 *          nothing is queued meanwhile.
 * LOCKS    files.lock for a few instructions.
 * FAULTS   exec.replace_file.
 * FAILURE  Without a thread, or while the server stops, the caller writes. */
#include "exec/exec_int.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/thread.h"
#include <unistd.h>

struct job {
    struct job *next;
    char *path;
    struct buf text;
    mode_t mode;
    uint64_t ticket; /* of call_defer() */
    replace_failed_fn *failed;
};
struct files {
    struct lock lock; /* RANK_STATS */
    struct job *first, **last;
    bool running, stopping;
};

void files_new(struct exec *x)
{
    x->files = mem_calloc(sizeof *x->files);
    lock_init(&x->files->lock, RANK_STATS, 0);
    x->files->last = &x->files->first;
}

void files_free(struct exec *x)
{
    must(!x->files->running);
    mem_free(x->files);
}

/* Writes *error, with a NUL, when it fails. Ends the job. */
static void job_run(struct job *j, struct buf *error)
{
    (void)fault("exec.replace_file");
    int rc = atomic_replace(j->path, buf_slice(&j->text), io_mode_of(j->path, j->mode));
    if (rc != 0) {
        j->failed(error, j->path, rc);
        buf_add_char(error, '\0');
    }
    buf_free(&j->text);
    mem_free(j->path);
    mem_free(j);
}

static void job_run_deferred(struct exec *x, struct job *j)
{
    struct buf error = { 0 };
    uint64_t ticket = j->ticket;
    job_run(j, &error);
    exec_deferred_reply(x, ticket, error.n > 0 ? error.p : "");
    buf_free(&error);
}

/* Until nothing is queued or written. */
static void files_wait(struct files *f, bool stop)
{
    for (bool running = true; running;) {
        lock_acquire(&f->lock);
        f->stopping |= stop;
        running = f->running;
        lock_release(&f->lock);
        if (running) {
            usleep(100);
        }
    }
}

/* The next one; NULL: the thread is no longer running. */
static struct job *job_take(struct files *f)
{
    lock_acquire(&f->lock);
    struct job *j = f->first;
    if (j == NULL) {
        f->running = false;
    } else if ((f->first = j->next) == NULL) {
        f->last = &f->first;
    }
    lock_release(&f->lock);
    return j;
}

static void *files_main(void *arg)
{
    struct exec *x = arg;
    mem_thread_start();
    for (struct job *j; (j = job_take(x->files)) != NULL;) {
        job_run_deferred(x, j);
    }
    mem_thread_stop();
    return NULL;
}

static bool files_start(struct exec *x)
{
    pthread_t thread;
    bool started = thread_start(&thread, "kv-files", files_main, x) == 0;
    if (started) {
        pthread_detach(thread);
    }
    return started;
}

/* Queued, and there is a thread for it. */
static bool hand_over(struct exec *x, struct job *j)
{
    struct files *f = x->files;
    lock_acquire(&f->lock);
    bool queued = !f->stopping, start = queued && !f->running;
    if (queued) {
        *f->last = j;
        f->last = &j->next;
        f->running = true;
    }
    lock_release(&f->lock);
    if (start && !files_start(x)) { /* all that came meanwhile */
        while ((j = job_take(f)) != NULL) {
            job_run_deferred(x, j);
        }
    }
    return queued;
}

void call_replace_file(struct call *c, const char *path, mode_t mode, struct buf *text,
                       replace_failed_fn *failed)
{
    struct job *j = mem_alloc(sizeof *j);
    *j = (struct job){ .path = mem_strdup(path), .text = *text, .mode = mode, .failed = failed };
    *text = (struct buf){ NULL, 0, 0 };
    j->ticket = call_defer(c);
    if (j->ticket != 0 && hand_over(c->x, j)) {
        return;
    }
    files_wait(c->x->files, false);
    if (j->ticket != 0) {
        job_run_deferred(c->x, j);
        return;
    }
    struct buf error = { 0 };
    job_run(j, &error);
    if (error.n > 0) {
        reply_error(c, error.p);
    } else {
        reply_ok(c);
    }
    buf_free(&error);
}

void exec_files_stop(struct exec *x)
{
    files_wait(x->files, true);
}
