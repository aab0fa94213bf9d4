/* fuzz_restore.c -- Whatever bytes come as a value of RDB: refused, or a sound value.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An input is a type byte and a value, as DUMP has them before the footer. What rig_value() accepts
 * a whole server restores, with a footer that is right; every reading command of its type looks at
 * it, as do a few that change it, and then each command of the table that takes a key, with
 * arguments that follow from the input. The server must answer all of them, and everything in it
 * be sound after that. */
#include "requests.h"
#include "rig.h"
#include "base/hash.h"
#include "server/server_int.h"
#include "store/rdb.h"

#define INPUT_MAX 65536
#define AGAIN     8 /* requests of the table until the value is restored again */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

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

static void add_lines(struct buf *b, const char *const *line)
{
    for (; *line != NULL; line++) {
        buf_printf(b, "%s\r\n", *line);
    }
}

static void add_restore(struct buf *b, struct slice payload)
{
    buf_printf(b, "*5\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n$%zu\r\n", payload.n);
    buf_add_slice(b, payload);
    buf_add_str(b, "\r\n$7\r\nREPLACE\r\n");
}

/* Every command that takes a key, in any order. */
static void add_table(struct buf *b, struct slice payload, struct slice input)
{
    uint8_t bytes[256];
    unsigned n = requests_commands();
    uint64_t random = crc64(0, input.p, input.n);
    unsigned from = (unsigned)(random % n);
    for (unsigned i = 0; i < n; i++) {
        unsigned command = (from + i) % n;
        struct choices c = { bytes, sizeof bytes, 0 };
        if (!requests_has_keys(command)) {
            continue;
        }
        for (unsigned at = 0; at < sizeof bytes; at++) {
            random = random * 6364136223846793005 + 1442695040888963407; /* Knuth, MMIX */
            bytes[at] = (uint8_t)(random >> 56);
        }
        if (i % AGAIN == 0) {
            add_restore(b, payload);
        }
        buf_add_str(b, requests_blocks(command) ? "MULTI\r\n" : "");
        requests_add(b, command, S("k"), &c);
        buf_add_str(b, requests_blocks(command) ? "EXEC\r\n" : "");
    }
}

static void restored(struct slice input)
{
    struct rdb_writer payload = { .error = 0 };
    struct buf b = { 0 };
    buf_add_slice(&payload.b, input);
    rdb_write_footer(&payload, RDB_VERSION_READ);
    buf_add_str(&b, "FLUSHALL\r\n");
    add_restore(&b, buf_slice(&payload.b));
    add_lines(&b, all_types);
    for (unsigned t = 0; t < countof(readers); t++) {
        add_lines(&b, readers[t]); /* those of other types answer WRONGTYPE */
    }
    add_lines(&b, all_types);
    add_table(&b, buf_slice(&payload.b), input);
    rig_converse(buf_slice(&b), NULL);
    rig_check();
    buf_free(&b);
    buf_free(&payload.b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice input = slice_of(data, n);
    if (n == 0 || n > INPUT_MAX) {
        return -1;
    }
    requests_prepare(rig_server("restore", "enable-debug-command yes\nproto-max-bulk-len 1mb\n"
                                           "hash-max-listpack-entries 16\n"
                                           "zset-max-listpack-entries 16\n")
                         ->x);
    if (rig_value(input)) {
        restored(input);
    }
    return 0;
}
