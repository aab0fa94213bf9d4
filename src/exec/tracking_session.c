/* tracking_session.c -- CLIENT TRACKING of one client: on, off, and the prefixes it listens to.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  The session's reactor; the prefixes of all clients are under trackers.lock.
 * FAILURE  Texts and number of the prefixes are a client's choice: without memory for them nothing
 *          is changed. */
#include "exec/tracking.h"

uint64_t *tracking_grown(uint64_t *handle, unsigned n)
{
    if ((n & (n - 1)) != 0) {
        return handle;
    }
    return mem_realloc(handle, (n == 0 ? 1 : (size_t)n * 2) * sizeof *handle);
}

static void free_texts(const struct slice *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        mem_free((void *)(uintptr_t)text[i].p);
    }
}

/* Owned copies of all texts. False: no memory, and there is no copy. */
static bool copy_texts(struct slice *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char *p = mem_try_alloc(text[i].n + 1);
        if (p == NULL) {
            free_texts(text, i);
            return false;
        }
        memcpy(p, text[i].p, text[i].n);
        text[i] = slice_of(p, text[i].n);
    }
    return true;
}

/* Places for n more prefixes in both tables. False: no memory. The lock is held. */
static bool prefixes_room(struct trackers *all, struct tracking *t, unsigned n)
{
    struct slice *own = mem_try_realloc(t->prefix, (t->nprefix + n) * sizeof *own);
    t->prefix = own != NULL ? own : t->prefix;
    if (own == NULL || all->cap - all->n >= n) {
        return own != NULL;
    }
    unsigned cap = all->cap * 2 > all->n + n ? all->cap * 2 : all->n + n;
    struct prefix *shared = mem_try_realloc(all->prefix, cap * sizeof *shared);
    if (shared != NULL) {
        all->prefix = shared;
        all->cap = cap;
    }
    return shared != NULL;
}

/* Takes over text; returns that of the table, which stays as long as the client is there. */
static struct slice prefix_join(struct trackers *all, struct slice text, uint64_t handle)
{
    unsigned i = 0;
    while (i < all->n && !slice_eq(all->prefix[i].text, text)) {
        i++;
    }
    if (i == all->n) {
        all->prefix[all->n++] = (struct prefix){ .text = text };
    } else {
        mem_free((void *)(uintptr_t)text.p);
    }
    struct prefix *p = &all->prefix[i];
    p->handle = tracking_grown(p->handle, p->n);
    p->handle[p->n++] = handle;
    atomic_store_explicit(&all->prefixes, all->n, memory_order_seq_cst);
    return p->text;
}

static void prefix_leave(struct trackers *all, struct slice text, uint64_t handle)
{
    struct prefix *p = all->prefix;
    while (!slice_eq(p->text, text)) {
        p++;
    }
    unsigned i = 0;
    while (p->handle[i] != handle) {
        i++;
    }
    memmove(&p->handle[i], &p->handle[i + 1], (p->n - i - 1) * sizeof *p->handle);
    if (--p->n == 0) {
        mem_free((void *)(uintptr_t)p->text.p);
        mem_free(p->handle);
        *p = all->prefix[--all->n];
    }
    atomic_store_explicit(&all->prefixes, all->n, memory_order_seq_cst);
}

/* Takes over text. There is room; the lock is held. */
static void add_prefix(struct trackers *all, struct tracking *t, struct slice text, uint64_t handle)
{
    unsigned i = 0;
    while (i < t->nprefix && slice_cmp(t->prefix[i], text) < 0) {
        i++;
    }
    if (i < t->nprefix && slice_eq(t->prefix[i], text)) {
        mem_free((void *)(uintptr_t)text.p);
        return;
    }
    memmove(&t->prefix[i + 1], &t->prefix[i], (t->nprefix - i) * sizeof *t->prefix);
    t->prefix[i] = prefix_join(all, text, handle);
    t->nprefix++;
}

/* False: no memory, and nothing was added. */
static bool add_prefixes(struct trackers *all, struct tracking *t, struct tracking_request *req,
                         uint64_t handle)
{
    if (req->nprefix == 0) {
        return true;
    }
    if (!copy_texts(req->prefix, req->nprefix)) {
        return false;
    }
    lock_acquire(&all->lock);
    bool room = prefixes_room(all, t, req->nprefix);
    for (unsigned i = 0; i < req->nprefix && room; i++) {
        add_prefix(all, t, req->prefix[i], handle);
    }
    lock_release(&all->lock);
    if (!room) {
        free_texts(req->prefix, req->nprefix);
    }
    return room;
}

bool session_track(struct session *s, struct tracking_request *req)
{
    struct exec *x = s->w->x;
    struct tracking *t = s->tracking != NULL ? s->tracking : mem_calloc(sizeof *t);
    if (!add_prefixes(x->trackers, t, req, s->handle)) {
        if (s->tracking == NULL) {
            mem_free(t->prefix);
            mem_free(t);
        }
        return false;
    }
    if (s->tracking == NULL) {
        s->tracking = t;
        atomic_fetch_add_explicit(&x->trackers->clients, 1, memory_order_relaxed);
        atomic_store_explicit(&x->tracking_used, true, memory_order_seq_cst);
    }
    t->redirect = req->redirect;
    t->redirect_handle = req->redirect_handle;
    t->bcast = req->bcast;
    t->optin = req->optin;
    t->optout = req->optout;
    t->noloop = req->noloop;
    t->broken = t->caching = t->spent = false;
    return true;
}

void session_untrack(struct session *s)
{
    struct tracking *t = s->tracking;
    if (t == NULL) {
        return;
    }
    struct trackers *all = s->w->x->trackers;
    lock_acquire(&all->lock);
    for (unsigned i = 0; i < t->nprefix; i++) {
        prefix_leave(all, t->prefix[i], s->handle);
    }
    lock_release(&all->lock);
    atomic_fetch_sub_explicit(&all->clients, 1, memory_order_relaxed);
    mem_free(t->prefix);
    mem_free(t);
    s->tracking = NULL;
}

size_t session_tracking_memory(const struct session *s)
{
    const struct tracking *t = s->tracking;
    size_t bytes = t != NULL ? sizeof *t : 0;
    for (unsigned i = 0; t != NULL && i < t->nprefix; i++) {
        bytes += 2 * sizeof *t->prefix + t->prefix[i].n; /* here, and in the table of prefixes */
    }
    return bytes;
}
