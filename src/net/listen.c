/* listen.c -- Listening sockets: opening them, accepting, handing over, changing them while
 * running. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 *     Reactor 0 accepts for all and gives each socket to the reactor with the fewest connections:
 *     a kernel that spreads by hash (SO_REUSEPORT) leaves some reactors idle with few connections.
 *
 * THREADS
 *     The list of listeners is under net->lock. Their libev watchers belong to reactor 0; other
 *     threads start and end them by message.
 *
 * A CHANGE OF ADDRESSES
 *     The new sockets are opened before the old ones close. Where both cannot be bound at once (a
 *     wildcard and an address of the same port), both get SO_REUSEPORT for the moment of the
 *     change; never longer, because a second server on the same port must fail.
 *
 *     Old sockets close on reactor 0, thus after the command that changed the addresses: until then
 *     they are in net->retired, where a change back, perhaps by the same command, finds them.
 *
 * FAILURE
 *     Out of descriptors or memory in accept(): accepting pauses for ACCEPT_PAUSE_MS; the clients
 *     wait in the backlog. */
#include "net/net_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include <limits.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_BATCH \
    64 /* per listener and turn: connections that exist must not wait for a storm */
#define ACCEPT_PAUSE_MS 100

/* ---- Accepting ---- */

struct accept_message {
    struct message m;
    int fd;
    enum conn_kind kind;
    struct peer_addr peer;
};

static void accepted_here(struct reactor *r, struct message *m)
{
    struct accept_message *a = container_of(m, struct accept_message, m);
    if (atomic_load_explicit(&r->stopping, memory_order_relaxed)) {
        close(a->fd);
        atomic_fetch_sub_explicit(&r->load, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&r->net->connected, 1, memory_order_relaxed);
    } else {
        conn_new(r, a->fd, a->kind, &a->peer);
    }
    mem_free(a);
}

static uint64_t burden(const struct reactor *r)
{
    uint64_t away = atomic_load_explicit(&r->away, memory_order_relaxed);
    return away << 32 | reactor_conns(r);
}

/* But none that is away, unless all are. More reactors with clients than processors would share out
 * the same work in smaller turns: each costs a wake-up and a group of the log. */
static struct reactor *least_loaded(struct net *n)
{
    struct reactor *best = &n->reactors[0];
    unsigned n_able = n->serving;
    if (n_able == 1 && n->nreactors > 1 &&
        atomic_load_explicit(&best->away, memory_order_relaxed)) {
        n_able = 2; /* another one stands in */
    }
    for (unsigned i = 1; i < n_able; i++) {
        if (burden(&n->reactors[i]) < burden(best)) {
            best = &n->reactors[i];
        }
    }
    return best;
}

static void reject(struct net *n, int fd, enum conn_kind kind)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    counter_add(&n->rejected, 1); /* before it is told, so that who was told finds it counted */
    if (kind != CONN_TLS) {       /* no session yet that could carry it */
        (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
}

static void hand_over(struct net *n, int fd, enum conn_kind kind, const struct peer_addr *peer)
{
    if (atomic_load_explicit(&n->connected, memory_order_relaxed) >=
        atomic_load_explicit(&n->maxclients, memory_order_relaxed)) {
        reject(n, fd, kind);
        return;
    }
    struct reactor *r = least_loaded(n);
    atomic_fetch_add_explicit(&n->connected, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->load, 1, memory_order_relaxed);
    if (r == reactor_self()) {
        conn_new(r, fd, kind, peer);
        return;
    }
    struct accept_message *a = mem_alloc(sizeof *a);
    *a = (struct accept_message){ .m.run = accepted_here, .fd = fd, .kind = kind, .peer = *peer };
    reactor_post(r, &a->m);
}

static void accept_resume(struct reactor *r, struct reactor_timer *t unused_arg)
{
    struct net *n = r->net;
    lock_acquire(&n->lock);
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        ev_io_start(r->loop, &l->io);
    }
    lock_release(&n->lock);
}

static void accept_pause(struct net *n, int error)
{
    struct reactor *r = &n->reactors[0];
    log_warning("Accepting client connection: accept: %s", strerror(error));
    lock_acquire(&n->lock);
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        ev_io_stop(r->loop, &l->io);
    }
    lock_release(&n->lock);
    n->accept_pause.fire = accept_resume;
    reactor_timer_set(r, &n->accept_pause, r->now_ms + ACCEPT_PAUSE_MS);
}

