/* convert.c -- Replies become Lua values, and Lua values replies.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * RESP      | Lua                          Lua                       | RESP
 * ----------+---------------------------   --------------------------+--------------------------
 * :1        | 1                            number                    | :n, its integer part
 * $, =      | string; {verbatim_string=}   string                    | $
 * +OK       | {ok="OK"}                    {ok=}, {err=}             | +, -
 * -ERR x    | {err="ERR x"}                {double=}, {map=}, {set=} | ,  %  ~
 * $-1 *-1   | false                        true, false, nil          | :1, null ($-1 or _)
 * _ #t ,    | nil, true, {double=}         table                     | array up to the first nil
 * % ~ (     | {map=}, {set=}, {big_number=}
 *
 * The RESP bytes are kv's own: they are well-formed. */
#include "script/script_int.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

struct reader {
    const char *p, *end;
};

static struct slice line(struct reader *r)
{
    const char *eol = memchr(r->p, '\r', (size_t)(r->end - r->p));
    must(eol != NULL && eol + 2 <= r->end);
    struct slice s = slice_of(r->p, (size_t)(eol - r->p));
    r->p = eol + 2;
    return s;
}

static int64_t number(struct slice s)
{
    int64_t v = 0;
    must(parse_i64(s, &v));
    return v;
}

static struct slice bulk(struct reader *r, int64_t n)
{
    must(n >= 0 && r->end - r->p >= n + 2);
    struct slice s = slice_of(r->p, (size_t)n);
    r->p += n + 2;
    return s;
}

static void push_slice(lua_State *L, struct slice s)
{
    lua_pushlstring(L, s.p, s.n);
}

/* {field = value on top} */
static void wrap(lua_State *L, const char *field)
{
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, field);
}

static void push(lua_State *L, struct reader *r);

static void push_array(lua_State *L, struct reader *r, int64_t n)
{
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        push(L, r);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static void push_map(lua_State *L, struct reader *r, int64_t n, bool set)
{
    lua_createtable(L, 0, (int)n);
    for (int64_t i = 0; i < n; i++) {
        push(L, r);
        if (set) {
            lua_pushboolean(L, 1);
        } else {
            push(L, r);
        }
        if (lua_isnil(L, -2)) {
            lua_pop(L, 2);
        } else {
            lua_rawset(L, -3);
        }
    }
    wrap(L, set ? "set" : "map");
}

static void push_verbatim(lua_State *L, struct slice s)
{
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, s.p, 3);
    lua_setfield(L, -2, "format");
    lua_pushlstring(L, s.p + 4, s.n - 4);
    lua_setfield(L, -2, "string");
    wrap(L, "verbatim_string");
}

static double double_of(struct slice s)
{
    double v = 0;
    if (slice_is(s, "inf") || slice_is(s, "-inf")) {
        return s.p[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    }
    return parse_f64(s, &v) ? v : NAN;
}

static void push(lua_State *L, struct reader *r)
{
    luaL_checkstack(L, 8, "reply too deep");
    struct slice s = line(r);
    char type = s.p[0];
    s = slice_of(s.p + 1, s.n - 1);
    switch (type) {
    case ':': lua_pushnumber(L, (lua_Number)number(s)); break;
    case '+':
        push_slice(L, s);
        wrap(L, "ok");
        break;
    case '-':
        push_slice(L, s);
        wrap(L, "err");
        break;
    case '_': lua_pushnil(L); break;
    case '#': lua_pushboolean(L, s.p[0] == 't'); break;
    case ',':
        lua_pushnumber(L, double_of(s));
        wrap(L, "double");
        break;
    case '(':
        push_slice(L, s);
        wrap(L, "big_number");
        break;
    case '=': push_verbatim(L, bulk(r, number(s))); break;
    case '%': push_map(L, r, number(s), false); break;
    case '~': push_map(L, r, number(s), true); break;
    case '|': /* about the reply that follows: scripts do not see it */
        push_map(L, r, number(s), false);
        lua_pop(L, 1);
        push(L, r);
        break;
    default: {
        int64_t n = number(s);
        if (n < 0) {
            lua_pushboolean(L, 0);
        } else if (type == '$') {
            push_slice(L, bulk(r, n));
        } else {
            must(type == '*' || type == '>');
            push_array(L, r, n);
        }
    }
    }
}

bool convert_push(lua_State *L, struct slice resp)
{
    struct reader r = { resp.p, resp.p + resp.n };
    push(L, &r);
    return resp.p[0] == '-';
}

/* ---- Lua to reply ---- */

/* A double becomes an integer as the C cast of Redis's processor does it. */
static int64_t integer_of(double v)
{
    return v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? (int64_t)v : INT64_MIN;
}

/* The text of a reply of one line: what is behind a line end would be another reply. NULL: no
 * memory, which is replied. */
static char *one_line(struct call *c, const char *p, size_t n, size_t *len)
{
    char *text = mem_try_alloc(n + 1);
    if (text == NULL) {
        reply_oom(c);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(p[i] == '\r' || p[i] == '\n' || p[i] == '\0' ? ' ' : p[i]);
    }
    text[n] = '\0';
    *len = n;
    return text;
}

/* Pushes field `name` of the table on top, without metatables; false: not of that type, nothing
 * pushed. */
static bool field(lua_State *L, const char *name, int type)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    if (lua_type(L, -1) == type) {
        return true;
    }
    lua_pop(L, 1);
    return false;
}

