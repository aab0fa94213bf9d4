/* test_script.c -- EVAL, SCRIPT, FUNCTION and FCALL beside redis-server, over a restart, and many
 * at once. SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "compare.h"
#include "unit.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Each as EVAL "text" 0. */
static void compare_evals(const char *const *text, unsigned n)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < n; i++) {
        char quoted[1024];
        size_t to = 0;
        for (const char *p = text[i]; *p != '\0' && to < sizeof quoted - 3; p++) {
            if (*p == '"' || *p == '\\') {
                quoted[to++] = '\\';
            }
            quoted[to++] = *p;
        }
        quoted[to] = '\0';
        compare_add(&s, "EVAL \"%s\" 0", quoted);
    }
    compare_script(&s);
}

static const char *const replies_texts[] = {
    "return redis.error_reply('My Err')",
    "return redis.error_reply('-My Err')",
    "return redis.error_reply('ERR')",
    "return redis.error_reply('single')",
    "return redis.error_reply('-')",
    "return redis.error_reply('')",
    "return {err='My Err'}",
    "return {err='-My Err'}",
    "return {ok='fine'}",
    "return redis.status_reply('GOOD')",
    "return {1,2.9,'x',true,false,{1,{2}},nil,5}",
    "return 3.99",
    "return -3.99",
    "return 1e300",
    "return true",
    "return false",
    "return nil",
    "return",
    "return {double=3.5}",
    "return {map={a=1}}",
    "return {set={a=true}}",
    "return {verbatim_string={string='abc',format='txt'}}",
    "redis.setresp(3); return {double=3.5}",
    "redis.setresp(3); return {map={a=1}}",
    "redis.setresp(3); return {set={a=true}}",
    "redis.setresp(3); return true",
    "redis.setresp(3); return nil",
    "redis.setresp(3); return {verbatim_string={string='abc',format='txt'}}",
    "return redis.setresp(4)",
    "return redis.setresp()",
    "return redis.sha1hex('')",
    "return redis.sha1hex()",
    "return redis.log(redis.LOG_WARNING,'hello')",
    "return redis.log('x')",
    "return redis.log(10,'x')",
    "return redis.log()",
    "return redis.set_repl(redis.REPL_ALL)",
    "return redis.set_repl(9)",
    "return redis.set_repl()",
    "return redis.replicate_commands()",
    "return redis.breakpoint()",
    "return redis.debug('x')",
    "return 1 +",
    "return {1,2,err='x'}",
    "return {1,2,ok='x'}",
    "return {ok=1}",
    "return {err=1}",
    "return redis.status_reply(1)",
    "return redis.status_reply()",
    "return redis.status_reply({})",
    "return redis.error_reply()",
    "return redis.error_reply('a','b')",
    "return #ARGV",
    "return KEYS[1]",
    "for i=1,2 do local x = i end return 'ok'",
    "math.randomseed(3); return {math.random(1,1000),math.random(1,1000),math.random(1000)}",
    "return unpack({1,2,3})",
    "return tostring(1/0)",
    "return tostring(0/0)",
    "return 0/0",
    "return 1/0",
    "return 2^53",
    "return {{{{{{{{{{1}}}}}}}}}}",
    "return ('x'):rep(3)",
    "return #('x'):rep(3)",
    "return tostring(12345678901234)",
    "return 5 % 3",
    "return _VERSION",
};

START_TEST(test_replies)
{
    compare_evals(replies_texts, countof(replies_texts));
}
END_TEST

