/* script_told.c -- What others hear of a script that takes long, and how they end it.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  All here: any worker. What is told is under busy_lock. */
#include "exec/exec_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <string.h>

/* False: no memory, *out is zeroed. */
static bool slow_copy(struct slow_script *out, struct slice name, const struct slice *argv,
                      unsigned argc)
{
    size_t bytes = name.n + (argc + 1) * sizeof *argv;
    for (unsigned i = 0; i < argc; i++) {
        bytes += argv[i].n;
    }
    struct slice *copy = mem_try_alloc(bytes);
    if (copy == NULL) {
        *out = (struct slow_script){ .ms = 0 };
        return false;
    }
    char *p = (char *)(copy + 1 + argc);
    for (unsigned i = 0; i <= argc; i++) {
        struct slice word = i == 0 ? name : argv[i - 1];
        if (word.n > 0) {
            memcpy(p, word.p, word.n);
        }
        copy[i] = slice_of(p, word.n);
        p += word.n;
    }
    *out = (struct slow_script){ copy, copy + 1, argc, 0 };
    return true;
}

bool script_is_function(const struct call *c)
{
    return c->cmd->name[0] == 'f';
}

bool script_tell(const struct call *c, const struct running_script *script, bool slow)
{
    struct worker *w = c->in->w;
    struct exec *x = w->x;
    struct slow_script *s = &x->busy_script;
    lock_acquire(&x->busy_lock);
    if (x->busy_by == NULL || slow) {
        mem_free(s->name);
        *s = (struct slow_script){ .ms = 0 };
        if (!slow_copy(s, slice_str(script->name), c->argv, c->argc)) {
            (void)slow_copy(s, slice_str(script->name), NULL, 0);
        }
        x->busy_by = w;
        x->busy_function = script_is_function(c);
        x->busy_since_us = script->since_us;
        x->busy_wrote = script->wrote;
    }
    bool told = x->busy_by == w;
    lock_release(&x->busy_lock);
    return told;
}

bool script_untell(struct worker *w)
{
    struct exec *x = w->x;
    lock_acquire(&x->busy_lock);
    bool killed = w->script_killed;
    w->script_killed = false;
    if (x->busy_by == w) {
        mem_free(x->busy_script.name);
        x->busy_script = (struct slow_script){ .ms = 0 };
        x->busy_by = NULL;
    }
    lock_release(&x->busy_lock);
    return killed;
}

bool script_killed(struct worker *w, bool wrote)
{
    struct exec *x = w->x;
    lock_acquire(&x->busy_lock);
    if (x->busy_by == w) {
        x->busy_wrote = wrote;
    }
    bool killed = w->script_killed && !wrote;
    lock_release(&x->busy_lock);
    return killed;
}

bool script_may_write(struct worker *w)
{
    struct exec *x = w->x;
    lock_acquire(&x->busy_lock);
    bool may = !w->script_killed;
    if (may && x->busy_by == w) {
        x->busy_wrote = true;
    }
    lock_release(&x->busy_lock);
    return may;
}

static const char *busy_text(bool function)
{
    return function
               ? "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN "
                 "NOSAVE."
               : "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
                 "NOSAVE.";
}

const char *script_busy_text(const struct exec *x)
{
    return busy_text(atomic_load_explicit(&x->busy, memory_order_relaxed) == SCRIPT_FUNCTION);
}

#define UNKILLABLE                                                                              \
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can " \
    "either wait the script termination or kill the server in a hard way using the SHUTDOWN "   \
    "NOSAVE command."

const char *call_script_kill(struct call *c, bool function)
{
    struct exec *x = c->x;
    const char *error = NULL;
    if (c->session->killed_script) {
        c->session->killed_script = false;
        return NULL;
    }
    lock_acquire(&x->busy_lock);
    if (x->busy_by == NULL) {
        error = "NOTBUSY No scripts in execution right now.";
    } else if (x->busy_wrote) {
        error = UNKILLABLE;
    } else if (x->busy_function != function) {
        error = busy_text(x->busy_function);
    } else {
        x->busy_by->script_killed = true;
    }
    lock_release(&x->busy_lock);
    return error;
}

bool exec_slow_script(struct exec *x, struct slow_script *out)
{
    lock_acquire(&x->busy_lock);
    const struct slow_script *s = &x->busy_script;
    bool known = s->name != NULL &&
                 (slow_copy(out, *s->name, s->argv, s->argc) || slow_copy(out, *s->name, NULL, 0));
    out->ms = (clock_mono_us() - x->busy_since_us) / 1000;
    lock_release(&x->busy_lock);
    return known; /* it may have ended meanwhile */
}
