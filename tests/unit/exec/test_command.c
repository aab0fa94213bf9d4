/* test_command.c -- The command table: names, subcommands, renaming, categories, and the keys that
 * every form of key specification finds.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include <stdio.h>

static void nothing(struct call *c)
{
    (void)c;
}

static const struct command subs[] = {
    { .name = "one", .proc = nothing, .arity = 2 },
    { .name = "two", .proc = nothing, .arity = -2 },
    { .name = NULL },
};
static const struct command rows[] = {
    { .name = "t", .proc = nothing, .arity = 1 },
    { .name = "tab", .proc = nothing, .arity = 2, .keys = { KEY_AT(1, KEY_RO) } },
    { .name = "t-ab_9", .proc = nothing, .arity = 2, .keys = { KEYS_FROM(1, 1, 1, KEY_RW) } },
    { .name = "seventy", .proc = nothing, .arity = 1 },
    { .name = "a-rather-long-name-1", .proc = nothing, .arity = 1 },
    { .name = "a-rather-long-name-2", .proc = nothing, .arity = 1 },
    { .name = "a-rather-lung-name-1", .proc = nothing, .arity = 1 },
    { .name = "box", .arity = -2, .sub = subs },
    { .name = NULL },
};

static const struct cmd_ref *lookup(struct exec *x, const char *text)
{
    struct words w = split(text);
    return command_lookup(x, w.argv, w.argc);
}

static const char *full_name(struct exec *x, const char *text)
{
    const struct cmd_ref *ref = lookup(x, text);
    return ref != NULL ? ref->full : "-";
}

START_TEST(test_lookup)
{
    static const char *const cases[][2] = {
        { "t", "t" },
        { "T", "t" },
        { "tab", "tab" },
        { "TaB k", "tab" },
        { "tac", "-" },
        { "ta", "-" },
        { "tabb", "-" },
        { "t-ab_9", "t-ab_9" },
        { "T-AB_9", "t-ab_9" },
        { "t\rab_9", "-" }, /* bytes that differ from the name in the bit of the case alone */
        { "T\rAB\x7f\x19", "-" },
        { "SEVENTY", "seventy" },
        { "SEVENTz", "-" },
        { "sEVENTYs", "-" },
        { "A-Rather-Long-Name-1", "a-rather-long-name-1" },
        { "A-Rather-Long-Name-2", "a-rather-long-name-2" },
        { "A-Rather-Lung-Name-1", "a-rather-lung-name-1" },
        { "A-Rather-Lung-Name-2", "-" },
        { "box", "box" },
        { "BOX ONE", "box|one" },
        { "box two x y", "box|two" },
        { "box tw", "box" },
        { "box three", "box" },
        { "multi", "multi" },
        { "", "-" },
    };
    struct exec *x = engine_new(rows);
    for (unsigned i = 0; i < countof(cases); i++) {
        struct words w = split(cases[i][0]);
        w.argc = w.argc > 0 ? w.argc : 1;
        w.argv[0] = w.argv[0].p != NULL ? w.argv[0] : S("");
        const struct cmd_ref *ref = command_lookup(x, w.argv, w.argc);
        ck_assert_msg(strcmp(ref != NULL ? ref->full : "-", cases[i][1]) == 0, "%s", cases[i][0]);
        ck_assert_ptr_eq(exec_find_command(x, w.argv, w.argc), ref != NULL ? ref->row : NULL);
    }
    ck_assert(lookup(x, "tab")->one_key);
    ck_assert(!lookup(x, "t")->one_key);
    ck_assert(!lookup(x, "t-ab_9")->one_key);
    engine_free(x);
}
END_TEST

/* Each row and subcommand has its own number, by which it is found. */
START_TEST(test_ids)
{
    struct exec *x = engine_new(rows);
    for (unsigned id = 0; id < commands_count(x); id++) {
        const struct cmd_ref *ref = command_by_id(x, id);
        ck_assert_uint_eq(ref->id, id);
        char text[80];
        snprintf(text, sizeof text, "%s", ref->full);
        char *bar = strchr(text, '|');
        if (bar != NULL) {
            *bar = ' ';
        }
        ck_assert_ptr_eq(lookup(x, text), ref);
    }
    unsigned n;
    const struct command *const *families = exec_families(x, &n);
    ck_assert_uint_gt(n, 1);
    ck_assert_ptr_eq(families[n - 1], rows);
    engine_free(x);
}
END_TEST

static void count_row(void *arg, const struct command *row)
{
    unsigned *seen = arg;
    for (unsigned i = 0; rows[i].name != NULL; i++) {
        *seen |= row == &rows[i] ? 1u << i : 0;
    }
    ck_assert(row != &subs[0] && row != &subs[1]);
}

