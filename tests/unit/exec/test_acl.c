/* test_acl.c -- Rules of users: what they allow, how they are written back, files and passwords.
 * SPDX-License-Identifier: BSD-3-Clause
 * The expected descriptions and errors are those of redis-server 7.0.15 and Valkey 8.0.1. */
#include "exec_util.h"
#include "base/rng.h"
#include "exec/acl.h"
#include <stdio.h>

static void nothing(struct call *c)
{
    (void)c;
}

static const struct command box[] = {
    { .name = "look", .proc = nothing, .arity = -2, .flags = CMD_READONLY, .acl = ACL_SET },
    { .name = "put", .proc = nothing, .arity = -2, .flags = CMD_WRITE | CMD_FAST },
    { .name = NULL },
};
static const struct command rows[] = {
    { .name = "get1",
      .proc = nothing,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) } },
    { .name = "set1",
      .proc = nothing,
      .arity = 3,
      .flags = CMD_WRITE,
      .acl = ACL_STRING,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE) } },
    { .name = "copy1",
      .proc = nothing,
      .arity = 3,
      .flags = CMD_WRITE,
      .acl = ACL_KEYSPACE,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS), KEY_AT(2, KEY_OW | KEY_INSERT) } },
    { .name = "there1",
      .proc = nothing,
      .arity = -2,
      .flags = CMD_READONLY | CMD_FAST,
      .acl = ACL_KEYSPACE,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RO) } },
    { .name = "many1",
      .proc = nothing,
      .arity = -2,
      .flags = CMD_READONLY,
      .acl = ACL_STRING,
      .keys = { KEYS_FROM(1, -1, 1, KEY_RO | KEY_ACCESS) } },
    { .name = "pick", .proc = nothing, .arity = -1, .flags = CMD_FAST, .acl = ACL_CONNECTION },
    { .name = "box", .arity = -2, .acl = ACL_SET, .sub = box },
    { .name = NULL },
};

static struct acl_user *user(const struct exec *x, const char *rules)
{
    struct acl_user *u = acl_user_new(x, S("u"));
    struct words w = split(rules);
    struct buf bad = { 0 };
    enum acl_error e = acl_user_apply_all(x, u, w.argv, w.argc, &bad);
    ck_assert_msg(e == ACL_E_OK, "%s: %.*s", rules, (int)bad.n, bad.p);
    return u;
}

/* What it says makes the same user again. */
static void ck_describes(const struct exec *x, const char *rules, const char *expected)
{
    struct acl_user *u = user(x, rules), *again = user(x, expected);
    struct buf text = { 0 }, second = { 0 };
    acl_describe(u, &text);
    acl_describe(again, &second);
    ck_assert(slice_eq(buf_slice(&text), buf_slice(&second)));
    buf_add_char(&text, '\0');
    ck_assert_msg(strcmp(text.p, expected) == 0, "%s: %s, expected %s", rules, text.p, expected);
    buf_free(&text);
    buf_free(&second);
    acl_user_free(u);
    acl_user_free(again);
}

#define OFF  "off sanitize-payload "
#define NONE OFF "resetchannels -@all"

