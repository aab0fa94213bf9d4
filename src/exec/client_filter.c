/* client_filter.c -- The filters of CLIENT LIST and CLIENT KILL: those of Redis and of Valkey.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  It looks at other reactors' sessions: its callers run in exclusive sections. */
#include "exec/client_filter.h"
#include "exec/acl.h"
#include <stdio.h>
#include <stdlib.h>

static enum client_type type_by_name(struct slice s)
{
    return slice_is(s, "normal")                             ? TYPE_NORMAL
           : slice_is(s, "replica") || slice_is(s, "slave")  ? TYPE_REPLICA
           : slice_is(s, "pubsub")                           ? TYPE_PUBSUB
           : slice_is(s, "master") || slice_is(s, "primary") ? TYPE_MASTER
                                                             : TYPE_UNKNOWN;
}

static enum client_type type_of(const struct session *s)
{
    return session_subscribed(s) ? TYPE_PUBSUB : TYPE_NORMAL;
}

/* ---- Arguments ---- */

/* ID and one or more numbers from argv[i] on. CLIENT KILL refuses what cannot be one. */
static bool ids_arg(struct call *c, struct client_traits *t, unsigned *i)
{
    bool kill = strcmp(c->cmd->name, "kill") == 0;
    int64_t id;
    t->ids_at = *i;
    if (!arg_i64_range(c, *i, kill ? 1 : INT64_MIN, INT64_MAX, &id,
                       kill ? "ERR client-id should be greater than 0" : "ERR Invalid client ID")) {
        return false;
    }
    while (*i + 1 < c->argc && parse_i64(c->argv[*i + 1], &id)) {
        ++*i;
    }
    t->ids = *i + 1 - t->ids_at;
    if (!kill && *i + 2 == c->argc) { /* no filter: none has so few arguments */
        reply_error(c, "ERR Invalid client ID");
        return false;
    }
    return true;
}

static bool type_arg(struct call *c, struct client_traits *t, unsigned i)
{
    t->type = type_by_name(c->argv[i]);
    if (t->type == TYPE_UNKNOWN) {
        reply_errorf(c, "ERR Unknown client type '%.*s'", (int)size_min(c->argv[i].n, 128),
                     c->argv[i].p);
    }
    return t->type != TYPE_UNKNOWN;
}

static bool user_known(struct call *c, unsigned i)
{
    if (acl_find(c->x->acl, c->argv[i]) == NULL) {
        reply_errorf(c, "ERR No such user '%.*s'", (int)size_min(c->argv[i].n, 128), c->argv[i].p);
        return false;
    }
    return true;
}

