/* acl_rules.c -- The rules of one user: read, kept, written back.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Command rules are kept twice: as one bit per command, which is what a check looks at,
 * and as the words they came in, because a category may have more commands after an upgrade and the
 * words then mean those, too. SOURCE   Redis's ACL documentation; where it is silent, what
 * Redis 7.2 shows in ACL LIST. */
#include "exec/acl.h"
#include <ctype.h>

const char *acl_error_text(enum acl_error e)
{
    switch (e) {
    case ACL_E_OK: break;
    case ACL_E_UNKNOWN: return "Unknown command or category name in ACL";
    case ACL_E_SYNTAX: return "Syntax error";
    case ACL_E_ALL_KEYS:
        return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
               "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    case ACL_E_ALL_CHANNELS:
        return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
               "does not have any effect. Try 'resetchannels' to start with an empty list of "
               "channels";
    case ACL_E_NO_PASSWORD:
        return "The password you are trying to remove from the user does not exist";
    case ACL_E_BAD_HASH:
        return "The password hash must be exactly 64 characters and contain only lowercase "
               "hexadecimal characters";
    case ACL_E_FIRST_ARG: return "Allowing first-arg of a subcommand is not supported";
    case ACL_E_UNCLOSED: return "Unmatched parenthesis in acl selector";
    }
    must_not_reach();
}

bool acl_name_ok(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (char_is_space(name.p[i]) || name.p[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* ---- Patterns ---- */

static void patterns_clear(struct acl_patterns *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        mem_free((void *)(uintptr_t)p->at[i].s.p);
    }
    mem_free(p->at);
    *p = (struct acl_patterns){ 0 };
}

/* One that is there already gets the access as well. */
static void patterns_add(struct acl_patterns *p, struct slice s, unsigned access)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (slice_eq(p->at[i].s, s)) {
            p->at[i].access |= access;
            return;
        }
    }
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 4 : p->cap * 2;
        p->at = mem_realloc(p->at, p->cap * sizeof *p->at);
    }
    p->at[p->n++] = (struct acl_pattern){ slice_of(mem_dup(s.p, s.n), s.n), access };
}

/* `to` is empty. What is in a list is there once, so nothing is looked for: any change of a user
 * copies it, and with 10,000 patterns looking for each stopped everybody for 0.3 s. */
static void patterns_copy(struct acl_patterns *to, const struct acl_patterns *from)
{
    must(to->n == 0);
    if (from->n == 0) {
        return;
    }
    to->at = mem_alloc(from->n * sizeof *to->at);
    to->cap = to->n = from->n;
    for (unsigned i = 0; i < from->n; i++) {
        struct slice s = from->at[i].s;
        to->at[i] = (struct acl_pattern){ slice_of(mem_dup(s.p, s.n), s.n), from->at[i].access };
    }
}

/* ---- Selectors ---- */

static struct acl_selector *selector_new(const struct exec *x)
{
    struct acl_selector *s = mem_calloc(sizeof *s);
    s->all_channels = x != NULL && option_int(&x->opt.acl_pubsub_default) != 0;
    return s;
}

static void rules_clear(struct acl_selector *s)
{
    for (unsigned i = 0; i < s->nrules; i++) {
        mem_free(s->rule[i]);
    }
    mem_free(s->rule);
    s->rule = NULL;
    s->nrules = 0;
}

/* id COMMANDS_MAX: of all commands. */
static void first_args_clear(struct acl_selector *s, unsigned id)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->nfirst; i++) {
        if (id == COMMANDS_MAX || s->first[i].id == id) {
            mem_free(s->first[i].arg);
        } else {
            s->first[kept++] = s->first[i];
        }
    }
    s->nfirst = kept;
    if (kept == 0) {
        mem_free(s->first);
        s->first = NULL;
    }
}

static void selectors_free(struct acl_selector *s)
{
    while (s != NULL) {
        struct acl_selector *next = s->next;
        patterns_clear(&s->keys);
        patterns_clear(&s->channels);
        rules_clear(s);
        first_args_clear(s, COMMANDS_MAX);
        mem_free(s);
        s = next;
    }
}