START_TEST(test_rename)
{
    struct exec *x = engine_new(rows);
    unsigned seen = 0;
    exec_each_command(x, count_row, &seen);
    ck_assert_uint_eq(seen, 0xff);
    ck_assert(!exec_rename_command(x, S("no-such"), S("other")));
    ck_assert(!exec_rename_command(x, S("tab"), S("BOX")));
    ck_assert_str_eq(full_name(x, "tab"), "tab");
    ck_assert(exec_rename_command(x, S("TAB"), S("Hidden-TAB")));
    ck_assert_str_eq(full_name(x, "tab"), "-");
    ck_assert_str_eq(full_name(x, "hidden-tab"), "tab");
    ck_assert(exec_rename_command(x, S("t"), S("tab")));
    ck_assert_str_eq(full_name(x, "tab"), "t");
    ck_assert(exec_rename_command(x, S("box"), S("")));
    ck_assert_str_eq(full_name(x, "box one"), "-");
    ck_assert_str_eq(full_name(x, "seventy"), "seventy");
    ck_assert(exec_rename_command(x, S("hidden-tab"), S("third"))); /* its second name is freed */
    ck_assert_str_eq(full_name(x, "hidden-tab"), "-");
    ck_assert_str_eq(full_name(x, "third"), "tab");
    seen = 0;
    exec_each_command(x, count_row, &seen);
    ck_assert_uint_eq(seen, 0x7f);
    engine_free(x);
}
END_TEST

START_TEST(test_categories)
{
    static const struct {
        uint32_t flags, acl, all;
    } cases[] = {
        { 0, 0, ACL_SLOW },
        { CMD_FAST, ACL_SET, ACL_SET | ACL_FAST },
        { CMD_WRITE, 0, ACL_WRITE | ACL_SLOW },
        { CMD_READONLY, 0, ACL_READ | ACL_SLOW },
        { CMD_READONLY, ACL_SCRIPTING, ACL_SCRIPTING | ACL_SLOW },
        { CMD_ADMIN, 0, ACL_ADMIN | ACL_DANGEROUS | ACL_SLOW },
        { CMD_PUBSUB | CMD_FAST, 0, ACL_PUBSUB | ACL_FAST },
        { CMD_BLOCKING, 0, ACL_BLOCKING | ACL_SLOW },
    };
    for (unsigned i = 0; i < countof(cases); i++) {
        struct command row = { .name = "x", .flags = cases[i].flags, .acl = cases[i].acl };
        ck_assert_uint_eq(command_acl(&row), cases[i].all);
    }
}
END_TEST

/* ---- Keys ---- */

#define ROW(...) (&(const struct command){ .name = "x", __VA_ARGS__ })

/* The found keys as text: "1 3". */
static const char *keys_of(const struct command *row, const char *text)
{
    static char out[128];
    uint32_t index[WORDS_MAX];
    struct words w = split(text);
    int n = command_keys(row, w.argv, w.argc, index, countof(index));
    if (n < 0) {
        return "invalid";
    }
    out[0] = '\0';
    for (int i = 0; i < n; i++) {
        size_t used = strlen(out);
        snprintf(out + used, sizeof out - used, "%s%u", i > 0 ? " " : "", index[i]);
    }
    return out;
}

START_TEST(test_keys_by_index)
{
    ck_assert_str_eq(keys_of(ROW(.arity = 1), "x a b"), "");
    const struct command *one = ROW(.keys = { KEY_AT(2, KEY_RO) });
    ck_assert_str_eq(keys_of(one, "x s k v"), "2");
    ck_assert_str_eq(keys_of(one, "x s"), "");
    const struct command *two = ROW(.keys = { KEYS_FROM(1, 1, 1, KEY_RW) });
    ck_assert_str_eq(keys_of(two, "x a b c"), "1 2");
    ck_assert_str_eq(keys_of(two, "x a"), "invalid");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEYS_FROM(1, -1, 1, KEY_RO) }), "x a b c"), "1 2 3");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEYS_FROM(1, -1, 2, KEY_OW) }), "x a 1 b 2"), "1 3");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEYS_FROM(1, -2, 1, KEY_RW) }), "x a b 0"), "1 2");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEYS_FROM(1, -2, 1, KEY_RW) }), "x 0"), "");
    ck_assert_str_eq(
        keys_of(ROW(.keys = { KEY_AT(2, KEY_OW), KEYS_FROM(3, -1, 1, KEY_RO) }), "x op d a b"),
        "2 3 4");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEY_AT(1, KEY_NOT_KEY), KEY_AT(2, KEY_RO) }), "x a b"),
                     "2");
    ck_assert_str_eq(keys_of(ROW(.keys = { KEYS_UNKNOWN(KEY_RO, "why") }), "x a b"), "");
}
END_TEST