/* A trait called `name`, its value at argv[*i], which becomes its last argument. */
static bool trait_arg(struct call *c, struct client_traits *t, struct slice name, unsigned *i)
{
    static const char *const names[FILTER_TEXTS] = { "addr", "laddr",    "ip",     "user",
                                                     "name", "lib-name", "lib-ver" };
    for (unsigned k = 0; k < FILTER_TEXTS; k++) {
        if (slice_is(name, names[k])) {
            t->text[k] = &c->argv[*i];
            return k != FILTER_USER || user_known(c, *i);
        }
    }
    if (slice_is(name, "id")) {
        return ids_arg(c, t, i);
    }
    if (slice_is(name, "type")) {
        return type_arg(c, t, *i);
    }
    if (slice_is(name, "db")) {
        t->by_db = true;
        return arg_i64_range(c, *i, 0, INT32_MAX, &t->db,
                             "ERR DB number should be between 0 and 2147483647");
    }
    reply_syntax(c);
    return false;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Once for all clients: everybody waits until the last one has been looked at. */
static bool ids_sort(struct call *c, struct client_traits *t)
{
    if (t->ids == 0) {
        return true;
    }
    t->sorted = mem_try_alloc(t->ids * sizeof *t->sorted);
    if (t->sorted == NULL) {
        reply_oom(c);
        return false;
    }
    for (unsigned i = 0; i < t->ids; i++) {
        must(parse_i64(c->argv[t->ids_at + i], &t->sorted[i]));
    }
    qsort(t->sorted, t->ids, sizeof *t->sorted, by_number);
    return true;
}

void client_filter_free(struct client_filter *f)
{
    mem_free(f->is.sorted);
    mem_free(f->isnt.sorted);
}

bool client_filter_parse(struct call *c, struct client_filter *f)
{
    for (unsigned i = 2; i < c->argc; i++) {
        struct slice name = c->argv[i];
        bool fine = true;
        if (++i == c->argc) {
            reply_syntax(c);
            return false;
        }
        if (slice_is(name, "maxage")) {
            fine = arg_i64_range(c, i, 1, INT64_MAX, &f->maxage,
                                 "ERR maxage is not an integer or out of range");
        } else if (slice_is(name, "idle")) {
            fine = arg_i64_range(c, i, 1, INT64_MAX, &f->idle,
                                 "ERR idle is not an integer or out of range");
        } else if (slice_is(name, "skipme") && (arg_is(c, i, "yes") || arg_is(c, i, "no"))) {
            f->skip_me = arg_is(c, i, "yes");
        } else if (name.n > 4 && slice_is(slice_of(name.p, 4), "not-")) {
            fine = trait_arg(c, &f->isnt, slice_of(name.p + 4, name.n - 4), &i);
        } else {
            fine = trait_arg(c, &f->is, name, &i);
        }
        if (!fine) {
            return false;
        }
    }
    if (!ids_sort(c, &f->is) || !ids_sort(c, &f->isnt)) {
        client_filter_free(f);
        return false;
    }
    return true;
}

/* ---- Clients ---- */

static struct slice text_of(struct session *s, enum filter_text which, char peer[ADDR_TEXT_MAX])
{
    const char *text = which == FILTER_USER       ? session_user_name(s)
                       : which == FILTER_NAME     ? s->name
                       : which == FILTER_LIB_NAME ? s->lib_name
                       : which == FILTER_LIB_VER  ? s->lib_ver
                                                  : peer;
    if (which == FILTER_LADDR) {
        conn_local(s->conn, peer);
    } else if (which == FILTER_ADDR || which == FILTER_IP) {
        conn_peer(s->conn, peer);
    }
    struct slice all = slice_str(text != NULL ? text : "");
    const char *port = which == FILTER_IP ? strrchr(peer, ':') : NULL;
    return port != NULL ? slice_of(peer, (size_t)(port - peer)) : all;
}

static bool id_listed(const struct client_traits *t, uint64_t id)
{
    int64_t one = (int64_t)id;
    return bsearch(&one, t->sorted, t->ids, sizeof one, by_number) != NULL;
}

/* How many of the traits s has; *asked: how many there are. */
static unsigned traits_of(struct session *s, const struct client_traits *t, unsigned *asked)
{
    char peer[ADDR_TEXT_MAX];
    unsigned has = 0, n = 0;
    for (unsigned k = 0; k < FILTER_TEXTS; k++) {
        if (t->text[k] != NULL) {
            n++;
            has += slice_eq(*t->text[k], text_of(s, (enum filter_text)k, peer));
        }
    }
    n += (unsigned)(t->ids > 0) + (t->type != TYPE_ANY) + t->by_db;
    has += t->ids > 0 && id_listed(t, s->id);
    has += t->type != TYPE_ANY && type_of(s) == t->type;
    has += t->by_db && t->db == (int64_t)s->db;
    *asked = n;
    return has;
}

bool client_filter_takes(const struct call *c, struct session *s, const struct client_filter *f)
{
    unsigned asked, refused;
    if (s->doomed || traits_of(s, &f->is, &asked) != asked ||
        traits_of(s, &f->isnt, &refused) != 0) {
        return false;
    }
    if ((f->maxage > 0 && (clock_wall_ms() - s->created_ms) / 1000 < f->maxage) ||
        (f->idle > 0 && (clock_mono_ms() - conn_last_input_ms(s->conn)) / 1000 < f->idle)) {
        return false;
    }
    return !(f->skip_me && s == c->session);
}
