/* test_command.c -- COMMAND beside redis-server: replies and errors, keys of requests of every row.
 * SPDX-License-Identifier: BSD-3-Clause
 * That INFO and DOCS of every row are right is what `make check-commands` is for. */
#include "base/base.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID_COMMAND "=> -ERR Invalid command specified"
#define NO_KEYS         "=> -ERR The command has no key arguments"
#define INVALID_COUNT   "=> -ERR Invalid number of arguments specified for command"

START_TEST(test_info)
{
    compare("COMMAND INFO get mget set bitop msetnx lmpop blmpop watch ping nope",
            "COMMAND INFO config|get CONFIG|GET object|encoding GeT",
            "COMMAND INFO rename copy lcs",
            "COMMAND INFO config|nope config|get|x get|x '' | config| |get nope|x",
            "COMMAND INFO subscribe spublish ssubscribe select", "~type COMMAND COUNT",
            "COMMAND COUNT x", "~type COMMAND", "~type COMMAND INFO", "COMMAND nope",
            "COMMAND nope x", "COMMAND HELP x", "~type COMMAND HELP", "~type COMMAND DOCS",
            "COMMAND DOCS nope", "COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS", "MULTI",
            "COMMAND nope", "EXEC", "MULTI", "COMMAND INFO get", "EXEC");
}
END_TEST

START_TEST(test_list)
{
    compare("~type COMMAND LIST", "~sort COMMAND LIST FILTERBY PATTERN get*",
            "~sort COMMAND LIST filterby pattern CONFIG*", "COMMAND LIST FILTERBY PATTERN *fig|get",
            "COMMAND LIST FILTERBY PATTERN nope*", "~sort COMMAND LIST FILTERBY ACLCAT bitmap",
            "~sort COMMAND LIST FILTERBY aclcat TRANSACTION", "COMMAND LIST FILTERBY ACLCAT nope",
            "COMMAND LIST FILTERBY ACLCAT @bitmap", "COMMAND LIST FILTERBY MODULE x",
            "COMMAND LIST x", "COMMAND LIST FILTERBY", "COMMAND LIST FILTERBY PATTERN",
            "COMMAND LIST FILTERBY PATTERN a b", "COMMAND LIST FILTERBY nope x",
            "COMMAND LIST nope PATTERN x");
}
END_TEST

/* Requests with every option that has to do with keys, right and wrong. */
static const char *const requests[] = {
    "get k",
    "get a b",
    "set k v",
    "set k v get",
    "set k v xx get ex 10",
    "set get get",
    "set k",
    "mget a b c",
    "mset a 1 b 2",
    "mset a 1 b",
    "msetnx a 1",
    "getex k ex 10",
    "lcs a b len",
    "append k v",
    "setrange k 0 v",
    "bitop and d a b c",
    "bitop not d",
    "bitop not d a",
    "bitfield k get u8 0",
    "bitfield k get u8 0 set u8 0 1",
    "bitfield k overflow sat incrby u8 0 1",
    "bitfield k overflow sat",
    "bitfield k get",
    "bitfield k",
    "bitfield k nope",
    "bitfield_ro k get u8 0",
    "bitcount k 0 1",
    "bitpos k 1",
    "del a b c",
    "unlink a",
    "exists a a a",
    "touch a b",
    "rename a b",
    "renamenx a b",
    "copy a b db 1 replace",
    "move a 1",
    "type a",
    "expire a 10 nx",
    "ttl a",
    "persist a",
    "object encoding k",
    "object freq k x",
    "object help",
    "object nope k",
    "sort k",
    "sort k by w_* get v_* get # store d",
    "sort k store d store e",
    "sort k store",
    "sort k get store d",
    "sort k limit 0 1 asc alpha",
    "sort k limit store d",
    "sort_ro k by w_*",
    "sort_ro k store d",
    "keys *",
    "scan 0",
    "randomkey x",
    "dbsize x",
    "flushall async",
    "swapdb 0 1",
    "rpush l a b",
    "linsert l before a b",
    "lmove a b left right",
    "rpoplpush a b",
    "blmove a b left right 0",
    "brpoplpush a b 0",
    "blpop a b c 0",
    "brpop a 0",
    "blpop a",
    "lmpop 2 a b left",
    "lmpop 0 a left",
    "lmpop 5 a left",
    "lmpop x a left",
    "lmpop -1 a left",
    "lmpop 2 a left",
    "lmpop 3 a left",
    "blmpop 0 2 a b left count 1",
    "blmpop 0 0 a left",
    "blmpop 0 9 a left",
    "lpos l a rank 1",
    "watch a b",
    "multi x",
    "exec x",
    "publish c m",
    "spublish c m",
    "subscribe a b",
    "ssubscribe a b",
    "ping x",
    "select 1",
    "config get x",
    "config nope x",
    "client kill x",
    "info server",
    "command getkeys get k",
    "georadius g 1 2 3 m store a storedist b",
    "georadiusbymember g m 3 m store store a",
    "nope k",
    "'' k",
};

