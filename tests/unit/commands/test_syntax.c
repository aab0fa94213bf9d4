/* test_syntax.c -- Argument lists of rows: each form as a tree, what is refused, every row of ours.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "commands/commands.h"
#include "commands/syntax.h"
#include "server/server_int.h"
#include "unit.h"

/* name(shown):type, then #spec, =TOKEN, @since, !deprecated, flags o m t, {arguments}. */
static void print(struct buf *b, const struct command_arg *a)
{
    for (; a != NULL; a = a->next) {
        buf_add_slice(b, a->name);
        if (a->shown.n > 0) {
            buf_printf(b, "(%.*s)", (int)a->shown.n, a->shown.p);
        }
        buf_printf(b, ":%s", arg_type_name(a->type));
        if (a->of_spec) {
            buf_printf(b, "#%u", a->key_spec);
        }
        if (a->token.n > 0) {
            buf_add_str(b, "=");
            buf_add_slice(b, a->token);
        }
        if (a->since.n > 0) {
            buf_add_str(b, "@");
            buf_add_slice(b, a->since);
        }
        if (a->deprecated.n > 0) {
            buf_add_str(b, "!");
            buf_add_slice(b, a->deprecated);
        }
        buf_printf(b, "%s%s%s", a->flags & ARG_OPTIONAL ? " o" : "",
                   a->flags & ARG_MULTIPLE ? " m" : "", a->flags & ARG_MULTIPLE_TOKEN ? " t" : "");
        if (a->sub != NULL) {
            buf_add_str(b, " {");
            print(b, a->sub);
            buf_add_str(b, "}");
        }
        buf_add_str(b, a->next != NULL ? ", " : "");
    }
}

static const struct {
    const char *syntax, *tree;
} good[] = {
    { "", "" },
    { "key", "key:key#0" },
    { "key value", "key:key#0, value:string" },
    { "key:string", "key:string" },
    { "source:key destination:key1", "source:key#0, destination:key#1" },
    { "a:int b:double c:time d:pattern", "a:integer, b:double, c:unix-time, d:pattern" },
    { "[BY pattern:pattern1] p:pattern", "pattern:pattern#1=BY o, p:pattern" },
    { "key...", "key:key#0 m" },
    { "[key...]", "key:key#0 o m" },
    { "[NX]", "nx:pure-token=NX o" },
    { "[GET]@6.2.0", "get:pure-token=GET@6.2.0 o" },
    { "filter=<old!2.8.12|new>", "filter:oneof {old:string!2.8.12, new:string}" },
    { "[ADDR addr(ip:port)] store(key):key1", "addr(ip:port):string=ADDR o, store(key):key#1" },
    { "[OLD]@2.4.0!2.8.12...", "old:pure-token=OLD@2.4.0!2.8.12 o m t" },
    { "[condition=<NX|XX@6.0.0>]@2.6.12",
      "condition:oneof@2.6.12 o {nx:pure-token=NX, xx:pure-token=XX@6.0.0}" },
    { "key_value=<key value>...", "key_value:block m {key:key#0, value:string}" },
    { "[COUNT count:int]", "count:integer=COUNT o" },
    { "[PREFIX prefix]...", "prefix:string=PREFIX o m t" },
    { "[ID client-id:int...]", "client-id:integer=ID o m" },
    { "[strategy=<equal==|approximately=~>]",
      "strategy:oneof o {equal:pure-token==, approximately:pure-token=~}" },
    { "id=<auto=*|new-id=$>", "id:oneof {auto:pure-token=*, new-id:pure-token=$}" },
    { "[LIMIT offset_count=<offset:int count:int>]",
      "offset_count:block=LIMIT o {offset:integer, count:integer}" },
    { "any=ANY count", "any:pure-token=ANY, count:string" },
    { "[GET pattern:pattern]@2.6.0...", "pattern:pattern=GET@2.6.0 o m t" },
};

