/* export.c -- What the log says to a real Redis: `kv-wal export | redis-cli --pipe` after random
 * concurrent load gives the same content; one transaction is one record.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "kill9.h"
#include "unit.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHORT_RUNS 2
#define LONG_RUNS  20
#define MIXERS     4
#define MIXED_KEYS 24
#define SOON_MS    500 /* longer than the short times to live below */

/* ---- Random commands of all kinds on common keys; what they answer does not matter ---- */

struct mixer {
    struct load *load;
    pthread_t thread;
    uint64_t state;
};

/* K, J: keys; N: a number; E: an element; P: a time in the far future. */
static const char *const templates[] = {
    "SET K N",
    "SET K E GET",
    "SET K E EX 1000",
    "SET K E PXAT 1",
    "SET K E PX 400",
    "PEXPIRE K 300",
    "SET K E KEEPTTL",
    "SETEX K 5000 E",
    "PSETEX K 7000000 E",
    "SETNX K E",
    "GETSET K E",
    "GETDEL K",
    "GETEX K EX 3000",
    "GETEX K PERSIST",
    "GETEX K PXAT P",
    "INCR K",
    "DECRBY K N",
    "INCRBYFLOAT K 0.1",
    "APPEND K E",
    "SETRANGE K 3 E",
    "SETBIT K 9 1",
    "BITOP OR K J J",
    "BITOP DIFF K J J",
    "BITOP ONE K J J",
    "SET K E IFEQ E",
    "SET K E IFNE E EX 4000",
    "DELEX K IFNE E",
    "DELIFEQ K E",
    "MSETEX 2 K E J N EX 5000",
    "MSETEX 2 K E J N KEEPTTL XX",
    "HSET K E N E E E N",
    "HSETEX K FIELDS 2 E N E N",
    "HSETEX K FNX KEEPTTL FIELDS 1 E N",
    "HGETDEL K FIELDS 2 E E",
    "HGETEX K PXAT 1 FIELDS 1 E",
    "HEXPIRE K 0 FIELDS 1 E",
    "HINCRBYFLOAT K E 0.5",
    "MSET K E J N",
    "MSETNX K E J N",
    "LPUSH K E E",
    "RPUSH K E E E",
    "RPUSHX K E",
    "LPOP K",
    "RPOP K 2",
    "LINSERT K BEFORE E E",
    "LSET K 1 E",
    "LREM K 0 E",
    "LTRIM K 0 20",
    "LMOVE K J RIGHT LEFT",
    "RPOPLPUSH K J",
    "LMPOP 2 K J RIGHT COUNT 2",
    "BLPOP K J 0.01",
    "BLMOVE K J LEFT RIGHT 0.01",
    "EXPIRE K 2000",
    "PEXPIREAT K 1",
    "EXPIREAT K 4000000000",
    "PEXPIREAT K P NX",
    "EXPIRE K -1",
    "PERSIST K",
    "DEL K J",
    "UNLINK K",
    "RENAME K J",
    "RENAMENX K J",
    "COPY K J REPLACE",
    "COPY K J DB 3",
    "MOVE K 2",
    "SORT K STORE J ALPHA",
    "SWAPDB 3 4",
    "SELECT 3",
    "SELECT 4",
    "SELECT 2",
    "MULTI",
    "EXEC",
};

static void fill_in(struct mixer *m, const char *template, char *out)
{
    for (const char *at = template; *at != '\0'; at++) {
        bool word = (at == template || at[-1] == ' ') && (at[1] == ' ' || at[1] == '\0');
        unsigned r = (unsigned)random_below(&m->state, 1000);
        switch (word ? *at : ' ') {
        case 'K':
        case 'J': out += sprintf(out, "mixed:%u", r % MIXED_KEYS); break;
        case 'N': out += sprintf(out, "%u", r); break;
        case 'E': out += sprintf(out, "e%u", r % 10); break;
        case 'P': out += sprintf(out, "%lld", (long long)FAR_MS + r); break;
        default: *out++ = *at;
        }
    }
    *out = '\0';
}

