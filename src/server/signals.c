/* signals.c -- SIGTERM, SIGINT and the SHUTDOWN command: one thread waits for them from the start
 * to the end.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * STATES   STARTING: the log is being read; nothing has been promised, so the process ends at once.
 * SERVING: the main thread is told, and stops in order. STOPPING: a SIGINT ends the process with 1.
 * THREADS  "signals" owns the signals, which are blocked everywhere else. SIGHUP and SIGPIPE are
 * ignored. */
#include "server/server_int.h"
#include "base/log.h"
#include "base/thread.h"
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STARTING, SERVING, STOPPING };

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR2); /* from SHUTDOWN */
}

static void on_signal(struct server *s, int sig)
{
    int state = STARTING;
    if (atomic_load(&s->signal_state) == STOPPING) {
        if (sig == SIGINT) {
            log_raw("You insist... exiting now.\n");
            process_leave(s);
            _exit(1);
        }
        return;
    }
    if (sig == SIGUSR2 && (!atomic_load(&s->engine_made) || exec_shutdown_requested(s->x) < 0)) {
        return;
    }
    if (sig != SIGUSR2) {
        log_notice(sig == SIGTERM ? "Received SIGTERM scheduling shutdown..."
                                  : "Received SIGINT scheduling shutdown...");
    }
    log_notice("User requested shutdown...");
    if (atomic_compare_exchange_strong(&s->signal_state, &state, STOPPING)) {
        process_leave(s);
        log_warning("kv is now ready to exit, bye bye...");
        _exit(0);
    }
    atomic_store(&s->signal_state, STOPPING);
    sem_post(&s->stop_asked);
}

static void *signals_main(void *arg)
{
    struct server *s = arg;
    sigset_t set;
    signal_set(&set);
    for (;;) {
        int sig = 0;
        if (sigwait(&set, &sig) == 0) {
            on_signal(s, sig);
        }
    }
    return NULL;
}

bool signals_start(struct server *s)
{
    sigset_t set;
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sem_init(&s->stop_asked, 0, 0);
    pthread_t thread;
    if (thread_start(&thread, "signals", signals_main, s) != 0) {
        return false;
    }
    pthread_detach(thread);
    return true;
}

void signals_serving(struct server *s)
{
    atomic_store(&s->signal_state, SERVING);
}

void signals_wait(struct server *s)
{
    struct timespec until;
    do {
        server_sample(s);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SAMPLE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
    } while (sem_clockwait(&s->stop_asked, CLOCK_MONOTONIC, &until) != 0);
}
