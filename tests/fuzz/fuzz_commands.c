/* fuzz_commands.c -- Any sequence of commands of the whole table, with arguments that mostly fit.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * An input chooses: RESP2 or RESP3, then one command after the other (requests.h); MULTI, WATCH,
 * SUBSCRIBE, EVAL and FCALL are among them. The server starts each input with a value of every
 * type. It must answer, and everything it holds be sound after that. Numbers of commands follow the
 * table: inputs that were kept mean something else when it grows. */
#include "requests.h"
#include "rig.h"
#include "server/server_int.h"

#define REQUESTS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char before[] =
    "FLUSHALL\r\nFUNCTION FLUSH\r\nSCRIPT FLUSH\r\nACL LOG RESET\r\n"
    "SET s value\r\nSET s2 10\r\nSETBIT b 77 1\r\nPFADD p a b c\r\n"
    "RPUSH l a b c 1 2 3\r\nRPUSH l2 x\r\nSADD t a b c\r\nSADD t2 1 2 3\r\n"
    "HSET h f1 a f2 2 a b\r\nHSET h2 f1 1\r\nHPEXPIRE h 100000000 FIELDS 1 f2\r\n"
    "ZADD z 1 a 2 b 3 c\r\nZADD z2 1 a 1.5 x\r\nGEOADD g 13.36 38.11 a 15.08 37.5 b\r\n"
    "XADD x 1-1 f v\r\nXADD x 2-1 f v g w\r\nXADD x 3-3 h i\r\nXADD x2 1-1 a b\r\n"
    "XGROUP CREATE x g1 0\r\nXREADGROUP GROUP g1 c1 COUNT 2 STREAMS x >\r\n"
    "XGROUP CREATE x c1 $\r\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct choices c = { data, n, 0 };
    struct buf b = { 0 };
    requests_prepare(rig_server("commands",
                                "proto-max-bulk-len 1mb\nlist-max-listpack-size 4\n"
                                "hash-max-listpack-entries 4\nset-max-listpack-entries 4\n"
                                "set-max-intset-entries 4\nzset-max-listpack-entries 4\n"
                                "stream-node-max-entries 3\nlatency-monitor-threshold 1\n"
                                "commandlog-execution-slower-than 0\n"
                                "commandlog-request-larger-than 0\n"
                                "commandlog-reply-larger-than 0\n"
                                "maxmemory 64mb\nmaxmemory-policy allkeys-lru\n"
                                "notify-keyspace-events KEA\n")
                         ->x);
    buf_add_str(&b, before);
    buf_add_str(&b, choose(&c, 2) != 0 ? "HELLO 3\r\n" : "");
    for (unsigned i = 0; i < REQUESTS_MAX && c.at < n; i++) {
        requests_add(&b, choose(&c, requests_commands()), (struct slice){ 0 }, &c);
    }
    rig_converse(buf_slice(&b), NULL);
    rig_check();
    buf_free(&b);
    return 0;
}
