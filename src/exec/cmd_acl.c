/* cmd_acl.c -- The ACL family.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  What changes users runs in an exclusive section; what shows them reads them as any
 * command does. Nothing of it goes to the log: users are configuration, not data. */
#include "exec/acl.h"
#include "base/log.h"
#include "base/rng.h"

/* ---- Showing ---- */

static void cmd_acl_whoami(struct call *c)
{
    reply_bulk_str(c, session_user_name(c->session));
}

static void cmd_acl_users(struct call *c)
{
    const struct acl *a = c->x->acl;
    reply_array(c, a->n);
    for (unsigned i = 0; i < a->n; i++) {
        reply_bulk_str(c, a->user[i]->name);
    }
}

static void cmd_acl_list(struct call *c)
{
    const struct acl *a = c->x->acl;
    struct buf line = { 0 };
    reply_array(c, a->n);
    for (unsigned i = 0; i < a->n; i++) {
        line.n = 0;
        buf_printf(&line, "user %s ", a->user[i]->name);
        acl_describe_shown(a->user[i], &line);
        reply_bulk(c, buf_slice(&line));
    }
    buf_free(&line);
}

static void reply_text(struct call *c, const char *field, const struct acl_selector *s,
                       void (*describe)(const struct acl_selector *s, struct buf *out))
{
    struct buf text = { 0 };
    describe(s, &text);
    reply_bulk_str(c, field);
    reply_bulk(c, text.n > 0 ? buf_slice(&text) : S(""));
    buf_free(&text);
}

static void reply_selector(struct call *c, const struct acl_selector *s)
{
    reply_text(c, "commands", s, acl_describe_commands);
    reply_text(c, "keys", s, acl_describe_keys);
    reply_text(c, "channels", s, acl_describe_channels);
}

static void cmd_acl_getuser(struct call *c)
{
    call_redact(c, 2);
    const struct acl_user *u = acl_find(c->x->acl, c->argv[2]);
    if (u == NULL) {
        reply_null(c);
        return;
    }
    reply_map(c, 6);
    reply_bulk_str(c, "flags");
    reply_set(c, 2u + u->nopass);
    reply_bulk_str(c, u->enabled ? "on" : "off");
    if (u->nopass) {
        reply_bulk_str(c, "nopass");
    }
    reply_bulk_str(c, u->skip_sanitize ? "skip-sanitize-payload" : "sanitize-payload");
    reply_bulk_str(c, "passwords");
    reply_array(c, u->npasswords);
    for (unsigned i = 0; i < u->npasswords; i++) {
        reply_bulk(c, slice_of(u->password[i], ACL_HASH_TEXT));
    }
    reply_selector(c, u->selectors);
    size_t n = 0;
    for (const struct acl_selector *s = u->selectors->next; s != NULL; s = s->next) {
        n++;
    }
    reply_bulk_str(c, "selectors");
    reply_array(c, n);
    for (const struct acl_selector *s = u->selectors->next; s != NULL; s = s->next) {
        reply_map(c, 3);
        reply_selector(c, s);
    }
}

struct category_walk {
    struct call *c;
    uint32_t category;
    size_t n;
};

static void category_visit(void *arg, const struct command *row)
{
    struct category_walk *cw = arg;
    if (command_acl(row) & cw->category) {
        reply_bulk_str(cw->c, row->name);
        cw->n++;
    }
    for (const struct command *sub = row->sub; sub != NULL && sub->name != NULL; sub++) {
        if (command_acl(sub) & cw->category) {
            struct buf full = { 0 };
            buf_printf(&full, "%s|%s", row->name, sub->name);
            reply_bulk(cw->c, buf_slice(&full));
            buf_free(&full);
            cw->n++;
        }
    }
}

static void cmd_acl_cat(struct call *c)
{
    if (c->argc > 3) {
        reply_wrong_sub(c);
        return;
    }
    struct category_walk cw = { .c = c };
    if (c->argc == 3) {
        cw.category = command_category(c->argv[2]);
        if (cw.category == 0) {
            reply_errorf(c, "ERR Unknown category '%.*s'", (int)size_min(c->argv[2].n, 128),
                         c->argv[2].p);
            return;
        }
        struct out_block *hole = reply_array_deferred(c);
        exec_each_command(c->x, category_visit, &cw);
        reply_array_fill(c, hole, cw.n);
        return;
    }
    reply_array(c, COMMAND_CATEGORIES);
    for (unsigned i = 0; i < COMMAND_CATEGORIES; i++) {
        reply_bulk_str(c, command_categories[i].name);
    }
}