static const char *const sandbox_texts[] = {
    "return error('boom')",
    "return error({err='boom'})",
    "return error({err='ERR boom'})",
    "return error(5)",
    "return error(true)",
    "x = 10",
    "return x",
    "_G.x = 1",
    "setmetatable(_G, {})",
    "local g = getmetatable(_G); g.__index = {}",
    "_G = {}",
    "rawset(_G,'a',1)",
    "rawset(redis,'a',1)",
    "table.insert(redis,1)",
    "return getmetatable(_G) ~= nil",
    "getmetatable('').__index = 1",
    "return loadstring(string.dump(function() return 1 end))()",
    "return loadstring('return 5')()",
    "return load(function() return nil end)",
    "return print('x')",
    "return require('x')",
    "return newproxy(true)",
    "return string.rep('x',3)",
    "return #string.rep('x',2000)",
    "local t = {} for k,v in pairs(redis) do t[#t+1]=k end table.sort(t) return t",
    "local t={3,1,2} table.sort(t) return t",
    "return table.concat({1,2,3},',')",
    "local t={} table.insert(t,1) table.insert(t,1,0) return t",
    "return table.remove({1,2,3})",
    "return next({}) == nil",
    "return rawget({a=1},'a')",
    "return rawget(redis,'call') ~= nil",
    "local t=setmetatable({},{__index=function(t,k) return k end}) return t.foo",
    "error(setmetatable({}, {__index={err='boom'}}))",
    "error(setmetatable({}, {__index={err='boom', source='@here', line=7}}))",
    "error(setmetatable({err='own'}, {__newindex=function() error('y') end}))",
    "error(setmetatable({err='own'}, {__newindex=function() end}))",
    "return pcall(error,'x')",
    "return {pcall(error,{err='abc'})}",
    "return {xpcall(function() error('x') end, function(e) return 'H:'..e end)}",
    "return {pcall(function() error({err='abc'}) end)}",
    "return {pcall(function() error({a='abc'}) end)} ~= nil",
    "return string.format('%5.2f|%d|%s|%q',1.5,3,'x','y')",
    "return string.gsub('hello','l','L')",
    "return {string.find('hello','l')}",
    "return tonumber('0x10')",
    "return loadstring('x=1')()",
    "return loadstring('return foo')()",
    "return loadstring('return (')",
    "return coroutine.status(coroutine.create(function() end))",
    "return assert(false,'msg')",
    "return assert(nil)",
};

START_TEST(test_sandbox)
{
    compare_evals(sandbox_texts, countof(sandbox_texts));
}
END_TEST

