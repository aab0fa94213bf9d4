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
            "FCALL g 0", "FCALL f 0", "FUNCTION DELETE q");
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

UNIT_SUITE(script_names)
{
    TCase *tc = unit_case(suite, "beside redis", test_function_names, test_sha_in_capitals);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
}
