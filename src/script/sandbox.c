/* sandbox.c -- What scripts may see of Lua: the globals, read-only, without doors to the outside.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY       Lua 5.1 has no read-only tables. So the real tables stay out of reach: scripts get
 * empty tables whose metatable reads from the real one and refuses writes. Every function of the
 *           language that goes around metatables (rawset, rawget, next, table.insert ...) is
 *           replaced by one that knows these views.
 * INVARIANT No function that a script can call gives it a real table of the sandbox. */
#include "script/script_int.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static const char key_views;        /* registry: view -> real table */
static const char key_globals;      /* registry: the real table of globals */
static const char key_sealed;       /* registry: what getmetatable() shows of a view */
static const char key_library_env;  /* registry: the globals that library code sees, a view ... */
static const char key_library_meta; /* ... its metatable, whose __index is one of: */
static const char key_library_load, key_library_run;

static void registry_get(lua_State *L, const char *key)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

static void registry_set(lua_State *L, const char *key)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Pushes the real table behind the view at index; false: no view, nothing pushed. */
static bool view_real(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index)) {
        return false;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, index);
    registry_get(L, &key_views);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (lua_istable(L, -1)) {
        return true;
    }
    lua_pop(L, 1);
    return false;
}

static int readonly(lua_State *L)
{
    lua_pushliteral(L, "Attempt to modify a readonly table");
    return lua_error(L);
}

static int on_newindex(lua_State *L)
{
    return luaL_error(L, "Attempt to modify a readonly table");
}

static int on_missing(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'", name);
}

/* Metatable of a view of the table on top: pushed. */
static void push_view_meta(lua_State *L)
{
    lua_newtable(L);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, on_newindex);
    lua_setfield(L, -2, "__newindex");
    registry_get(L, &key_sealed);
    lua_setfield(L, -2, "__metatable");
}

void sandbox_protect(lua_State *L)
{
    lua_newtable(L);   /* real view */
    lua_insert(L, -2); /* view real */
    push_view_meta(L); /* view real meta */
    lua_setmetatable(L, -3);
    registry_get(L, &key_views); /* view real views */
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3); /* view real views view real */
    lua_rawset(L, -3);
    lua_pop(L, 2);
}

void sandbox_set_global(lua_State *L, const char *name)
{
    registry_get(L, &key_globals);
    lua_insert(L, -2);
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* ---- Replaced functions: upvalue 1 is the original where there is one ---- */

static int original(lua_State *L)
{
    lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(1));
    return f(L);
}

/* Refuses a view as its first argument. */
static int guarded(lua_State *L)
{
    if (view_real(L, 1)) {
        return readonly(L);
    }
    return original(L);
}

static int sb_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    if (view_real(L, 1)) {
        lua_replace(L, 1);
    }
    lua_rawget(L, 1);
    return 1;
}

/* A copy of the view at 1 in its place: what is walked over is never the real table. */
static void view_copy(lua_State *L)
{
    if (!view_real(L, 1)) {
        return;
    }
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, -3)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_replace(L, 1);
    lua_pop(L, 1);
}

static int sb_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (view_real(L, 1)) {
        lua_replace(L, 1);
    }
    if (lua_next(L, 1)) {
        return 2;
    }
    lua_pushnil(L);
    return 1;
}

static int sb_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    view_copy(L);
    lua_pushvalue(L, lua_upvalueindex(1)); /* next */
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Walks over a copy: table.foreach and its kin, concat. */
static int copied(lua_State *L)
{
    view_copy(L);
    return original(L);
}

static int sb_unpack(lua_State *L)
{
    view_copy(L);
    guard_unpack(L);
    return original(L);
}

static int with_pattern(lua_State *L)
{
    guard_pattern(L);
    return original(L);
}

static int sb_find(lua_State *L)
{
    if (!lua_toboolean(L, 4)) { /* else it is plain text */
        guard_pattern(L);
    }
    return original(L);
}