static const char *const libraries_texts[] = {
    "return cjson.encode({1,2,3})",
    "return cjson.decode('[1,2,{\"a\":null}]')[3].a == cjson.null",
    "return cjson.encode({[1]=1,[1000]=2})",
    "return cjson.decode('nope')",
    "return bit.tohex(65535,-4)",
    "return bit.bxor(1,2)",
    "return struct.pack('>I2',258)",
    "return {struct.unpack('>I2','\\1\\2')}",
    "return struct.pack('Xx',1)",
    "return cmsgpack.pack({1,2,{a=1}})",
    "return cmsgpack.unpack('\\147\\1\\2\\3')",
    "return "
    "cmsgpack.pack(1,-1,127,128,255,256,65535,65536,4294967295,4294967296,-32,-33,-128,-129,-"
    "32768,-32769,-2147483648,-2147483649,1.5,0.1,1e300,-0.0)",
    "return "
    "cmsgpack.pack('',string.rep('a',31),string.rep('a',32),string.rep('b',255),string.rep('c',"
    "256))",
    "return "
    "cmsgpack.pack({},{1,2,nil,4},{a=1},{[1]=1,[2]=2,x=3},{[1.5]=1},true,false,nil,{{{{{{{{{{{{"
    "{{{{{{1}}}}}}}}}}}}}}}}}})",
    "return #cmsgpack.pack(string.rep('d',70000))",
    "return cmsgpack.pack()",
    "return cmsgpack.pack(function() end)",
    "return {cmsgpack.unpack(cmsgpack.pack(1,-1,'x',{1,2,3},{a={b='c'}},1.5,nil,true))}",
    "return {cmsgpack.unpack_one('\\1\\2\\3')}",
    "return {cmsgpack.unpack_one('\\1\\2\\3',2)}",
    "return {cmsgpack.unpack_limit('\\1\\2\\3',2)}",
    "return {cmsgpack.unpack_limit('\\1\\2\\3',0)}",
    "return {cmsgpack.unpack_limit('\\1\\2\\3',-1)}",
    "return {cmsgpack.unpack_one('\\1\\2\\3',9)}",
    "return {cmsgpack.unpack_one('\\1\\2\\3',-1)}",
    "return tostring(cmsgpack.unpack('\\207\\255\\255\\255\\255\\255\\255\\255\\255'))",
    "return tostring(cmsgpack.unpack('\\207\\127\\0\\0\\0\\0\\0\\0\\0'))",
    "return tostring(cmsgpack.unpack('\\206\\255\\255\\255\\255'))",
    "return {cmsgpack.unpack('')}",
    "return {cmsgpack.unpack('\\204')}",
    "return {cmsgpack.unpack('\\193')}",
    "return {cmsgpack.unpack('\\129\\192\\1')}",
    "return {cmsgpack.unpack('\\221\\255\\255\\255\\255')}",
    "return cmsgpack.unpack()",
    "return cmsgpack.unpack({})",
    "return struct.pack('bBhHlLTfd',1,2,3,4,5,6,7,1.5,2.5)",
    "return struct.pack('>bBhHlLTfd',-1,254,-3,65530,-5,6,7,-1.5,2.5)",
    "return struct.pack('i1i2i3i4i8i16I1I3',-1,-2,-3,-4,-5,-6,255,70000)",
    "return struct.pack('!4bi',1,2)",
    "return struct.pack('!8bd',1,2)",
    "return struct.pack('!bi8',1,2)",
    "return struct.pack('!8i3',1)",
    "return struct.pack('!8bi3bi5bi6bi7',1,2,3,4,5,6,7,8)",
    "return struct.pack('!4bi3bi5bi12bi24',1,2,3,4,5,6,7,8)",
    "return struct.size('!16bi3bi5bi12bi24')",
    "return {struct.unpack('!8bi3','\\1\\2\\3\\4\\5\\6\\7\\8')}",
    "return struct.pack('s','abc')",
    "return struct.pack('c3','abcdef')",
    "return struct.pack('c3','ab')",
    "return struct.pack('c0','abcdef')",
    "return struct.pack('c','xyz')",
    "return struct.pack('x')",
    "return struct.pack('i33',1)",
    "return struct.pack('i99999999999',1)",
    "return struct.pack('!3i',1)",
    "return struct.pack('i')",
    "return struct.pack('z',1)",
    "return {struct.unpack('bBhHi','\\255\\255\\255\\255\\255\\255\\1\\2\\3\\4')}",
    "return {struct.unpack('>bBhHi','\\255\\255\\255\\255\\255\\255\\1\\2\\3\\4')}",
    "return {struct.unpack('s','abc\\0def')}",
    "return {struct.unpack('s','abcdef')}",
    "return {struct.unpack('c2','abc')}",
    "return {struct.unpack('c9','abc')}",
    "return {struct.unpack('bc0','\\3abcdef')}",
    "return {struct.unpack('c0','\\3abcdef')}",
    "return {struct.unpack('b','abc',3)}",
    "return {struct.unpack('b','abc',4)}",
    "return {struct.unpack('b','abc',5)}",
    "return {struct.unpack('b','abc',0)}",
    "return {struct.unpack('i','abc')}",
    "return "
    "{struct.size('i'),struct.size('bi'),struct.size('!4bi'),struct.size('c10'),struct.size('"
    "hhd')}",
    "return struct.size('s')",
    "return struct.size('c0')",
    "return "
    "{bit.tobit(0xffffffff),bit.tobit(2^40+5),bit.bnot(0),bit.band(7,3,6),bit.bor(1,2,4),bit."
    "bxor(1,3,7)}",
    "return "
    "{bit.lshift(1,31),bit.lshift(1,32),bit.rshift(-1,1),bit.arshift(-16,2),bit.rol(0x12345678,"
    "12),bit.ror(0x12345678,12),bit.bswap(0x12345678)}",
    "return "
    "{bit.tohex(1),bit.tohex(-1),bit.tohex(255,4),bit.tohex(255,-4),bit.tohex(255,0),bit.tohex("
    "1,20)}",
    "return bit.band()",
    "return bit.band('x')",
    "return bit.tobit('0x10')",
    "return {bit.tobit(1.5),bit.tobit(2.5),bit.tobit(-1.5)}",
    "return cjson.encode({a={1,2,{b='x\\ny\"'}},})",
    "return cjson.encode(cjson.decode('{\"a\":[1,2.5,true,null,\"x\"],\"b\":{}}').a)",
    "return cjson.encode({})",
    "return cjson.encode(setmetatable({},{}))",
    "return cjson.encode(1/0)",
    "return cjson.decode('[1e400]')",
    "return cjson.decode(string.rep('[',2000))",
    "return tostring(cjson.new ~= nil)",
    "return {pcall(cjson.decode,'[')}",
    "local t = {} for k,v in pairs(cjson) do t[#t+1]=k end table.sort(t) return t",
};

START_TEST(test_libraries)
{
    compare_evals(libraries_texts, countof(libraries_texts));
}
END_TEST

