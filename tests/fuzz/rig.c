/* rig.c -- A whole server in the fuzzer's process.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "rig.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ds/quicklist.h"
#include "server/server_int.h"
#include "store/rdb.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE 600 /* waits of 100 ms */

static struct {
    struct server *server;
    struct sockaddr_un address;
    struct keyspace *spare; /* where values are read again */
} rig;

/* The keyspace packs a tag into its pointers, where the leak checker does not see them. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* ---- The server ---- */

static void *serve(void *arg)
{
    exit(server_run(arg, false));
}

static void forget_socket(void)
{
    unlink(rig.address.sun_path);
}

static int connected(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(fd >= 0);
    for (unsigned i = 0; connect(fd, (struct sockaddr *)&rig.address, sizeof rig.address) != 0;
         i++) {
        must(i < 60000);
        usleep(1000);
    }
    return fd;
}

struct server *rig_server(const char *name, const char *config)
{
    static const uint8_t key[16] = "the same key";
    struct keyspace_config one = { .shards = 1, .databases = 1 };
    struct buf text = { 0 }, error = { 0 };
    pthread_t thread;
    if (rig.server != NULL) {
        return rig.server;
    }
    clock_init();
    hash_seed(key);
    must(keyspace_new(&rig.spare, &one) == 0);
    rig.address.sun_family = AF_UNIX;
    snprintf(rig.address.sun_path, sizeof rig.address.sun_path, "/tmp/kv-fuzz-%s.%ld", name,
             (long)getpid());
    atexit(forget_socket);
    buf_printf(&text,
               "threads 1\nport 0\nshards 4\ndatabases 3\nappendonly no\nloglevel nothing\n"
               "logfile /dev/null\ncrash-log-enabled no\nunixsocket %s\n%s",
               rig.address.sun_path, config);
    rig.server = server_new();
    if (!config_load_text(rig.server->config, buf_slice(&text), "fuzz", &error)) {
        fprintf(stderr, "%.*s\n", (int)error.n, error.p);
        abort();
    }
    buf_free(&text);
    must(pthread_create(&thread, NULL, serve, rig.server) == 0);
    rig_converse(S("PING\r\n"), NULL);
    return rig.server;
}

/* ---- A conversation ---- */

static void wait_until(int fd, short events)
{
    struct pollfd p = { .fd = fd, .events = events };
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (poll(&p, 1, 100) > 0) {
            return;
        }
    }
    fprintf(stderr, "no answer in %d s\n", PATIENCE / 10);
    abort();
}

/* False: there will not be more. */
static bool take(int fd, struct buf *replies)
{
    char piece[65536];
    for (;;) {
        ssize_t got = recv(fd, piece, sizeof piece, 0);
        if (got <= 0) {
            return got < 0 && (errno == EAGAIN || errno == EINTR);
        }
        if (replies != NULL) {
            buf_add(replies, piece, (size_t)got);
        }
    }
}

void rig_converse(struct slice requests, struct buf *replies)
{
    int fd = connected();
    bool open = true;
    while (open && requests.n > 0) {
        ssize_t sent = send(fd, requests.p, requests.n, MSG_NOSIGNAL);
        if (sent > 0) {
            requests = slice_of(requests.p + sent, requests.n - (size_t)sent);
        } else if (errno == EAGAIN) {
            wait_until(fd, POLLIN | POLLOUT);
        } else if (errno != EINTR) {
            break; /* QUIT, CLIENT KILL, a protocol error */
        }
        open = take(fd, replies);
    }
    shutdown(fd, SHUT_WR);
    while (open) {
        wait_until(fd, POLLIN);
        open = take(fd, replies);
    }
    close(fd);
}

/* ---- Values ---- */

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