static void reply_map_of(struct call *c, lua_State *L, int resp)
{
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        convert_reply(c, L, resp);
        convert_reply(c, L, resp);
        n++;
    }
    reply_map_fill(c, hole, n);
    lua_pop(L, 1);
}

static void reply_set_of(struct call *c, lua_State *L, int resp)
{
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        convert_reply(c, L, resp);
        n++;
    }
    reply_set_fill(c, hole, n);
    lua_pop(L, 1);
}

static void reply_line(struct call *c, lua_State *L, bool error)
{
    size_t n;
    const char *p = lua_tolstring(L, -1, &n);
    char *text = one_line(c, p, n, &n);
    if (text == NULL) {
        /* replied */
    } else if (error) {
        lua_pushliteral(L, "ignore_error_stats_update");
        lua_rawget(L, -3);
        bool counted = lua_toboolean(L, -1);
        lua_pop(L, 1);
        (counted ? reply_error_again : reply_error)(c, text);
    } else {
        reply_simple(c, text);
    }
    mem_free(text);
    lua_pop(L, 1);
}

static bool reply_verbatim_of(struct call *c, lua_State *L)
{
    if (field(L, "string", LUA_TSTRING)) {
        lua_insert(L, -2);
        if (field(L, "format", LUA_TSTRING)) {
            size_t n, len;
            const char *format = lua_tolstring(L, -1, &n);
            const char *text = lua_tolstring(L, -3, &len);
            char ext[3] = { ' ', ' ', ' ' };
            memcpy(ext, format, n < 3 ? n : 3);
            reply_verbatim(c, slice_of(text, len), ext);
            lua_pop(L, 3);
            return true;
        }
        lua_remove(L, -2);
    }
    lua_pop(L, 1);
    return false;
}

static void reply_array_of(struct call *c, lua_State *L, int resp)
{
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    for (;;) {
        lua_rawgeti(L, -1, (int)n + 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            break;
        }
        convert_reply(c, L, resp);
        n++;
    }
    reply_array_fill(c, hole, n);
}

static void reply_table(struct call *c, lua_State *L, int resp)
{
    if (field(L, "err", LUA_TSTRING)) {
        reply_line(c, L, true);
    } else if (field(L, "ok", LUA_TSTRING)) {
        reply_line(c, L, false);
    } else if (field(L, "double", LUA_TNUMBER)) {
        reply_double(c, lua_tonumber(L, -1));
        lua_pop(L, 1);
    } else if (field(L, "map", LUA_TTABLE)) {
        reply_map_of(c, L, resp);
    } else if (field(L, "set", LUA_TTABLE)) {
        reply_set_of(c, L, resp);
    } else if (field(L, "big_number", LUA_TSTRING)) {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        char *text = one_line(c, p, n, &n);
        if (text != NULL) {
            reply_bignum(c, slice_of(text, n));
        }
        mem_free(text);
        lua_pop(L, 1);
    } else if (!(field(L, "verbatim_string", LUA_TTABLE) && reply_verbatim_of(c, L))) {
        reply_array_of(c, L, resp);
    }
}

void convert_reply(struct call *c, lua_State *L, int resp)
{
    if (!lua_checkstack(L, 6)) {
        reply_error(c, "ERR reached lua stack limit");
        lua_pop(L, 1);
        return;
    }
    size_t n;
    const char *p;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        p = lua_tolstring(L, -1, &n);
        reply_bulk(c, slice_of(p, n));
        break;
    case LUA_TNUMBER: reply_int(c, integer_of(lua_tonumber(L, -1))); break;
    case LUA_TBOOLEAN:
        if (resp == 3) {
            reply_bool(c, lua_toboolean(L, -1));
        } else if (lua_toboolean(L, -1)) {
            reply_int(c, 1);
        } else {
            reply_null(c);
        }
        break;
    case LUA_TTABLE: reply_table(c, L, resp); break;
    default: reply_null(c);
    }
    lua_pop(L, 1);
}