static const char *const commands_texts[] = {
    "return redis.pcall('nosuch')",
    "return redis.call('nosuch')",
    "return redis.call('get')",
    "return redis.call()",
    "return redis.call({})",
    "return redis.call('get', {})",
    "return redis.acl_check_cmd('get', {})",
    "return redis.call('set','a',1.5)",
    "return redis.call('get','a')",
    "return redis.call('set','a',nil)",
    "redis.call = 1",
    "return pcall(function() return redis.call('nosuch') end)",
    "local a,b = pcall(function() return redis.call('nosuch') end) return b",
    "local a,b = pcall(function() return redis.call('nosuch') end) return b.err",
    "local a,b = pcall(redis.call,'nosuch') return {tostring(a),type(b),b.err,b.source,b.line}",
    "local b = redis.pcall('nosuch') return {type(b),b.err,b.source or 'no',b.line or 'no', "
    "tostring(b.ignore_error_stats_update)}",
    "local a = redis.call('set','x','1') return {type(a), a.ok}",
    "local a = redis.call('get','nokey') return tostring(a)",
    "redis.setresp(3) local a = redis.call('get','nokey') return tostring(a)",
    "return type(redis.call('config','get','save'))",
    "return redis.call('subscribe','a')",
    "return redis.call('select','99')",
    "return redis.call('multi')",
    "return redis.call('eval','return 1','0')",
    "return redis.call('incr','cnt')",
    "return redis.call('set','a',10000000000)",
    "return redis.call('set','a',12345678901234567890)",
    "return redis.call('get','a')",
    "return redis.call('set','a',0.1)",
    "return redis.call('get','a')",
    "return redis.call('hello','3')",
    "return redis.call('ping','x','y')",
    "return redis.call('PING')",
    "return redis.call('echo', true)",
    "return select('#', redis.call('ping'))",
    "return {redis.call('ping')}",
    "return {redis.pcall('get')}",
    "return redis.call('debug','sleep','0')",
    "return coroutine.wrap(function() coroutine.yield(redis.call('ping')) end)()",
    "return coroutine.wrap(function() return redis.call('nosuch') end)()",
    "redis.call('set','u1','1') return redis.call('strlen','u1')",
    "return redis.call('lpush','u1','x')",
    "return redis.pcall('lpush','u1','x')['err']",
    "return redis.call('mget','u1','u2')",
    "return redis.call('type','u1')",
    "return redis.call('lrange','nolist','0','-1')",
    "return redis.call('lpop','nolist')",
    "return redis.call('lpop','nolist','1')",
    "return {redis.call('getrange','u1',0,-1), 'x'}",
    "redis.setresp(3) return redis.call('lpop','nolist','1')",
    "redis.setresp(3) return redis.call('config')",
    "return redis.call('object','encoding','u1')",
    "return redis.call('object','help')[1]",
    "return redis.call('lcs','u1','u1')",
    "return redis.call('publish','ch','m')",
    "return redis.call('keys','u1')",
    "return redis.call('script','exists','x')",
    "return redis.call('expire','u1','10')",
    "return redis.call('auth','x')",
    "return redis.call('reset')",
    "return redis.call('quit')",
    "return redis.call('shutdown')",
    "return redis.call('debug')",
    "return redis.call('monitor')",
    "return redis.call('watch','x')",
    "return redis.call('unwatch')",
    "return redis.call('exec')",
    "return redis.call('discard')",
    "return redis.call('psubscribe','x')",
};

START_TEST(test_commands)
{
    compare_evals(commands_texts, countof(commands_texts));
}
END_TEST

START_TEST(test_eval_arguments)
{
    compare("EVAL 'return {KEYS[1],KEYS[2],ARGV[1],#KEYS,#ARGV}' 2 a b c", "EVAL 'return 1' x",
            "EVAL 'return 1' 1", "EVAL 'return 1' -1", "EVAL 'return 1'", "EVALSHA abc 0",
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "SCRIPT LOAD 'return 1'",
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0",
            "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x", "SCRIPT LOAD 'return +'",
            "SCRIPT FLUSH", "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
            "SCRIPT FLUSH x", "SCRIPT FLUSH ASYNC", "SCRIPT KILL", "SCRIPT DEBUG no",
            "SCRIPT DEBUG x", "EVAL_RO \"return redis.call('set','a',1)\" 0",
            "EVAL_RO \"return redis.call('get','a')\" 0",
            "EVAL \"#!lua\\nreturn redis.call('set','a',1)\" 0",
            "EVAL \"#!lua flags=no-writes\\nreturn redis.call('set','a',1)\" 0",
            "EVAL_RO \"#!lua\\nreturn 1\" 0", "EVAL \"#!lua flags=zz\\nreturn 1\" 0",
            "EVAL \"#!js\\nreturn 1\" 0", "EVAL \"#!lua\" 0", "EVAL \"#!lua foo\\nreturn 1\" 0",
            "EVAL \"#!lua name=x\\nreturn 1\" 0",
            "EVAL \"redis.call('select',3) return redis.call('set','k','v')\" 0", "GET k",
            "EVAL \"return redis.call('set',KEYS[1],ARGV[1])\" 1 k v", "GET k");
}
END_TEST