START_TEST(test_describe)
{
    static const char *const pairs[][2] = {
        { "", NONE },
        { "on nopass", "on nopass sanitize-payload resetchannels -@all" },
        { "ON NoPass ALLKEYS", "on nopass sanitize-payload ~* resetchannels -@all" },
        { "on off skip-sanitize-payload", "off skip-sanitize-payload resetchannels -@all" },
        { "skip-sanitize-payload sanitize-payload", NONE },
        { "allkeys allchannels allcommands", OFF "~* &* +@all" },
        { "~* &* +@all resetkeys resetchannels nocommands", NONE },
        { "~a ~a %R~b %W~b %R~c %wR~d", OFF "~a ~b %R~c ~d resetchannels -@all" },
        { "~a ~b ~*", OFF "~* resetchannels -@all" },
        { "%RW~* ~foo", OFF "%RW~* ~foo resetchannels -@all" },
        { "~foo %R~* %W~*", OFF "~foo %RW~* resetchannels -@all" },
        { "%R~*", OFF "%R~* resetchannels -@all" },
        { "~ %R", OFF "~ resetchannels -@all" },
        { "&a &b &a", OFF "resetchannels &a &b -@all" },
        { "&a allchannels", OFF "&* -@all" },
        { "&a allchannels resetchannels &b", OFF "resetchannels &b -@all" },
        { "+get1 +set1 -get1 +@all -set1 -set1", OFF "resetchannels +@all -set1" },
        { "+@all -@all +@read +@read -@write +@read", OFF "resetchannels -@all -@write +@read" },
        { "+BOX|Look +BOX", OFF "resetchannels -@all +box" },
        { "+box|look -box +box|put", OFF "resetchannels -@all -box +box|put" },
        { "+@ALL -@DangerOUS +get1", OFF "resetchannels +@all -@dangerous +get1" },
        { "+pick|0 +pick|1 +pick|0 +PICK|ABC",
          OFF "resetchannels -@all +pick|1 +pick|0 +pick|abc" },
        { "+pick|0 +pick", OFF "resetchannels -@all +pick" },
        { "+pick +pick|0", OFF "resetchannels -@all +pick +pick|0" },
        { "-@admin", OFF "resetchannels -@all -@admin" },
        { "(+get1 ~x) (&c)", NONE " (~x resetchannels -@all +get1) (resetchannels &c -@all)" },
        { "( +get1 ~x ) ()", NONE " (~x resetchannels -@all +get1) (resetchannels -@all)" },
        { "('~a\"b' &c)", NONE " (\"~a\\\"b\" resetchannels &c -@all)" },
        { "~a) ('~b)')", OFF "~a) resetchannels -@all (\"~b)\" resetchannels -@all)" },
        { "(+get1) clearselectors", NONE },
        { "on +get1 ~x (+get1) reset", NONE },
    };
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < countof(pairs); i++) {
        ck_describes(x, pairs[i][0], pairs[i][1]);
    }
    engine_free(x);
}
END_TEST

START_TEST(test_errors)
{
    static const struct {
        const char *rules;
        enum acl_error e;
        const char *bad;
    } wrong[] = {
        { "on +nosuch off", ACL_E_UNKNOWN, "+nosuch" },
        { "-nosuch", ACL_E_UNKNOWN, "-nosuch" },
        { "+", ACL_E_UNKNOWN, "+" },
        { "+@nosuch", ACL_E_UNKNOWN, "+@nosuch" },
        { "+@", ACL_E_UNKNOWN, "+@" },
        { "-pick|0", ACL_E_UNKNOWN, "-pick|0" },
        { "+box|nosuch", ACL_E_UNKNOWN, "+box|nosuch" },
        { "-box|nosuch", ACL_E_UNKNOWN, "-box|nosuch" },
        { "+nosuch|x", ACL_E_UNKNOWN, "+nosuch|x" },
        { "+pick|x|y", ACL_E_UNKNOWN, "+pick|x|y" },
        { "+box|look|x", ACL_E_FIRST_ARG, "+box|look|x" },
        { "+pick|", ACL_E_SYNTAX, "+pick|" },
        { "+box|", ACL_E_SYNTAX, "+box|" },
        { "%~x", ACL_E_SYNTAX, "%~x" },
        { "%", ACL_E_SYNTAX, "%" },
        { "%X~x", ACL_E_SYNTAX, "%X~x" },
        { "%RR~x", ACL_E_SYNTAX, "%RR~x" },
        { "blah", ACL_E_SYNTAX, "blah" },
        { "~* ~z", ACL_E_ALL_KEYS, "~z" },
        { "~* %R~z", ACL_E_ALL_KEYS, "%R~z" },
        { "&* &z", ACL_E_ALL_CHANNELS, "&z" },
        { "<no", ACL_E_NO_PASSWORD, "<no" },
        { "!no", ACL_E_BAD_HASH, "!no" },
        { "#no", ACL_E_BAD_HASH, "#no" },
        { "(on)", ACL_E_SYNTAX, "(on)" },
        { "(>x)", ACL_E_SYNTAX, "(>x)" },
        { "(+get1 clearselectors)", ACL_E_SYNTAX, "(+get1 clearselectors)" },
        { "(+nosuch)", ACL_E_UNKNOWN, "(+nosuch)" },
        { "(~a (b))", ACL_E_SYNTAX, "(~a (b))" },
        { "(~x\")", ACL_E_SYNTAX, "(~x\")" },
        { "on (~a +get1", ACL_E_UNCLOSED, "(~a" },
        { "(~a)x", ACL_E_UNCLOSED, "(~a)x" },
        { ")", ACL_E_SYNTAX, ")" },
    };
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < countof(wrong); i++) {
        struct acl_user *u = acl_user_new(x, S("u"));
        struct words w = split(wrong[i].rules);
        struct buf bad = { 0 };
        enum acl_error e = acl_user_apply_all(x, u, w.argv, w.argc, &bad);
        ck_assert_msg(e == wrong[i].e && slice_eq(buf_slice(&bad), slice_str(wrong[i].bad)),
                      "%s: error %d at %.*s", wrong[i].rules, (int)e, (int)bad.n, bad.p);
        ck_assert_uint_gt(strlen(acl_error_text(e)), 10);
        buf_free(&bad);
        acl_user_free(u);
    }
    struct acl_user *u = acl_user_new(x, S("u"));
    ck_assert_int_eq(acl_user_apply(x, u, S("~a b")), ACL_E_SYNTAX);
    ck_assert_int_eq(acl_user_apply(x, u, S("&a\0b")), ACL_E_SYNTAX);
    ck_assert_int_eq(acl_user_apply(x, u, S("+get1\0")), ACL_E_UNKNOWN);
    ck_assert_int_eq(acl_user_apply(x, u, S("+pick|a b")), ACL_E_SYNTAX);
    ck_assert_int_eq(acl_user_apply(x, u, S("\0")), ACL_E_SYNTAX);
    /* without a table only what can be judged without one */
    ck_assert_int_eq(acl_user_apply(NULL, u, S("+later")), ACL_E_OK);
    ck_assert_int_eq(acl_user_apply(NULL, u, S("-@later")), ACL_E_OK);
    ck_assert_int_eq(acl_user_apply(NULL, u, S("+later|")), ACL_E_SYNTAX);
    ck_assert_int_eq(acl_user_apply(NULL, u, S("later")), ACL_E_SYNTAX);
    acl_user_free(u);
    engine_free(x);
}
END_TEST

