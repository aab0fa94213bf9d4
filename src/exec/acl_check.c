/* acl_check.c -- May a user do this?
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Only for users who may not do everything: for the others exec_request() looks at one
 *          flag of the session. THREADS  Any that runs a command; reads only. */
#include "exec/acl.h"
#include "exec/pubsub.h"

#define KEYS_ON_STACK 64

struct keys {
    int n;
    uint32_t *index, *flags;
    uint32_t stack[2 * KEYS_ON_STACK];
};

static void keys_find(struct keys *k, const struct command *row, const struct slice *argv,
                      unsigned argc)
{
    k->index = k->stack;
    k->flags = k->stack + KEYS_ON_STACK;
    unsigned room = KEYS_ON_STACK;
    k->n = command_keys_flags(row, argv, argc, k->index, k->flags, room);
    if (k->n > (int)room) {
        room = (unsigned)k->n;
        k->index = mem_alloc(2 * room * sizeof *k->index);
        k->flags = k->index + room;
        k->n = command_keys_flags(row, argv, argc, k->index, k->flags, room);
    }
}

static void keys_free(struct keys *k)
{
    if (k->index != k->stack) {
        mem_free(k->index);
    }
}

static bool command_ok(const struct acl_selector *s, const struct cmd_ref *ref,
                       const struct slice *argv, unsigned argc)
{
    if (s->all_commands || (ref->row->flags & CMD_NO_AUTH) ||
        (s->allowed[ref->id / 64] >> (ref->id % 64) & 1)) {
        return true;
    }
    for (unsigned i = 0; i < s->nfirst && argc >= 2; i++) {
        if (s->first[i].id == ref->id && slice_is(argv[1], s->first[i].arg)) {
            return true;
        }
    }
    return false;
}

static unsigned access_of(uint32_t key_flags)
{
    return (key_flags & KEY_ACCESS ? ACL_ACCESS_READ : 0u) |
           (key_flags & (KEY_UPDATE | KEY_INSERT | KEY_DELETE) ? ACL_ACCESS_WRITE : 0u);
}

static bool key_ok(const struct acl_selector *s, struct slice key, unsigned access)
{
    for (unsigned i = 0; i < s->keys.n; i++) {
        const struct acl_pattern *p = &s->keys.at[i];
        if ((p->access & access) == access && glob_match(p->s, key, false)) {
            return true;
        }
    }
    return false;
}

/* A pattern somebody subscribes to must be one of the allowed patterns itself. */
static bool selector_channel_ok(const struct acl_selector *s, struct slice channel, bool pattern)
{
    for (unsigned i = 0; i < s->channels.n; i++) {
        struct slice allowed = s->channels.at[i].s;
        if (pattern ? slice_eq(allowed, channel) : glob_match(allowed, channel, false)) {
            return true;
        }
    }
    return s->all_channels;
}

bool acl_channel_ok(const struct acl_user *u, struct slice channel, bool pattern)
{
    bool ok = false;
    for (const struct acl_selector *s = u->selectors; s != NULL && !ok; s = s->next) {
        ok = selector_channel_ok(s, channel, pattern);
    }
    return ok;
}

/* Which arguments of a command are channels: argv[1], or all. Leaving one is always allowed. */
static unsigned channels_of(const struct command *row, unsigned argc, bool *pattern)
{
    if (!(row->flags & CMD_PUBSUB)) {
        return 0;
    }
    *pattern = strcmp(row->name, "psubscribe") == 0;
    if (strcmp(row->name, "publish") == 0 || strcmp(row->name, "spublish") == 0) {
        return 1;
    }
    bool all =
        *pattern || strcmp(row->name, "subscribe") == 0 || strcmp(row->name, "ssubscribe") == 0;
    return all ? argc - 1 : 0;
}

struct request_keys {
    bool found;
    struct keys keys;
};

