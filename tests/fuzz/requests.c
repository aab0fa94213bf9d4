/* requests.c -- Requests for every command of the table.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An argument list is walked as COMMAND DOCS tells it. What is optional, how often something comes
 * and which value it gets is chosen; rarely an argument is left out, doubled or any bytes. A number
 * that counts what follows ("numkeys") mostly tells the truth. */
#include "requests.h"
#include "base/mem.h"
#include "commands/syntax.h"
#include <stdio.h>
#include <stdlib.h>

#define COMMANDS_ROOM 1024
#define WORDS_ROOM    256

struct target {
    const struct command *row, *parent; /* parent: of a subcommand */
    struct command_arg *args;
};
static struct {
    struct target at[COMMANDS_ROOM];
    unsigned n;
} table;

/* One request in the making. */
struct request {
    struct choices *c;
    const struct command *row;
    struct slice key;
    struct buf text;        /* of all words */
    size_t end[WORDS_ROOM]; /* of each */
    unsigned words,
        announced; /* announced: how many of the next multiple argument; 0: any number */
};

/* ---- Choices ---- */

unsigned choose(struct choices *c, unsigned n)
{
    unsigned v = 0;
    for (unsigned most = 1; most < n; most *= 256) {
        v = v * 256 + (c->at < c->n ? c->p[c->at++] : 0);
    }
    return n > 1 ? v % n : 0;
}

struct slice choose_bytes(struct choices *c, size_t max)
{
    size_t n = size_min(choose(c, (unsigned)max + 1), c->n - c->at);
    c->at += n;
    return slice_of((const char *)c->p + c->at - n, n);
}

/* ---- Commands ---- */

/* Ends or stops the server, changes how it runs, writes files, or takes long. A name covers its
 * subcommands. */
static bool left_out(const char *name)
{
    static const char *const names[] = {
        "shutdown",    "debug",      "config set",   "config rewrite", "acl setuser",
        "acl deluser", "acl load",   "acl save",     "acl log",        "client pause",
        "save",        "bgsave",     "bgrewriteaof", "replicaof",      "slaveof",
        "failover",    "module",     "script kill",  "function kill",  "sync",
        "psync",       "cluster",    "client kill",  "script debug",   "client unblock",
        "monitor",     "pfselftest",
    };
    for (unsigned i = 0; i < countof(names); i++) {
        size_t n = strlen(names[i]);
        if (strncmp(name, names[i], n) == 0 && (name[n] == '\0' || name[n] == ' ')) {
            return true;
        }
    }
    return false;
}

static void add_target(const struct command *row, const struct command *parent)
{
    char name[80];
    const char *bad = NULL;
    snprintf(name, sizeof name, "%s%s%s", parent != NULL ? parent->name : "",
             parent != NULL ? " " : "", row->name);
    if (left_out(name)) {
        return;
    }
    must(table.n < COMMANDS_ROOM);
    table.at[table.n] = (struct target){ row, parent, NULL };
    if (row->syntax != NULL) {
        table.at[table.n].args = syntax_parse(row->syntax, &bad);
        must(bad == NULL);
    }
    table.n++;
}

static void add_row(void *arg, const struct command *row)
{
    (void)arg;
    for (const struct command *sub = row->sub; sub != NULL && sub->name != NULL; sub++) {
        add_target(sub, row);
    }
    if (row->sub == NULL) {
        add_target(row, NULL);
    }
}

void requests_prepare(struct exec *x)
{
    if (table.n == 0) {
        exec_each_command(x, add_row, NULL);
        must(table.n > 200);
    }
}

unsigned requests_commands(void)
{
    return table.n;
}

bool requests_has_keys(unsigned command)
{
    const struct command *row = table.at[command].row;
    return row->keys[0].step != 0 || row->getkeys != NULL;
}

bool requests_blocks(unsigned command)
{
    return (table.at[command].row->flags & CMD_BLOCKING) != 0;
}

/* ---- Values ---- */

#define CHOOSE(c, list) ((list)[choose(c, countof(list))])

static void add_word(struct request *r, struct slice s)
{
    if (r->words < WORDS_ROOM) {
        buf_add_slice(&r->text, s);
        r->end[r->words++] = r->text.n;
    }
}