/* ---- Checks ---- */

static enum acl_result check(struct exec *x, const struct acl_user *u, const char *request,
                             unsigned *at)
{
    struct words w = split(request);
    const struct cmd_ref *ref = command_lookup(x, w.argv, w.argc);
    ck_assert_ptr_nonnull(ref);
    return acl_check(u, ref, w.argv, w.argc, at);
}

struct expectation {
    const char *rules, *request;
    enum acl_result result;
    unsigned at;
};

static void ck_checks(const struct expectation *e, unsigned n)
{
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < n; i++) {
        struct acl_user *u = user(x, e[i].rules);
        unsigned at = 99;
        enum acl_result r = check(x, u, e[i].request, &at);
        bool placed = r != ACL_DENIED_KEY && r != ACL_DENIED_CHANNEL;
        ck_assert_msg(r == e[i].result && (placed || at == e[i].at), "%s, %s: %d at %u", e[i].rules,
                      e[i].request, (int)r, at);
        acl_user_free(u);
    }
    engine_free(x);
}

START_TEST(test_keys)
{
    static const struct expectation e[] = {
        { "+@all ~*", "get1 k", ACL_OK, 0 },
        { "+@all", "get1 k", ACL_DENIED_KEY, 1 },
        { "~*", "get1 k", ACL_DENIED_CMD, 0 },
        { "+get1 ~k*", "get1 key", ACL_OK, 0 },
        { "+get1 ~k*", "get1 x", ACL_DENIED_KEY, 1 },
        { "+@all %R~k", "get1 k", ACL_OK, 0 },
        { "+@all %W~k", "get1 k", ACL_DENIED_KEY, 1 },
        { "+@all %R~k", "set1 k v", ACL_DENIED_KEY, 1 },
        { "+@all %W~k", "set1 k v", ACL_OK, 0 },
        { "+@all %R~a %W~b", "copy1 a b", ACL_OK, 0 },
        { "+@all %R~a %W~b", "copy1 b a", ACL_DENIED_KEY, 1 },
        { "+@all %R~a %R~b", "copy1 a b", ACL_DENIED_KEY, 2 },
        { "+@all %W~k", "there1 k", ACL_OK, 0 },
        { "+@all %W~k", "there1 k x", ACL_DENIED_KEY, 2 },
        { "+@all ~K", "get1 k", ACL_DENIED_KEY, 1 },
        { "+@all ~", "get1 k", ACL_DENIED_KEY, 1 },
        /* a selector alone must allow all of it */
        { "+get1 ~a (+set1 ~b)", "get1 a", ACL_OK, 0 },
        { "+get1 ~a (+set1 ~b)", "set1 b v", ACL_OK, 0 },
        { "+get1 ~a (+set1 ~b)", "set1 a v", ACL_DENIED_KEY, 1 },
        { "+get1 ~a (+set1 ~b)", "get1 b", ACL_DENIED_KEY, 1 },
        { "+get1 ~a (+set1 ~b)", "copy1 a b", ACL_DENIED_CMD, 0 },
        { "+copy1 %R~a (+copy1 %W~b)", "copy1 a b", ACL_DENIED_KEY, 2 },
        { "(+many1 ~a) (+many1 ~b)", "many1 b a", ACL_DENIED_KEY, 2 },
    };
    ck_checks(e, countof(e));
}
END_TEST