START_TEST(test_getkeys)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(requests); i++) {
        compare_add(&s, "COMMAND GETKEYS %s", requests[i]);
        compare_add(&s, "COMMAND GETKEYSANDFLAGS %s", requests[i]);
    }
    compare_script(&s);
    compare("COMMAND GETKEYS \"g\\x00t\" k", "COMMAND GETKEYS get \"\\x00\\r\\n\"",
            "COMMAND GETKEYS GET k", "COMMAND GETKEYS CONFIG GET x",
            "COMMAND GETKEYS Object Freq k",
            /* 7.0.15 wants two words. */
            "COMMAND GETKEYS get " INVALID_COUNT, "COMMAND GETKEYS ping " NO_KEYS,
            "COMMAND GETKEYS config " NO_KEYS, "COMMAND GETKEYS nope " INVALID_COMMAND,
            "COMMAND GETKEYSANDFLAGS mget " INVALID_COUNT);
}
END_TEST

/* Commands that may not run in a transaction. */
START_TEST(test_no_multi)
{
    compare("SHUTDOWN ABORT ABORT", "MULTI", "SHUTDOWN nope", "EXEC", "SHUTDOWN nope", "MULTI",
            "SET a b", "MONITOR", "GET a", "EXEC", "PING");
}
END_TEST

/* Words of refusals that stand in other ones, too. */
START_TEST(test_refusals)
{
    compare("CLIENT UNBLOCK 1 error x", "CLIENT UNBLOCK 1 TIMEOUT ERROR", "CLIENT UNBLOCK 1 x",
            "@s SUBSCRIBE a", "@s EXEC", "@s MULTI");
}
END_TEST

/* ---- Both servers at hand ---- */

static struct server kv, redis;

static void start_both(void)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--rename-command", "flushall", "", "--rename-command",
                 "getset", "swap");
    server_init(&redis, SERVER_REDIS);
    server_start(&redis, "--rename-command", "flushall", "", "--rename-command", "getset", "swap");
}

static void stop_both(void)
{
    server_stop(&kv);
    server_stop(&redis);
}

/* WITHSCORE came after 7.0: they take more words than the reference. PFMERGE may be called with the
 * destination alone, but the reference then says that its arguments are invalid. */
static bool takes_more(const char *name, unsigned words)
{
    return (words >= 3 && (strcmp(name, "zrank") == 0 || strcmp(name, "zrevrank") == 0)) ||
           (words == 1 && strcmp(name, "pfmerge") == 0);
}

/* Every row with 1 to 6 more words, once words, once numbers: as redis-server answers, or both do
 * not know it. */
START_TEST(test_getkeys_every_row)
{
    struct client *ours = server_connect(&kv), *theirs = server_connect(&redis);
    client_send(ours, "COMMAND LIST");
    (void)client_read(ours);
    struct resp *names = client_take(ours);
    unsigned with_keys = 0;
    ck_assert_uint_gt(names->count, 100);
    for (size_t i = 0; i < names->count; i++) {
        char line[256], name[64];
        snprintf(name, sizeof name, "%s", names->at[i]->text);
        char *bar = strchr(name, '|');
        if (bar != NULL) {
            *bar = ' ';
        }
        for (unsigned words = 1; words <= 6; words++) {
            for (unsigned numbers = 0; numbers < 2; numbers++) {
                int n = snprintf(line, sizeof line, "COMMAND GETKEYSANDFLAGS %s", name);
                for (unsigned w = 0; w < words; w++) {
                    n += snprintf(line + n, sizeof line - (size_t)n, numbers ? " %u" : " w%u",
                                  w + 1);
                }
                const char *reference = client_line(theirs, "%s", line);
                if (strstr(reference, "Invalid command") == NULL && !takes_more(name, words)) {
                    ck_assert_msg(strcmp(client_line(ours, "%s", line), reference) == 0,
                                  "%s\nkv    %s\nredis %s", line, client_last_line(ours),
                                  reference);
                    with_keys += reference[0] == '[';
                }
            }
        }
    }
    ck_assert_uint_gt(with_keys, 100);
    resp_free(names);
    client_close(ours);
    client_close(theirs);
}
END_TEST

static void check_renamed(struct server *s)
{
    struct client *c = server_connect(s);
    int64_t count = client_int(c, "COMMAND COUNT");
    client_expect(c, "[]", "COMMAND LIST FILTERBY PATTERN flushall");
    client_expect(c, "[\"getset\"]", "COMMAND LIST FILTERBY PATTERN getset");
    client_expect(c, "[nil, nil]", "COMMAND INFO flushall getset");
    client_expect(c, "[\"k\"]", "COMMAND GETKEYS swap k v");
    client_expect_error(c, "ERR Invalid command specified", "COMMAND GETKEYS getset k v");
    const struct resp *all = client_ask(c, "COMMAND");
    ck_assert_int_eq((int64_t)all->count, count);
    all = client_ask(c, "COMMAND DOCS");
    ck_assert_int_eq((int64_t)all->count, 2 * count);
    all = client_ask(c, "COMMAND INFO swap");
    ck_assert_str_eq(all->at[0]->at[0]->text, "getset");
    client_close(c);
}