static void *mixer_main(void *arg)
{
    struct mixer *m = arg;
    const struct resp *r = NULL;
    struct client *c = client_try_connect(m->load->kv->port);
    must(c != NULL);
    client_expect(c, "+OK", "SELECT 2"); /* not where the writers are */
    while (!m->load->stop) {
        char line[256];
        fill_in(m, templates[random_below(&m->state, countof(templates))], line);
        if (!client_try_send(c, "%s", line) || client_try_read(c, &r) != RESP_OK) {
            violation(m->load, "%s: %s", line, client_problem(c));
            break;
        }
    }
    client_close(c);
    return NULL;
}

/* All kinds of clients for a while. Times to live are over at once or soon, while later commands
 * still change them, or last; those that are compared (lasting) do. */
static void load_for(const struct server *kv, unsigned ms, uint64_t seed)
{
    struct load *l = load_new(kv, seed);
    struct mixer m[MIXERS];
    l->lasting = true;
    l->flushes = true;
    load_start(l);
    for (unsigned i = 0; i < MIXERS; i++) {
        m[i].load = l;
        m[i].state = seed + 100 + i;
        must(pthread_create(&m[i].thread, NULL, mixer_main, &m[i]) == 0);
    }
    usleep(ms * 1000);
    l->stop = true;
    for (unsigned i = 0; i < MIXERS; i++) {
        pthread_join(m[i].thread, NULL);
    }
    load_join(l, true);
    ck_assert_uint_eq(l->violations, 0);
    load_free(l);
}

/* ---- Export ---- */

/* Output of kv-wal with these arguments, to be closed with pclose(); `then` goes behind it. */
static FILE *kv_wal(const struct server *kv, const char *what, const char *then)
{
    char self[PATH_MAX], line[PATH_MAX + 600];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(line, sizeof line, "'%s/kv-wal' %s '%s' %s", self, what, kv->dir, then);
    FILE *f = popen(line, "r");
    must(f != NULL);
    return f;
}

static void export_to(const struct server *kv, const struct server *redis)
{
    char then[128], text[1024] = "";
    snprintf(then, sizeof then, "| redis-cli -p %u --pipe 2>&1", redis->port);
    FILE *f = kv_wal(kv, "export", then);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    int status = pclose(f);
    ck_assert_msg(status == 0 && strstr(text, "errors: 0") != NULL, "%#x: %s", (unsigned)status,
                  text);
}

static long long content(struct client *c, struct dump *d)
{
    long long keys = 0;
    dump_read(d, c);
    for (unsigned db = 0; db < 16; db++) {
        client_expect(c, "+OK", "SELECT %u", db);
        keys += client_ask(c, "DBSIZE")->integer;
    }
    return keys;
}

/* What is over has been removed, too: a digest shows whatever there is. */
static void settled(struct client *c, struct dump *d)
{
    usleep(SOON_MS * 1000);
    for (unsigned tries = 0; content(c, d) != (long long)d->n; tries++) {
        ck_assert_uint_lt(tries, 600);
        dump_free(d);
        usleep(100 * 1000);
    }
}

static void digest(struct client *c, char *out, size_t size)
{
    const struct resp *r = client_ask(c, "DEBUG DIGEST");
    ck_assert_int_eq(r->type, RESP_SIMPLE);
    snprintf(out, size, "%s", r->text);
}

/* Keys that were compared. */
static size_t same_content(unsigned number)
{
    struct server kv, redis;
    struct dump ours, theirs;
    char our_digest[64], their_digest[64], why[1024];
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    load_for(&kv, unit_torture() ? 5000 : 1000, unit_seed() + number);
    struct client *c = server_connect(&kv);
    settled(c, &ours);
    digest(c, our_digest, sizeof our_digest);
    client_close(c);
    server_stop(&kv);

    server_init(&redis, SERVER_REDIS);
    server_start(&redis);
    export_to(&kv, &redis);
    c = server_connect(&redis);
    dump_read(&theirs, c);
    digest(c, their_digest, sizeof their_digest);
    client_close(c);
    server_stop(&redis);

    ck_assert_msg(dump_equal(&ours, &theirs, why, sizeof why), "SEED=%llu: %s",
                  (unsigned long long)unit_seed(), why);
    ck_assert_uint_gt(ours.n, 100);
    ck_assert_str_eq(our_digest, their_digest);
    size_t keys = ours.n;
    printf("run %u: %zu keys, digest %s\n", number, keys, their_digest);
    dump_free(&ours);
    dump_free(&theirs);
    return keys;
}

