/* fuzz_restore.c -- Whatever bytes come as a value of RDB: refused, or a sound value.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An input is a type byte and a value, as DUMP has them before the footer. It is read whole and in
 * pieces, which must come to the same. What is accepted must keep the invariants of its container
 * and, written and read again, be the same value. Then a whole server (no log, a unix socket)
 * restores it, with a footer that is right, and every reading command of its type looks at it, as
 * do a few that change it. The server must answer each of them. */
#include "server/server_int.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ds/quicklist.h"
#include "store/rdb.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INPUT_MAX 65536

static const struct rdb_limits limits = {
    .list_fill = -2, .set = { 16, 16, 64 }, .hash = { 16, 64 }, .zset = { 16, 64 }
};

static struct {
    struct keyspace *ks;
    char path[80];
    int fd; /* to the server; 0: not started yet */
} fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The keyspace packs a tag into its pointers, where the leak checker does not see them. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* ---- The value alone ---- */

static const char *problem_of(const struct entry *e)
{
    struct set s;
    struct fields f;
    struct zset z;
    switch (entry_type(e)) {
    case OBJ_LIST: return quicklist_check(entry_ptr(e));
    case OBJ_SET: entry_get_set(e, &s); return set_check(&s);
    case OBJ_HASH: entry_get_fields(e, FIELDS_ALL, &f); return fields_check(&f);
    case OBJ_ZSET: entry_get_zset(e, &z); return zset_check(z);
    case OBJ_STREAM: return stream_check(entry_ptr(e));
    default: return NULL;
    }
}

/* Reads it and makes it the value of `name`. NULL: refused. */
static struct entry *read_as(struct slice name, struct rdb_reader *r)
{
    struct rdb_value v;
    unsigned type;
    struct key k = keyspace_key(fuzz.ks, name);
    struct shard *s = keyspace_shard(fuzz.ks, 0);
    if (!rdb_read_byte(r, &type) || !rdb_read_value(r, type, &limits, &v)) {
        return NULL;
    }
    struct entry *e;
    if (v.type == OBJ_STRING) {
        e = shard_set_string(s, 0, &k, v.text.s, STRING_AUTO, false);
        must(e != NULL);
    } else {
        e = shard_add_object(s, 0, &k, v.type, v.enc, v.container);
        v.container = NULL;
    }
    rdb_value_free(&v);
    return e;
}

struct crumbs {
    struct slice left;
};

/* A few bytes at a time. */
static size_t crumb(void *arg, char *to, size_t room)
{
    struct crumbs *c = arg;
    size_t n = size_min(size_min(room, c->left.n), 7);
    memcpy(to, c->left.p, n);
    c->left = slice_of(c->left.p + n, c->left.n - n);
    return n;
}

/* A score of -0 becomes 0 while a sorted set is small, so the order of members tells which it is.
 */
static bool same_zset(const struct entry *a, const struct entry *b)
{
    struct zset za, zb;
    struct zset_iter ia, ib;
    struct zset_item x, y;
    entry_get_zset(a, &za);
    entry_get_zset(b, &zb);
    zset_iter(&ia, za, 0, true);
    zset_iter(&ib, zb, 0, true);
    while (zset_next(&ia, &x)) {
        if (!zset_next(&ib, &y) || !slice_eq(x.member, y.member) || x.score != y.score) {
            return false;
        }
    }
    return !zset_next(&ib, &y);
}

/* The others are written alike if they are equal: a hash is in the order of its hashes, a stream as
 * it was appended. */
static bool same_bytes(const struct entry *a, const struct entry *b)
{
    struct rdb_writer one = { .error = 0 }, other = { .error = 0 };
    rdb_write_value(&one, a);
    rdb_write_value(&other, b);
    bool same = slice_eq(buf_slice(&one.b), buf_slice(&other.b));
    buf_free(&one.b);
    buf_free(&other.b);
    return same;
}

static void must_be_same(const struct entry *a, const struct entry *b)
{
    must(entry_type(a) == entry_type(b));
    must(entry_type(a) == OBJ_ZSET ? same_zset(a, b) : same_bytes(a, b));
}