static void first_arg_add(struct acl_selector *s, unsigned id, const char *arg)
{
    for (unsigned i = 0; i < s->nfirst; i++) {
        if (s->first[i].id == id && strcmp(s->first[i].arg, arg) == 0) {
            return;
        }
    }
    s->first = mem_realloc(s->first, (s->nfirst + 1) * sizeof *s->first);
    s->first[s->nfirst++] = (struct acl_first_arg){ id, mem_strdup(arg) };
}

static struct acl_selector *selector_copy(const struct acl_selector *from)
{
    struct acl_selector *s = mem_alloc(sizeof *s);
    *s = *from;
    s->next = NULL;
    s->keys = s->channels = (struct acl_patterns){ 0 };
    patterns_copy(&s->keys, &from->keys);
    patterns_copy(&s->channels, &from->channels);
    s->first = NULL;
    s->nfirst = 0;
    for (unsigned i = 0; i < from->nfirst; i++) {
        first_arg_add(s, from->first[i].id, from->first[i].arg);
    }
    s->rule = from->nrules > 0 ? mem_alloc(from->nrules * sizeof *s->rule) : NULL;
    for (unsigned i = 0; i < from->nrules; i++) {
        s->rule[i] = mem_strdup(from->rule[i]);
    }
    return s;
}

/* ---- Commands ---- */

/* A rule takes the place of those about the same command or category, and of those about
 * subcommands of the command. */
static void rule_add(struct acl_selector *s, bool allow, const char *lower)
{
    size_t n = strlen(lower);
    unsigned kept = 0;
    for (unsigned i = 0; i < s->nrules; i++) {
        const char *about = s->rule[i] + 1;
        if (strncmp(about, lower, n) == 0 && (about[n] == '\0' || about[n] == '|')) {
            mem_free(s->rule[i]);
        } else {
            s->rule[kept++] = s->rule[i];
        }
    }
    s->rule = mem_realloc(s->rule, (kept + 1) * sizeof *s->rule);
    s->nrules = kept + 1;
    char *rule = mem_alloc(n + 2);
    rule[0] = allow ? '+' : '-';
    memcpy(rule + 1, lower, n + 1);
    s->rule[kept] = rule;
}

static void set_all_commands(struct acl_selector *s, bool allow)
{
    memset(s->allowed, allow ? 0xff : 0, sizeof s->allowed);
    s->all_commands = s->base_all = allow;
    rules_clear(s);
    first_args_clear(s, COMMANDS_MAX);
}

/* The command and its subcommands. */
static void set_command(struct acl_selector *s, const struct cmd_ref *ref, bool allow)
{
    uint64_t bit = (uint64_t)1 << (ref->id % 64);
    if (allow) {
        s->allowed[ref->id / 64] |= bit;
    } else {
        s->allowed[ref->id / 64] &= ~bit;
        s->all_commands = false;
    }
    first_args_clear(s, ref->id);
    for (unsigned i = 0; i < ref->nsub; i++) {
        set_command(s, &ref->sub[i], allow);
    }
}

/* Subcommands have categories of their own; one they share with their container sets them all. */
static void set_category(const struct exec *x, struct acl_selector *s, uint32_t category,
                         bool allow)
{
    for (unsigned id = 0; id < commands_count(x); id++) {
        const struct cmd_ref *ref = command_by_id(x, id);
        if (ref->acl & category) {
            set_command(s, ref, allow);
        }
    }
}

static enum acl_error apply_category(const struct exec *x, struct acl_selector *s,
                                     const char *lower, bool allow)
{
    if (strcmp(lower, "@all") == 0) {
        set_all_commands(s, allow);
        return ACL_E_OK;
    }
    uint32_t category = command_category(slice_str(lower + 1));
    if (x != NULL && category == 0) {
        return ACL_E_UNKNOWN;
    }
    if (x != NULL) {
        set_category(x, s, category, allow);
    }
    rule_add(s, allow, lower);
    return ACL_E_OK;
}