/* Upvalue 1 is what the original has there: it runs as if it was called itself. */
static int sb_encode(lua_State *L)
{
    guard_encode(L);
    lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(4));
    return f(L);
}

static int sb_loadstring(lua_State *L)
{
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    const char *name = luaL_optstring(L, 2, text);
    if (n > 0 && text[0] == LUA_SIGNATURE[0]) { /* compiled code is not checked by anybody */
        lua_pushnil(L);
        lua_pushliteral(L, "attempt to load chunk with wrong mode");
        return 2;
    }
    if (luaL_loadbuffer(L, text, n, name) == 0) {
        return 1;
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* load(f): the pieces are put together, so that loadstring sees the first byte. */
static int sb_load(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    const char *name = luaL_optstring(L, 2, "=(load)");
    lua_settop(L, 2);
    lua_pushliteral(L, "");
    for (;;) {
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            break;
        }
        if (lua_type(L, -1) != LUA_TSTRING) {
            return luaL_error(L, "reader function must return a string");
        }
        if (lua_objlen(L, -1) == 0) {
            lua_pop(L, 1);
            break;
        }
        lua_concat(L, 2);
    }
    lua_pushstring(L, name);
    lua_remove(L, 1);
    lua_remove(L, 1);
    return sb_loadstring(L);
}

static bool ending(lua_State *L)
{
    const struct run *run = vm_of(L)->run;
    return run != NULL && run_ends(run);
}

/* What took an error does not take the one that ends the run. */
static void raise_again(lua_State *L)
{
    if (ending(L)) {
        vm_stop(vm_of(L), L);
    }
}

/* As scripts know it: an error of redis.call() comes out as its text. */
static int sb_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    raise_again(L);
    lua_pushboolean(L, status == 0);
    lua_insert(L, 1);
    if (status != 0 && lua_istable(L, 2)) {
        lua_getfield(L, 2, "err");
        if (lua_isstring(L, -1)) {
            lua_replace(L, 2);
        } else {
            lua_pop(L, 1);
        }
    }
    return lua_gettop(L);
}

/* A run that must end is ended from the hook, where no other hook comes: a handler that went on for
 * ever could not be stopped there. */
static int on_xpcall_error(lua_State *L)
{
    if (!ending(L)) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_call(L, 1, 1);
    }
    return 1;
}

static int sb_xpcall(lua_State *L)
{
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_pushcclosure(L, on_xpcall_error, 1);
    lua_insert(L, 1);
    int status = lua_pcall(L, 0, LUA_MULTRET, 1);
    raise_again(L);
    lua_pushboolean(L, status == 0);
    lua_replace(L, 1);
    return lua_gettop(L);
}

static int sb_resume(lua_State *L)
{
    int n = original(L);
    raise_again(L);
    return n;
}

/* coroutine.create and wrap. Each new coroutine counts its instructions from 0: a script of many
 * short ones would never come to a hook. */
static int new_coroutine(lua_State *L)
{
    vm_look(L);
    return original(L);
}

/* ---- Random numbers: drand48, as in Redis, so that a seed gives the same ones ---- */

static int sb_random(lua_State *L)
{
    long r;
    lrand48_r(&vm_of(L)->random, &r);
    double unit = (double)(r % INT32_MAX) / (double)INT32_MAX;
    int low = 1, high;
    switch (lua_gettop(L)) {
    case 0: lua_pushnumber(L, unit); return 1;
    case 1:
        high = luaL_checkint(L, 1);
        luaL_argcheck(L, 1 <= high, 1, "interval is empty");
        break;
    case 2:
        low = luaL_checkint(L, 1);
        high = luaL_checkint(L, 2);
        luaL_argcheck(L, low <= high, 2, "interval is empty");
        break;
    default: return luaL_error(L, "wrong number of arguments");
    }
    lua_pushnumber(L, floor(unit * ((double)high - low + 1)) + low);
    return 1;
}