/* False: there is none for now. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof sa;
    int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int error = fault("net.accept");
    if (error != 0 && fd >= 0) {
        close(fd);
        fd = -1;
        errno = error;
    }
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            accept_pause(l->net, errno);
        }
        return errno == EINTR || errno == ECONNABORTED;
    }
    struct peer_addr peer;
    if (l->kind == CONN_UNIX) {
        sa.ss_family = AF_UNIX;
    }
    peer_addr_from(&peer, &sa);
    hand_over(l->net, fd, l->kind, &peer);
    return true;
}

static void on_connect(struct ev_loop *loop unused_arg, ev_io *io, int revents unused_arg)
{
    struct listener *l = io->data;
    for (unsigned i = 0; i < ACCEPT_BATCH && accept_one(l); i++) {
    }
}

void reactor_away(struct reactor *r, bool away)
{
    atomic_store_explicit(&r->away, away, memory_order_relaxed);
}

void reactor_accept(struct reactor *r)
{
    struct net *n = r->net;
    reactor_drain_only(r, accepted_here);
    for (uint32_t i = 0; i < r->nslots; i++) {
        struct conn *c = r->slots[i].c;
        if (c != NULL && c->tls != NULL && !c->close_now && tls_handshaking(c)) {
            tls_handshake(c);
            list_push(r, LIST_FLUSH, c);
        }
    }
    if (r != &n->reactors[0]) {
        return; /* the listeners are with the first one */
    }
    /* Without the lock: who changes the list waits for the exclusive section that the caller has.
     */
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        for (unsigned i = 0; i < ACCEPT_BATCH && ev_is_active(&l->io) && accept_one(l); i++) {
        }
    }
}

/* ---- Opening ---- */

static void listener_free(struct listener *l)
{
    if (l->kind == CONN_UNIX) {
        unlink(l->addr);
    }
    close(l->fd);
    mem_free(l->addr);
    mem_free(l);
}

static struct listener *listener_new(struct net *n, int fd, enum conn_kind kind, const char *addr,
                                     int port)
{
    struct listener *l = mem_calloc(sizeof *l);
    l->net = n;
    l->fd = fd;
    l->kind = kind;
    l->addr = mem_strdup(addr);
    l->port = port;
    l->keep = true;
    ev_io_init(&l->io, on_connect, fd, EV_READ);
    l->io.data = l;
    return l;
}