static void cmd_acl_genpass(struct call *c)
{
    int64_t bits = 256;
    if (c->argc > 3) {
        reply_wrong_sub(c);
        return;
    }
    if (c->argc == 3 && !arg_i64(c, 2, &bits)) {
        return;
    }
    if (bits <= 0 || bits > 4096) {
        reply_error(c, "ERR ACL GENPASS argument must be the number of bits for the output "
                       "password, a positive number up to 4096");
        return;
    }
    char text[4096 / 4];
    size_t digits = (size_t)(bits + 3) / 4;
    rng_hex(text, digits);
    reply_bulk(c, slice_of(text, digits));
}

static void cmd_acl_dryrun(struct call *c)
{
    const struct acl_user *u = acl_find(c->x->acl, c->argv[2]);
    if (u == NULL) {
        reply_errorf(c, "ERR User '%.*s' not found", (int)size_min(c->argv[2].n, 128),
                     c->argv[2].p);
        return;
    }
    const struct slice *argv = c->argv + 3;
    unsigned argc = c->argc - 3, at = 0;
    const struct cmd_ref *ref = command_lookup(c->x, argv, argc);
    if (ref == NULL || (ref->nsub > 0 && argc > 1)) {
        reply_errorf(c, "ERR Command '%.*s' not found", (int)size_min(argv[0].n, 128), argv[0].p);
        return;
    }
    if (ref->row->arity >= 0 ? (int)argc != ref->row->arity : (int)argc < -ref->row->arity) {
        reply_errorf(c, "ERR wrong number of arguments for '%s' command", ref->full);
        return;
    }
    enum acl_result r = acl_check(u, ref, argv, argc, &at);
    if (r == ACL_OK) {
        reply_ok(c);
        return;
    }
    struct buf text = { 0 };
    acl_denied_text(r, u, ref, argv[at], true, &text);
    reply_bulk(c, buf_slice(&text));
    buf_free(&text);
}

/* ---- Changing ---- */

static void redact_all(struct call *c)
{
    for (unsigned i = 2; i < c->argc; i++) {
        call_redact(c, i);
    }
}

/* All rules or none: they are tried on a copy. */
static void cmd_acl_setuser(struct call *c)
{
    redact_all(c);
    struct acl *a = c->x->acl;
    if (!acl_name_ok(c->argv[2])) {
        reply_error(c, "ERR Usernames can't contain spaces or null characters");
        return;
    }
    struct acl_user *old = acl_find(a, c->argv[2]);
    struct acl_user *u = old != NULL ? acl_user_copy(old) : acl_user_new(c->x, c->argv[2]);
    struct buf bad = { 0 };
    enum acl_error e = acl_user_apply_all(c->x, u, c->argv + 3, c->argc - 3, &bad);
    if (e == ACL_E_UNCLOSED) {
        reply_errorf(c, "ERR %s starting at '%.*s'.", acl_error_text(e), (int)size_min(bad.n, 1024),
                     bad.p);
    } else if (e != ACL_E_OK) {
        reply_errorf(c, "ERR Error in ACL SETUSER modifier '%.*s': %s", (int)size_min(bad.n, 1024),
                     bad.p, acl_error_text(e));
    }
    buf_free(&bad);
    if (e != ACL_E_OK) {
        acl_user_free(u);
        return;
    }
    if (old != NULL) {
        acl_user_become(old, u);
        acl_changed(c->x, old, c->session);
    } else {
        acl_put(a, u);
    }
    reply_ok(c);
}

static void cmd_acl_deluser(struct call *c)
{
    redact_all(c);
    struct acl *a = c->x->acl;
    int64_t deleted = 0;
    for (unsigned i = 2; i < c->argc; i++) {
        if (slice_eq(c->argv[i], S("default"))) {
            reply_error(c, "ERR The 'default' user cannot be removed");
            return;
        }
    }
    for (unsigned i = 2; i < c->argc; i++) {
        struct acl_user *u = acl_find(a, c->argv[i]);
        if (u != NULL) {
            acl_delete(c->x, u, c->session);
            deleted++;
        }
    }
    reply_int(c, deleted);
}

/* ---- Files ---- */

static bool has_file(struct call *c)
{
    if (c->x->opt.aclfile != NULL && c->x->opt.aclfile[0] != '\0') {
        return true;
    }
    reply_error(c, "ERR This Redis instance is not configured to use an ACL file. You may want to "
                   "specify users via the ACL SETUSER command and then issue a CONFIG REWRITE "
                   "(assuming you have a Redis configuration file set) in order to store users in "
                   "the Redis configuration.");
    return false;
}

static void cmd_acl_load(struct call *c)
{
    struct buf error = { 0 };
    if (!has_file(c)) {
        return;
    }
    if (acl_load_file(c->x, c->session, &error)) {
        reply_ok(c);
    } else {
        reply_errorf(c, "ERR %.*s", (int)error.n, error.p);
    }
    buf_free(&error);
}