START_TEST(test_keys_by_count)
{
    const struct command *row = ROW(.keys = { KEYS_COUNTED(1, KEY_RO) });
    ck_assert_str_eq(keys_of(row, "x 2 a b c"), "2 3");
    ck_assert_str_eq(keys_of(row, "x 3 a b c"), "2 3 4");
    static const char *const wrong[] = {
        "x 4 a b c", "x -1 a", "x no a", "x 0 a", "x 9223372036854775807 a", "x"
    };
    for (unsigned i = 0; i < countof(wrong); i++) {
        ck_assert_str_eq(keys_of(row, wrong[i]), "invalid");
    }
    const struct command *optional =
        ROW(.flags = CMD_NO_MANDATORY_KEYS, .keys = { KEYS_COUNTED(2, KEY_RW) });
    ck_assert_str_eq(keys_of(optional, "x s 0 arg"), "");
    ck_assert_str_eq(keys_of(optional, "x s 1 k arg"), "3");
    ck_assert_str_eq(keys_of(optional, "x s 2 k"), "invalid");
}
END_TEST

START_TEST(test_keys_by_keyword)
{
    const struct command *streams = ROW(.keys = { KEYS_AFTER("STREAMS", 1, -1, 1, 2, KEY_RO) });
    ck_assert_str_eq(keys_of(streams, "x count 1 streams a b 0 0"), "4 5");
    ck_assert_str_eq(keys_of(streams, "x streams a 0"), "2");
    ck_assert_str_eq(keys_of(streams, "x count 1"), "");
    ck_assert_str_eq(keys_of(streams, "x count streams"), "");
    const struct command *from_end = ROW(.keys = { KEYS_AFTER("KEYS", -2, -1, 1, 0, KEY_RO) });
    ck_assert_str_eq(keys_of(from_end, "x h p keys a b"), "4 5");
    ck_assert_str_eq(keys_of(from_end, "x keys a keys b"), "4"); /* the last one counts */
    ck_assert_str_eq(keys_of(from_end, "x a b"), "");
}
END_TEST

static int last_two(const struct slice *argv, unsigned argc, uint32_t *index, unsigned room)
{
    (void)argv;
    for (unsigned i = 0; i < 2 && i < room; i++) {
        index[i] = argc - 2 + i;
    }
    return argc >= 3 ? 2 : -1;
}

static uint32_t all_rm(const struct slice *argv, unsigned argc)
{
    (void)argv;
    return argc > 2 ? KEY_RM : KEY_RO;
}

START_TEST(test_key_flags)
{
    uint32_t index[4], flags[4];
    struct words w = split("x a b c");
    const struct command *odd =
        ROW(.getkeys = last_two, .keys = { KEY_AT(1, KEY_OW), KEY_AT(2, KEY_RO) });
    ck_assert_str_eq(keys_of(odd, "x a b c"), "2 3");
    ck_assert_str_eq(keys_of(odd, "x a"), "invalid");
    ck_assert_int_eq(command_keys_flags(odd, w.argv, w.argc, index, flags, 4), 2);
    ck_assert_uint_eq(flags[0], KEY_OW);
    ck_assert_uint_eq(flags[1], KEY_RO);
    const struct command *two = ROW(.keys = { KEY_AT(1, KEY_RW | KEY_ACCESS), KEY_AT(3, KEY_RM) });
    ck_assert_int_eq(command_keys_flags(two, w.argv, w.argc, index, flags, 4), 2);
    ck_assert_uint_eq(flags[0], KEY_RW | KEY_ACCESS);
    ck_assert_uint_eq(flags[1], KEY_RM);
    const struct command *variable =
        ROW(.key_flags = all_rm, .keys = { KEYS_FROM(1, -1, 1, KEY_VARIABLE) });
    ck_assert_int_eq(command_keys_flags(variable, w.argv, 3, index, flags, 4), 2);
    ck_assert_uint_eq(flags[0] | flags[1], KEY_RM);
    ck_assert_int_eq(command_keys_flags(variable, w.argv, 2, index, flags, 4), 1);
    ck_assert_uint_eq(flags[0], KEY_RO);
}
END_TEST

/* More keys than room: the count is told, nothing behind the room is written. */
START_TEST(test_keys_room)
{
    uint32_t index[3] = { 77, 77, 77 }, flags[3] = { 77, 77, 77 };
    struct words w = split("x a b c d");
    const struct command *row = ROW(.keys = { KEYS_FROM(1, -1, 1, KEY_RO) });
    ck_assert_int_eq(command_keys_flags(row, w.argv, w.argc, index, flags, 2), 4);
    ck_assert_uint_eq(index[0], 1);
    ck_assert_uint_eq(index[1], 2);
    ck_assert_uint_eq(index[2], 77);
    ck_assert_uint_eq(flags[1], KEY_RO);
    ck_assert_uint_eq(flags[2], 77);
    ck_assert_int_eq(command_keys(row, w.argv, w.argc, NULL, 0), 4);
}
END_TEST

UNIT_SUITE(exec_command)
{
    unit_case(suite, "table", test_lookup, test_ids, test_rename, test_categories);
    unit_case(suite, "keys", test_keys_by_index, test_keys_by_count, test_keys_by_keyword,
              test_key_flags, test_keys_room);
}