/* True: all of it is a value. */
static bool value_alone(struct slice input)
{
    struct rdb_reader r = rdb_reader_of(input);
    struct crumbs crumbs = { input };
    struct rdb_reader slow = { .more = crumb, .arg = &crumbs };
    struct shard *s = keyspace_shard(fuzz.ks, 0);
    shard_lock(s);
    struct entry *e = read_as(S("a"), &r), *again = read_as(S("b"), &slow);
    must((e == NULL) == (again == NULL));
    bool whole = e != NULL && rdb_at_end(&r);
    if (e != NULL) {
        const char *problem = problem_of(e);
        if (problem != NULL) {
            fprintf(stderr, "%s\n", problem);
            abort();
        }
        must_be_same(e, again);
        shard_delete(s, 0, again);
        struct rdb_writer w = { .compress = true };
        rdb_write_byte(&w, rdb_type(e));
        rdb_write_value(&w, e);
        struct rdb_reader second = rdb_reader_of(buf_slice(&w.b));
        again = read_as(S("b"), &second);
        must(again != NULL && rdb_at_end(&second));
        must_be_same(e, again);
        shard_delete(s, 0, again);
        shard_delete(s, 0, e);
        buf_free(&w.b);
    }
    shard_unlock(s);
    rdb_reader_free(&slow);
    return whole;
}

/* ---- A server ---- */

static void *serve(void *arg)
{
    exit(server_run(arg, false));
}

static void forget_socket(void)
{
    unlink(fuzz.path);
}

static void start(void)
{
    static const uint8_t key[16] = "the same key";
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct keyspace_config cfg = { .shards = 1, .databases = 1 };
    struct buf text = { 0 }, error = { 0 };
    pthread_t thread;
    clock_init();
    hash_seed(key);
    must(keyspace_new(&fuzz.ks, &cfg) == 0);
    snprintf(fuzz.path, sizeof fuzz.path, "/tmp/kv-fuzz-restore.%ld", (long)getpid());
    snprintf(to.sun_path, sizeof to.sun_path, "%s", fuzz.path);
    atexit(forget_socket);
    buf_printf(&text,
               "threads 1\nport 0\nshards 16\nappendonly no\nlogfile /dev/null\n"
               "enable-debug-command yes\nhash-max-listpack-entries 16\n"
               "zset-max-listpack-entries 16\ncrash-log-enabled no\nunixsocket %s\n",
               fuzz.path);
    struct server *s = server_new();
    must(config_load_text(s->config, buf_slice(&text), "fuzz", &error));
    must(pthread_create(&thread, NULL, serve, s) == 0);
    buf_free(&text);
    fuzz.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (unsigned i = 0; connect(fuzz.fd, (struct sockaddr *)&to, sizeof to) != 0; i++) {
        must(i < 10000);
        usleep(1000);
    }
}