/* "get", "config|get": by the names in the tables, whatever rename-command made of them. */
static const struct cmd_ref *named(const struct exec *x, const char *name, size_t n)
{
    const char *bar = memchr(name, '|', n);
    struct slice argv[2] = { slice_of(name, bar != NULL ? (size_t)(bar - name) : n) };
    if (bar == NULL) {
        return n > 0 ? command_lookup_logged(x, argv, 1) : NULL;
    }
    argv[1] = slice_of(bar + 1, n - argv[0].n - 1);
    const struct cmd_ref *ref = command_lookup_logged(x, argv, 2);
    return ref != NULL && ref->parent != NULL ? ref : NULL;
}

/* +select|0; a denied first argument cannot be told from an unknown subcommand. */
static enum acl_error apply_first_arg(const struct exec *x, struct acl_selector *s,
                                      const char *lower, bool allow)
{
    const char *bar = strrchr(lower, '|');
    if (bar == NULL) {
        return ACL_E_UNKNOWN;
    }
    const struct cmd_ref *ref = named(x, lower, (size_t)(bar - lower));
    if (ref == NULL) {
        return ACL_E_UNKNOWN;
    }
    if (ref->parent != NULL) {
        return ACL_E_FIRST_ARG;
    }
    if (bar[1] == '\0' || !acl_name_ok(slice_str(bar))) { /* what has a space can't be written */
        return ACL_E_SYNTAX;
    }
    if (ref->nsub > 0 || !allow) {
        return ACL_E_UNKNOWN;
    }
    first_arg_add(s, ref->id, bar + 1);
    rule_add(s, true, lower);
    return ACL_E_OK;
}