START_TEST(test_commands)
{
    static const struct expectation e[] = {
        { "", "auth x", ACL_OK, 0 }, /* one may always log in, and leave */
        { "", "reset", ACL_OK, 0 },
        { "", "ping", ACL_DENIED_CMD, 0 },
        { "-@all", "hello", ACL_OK, 0 },
        { "+box", "box look", ACL_OK, 0 },
        { "+box -box|look", "box look", ACL_DENIED_CMD, 0 },
        { "+box -box|look", "box put", ACL_OK, 0 },
        { "+box|look", "box look", ACL_OK, 0 },
        { "+box|look", "box put", ACL_DENIED_CMD, 0 },
        { "+@set", "box put", ACL_OK, 0 }, /* its container is in it */
        { "+@read", "box put", ACL_DENIED_CMD, 0 },
        { "+@read", "box look", ACL_OK, 0 },
        { "+@all -@write ~*", "set1 k v", ACL_DENIED_CMD, 0 },
        { "+@all -@write +set1 ~*", "set1 k v", ACL_OK, 0 },
        { "+@string ~*", "set1 k v", ACL_OK, 0 },
        { "+@string -@all ~*", "set1 k v", ACL_DENIED_CMD, 0 },
        { "+pick|0", "pick 0", ACL_OK, 0 },
        { "+pick|abc", "pick ABC more", ACL_OK, 0 },
        { "+pick|0", "pick 1", ACL_DENIED_CMD, 0 },
        { "+pick|0", "pick", ACL_DENIED_CMD, 0 },
        { "+pick|0 -pick", "pick 0", ACL_DENIED_CMD, 0 },
        { "+pick|0 +pick -pick", "pick 0", ACL_DENIED_CMD, 0 },
        { "+pick|0 nocommands", "pick 0", ACL_DENIED_CMD, 0 },
    };
    ck_checks(e, countof(e));
}
END_TEST

START_TEST(test_channels)
{
    static const struct expectation e[] = {
        { "+@all &*", "publish c m", ACL_OK, 0 },
        { "+@all", "publish c m", ACL_DENIED_CHANNEL, 1 },
        { "+@all &c*", "publish ch m", ACL_OK, 0 },
        { "+@all &c*", "spublish d m", ACL_DENIED_CHANNEL, 1 },
        { "+@all &c*", "subscribe c1 c2", ACL_OK, 0 },
        { "+@all &c*", "subscribe c1 d", ACL_DENIED_CHANNEL, 2 },
        { "+@all &c*", "ssubscribe c1 d", ACL_DENIED_CHANNEL, 2 },
        { "+@all &c*", "psubscribe c*", ACL_OK, 0 }, /* the same pattern, nothing else */
        { "+@all &c*", "psubscribe c1*", ACL_DENIED_CHANNEL, 1 },
        { "+@all &c*", "psubscribe c1", ACL_DENIED_CHANNEL, 1 },
        { "+@all &c*", "unsubscribe d", ACL_OK, 0 },
        { "+@all", "punsubscribe", ACL_OK, 0 },
        { "+@all", "pubsub channels", ACL_OK, 0 },
        { "+publish (&c)", "publish c m", ACL_DENIED_CHANNEL, 1 },
    };
    ck_checks(e, countof(e));
    struct exec *x = engine_new(rows);
    struct acl_user *u = user(x, "&a* (&b)");
    ck_assert(acl_channel_ok(u, S("ab"), false) && acl_channel_ok(u, S("b"), false));
    ck_assert(acl_channel_ok(u, S("a*"), true) && !acl_channel_ok(u, S("ab"), true));
    ck_assert(!acl_channel_ok(u, S("c"), false));
    acl_user_free(u);
    engine_free(x);
}
END_TEST

