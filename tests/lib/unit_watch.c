/* unit_watch.c -- Notices a test that does not come to its end, and shows where it stands.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Check's own limit kills without a word, and it does not know fixtures. A hang is only
 *          worth something with the stacks of the server that hangs.
 * THREADS  watch_case() and watch_test() in the worker and its tests, watch_look() in the runner.
 */
#include "unit_watch.h"
#include "base/base.h"
#include "base/clock.h"
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_MAX 12 /* processes of one hang: gdb takes its time for each */
#define DEPTH_MAX 16 /* generations below a worker */

void watch_case(struct watch *w, const char *suite, const char *name, int64_t limit_ms)
{
    w->suite = suite;
    w->name = name;
    w->limit_ms = limit_ms;
    w->test = 0;
    w->steps++;
}

void watch_test(struct watch *w)
{
    w->test = getpid();
    w->steps++;
}

/* ---- processes ---- */

/* The parent, the state letter and the name of a process; false when there is none. */
static bool process(pid_t pid, pid_t *parent, char *state, char name[32])
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return false;
    }
    int up = 0;
    bool got = fgets(line, sizeof line, f) != NULL;
    char *open = got ? strchr(line, '(') : NULL, *close = got ? strrchr(line, ')') : NULL;
    got = open != NULL && close != NULL && sscanf(close + 1, " %c %d", state, &up) == 2;
    if (got) {
        snprintf(name, 32, "%.*s", (int)(close - open - 1), open + 1);
        *parent = up;
    }
    fclose(f);
    return got;
}

static bool runs(pid_t pid)
{
    pid_t parent;
    char state, name[32];
    return pid != 0 && process(pid, &parent, &state, name) && state != 'Z';
}

static bool is_below(pid_t pid, pid_t top)
{
    char state, name[32];
    for (int i = 0; i < DEPTH_MAX && pid > 1; i++) {
        if (pid == top) {
            return true;
        }
        if (!process(pid, &pid, &state, name)) {
            return false;
        }
    }
    return false;
}

static void show_stacks(pid_t pid)
{
    pid_t parent = 0;
    char state = '?', name[32] = "", command[256];
    if (!process(pid, &parent, &state, name) || state == 'Z') {
        return;
    }
    printf("---- process %ld (%s), state %c\n", (long)pid, name, state);
    fflush(stdout);
    snprintf(command, sizeof command,
             "timeout -k 5 60 gdb -q -nx -batch -p %ld -ex 'thread apply all bt 24' 2>&1 | "
             "grep -E '^(Thread|#)'",
             (long)pid);
    if (system(command) != 0) {
        printf("(no stacks: gdb is not there or may not look)\n");
    }
}

static void show_all_below(pid_t top)
{
    unsigned shown = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *e = NULL; all != NULL && shown < SHOWN_MAX && (e = readdir(all)) != NULL;) {
        pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atol(e->d_name) : 0;
        if (pid != 0 && is_below(pid, top)) {
            show_stacks(pid);
            shown++;
        }
    }
    if (all != NULL) {
        closedir(all);
    }
}

/* ---- looking ---- */

static void end_it(struct watch *w)
{
    pid_t test = w->test;
    printf("%s: %s: %s has not ended after %lld s\n", w->suite, w->name,
           w->in_test ? "a test" : "a fixture", (long long)w->limit_ms / 1000);
    show_all_below(w->worker);
    fflush(stdout);
    if (!w->in_test) {
        kill(w->worker, SIGKILL);
    } else if (w->steps == w->seen &&
               test > 0) { /* it leads a process group, Check has seen to it */
        kill(-test, SIGKILL);
    }
}

void watch_look(struct watch *w)
{
    unsigned steps = w->steps;
    bool in_test = runs(w->test);
    int64_t now = clock_mono_ms(), limit = w->limit_ms;
    if (steps != w->seen || in_test != w->in_test || limit == 0) {
        w->seen = steps;
        w->in_test = in_test;
        w->since_ms = now;
        w->dumped = false;
    } else if (!w->dumped && now - w->since_ms > limit) {
        w->dumped = true;
        end_it(w);
    }
}
