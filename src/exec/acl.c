/* acl.c -- All users, who logs in, and what a change of users does to the sessions they have.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A SESSION  points to its user, or to none when that was deleted: it is being closed then, and
 *            what it has sent already is refused. Two flags of it are derived, so that a command of
 *            an unrestricted user costs one look at each: `authenticated` and `restricted`.
 * THREADS    As acl.h says. */
#include "exec/acl.h"

/* ---- The set of users ---- */

static unsigned place_of(const struct acl *a, struct slice name)
{
    unsigned low = 0, high = a->n;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (slice_cmp(slice_str(a->user[mid]->name), name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct acl_user *acl_find(const struct acl *a, struct slice name)
{
    unsigned at = place_of(a, name);
    return at < a->n && slice_eq(slice_str(a->user[at]->name), name) ? a->user[at] : NULL;
}

void acl_put(struct acl *a, struct acl_user *u)
{
    if (a->n == a->cap) {
        a->cap = a->cap == 0 ? 8 : a->cap * 2;
        a->user = mem_realloc(a->user, a->cap * sizeof *a->user);
    }
    unsigned at = place_of(a, slice_str(u->name));
    memmove(&a->user[at + 1], &a->user[at], (a->n - at) * sizeof *a->user);
    a->user[at] = u;
    a->n++;
}

struct acl_user *acl_default_user(void)
{
    static const char *const rules[] = { "on", "nopass", "allkeys", "allchannels", "allcommands" };
    struct acl_user *u = acl_user_new(NULL, S("default"));
    for (unsigned i = 0; i < countof(rules); i++) {
        must(acl_user_apply(NULL, u, slice_str(rules[i])) == ACL_E_OK);
    }
    return u;
}

void acl_new(struct exec *x)
{
    struct acl *a = mem_calloc(sizeof *a);
    a->def = acl_default_user();
    acl_put(a, a->def);
    a->log = acl_log_new();
    x->acl = a;
}

void acl_free(struct exec *x)
{
    struct acl *a = x->acl;
    for (unsigned i = 0; i < a->n; i++) {
        acl_user_free(a->user[i]);
    }
    acl_log_free(a->log);
    mem_free(a->user);
    mem_free(a);
}

void acl_user_requirepass(struct acl_user *u, struct slice password)
{
    struct buf op = { 0 };
    buf_add_str(&op, password.n > 0 ? ">" : "nopass");
    buf_add_slice(&op, password);
    must(acl_user_apply(NULL, u, S("resetpass")) == ACL_E_OK);
    must(acl_user_apply(NULL, u, buf_slice(&op)) == ACL_E_OK);
    buf_free(&op);
}

void acl_set_requirepass(struct exec *x)
{
    acl_user_requirepass(x->acl->def, x->opt.requirepass);
    acl_changed(x, x->acl->def, NULL);
}

/* ---- Logging in ---- */

bool acl_login_needed(const struct acl *a)
{
    return !a->def->nopass || !a->def->enabled;
}

/* Compares digests as a whole and with every password, so that the time it takes says nothing of
 * how much was right. */
struct acl_user *acl_login(const struct acl *a, struct slice name, struct slice password)
{
    uint8_t digest[ACL_HASH_TEXT / 2];
    char given[ACL_HASH_TEXT];
    sha256(password.p, password.n, digest);
    hex_encode(digest, sizeof digest, given);
    struct acl_user *u = acl_find(a, name);
    bool ok = u != NULL && u->nopass;
    for (unsigned i = 0; u != NULL && i < u->npasswords; i++) {
        unsigned diff = 0;
        for (unsigned k = 0; k < sizeof given; k++) {
            diff |= (unsigned)(given[k] ^ u->password[i][k]);
        }
        ok |= diff == 0;
    }
    return ok && u->enabled ? u : NULL;
}

/* ---- Sessions ---- */

static void derive(struct session *s)
{
    const struct acl *a = s->w->x->acl;
    bool in = s->user != NULL && (s->logged_in || !acl_login_needed(a));
    s->restricted = s->user == NULL || !s->user->unrestricted;
    if (s->authenticated != in) {
        session_set_authenticated(s, in);
    }
}

void session_login(struct session *s, struct acl_user *u)
{
    s->user = u;
    s->logged_in = true;
    derive(s);
}

void session_reset_user(struct session *s)
{
    const struct acl *a = s->w->x->acl;
    s->user = a->def;
    s->logged_in = !acl_login_needed(a);
    derive(s);
}

static void dismiss(struct session *s, struct session *self)
{
    if (s == self) {
        conn_close(s->conn, CLOSE_AFTER_REPLY);
    } else {
        session_kill(s);
    }
}

struct change {
    const struct acl_user *u;
    struct session *self;
};

static void each_session(struct exec *x, void (*visit)(struct session *s, const struct change *ch),
                         const struct change *ch)
{
    for (unsigned r = 0; r < x->reactors; r++) {
        for (struct session *s = x->workers[r].sessions; s != NULL; s = s->next) {
            visit(s, ch);
        }
    }
}

static void changed_visit(struct session *s, const struct change *ch)
{
    derive(s);
    bool affected = s->user != NULL && (ch->u == NULL || s->user == ch->u);
    if (affected && s->restricted && !session_subs_allowed(s)) {
        dismiss(s, ch->self);
    }
}

void acl_changed(struct exec *x, const struct acl_user *u, struct session *self)
{
    each_session(x, changed_visit, &(struct change){ u, self });
}

static void deleted_visit(struct session *s, const struct change *ch)
{
    if (s->user == ch->u) {
        s->user = NULL;
        s->logged_in = false;
        derive(s);
        dismiss(s, ch->self);
    }
}

void acl_delete(struct exec *x, struct acl_user *u, struct session *self)
{
    struct acl *a = x->acl;
    must(u != a->def);
    each_session(x, deleted_visit, &(struct change){ u, self });
    unsigned at = place_of(a, slice_str(u->name));
    a->n--;
    memmove(&a->user[at], &a->user[at + 1], (a->n - at) * sizeof *a->user);
    acl_user_free(u);
}

void acl_replace(struct exec *x, struct acl *now, struct session *self)
{
    struct acl *a = x->acl;
    for (unsigned i = a->n; i-- > 0;) { /* from behind: deletions move the rest */
        if (a->user[i] != a->def && acl_find(now, slice_str(a->user[i]->name)) == NULL) {
            acl_delete(x, a->user[i], self);
        }
    }
    for (unsigned i = 0; i < now->n; i++) {
        struct acl_user *old = acl_find(a, slice_str(now->user[i]->name));
        if (old != NULL) {
            acl_user_become(old, now->user[i]);
        } else {
            acl_put(a, now->user[i]);
        }
    }
    mem_free(now->user);
    acl_changed(x, NULL, self);
}

const char *session_user_name(const struct session *s)
{
    return s->user != NULL ? s->user->name : s->w->x->acl->def->name;
}

/* ---- Refusing ---- */

static enum acl_context context_of(const struct call *c)
{
    bool multi = c->session->multi != NULL || (c->flags & CALL_MULTI);
    return c->flags & CALL_SCRIPT ? ACL_IN_SCRIPT : multi ? ACL_IN_MULTI : ACL_IN_TOPLEVEL;
}

void acl_refuse(struct call *c, enum acl_result why, unsigned at)
{
    struct session *s = c->session;
    const struct cmd_ref *ref = c->in->ref;
    struct slice what = why == ACL_DENIED_CMD ? slice_str(ref->full) : c->argv[at];
    struct buf text = { 0 };
    s->last_cmd = c->flags & (CALL_SCRIPT | CALL_MULTI) ? s->last_cmd : ref;
    if (s->user != NULL) {
        acl_log_denied(c, why, context_of(c), what, s->user->name);
    }
    acl_denied_text(why, s->user, ref, what, false, &text);
    if (c->flags & CALL_SCRIPT) {
        reply_errorf(c, "ERR ACL failure in script: %.*s", (int)text.n, text.p);
    } else if (c->flags & CALL_MULTI) {
        reply_errorf(c,
                     "NOPERM ACLs rules changed between the moment the transaction was "
                     "accumulated and the EXEC call. This command is no longer allowed for the "
                     "following reason: %s",
                     acl_denied_reason(why));
    } else {
        const char *ended = exec_refused(c) ? EXECABORT : "";
        reply_errorf(c, "%sNOPERM %.*s", ended, (int)text.n, text.p);
    }
    buf_free(&text);
}

bool acl_admits(struct call *c)
{
    unsigned at;
    enum acl_result r = acl_check(c->session->user, c->in->ref, c->argv, c->argc, &at);
    if (likely(r == ACL_OK)) {
        return true;
    }
    if ((c->flags & (CALL_MULTI | CALL_SCRIPT)) != CALL_MULTI) {
        counter_add(&c->in->w->stats[c->in->ref->id].rejected, 1);
    }
    acl_refuse(c, r, at);
    return false;
}

bool call_reads_all_keys(const struct call *c)
{
    const struct session *s = c->session;
    return s == NULL || !s->restricted || acl_reads_all_keys(s->user, c->in->ref, c->argv, c->argc);
}