static struct slice choose_key(struct request *r)
{
    static const char *const any[] = { "k", "s",  "s2", "l",  "l2", "h", "h2", "t", "t2",
                                       "z", "z2", "x",  "x2", "p",  "g", "b",  "",  "{s}1" };
    static const struct {
        const char *group, *key;
    } mine[] = { { "string", "s" },      { "list", "l" },       { "hash", "h" },   { "set", "t" },
                 { "sorted-set", "z" },  { "sorted_set", "z" }, { "stream", "x" }, { "geo", "g" },
                 { "hyperloglog", "p" }, { "bitmap", "b" } };
    unsigned how = choose(r->c, 8);
    if (how > 0 && r->key.n > 0) {
        return r->key;
    }
    for (unsigned i = 0; how > 1 && i < countof(mine); i++) {
        if (r->row->group != NULL && strcmp(r->row->group, mine[i].group) == 0) {
            return slice_str(mine[i].key);
        }
    }
    return slice_str(CHOOSE(r->c, any));
}

/* None that makes a reply or a value of gigabytes. */
static struct slice choose_integer(struct choices *c)
{
    static const char *const numbers[] = { "1",
                                           "2",
                                           "0",
                                           "-1",
                                           "3",
                                           "10",
                                           "-2",
                                           "100",
                                           "-300",
                                           "7",
                                           "8",
                                           "63",
                                           "64",
                                           "255",
                                           "4096",
                                           "65536",
                                           "2147483647",
                                           "4294967295",
                                           "9223372036854775807",
                                           "-9223372036854775808",
                                           "9223372036854775808",
                                           "x",
                                           "",
                                           "1.5" };
    return slice_str(CHOOSE(c, numbers));
}

static struct slice choose_double(struct choices *c)
{
    static const char *const numbers[] = { "1",    "0",     "-0",     "1.5", "-2",   "inf",
                                           "-inf", "1e308", "nan",    "",    "3e-9", "13.4",
                                           "52",   "-0.1",  "100000", "5x",  "2" };
    return slice_str(CHOOSE(c, numbers));
}

static struct slice choose_time(struct choices *c)
{
    static const char *const times[] = { "4102444800", "4102444800000",       "1", "0", "-1",
                                         "100000",     "9223372036854775807", "x" };
    return slice_str(CHOOSE(c, times));
}

/* What may block must come back soon. */
static struct slice choose_timeout(struct choices *c)
{
    static const char *const timeouts[] = { "0.001", "-1", "0.003", "x", "0.002", "nan" };
    return slice_str(CHOOSE(c, timeouts));
}

static struct slice choose_id(struct choices *c)
{
    static const char *const ids[] = {
        "1-1", "*",   "0",   "$",    ">",     "-",     "+",
        "2-0", "1-*", "2",   "3-3",  "5-1",   "(1",    "(-",
        "[a",  "[b",  "(a",  "-inf", "inf",   "0-0",   "+",
        "4-4", "1-2", "7-7", "1-x",  "100-0", "(2-0)", "18446744073709551615-18446744073709551615"
    };
    return slice_str(CHOOSE(c, ids));
}

static struct slice choose_script(struct choices *c)
{
    static const char library[] =
        "#!lua name=lib\nredis.register_function('f', function(k, a) return redis.call('set', k[1] "
        "or 's', a[1] or '') end)";
    static const char read_only[] =
        "#!lua name=ro\nredis.register_function{function_name='g', callback=function(k, a) return "
        "#k + #a end, flags={'no-writes'}}";
    static const char *const scripts[] = {
        "return redis.call(KEYS[1] and 'type' or 'ping', KEYS[1])",
        "return {KEYS, ARGV, 1, {ok='a'}, {err='b'}, false}",
        "redis.setresp(3); return redis.pcall(unpack(ARGV))",
        "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
        library,
        read_only,
        "return redis.call('set', 's', 1)",
        "return redis.sha1hex('') .. undefined",
        "redis.replicate_commands(); redis.set_repl(0); return redis.call('lpush', 'l', 'a')",
        "f",
        "g",
        "lib",
        "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    };
    return slice_str(CHOOSE(c, scripts));
}

static struct slice choose_text(struct choices *c)
{
    static const char long_text[] =
        "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
    static const char *const words[] = {
        "a",    "b",     "c",     "1",      "2",       "d",     "5",      "-7",     "",    "0",
        "f1",   "f2",    "g1",    "c1",     "1.25",    "u8",    "i16",    "#1",     "*",   "a*",
        "??",   "1-1",   "10000", "string", long_text, "get",   "set",    "fields", "inf", "h->*",
        "exec", "COUNT", "LIMIT", "FIELDS", "IDS",     "large", "2000-0", "slow",   "k",   "K:10"
    };
    unsigned i = choose(c, countof(words) + 8);
    return i < countof(words) ? slice_str(words[i]) : choose_bytes(c, 80);
}

static bool has(struct slice s, const char *part)
{
    return memmem(s.p, s.n, part, strlen(part)) != NULL;
}

static bool is_any(struct slice s, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (slice_eq(s, slice_str(*names))) {
            return true;
        }
    }
    return false;
}

