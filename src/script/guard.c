/* guard.c -- What a script may ask of Lua's own libraries: their limits that they do not look at.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY       The system's Lua 5.1 and cjson count in int and recurse as deep as they are told to. A
 *           script that asks for enough overruns a stack or a buffer, and the process is gone. Each
 *           guard runs before the function it guards, sees the same arguments and raises an error.
 *           unpack   the number of results is an int that wraps (CVE-2025-46817)
 *           patterns each repetition may be one more call on the C stack
 *           cjson    the buffer's length is an int that wraps (CVE-2022-24834) */
#include "script/script_int.h"
#include <limits.h>
#include <math.h>

void guard_unpack(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t from = luaL_optint(L, 2, 1);
    int64_t to = lua_isnoneornil(L, 3) ? (int64_t)lua_objlen(L, 1) : luaL_checkint(L, 3);
    if (to - from >= INT_MAX) {
        luaL_error(L, "too many results to unpack");
    }
}

/* A call of some 100 bytes each: a stack of 8 MiB has room for eight times as many. */
#define REPETITIONS_MAX 10000

void guard_pattern(lua_State *L)
{
    size_t n, repetitions = 0;
    const char *p = lua_tolstring(L, 2, &n);
    for (size_t i = 0; p != NULL && n > REPETITIONS_MAX && i < n; i++) {
        repetitions += p[i] == '*' || p[i] == '+' || p[i] == '-' || p[i] == '?';
    }
    if (repetitions > REPETITIONS_MAX) {
        luaL_error(L, "pattern too complex");
    }
}

/* ---- cjson.encode ---- */

/* The buffer doubles: past this its length could not. */
#define JSON_MAX    ((uint64_t)1 << 30)
#define JSON_VALUE  32 /* a number at its longest, or brackets, with what stands between */
#define JSON_ESCAPE 6  /* \u0000: cjson makes room for that much for each byte */
#define JSON_NULL   5  /* a missing element of an array, and its comma */
#define JSON_DEPTH  1000

static void spend(lua_State *L, uint64_t *left, uint64_t n)
{
    if (n > *left) {
        luaL_error(L, "Cannot serialise, the text would be too long");
    }
    *left -= n;
}

/* Past the usual depth: what cjson was told to allow, in the function that is upvalue 2. */
static void check_depth(lua_State *L, int depth)
{
    luaL_checkstack(L, 4, "table too deep");
    if (depth > JSON_DEPTH) {
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_call(L, 0, 1);
        if (depth > lua_tointeger(L, -1)) {
            luaL_error(L, "Cannot serialise, excessive nesting (%d)", depth);
        }
        lua_pop(L, 1);
    }
}

/* Of n elements with keys from 1 to `last`, too many of them missing: an error or an object, as the
 * function that is upvalue 3 was told. */
static bool too_sparse(lua_State *L, double n, double last)
{
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_call(L, 0, 3);
    double ratio = lua_tonumber(L, -2), safe = lua_tonumber(L, -1);
    lua_pop(L, 3);
    return ratio > 0 && last > n * ratio && last > safe;
}

/* Takes from `left` what the value on top may need. */
static void weigh(lua_State *L, uint64_t *left, int depth)
{
    spend(L, left, JSON_VALUE);
    if (lua_type(L, -1) == LUA_TSTRING) {
        spend(L, left, lua_objlen(L, -1) * JSON_ESCAPE);
    }
    if (!lua_istable(L, -1)) {
        return;
    }
    check_depth(L, depth);
    double n = 0, last = 0; /* of what may be an array */
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            spend(L, left, lua_objlen(L, -2) * JSON_ESCAPE);
        } else if (lua_type(L, -2) == LUA_TNUMBER) {
            last = fmax(last, lua_tonumber(L, -2));
        }
        weigh(L, left, depth + 1);
        lua_pop(L, 1);
        n++;
    }
    if ((last - n) * JSON_NULL > (double)*left && !too_sparse(L, n, last)) {
        luaL_error(L, "Cannot serialise table: excessively sparse array");
    }
}

void guard_encode(lua_State *L)
{
    if (lua_gettop(L) == 1) { /* else it is refused anyway */
        uint64_t left = JSON_MAX;
        weigh(L, &left, 1);
    }
}