START_TEST(test_syntax_good)
{
    const char *error;
    struct command_arg *args = syntax_parse(good[_i].syntax, &error);
    struct buf b = { NULL, 0, 0 };
    print(&b, args);
    buf_add_char(&b, '\0');
    ck_assert_str_eq(b.p, good[_i].tree);
    ck_assert_ptr_null(error);
    buf_free(&b);
    syntax_free(args);
}
END_TEST

/* And where the error is. */
static const struct {
    const char *syntax;
    size_t at;
} bad[] = {
    { " ", 0 },    { "key ", 4 },  { "key  value", 4 },  { "a:b", 3 },   { "key:key9", 8 },
    { "[key", 4 }, { "key]", 3 },  { "g=<a", 4 },        { "g=<a>", 5 }, { "g=<a|b c>", 6 },
    { "key@", 4 }, { "<a|b>", 0 }, { "a=b", 1 },         { "g=<>", 3 },  { "key.", 3 },
    { "[]", 1 },   { "key!", 4 },  { "p:pattern3", 10 },
};

START_TEST(test_syntax_bad)
{
    const char *error;
    ck_assert_ptr_null(syntax_parse(bad[_i].syntax, &error));
    ck_assert_msg(error == bad[_i].syntax + bad[_i].at, "%s: at %td", bad[_i].syntax,
                  error - bad[_i].syntax);
}
END_TEST

/* "version:text|version:text" */
static void check_history(const struct command *row)
{
    for (const char *at = row->history; at != NULL && *at != '\0';) {
        size_t digits = strspn(at, "0123456789.");
        ck_assert_msg(digits >= 5 && at[digits] == ':', "%s: %s", row->name, at);
        do {
            at = strchr(at + 1, '|');
        } while (at != NULL && !(at[1] >= '0' && at[1] <= '9'));
        at += at != NULL;
    }
}

/* What COMMAND GETKEYSANDFLAGS needs of key specifications. */
static void check_keys(const struct command *row)
{
    for (unsigned i = 0; i < KEYSPEC_MAX && row->keys[i].step != 0; i++) {
        const struct keyspec *k = &row->keys[i];
        ck_assert_msg(k->begin != 0 || row->getkeys != NULL || (k->notes != NULL && i > 0),
                      "%s: keys that nothing finds", row->name);
        ck_assert_msg(!(k->flags & KEY_VARIABLE) || row->key_flags != NULL, "%s: no key_flags",
                      row->name);
        ck_assert_msg(__builtin_popcount(k->flags & (KEY_RO | KEY_RW | KEY_OW | KEY_RM)) <= 1, "%s",
                      row->name);
    }
}

static void check_rows(const struct command *row)
{
    for (; row->name != NULL; row++) {
        const char *error;
        syntax_free(syntax_parse(row->syntax, &error));
        ck_assert_msg(error == NULL, "%s: %s: at %s", row->name, row->syntax, error);
        ck_assert_msg(row->proc != NULL || row->sub != NULL, "%s", row->name);
        ck_assert_msg(row->group != NULL && row->since != NULL && row->summary != NULL, "%s",
                      row->name);
        check_history(row);
        check_keys(row);
        if (row->sub != NULL) {
            check_rows(row->sub);
        }
    }
}

/* Of all families: of commands/, of exec/, of server/. */
START_TEST(test_syntax_rows)
{
    const struct command *const *const all[] = { command_families, exec_own_families,
                                                 server_families };
    for (unsigned i = 0; i < countof(all); i++) {
        for (const struct command *const *f = all[i]; *f != NULL; f++) {
            check_rows(*f);
        }
    }
}
END_TEST

UNIT_SUITE(syntax)
{
    TCase *tc = unit_case(suite, "rows", test_syntax_rows);
    tcase_add_loop_test(tc, test_syntax_good, 0, countof(good));
    tcase_add_loop_test(tc, test_syntax_bad, 0, countof(bad));
}
