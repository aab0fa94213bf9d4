/* redis_api.c -- The table `redis` that scripts see.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors are tables {err = text}: redis.call() raises them, redis.pcall() returns them. */
#include "script/script_int.h"
#include "base/hash.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>

#define REPL_AOF     1
#define REPL_REPLICA 2

void error_push(lua_State *L, const char *text)
{
    lua_createtable(L, 0, 1);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "err");
}

static int raise(lua_State *L, const char *text)
{
    error_push(L, text);
    return lua_error(L);
}

/* ---- Commands ---- */

#define FEW 16

/* The arguments as text, which stays where it is: numbers are replaced on the stack. In `few` if
 * they fit. NULL: one is neither. */
static struct slice *arguments(lua_State *L, unsigned n, struct slice few[FEW])
{
    struct slice *argv = n <= FEW ? few : lua_newuserdata(L, n * sizeof *argv);
    for (unsigned i = 0; i < n; i++) {
        int at = (int)i + 1;
        if (lua_type(L, at) == LUA_TNUMBER) {
            char text[64];
            int len = snprintf(text, sizeof text, "%.17g", (double)lua_tonumber(L, at));
            lua_pushlstring(L, text, (size_t)len);
            lua_replace(L, at);
        } else if (lua_type(L, at) != LUA_TSTRING) {
            return NULL;
        }
        argv[i].p = lua_tolstring(L, at, &argv[i].n);
    }
    return argv;
}

static int fail(lua_State *L, bool raises, const char *text)
{
    error_push(L, text);
    return raises ? lua_error(L) : 1;
}

static int command(lua_State *L, bool raises)
{
    struct vm *vm = vm_of(L);
    struct run *run = vm->run;
    if (run == NULL) {
        return fail(L, raises,
                    "ERR redis.call/pcall can only be called inside a script invocation");
    }
    if (run_ends(run)) {
        vm_stop(vm, L);
    }
    unsigned n = (unsigned)lua_gettop(L);
    if (n == 0) {
        return fail(L, raises, "ERR Please specify at least one argument for this redis lib call");
    }
    struct slice few[FEW];
    const struct slice *argv = arguments(L, n, few);
    if (argv == NULL) {
        return fail(L, raises, "ERR Lua redis lib command arguments must be strings or integers");
    }
    struct slice reply;
    if (!call_script_command(run->c, argv, n, run->resp, run->rules, &reply)) {
        run->again = true;
        vm_stop(vm, L);
    }
    lua_settop(L, 0); /* thousands of arguments leave no room for the reply */
    bool error = convert_push(L, reply);
    if (error) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "ignore_error_stats_update");
    }
    return error && raises ? lua_error(L) : 1;
}

static int api_call(lua_State *L)
{
    return command(L, true);
}

static int api_pcall(lua_State *L)
{
    return command(L, false);
}

static int api_acl_check_cmd(lua_State *L)
{
    const struct run *run = vm_of(L)->run;
    unsigned n = (unsigned)lua_gettop(L);
    if (run == NULL) {
        return raise(L, "ERR redis.acl_check_cmd can only be called inside a script invocation");
    }
    if (n == 0) {
        return raise(L, "ERR Please specify at least one argument for this redis lib call");
    }
    struct slice few[FEW];
    const struct slice *argv = arguments(L, n, few);
    if (argv == NULL) {
        return raise(L, "ERR Lua redis lib command arguments must be strings or integers");
    }
    const struct command *row = exec_find_command(run->c->x, argv, n);
    if (row == NULL) {
        return raise(L, "ERR Invalid command passed to redis.acl_check_cmd()");
    }
    lua_pushboolean(L, call_may_command(run->c, argv, n));
    return 1;
}

/* ---- Replies ---- */

static bool one_string(lua_State *L)
{
    return lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TSTRING;
}

static int api_error_reply(lua_State *L)
{
    if (!one_string(L)) {
        error_push(L, "ERR wrong number or type of arguments");
        return 1;
    }
    size_t n;
    const char *text = lua_tolstring(L, 1, &n);
    if (n > 0 && text[0] == '-') {
        text++;
        n--;
    }
    lua_createtable(L, 0, 1);
    if (memchr(text, ' ', n) == NULL) { /* a code must stand in front */
        lua_pushliteral(L, "ERR ");
        lua_pushlstring(L, text, n);
        lua_concat(L, 2);
    } else {
        lua_pushlstring(L, text, n);
    }
    lua_setfield(L, -2, "err");
    return 1;
}

static int api_status_reply(lua_State *L)
{
    if (!one_string(L)) {
        error_push(L, "ERR wrong number or type of arguments");
        return 1;
    }
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "ok");
    return 1;
}

/* ---- The rest ---- */