static enum acl_error apply_command(const struct exec *x, struct acl_selector *s, struct slice op)
{
    bool allow = op.p[0] == '+';
    if (memchr(op.p, '\0', op.n) != NULL) {
        return ACL_E_UNKNOWN;
    }
    char *lower = mem_dup(op.p + 1, op.n - 1);
    for (char *p = lower; *p != '\0'; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    enum acl_error e = ACL_E_OK;
    const struct cmd_ref *ref = x != NULL ? named(x, lower, op.n - 1) : NULL;
    if (lower[0] == '@') {
        e = apply_category(x, s, lower, allow);
    } else if (ref != NULL) {
        set_command(s, ref, allow);
        rule_add(s, allow, lower);
    } else if (x != NULL) {
        e = apply_first_arg(x, s, lower, allow);
    } else if (op.n > 1 && lower[op.n - 2] == '|') {
        e = ACL_E_SYNTAX;
    }
    mem_free(lower);
    return e;
}

/* ---- Keys and channels ---- */

/* ~pattern, %R~pattern, %W~pattern, %RW~pattern */
static enum acl_error apply_keys(struct acl_selector *s, struct slice op)
{
    if (s->all_keys) {
        return ACL_E_ALL_KEYS;
    }
    unsigned access = 0;
    size_t i = 1;
    if (op.p[0] == '~') {
        access = ACL_ACCESS_ALL;
    } else {
        for (; i < op.n && op.p[i] != '~'; i++) {
            unsigned more = toupper((unsigned char)op.p[i]) == 'R'   ? ACL_ACCESS_READ
                            : toupper((unsigned char)op.p[i]) == 'W' ? ACL_ACCESS_WRITE
                                                                     : 0;
            if (more == 0 || (access & more)) {
                return ACL_E_SYNTAX;
            }
            access |= more;
        }
        i++;
    }
    struct slice pattern = i <= op.n ? slice_of(op.p + i, op.n - i) : S("");
    if (access == 0 || !acl_name_ok(pattern)) {
        return ACL_E_SYNTAX;
    }
    patterns_add(&s->keys, pattern, access); /* %RW~* is a pattern, as in Redis */
    return ACL_E_OK;
}

static enum acl_error apply_channel(struct acl_selector *s, struct slice op)
{
    if (s->all_channels) {
        return ACL_E_ALL_CHANNELS;
    }
    struct slice pattern = slice_of(op.p + 1, op.n - 1);
    if (!acl_name_ok(pattern)) {
        return ACL_E_SYNTAX;
    }
    patterns_add(&s->channels, pattern, 0);
    return ACL_E_OK;
}

static enum acl_error selector_apply(const struct exec *x, struct acl_selector *s, struct slice op)
{
    bool all_keys = slice_is(op, "allkeys") || slice_is(op, "~*");
    bool all_channels = slice_is(op, "allchannels") || slice_is(op, "&*");
    if (all_keys || slice_is(op, "resetkeys")) {
        s->all_keys = all_keys;
        patterns_clear(&s->keys);
    } else if (all_channels || slice_is(op, "resetchannels")) {
        s->all_channels = all_channels;
        patterns_clear(&s->channels);
    } else if (slice_is(op, "allcommands") || slice_is(op, "nocommands")) {
        set_all_commands(s, slice_is(op, "allcommands"));
    } else if (op.n > 0 && (op.p[0] == '~' || op.p[0] == '%')) {
        return apply_keys(s, op);
    } else if (op.n > 0 && op.p[0] == '&') {
        return apply_channel(s, op);
    } else if (op.n > 0 && (op.p[0] == '+' || op.p[0] == '-')) {
        return apply_command(x, s, op);
    } else {
        return ACL_E_SYNTAX;
    }
    return ACL_E_OK;
}

/* COMPAT: unbalanced quotes are an error; Redis takes the selector for an empty one. */
static enum acl_error add_selector(const struct exec *x, struct acl_user *u, struct slice op)
{
    struct buf store = { 0 };
    struct slice *word = NULL;
    unsigned n = 0;
    if (op.n < 2 || op.p[op.n - 1] != ')' ||
        !split_args(slice_of(op.p + 1, op.n - 2), &store, &word, &n)) {
        buf_free(&store);
        return ACL_E_SYNTAX;
    }
    struct acl_selector *s = selector_new(x);
    enum acl_error e = ACL_E_OK;
    for (unsigned i = 0; i < n && e == ACL_E_OK; i++) {
        e = selector_apply(x, s, word[i]);
    }
    mem_free(word);
    buf_free(&store);
    if (e != ACL_E_OK) {
        selectors_free(s);
        return e;
    }
    struct acl_selector **at = &u->selectors;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = s;
    return ACL_E_OK;
}

/* ---- Passwords ---- */

static bool is_hash(struct slice s)
{
    bool ok = s.n == ACL_HASH_TEXT;
    for (size_t i = 0; i < s.n && ok; i++) {
        ok = (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f');
    }
    return ok;
}

/* >password <password #hash !hash */
static enum acl_error apply_password(struct acl_user *u, struct slice op)
{
    char hash[ACL_HASH_TEXT];
    struct slice given = slice_of(op.p + 1, op.n - 1);
    if (op.p[0] == '>' || op.p[0] == '<') {
        uint8_t digest[ACL_HASH_TEXT / 2];
        sha256(given.p, given.n, digest);
        hex_encode(digest, sizeof digest, hash);
    } else if (is_hash(given)) {
        memcpy(hash, given.p, sizeof hash);
    } else {
        return ACL_E_BAD_HASH;
    }
    bool add = op.p[0] == '>' || op.p[0] == '#';
    unsigned i = 0;
    while (i < u->npasswords && memcmp(u->password[i], hash, sizeof hash) != 0) {
        i++;
    }
    if (add && i == u->npasswords) {
        u->password = mem_realloc(u->password, (u->npasswords + 1) * sizeof *u->password);
        memcpy(u->password[u->npasswords++], hash, sizeof hash);
    } else if (!add && i == u->npasswords) {
        return ACL_E_NO_PASSWORD;
    } else if (!add) {
        u->npasswords--;
        memmove(u->password[i], u->password[i + 1], (u->npasswords - i) * sizeof *u->password);
    }
    u->nopass = u->nopass && !add;
    return ACL_E_OK;
}

static void clear_passwords(struct acl_user *u, bool nopass)
{
    mem_free(u->password);
    u->password = NULL;
    u->npasswords = 0;
    u->nopass = nopass;
}

/* ---- Users ---- */

struct acl_user *acl_user_new(const struct exec *x, struct slice name)
{
    struct acl_user *u = mem_calloc(sizeof *u);
    u->name = mem_dup(name.p, name.n);
    u->selectors = selector_new(x);
    return u;
}

struct acl_user *acl_user_copy(const struct acl_user *from)
{
    struct acl_user *u = mem_alloc(sizeof *u);
    *u = *from;
    u->name = mem_strdup(from->name);
    u->password = NULL;
    if (from->npasswords > 0) {
        u->password = mem_alloc(from->npasswords * sizeof *u->password);
        memcpy(u->password, from->password, from->npasswords * sizeof *u->password);
    }
    struct acl_selector **at = &u->selectors;
    for (const struct acl_selector *s = from->selectors; s != NULL; s = s->next) {
        *at = selector_copy(s);
        at = &(*at)->next;
    }
    return u;
}

void acl_user_free(struct acl_user *u)
{
    mem_free(u->name);
    mem_free(u->password);
    selectors_free(u->selectors);
    mem_free(u);
}

void acl_user_become(struct acl_user *to, struct acl_user *from)
{
    struct acl_user old = *to;
    *to = *from;
    to->name = old.name;
    old.name = from->name;
    *from = old;
    acl_user_free(from);
}

static void note_unrestricted(struct acl_user *u)
{
    u->unrestricted = false;
    for (const struct acl_selector *s = u->selectors; s != NULL; s = s->next) {
        u->unrestricted |= s->all_commands && s->all_keys && s->all_channels;
    }
}

static void reset(const struct exec *x, struct acl_user *u)
{
    selectors_free(u->selectors);
    u->selectors = selector_new(x);
    clear_passwords(u, false);
    u->enabled = false;
    u->skip_sanitize = false;
}

static enum acl_error user_apply(const struct exec *x, struct acl_user *u, struct slice op)
{
    if (op.n == 0) {
        return ACL_E_OK;
    }
    if (slice_is(op, "on") || slice_is(op, "off")) {
        u->enabled = slice_is(op, "on");
    } else if (slice_is(op, "nopass") || slice_is(op, "resetpass")) {
        clear_passwords(u, slice_is(op, "nopass"));
    } else if (slice_is(op, "sanitize-payload") || slice_is(op, "skip-sanitize-payload")) {
        u->skip_sanitize = slice_is(op, "skip-sanitize-payload");
    } else if (slice_is(op, "reset")) {
        reset(x, u);
    } else if (slice_is(op, "clearselectors")) {
        selectors_free(u->selectors->next);
        u->selectors->next = NULL;
    } else if (op.p[0] == '(') {
        return add_selector(x, u, op);
    } else if (strchr("><#!", op.p[0]) != NULL && op.p[0] != '\0') {
        return apply_password(u, op);
    } else {
        return selector_apply(x, u->selectors, op);
    }
    return ACL_E_OK;
}

enum acl_error acl_user_apply(const struct exec *x, struct acl_user *u, struct slice op)
{
    enum acl_error e = user_apply(x, u, op);
    note_unrestricted(u);
    return e;
}

enum acl_error acl_user_apply_all(const struct exec *x, struct acl_user *u,
                                  const struct slice *rule, unsigned n, struct buf *bad)
{
    struct buf open = { 0 };
    enum acl_error e = ACL_E_OK;
    bool inside = false;
    unsigned first = 0;
    for (unsigned i = 0; i < n && e == ACL_E_OK; i++) {
        struct slice r = rule[i];
        if (!inside) {
            inside = r.n > 0 && r.p[0] == '(';
            first = i;
            open.n = 0;
        } else {
            buf_add_char(&open, ' ');
        }
        buf_add_slice(&open, r);
        if (!inside || (r.n > 0 && r.p[r.n - 1] == ')')) {
            inside = false;
            e = acl_user_apply(x, u, buf_slice(&open));
        }
    }
    if (e != ACL_E_OK) {
        buf_add_slice(bad, buf_slice(&open));
    } else if (inside) {
        buf_add_slice(bad, rule[first]);
        e = ACL_E_UNCLOSED;
    }
    buf_free(&open);
    return e;
}

/* ---- Descriptions ---- */

static void word(struct buf *out, const char *s)
{
    if (out->n > 0) {
        buf_add_char(out, ' ');
    }
    buf_add_str(out, s);
}

void acl_describe_commands(const struct acl_selector *s, struct buf *out)
{
    word(out, s->base_all ? "+@all" : "-@all");
    for (unsigned i = 0; i < s->nrules; i++) {
        word(out, s->rule[i]);
    }
}

/* COMPAT: a pattern `*` among others is shown as `~*`, but for a file it is what reads back as one:
 * behind `~*` other patterns are refused. */
static void describe_keys(const struct acl_selector *s, bool for_file, struct buf *out)
{
    if (s->all_keys) {
        word(out, "~*");
    }
    for (unsigned i = 0; i < s->keys.n; i++) {
        unsigned access = s->keys.at[i].access;
        const char *all = for_file && slice_eq(s->keys.at[i].s, S("*")) ? "%RW~" : "~";
        word(out, access == ACL_ACCESS_ALL ? all : access == ACL_ACCESS_READ ? "%R~" : "%W~");
        buf_add_slice(out, s->keys.at[i].s);
    }
}

void acl_describe_keys(const struct acl_selector *s, struct buf *out)
{
    describe_keys(s, false, out);
}

void acl_describe_channels(const struct acl_selector *s, struct buf *out)
{
    if (s->all_channels) {
        word(out, "&*");
    }
    for (unsigned i = 0; i < s->channels.n; i++) {
        word(out, "&");
        buf_add_slice(out, s->channels.at[i].s);
    }
}

static void describe_selector(const struct acl_selector *s, bool for_file, struct buf *out)
{
    describe_keys(s, for_file, out);
    if (!s->all_channels) {
        word(out, "resetchannels");
    }
    acl_describe_channels(s, out);
    acl_describe_commands(s, out);
}

/* In parentheses words are read with quotes, and one that ends with a parenthesis would end the
 * selector: those that could be misread are quoted. */
static void parenthesize(struct buf *out, struct slice words)
{
    buf_add_char(out, '(');
    while (words.n > 0) {
        const char *space = memchr(words.p, ' ', words.n);
        struct slice w = slice_of(words.p, space != NULL ? (size_t)(space - words.p) : words.n);
        bool odd = false;
        for (size_t i = 0; i < w.n; i++) {
            odd |= strchr("\"')", w.p[i]) != NULL;
        }
        odd ? buf_add_repr(out, w) : buf_add_slice(out, w);
        size_t used = size_min(w.n + 1, words.n);
        buf_add_str(out, used > w.n ? " " : "");
        words = slice_of(words.p + used, words.n - used);
    }
    buf_add_char(out, ')');
}

static void describe(const struct acl_user *u, bool for_file, struct buf *out)
{
    struct buf all = { 0 }, one = { 0 };
    word(&all, u->enabled ? "on" : "off");
    if (u->nopass) {
        word(&all, "nopass");
    }
    word(&all, u->skip_sanitize ? "skip-sanitize-payload" : "sanitize-payload");
    for (unsigned i = 0; i < u->npasswords; i++) {
        word(&all, "#");
        buf_add(&all, u->password[i], ACL_HASH_TEXT);
    }
    for (const struct acl_selector *s = u->selectors; s != NULL; s = s->next) {
        one.n = 0;
        describe_selector(s, for_file, &one);
        word(&all, "");
        if (s == u->selectors) {
            buf_add_slice(&all, buf_slice(&one));
        } else {
            parenthesize(&all, buf_slice(&one));
        }
    }
    buf_add_slice(out, buf_slice(&all));
    buf_free(&all);
    buf_free(&one);
}

void acl_describe(const struct acl_user *u, struct buf *out)
{
    describe(u, true, out);
}

void acl_describe_shown(const struct acl_user *u, struct buf *out)
{
    describe(u, false, out);
}