static struct slice choose_string(struct request *r, struct slice name)
{
    static const char *const ids[] = { "id",  "start", "end",     "min",    "max",
                                       "ids", "lower", "last-id", "lastid", NULL };
    bool stream = strcmp(r->row->group, "stream") == 0;
    if (has(name, "script") || has(name, "function") || has(name, "library") || has(name, "sha1")) {
        return choose_script(r->c);
    }
    if (is_any(name, ids) || (stream && (has(name, "id") || has(name, "threshold")))) {
        return choose_id(r->c);
    }
    if (stream && (has(name, "group") || has(name, "consumer"))) {
        return choose(r->c, 4) != 0 ? S("g1") : S("c1");
    }
    return choose_text(r->c);
}

static void add_value(struct request *r, const struct command_arg *a)
{
    struct slice s;
    if (a->name.n > 3 && memcmp(a->name.p, "num", 3) == 0 && a->type == ARG_INTEGER &&
        !has(a->name, "match") && choose(r->c, 16) != 15) {
        static const char *const counts[] = { "1", "2", "3", "4" };
        unsigned i = choose(r->c, countof(counts));
        r->announced = i + 1;
        s = slice_str(counts[i]);
    } else if (has(a->name, "timeout")) {
        s = choose_timeout(r->c);
    } else {
        switch (a->type) {
        case ARG_KEY: s = choose_key(r); break;
        case ARG_INTEGER: s = slice_eq(a->token, S("BLOCK")) ? S("1") : choose_integer(r->c); break;
        case ARG_DOUBLE: s = choose_double(r->c); break;
        case ARG_UNIX_TIME: s = choose_time(r->c); break;
        default: s = choose_string(r, a->name);
        }
    }
    add_word(r, s);
}

/* ---- Arguments ---- */

static void add_args(struct request *r, const struct command_arg *a);

static void add_one(struct request *r, const struct command_arg *a)
{
    unsigned n = 0;
    const struct command_arg *sub = a->sub;
    switch (a->type) {
    case ARG_PURE_TOKEN: break;
    case ARG_BLOCK: add_args(r, sub); break;
    case ARG_ONEOF:
        for (; sub != NULL; sub = sub->next) {
            n++;
        }
        sub = a->sub;
        for (n = choose(r->c, n); n > 0; n--) {
            sub = sub->next;
        }
        struct command_arg one = *sub;
        one.next = NULL;
        add_args(r, &one);
        break;
    default: add_value(r, a);
    }
}

static void add_args(struct request *r, const struct command_arg *a)
{
    for (; a != NULL; a = a->next) {
        unsigned times = 1;
        if ((a->flags & ARG_OPTIONAL) != 0 && choose(r->c, 3) == 0) {
            continue;
        }
        if ((a->flags & ARG_MULTIPLE) != 0) {
            times = r->announced > 0 ? r->announced : 1 + choose(r->c, 5);
            r->announced = 0;
        }
        for (unsigned i = 0; i < times; i++) {
            if (a->token.n > 0 && (i == 0 || (a->flags & ARG_MULTIPLE_TOKEN) != 0)) {
                add_word(r, a->token);
            }
            add_one(r, a);
        }
    }
}

/* Now and then one word goes, comes twice, or is something else. */
static void add_request(struct buf *to, const struct request *r)
{
    unsigned odd = choose(r->c, 32) == 31 ? choose(r->c, r->words) : 0; /* 0: none */
    unsigned how = odd > 0 ? choose(r->c, 3) : 0;
    buf_printf(to, "*%u\r\n", r->words - (odd > 0 && how == 0) + (odd > 0 && how == 1));
    for (unsigned i = 0; i < r->words; i++) {
        size_t from = i > 0 ? r->end[i - 1] : 0;
        struct slice s = slice_of(r->text.p + from, r->end[i] - from);
        unsigned times = 1;
        if (odd > 0 && odd == i) {
            times = how == 0 ? 0 : how == 1 ? 2 : 1;
            s = how == 2 ? choose_bytes(r->c, 64) : s;
        }
        for (; times > 0; times--) {
            buf_printf(to, "$%zu\r\n", s.n);
            buf_add_slice(to, s);
            buf_add_str(to, "\r\n");
        }
    }
}

void requests_add(struct buf *to, unsigned command, struct slice key, struct choices *c)
{
    const struct target *t = &table.at[command];
    struct request r = { .c = c, .row = t->row, .key = key };
    if (t->parent != NULL) {
        add_word(&r, slice_str(t->parent->name));
    }
    add_word(&r, slice_str(t->row->name));
    add_args(&r, t->args);
    add_request(to, &r);
    buf_free(&r.text);
}