static int api_sha1hex(lua_State *L)
{
    if (lua_gettop(L) != 1) {
        return raise(L, "ERR wrong number of arguments");
    }
    size_t n;
    const char *p = lua_tolstring(L, 1, &n);
    uint8_t digest[20];
    char hex[40];
    sha1(p != NULL ? p : "", p != NULL ? n : 0, digest);
    hex_encode(digest, sizeof digest, hex);
    lua_pushlstring(L, hex, sizeof hex);
    return 1;
}

static int api_log(lua_State *L)
{
    int n = lua_gettop(L);
    if (n < 2) {
        return raise(L, "ERR redis.log() requires two arguments or more.");
    }
    if (!lua_isnumber(L, 1)) {
        return raise(L, "ERR First argument must be a number (log level).");
    }
    int level = (int)lua_tointeger(L, 1);
    if (level < LOG_DEBUG_ || level > LOG_WARNING_) {
        return raise(L, "ERR Invalid debug level.");
    }
    struct buf text = { 0 };
    for (int i = 2; i <= n; i++) {
        size_t len;
        const char *p = lua_tolstring(L, i, &len);
        if (p != NULL) {
            if (text.n > 0) {
                buf_add_char(&text, ' ');
            }
            buf_add(&text, p, len);
        }
    }
    log_write((enum log_level)level, "%.*s", (int)text.n, text.p != NULL ? text.p : "");
    buf_free(&text);
    return 0;
}

static int api_setresp(lua_State *L)
{
    if (lua_gettop(L) != 1) {
        return raise(L, "ERR redis.setresp() requires one argument.");
    }
    int resp = (int)lua_tonumber(L, 1);
    if (resp != 2 && resp != 3) {
        return raise(L, "ERR RESP version must be 2 or 3.");
    }
    if (vm_of(L)->run != NULL) {
        vm_of(L)->run->resp = resp;
    }
    return 0;
}

/* COMPAT: Redis keeps out of the log and from replicas what is not to go there. Here all changes
 * are logged: a later command on a key that the log does not know would make it unreadable. */
static int api_set_repl(lua_State *L)
{
    if (lua_gettop(L) != 1) {
        return raise(L, "ERR redis.set_repl() requires two arguments.");
    }
    int flags = (int)lua_tonumber(L, 1);
    if ((flags & ~(REPL_AOF | REPL_REPLICA)) != 0) {
        return raise(L, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                        "REPL_NONE.");
    }
    return 0;
}

static int api_true(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

/* There is no debugger attached: redis.breakpoint() says so, redis.debug() prints for nobody. */
static int api_false(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int api_nothing(lua_State *L unused_arg)
{
    return 0;
}

void redis_api_push(lua_State *L, bool load)
{
    static const luaL_Reg both[] = { { "log", api_log }, { NULL, NULL } };
    static const luaL_Reg script[] = { { "sha1hex", api_sha1hex },
                                       { "error_reply", api_error_reply },
                                       { "status_reply", api_status_reply },
                                       { "setresp", api_setresp },
                                       { "set_repl", api_set_repl },
                                       { "acl_check_cmd", api_acl_check_cmd },
                                       { "call", api_call },
                                       { "pcall", api_pcall },
                                       { "replicate_commands", api_true },
                                       { "breakpoint", api_false },
                                       { "debug", api_nothing },
                                       { NULL, NULL } };
    static const struct {
        const char *name;
        int value;
    } numbers[] = { { "LOG_DEBUG", LOG_DEBUG_ },
                    { "LOG_VERBOSE", LOG_VERBOSE_ },
                    { "LOG_NOTICE", LOG_NOTICE_ },
                    { "LOG_WARNING", LOG_WARNING_ },
                    { "REPL_NONE", 0 },
                    { "REPL_AOF", REPL_AOF },
                    { "REPL_SLAVE", REPL_REPLICA },
                    { "REPL_REPLICA", REPL_REPLICA },
                    { "REPL_ALL", REPL_AOF | REPL_REPLICA } };
    lua_newtable(L);
    luaL_register(L, NULL, both);
    if (load) {
        lua_pushcfunction(L, api_register_function);
        lua_setfield(L, -2, "register_function");
    } else {
        luaL_register(L, NULL, script);
    }
    for (unsigned i = 0; i < countof(numbers); i++) {
        lua_pushinteger(L, numbers[i].value);
        lua_setfield(L, -2, numbers[i].name);
    }
    int major = 0, minor = 0, patch = 0;
    (void)sscanf(EXEC_REDIS_VERSION, "%d.%d.%d", &major, &minor, &patch);
    lua_pushliteral(L, EXEC_REDIS_VERSION);
    lua_setfield(L, -2, "REDIS_VERSION");
    lua_pushinteger(L, major << 16 | minor << 8 | patch);
    lua_setfield(L, -2, "REDIS_VERSION_NUM");
    if (load) {
        sandbox_no_more(L);
    }
    sandbox_protect(L);
}
