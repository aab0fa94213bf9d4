/* acl_file.c -- Users in files: the ACL file, and the `user` lines of the configuration.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT   One line per user, "user <name> <rule> <rule> ...", words separated by single spaces, no
 *          quoting: names, patterns and hashes have no spaces. The configuration has the same lines
 *          with its own quoting.
 * FAILURE  A file with any error changes nothing; a save leaves the old file or the new one. */
#include "exec/acl.h"
#include "base/io.h"
#include "base/log.h"
#include <stdio.h>

#define FILE_MAX (64u << 20) /* far above any set of users; bounds what a wrong path can cost */
#define NO_CHANGE \
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
#define ERROR_BYTES 4096 /* after these no more errors of a file are collected */

/* ---- Reading ---- */

static struct acl_user *user_of(const struct exec *x, struct acl *all, struct slice name)
{
    struct acl_user *u = acl_user_new(x, name);
    acl_put(all, u);
    return u;
}

/* "user name rule ..." split at every single space; the caller frees *out. */
static unsigned split(struct slice line, struct slice **out)
{
    unsigned n = 1;
    for (size_t i = 0; i < line.n; i++) {
        n += line.p[i] == ' ';
    }
    struct slice *word = mem_alloc(n * sizeof *word);
    const char *p = line.p, *end = line.p + line.n;
    for (unsigned i = 0; i < n; i++) {
        const char *space = memchr(p, ' ', (size_t)(end - p));
        const char *stop = space != NULL ? space : end;
        word[i] = slice_of(p, (size_t)(stop - p));
        p = stop + 1;
    }
    *out = word;
    return n;
}

static void load_line(const struct exec *x, struct acl *all, struct slice line, unsigned number,
                      struct buf *error)
{
    const char *file = x->opt.aclfile;
    struct slice *word;
    struct buf bad = { 0 };
    unsigned n = split(line, &word);
    if (n < 2 || !slice_eq(word[0], S("user"))) {
        buf_printf(error, "%s:%u should start with user keyword followed by the username. ", file,
                   number);
    } else if (!acl_name_ok(word[1])) {
        buf_printf(error, "'%s:%u: username '%.*s' contains invalid characters. ", file, number,
                   (int)size_min(word[1].n, 128), word[1].p);
    } else if (acl_find(all, word[1]) != NULL) {
        buf_printf(error, "WARNING: Duplicate user '%.*s' found on line %u. ",
                   (int)size_min(word[1].n, 128), word[1].p, number);
    } else {
        struct acl_user *u = user_of(x, all, word[1]);
        enum acl_error e = acl_user_apply_all(x, u, word + 2, n - 2, &bad);
        if (e == ACL_E_UNKNOWN) {
            buf_printf(error, "%s:%u: Error in applying operation '%.*s': %s. ", file, number,
                       (int)size_min(bad.n, 128), bad.p, acl_error_text(e));
        } else if (e != ACL_E_OK) {
            buf_printf(error, "%s:%u: %s. ", file, number, acl_error_text(e));
        }
    }
    mem_free(word);
    buf_free(&bad);
}

static struct slice trimmed(const char *p, const char *end)
{
    while (p < end && char_is_space(*p)) {
        p++;
    }
    while (end > p && char_is_space(end[-1])) {
        end--;
    }
    return slice_of(p, (size_t)(end - p));
}

static void users_free(struct acl *all)
{
    for (unsigned i = 0; i < all->n; i++) {
        acl_user_free(all->user[i]);
    }
    mem_free(all->user);
}

bool acl_load_file(struct exec *x, struct session *self, struct buf *error)
{
    struct buf text = { 0 };
    int rc = io_read_file(x->opt.aclfile, &text, FILE_MAX);
    if (rc != 0) {
        buf_printf(error, "Error loading ACLs, opening file '%s': %s", x->opt.aclfile,
                   strerror(-rc));
        return false;
    }
    struct acl all = { 0 };
    const char *p = text.p, *end = text.n > 0 ? text.p + text.n : text.p;
    for (unsigned number = 1; p < end && error->n < ERROR_BYTES; number++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl != NULL ? nl : end;
        struct slice line = trimmed(p, stop);
        if (line.n > 0) {
            load_line(x, &all, line, number, error);
        }
        p = stop + 1;
    }
    bool ok = error->n == 0;
    if (ok) {
        if (acl_find(&all, S("default")) == NULL) {
            acl_put(&all, acl_default_user());
        }
        acl_replace(x, &all, self);
    } else {
        buf_add_str(error, NO_CHANGE);
        users_free(&all);
    }
    buf_free(&text);
    return ok;
}

/* ---- Writing ---- */

void acl_file_text(const struct exec *x, struct buf *text)
{
    for (unsigned i = 0; i < x->acl->n; i++) {
        buf_printf(text, "user %s ", x->acl->user[i]->name);
        acl_describe(x->acl->user[i], text);
        buf_add_char(text, '\n');
    }
}

/* ---- Lines of the configuration ---- */