static void reuse_port(const struct listener *l, int on)
{
    if (l->kind != CONN_UNIX) {
        (void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
}

static void reuse_port_all(const struct listener *l, int port, int on)
{
    for (; l != NULL; l = l->next) {
        if (l->port == port) {
            reuse_port(l, on);
        }
    }
}

/* Socket bound to ai and listening. -errno. */
static int bind_listen(const struct addrinfo *ai, int backlog, bool share_port)
{
    int on = 1;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (ai->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        (share_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
        bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

/* Host as getaddrinfo() knows it; *family narrowed for the wildcards. */
static const char *host_of(const char *addr, int *family)
{
    *family = AF_UNSPEC;
    if (strcmp(addr, "*") == 0) {
        *family = AF_INET;
        return NULL;
    }
    if (strcmp(addr, "::*") == 0) {
        *family = AF_INET6;
        return NULL;
    }
    return addr;
}

static int open_tcp(const char *addr, int port, int backlog, bool share_port, const char **why)
{
    int family;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    const char *host = host_of(addr, &family);
    struct addrinfo hints = { .ai_family = family,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *ai;
    int rc = getaddrinfo(host, service, &hints, &ai);
    if (rc != 0) {
        *why = gai_strerror(rc);
        return family == AF_INET6 ? -EAFNOSUPPORT : -EADDRNOTAVAIL;
    }
    int fd = bind_listen(ai, backlog, share_port);
    freeaddrinfo(ai);
    if (fd < 0) {
        *why = strerror(-fd);
    }
    return fd;
}

static bool no_such_protocol(int error)
{
    return error == -EAFNOSUPPORT || error == -EPROTONOSUPPORT || error == -ESOCKTNOSUPPORT ||
           error == -EPFNOSUPPORT || error == -ENOPROTOOPT;
}

static void append(struct listener **list, struct listener *l)
{
    while (*list != NULL) {
        list = &(*list)->next;
    }
    *list = l;
}

static struct listener *find(struct listener *l, enum conn_kind kind, const char *addr, int port)
{
    while (l != NULL && (l->kind != kind || l->port != port || strcmp(l->addr, addr) != 0)) {
        l = l->next;
    }
    return l;
}

/* One address of `bind` for one port. 0, also when it was optional and is not there; -errno. */
static int want_tcp(struct net *n, struct listener **opened, enum conn_kind kind, const char *addr,
                    int port, int backlog, struct buf *error)
{
    struct listener *old = find(n->listeners, kind, addr, port);
    if (old == NULL) {
        old = find(n->retired, kind, addr, port);
    }
    if (old != NULL) {
        old->keep = true;
        return 0;
    }
    bool optional = addr[0] == '-';
    const char *plain = addr + optional, *why = "";
    int fd = open_tcp(plain, port, backlog, false, &why);
    if (fd == -EADDRINUSE && (n->listeners != NULL || n->retired != NULL)) {
        reuse_port_all(n->listeners, port, 1);
        reuse_port_all(n->retired, port, 1);
        fd = open_tcp(plain, port, backlog, true, &why);
    }
    if (fd < 0) {
        if ((optional && fd == -EADDRNOTAVAIL) || no_such_protocol(fd)) {
            return 0;
        }
        buf_printf(error, "Could not create server TCP listening socket %s:%d: bind: %s\n", plain,
                   port, why);
        buf_printf(error, "Failed listening on port %d (%s), aborting.", port,
                   kind == CONN_TLS ? "tls" : "tcp");
        return fd;
    }
    append(opened, listener_new(n, fd, kind, addr, port));
    return 0;
}

static int open_unix(struct net *n, const struct net_config *cfg, struct listener **opened,
                     struct buf *error)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    const char *path = cfg->unixsocket;
    int rc = -ENAMETOOLONG, fd = -1;
    if (strlen(path) < sizeof sa.sun_path) {
        memcpy(sa.sun_path, path, strlen(path));
        unlink(path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        rc = fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
                     listen(fd, cfg->backlog) < 0 ||
                     (cfg->unixsocketperm != 0 && chmod(path, cfg->unixsocketperm) < 0)
                 ? -errno
                 : 0;
    }
    if (rc < 0) {
        if (fd >= 0) {
            close(fd);
        }
        buf_printf(error, "Failed opening Unix socket: bind: %s: %s", path, strerror(-rc));
        return rc;
    }
    append(opened, listener_new(n, fd, CONN_UNIX, path, 0));
    return 0;
}

static int want_all(struct net *n, const struct net_config *cfg, struct listener **opened,
                    struct buf *error)
{
    static const char *const everywhere[] = { "*", "-::*" };
    const char *const *bind_to = cfg->nbind > 0 ? cfg->bind : everywhere;
    unsigned count = cfg->nbind > 0 ? cfg->nbind : (unsigned)countof(everywhere);
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        if (cfg->port != 0) {
            rc = want_tcp(n, opened, CONN_TCP, bind_to[i], cfg->port, cfg->backlog, error);
        }
        if (cfg->tls_port != 0 && rc == 0) {
            rc = want_tcp(n, opened, CONN_TLS, bind_to[i], cfg->tls_port, cfg->backlog, error);
        }
    }
    return rc;
}

static void free_all(struct listener *l)
{
    while (l != NULL) {
        struct listener *next = l->next;
        listener_free(l);
        l = next;
    }
}

int listeners_open(struct net *n, const struct net_config *cfg, struct buf *error)
{
    struct listener *opened = NULL;
    int rc = want_all(n, cfg, &opened, error);
    if (rc == 0 && cfg->unixsocket != NULL) {
        rc = open_unix(n, cfg, &opened, error);
    }
    if (rc < 0) {
        free_all(opened);
        return rc;
    }
    n->listeners = opened;
    return 0;
}

/* ---- Starting, changing, closing ---- */

/* On reactor 0: new listeners begin to accept, retired ones take what waits and end. */
static void change_here(struct reactor *r, struct message *m)
{
    struct net *n = r->net;
    mem_free(m);
    lock_acquire(&n->lock);
    struct listener *retired = n->retired;
    n->retired = NULL;
    lock_release(&n->lock);
    while (retired != NULL) {
        struct listener *next = retired->next;
        while (!atomic_load(&r->stopping) && accept_one(retired)) {
        }
        ev_io_stop(r->loop, &retired->io);
        listener_free(retired);
        retired = next;
    }
    lock_acquire(&n->lock);
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        reuse_port(l, 0);
        if (!n->accept_pause.armed) {
            ev_io_start(r->loop, &l->io);
        }
    }
    lock_release(&n->lock);
}

void listeners_start(struct net *n)
{
    struct message *m = mem_alloc(sizeof *m);
    *m = (struct message){ .run = change_here };
    reactor_post(&n->reactors[0], m);
}

void listeners_start_late(struct net *n, int64_t ms)
{
    n->accept_pause.fire = accept_resume;
    reactor_timer_set(&n->reactors[0], &n->accept_pause, clock_mono_ms() + ms);
    listeners_start(n);
}

static void accept_now_here(struct reactor *r, struct message *m)
{
    struct net *n = r->net;
    mem_free(m);
    if (n->accept_pause.armed) {
        reactor_timer_cancel(r, &n->accept_pause);
        accept_resume(r, &n->accept_pause);
    }
}

void net_accept_now(struct net *n)
{
    struct message *m = mem_alloc(sizeof *m);
    *m = (struct message){ .run = accept_now_here };
    reactor_post(&n->reactors[0], m);
}

/* Takes those marked so out of the list. */
static struct listener *take(struct listener **at, bool keep)
{
    struct listener *taken = NULL, **end = &taken;
    while (*at != NULL) {
        struct listener *l = *at;
        if (l->keep != keep) {
            at = &l->next;
        } else {
            *at = l->next;
            l->next = NULL;
            *end = l;
            end = &l->next;
        }
    }
    return taken;
}

static void keep_none(struct listener *l)
{
    for (; l != NULL; l = l->next) {
        l->keep = l->kind == CONN_UNIX;
    }
}

int net_set_listen(struct net *n, const struct net_config *cfg, struct buf *error)
{
    struct listener *opened = NULL;
    lock_acquire(&n->lock);
    keep_none(n->listeners);
    keep_none(n->retired);
    int rc = -EINVAL;
    if (cfg->tls_port != 0 && n->tls == NULL) {
        buf_add_str(error, "TLS is not configured");
    } else {
        rc = want_all(n, cfg, &opened, error);
    }
    if (rc < 0) {
        free_all(opened);
        for (struct listener *l = n->listeners; l != NULL; l = l->next) {
            reuse_port(l, 0);
        }
        lock_release(&n->lock);
        return rc;
    }
    struct listener *back = take(&n->retired, true);
    append(&n->retired, take(&n->listeners, false));
    append(&n->listeners, back);
    append(&n->listeners, opened);
    listeners_start(n);
    lock_release(&n->lock);
    return 0;
}

void listeners_close(struct net *n)
{
    lock_acquire(&n->lock);
    struct listener *l = n->listeners;
    append(&l, n->retired);
    n->listeners = n->retired = NULL;
    lock_release(&n->lock);
    for (struct listener *at = l; at != NULL; at = at->next) {
        ev_io_stop(n->reactors[0].loop, &at->io);
    }
    free_all(l);
}

void net_listeners(struct net *n, struct buf *out)
{
    static const char *const names[] = { "tcp", "unix", "tls" };
    unsigned row = 0;
    lock_acquire(&n->lock);
    for (enum conn_kind kind = CONN_TCP; kind <= CONN_TLS; kind++) {
        int port = 0;
        bool any = false;
        for (const struct listener *l = n->listeners; l != NULL; l = l->next) {
            if (l->kind != kind) {
                continue;
            }
            if (!any) {
                buf_printf(out, "listener%u:name=%s", row++, names[kind]);
            }
            any = true;
            buf_printf(out, ",bind=%s", l->addr);
            port = l->port;
        }
        if (port != 0) {
            buf_printf(out, ",port=%d", port);
        }
        if (any) {
            buf_add_str(out, "\r\n");
        }
    }
    lock_release(&n->lock);
}