/* More keys than fit on the stack. */
START_TEST(test_many_keys)
{
    struct exec *x = engine_new(rows);
    struct acl_user *u = user(x, "+many1 ~k");
    struct slice argv[300] = { S("many1") };
    for (unsigned i = 1; i < countof(argv); i++) {
        argv[i] = S("k");
    }
    const struct cmd_ref *ref = command_lookup(x, argv, 2);
    unsigned at;
    ck_assert_int_eq(acl_check(u, ref, argv, countof(argv), &at), ACL_OK);
    argv[299] = S("x");
    ck_assert_int_eq(acl_check(u, ref, argv, countof(argv), &at), ACL_DENIED_KEY);
    ck_assert_uint_eq(at, 299);
    acl_user_free(u);
    engine_free(x);
}
END_TEST

START_TEST(test_reads_all_keys)
{
    static const struct {
        const char *rules;
        bool yes;
    } cases[] = { { "+@all ~* &*", true },          { "+@all ~*", true },
                  { "+@all %R~*", true },           { "+@all %W~*", false },
                  { "+@all ~k*", false },           { "+set1 ~*", false },
                  { "+get1 ~k (+set1 ~*)", false }, { "+set1 ~k (+get1 ~*)", true } };
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < countof(cases); i++) {
        struct acl_user *u = user(x, cases[i].rules);
        struct words w = split("get1 k");
        bool all = acl_reads_all_keys(u, command_lookup(x, w.argv, 2), w.argv, 2);
        ck_assert_msg(all == cases[i].yes, "%s", cases[i].rules);
        acl_user_free(u);
    }
    engine_free(x);
}
END_TEST

/* ---- Against a trivial model ---- */

struct model {
    bool allowed[COMMANDS_MAX];
};

/* The command's subcommands go with it. */
static void model_set(struct model *m, const struct cmd_ref *ref, bool allow)
{
    m->allowed[ref->id] = allow;
    for (unsigned i = 0; i < ref->nsub; i++) {
        m->allowed[ref->sub[i].id] = allow;
    }
}

static void model_category(struct exec *x, struct model *m, uint32_t bit, bool allow)
{
    for (unsigned id = 0; id < commands_count(x); id++) {
        const struct cmd_ref *ref = command_by_id(x, id);
        bool by_parent = ref->parent != NULL && (ref->parent->acl & bit);
        if ((ref->acl & bit) || by_parent) {
            m->allowed[id] = allow;
        }
    }
}

static void ck_same(struct exec *x, const struct acl_user *u, const struct model *m,
                    const char *what)
{
    for (unsigned id = 0; id < commands_count(x); id++) {
        const struct cmd_ref *ref = command_by_id(x, id);
        struct slice argv[2] = { slice_str(ref->row->name), S("?") };
        unsigned at;
        bool allowed = acl_check(u, ref, argv, 1, &at) != ACL_DENIED_CMD;
        bool expected = m->allowed[id] || (ref->row->flags & CMD_NO_AUTH);
        ck_assert_msg(allowed == expected, "%s: %s is %d", what, ref->full, allowed);
    }
}

/* One random rule to both. */
static void random_rule(struct exec *x, struct acl_user *u, struct model *m)
{
    char op[80];
    bool allow = rng_below(2) != 0;
    uint64_t kind = rng_below(10);
    if (kind == 0) {
        snprintf(op, sizeof op, "%c@all", allow ? '+' : '-');
        memset(m->allowed, allow, sizeof m->allowed);
    } else if (kind < 5) {
        const struct bit_name *cat = &command_categories[rng_below(COMMAND_CATEGORIES)];
        snprintf(op, sizeof op, "%c@%s", allow ? '+' : '-', cat->name);
        model_category(x, m, cat->bit, allow);
    } else {
        const struct cmd_ref *ref = command_by_id(x, (unsigned)rng_below(commands_count(x)));
        snprintf(op, sizeof op, "%c%s", allow ? '+' : '-', ref->full);
        model_set(m, ref, allow);
    }
    ck_assert_int_eq(acl_user_apply(x, u, slice_str(op)), ACL_E_OK);
}