bool acl_user_lines_set(void *base, const struct slice *argv, unsigned argc, const char **error)
{
    static _Thread_local char text[512]; /* read before the next error is made */
    struct exec_options *o = base;
    if (argc == 0) {
        return o->nuser_lines == 0; /* the default: none */
    }
    struct acl_user *u = acl_user_new(NULL, argv[0]);
    struct buf bad = { 0 };
    enum acl_error e = acl_user_apply_all(NULL, u, argv + 1, argc - 1, &bad);
    acl_user_free(u);
    buf_free(&bad);
    const char *why = e != ACL_E_OK ? acl_error_text(e) : NULL;
    for (unsigned i = 0; i < o->nuser_lines; i++) {
        if (slice_eq(o->user_line[i].word[0], argv[0])) {
            why = "Duplicate user found. A user can only be defined once in config files";
        }
    }
    if (why != NULL) {
        snprintf(text, sizeof text, "Error in user declaration '%.*s': %s",
                 (int)size_min(argv[0].n, 128), argv[0].p, why);
        *error = text;
        return false;
    }
    struct slice *word = mem_alloc(argc * sizeof *word);
    for (unsigned i = 0; i < argc; i++) {
        word[i] = slice_of(mem_dup(argv[i].p, argv[i].n), argv[i].n);
    }
    o->user_line = mem_realloc(o->user_line, (o->nuser_lines + 1) * sizeof *o->user_line);
    o->user_line[o->nuser_lines++] = (struct exec_user_line){ word, argc };
    return true;
}

void acl_user_line_free(struct exec_user_line *l)
{
    for (unsigned i = 0; i < l->words; i++) {
        mem_free((void *)(uintptr_t)l->word[i].p);
    }
    mem_free(l->word);
}

static void word_out(struct buf *out, struct slice word)
{
    buf_add_char(out, ' ');
    bool plain = word.n > 0;
    for (size_t i = 0; i < word.n && plain; i++) {
        plain = word.p[i] > ' ' && word.p[i] < 127 && strchr("\"'\\#", word.p[i]) == NULL;
    }
    plain ? buf_add_slice(out, word) : buf_add_repr(out, word);
}

static void line_out(struct buf *out, const struct acl_user *u)
{
    struct buf rules = { 0 };
    struct slice *word;
    acl_describe(u, &rules);
    buf_add_str(out, "user");
    word_out(out, slice_str(u->name));
    unsigned n = split(buf_slice(&rules), &word);
    for (unsigned i = 0; i < n; i++) {
        word_out(out, word[i]);
    }
    buf_add_char(out, '\n');
    mem_free(word);
    buf_free(&rules);
}

/* With an ACL file users are there, not in the configuration. A default user that requirepass alone
 * makes needs no line. */
void acl_user_lines_get(void *base, struct buf *out)
{
    const struct exec_options *o = base;
    const struct acl *a = o->acl;
    if (a == NULL || (o->aclfile != NULL && o->aclfile[0] != '\0')) {
        return;
    }
    struct acl_user *plain = acl_default_user();
    struct buf now = { 0 }, made = { 0 };
    acl_user_requirepass(plain, o->requirepass);
    acl_describe(plain, &made);
    acl_describe(a->def, &now);
    bool only_default = a->n == 1 && slice_eq(buf_slice(&now), buf_slice(&made));
    for (unsigned i = 0; i < a->n && !only_default; i++) {
        line_out(out, a->user[i]);
    }
    acl_user_free(plain);
    buf_free(&now);
    buf_free(&made);
}

/* ---- At start ---- */

static bool load_lines(struct exec *x, struct buf *error)
{
    struct acl all = { 0 };
    for (unsigned i = 0; i < x->opt.nuser_lines && error->n == 0; i++) {
        const struct exec_user_line *l = &x->opt.user_line[i];
        struct buf bad = { 0 };
        if (!acl_name_ok(l->word[0])) {
            buf_add_str(error, "Spaces not allowed in ACL usernames");
            break;
        }
        struct acl_user *u = user_of(x, &all, l->word[0]);
        enum acl_error e = acl_user_apply_all(x, u, l->word + 1, l->words - 1, &bad);
        if (e != ACL_E_OK) {
            buf_printf(error, "Error loading ACL rule '%.*s' for the user named '%s': %s",
                       (int)size_min(bad.n, 128), bad.p, u->name, acl_error_text(e));
        }
        buf_free(&bad);
    }
    if (error->n > 0) {
        users_free(&all);
        return false;
    }
    if (acl_find(&all, S("default")) == NULL) {
        acl_put(&all, acl_user_copy(x->acl->def));
    }
    acl_replace(x, &all, NULL);
    return true;
}

bool exec_load_users(struct exec *x, struct buf *error)
{
    bool file = x->opt.aclfile != NULL && x->opt.aclfile[0] != '\0';
    acl_set_requirepass(x);
    if (file && x->opt.nuser_lines > 0) {
        buf_add_str(error, "Users are defined in the configuration and there is an ACL file, too. "
                           "Please use one of them only: declare users with user lines, or in the "
                           "file that aclfile names.");
        return false;
    }
    return file ? acl_load_file(x, NULL, error) : load_lines(x, error);
}
