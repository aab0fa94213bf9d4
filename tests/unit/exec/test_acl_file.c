/* test_acl_file.c -- Users in files: the ACL file and `user` directives.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include "base/io.h"
#include "exec/acl.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_P1 "f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a"

static char path[300];

static void put_file(const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static struct exec *engine_with_file(void)
{
    struct exec *x = engine_new(NULL);
    snprintf(path, sizeof path, "%s/users.acl", unit_tmpdir());
    x->opt.aclfile = mem_strdup(path);
    return x;
}

/* All users in one line. */
static const char *all_users(const struct exec *x)
{
    static struct buf text;
    text.n = 0;
    for (unsigned i = 0; i < x->acl->n; i++) {
        buf_printf(&text, "%s=", x->acl->user[i]->name);
        acl_describe(x->acl->user[i], &text);
        buf_add_char(&text, ';');
    }
    buf_add_char(&text, '\0');
    return text.p;
}

static int save(const struct exec *x)
{
    struct buf text = { 0 };
    acl_file_text(x, &text);
    int rc = atomic_replace(path, buf_slice(&text), io_mode_of(path, ACL_FILE_MODE));
    buf_free(&text);
    return rc;
}

#define DEFAULT "default=on nopass sanitize-payload ~* &* +@all;"

START_TEST(test_file)
{
    struct exec *x = engine_with_file();
    struct buf error = { 0 };
    put_file("\n  \nuser b on >p1 ~k +ping (+echo  ~w)\r\n user a  off\n");
    ck_assert(acl_load_file(x, NULL, &error));
    const char *loaded = "a=off sanitize-payload resetchannels -@all;"
                         "b=on sanitize-payload #" HASH_P1
                         " ~k resetchannels -@all +ping (~w resetchannels -@all +echo);" DEFAULT;
    ck_assert_str_eq(all_users(x), loaded);
    ck_assert_int_eq(save(x), 0);
    struct acl_user *b = acl_find(x->acl, S("b"));
    acl_delete(x, b, NULL);
    acl_delete(x, acl_find(x->acl, S("a")), NULL);
    ck_assert_str_eq(all_users(x), DEFAULT);
    ck_assert(acl_load_file(x, NULL, &error));
    ck_assert_str_eq(all_users(x), loaded);
    /* a user that stays is the same object: sessions point to it */
    b = acl_find(x->acl, S("b"));
    put_file("user b on\nuser default off\n");
    struct acl_user *def = x->acl->def;
    ck_assert(acl_load_file(x, NULL, &error));
    ck_assert_ptr_eq(acl_find(x->acl, S("b")), b);
    ck_assert_ptr_eq(acl_find(x->acl, S("default")), def);
    ck_assert_ptr_eq(x->acl->def, def);
    ck_assert(!def->enabled && acl_find(x->acl, S("a")) == NULL);
    engine_free(x);
}
END_TEST

#define SAME \
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"

START_TEST(test_bad_files)
{
    static const char *const bad[][2] = {
        { "foo\n", "%s:1 should start with user keyword followed by the username. " SAME },
        { "user\n", "%s:1 should start with user keyword followed by the username. " SAME },
        { "# no\n", "%s:1 should start with user keyword followed by the username. " SAME },
        { "USER a\n", "%s:1 should start with user keyword followed by the username. " SAME },
        { "user a on blah\n", "%s:1: Syntax error. " SAME },
        { "user a on\nuser a on\n", "WARNING: Duplicate user 'a' found on line 2. " SAME },
        { "user a\tb on\n", "'%s:1: username 'a\tb' contains invalid characters. " SAME },
        { "user a +nosuch\nuser b\n",
          "%s:1: Error in applying operation '+nosuch': Unknown command or category name in "
          "ACL. " SAME },
        { "user a (+ping\n", "%s:1: Unmatched parenthesis in acl selector. " SAME },
        { "user a blah\nfoo\n", "%s:1: Syntax error. %s:2 should start with user keyword followed "
                                "by the username. " SAME },
    };
    struct exec *x = engine_with_file();
    for (unsigned i = 0; i < countof(bad); i++) {
        struct buf error = { 0 };
        char expected[1000];
        put_file(bad[i][0]);
        ck_assert(!acl_load_file(x, NULL, &error));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(expected, sizeof expected, bad[i][1], path, path);
#pragma GCC diagnostic pop
        buf_add_char(&error, '\0');
        ck_assert_str_eq(error.p, expected);
        ck_assert_str_eq(all_users(x), DEFAULT);
        buf_free(&error);
    }
    struct buf error = { 0 };
    ck_assert_int_eq(unlink(path), 0);
    ck_assert(!acl_load_file(x, NULL, &error));
    ck_assert(memmem(error.p, error.n, "No such file", 12) != NULL);
    buf_free(&error);
    engine_free(x);
}
END_TEST