/* What a user is described as makes the same user. */
static void ck_round_trip(struct exec *x, const struct acl_user *u, const struct model *m)
{
    struct buf text = { 0 }, again = { 0 }, bad = { 0 };
    acl_describe(u, &text);
    struct slice *word = mem_alloc((text.n + 1) * sizeof *word);
    unsigned n = 0;
    for (size_t from = 0; from <= text.n;) {
        const char *space = memchr(text.p + from, ' ', text.n - from);
        size_t end = space != NULL ? (size_t)(space - text.p) : text.n;
        word[n++] = slice_of(text.p + from, end - from);
        from = end + 1;
    }
    struct acl_user *copy = acl_user_new(x, S("u"));
    ck_assert_int_eq(acl_user_apply_all(x, copy, word, n, &bad), ACL_E_OK);
    acl_describe(copy, &again);
    ck_assert(slice_eq(buf_slice(&text), buf_slice(&again)));
    /* "+@all -get1 +get1" is described as "+@all": the copy may know that it allows everything
     * where its original does not. Neither says so wrongly. */
    for (size_t i = 0; (copy->unrestricted || u->unrestricted) && i < commands_count(x); i++) {
        ck_assert(m->allowed[i]);
    }
    ck_same(x, copy, m, "described");
    acl_user_free(copy);
    mem_free(word);
    buf_free(&text);
    buf_free(&again);
}

START_TEST(test_random_rules)
{
    rng_seed_all(unit_seed());
    struct exec *x = engine_new(rows);
    for (unsigned round = 0; round < 20; round++) {
        struct acl_user *u = user(x, round % 2 ? "~* &*" : "~k %R~r &c (~x +@all)");
        struct model m = { .allowed = { false } };
        if (round % 2 == 0) {
            ck_assert_int_eq(acl_user_apply(x, u, S("clearselectors")), ACL_E_OK);
        }
        for (unsigned i = 0; i < 60; i++) {
            random_rule(x, u, &m);
            ck_same(x, u, &m, "rules");
        }
        ck_round_trip(x, u, &m);
        struct acl_user *copy = acl_user_copy(u);
        ck_same(x, copy, &m, "copied");
        acl_user_free(copy);
        acl_user_free(u);
    }
    engine_free(x);
}
END_TEST

START_TEST(test_unrestricted)
{
    static const struct {
        const char *rules;
        bool yes;
    } cases[] = { { "+@all ~* &*", true },
                  { "+@all ~*", false },
                  { "+@all &*", false },
                  { "~* &*", false },
                  { "+@all ~* &* -get1", false },
                  { "+@all ~* &* -get1 +get1", false },
                  { "(+@all ~* &*)", true },
                  { "(+@all ~* &*) clearselectors", false },
                  { "+@all ~* &* resetkeys", false } };
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < countof(cases); i++) {
        struct acl_user *u = user(x, cases[i].rules);
        ck_assert_msg(u->unrestricted == cases[i].yes, "%s", cases[i].rules);
        acl_user_free(u);
    }
    engine_free(x);
}
END_TEST

/* ---- Passwords and the set of users ---- */

#define HASH_P1 "f64551fcd6f07823cb87971cfb91446425da18286b3ab1ef935e0cbd7a69f68a"

