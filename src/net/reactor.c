/* reactor.c -- The loop of one reactor thread: its turn, messages, timers, sleep.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     libev only collects: which sockets have events goes to a list, and the turn does the work in
 *     its own order, so that a batch of connections is executed, then announced to the log once,
 *     then written. Nothing frees a connection before the end of the turn.
 *
 * SLEEP
 *     A sleeping reactor must be woken by whatever it waits for. Messages and reactor_wake() go
 *     through ev_async: libev looks for it between announcing that it will block and blocking. For
 *     gates before_sleep() does the same with the log's watermark: what it releases is written, and
 *     it is asked again until it releases nothing.
 *
 *     Before it sleeps it looks again for a few microseconds, as long as that pays: a sleep costs
 *     both sides a switch, and the client an interrupt of another core (see spin()).
 *
 * INVARIANTS
 *     I1 A connection is on each list at most once; a freed one on none.
 *     I2 The inbox is a stack pushed by many and emptied whole by one, so it has no ABA problem;
 *        reversed, it is in the order of pushing. */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define TICK_MS_MAX 1000
#define NO_ALARM    (-1)

thread_local_fast struct reactor *self;

/* ---- Lists of connections ---- */

void list_push(struct reactor *r, enum conn_list_id id, struct conn *c)
{
    if ((c->on_list & 1U << id) != 0) {
        return;
    }
    c->on_list |= (uint8_t)(1U << id);
    c->next[id] = NULL;
    struct conn_list *l = &r->lists[id];
    if (l->head == NULL) {
        l->head = c;
    } else {
        l->tail->next[id] = c;
    }
    l->tail = c;
}

static struct conn *list_pop(struct conn_list *l, enum conn_list_id id)
{
    struct conn *c = l->head;
    if (c != NULL) {
        l->head = c->next[id];
        c->on_list &= (uint8_t) ~(1U << id);
    }
    return c;
}

/* What is pushed from now on is for the next turn. */
static struct conn_list list_take(struct reactor *r, enum conn_list_id id)
{
    struct conn_list l = r->lists[id];
    r->lists[id] = (struct conn_list){ 0 };
    return l;
}

/* ---- Messages ---- */

void reactor_post(struct reactor *to, struct message *m)
{
    m->next = atomic_load_explicit(&to->inbox, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&to->inbox, &m->next, m, memory_order_release,
                                                  memory_order_relaxed)) {
    }
    reactor_wake(to);
}

void reactor_wake(struct reactor *r)
{
    ev_async_send(r->loop, &r->wake);
}

/* Oldest first: what was put off, then the inbox. */
static struct message *take_messages(struct reactor *r)
{
    struct message *newest = atomic_exchange_explicit(&r->inbox, NULL, memory_order_acquire);
    struct message *m = NULL;
    while (newest != NULL) {
        struct message *older = newest->next;
        newest->next = m;
        m = newest;
        newest = older;
    }
    struct message *all = r->put_off, **end = &all;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = m;
    r->put_off = NULL;
    return all;
}

void reactor_drain_only(struct reactor *r, void (*run)(struct reactor *r, struct message *m))
{
    struct message *m = take_messages(r), **end = &r->put_off;
    while (m != NULL) {
        struct message *next = m->next;
        if (m->run == run) {
            run(r, m);
        } else {
            m->next = NULL;
            *end = m;
            end = &m->next;
        }
        m = next;
    }
}

/* One by one, so that who runs one finds the others where reactor_drain_only() looks. */
void reactor_drain_inbox(struct reactor *r)
{
    r->put_off = take_messages(r);
    while (r->put_off != NULL) {
        struct message *m = r->put_off;
        r->put_off = m->next;
        m->run(r, m);
    }
}

static void on_wake(struct ev_loop *loop, ev_async *w unused_arg, int revents unused_arg)
{
    /* The turn that follows looks at the inbox and at the release point. */
    struct reactor *r = ev_userdata(loop);
    r->woken = true;
}

/* ---- Timers ---- */

void reactor_timer_set(struct reactor *r, struct reactor_timer *t, int64_t due_ms)
{
    reactor_timer_cancel(r, t);
    t->due_ms = due_ms;
    t->armed = true;
    heap_push(&r->timers, due_ms > 0 ? (uint64_t)due_ms : 0, &t->heap_index);
}