START_TEST(test_same_content)
{
    unsigned runs = unit_torture() ? LONG_RUNS : SHORT_RUNS;
    size_t keys = 0;
    for (unsigned i = 0; i < runs; i++) {
        keys += same_content(i);
    }
    printf("export: %u runs, %zu keys, the same digest as redis-server each time\n", runs, keys);
}
END_TEST

/* ---- Records ---- */

/* The commands of each record, as kv-wal dump prints them. */
static void expect_records(const struct server *kv, const char *const *want, unsigned n)
{
    char *line = NULL;
    size_t size = 0;
    unsigned got = 0;
    FILE *f = kv_wal(kv, "dump", "");
    while (getline(&line, &size, f) > 0) {
        char *commands = strchr(line, '"');
        if (commands == NULL) {
            continue; /* a batch without records */
        }
        commands[strcspn(commands, "\n")] = '\0';
        ck_assert_msg(got < n, "one record too many: %s", commands);
        ck_assert_str_eq(commands, want[got]);
        got++;
    }
    free(line);
    ck_assert_int_eq(pclose(f), 0);
    ck_assert_uint_eq(got, n);
}

START_TEST(test_one_record)
{
    static const char *const want[] = {
        "\"SET\" \"a\" \"1\"",
        "\"MULTI\" ; \"SET\" \"a\" \"2\" ; \"RPUSH\" \"l\" \"x\" ; \"EXEC\"",
        "\"SELECT\" \"3\" ; \"SET\" \"b\" \"1\" ; \"SELECT\" \"0\"",
        "\"MULTI\" ; \"SELECT\" \"3\" ; \"INCR\" \"b\" ; \"SELECT\" \"0\" ; \"SET\" \"a\" \"3\" ; "
        "\"EXEC\"",
        "\"MULTI\" ; \"SET\" \"e\" \"1\" \"PXAT\" \"1\" ; \"DEL\" \"e\" ; \"RPUSH\" \"e\" \"y\" ; "
        "\"EXEC\"",
    };
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "SET a 1");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "SET a 2");
    client_expect(c, "+QUEUED", "RPUSH l x");
    client_expect(c, "+QUEUED", "GET a");
    client_expect(c, "[+OK, 1, \"2\"]", "EXEC");
    client_expect(c, "+OK", "SELECT 3");
    client_expect(c, "+OK", "SET b 1");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "INCR b");
    client_expect(c, "+QUEUED", "SELECT 0");
    client_expect(c, "+QUEUED", "SET a 3");
    client_expect(c, "[2, +OK, +OK]", "EXEC");
    client_expect(c, "+OK", "MULTI");
    client_expect(c, "+QUEUED", "SET e 1 PXAT 1");
    client_expect(c, "+QUEUED", "RPUSH e y");
    client_expect(c, "[+OK, 1]", "EXEC");
    client_close(c);
    server_stop(&kv);
    expect_records(&kv, want, countof(want));
}
END_TEST

/* Each word in quotes, but for semicolons. */
static char *quoted(const char *words)
{
    char *text = malloc(3 * strlen(words) + 3), *out = text;
    must(text != NULL);
    for (const char *at = words; *at != '\0'; at += *at == ' ') {
        int n = (int)strcspn(at, " ");
        const char *quote = *at == ';' ? "" : "\"";
        out += sprintf(out, "%s%s%.*s%s", at == words ? "" : " ", quote, n, at, quote);
        at += n;
    }
    return text;
}

/* What later versions brought is told in words that Redis 7.0 knows; dues of fields in those of
 * 7.4. Two things have no such words: HSETEX KEEPTTL of very many dues under a long key, and times
 * of a stream's consumers that RESTORE brought (type 21). */
