/* test_script_names.c -- How scripts and functions are named and what they say of themselves,
 * beside redis-server. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

/* Names have no largest length, and no NUL. */
START_TEST(test_function_names)
{
    char lib[301], function[401], load[1000], lower[401];
    memset(lib, 'n', sizeof lib);
    memset(function, 'F', sizeof function);
    memset(lower, 'f', sizeof lower);
    lib[300] = function[400] = lower[400] = '\0';
    snprintf(load, sizeof load,
             "FUNCTION LOAD \"#!lua name=%s\nredis.register_function('%s', function(k) "
             "return redis.call('incr', k[1]) end)\"",
             lib, function);
    struct compare_script s = { NULL, 0 };
    compare_add(&s, "%s", load);
    compare_add(&s, "FCALL %s 1 n", function);
    compare_add(&s, "FCALL %s 1 n", lower);
    compare_add(&s, "FCALL %s 1", lower + 1);
    compare_add(&s, "FCALL %s 0", lower); /* an error that names it */
    compare_add(&s, "FUNCTION LIST");
    compare_add(&s, "FUNCTION DELETE %s", lib + 1);
    compare_add(&s, "FUNCTION DELETE %s", lib);
    compare_add(&s, "FUNCTION DELETE %s", lib);
    compare_script(&s);
    compare("FUNCTION LOAD \"#!lua name=q\nredis.register_function{function_name='f', "
            "callback=function() return 1 end}\"",
            "FUNCTION DELETE \"q\\0zz\"", "FUNCTION DELETE \"\"", "FCALL \"f\\0\" 0",
            "FUNCTION LOAD \"#!lua name=r\nredis.register_function{function_name='g\\\\0x', "
            "callback=function() return 1 end}\"",
            "FUNCTION LOAD \"#!lua name=r\nredis.register_function('g\\\\0x', "
            "function() return 1 end)\"",
            "FCALL g 0", "FCALL f 0", "FUNCTION DELETE q",
            "FUNCTION LOAD \"#!lua name=r\nlocal s = 'a\\x00b' -- \\x00\n"
            "redis.register_function{function_name='g', description=s .. '\\\\0', "
            "callback=function() return s end}\"",
            "FCALL g 0", "FUNCTION LIST WITHCODE");
}
END_TEST

#define COUNTS(lib, f)                                                                          \
    "\"#!lua name=" lib "\nlocal n = 0\nredis.register_function('" f "', function() n = n + 1 " \
    "return n end)\""

/* A library keeps what its variables hold while others come and go. */
START_TEST(test_library_variables)
{
    compare("FUNCTION LOAD " COUNTS("a", "fa"), "FCALL fa 0", "FCALL fa 0",
            "FUNCTION LOAD " COUNTS("b", "fb"), "FCALL fa 0", "FCALL fb 0", "FCALL FA 0",
            "FUNCTION LOAD REPLACE " COUNTS("b", "fB2"), "FCALL fb 0", "FCALL fb2 0", "FCALL fa 0",
            "FUNCTION LOAD " COUNTS("c", "fa"), "FUNCTION DELETE a", "FCALL fa 0",
            "FUNCTION LOAD " COUNTS("c", "fa"), "FCALL fa 0", "FCALL fa 0", "FCALL fb2 0",
            "FUNCTION DELETE c", "FUNCTION LOAD " COUNTS("c", "fa"), "FCALL fa 0", "FCALL fb2 0",
            "FUNCTION LOAD REPLACE " COUNTS("b", "fb2"), "FCALL fa 0", "FCALL fb2 0",
            "FUNCTION FLUSH", "FUNCTION LOAD " COUNTS("b", "fb2"), "FCALL fb2 0", "FCALL fa 0");
}
END_TEST