/* Commands by type, each a line; k is the key. */
static const char *const readers[][40] = {
    [OBJ_STRING] = { "GET k", "STRLEN k", "GETRANGE k 0 -1", "GETRANGE k -3 9", "BITCOUNT k",
                     "GETBIT k 7", "BITPOS k 1", "PFCOUNT k", "LCS k k LEN", "APPEND k x",
                     "SETRANGE k 3 y", "INCR k" },
    [OBJ_LIST] = { "LLEN k", "LRANGE k 0 -1", "LRANGE k -5 -2", "LINDEX k 0", "LINDEX k -1",
                   "LPOS k a", "LPOS k 1 RANK -1", "SORT k ALPHA", "LINSERT k BEFORE a b",
                   "LREM k 0 1", "LSET k 0 longer-than-it-was", "LTRIM k 1 -2", "RPOP k",
                   "LPUSH k 1" },
    [OBJ_SET] = { "SCARD k", "SMEMBERS k", "SISMEMBER k 1", "SMISMEMBER k a 5", "SRANDMEMBER k -5",
                  "SRANDMEMBER k 3", "SSCAN k 0", "SINTER k k", "SUNION k k", "SDIFF k nokey",
                  "SORT k ALPHA", "SADD k 1 a 99999999999", "SREM k 1", "SPOP k" },
    [OBJ_ZSET] = { "ZCARD k", "ZRANGE k 0 -1 WITHSCORES", "ZRANGE k 0 -1 REV", "ZSCORE k a",
                   "ZRANK k a", "ZCOUNT k -inf inf", "ZRANGEBYSCORE k 1 (5", "ZLEXCOUNT k - +",
                   "ZRANGEBYLEX k - +", "ZREVRANGEBYSCORE k +inf -inf LIMIT 1 3",
                   "ZRANDMEMBER k -3", "ZSCAN k 0", "ZUNION 1 k WITHSCORES", "ZINCRBY k 1 a",
                   "ZADD k 1 a 2 b", "ZREM k a", "ZPOPMIN k", "ZREMRANGEBYRANK k 0 1" },
    [OBJ_HASH] = { "HLEN k", "HGETALL k", "HKEYS k", "HVALS k", "HGET k a", "HMGET k a 5",
                   "HSTRLEN k a", "HRANDFIELD k -5 WITHVALUES", "HRANDFIELD k 3", "HSCAN k 0",
                   "HEXISTS k a", "HSET k a 1 new 2", "HINCRBY k a 1", "HDEL k a" },
    [OBJ_STREAM] = { "XLEN k", "XRANGE k - +", "XREVRANGE k + - COUNT 3",
                     "XREAD COUNT 2 STREAMS k 0", "XINFO STREAM k FULL", "XINFO STREAM k",
                     "XINFO GROUPS k", "XADD k * a b", "XTRIM k MAXLEN 2", "XDEL k 1-1" },
};
static const char *const all_types[] = { "TYPE k",
                                         "OBJECT ENCODING k",
                                         "DEBUG DIGEST-VALUE k",
                                         "DEBUG OBJECT k",
                                         "MEMORY USAGE k SAMPLES 0",
                                         "DUMP k",
                                         "COPY k k2 REPLACE",
                                         NULL };

static void send_all(struct buf *b)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t n = send(fuzz.fd, b->p + at, b->n - at, MSG_NOSIGNAL);
        must(n > 0 || errno == EINTR); /* libFuzzer has a timer */
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Everything up to the answer to a PING that says `mark`. */
static void wait_for(unsigned mark)
{
    char want[40], piece[65536 + sizeof want];
    size_t n = (size_t)snprintf(want, sizeof want, "\r\n$8\r\nM%07u\r\n", mark), kept = 0;
    for (;;) {
        ssize_t got = recv(fuzz.fd, piece + kept, sizeof piece - kept, 0);
        must(got > 0 || (got < 0 && errno == EINTR));
        kept += got > 0 ? (size_t)got : 0;
        if (kept >= n && memcmp(piece + kept - n, want, n) == 0) {
            return;
        }
        size_t tail = size_min(kept, n);
        memmove(piece, piece + kept - tail, tail);
        kept = tail;
    }
}

static void add_lines(struct buf *b, const char *const *line)
{
    for (; *line != NULL; line++) {
        buf_printf(b, "%s\r\n", *line);
    }
}

static void restored(struct slice input)
{
    static unsigned mark;
    struct rdb_writer payload = { .error = 0 };
    struct buf b = { 0 };
    buf_add_slice(&payload.b, input);
    rdb_write_footer(&payload, RDB_VERSION_READ);
    buf_printf(&b, "FLUSHALL\r\n*5\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n$%zu\r\n",
               payload.b.n);
    buf_add_slice(&b, buf_slice(&payload.b));
    buf_add_str(&b, "\r\n$7\r\nREPLACE\r\n");
    add_lines(&b, all_types);
    for (unsigned t = 0; t < countof(readers); t++) {
        add_lines(&b, readers[t]); /* those of other types answer WRONGTYPE */
    }
    add_lines(&b, all_types);
    mark = (mark + 1) % 10000000;
    buf_printf(&b, "PING M%07u\r\n", mark);
    send_all(&b);
    wait_for(mark);
    buf_free(&b);
    buf_free(&payload.b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice input = slice_of(data, n);
    if (n == 0 || n > INPUT_MAX) {
        return -1;
    }
    if (fuzz.fd == 0) {
        start();
    }
    if (value_alone(input)) {
        restored(input);
    }
    return 0;
}