void reactor_timer_cancel(struct reactor *r, struct reactor_timer *t)
{
    if (t->armed) {
        t->armed = false;
        heap_remove(&r->timers, t->heap_index);
    }
}

static void run_timers(struct reactor *r)
{
    /* A timer that sets itself again for now fires in the next turn. */
    for (uint32_t n = r->timers.n; n > 0 && heap_lowest(&r->timers) <= (uint64_t)r->now_ms; n--) {
        struct reactor_timer *t =
            container_of(r->timers.a[0].place, struct reactor_timer, heap_index);
        t->armed = false;
        heap_remove(&r->timers, 0);
        t->fire(r, t);
    }
    if (r->now_ms >= r->tick_ms) {
        const struct net_upcalls *up = &r->net->up;
        unsigned wait = up->tick != NULL ? up->tick(up->arg, r) : TICK_MS_MAX;
        r->tick_ms = r->now_ms + (wait < 1 ? 1 : wait > TICK_MS_MAX ? TICK_MS_MAX : wait);
    }
}

void reactor_tick_within(struct reactor *r, int64_t in_ms)
{
    int64_t due = clock_mono_ms() + (in_ms > 0 ? in_ms : 0);
    if (due < r->tick_ms) {
        r->tick_ms = due;
    }
}

static void on_alarm(struct ev_loop *loop unused_arg, ev_timer *w, int revents unused_arg)
{
    struct reactor *r = w->data;
    r->alarm_ms = NO_ALARM;
}

/* One libev timer stands for all: set to the earliest, and left alone while that stays. */
static void set_alarm(struct reactor *r)
{
    uint64_t timer = heap_lowest(&r->timers);
    int64_t due = timer < (uint64_t)r->tick_ms ? (int64_t)timer : r->tick_ms;
    if (due == r->alarm_ms) {
        return;
    }
    r->alarm_ms = due;
    ev_timer_stop(r->loop, &r->alarm);
    ev_now_update(r->loop);
    int64_t in_ms = due - clock_mono_ms();
    ev_timer_set(&r->alarm, in_ms > 0 ? (double)in_ms / 1000 : 0., 0.);
    ev_timer_start(r->loop, &r->alarm);
}

/* ---- The turn ---- */

static uint64_t release_point(struct reactor *r)
{
    const struct net_upcalls *up = &r->net->up;
    return up->turn_end != NULL ? up->turn_end(up->arg, r) : UINT64_MAX;
}

/* Writes what may leave: of the connections this turn touched, and of those whose gate opened. */
static void flush(struct reactor *r, uint64_t release)
{
    struct conn *c;
    do {
        while ((c = list_pop(&r->lists[LIST_FLUSH], LIST_FLUSH)) != NULL) {
            conn_flush(c, release);
        }
        while (heap_lowest(&r->waiting) <= release && r->waiting.n > 0) {
            conn_flush(container_of(r->waiting.a[0].place, struct conn, wait_place), release);
        }
    } while (r->lists[LIST_FLUSH].head != NULL);
}

static void free_closed(struct reactor *r)
{
    struct conn_list closed = list_take(r, LIST_CLOSE);
    struct conn *c;
    while ((c = list_pop(&closed, LIST_CLOSE)) != NULL) {
        if (c->on_list != 0) { /* an upcall of another one touched it: next turn */
            list_push(r, LIST_CLOSE, c);
        } else {
            conn_free(c);
        }
    }
}

/* Connections with short requests are read before the first of them is executed: their keys are
 * all over the memory, and so fetched together. */
#define AHEAD_CONNS 32
#define AHEAD_BYTES                                                              \
    4096 /* of all but the last; more than that is fetched within one connection \
          */
#define AHEAD_ALIGN 64

static void feed_ahead(struct reactor *r, const struct net_input *in, unsigned n)
{
    const struct net_upcalls *up = &r->net->up;
    if (n > 1 && up->inputs_ahead != NULL) {
        up->inputs_ahead(up->arg, r, in, n);
    }
    for (unsigned i = 0; i < n; i++) {
        conn_feed_ahead(in[i].c);
    }
}