/* More scripts than are remembered, in turns, by text and by sha; texts that differ in one digit.
 */
START_TEST(test_many_scripts)
{
    struct compare_script s = { NULL, 0 };
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 200; i++) {
            compare_add(&s, "EVAL \"return {%u, KEYS[1], redis.call('INCR', KEYS[1])}\" 1 k%u",
                        (i * 37 + round) % 200 + 100, i % 3);
        }
        compare_add(&s, "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        compare_add(&s, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
        compare_add(&s, "EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0");
        compare_add(&s, round == 0 ? "SCRIPT FLUSH" : "SCRIPT LOAD \"return 1\"");
        compare_add(&s, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
    }
    compare_add(&s, "SCRIPT LOAD \"return 1\"");
    compare_add(&s, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
    compare_add(&s, "SCRIPT FLUSH");
    compare_add(&s, "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0");
    compare_script(&s);
}
END_TEST

START_TEST(test_in_multi)
{
    compare("MULTI", "SET a 1", "EVAL \"return redis.call('incr','a')\" 0",
            "EVAL \"redis.call('incr',KEYS[1]) return redis.call('lpush','a','x')\" 1 b", "GET a",
            "EXEC", "MGET a b", "WATCH w", "MULTI", "EVAL \"return redis.call('set','w',1)\" 0",
            "EXEC", "GET w");
}
END_TEST

/* A key that was not declared, before, between and after changes of those that were: nothing
 * happens twice, nothing of the attempt that was taken back is seen or logged. */
START_TEST(test_undeclared)
{
    compare_recovered("SET n 5 PX 100000", "RPUSH l a b c",
                      "EVAL \"redis.call('incr',KEYS[1]) redis.call('rpush',KEYS[2],'d') "
                      "redis.call('del',KEYS[3]) "
                      "redis.call('incr','other') return "
                      "{redis.call('incr',KEYS[1]),redis.call('llen',KEYS[2])}\" "
                      "3 n l gone",
                      "~near=2000 PTTL n", "MGET n other", "LRANGE l 0 -1",
                      "EVAL \"redis.call('set',KEYS[1],'x') redis.call('del',KEYS[1]) "
                      "redis.call('rename','n','m') return redis.call('get','m')\" 1 new",
                      "MGET n m new",
                      "EVAL \"redis.call('select',2) redis.call('set','in2','v') return 1\" 0",
                      "~sort EVAL \"return redis.call('keys','*')\" 1 zzz",
                      "EVAL \"redis.call('set',KEYS[1],'1') return redis.call('dbsize')\" 1 more");
}
END_TEST

/* Nor of what PFCOUNT, a command that reads, has written. */
START_TEST(test_undeclared_count)
{
    compare_recovered(
        "PFADD h a b c",
        "EVAL \"return {redis.call('pfcount',KEYS[1]),redis.call('get','other')}\" 1 h", "GET h");
}
END_TEST

/* Nor of what it changed in another database, which its keys do not name. */
START_TEST(test_undeclared_moves)
{
#define MOVE "EVAL \"return {redis.call('move',KEYS[1],3),redis.call('get','other')}\" 1 a"
    compare_recovered("MSET a 1 b 2", MOVE,
                      "EVAL \"return {redis.call('copy',KEYS[1],KEYS[2],'db',3),"
                      "redis.call('get','other')}\" 2 b b2",
                      "EVAL \"return {redis.call('copy',KEYS[1],KEYS[2],'replace'),"
                      "redis.call('get','other')}\" 2 b b3",
                      "MGET a b b2 b3", "SET a again", MOVE, "MGET a b b2 b3", "SELECT 3",
                      "MGET a b b2 b3");
}
END_TEST

/* Nor of what ran in coroutines, whoever resumed them. */
START_TEST(test_undeclared_in_coroutine)
{
#define NESTED                                                                        \
    "EVAL \"local outer = coroutine.create(function() "                               \
    "local inner = coroutine.create(function() redis.call('incr','undeclared') end) " \
    "redis.call('incr',KEYS[1]) coroutine.resume(inner) "                             \
    "for i = 1, 30000 do end redis.call('incr',KEYS[2]) return 1 end) "               \
    "return {coroutine.resume(outer), redis.call('incr',KEYS[1])}\" 2 a b"
    compare_recovered(
        NESTED, "MGET a b undeclared", NESTED, "MGET a b undeclared",
        "EVAL \"local f = coroutine.wrap(function() "
        "redis.call('incr',KEYS[1]) redis.call('incr','other') end) "
        "xpcall(f, f) for i = 1, 30000 do end return redis.call('incr',KEYS[1])\" 1 a",
        "MGET a b other");
}
END_TEST

START_TEST(test_blocked_client_is_served)
{
    compare("@b &BLPOP q 0", "EVAL \"return redis.call('rpush',KEYS[1],'x')\" 1 q", "@b <",
            "@b &BLPOP q 0",
            "EVAL \"redis.call('set','u','1') return redis.call('rpush','q','x')\" 0", "@b <",
            "@b &BLPOP q q2 0",
            "EVAL \"redis.call('rpush',KEYS[1],'x') redis.call('del',KEYS[1]) return 1\" 1 q",
            "@b !quiet", "RPUSH q2 y", "@b <");
}
END_TEST

START_TEST(test_functions)
{
    compare(
        "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('f1', function(k, a) return "
        "{k[1],a[1]} end)\"",
        "FUNCTION LOAD \"#!lua name=m\\nredis.register_function{function_name='f2', "
        "callback=function(k,a) return redis.call('incr',k[1]) end, description='d', "
        "flags={'allow-oom'}}\"",
        "FCALL f1 1 k a", "FCALL F1 0", "FCALL f2 1 n", "FCALL nope 0", "FCALL f1 x",
        "FCALL f1 2 a", "FCALL f1 -1", "FCALL_RO f1 0", "FUNCTION LIST LIBRARYNAME M",
        "~sort FUNCTION LIST", "FUNCTION LIST WITHCODE LIBRARYNAME l*", "FUNCTION LIST LIBRARYNAME",
        "FUNCTION LIST foo", "FUNCTION STATS", "FUNCTION LOAD \"#!lua name=lib\\nreturn 1\"",
        "FUNCTION LOAD REPLACE \"#!lua name=lib\\nreturn 1\"", "FUNCTION LOAD abc",
        "FUNCTION LOAD foo abc", "FUNCTION LOAD \"#!lua name=a\"", "FUNCTION LOAD \"#!lua\\nx\"",
        "FUNCTION LOAD \"#!x name=a\\nx\"", "FUNCTION LOAD \"#!lua name=a name=b\\nx\"",
        "FUNCTION LOAD \"#!lua name=a b=c\\nx\"", "FUNCTION LOAD \"#!lua name=a-b\\nx\"",
        "FUNCTION LOAD \"#!lua name=\\\"q\\\"\\nredis.register_function('q', function() end)\"",
        "FUNCTION DELETE q", "FUNCTION LOAD \"#!lua name=\\\"q\\nx\"", "FUNCTION LOAD \"#!\\nx\"",
        "FUNCTION LOAD \"#! lua name=a\\nx\"", "FUNCTION LOAD \"#!lua name=a\\nx = \"",
        "FUNCTION LOAD \"#!lua name=a\\nx = 1\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.call('ping')\"",
        "FUNCTION LOAD \"#!lua name=a\\nmath.random()\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('f1', function() end)\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('x y', function() end)\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function()\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('a')\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function({}, function() end)\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('a', 1)\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function{function_name='a'}\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function{callback=function() end}\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function{function_name='a', "
        "callback=function() end, flags={'x'}}\"",
        "FUNCTION LOAD \"#!lua name=a\\nredis.register_function{function_name='a', "
        "callback=function() end, what=1}\"",
        "FUNCTION LOAD \"#!lua name=b\\nlocal r = redis redis.register_function('f3', function() "
        "r.register_function('f4', function() end) end)\"",
        "FCALL f3 0", "FUNCTION DELETE b", "FUNCTION DELETE b", "FCALL f3 0", "FUNCTION KILL",
        "FUNCTION FLUSH x", "FUNCTION FLUSH", "FUNCTION LIST");
}
END_TEST

static struct server kv;

/* Libraries are data. */
START_TEST(test_functions_recover)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    struct client *c = server_connect(&kv);
    client_expect(c, "\"a\"",
                  "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('f', "
                  "function(k) return redis.call('incr', k[1]) end)\"");
    client_expect(c, "\"b\"",
                  "FUNCTION LOAD \"#!lua name=b\\nredis.register_function('g', "
                  "function(k) return 1 end)\"");
    client_expect(c, "\"a\"",
                  "FUNCTION LOAD REPLACE \"#!lua name=a\\nredis.register_function('f', "
                  "function(k) return redis.call('incrby', k[1], 10) end)\"");
    client_expect(c, "10", "FCALL f 1 n");
    client_expect(c, "+OK", "FUNCTION DELETE b");
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "20", "FCALL f 1 n");
    client_expect(c, "-ERR Function not found", "FCALL g 0");
    client_expect(c, "+OK", "FUNCTION FLUSH");
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "1");
    c = server_connect(&kv);
    client_expect(c, "[]", "FUNCTION LIST");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* Whatever a script says of replication, the log has what later commands build on. */
