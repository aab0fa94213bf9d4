/* fuzz_lua.c -- What scripts hand to the libraries of the sandbox and to redis.*, and libraries
 * that FUNCTION RESTORE reads. SPDX-License-Identifier: BSD-3-Clause
 *
 * An input chooses a script (they are fixed, so that none runs for ever) and its ARGV. The server
 * must answer, and everything it holds be sound after that. */
#include "requests.h"
#include "rig.h"
#include "server/server_int.h"
#include "store/rdb.h"

#define ARGS_MAX  12
#define ARG_BYTES 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* a: ARGV; n: as numbers where they are. */
#define NUMBERS "local n = {} for i, v in ipairs(ARGV) do n[i] = tonumber(v) or v end "

static const char *const scripts[] = {
    "return cjson.encode(cjson.decode(ARGV[1]))",
    "return cjson.decode(ARGV[1])",
    "cjson.encode_keep_buffer(ARGV[1] == 'a') cjson.encode_max_depth(tonumber(ARGV[2])) "
    "cjson.decode_max_depth(tonumber(ARGV[3])) cjson.encode_invalid_numbers(ARGV[4]) "
    "return cjson.encode(cjson.decode(ARGV[5]))",
    "return cjson.encode({ARGV, [ARGV[1]] = tonumber(ARGV[2]), {ARGV}})",
    "return {cmsgpack.unpack(ARGV[1])}",
    "return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))",
    NUMBERS "return {cmsgpack.unpack_limit(n[1], n[2], n[3])}",
    NUMBERS "return {cmsgpack.unpack_one(n[1], n[2])}",
    NUMBERS "local t = {n, n, [n[1] or 1] = {n}} return cmsgpack.pack(unpack(t), t, n[2])",
    NUMBERS "return cmsgpack.pack(unpack(n))",
    NUMBERS "return {struct.unpack(unpack(n))}",
    NUMBERS "return struct.pack(unpack(n))",
    "return struct.size(ARGV[1])",
    "return {struct.unpack(ARGV[1], struct.pack(unpack(ARGV)))}",
    NUMBERS "local r = {} for _, f in ipairs({'tobit', 'bnot', 'band', 'bor', 'bxor', 'lshift', "
            "'rshift', 'arshift', 'rol', 'ror', 'bswap', 'tohex'}) do r[#r + 1] = "
            "{pcall(bit[f], unpack(n))} end return r",
    "return redis.pcall(unpack(ARGV))",
    "redis.setresp(3) return {redis.pcall(unpack(ARGV)), redis.pcall('hgetall', 'h'), "
    "redis.pcall('zrange', 'z', 0, -1, 'withscores')}",
    "return {redis.sha1hex(ARGV[1]), redis.error_reply(ARGV[2]), redis.status_reply(ARGV[3]), "
    "pcall(redis.log, tonumber(ARGV[4]), ARGV[5])}",
    "return redis.acl_check_cmd(unpack(ARGV))",
    "return {type(loadstring(ARGV[1])), pcall(load, function() return nil end, ARGV[2])}",
    "return {tonumber(ARGV[1], tonumber(ARGV[2])), tostring(ARGV[3]), select('#', unpack(ARGV))}",
    "return {pcall(string.format, ARGV[1], unpack(ARGV))}",
    "return {double = tonumber(ARGV[1]), map = {[ARGV[2]] = ARGV[3]}, set = {[ARGV[4]] = true}, "
    "err = ARGV[5], ok = ARGV[6], big_number = ARGV[7], verbatim_string = {format = ARGV[8], "
    "string = ARGV[9]}}",
    "redis.setresp(3) return {{double = tonumber(ARGV[1])}, {map = {[ARGV[2]] = ARGV[3]}}, {set = "
    "{[ARGV[4] or 1] = true}}, {big_number = ARGV[5]}, {verbatim_string = {format = ARGV[6], "
    "string = ARGV[7]}}, {err = ARGV[8]}, {ok = ARGV[9]}, tonumber(ARGV[10])}",
    "error({err = ARGV[1]})",
    "error(ARGV[1])",
};

static void add_text(struct buf *b, struct slice s)
{
    buf_printf(b, "$%zu\r\n", s.n);
    buf_add_slice(b, s);
    buf_add_str(b, "\r\n");
}

static void add_eval(struct buf *b, unsigned script, struct choices *c)
{
    struct slice arg[ARGS_MAX];
    unsigned n = 1 + choose(c, ARGS_MAX);
    for (unsigned i = 0; i < n; i++) {
        arg[i] = i + 1 < n
                     ? choose_bytes(c, 200)
                     : slice_of((const char *)c->p + c->at, size_min(c->n - c->at, ARG_BYTES));
    }
    buf_printf(b, "*%u\r\n$4\r\nEVAL\r\n", 3 + n);
    add_text(b, slice_str(scripts[script]));
    add_text(b, S("0"));
    for (unsigned i = 0; i < n; i++) {
        add_text(b, arg[i]);
    }
}

static void add_libraries(struct buf *b, struct choices *c)
{
    struct rdb_writer w = { .error = 0 };
    buf_add(&w.b, c->p + c->at, c->n - c->at);
    rdb_write_footer(&w, RDB_VERSION_READ);
    buf_add_str(b, "*4\r\n$8\r\nFUNCTION\r\n$7\r\nRESTORE\r\n");
    add_text(b, buf_slice(&w.b));
    add_text(b, S("REPLACE"));
    buf_add_str(b, "FUNCTION LIST WITHCODE\r\nFUNCTION DUMP\r\n");
    buf_free(&w.b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct choices c = { data, n, 0 };
    struct buf b = { 0 };
    rig_server("lua", "proto-max-bulk-len 1mb\n");
    buf_add_str(&b, "FLUSHALL\r\nFUNCTION FLUSH\r\nHSET h a 1\r\nZADD z 1 a\r\n");
    buf_add_str(&b, choose(&c, 2) != 0 ? "HELLO 3\r\n" : "");
    unsigned script = choose(&c, countof(scripts) + 1);
    if (script < countof(scripts)) {
        add_eval(&b, script, &c);
    } else {
        add_libraries(&b, &c);
    }
    rig_converse(buf_slice(&b), NULL);
    rig_check();
    buf_free(&b);
    return 0;
}