static void read_ready(struct reactor *r)
{
    struct conn_list ready = list_take(r, LIST_READY);
    struct net_input in[AHEAD_CONNS];
    unsigned n = 0;
    size_t at = 0;
    struct conn *c;
    while ((c = list_pop(&ready, LIST_READY)) != NULL) {
        size_t got;
        if (!conn_read_ahead(c, r->scratch + at, r->scratch_bytes - at, &got)) {
            feed_ahead(r, in, n); /* conn_ready() needs all of scratch */
            n = 0, at = 0;
            conn_ready(c);
            continue;
        }
        if (got == 0) {
            continue;
        }
        in[n++] = (struct net_input){ c->user, c, slice_of(r->scratch + at, got) };
        at = (at + got + AHEAD_ALIGN - 1) & ~(size_t)(AHEAD_ALIGN - 1);
        if (n == AHEAD_CONNS || at > size_min(AHEAD_BYTES, r->scratch_bytes / 4)) {
            feed_ahead(r, in, n);
            n = 0, at = 0;
        }
    }
    feed_ahead(r, in, n);
}

static void turn(struct reactor *r)
{
    struct conn *c;
    r->now_ms = clock_mono_ms();
    counter_add(&r->stats.turns, 1);
    reactor_drain_inbox(r);
    read_ready(r);
    run_timers(r);
    struct conn_list resumed = list_take(r, LIST_RESUME);
    while ((c = list_pop(&resumed, LIST_RESUME)) != NULL) {
        conn_resumed(c);
    }
    flush(r, release_point(r));
    free_closed(r);
}

static bool has_work(const struct reactor *r)
{
    for (unsigned i = 0; i < LISTS; i++) {
        if (r->lists[i].head != NULL) {
            return true;
        }
    }
    return r->put_off != NULL || atomic_load_explicit(&r->inbox, memory_order_relaxed) != NULL;
}

/* True when there is nothing left to do but to wait. */
static bool settle(struct reactor *r)
{
    const struct net_upcalls *up = &r->net->up;
    for (;;) {
        if (has_work(r)) {
            return false;
        }
        uint64_t lowest = heap_lowest(&r->waiting);
        if (up->before_sleep == NULL) {
            return true;
        }
        uint64_t release = up->before_sleep(up->arg, r, lowest, r->admission > 0);
        if (has_work(r)) {
            return false;
        }
        if (r->waiting.n == 0 || release < lowest) {
            return true;
        }
        flush(r, release);
        free_closed(r);
    }
}

/* ---- Sleep ---- */

static void count_busy(struct reactor *r)
{
    uint64_t now = clock_ticks();
    counter_add(&r->stats.turn_ticks, now - r->busy_since);
    r->busy_since = now;
}

static void on_release(struct ev_loop *loop) EV_NOEXCEPT
{
    struct reactor *r = ev_userdata(loop);
    const struct net_upcalls *up = &r->net->up;
    if (!r->spinning) {
        count_busy(r);
    }
    if (r->may_block && up->sleep_begin != NULL) {
        up->sleep_begin(up->arg, r);
    }
}

static void on_acquire(struct ev_loop *loop) EV_NOEXCEPT
{
    struct reactor *r = ev_userdata(loop);
    const struct net_upcalls *up = &r->net->up;
    if (r->may_block) {
        r->busy_since = clock_ticks();
        if (up->sleep_end != NULL) {
            up->sleep_end(up->arg, r);
        }
    }
}

/* Looks at the sockets before a sleep; true when there is work. A look that finds something saves
 * the reactor two switches and its client the interrupt that wakes another core, so the next sleep
 * gets all of them again; in vain they are halved, so that a client that takes longer to come back
 * costs nothing but a trial now and then. With gates waiting there is no look: the log's writers
 * need the processor more. */
#define SPIN_LOOKS 32 /* of less than half a microsecond: as long as a sleep and its end take */
#define SPIN_TRIAL 64 /* each so many sleeps it is tried again */

