/* fault.c -- Arming fault points and deciding what a hit does.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * A point that is not armed costs one load of its own flag. All points of one name share one rule,
 * so that "the third write" means the third of the process, wherever in the code it is.
 *
 * THREADS
 * Any.
 *
 * LOCKS
 * faults.mutex (outside the ranks, nothing is taken under it); actions run after it is released. */
#include "base/fault.h"

#ifdef KV_FAULTS
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX    32
#define EXIT_FAULT   72
#define EXIT_BADSPEC 64

enum action { ACT_ERRNO, ACT_KILL, ACT_EXIT, ACT_DELAY, ACT_BUG };

struct rule {
    const char *name; /* of a point; NULL = free */
    enum action action;
    int value; /* what fault() answers, or the delay in milliseconds */
    uint64_t after;
    uint64_t count;
    bool for_ever;
};
static struct {
    pthread_mutex_t mutex;
    struct rule rule[RULES_MAX];
} faults = { .mutex = PTHREAD_MUTEX_INITIALIZER };

extern struct fault_point *const __start_kv_faults[] __attribute__((weak));
extern struct fault_point *const __stop_kv_faults[] __attribute__((weak));
extern struct fault_point *const __start_kv_bugs[] __attribute__((weak));
extern struct fault_point *const __stop_kv_bugs[] __attribute__((weak));

struct section {
    struct fault_point *const *from, *const *to;
};

static struct section points(void)
{
    return (struct section){ __start_kv_faults, __stop_kv_faults };
}

static struct section bugs(void)
{
    return (struct section){ __start_kv_bugs, __stop_kv_bugs };
}

/* Sets the flag of all points called `name` (all points when it is NULL); returns the name as a
 * point spells it. */
static const char *set_armed(struct section in, const char *name, int armed)
{
    const char *found = NULL;
    for (struct fault_point *const *p = in.from; p != in.to; p++) {
        if (name == NULL || strcmp((*p)->name, name) == 0) {
            atomic_store(&(*p)->armed, armed);
            found = (*p)->name;
        }
    }
    return found;
}

static bool parse_action(char *text, struct rule *r)
{
    static const struct {
        const char *name;
        enum action action;
        int value;
    } actions[] = {
        { "eio", ACT_ERRNO, EIO },
        { "enospc", ACT_ERRNO, ENOSPC },
        { "eintr", ACT_ERRNO, EINTR },
        { "nomem", ACT_ERRNO, ENOMEM },
        { "short", ACT_ERRNO, FAULT_SHORT },
        { "fail", ACT_ERRNO, FAULT_FAIL },
        { "kill", ACT_KILL, 0 },
        { "exit", ACT_EXIT, 0 },
        { "bug", ACT_BUG, 0 },
    };
    if (strncmp(text, "delay", 5) == 0) {
        char *end;
        unsigned long ms = strtoul(text + 5, &end, 10);
        *r = (struct rule){ .action = ACT_DELAY, .value = (int)ms };
        return text[5] >= '0' && text[5] <= '9' && *end == '\0' && ms <= 600000;
    }
    for (unsigned i = 0; i < countof(actions); i++) {
        if (strcmp(text, actions[i].name) == 0) {
            *r = (struct rule){ .action = actions[i].action, .value = actions[i].value };
            return true;
        }
    }
    return false;
}

static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* name=action[:after][:count], taken apart in place. */
static bool parse_rule(char *spec, struct rule *r)
{
    char *action = strchr(spec, '=');
    if (action == NULL) {
        return false;
    }
    *action++ = '\0';
    char *after = strchr(action, ':'), *count = NULL;
    if (after != NULL) {
        *after++ = '\0';
        count = strchr(after, ':');
    }
    if (count != NULL) {
        *count++ = '\0';
    }
    uint64_t skip = 0, times = 1;
    if (!parse_action(action, r) || (after != NULL && !parse_number(after, &skip)) ||
        (count != NULL && !parse_number(count, &times))) {
        return false;
    }
    r->after = skip;
    r->count = times;
    r->for_ever = times == 0;
    return true;
}

