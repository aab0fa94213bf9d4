/* cmd_tracking.c -- CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  The session's reactor. */
#include "exec/cmd_tracking.h"
#include "exec/tracking.h"

void cmd_client_getredir(struct call *c)
{
    const struct tracking *t = c->session->tracking;
    reply_int(c, t != NULL ? (int64_t)t->redirect : -1);
}

void cmd_client_trackinginfo(struct call *c)
{
    const struct tracking *t = c->session->tracking;
    static const struct tracking none;
    const struct {
        bool is;
        const char *name;
    } flag[] = {
        { t == NULL, "off" },
        { t != NULL, "on" },
        { t != NULL && t->bcast, "bcast" },
        { t != NULL && t->optin, "optin" },
        { t != NULL && t->optin && t->caching, "caching-yes" },
        { t != NULL && t->optout, "optout" },
        { t != NULL && t->optout && t->caching, "caching-no" },
        { t != NULL && t->noloop, "noloop" },
        { t != NULL && t->broken, "broken_redirect" },
    };
    size_t n = 0;
    for (unsigned i = 0; i < countof(flag); i++) {
        n += flag[i].is;
    }
    reply_map(c, 3);
    reply_bulk_str(c, "flags");
    reply_set(c, n);
    for (unsigned i = 0; i < countof(flag); i++) {
        if (flag[i].is) {
            reply_bulk_str(c, flag[i].name);
        }
    }
    reply_bulk_str(c, "redirect");
    reply_int(c, t != NULL ? (int64_t)t->redirect : -1);
    reply_bulk_str(c, "prefixes");
    t = t != NULL ? t : &none;
    reply_array(c, t->nprefix);
    for (unsigned i = 0; i < t->nprefix; i++) {
        reply_bulk(c, t->prefix[i]);
    }
}

void cmd_client_caching(struct call *c)
{
    struct tracking *t = c->session->tracking;
    bool yes = arg_is(c, 2, "yes");
    if (t == NULL) {
        reply_error(c, "ERR CLIENT CACHING can be called only when the client is in tracking mode "
                       "with OPTIN or OPTOUT mode enabled");
    } else if (!yes && !arg_is(c, 2, "no")) {
        reply_syntax(c);
    } else if (yes && !t->optin) {
        reply_error(c, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN "
                       "mode.");
    } else if (!yes && !t->optout) {
        reply_error(c, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT "
                       "mode.");
    } else {
        t->caching = true;
        /* In a transaction it is for the rest of that: EXEC began before, and is not CLIENT. */
        t->spent = (c->flags & CALL_MULTI) != 0;
        reply_ok(c);
    }
}

/* ---- CLIENT TRACKING ---- */

static bool parse_redirect(struct call *c, unsigned i, struct tracking_request *req)
{
    int64_t id;
    if (req->redirect != 0) {
        reply_error(c, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!arg_i64(c, i, &id)) {
        return false;
    }
    req->redirect = (uint64_t)id;
    req->redirect_handle = registry_handle(c->x, req->redirect);
    if (req->redirect_handle == 0) {
        reply_error(c, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    return true;
}

static bool parse_options(struct call *c, struct tracking_request *req)
{
    for (unsigned i = 3; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (arg_is(c, i, "redirect") && more) {
            if (!parse_redirect(c, ++i, req)) {
                return false;
            }
        } else if (arg_is(c, i, "prefix") && more) {
            req->prefix[req->nprefix++] = c->argv[++i];
        } else if (arg_is(c, i, "bcast")) {
            req->bcast = true;
        } else if (arg_is(c, i, "optin")) {
            req->optin = true;
        } else if (arg_is(c, i, "optout")) {
            req->optout = true;
        } else if (arg_is(c, i, "noloop")) {
            req->noloop = true;
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

static bool overlap(struct slice a, struct slice b)
{
    size_t n = size_min(a.n, b.n);
    return n == 0 || memcmp(a.p, b.p, n) == 0;
}

static void reply_overlap(struct call *c, struct slice a, const char *what, struct slice b)
{
    reply_errorf(c,
                 "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                 "must not overlap.",
                 (int)size_min(a.n, 512), a.p, what, (int)size_min(b.n, 512), b.p);
}

/* Of two prefixes of one client, none may begin with the other: it would hear of a key twice. */
static bool prefixes_fit(struct call *c, const struct tracking_request *req)
{
    const struct tracking *t = c->session->tracking;
    for (unsigned i = 0; i < req->nprefix; i++) {
        for (unsigned k = 0; t != NULL && k < t->nprefix; k++) {
            if (overlap(req->prefix[i], t->prefix[k])) {
                reply_overlap(c, req->prefix[i], "an existing", t->prefix[k]);
                return false;
            }
        }
        for (unsigned k = i + 1; k < req->nprefix; k++) {
            if (overlap(req->prefix[i], req->prefix[k])) {
                reply_overlap(c, req->prefix[i], "another provided", req->prefix[k]);
                return false;
            }
        }
    }
    return true;
}

/* Why these options do not go together, or not with those that are on; NULL: they do. */
static const char *contradiction(const struct tracking *t, const struct tracking_request *req)
{
    if (!req->bcast && req->nprefix > 0) {
        return "ERR PREFIX option requires BCAST mode to be enabled";
    }
    if (t != NULL && t->bcast != req->bcast) {
        return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    }
    if (req->bcast && (req->optin || req->optout)) {
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    }
    if (req->optin && req->optout) {
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    }
    if (t != NULL && ((req->optin && t->optout) || (req->optout && t->optin))) {
        return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
               "and then re-enabling it with a different mode.";
    }
    return NULL;
}

static void track(struct call *c, struct tracking_request *req)
{
    if (!parse_options(c, req)) {
        return;
    }
    if (arg_is(c, 2, "off")) {
        session_untrack(c->session);
        reply_ok(c);
        return;
    }
    if (!arg_is(c, 2, "on")) {
        reply_syntax(c);
        return;
    }
    const char *why = contradiction(c->session->tracking, req);
    if (why != NULL) {
        reply_error(c, why);
    } else if (prefixes_fit(c, req)) {
        if (req->bcast && req->nprefix == 0) {
            req->prefix[req->nprefix++] = S("");
        }
        if (session_track(c->session, req)) {
            reply_ok(c);
        } else {
            reply_oom(c);
        }
    }
}

void cmd_client_tracking(struct call *c)
{
    struct tracking_request req = { .prefix = mem_try_alloc(c->argc * sizeof(struct slice)) };
    if (req.prefix == NULL) {
        reply_oom(c);
        return;
    }
    track(c, &req);
    mem_free(req.prefix);
}