static enum acl_result selector_check(const struct acl_selector *s, const struct cmd_ref *ref,
                                      const struct slice *argv, unsigned argc,
                                      struct request_keys *rk, unsigned *at)
{
    if (!command_ok(s, ref, argv, argc)) {
        return ACL_DENIED_CMD;
    }
    if (!s->all_keys && !rk->found) {
        keys_find(&rk->keys, ref->row, argv, argc);
        rk->found = true;
    }
    for (int i = 0; !s->all_keys && i < rk->keys.n; i++) {
        *at = rk->keys.index[i];
        if (!key_ok(s, argv[*at], access_of(rk->keys.flags[i]))) {
            return ACL_DENIED_KEY;
        }
    }
    bool pattern = false;
    unsigned channels = s->all_channels ? 0 : channels_of(ref->row, argc, &pattern);
    for (unsigned i = 1; i <= channels; i++) {
        *at = i;
        if (!selector_channel_ok(s, argv[i], pattern)) {
            return ACL_DENIED_CHANNEL;
        }
    }
    return ACL_OK;
}

/* Of several selectors the client is told of the one that came farthest. */
enum acl_result acl_check(const struct acl_user *u, const struct cmd_ref *ref,
                          const struct slice *argv, unsigned argc, unsigned *at)
{
    enum acl_result worst = ACL_DENIED_CMD;
    unsigned worst_at = 0;
    *at = 0;
    if (u == NULL) {
        return ACL_DENIED_CMD;
    }
    struct request_keys rk = { .found = false };
    for (const struct acl_selector *s = u->selectors; s != NULL && worst != ACL_OK; s = s->next) {
        unsigned here = 0;
        enum acl_result r = selector_check(s, ref, argv, argc, &rk, &here);
        if (r == ACL_OK || r > worst || (r == worst && here > worst_at)) {
            worst = r;
            worst_at = here;
        }
    }
    if (rk.found) {
        keys_free(&rk.keys);
    }
    *at = worst_at;
    return worst;
}

bool acl_reads_all_keys(const struct acl_user *u, const struct cmd_ref *ref,
                        const struct slice *argv, unsigned argc)
{
    struct request_keys rk = { .found = false };
    bool all = u != NULL && u->unrestricted;
    for (const struct acl_selector *s = u != NULL ? u->selectors : NULL; s != NULL && !all;
         s = s->next) {
        unsigned at;
        bool every = s->all_keys;
        for (unsigned i = 0; i < s->keys.n && !every; i++) {
            every = slice_eq(s->keys.at[i].s, S("*")) && (s->keys.at[i].access & ACL_ACCESS_READ);
        }
        all = every && selector_check(s, ref, argv, argc, &rk, &at) == ACL_OK;
    }
    if (rk.found) {
        keys_free(&rk.keys);
    }
    return all;
}

struct subs_check {
    const struct acl_user *user;
    bool ok;
};

static void check_name(void *arg, struct keynode *n)
{
    struct subs_check *sc = arg;
    sc->ok = sc->ok && acl_channel_ok(sc->user, n->key.s, n->db == SUB_PATTERN);
}

bool session_subs_allowed(const struct session *s)
{
    struct subs_check sc = { s->user, true };
    if (s->subs != NULL) {
        keymap_each(s->subs->map, check_name, &sc);
    }
    return sc.ok;
}

/* ---- Words ---- */

void acl_denied_text(enum acl_result why, const struct acl_user *u, const struct cmd_ref *ref,
                     struct slice what, bool detail, struct buf *out)
{
    const char *name = u != NULL ? u->name : "";
    if (why == ACL_DENIED_CMD) {
        buf_printf(out, "User %s has no permissions to run the '%s' command", name, ref->full);
        return;
    }
    const char *kind = why == ACL_DENIED_KEY ? "key" : "channel";
    if (detail) {
        buf_printf(out, "User %s has no permissions to access the '%.*s' %s", name,
                   (int)size_min(what.n, 1024), what.p, kind);
    } else {
        buf_printf(out, "No permissions to access a %s", kind);
    }
}

const char *acl_denied_reason(enum acl_result why)
{
    return why == ACL_DENIED_CMD ? "no permission to execute the command or subcommand"
           : why == ACL_DENIED_KEY
               ? "no permission to touch the specified keys"
               : "no permission to access one of the channels used as arguments";
}