static int arm_one(char *spec)
{
    struct rule r;
    if (!parse_rule(spec, &r)) {
        return -EINVAL;
    }
    if (r.action == ACT_BUG) {
        return set_armed(bugs(), spec, 1) != NULL ? 0 : -EINVAL;
    }
    unsigned slot = RULES_MAX;
    for (unsigned i = 0; i < RULES_MAX; i++) {
        const char *name = faults.rule[i].name;
        if (name != NULL && strcmp(name, spec) == 0) {
            slot = i;
            break;
        }
        if (name == NULL && slot == RULES_MAX) {
            slot = i;
        }
    }
    if (slot == RULES_MAX) {
        return -EINVAL;
    }
    r.name = set_armed(points(), spec, (int)slot + 1);
    if (r.name == NULL) {
        return -EINVAL;
    }
    faults.rule[slot] = r;
    return 0;
}

static void disarm_all(void)
{
    set_armed(points(), NULL, 0);
    set_armed(bugs(), NULL, 0);
    memset(faults.rule, 0, sizeof faults.rule);
}

int fault_arm(const char *spec)
{
    char copy[1024];
    size_t n = strlen(spec);
    if (n >= sizeof copy) {
        return -EINVAL;
    }
    memcpy(copy, spec, n + 1);
    pthread_mutex_lock(&faults.mutex);
    int err = 0;
    if (n == 0) {
        disarm_all();
    }
    char *rest = NULL;
    for (char *one = strtok_r(copy, ",", &rest); one != NULL && err == 0;
         one = strtok_r(NULL, ",", &rest)) {
        err = arm_one(one);
    }
    if (err != 0) {
        disarm_all();
    }
    pthread_mutex_unlock(&faults.mutex);
    return err;
}

unsigned fault_armed(void)
{
    unsigned n = 0;
    pthread_mutex_lock(&faults.mutex);
    for (unsigned i = 0; i < RULES_MAX; i++) {
        n += faults.rule[i].name != NULL;
    }
    pthread_mutex_unlock(&faults.mutex);
    return n;
}

static _Noreturn void bad_environment(const char *variable, const char *value)
{
    char text[256];
    snprintf(text, sizeof text, "%s: no such fault or bug: %s\n", variable, value);
    log_raw(text);
    _exit(EXIT_BADSPEC);
}

void fault_arm_env(void)
{
    const char *spec = getenv("KV_FAULTS");
    if (spec != NULL && spec[0] != '\0' && fault_arm(spec) != 0) {
        bad_environment("KV_FAULTS", spec);
    }
    const char *bug = getenv("KV_BUG");
    if (bug != NULL && bug[0] != '\0' && set_armed(bugs(), bug, 1) == NULL) {
        bad_environment("KV_BUG", bug);
    }
}

static int act(const struct rule *r)
{
    switch (r->action) {
    case ACT_KILL: raise(SIGKILL); break;
    case ACT_EXIT: _exit(EXIT_FAULT);
    case ACT_DELAY:
        nanosleep(&(struct timespec){ r->value / 1000, r->value % 1000 * 1000000L }, NULL);
        return 0;
    case ACT_ERRNO: return r->value;
    case ACT_BUG: break;
    }
    must_not_reach();
}

int fault_hit(struct fault_point *p)
{
    pthread_mutex_lock(&faults.mutex);
    int armed = atomic_load(&p->armed);
    struct rule r = { NULL, ACT_ERRNO, 0, 0, 0, false };
    if (armed > 0) {
        struct rule *shared = &faults.rule[armed - 1];
        if (shared->after > 0) {
            shared->after--;
        } else {
            r = *shared;
            if (!r.for_ever && --shared->count == 0) {
                set_armed(points(), r.name, 0);
                shared->name = NULL;
            }
        }
    }
    pthread_mutex_unlock(&faults.mutex);
    return r.name != NULL ? act(&r) : 0;
}

static void list_section(struct section in, void (*line)(void *arg, const char *name), void *arg)
{
    for (struct fault_point *const *p = in.from; p != in.to; p++) {
        struct fault_point *const *first = in.from;
        while (strcmp((*first)->name, (*p)->name) != 0) {
            first++;
        }
        if (first == p) {
            line(arg, (*p)->name);
        }
    }
}

void fault_list(void (*line)(void *arg, const char *name), void *arg)
{
    list_section(points(), line, arg);
    list_section(bugs(), line, arg);
}

bool fault_bug(const char *name)
{
    struct section in = bugs();
    for (struct fault_point *const *p = in.from; p != in.to; p++) {
        if (strcmp((*p)->name, name) == 0) {
            return atomic_load(&(*p)->armed) != 0;
        }
    }
    return false;
}
#endif
