/* tally.c -- Most attempts stay: what is kept of a call is little, and given on in the order it
 * came. SPDX-License-Identifier: BSD-3-Clause */
#include "exec/tally.h"
#include "exec/commandlog.h"
#include <string.h>

enum tally_result { TALLY_DONE, TALLY_FAILED, TALLY_REJECTED };
struct tally_call {
    uint64_t ticks;
    uint32_t id;
    enum tally_result how;
};
/* A call that a command log may want. */
struct tally_note {
    struct tally_note *next;
    struct call c;
    struct call_int in;
    uint64_t ticks;
    struct slice argv[]; /* with their lengths, and the first bytes of each behind */
};
#define CALLS_FIRST 64
#define CALLS_KEPT  1024 /* more of their memory is not kept from script to script */
#define CALLS_MAX   65536
#define NOTES_BYTES (1u << 20)
#define NOTED_BYTES 128 /* of an argument: no log shows more */

void tally_begin(struct tally *t)
{
    t->on = true;
    t->last = &t->first;
}

static void count_calls(struct tally *t, struct worker *w)
{
    for (unsigned i = 0; i < t->ncalls; i++) {
        const struct tally_call *c = &t->call[i];
        if (c->how == TALLY_REJECTED) {
            counter_add(&w->stats[c->id].rejected, 1);
        } else {
            stat_count(w, c->id, c->ticks, c->how == TALLY_FAILED);
            counter_add(&w->commands, 1);
        }
    }
}

static void note(struct call *c, uint64_t ticks)
{
    if (ticks > c->in->w->slow_ticks) {
        slowlog_note(c, ticks);
    }
    commandlog_note_sizes(c);
}

static void end_notes(struct tally *t, bool stays)
{
    while (t->first != NULL) {
        struct tally_note *n = t->first;
        t->first = n->next;
        if (stays) {
            note(&n->c, n->ticks);
        }
        mem_free(n);
    }
    t->note_bytes = 0;
}

void tally_end(struct tally *t, struct worker *w, bool stays)
{
    t->on = false;
    if (stays) {
        count_calls(t, w);
    }
    t->ncalls = 0;
    end_notes(t, stays);
    if (unlikely(t->calls_cap > CALLS_KEPT)) {
        tally_free(t);
    }
}

void tally_free(struct tally *t)
{
    mem_free(t->call);
    *t = (struct tally){ .on = false };
}

/* False: no room. */
static bool keep_call(struct tally *t, unsigned id, uint64_t ticks, enum tally_result how)
{
    if (t->ncalls == t->calls_cap) {
        unsigned cap = t->calls_cap == 0 ? CALLS_FIRST : t->calls_cap * 2;
        struct tally_call *call =
            cap <= CALLS_MAX ? mem_try_realloc(t->call, cap * sizeof *call) : NULL;
        if (call == NULL) {
            return false;
        }
        t->call = call;
        t->calls_cap = cap;
    }
    t->call[t->ncalls++] = (struct tally_call){ ticks, id, how };
    return true;
}

static bool keep_note(struct tally *t, const struct call *c, uint64_t ticks)
{
    size_t bytes = sizeof(struct tally_note) + c->argc * sizeof *c->argv;
    size_t head = bytes;
    for (unsigned i = 0; i < c->argc; i++) {
        bytes += size_min(c->argv[i].n, NOTED_BYTES);
    }
    struct tally_note *n = t->note_bytes + bytes <= NOTES_BYTES ? mem_try_alloc(bytes) : NULL;
    if (n == NULL) {
        return false;
    }
    *n = (struct tally_note){ .c = *c, .in = *c->in, .ticks = ticks };
    n->c.in = &n->in;
    n->c.argv = n->argv;
    char *p = (char *)n + head;
    for (unsigned i = 0; i < c->argc; i++) {
        size_t kept = size_min(c->argv[i].n, NOTED_BYTES);
        if (kept > 0) {
            memcpy(p, c->argv[i].p, kept);
        }
        n->argv[i] = slice_of(p, c->argv[i].n);
        p += kept;
    }
    *t->last = n;
    t->last = &n->next;
    t->note_bytes += bytes;
    return true;
}

void tally_account(struct tally *t, struct call *c)
{
    struct worker *w = c->in->w;
    uint64_t now = clock_ticks(), took = now - w->ticks;
    if (!t->on || c->in->blocked ||
        !keep_call(t, c->in->ref->id, took, c->in->error ? TALLY_FAILED : TALLY_DONE)) {
        call_account(c->session, c);
        return;
    }
    w->ticks = now;
    if (unlikely(w->hotkeys != NULL)) {
        hotkeys_note(c, took);
    }
    bool wanted = took > w->slow_ticks || call_request_bytes(c) - 1 >= w->large_request;
    if (unlikely(wanted) && !keep_note(t, c, took)) {
        note(c, took);
    }
}

void tally_rejected(struct tally *t, struct worker *w, unsigned id)
{
    if (!t->on || !keep_call(t, id, 0, TALLY_REJECTED)) {
        counter_add(&w->stats[id].rejected, 1);
    }
}