/* Whatever fails, the old file stays; the new one keeps the old one's mode, or is private. */
START_TEST(test_save)
{
    struct exec *x = engine_with_file();
    struct stat st;
    (void)unlink(path);
    ck_assert_int_eq(save(x), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(chmod(path, 0640), 0);
    put_file("user old\n");
    static const char *const steps[] = { "io.open=eio", "io.write=enospc", "io.fsync=eio",
                                         "io.rename=eio" };
    for (unsigned i = 0; i < countof(steps); i++) {
        struct buf now = { 0 };
        ck_assert_int_eq(fault_arm(steps[i]), 0);
        ck_assert_int_lt(save(x), 0);
        ck_assert_int_eq(fault_arm(""), 0);
        ck_assert_int_eq(io_read_file(path, &now, 1000), 0);
        ck_assert(slice_eq(buf_slice(&now), S("user old\n")));
        buf_free(&now);
    }
    ck_assert_int_eq(save(x), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    engine_free(x);
}
END_TEST

/* ---- Directives ---- */

static bool line_set(struct exec_options *o, const char *text, const char **error)
{
    struct words w = split(text);
    return acl_user_lines_set(o, w.argv, w.argc, error);
}

START_TEST(test_lines)
{
    struct exec *x = engine_new(NULL);
    struct exec_options o = { 0 };
    const char *error;
    struct buf text = { 0 };
    ck_assert(acl_user_lines_set(&o, NULL, 0, &error)); /* the default */
    acl_user_lines_get(&o, &text);
    ck_assert_uint_eq(text.n, 0);
    ck_assert(!line_set(&o, "a blah", &error));
    ck_assert_str_eq(error, "Error in user declaration 'a': Syntax error");
    ck_assert(line_set(&o, "a on >p1 +ping ~q\"k", &error));
    ck_assert(!line_set(&o, "a on", &error));
    ck_assert_str_eq(error, "Error in user declaration 'a': Duplicate user found. A user can only "
                            "be defined once in config files");
    exec_adopt_options(x, &o);
    acl_user_lines_get(&x->opt, &text);
    ck_assert_uint_eq(text.n, 0); /* not loaded yet: nobody but the usual default */
    struct buf problem = { 0 };
    ck_assert(exec_load_users(x, &problem));
    acl_user_lines_get(&x->opt, &text);
    ck_assert(
        slice_eq(buf_slice(&text), S("user a on sanitize-payload \"#" HASH_P1
                                     "\" \"~q\\\"k\" resetchannels -@all +ping\n"
                                     "user default on nopass sanitize-payload ~* &* +@all\n")));
    text.n = 0;
    x->opt.aclfile = mem_strdup("some.file");
    acl_user_lines_get(&x->opt, &text);
    ck_assert_uint_eq(text.n, 0); /* they are there then */
    ck_assert(!exec_load_users(x, &problem));
    ck_assert(memmem(problem.p, problem.n, "one of them only", 16) != NULL);
    buf_free(&problem);
    buf_free(&text);
    engine_free(x);
}
END_TEST

START_TEST(test_lines_at_start)
{
    static const char *const bad[][2] = {
        { "a +nosuch",
          "Error loading ACL rule '+nosuch' for the user named 'a': Unknown command or "
          "category name in ACL" },
        { "a +client|id|x",
          "Error loading ACL rule '+client|id|x' for the user named 'a': Allowing "
          "first-arg of a subcommand is not supported" },
    };
    for (unsigned i = 0; i < countof(bad); i++) {
        struct exec *x = engine_new(NULL);
        struct exec_options o = { 0 };
        const char *error;
        struct buf problem = { 0 };
        ck_assert(line_set(&o, bad[i][0], &error));
        exec_adopt_options(x, &o);
        ck_assert(!exec_load_users(x, &problem));
        ck_assert(slice_eq(buf_slice(&problem), slice_str(bad[i][1])));
        buf_free(&problem);
        engine_free(x);
    }
    /* requirepass is the default user's; a line of its own says more */
    struct exec *x = engine_new(NULL);
    struct buf problem = { 0 }, text = { 0 };
    x->opt.acl = x->acl;
    x->opt.requirepass = slice_of(mem_strdup("p1"), 2);
    ck_assert(exec_load_users(x, &problem));
    ck_assert_ptr_null(acl_login(x->acl, S("default"), S("x")));
    ck_assert_ptr_nonnull(acl_login(x->acl, S("default"), S("p1")));
    acl_user_lines_get(&x->opt, &text);
    ck_assert_uint_eq(text.n, 0);
    const char *error;
    ck_assert(line_set(&x->opt, "default on nopass", &error));
    ck_assert(exec_load_users(x, &problem));
    ck_assert_ptr_nonnull(acl_login(x->acl, S("default"), S("x")));
    ck_assert(!x->acl->def->unrestricted);
    engine_free(x);
}
END_TEST

UNIT_SUITE(acl_file)
{
    unit_case(suite, "file", test_file, test_bad_files, test_save);
    unit_case(suite, "directives", test_lines, test_lines_at_start);
}