static bool spin(struct reactor *r)
{
    if (!r->net->may_spin || r->waiting.n > 0 || r->admission > 0) {
        return false;
    }
    if (r->spin_looks == 0 && ++r->sleeps % SPIN_TRIAL == 0) {
        r->spin_looks = SPIN_LOOKS;
    }
    if (r->spin_looks == 0) {
        return false;
    }
    count_busy(r);
    r->may_block = false;
    r->spinning = true;
    r->woken = false;
    bool found = false;
    for (unsigned i = 0; i < r->spin_looks && !found; i++) {
        ev_run(r->loop, EVRUN_NOWAIT);
        found = r->woken || has_work(r);
    }
    r->spinning = false;
    r->busy_since = clock_ticks();
    r->spin_looks = found ? SPIN_LOOKS : r->spin_looks / 2;
    r->may_block = !found;
    return found;
}

/* ---- Life of a reactor ---- */

int reactor_init(struct reactor *r, struct net *n, unsigned id, size_t scratch_bytes)
{
    r->net = n;
    r->id = id;
    errno = 0;
    r->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
    if (r->loop == NULL) {
        return errno != 0 ? -errno : -ENOMEM;
    }
    r->scratch = mem_map(scratch_bytes);
    r->scratch_bytes = scratch_bytes;
    ev_set_userdata(r->loop, r);
    ev_set_loop_release_cb(r->loop, on_release, on_acquire);
    ev_async_init(&r->wake, on_wake);
    ev_async_start(r->loop, &r->wake);
    ev_timer_init(&r->alarm, on_alarm, 0., 0.);
    r->alarm.data = r;
    r->alarm_ms = NO_ALARM;
    r->now_ms = clock_mono_ms();
    return 0;
}

void reactor_done(struct reactor *r)
{
    if (r->loop == NULL) {
        return;
    }
    reactor_drain_inbox(r);
    ev_async_stop(r->loop, &r->wake);
    ev_loop_destroy(r->loop);
    mem_unmap(r->scratch, r->scratch_bytes);
    mem_free(r->slots);
    heap_free(&r->waiting);
    heap_free(&r->timers);
}

static void close_all(struct reactor *r)
{
    for (uint32_t i = 0; i < r->nslots; i++) {
        if (r->slots[i].c != NULL) {
            conn_close(r->slots[i].c, CLOSE_NOW);
        }
    }
    while (has_work(r)) {
        reactor_drain_inbox(r);
        for (enum conn_list_id id = LIST_READY; id < LIST_CLOSE; id++) {
            struct conn_list l = list_take(r, id);
            while (list_pop(&l, id) != NULL) {
            }
        }
        free_closed(r);
    }
}

/* With r->may_block until there are some. */
static void wait_for_events(struct reactor *r)
{
    if (r->may_block) {
        set_alarm(r);
    }
    ev_run(r->loop, r->may_block ? EVRUN_ONCE : EVRUN_NOWAIT);
}

void *reactor_main(void *arg)
{
    struct reactor *r = arg;
    const struct net_upcalls *up = &r->net->up;
    self = r;
    mem_thread_start();
    out_cache_start();
    argv_cache_start();
    r->busy_since = clock_ticks();
    r->now_ms = clock_mono_ms();
    if (up->reactor_start != NULL) {
        r->user = up->reactor_start(up->arg, r);
    }
    while (!atomic_load_explicit(&r->stopping, memory_order_acquire)) {
        r->may_block = settle(r);
        if (!r->may_block || !spin(r)) {
            wait_for_events(r);
        }
        turn(r);
    }
    close_all(r);
    if (up->reactor_stop != NULL) {
        up->reactor_stop(up->arg, r);
    }
    out_cache_stop();
    argv_cache_stop();
    mem_thread_stop();
    self = NULL;
    return NULL;
}

unsigned reactor_id(const struct reactor *r)
{
    return r->id;
}

struct reactor *reactor_self(void)
{
    return self;
}

void *reactor_user(const struct reactor *r)
{
    return r->user;
}

int64_t reactor_now_ms(const struct reactor *r)
{
    return r->now_ms;
}

unsigned reactor_conns(const struct reactor *r)
{
    return atomic_load_explicit(&r->load, memory_order_relaxed);
}