static int sb_randomseed(lua_State *L)
{
    srand48_r(luaL_checkint(L, 1), &vm_of(L)->random);
    return 0;
}

/* ---- Putting it together ---- */

static void open_library(lua_State *L, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* In the table on top: field `name` becomes f with the original as its upvalue. */
static void replace(lua_State *L, const char *name, lua_CFunction f)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, name);
}

/* The library `name` of the old globals, as a view, into the new ones on top. */
static void keep_library(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_GLOBALSINDEX, name);
    sandbox_protect(L);
    lua_setfield(L, -2, name);
}

static int sb_cjson_new(lua_State *L);

/* The cjson on top. */
static void repair_cjson(lua_State *L)
{
    lua_getfield(L, -1, "encode");
    must(lua_getupvalue(L, -1, 1) != NULL);
    lua_getfield(L, -3, "encode_max_depth");
    lua_getfield(L, -4, "encode_sparse_array");
    lua_pushvalue(L, -4);
    lua_pushcclosure(L, sb_encode, 4);
    lua_setfield(L, -3, "encode");
    lua_pop(L, 1);
    replace(L, "new", sb_cjson_new);
}

static int sb_cjson_new(lua_State *L)
{
    int n = original(L);
    repair_cjson(L);
    return n;
}

static void repair_libraries(lua_State *L)
{
    lua_getfield(L, LUA_GLOBALSINDEX, "table");
    static const char *const writers[] = { "insert", "remove", "sort", "setn" };
    for (unsigned i = 0; i < countof(writers); i++) {
        replace(L, writers[i], guarded);
    }
    static const char *const walkers[] = { "foreach", "foreachi", "concat", "getn", "maxn" };
    for (unsigned i = 0; i < countof(walkers); i++) {
        replace(L, walkers[i], copied);
    }
    lua_pop(L, 1);
    lua_getfield(L, LUA_GLOBALSINDEX, "coroutine");
    replace(L, "create", new_coroutine);
    replace(L, "wrap", new_coroutine);
    replace(L, "resume", sb_resume);
    lua_pop(L, 1);
    lua_getfield(L, LUA_GLOBALSINDEX, "math");
    replace(L, "random", sb_random);
    replace(L, "randomseed", sb_randomseed);
    lua_pop(L, 1);
    lua_getfield(L, LUA_GLOBALSINDEX, "string");
    replace(L, "find", sb_find);
    static const char *const matchers[] = { "match", "gmatch", "gfind", "gsub" };
    for (unsigned i = 0; i < countof(matchers); i++) {
        replace(L, matchers[i], with_pattern);
    }
    lua_pop(L, 1);
    lua_getfield(L, LUA_GLOBALSINDEX, "cjson");
    repair_cjson(L);
    lua_pop(L, 1);
    lua_pushliteral(L, ""); /* all strings share one metatable */
    lua_getmetatable(L, -1);
    registry_get(L, &key_sealed);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

static const char *const allowed[] = {
    "assert", "collectgarbage", "error",    "gcinfo",   "getmetatable", "ipairs", "select",
    "type",   "rawequal",       "tonumber", "tostring", "_VERSION",     NULL
};

static void fill_globals(lua_State *L)
{
    for (unsigned i = 0; allowed[i] != NULL; i++) {
        lua_getfield(L, LUA_GLOBALSINDEX, allowed[i]);
        lua_setfield(L, -2, allowed[i]);
    }
    static const struct {
        const char *name;
        lua_CFunction f;
    } replaced[] = {
        { "next", sb_next },         { "rawget", sb_rawget },         { "rawset", guarded },
        { "setmetatable", guarded }, { "loadstring", sb_loadstring }, { "load", sb_load },
        { "pcall", sb_pcall },       { "xpcall", sb_xpcall },         { "unpack", sb_unpack }
    };
    for (unsigned i = 0; i < countof(replaced); i++) {
        lua_getfield(L, LUA_GLOBALSINDEX, replaced[i].name);
        lua_pushcclosure(L, replaced[i].f, 1);
        lua_setfield(L, -2, replaced[i].name);
    }
    lua_getfield(L, -1, "next");
    lua_pushcclosure(L, sb_pairs, 1);
    lua_setfield(L, -2, "pairs");
    static const char *const libraries[] = { "string", "table",    "math", "coroutine",
                                             "cjson",  "cmsgpack", "bit",  "struct" };
    for (unsigned i = 0; i < countof(libraries); i++) {
        keep_library(L, libraries[i]);
    }
    lua_createtable(L, 0, 1); /* of os, the clock alone */
    lua_getfield(L, LUA_GLOBALSINDEX, "os");
    lua_getfield(L, -1, "clock");
    lua_setfield(L, -3, "clock");
    lua_pop(L, 1);
    sandbox_protect(L);
    lua_setfield(L, -2, "os");
}

static void open_third(lua_State *L, lua_CFunction open, const char *name)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    lua_setfield(L, LUA_GLOBALSINDEX, name);
}

