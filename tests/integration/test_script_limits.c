/* test_script_limits.c -- Scripts that ask Lua's libraries for more than they can do.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <string.h>

static struct server kv;

/* What Lua's libraries do not look at themselves; redis-server 7.0.15 ends at some of them. */
START_TEST(test_library_limits)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv);
    server_wait_ready(&kv);
    struct client *a = server_connect(&kv);
    static const char *const refused[][2] = {
        { "return unpack({},0,2^31-1)", "too many results to unpack" },
        { "return unpack({},-2^31,2^31-1)", "too many results to unpack" },
        { "return unpack({},1,2^31-1)", "too many results to unpack" },
        { "return string.find('',string.rep('a*',200000))", "pattern too complex" },
        { "return string.match('',string.rep('a*',200000))", "pattern too complex" },
        { "return string.gsub('',string.rep('a*',200000),'')", "pattern too complex" },
        { "return string.gmatch('',string.rep('a*',200000))()", "pattern too complex" },
        { "local s=string.rep('x',2^20) local t={} for i=1,2000 do t[i]=s end "
          "return cjson.encode(t)",
          "too long" },
        { "local s=string.rep('x',2^20) local t={} for i=1,2000 do t[i]=s end "
          "return cjson.new().new().encode({[s]=t})",
          "too long" },
        { "local t=string.rep('x',2^16) for i=1,40 do t={t,t} end return cjson.encode(t)",
          "too long" },
        { "local j=cjson.new() j.encode_sparse_array(false,0) return j.encode({[2^31-1]=1})",
          "sparse array" },
        { "local t={} t[1]=t t[2]=t return cjson.encode(t)", "excessive nesting (1001)" },
    };
    for (unsigned i = 0; i < countof(refused); i++) {
        const char *reply = client_line(a, "EVAL \"%s\" 0", refused[i][0]);
        ck_assert_msg(strstr(reply, refused[i][1]) != NULL, "%s: %s", refused[i][0], reply);
    }
    client_expect(a, "1", "EVAL \"return string.find('a*',string.rep('a*',1),1,true)\" 0");
    client_expect(a, "nil", "EVAL \"return string.find('',string.rep('a*',200000),1,true)\" 0");
    client_expect(a, "3", "EVAL \"return select('#',unpack({},2^31-3,2^31-1))\" 0");
    client_expect(a, "\"{\\\"2000000000\\\":1}\"",
                  "EVAL \"local j=cjson.new() j.encode_sparse_array(true) "
                  "return j.encode({[2000000000]=1})\" 0");
    client_expect(a, "3004",
                  "EVAL \"local j=cjson.new() j.encode_max_depth(2000) local t={} "
                  "for i=1,1501 do t={t} end return #j.encode(t)\" 0");
    client_close(a);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(script_limits)
{
    unit_case(suite, "own server", test_library_limits);
}