/* Fields with the same due are in no order. */
static bool same_fields(const struct entry *a, const struct entry *b)
{
    struct fields fa, fb;
    struct fields_iter it;
    struct fields_item item;
    struct slice value;
    char digits[I64_TEXT_MAX];
    int64_t due;
    entry_get_fields(a, FIELDS_ALL, &fa);
    entry_get_fields(b, FIELDS_ALL, &fb);
    fields_iter(&it, &fa, 0);
    while (fields_next(&it, &item)) {
        if (!fields_get(&fb, item.field, digits, &value) || !slice_eq(item.value, value) ||
            !fields_get_due(&fb, item.field, &due) || due != item.due) {
            return false;
        }
    }
    return fields_count(&fa) == fields_count(&fb);
}

/* The others are written alike if they are equal: a stream is as it was appended. */
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

static const struct rdb_limits limits = {
    .list_fill = -2, .set = { 16, 16, 64 }, .hash = { 16, 64 }, .zset = { 16, 64 }
};

/* Reads it and makes it the value of `name`. NULL: refused. */
static struct entry *read_as(struct slice name, struct rdb_reader *r)
{
    struct rdb_value v;
    unsigned type;
    struct key k = keyspace_key(rig.spare, name);
    struct shard *s = keyspace_shard(rig.spare, 0);
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

static void must_be_sound(const struct entry *e)
{
    const char *problem = entry_problem(e);
    if (problem != NULL) {
        fprintf(stderr, "%s\n", problem);
        abort();
    }
}

static void must_be_same(const struct entry *a, const struct entry *b)
{
    must(entry_type(a) == entry_type(b));
    must(entry_type(a) == OBJ_ZSET   ? same_zset(a, b)
         : entry_type(a) == OBJ_HASH ? same_fields(a, b)
                                     : same_bytes(a, b));
}

/* A few bytes at a time. */
static size_t crumb(void *arg, char *to, size_t room)
{
    struct slice *left = arg;
    size_t n = size_min(size_min(room, left->n), 7);
    memcpy(to, left->p, n);
    *left = slice_of(left->p + n, left->n - n);
    return n;
}

bool rig_value(struct slice bytes)
{
    struct slice crumbs = bytes;
    struct rdb_reader r = rdb_reader_of(bytes);
    struct rdb_reader slow = { .more = crumb, .arg = &crumbs };
    struct shard *s = keyspace_shard(rig.spare, 0);
    shard_lock(s);
    struct entry *e = read_as(S("a"), &r), *again = read_as(S("b"), &slow);
    must((e == NULL) == (again == NULL));
    bool whole = e != NULL && rdb_at_end(&r);
    if (e != NULL) {
        struct rdb_writer w = { .compress = true };
        must_be_sound(e);
        must_be_same(e, again);
        shard_delete(s, 0, again);
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

/* ---- All values of the server ---- */

struct written {
    struct buf bytes;
    struct buf ends; /* of each value, size_t */
};

static bool write_one(void *arg, struct entry *e)
{
    struct written *to = arg;
    struct rdb_writer w = { .b = to->bytes };
    must_be_sound(e);
    rdb_write_byte(&w, rdb_type(e));
    rdb_write_value(&w, e);
    must(w.error == 0);
    to->bytes = w.b;
    buf_add(&to->ends, &w.b.n, sizeof w.b.n);
    return true;
}

void rig_check(void)
{
    struct keyspace *ks = rig.server->ks;
    struct written all = { { 0 }, { 0 } };
    for (unsigned i = 0; i < keyspace_shards(ks); i++) {
        struct shard *s = keyspace_shard(ks, i);
        shard_lock(s);
        shard_check(s);
        for (unsigned db = 0; db < keyspace_databases(ks); db++) {
            shard_each(s, db, write_one, &all);
        }
        shard_unlock(s);
    }
    for (size_t i = 0, from = 0, end; i < all.ends.n; i += sizeof end, from = end) {
        memcpy(&end, all.ends.p + i, sizeof end);
        must(rig_value(slice_of(all.bytes.p + from, end - from)));
    }
    buf_free(&all.bytes);
    buf_free(&all.ends);
}