static void save_failed(struct buf *error, const char *path, int rc)
{
    log_warning("Saving the ACL file %s: %s", path, strerror(-rc));
    buf_add_str(error, "ERR There was an error trying to save the ACLs. Please check the server "
                       "logs for more information");
}

static void cmd_acl_save(struct call *c)
{
    if (!has_file(c)) {
        return;
    }
    struct buf text = { 0 };
    acl_file_text(c->x, &text);
    call_replace_file(c, c->x->opt.aclfile, ACL_FILE_MODE, &text, save_failed);
}

static void cmd_acl_help(struct call *c)
{
    static const char *const lines[] = {
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Returns whether the user can execute the given command without executing the command.",
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
        NULL,
    };
    reply_help(c, lines);
}

#define ACL_FLAGS   (CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ADMIN_FLAGS (ACL_FLAGS | CMD_ADMIN)
static const struct command acl_sub[] = {
    { .name = "cat",
      .proc = cmd_acl_cat,
      .arity = -2,
      .flags = ACL_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(1) since the categories and commands are a fixed set.",
      .summary = "List the ACL categories or the commands inside a category",
      .syntax = "[categoryname]" },
    { .name = "deluser",
      .proc = cmd_acl_deluser,
      .arity = -3,
      .flags = ADMIN_FLAGS | CMD_EXCLUSIVE,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(1) amortized time considering the typical user.",
      .summary = "Remove the specified ACL users and the associated rules",
      .syntax = "username..." },
    { .name = "dryrun",
      .proc = cmd_acl_dryrun,
      .arity = -4,
      .flags = ADMIN_FLAGS,
      .group = "server",
      .since = "7.0.0",
      .complexity = "O(1).",
      .summary =
          "Returns whether the user can execute the given command without executing the command.",
      .syntax = "username command [arg...]" },
    { .name = "genpass",
      .proc = cmd_acl_genpass,
      .arity = -2,
      .flags = ACL_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Generate a pseudorandom secure password to use for ACL users",
      .syntax = "[bits:int]" },
    { .name = "getuser",
      .proc = cmd_acl_getuser,
      .arity = 3,
      .flags = ADMIN_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of password, command and pattern rules that the "
                    "user has.",
      .summary = "Get the rules for a specific ACL user",
      .syntax = "username",
      .history = "6.2.0:Added Pub/Sub channel patterns.|7.0.0:Added selectors and changed the "
                 "format of key and channel patterns from a list to their rule representation." },
    { .name = "list",
      .proc = cmd_acl_list,
      .arity = 2,
      .flags = ADMIN_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of configured users.",
      .summary = "List the current ACL rules in ACL config file format" },
    { .name = "load",
      .proc = cmd_acl_load,
      .arity = 2,
      .flags = ADMIN_FLAGS | CMD_EXCLUSIVE,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of configured users.",
      .summary = "Reload the ACLs from the configured ACL file" },
    { .name = "log",
      .proc = cmd_acl_log,
      .arity = -2,
      .flags = ADMIN_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N) with N being the number of entries shown.",
      .summary = "List latest events denied because of ACLs in place",
      .syntax = "[operation=<count:int|RESET>]",
      .history = "7.2.0:Added entry ID, timestamp created, and timestamp last updated." },
    { .name = "save",
      .proc = cmd_acl_save,
      .arity = 2,
      .flags = ADMIN_FLAGS | CMD_EXCLUSIVE,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of configured users.",
      .summary = "Save the current ACL rules in the configured ACL file" },
    { .name = "setuser",
      .proc = cmd_acl_setuser,
      .arity = -3,
      .flags = ADMIN_FLAGS | CMD_EXCLUSIVE,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of rules provided.",
      .summary = "Modify or create the rules for a specific ACL user",
      .syntax = "username [rule...]",
      .history = "6.2.0:Added Pub/Sub channel patterns.|7.0.0:Added selectors and key based "
                 "permissions." },
    { .name = "users",
      .proc = cmd_acl_users,
      .arity = 2,
      .flags = ADMIN_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(N). Where N is the number of configured users.",
      .summary = "List the username of all the configured ACL rules" },
    { .name = "whoami",
      .proc = cmd_acl_whoami,
      .arity = 2,
      .flags = ACL_FLAGS,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Return the name of the user associated to the current connection" },
    { .name = "help",
      .proc = cmd_acl_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "6.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = NULL },
};
const struct command acl_commands[] = {
    { .name = "acl",
      .arity = -2,
      .sub = acl_sub,
      .group = "server",
      .since = "6.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for Access List Control commands " },
    { .name = NULL },
};