START_TEST(test_all_changes_are_logged)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2");
    struct client *c = server_connect(&kv);
    client_expect(c, "1",
                  "EVAL \"redis.set_repl(redis.REPL_NONE) return "
                  "redis.call('RPUSH',KEYS[1],'a')\" 1 l");
    client_expect(c, "+OK", "LSET l 0 b");
    client_expect(c, "+OK", "RENAME l m");
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "[\"b\"]", "LRANGE m 0 -1");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* A log that begins while clients are served holds the libraries, too. */
START_TEST(test_functions_in_new_log)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "2", "--appendonly", "no");
    struct client *c = server_connect(&kv);
    client_expect(c, "\"a\"",
                  "FUNCTION LOAD \"#!lua name=a\\nredis.register_function('f', "
                  "function(k) return 7 end)\"");
    client_expect(c, "+OK", "CONFIG SET appendonly yes");
    client_close(c);
    server_kill(&kv);
    server_start(&kv, "--threads", "2");
    c = server_connect(&kv);
    client_expect(c, "7", "FCALL f 0");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* Scripts of several reactors move amounts between keys, half of them without declaring the second:
 * the sum stays, every call happens exactly once. */
#define CLIENTS 6
#define MOVES   300

static void *mover(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    struct client *c = server_connect(&kv);
    for (unsigned i = 0; i < MOVES; i++) {
        unsigned from = (id * 7 + i) % 8, to = (id + i * 5 + 1) % 8;
        /* a text of its own for each client: each learns anew that it needs more */
        if (i % 2 == 0) {
            client_expect(c, "1",
                          "EVAL \"redis.call('decr',KEYS[1]) redis.call('incr',KEYS[2]) "
                          "redis.call('incr',KEYS[3]) return 1\" 3 k%u k%u calls",
                          from, to);
        } else {
            client_expect(c, "1",
                          "EVAL \"redis.call('decr',KEYS[1]) redis.call('incr',KEYS[2]) "
                          "redis.call('incr',ARGV[1]) return %u/%u\" 2 calls2 k%u k%u",
                          i, i, from, to);
        }
    }
    client_close(c);
    return NULL;
}