void sandbox_no_more(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, on_missing);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

int luaopen_cjson(lua_State *L);

void sandbox_open(lua_State *L)
{
    open_library(L, luaopen_base, "");
    open_library(L, luaopen_table, LUA_TABLIBNAME);
    open_library(L, luaopen_string, LUA_STRLIBNAME);
    open_library(L, luaopen_math, LUA_MATHLIBNAME);
    open_library(L, luaopen_os, LUA_OSLIBNAME);
    open_third(L, luaopen_cjson, "cjson");
    open_third(L, luaopen_cmsgpack, "cmsgpack");
    open_third(L, luaopen_bit, "bit");
    open_third(L, luaopen_struct, "struct");
    lua_newtable(L);
    registry_set(L, &key_views);
    lua_newtable(L); /* sealed: an empty view, its own metatable for whoever asks */
    lua_pushvalue(L, -1);
    registry_set(L, &key_sealed);
    lua_newtable(L);
    push_view_meta(L);
    lua_setmetatable(L, -3);
    registry_get(L, &key_views);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 3);
    repair_libraries(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    registry_set(L, &key_globals);
    fill_globals(L);
    sandbox_no_more(L);
    lua_pushvalue(L, -1);
    sandbox_protect(L); /* globals view */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "_G");
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pop(L, 1);
}

/* ---- Globals of libraries: while loading next to nothing, while running those of scripts ---- */

/* A copy of the globals without what belongs to EVAL; pushed. */
static void push_library_globals(lua_State *L)
{
    lua_newtable(L);
    registry_get(L, &key_globals);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_tostring(L, -2);
        if (strcmp(name, "KEYS") == 0 || strcmp(name, "ARGV") == 0 || strcmp(name, "_G") == 0) {
            lua_pop(L, 1);
            continue;
        }
        lua_setfield(L, -4, name);
    }
    lua_pop(L, 1);
    sandbox_no_more(L);
}

void sandbox_open_libraries(lua_State *L)
{
    lua_newtable(L);
    redis_api_push(L, true);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "redis");
    lua_setfield(L, -2, "server");
    sandbox_no_more(L);
    registry_set(L, &key_library_load);
    push_library_globals(L);
    lua_newtable(L); /* the view, made by hand: its metatable changes */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "_G");
    push_view_meta(L);
    lua_pushvalue(L, -1);
    registry_set(L, &key_library_meta);
    lua_setmetatable(L, -2);
    registry_get(L, &key_views);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -4);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    registry_set(L, &key_library_env);
    registry_set(L, &key_library_run);
}

void sandbox_library_env(lua_State *L, bool load)
{
    registry_get(L, &key_library_meta);
    registry_get(L, load ? &key_library_load : &key_library_run);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    registry_get(L, &key_library_env);
}