static const struct {
    const char *request, *record; /* without its quotes; NULL: none */
} later[] = {
    { "SET s 1", "SET s 1" },
    { "SET s 2 IFEQ 2", NULL },
    { "SET s 2 IFEQ 1", "SET s 2" },
    { "SET s 3 IFNE 1 PXAT 4102444800000", "SET s 3 PXAT 4102444800000" },
    { "DELEX s IFEQ 4", NULL },
    { "DELEX s IFEQ 3", "DEL s" },
    { "MSETEX 2 a 1 b 2", "MULTI ; SET a 1 ; SET b 2 ; EXEC" },
    { "MSETEX 1 a 1 NX", NULL },
    { "MSETEX 1 a 2 PXAT 4102444800000 XX", "SET a 2 PXAT 4102444800000" },
    { "MSETEX 1 a 3 KEEPTTL", "SET a 3 PXAT 4102444800000" },
    { "DELIFEQ a 3", "DEL a" },
    { "DELEX b", "DEL b" },
    { "SET x ab", "SET x ab" },
    { "SET y aa", "SET y aa" },
    { "BITOP OR z x y", "BITOP OR z x y" },
    { "BITOP ONE z x y", "SET z \\x00\\x03" },
    { "BITOP DIFF1 z nope none", "DEL z" },
    { "BITOP DIFF1 z nope none", NULL },
    { "HSETEX h FIELDS 1 a 1", "HSET h a 1" },
    { "HSETEX h PXAT 4102444800000 FIELDS 2 b 2 c 3",
      "MULTI ; HSET h b 2 c 3 ; HPEXPIREAT h 4102444800000 FIELDS 2 b c ; "
      "EXEC" },
    { "HSETEX h FXX KEEPTTL FIELDS 2 a 2 b 3",
      "MULTI ; HSET h a 2 b 3 ; HPEXPIREAT h 4102444800000 FIELDS 1 b ; EXEC" },
    { "HSETEX h FNX FIELDS 1 a 1", NULL },
    { "HSETEX h FIELDS 1 b 4", "HSET h b 4" },
    { "HGETEX h FIELDS 1 b", NULL },
    { "HGETEX h PXAT 4102444800000 FIELDS 2 b nope", "HPEXPIREAT h 4102444800000 FIELDS 1 b" },
    { "HGETEX h PERSIST FIELDS 2 a b", "HPERSIST h FIELDS 1 b" },
    { "HGETDEL h FIELDS 3 a nope b", "HDEL h a nope b" },
    { "HEXPIREAT h 4102444800 NX FIELDS 1 c", NULL },
    { "HINCRBYFLOAT h c 0.5",
      "MULTI ; HSET h c 3.5 ; HPEXPIREAT h 4102444800000 FIELDS 1 c ; EXEC" },
    { "HSETEX h PXAT 1 FIELDS 2 c 1 d 1", "HDEL h c" },
    /* a set as 7.2 has it, a listpack in version 11 */
    { "RESTORE r 0 \"\\x14\\x0c\\x0c\\x00\\x00\\x00\\x02\\x00\\x81\\x61\\x02\\x05\\x01\\xff"
      "\\x0b\\x00\\x98\\x34\\x7b\\x5d\\x79\\x8d\\xab\\x9c\"",
      "RESTORE r 0 \\x02\\x02\\x01a\\xc0\\x05\\n\\x00\\x8bo\\xc6\\xd2\\xce\\xcf\\x9c\\xdf "
      "REPLACE ABSTTL" },
    /* a stream as 7.2 has it, whose consumer was active when it was last seen */
    { "RESTORE st 0 "
      "\"\\x15\\x00\\x00\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x01\\x01\\x67\\x01\\x01\\x00"
      "\\x00\\x01\\x01\\x63\\x06\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x06\\x02\\x00\\x00\\x00\\x"
      "00\\x00"
      "\\x00\\x00\\x0b\\x00\\x8a\\x12\\xa7\\x68\\x20\\x69\\x4e\\xe8\"",
      "RESTORE st 0 "
      "\\x13\\x00\\x00\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x01\\x01g\\x01\\x01\\x00"
      "\\x00\\x01\\x01c\\x06\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\n\\x00u\\xc8\\xaf="
      "\\xeeXHB "
      "REPLACE ABSTTL" },
};

START_TEST(test_later_records)
{
    struct server kv;
    char *want[countof(later)];
    unsigned n = 0;
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < countof(later); i++) {
        const struct resp *r = client_ask(c, "%s", later[i].request);
        ck_assert_msg(r->type != RESP_ERROR, "%s: %s", later[i].request, r->text);
        if (later[i].record != NULL) {
            want[n++] = quoted(later[i].record);
        }
    }
    client_close(c);
    server_stop(&kv);
    expect_records(&kv, (const char *const *)want, n);
    while (n > 0) {
        free(want[--n]);
    }
}
END_TEST

UNIT_SUITE(export)
{
    unit_case_slow(suite, "to redis-server", unit_torture() ? 1800 : 240, test_same_content);
    unit_case(suite, "records", test_one_record, test_later_records);
}