START_TEST(test_atomic_on_all_reactors)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, "--threads", "4");
    pthread_t t[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        ck_assert_int_eq(pthread_create(&t[i], NULL, mover, (void *)(uintptr_t)i), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(t[i], NULL);
    }
    for (int again = 0; again < 2; again++) {
        struct client *c = server_connect(&kv);
        char calls[32], none[32];
        snprintf(calls, sizeof calls, "\"%d\"", CLIENTS * MOVES / 2);
        snprintf(none, sizeof none, "\"-%d\"", CLIENTS * MOVES / 2);
        client_expect(c, calls, "GET calls");
        client_expect(c, none, "GET calls2");
        client_expect(c, "1800",
                      "EVAL \"local s = 0 for i = 0, 7 do s = s + redis.call('get', 'k' .. i) "
                      "end return s\" 0");
        client_close(c);
        server_kill(&kv);
        server_start(&kv, "--threads", "3");
    }
    server_stop(&kv);
}
END_TEST

/* Scripts for Valkey name the interface `server`. Time stands still in a script, as since
 * Redis 7.2. */
START_TEST(test_server_is_redis)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
    client_expect(c, "+PONG", "EVAL \"return server.call('PING')\" 0");
    client_expect(c, "\"l\"",
                  "FUNCTION LOAD \"#!lua name=l\\nserver.register_function('f', function() "
                  "return server.call('PING') end)\"");
    client_expect(c, "+PONG", "FCALL f 0");
    client_expect_error(c, "ERR", "EVAL \"server.call = 1\" 0");
    client_expect(c, "1",
                  "EVAL \"local a = redis.call('TIME') for i = 1, 100000 do end local b = "
                  "redis.call('TIME') return a[1] == b[1] and a[2] == b[2]\" 0");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* What an error says of itself may be code of the script, which fails or runs commands.
 * redis-server 7.0.15 ends at most of these. */