START_TEST(test_passwords)
{
    struct exec *x = engine_new(rows);
    struct acl *a = x->acl;
    ck_assert(!acl_login_needed(a));
    ck_assert_ptr_eq(acl_login(a, S("default"), S("anything")), a->def);
    struct acl_user *u = user(x, ">p1 >p2 >p1");
    acl_put(a, u);
    ck_assert_uint_eq(u->npasswords, 2);
    ck_assert(memcmp(u->password[0], HASH_P1, ACL_HASH_TEXT) == 0);
    ck_assert_ptr_null(acl_login(a, S("u"), S("p1"))); /* off */
    u->enabled = true;
    ck_assert_ptr_eq(acl_login(a, S("u"), S("p1")), u);
    ck_assert_ptr_eq(acl_login(a, S("u"), S("p2")), u);
    ck_assert_ptr_null(acl_login(a, S("u"), S("p3")));
    ck_assert_ptr_null(acl_login(a, S("u"), S("")));
    ck_assert_ptr_null(acl_login(a, S("U"), S("p1")));
    ck_assert_int_eq(acl_user_apply(x, u, S("<p1")), ACL_E_OK);
    ck_assert_ptr_null(acl_login(a, S("u"), S("p1")));
    ck_assert_ptr_eq(acl_login(a, S("u"), S("p2")), u);
    ck_assert_int_eq(acl_user_apply(x, u, S("#" HASH_P1)), ACL_E_OK);
    ck_assert_ptr_eq(acl_login(a, S("u"), S("p1")), u);
    ck_assert_int_eq(acl_user_apply(x, u, S("!" HASH_P1)), ACL_E_OK);
    ck_assert_ptr_null(acl_login(a, S("u"), S("p1")));
    ck_assert_int_eq(acl_user_apply(x, u, S("nopass")), ACL_E_OK);
    ck_assert_uint_eq(u->npasswords, 0);
    ck_assert_ptr_eq(acl_login(a, S("u"), S("whatever")), u);
    ck_assert_int_eq(acl_user_apply(x, u, S(">p1")), ACL_E_OK);
    ck_assert_ptr_null(acl_login(a, S("u"), S("whatever")));
    ck_assert_int_eq(acl_user_apply(x, u, S("resetpass")), ACL_E_OK);
    ck_assert_ptr_null(acl_login(a, S("u"), S("p1")));

    x->opt.requirepass = slice_of(mem_strdup("top"), 3);
    acl_set_requirepass(x);
    ck_assert(acl_login_needed(a));
    ck_assert_ptr_null(acl_login(a, S("default"), S("")));
    ck_assert_ptr_eq(acl_login(a, S("default"), S("top")), a->def);
    x->opt.requirepass.n = 0;
    acl_set_requirepass(x);
    ck_assert(!acl_login_needed(a));
    engine_free(x);
}
END_TEST

START_TEST(test_set_of_users)
{
    struct exec *x = engine_new(rows);
    struct acl *a = x->acl;
    rng_seed_all(unit_seed());
    bool there[50] = { false };
    for (unsigned i = 0; i < 2000; i++) {
        char name[8];
        unsigned k = (unsigned)rng_below(50);
        snprintf(name, sizeof name, "u%u", k);
        struct acl_user *u = acl_find(a, slice_str(name));
        ck_assert(there[k] == (u != NULL));
        ck_assert(u == NULL || strcmp(u->name, name) == 0);
        if (u != NULL) {
            acl_delete(x, u, NULL);
        } else {
            acl_put(a, acl_user_new(x, slice_str(name)));
        }
        there[k] = !there[k];
        for (unsigned n = 1; n < a->n; n++) {
            ck_assert_int_lt(strcmp(a->user[n - 1]->name, a->user[n]->name), 0);
        }
    }
    ck_assert_ptr_eq(acl_find(a, S("default")), a->def);
    engine_free(x);
}
END_TEST

START_TEST(test_texts)
{
    struct exec *x = engine_new(rows);
    struct acl_user *u = user(x, "");
    struct words w = split("box look");
    const struct cmd_ref *ref = command_lookup(x, w.argv, w.argc);
    struct buf t = { 0 };
    acl_denied_text(ACL_DENIED_CMD, u, ref, S(""), false, &t);
    buf_add_char(&t, '|');
    acl_denied_text(ACL_DENIED_KEY, u, ref, S("k"), false, &t);
    buf_add_char(&t, '|');
    acl_denied_text(ACL_DENIED_CHANNEL, u, ref, S("c"), false, &t);
    buf_add_char(&t, '|');
    acl_denied_text(ACL_DENIED_KEY, u, ref, S("k"), true, &t);
    ck_assert(slice_eq(buf_slice(&t), S("User u has no permissions to run the 'box|look' command|"
                                        "No permissions to access a key|"
                                        "No permissions to access a channel|"
                                        "User u has no permissions to access the 'k' key")));
    ck_assert_uint_eq(command_category(S("STRING")), ACL_STRING);
    ck_assert_uint_eq(command_category(S("all")), 0);
    unsigned at;
    ck_assert_int_eq(acl_check(NULL, ref, w.argv, 2, &at), ACL_DENIED_CMD); /* deleted */
    ck_assert(!acl_reads_all_keys(NULL, ref, w.argv, 2));
    buf_free(&t);
    acl_user_free(u);
    engine_free(x);
}
END_TEST

UNIT_SUITE(acl)
{
    unit_case(suite, "rules", test_describe, test_errors, test_random_rules, test_unrestricted);
    unit_case(suite, "check", test_keys, test_commands, test_channels, test_many_keys,
              test_reads_all_keys, test_texts);
    unit_case(suite, "users", test_passwords, test_set_of_users);
}