START_TEST(test_renamed)
{
    check_renamed(&redis);
    check_renamed(&kv);
}
END_TEST

/* The reference has no display_text, so the form of 7.2 is written down. */
START_TEST(test_docs)
{
    struct client *c = server_connect(&kv);
    client_expect(c,
                  "[\"getdel\", [\"summary\", \"Get the value of a key and delete the key\", "
                  "\"since\", \"6.2.0\", \"group\", \"string\", \"complexity\", \"O(1)\", "
                  "\"arguments\", [[\"name\", \"key\", \"type\", \"key\", \"display_text\", "
                  "\"key\", \"key_spec_index\", 0]]]]",
                  "COMMAND DOCS nope getdel config|nope");
    client_hello(c, 3);
    client_expect(c,
                  "{\"setex\": {\"summary\": \"Set the value and expiration of a key\", \"since\": "
                  "\"2.0.0\", \"group\": \"string\", \"complexity\": \"O(1)\", \"doc_flags\": "
                  "~[+deprecated], \"deprecated_since\": \"2.6.12\", \"replaced_by\": \"`SET` with "
                  "the `EX` argument\", \"arguments\": [{\"name\": \"key\", \"type\": \"key\", "
                  "\"display_text\": \"key\", \"key_spec_index\": 0}, {\"name\": \"seconds\", "
                  "\"type\": \"integer\", \"display_text\": \"seconds\"}, {\"name\": \"value\", "
                  "\"type\": \"string\", \"display_text\": \"value\"}]}}",
                  "COMMAND DOCS setex");
    client_expect(c,
                  "{\"flushdb\": {\"summary\": \"Remove all keys from the current database\", "
                  "\"since\": \"1.0.0\", \"group\": \"server\", \"complexity\": \"O(N) where N is "
                  "the number of keys in the selected database\", \"history\": ~[[\"4.0.0\", "
                  "\"Added the `ASYNC` flushing mode modifier.\"], [\"6.2.0\", \"Added the `SYNC` "
                  "flushing mode modifier.\"]], \"arguments\": [{\"name\": \"async\", \"type\": "
                  "\"oneof\", \"flags\": ~[+optional], \"arguments\": [{\"name\": \"async\", "
                  "\"type\": \"pure-token\", \"display_text\": \"async\", \"token\": \"ASYNC\", "
                  "\"since\": \"4.0.0\"}, {\"name\": \"sync\", \"type\": \"pure-token\", "
                  "\"display_text\": \"sync\", \"token\": \"SYNC\", \"since\": \"6.2.0\"}]}]}}",
                  "COMMAND DOCS flushdb");
    const struct resp *help = client_ask(c, "COMMAND HELP");
    ck_assert_int_eq(help->type, RESP_ARRAY);
    ck_assert_uint_eq(help->count, 21);
    const struct resp *r = client_ask(c, "COMMAND DOCS object");
    ck_assert_int_eq(r->type, RESP_MAP);
    const struct resp *object = r->at[1], *subs = object->at[object->count - 1];
    ck_assert_str_eq(object->at[object->count - 2]->text, "subcommands");
    ck_assert_int_eq(subs->type, RESP_MAP);
    ck_assert_uint_eq(subs->count, 2 * 5);
    r = client_ask(c, "COMMAND INFO object");
    ck_assert_int_eq(r->at[0]->at[9]->type, RESP_ARRAY);
    ck_assert_uint_eq(r->at[0]->at[9]->count, 5);
    client_close(c);
}
END_TEST

/* redis-cli without a command asks for COMMAND DOCS and answers HELP from it. */
START_TEST(test_redis_cli)
{
    for (unsigned i = 0; i < 2; i++) {
        char line[512], answer[4096] = "";
        snprintf(line, sizeof line,
                 "printf 'help client kill\\nhelp config get\\nping\\n' | redis-cli -p %u %s 2>&1",
                 kv.port, i > 0 ? "-3" : "");
        FILE *f = popen(line, "r");
        ck_assert_ptr_nonnull(f);
        answer[fread(answer, 1, sizeof answer - 1, f)] = '\0';
        ck_assert_int_eq(pclose(f), 0);
        ck_assert_msg(strstr(answer, "Kill the connection of a client") != NULL &&
                          strstr(answer, "parameter [parameter ...]") != NULL &&
                          strstr(answer, "PONG") != NULL,
                      "%s", answer);
    }
}
END_TEST

UNIT_SUITE(command)
{
    TCase *tc = unit_case(suite, "command", test_info, test_list, test_getkeys, test_no_multi,
                          test_refusals);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tc = unit_case(suite, "command_servers", test_getkeys_every_row, test_renamed, test_docs,
                   test_redis_cli);
    tcase_add_unchecked_fixture(tc, start_both, stop_both);
}