START_TEST(test_error_with_metatable)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
#define RAISED(index) "EVAL \"error(setmetatable({}, {__index = function(t, k) " index " end}))\""
    client_expect_error(c, "ERR user_script:1: x script: ", RAISED("error('x')") " 0");
    client_expect_error(c, "ERR unknown error", RAISED("return nil") " 0");
    client_expect_error(c, "PONG script: ", RAISED("return redis.call('PING').ok") " 0");
    client_expect_error(c, "ERR ", RAISED("redis.call('nosuch')") " 0");
    client_expect_error(c, "ERR ", RAISED("return t[k]") " 0");
    client_expect_error(c, "1", RAISED("return redis.call('INCR', KEYS[1])") " 1 n");
    client_expect_error(c, "1", RAISED("return redis.call('INCR', ARGV[1])") " 0 m");
    client_expect(c, "[\"2\", \"2\"]", "MGET n m"); /* for err, for ignore_error_stats_update */
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* An attribute stands before the reply that it is about. */
START_TEST(test_attribute)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
    client_expect(c, "+OK", "DEBUG SET-DISABLE-DENY-SCRIPTS 1");
    client_expect(c, "\"Some real reply following the attribute\"",
                  "EVAL \"redis.setresp(3) return redis.call('DEBUG', 'PROTOCOL', 'attrib')\" 0");
    client_close(c);
    server_stop(&kv);
}
END_TEST

/* Of the server, in MiB: the most memory it ever had. */
static long memory_peak(void)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)kv.pid);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (kib < 0 && fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "VmHWM: %ld", &kib);
    }
    fclose(f);
    ck_assert_int_ge(kib, 0);
    return kib / 1024;
}

/* What a script changes of a long string is not worth a copy of the whole. */
START_TEST(test_long_string)
{
    server_init(&kv, SERVER_KV);
    server_start(&kv, NULL);
    struct client *c = server_connect(&kv);
    client_expect(c, "67108864", "SETRANGE s 67108863 x");
    client_expect(c, "0", "SETBIT s 7 1");
    long before = memory_peak();
    client_expect(c, "67108864", "EVAL \"return redis.call('SETRANGE',KEYS[1],5,'hi')\" 1 s");
    client_expect(c, "67108866", "EVAL \"return redis.call('APPEND',KEYS[1],'hi')\" 1 s");
    client_expect(c, "1", "EVAL \"return redis.call('SETBIT',KEYS[1],7,0)\" 1 s");
#ifdef KV_SANITIZE
    (void)before; /* a sanitizer has memory of its own */
#else
    ck_assert_int_lt(memory_peak(), before + 32);
#endif
    client_expect(c, "\"hi\"", "GETRANGE s 5 6");
    client_close(c);
    server_stop(&kv);
}
END_TEST

UNIT_SUITE(script)
{
    TCase *tc = unit_case(suite, "beside redis", test_replies);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    tcase_add_test(tc, test_sandbox);
    tcase_add_test(tc, test_libraries);
    tcase_add_test(tc, test_commands);
    tcase_add_test(tc, test_eval_arguments);
    tcase_add_test(tc, test_in_multi);
    tcase_add_test(tc, test_blocked_client_is_served);
    tcase_add_test(tc, test_functions);
    tcase_add_test(tc, test_many_scripts);
    tc = unit_case(suite, "own servers", test_functions_recover);
    tcase_add_test(tc, test_functions_in_new_log);
    tcase_add_test(tc, test_all_changes_are_logged);
    tcase_add_test(tc, test_undeclared);
    tcase_add_test(tc, test_undeclared_count);
    tcase_add_test(tc, test_undeclared_moves);
    tcase_add_test(tc, test_undeclared_in_coroutine);
    tcase_add_test(tc, test_attribute);
    tcase_add_test(tc, test_error_with_metatable);
    tcase_add_test(tc, test_long_string);
    tcase_add_test(tc, test_server_is_redis);
    tcase_add_test(tc, test_atomic_on_all_reactors);
}