/* A SHA-1 in capitals names the same script, also where nothing may write. */
START_TEST(test_sha_in_capitals)
{
    compare("SCRIPT LOAD \"return 1\"",
            "SCRIPT EXISTS E0E1F9FABFC9D4800C877A703B823AC0578FF8DB "
            "e0e1f9fabfc9d4800c877a703b823ac0578FF8DB E0E1F9FABFC9D4800C877A703B823AC0578FF8D "
            "E0E1F9FABFC9D4800C877A703B823AC0578FF8DBA \"\"");
    struct server kv;
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
    (void)client_ask(c, "SCRIPT LOAD \"#!lua flags=no-writes\\nreturn 7\"");
    client_expect(c, "+OK", "CLIENT PAUSE 100000 WRITE");
    client_expect(c, "7", "EVALSHA 699874AD3A279C5FDD0D58C418605CD156EF306F 0");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* First lines behind "#!"; ~ is a NUL. */
static const char *const heads[] = {
    "lua",
    "lua ",
    "lua\t",
    " lua",
    "",
    " ",
    "LUA",
    "python",
    "python flags=bad",
    "\"lua\"",
    "\"lua",
    "''",
    "\"\"lua",
    "lu\\x61",
    "lua flags=",
    "lua flags=no-writes",
    "lua flags=no-writes,",
    "lua flags=,no-writes",
    "lua flags=,",
    "lua flags=no-writes,,allow-oom",
    "lua flags=no-writes, allow-oom",
    "lua flags = no-writes",
    "lua flags",
    "lua FLAGS=no-writes",
    "lua flags=NO-WRITES",
    "lua flags=allow-oom,allow-stale",
    "lua flags=no-cluster,allow-cross-slot-keys",
    "lua flags=bad flags=worse",
    "lua flags=allow-oom flags=no-writes",
    "lua flags=no-writes\r",
    "lua\rflags=no-writes",
    "lua\vflags=no-writes",
    "lua  flags=no-writes   x",
    "lua \"flags=no-writes\"",
    "lua 'flags=no-writes'",
    "lua flags=\"no-writes\"",
    "lua \"flags=no-writes",
    "lua \"flags=no-writes\"x",
    "lua 'a\\'b'",
    "lua \"a\\x41\"",
    "lua \"\"",
    "lua \"flags=no-writes\\x00b\"",
    "lua \"flags=a\\x00b\"",
    "lua \"x\\x00y\"",
    "lua x",
    "lua x=1 flags=bad",
    "lua name=a",
    "lua name=",
    "lua name=a name=b",
    "lua name=a x=1",
    "lua flags=bad name=a",
    "lua name=%s",
    "lua \xff\x01",
    "lua~",
    "lua flags=bad~",
    "lua x~y",
    "lua x12345678901234567890123456789012345678901234567890123456789012345678901234567890"
    "12345678901234567890123456789012345678901234567890"
};

/* As an argument in quotes. */
static void escape(const char *s, char out[1024])
{
    for (; *s != '\0'; s++) {
        out += sprintf(out, "\\x%02x", *s == '~' ? 0 : (unsigned char)*s);
    }
    *out = '\0';
}

/* What scripts and libraries say of themselves, or try to. */
START_TEST(test_first_lines)
{
    static const char library[] = "redis.register_function('f', function() return 1 end)";
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < countof(heads); i++) {
        char text[1024];
        escape(heads[i], text);
        compare_add(&s, "EVAL \"#!%s\\nreturn redis.call('set',KEYS[1],'v')\" 1 k", text);
        compare_add(&s, "EVAL_RO \"#!%s\\nreturn 1\" 0", text);
        compare_add(&s, "SCRIPT LOAD \"#!%s\\nreturn 2\"", text);
        compare_add(&s, "EVAL \"#!%s\" 0", text);
        compare_add(&s, "FUNCTION LOAD REPLACE \"#!%s\\n%s\"", text, library);
        escape(strncmp(heads[i], "lua", 3) == 0 ? heads[i] + 3 : heads[i], text);
        compare_add(&s, "FUNCTION LOAD REPLACE \"#!lua name=lib%s\\n%s\"", text, library);
    }
    compare_add(&s, "FUNCTION LOAD \"#!lua name=lib\"");
    compare_add(&s, "EVAL \"#!lua%*s\\nreturn 1\" 0", 1 << 19, "");
    compare_add(&s, "EVAL \"#!lua%*s\\nreturn 1\" 0 => -ERR Invalid script shebang", 1 << 20, "");
    compare_add(&s, "FUNCTION FLUSH");
    compare_script(&s);
}
END_TEST

UNIT_SUITE(script_names)
{
    TCase *tc = unit_case(suite, "beside redis", test_function_names, test_sha_in_capitals,
                          test_library_variables, test_first_lines);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
}
