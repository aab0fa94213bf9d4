/* client_memory.c -- What clients cost, and maxmemory-clients: above it the largest ones go.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      The buffers of one careless client must not take the memory of the data.
 * COUNT    Each worker sums its sessions: all of them now and then, those with new input at once. A
 *          sum above the limit is a suspicion; then its reactor, before it sleeps and after it
 * wrote, stops everybody, counts exactly and closes the largest until the rest fits. THREADS  Sums
 * are read by anybody; sessions by their reactor, or in the exclusive section. */
#include "exec/tracking.h"
#include "exec/waiter.h"
#include "base/log.h"
#include <stdlib.h>

#define NODE_BYTES 96 /* of a watched key or a subscription: about */

size_t session_memory(const struct session *s)
{
    size_t bytes = sizeof *s + conn_memory(s->conn) + s->multi_mem + session_tracking_memory(s);
    for (const struct queued *q = s->held; q != NULL; q = q->next) {
        bytes += mem_usable((void *)(uintptr_t)q);
    }
    bytes += s->waiter != NULL ? s->waiter->bytes : 0;
    const char *texts[] = { s->name, s->lib_name, s->lib_ver };
    for (unsigned i = 0; i < countof(texts); i++) {
        bytes += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    }
    unsigned nodes = s->watch_count;
    for (int kind = 0; s->subs != NULL && kind < 3; kind++) {
        nodes += session_subs(s, kind);
    }
    return bytes + nodes * (size_t)NODE_BYTES;
}

/* A limit below that would keep out everybody, and who wants to take it back. */
#define LIMIT_MIN (128 * 1024)

static int64_t limit_of(struct exec *x)
{
    int64_t limit = option_int(&x->opt.maxmemory_clients);
    limit = limit >= 0 ? limit : option_int(&x->opt.maxmemory) / 100 * -limit;
    return limit > 0 && limit < LIMIT_MIN ? LIMIT_MIN : limit;
}

static uint64_t clients_sum(struct exec *x)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < x->reactors; i++) {
        sum += counter_get(&x->workers[i].clients_mem);
    }
    return sum;
}

static void count(struct session *s)
{
    size_t now = s->doomed ? 0 : session_memory(s);
    counter_add(&s->w->clients_mem, now - s->counted_mem);
    s->counted_mem = now;
}

static void suspect(struct worker *w)
{
    int64_t limit = limit_of(w->x);
    w->check_clients = limit > 0 && clients_sum(w->x) > (uint64_t)limit;
}

void clients_account(struct session *s)
{
    if (likely(option_int(&s->w->x->opt.maxmemory_clients) == 0)) {
        return;
    }
    count(s);
    suspect(s->w);
}

void clients_recount(struct worker *w)
{
    uint64_t in = 0, out = 0;
    for (struct session *s = w->sessions; s != NULL; s = s->next) {
        count(s);
        in = u64_max(in, conn_in_cap(s->conn));
        out = u64_max(out, conn_out_bytes(s->conn));
    }
    atomic_store_explicit(&w->clients_in_max, in, memory_order_relaxed);
    atomic_store_explicit(&w->clients_out_max, out, memory_order_relaxed);
    suspect(w);
}

static int larger_first(const void *a, const void *b)
{
    size_t x = (*(struct session *const *)a)->counted_mem,
           y = (*(struct session *const *)b)->counted_mem;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void evict(struct session *s)
{
    char addr[ADDR_TEXT_MAX];
    conn_peer(s->conn, addr);
    log_notice("Evicting client id=%llu addr=%s tot-mem=%zu: maxmemory-clients",
               (unsigned long long)s->id, addr, s->counted_mem);
    session_kill(s);
    s->leaving_mem = s->counted_mem;
    atomic_fetch_add_explicit(&s->w->x->leaving_mem, (int64_t)s->leaving_mem, memory_order_relaxed);
    count(s);
    atomic_fetch_add_explicit(&s->w->x->evicted_clients, 1, memory_order_relaxed);
}

void clients_evict_now(struct exec *x)
{
    if (option_int(&x->opt.maxmemory_clients) == 0) {
        return;
    }
    unsigned n = 0, room = registry_count(x);
    struct session **all = mem_alloc((room + 1) * sizeof(struct session *));
    for (unsigned i = 0; i < x->reactors; i++) {
        for (struct session *s = x->workers[i].sessions; s != NULL; s = s->next) {
            count(s);
            if (!s->no_evict && !s->doomed && n < room) {
                all[n++] = s;
            }
        }
    }
    qsort(all, n, sizeof(struct session *), larger_first);
    int64_t limit = limit_of(x);
    for (unsigned i = 0; i < n && limit > 0 && clients_sum(x) > (uint64_t)limit; i++) {
        evict(all[i]);
    }
    mem_free(all);
}

void clients_evict(struct worker *w)
{
    clients_recount(w); /* what was written meanwhile does not count */
    if (w->check_clients && section_enter_unless_busy(w)) { /* else later: its reactor must hear who
                                                               ends the script */
        w->check_clients = false;
        clients_evict_now(w->x);
        section_leave(w);
    }
}
