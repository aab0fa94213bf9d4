/* lib_cmsgpack.c -- The table `cmsgpack`: Lua values to and from MessagePack.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * SOURCE  The MessagePack specification (github.com/msgpack/msgpack). Which form is chosen, what a
 * table becomes and where nesting ends is as lua-cmsgpack 0.4 does it, so that bytes are equal. */
#include "script/script_int.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

#define NESTING_MAX 16 /* deeper tables are packed as nil */

/* ---- Packing: into a string on the Lua stack, so that an error leaks nothing ---- */

struct packer {
    lua_State *L;
    char *p; /* a userdata at stack index `slot` */
    size_t n, cap;
    int slot;
};

static char *room(struct packer *k, size_t n)
{
    if (k->cap - k->n < n) {
        size_t cap = (k->n + n) * 2;
        char *p = lua_newuserdata(k->L, cap);
        if (k->n > 0) {
            memcpy(p, k->p, k->n);
        }
        lua_replace(k->L, k->slot);
        k->p = p;
        k->cap = cap;
    }
    k->n += n;
    return k->p + k->n - n;
}

static void put_byte(struct packer *k, unsigned v)
{
    *room(k, 1) = (char)v;
}

/* A head byte and n bytes of v, big endian. */
static void put_head(struct packer *k, unsigned head, uint64_t v, unsigned n)
{
    char *p = room(k, n + 1);
    *p++ = (char)head;
    for (unsigned i = n; i > 0; i--) {
        *p++ = (char)(v >> (8 * (i - 1)) & 0xff);
    }
}

static void put_int(struct packer *k, int64_t v)
{
    if (v >= 0) {
        if (v <= 127) {
            put_byte(k, (unsigned)v);
        } else if (v <= 0xff) {
            put_head(k, 0xcc, (uint64_t)v, 1);
        } else if (v <= 0xffff) {
            put_head(k, 0xcd, (uint64_t)v, 2);
        } else if (v <= 0xffffffff) {
            put_head(k, 0xce, (uint64_t)v, 4);
        } else {
            put_head(k, 0xcf, (uint64_t)v, 8);
        }
    } else if (v >= -32) {
        put_byte(k, (unsigned)(v & 0xff));
    } else if (v >= -128) {
        put_head(k, 0xd0, (uint64_t)v, 1);
    } else if (v >= -32768) {
        put_head(k, 0xd1, (uint64_t)v, 2);
    } else if (v >= -2147483648LL) {
        put_head(k, 0xd2, (uint64_t)v, 4);
    } else {
        put_head(k, 0xd3, (uint64_t)v, 8);
    }
}

static void put_number(struct packer *k, double d)
{
    if (d >= -9223372036854775808.0 && d < 9223372036854775808.0 && (double)(int64_t)d == d) {
        put_int(k, (int64_t)d);
        return;
    }
    float f = (float)d;
    if ((double)f == d) {
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        put_head(k, 0xca, bits, 4);
    } else {
        uint64_t bits;
        memcpy(&bits, &d, sizeof bits);
        put_head(k, 0xcb, bits, 8);
    }
}

static void put_string(struct packer *k, const char *s, size_t n)
{
    if (n < 32) {
        put_byte(k, 0xa0 | (unsigned)n);
    } else if (n <= 0xff) {
        put_head(k, 0xd9, n, 1);
    } else if (n <= 0xffff) {
        put_head(k, 0xda, n, 2);
    } else {
        put_head(k, 0xdb, n, 4);
    }
    memcpy(room(k, n), s, n);
}

/* Keys are exactly 1..n. *n is the number of pairs. */
static bool is_array(lua_State *L, size_t *n)
{
    size_t count = 0;
    double max = 0;
    bool array = true;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        count++;
        double key = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        if (!(key >= 1) || key != floor(key)) {
            array = false;
        } else if (key > max) {
            max = key;
        }
    }
    *n = count;
    return array && max == (double)count;
}

static void put_value(struct packer *k, unsigned level);

static void put_array(struct packer *k, size_t n, unsigned level)
{
    if (n <= 15) {
        put_byte(k, 0x90 | (unsigned)n);
    } else if (n <= 0xffff) {
        put_head(k, 0xdc, n, 2);
    } else {
        put_head(k, 0xdd, n, 4);
    }
    for (size_t i = 1; i <= n; i++) {
        lua_pushnumber(k->L, (lua_Number)i);
        lua_gettable(k->L, -2);
        put_value(k, level + 1);
    }
}

static void put_map(struct packer *k, size_t n, unsigned level)
{
    if (n <= 15) {
        put_byte(k, 0x80 | (unsigned)n);
    } else if (n <= 0xffff) {
        put_head(k, 0xde, n, 2);
    } else {
        put_head(k, 0xdf, n, 4);
    }
    lua_pushnil(k->L);
    while (lua_next(k->L, -2)) {
        lua_pushvalue(k->L, -2);
        put_value(k, level + 1);
        put_value(k, level + 1);
    }
}

/* Packs the value on top and pops it. */
static void put_value(struct packer *k, unsigned level)
{
    lua_State *L = k->L;
    luaL_checkstack(L, 8, "in function mp_check");
    size_t n;
    const char *s;
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE && level == NESTING_MAX) {
        type = LUA_TNIL;
    }
    switch (type) {
    case LUA_TSTRING:
        s = lua_tolstring(L, -1, &n);
        put_string(k, s, n);
        break;
    case LUA_TBOOLEAN: put_byte(k, lua_toboolean(L, -1) ? 0xc3 : 0xc2); break;
    case LUA_TNUMBER: put_number(k, lua_tonumber(L, -1)); break;
    case LUA_TTABLE:
        if (is_array(L, &n)) {
            put_array(k, n, level);
        } else {
            put_map(k, n, level);
        }
        break;
    default: put_byte(k, 0xc0);
    }
    lua_pop(L, 1);
}

static int mp_pack(lua_State *L)
{
    int n = lua_gettop(L);
    if (n == 0) {
        return luaL_argerror(L, 0, "MessagePack pack needs input.");
    }
    luaL_checkstack(L, n + 8, "Too many arguments for MessagePack pack.");
    lua_pushnil(L);
    struct packer k = { .L = L, .slot = n + 1 };
    for (int i = 1; i <= n; i++) {
        lua_pushvalue(L, i);
        put_value(&k, 0);
    }
    lua_pushlstring(L, k.p != NULL ? k.p : "", k.n);
    return 1;
}

/* ---- Unpacking ---- */

struct unpacker {
    lua_State *L;
    const uint8_t *p;
    size_t n;
};

static const uint8_t *take(struct unpacker *u, size_t n)
{
    if (u->n < n) {
        luaL_error(u->L, "Missing bytes in input.");
    }
    const uint8_t *p = u->p;
    u->p += n;
    u->n -= n;
    return p;
}

static uint64_t take_uint(struct unpacker *u, unsigned n)
{
    const uint8_t *p = take(u, n);
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static void push_value(struct unpacker *u);

static void push_bytes(struct unpacker *u, uint64_t n)
{
    const uint8_t *p = take(u, n);
    lua_pushlstring(u->L, (const char *)p, n);
}

static void push_items(struct unpacker *u, uint64_t n, bool map)
{
    lua_newtable(u->L);
    luaL_checkstack(u->L, 4, "in function mp_decode_to_lua_hash");
    for (uint64_t i = 1; i <= n; i++) {
        if (map) {
            push_value(u);
        } else {
            lua_pushnumber(u->L, (lua_Number)i);
        }
        push_value(u);
        lua_settable(u->L, -3);
    }
}

static void push_float(struct unpacker *u, unsigned n)
{
    uint64_t bits = take_uint(u, n);
    if (n == 4) {
        uint32_t low = (uint32_t)bits;
        float f;
        memcpy(&f, &low, sizeof f);
        lua_pushnumber(u->L, f);
    } else {
        double d;
        memcpy(&d, &bits, sizeof d);
        lua_pushnumber(u->L, d);
    }
}

static void push_signed(struct unpacker *u, unsigned n)
{
    uint64_t v = take_uint(u, n);
    unsigned shift = 64 - 8 * n;
    lua_pushnumber(u->L, (lua_Number)((int64_t)(v << shift) >> shift));
}

static void push_value(struct unpacker *u)
{
    luaL_checkstack(u->L, 4,
                    "too many return values at once; use unpack_one or unpack_limit "
                    "instead.");
    uint8_t head = *take(u, 1);
    if (head <= 0x7f) {
        lua_pushnumber(u->L, head);
    } else if (head <= 0x8f) {
        push_items(u, head & 15, true);
    } else if (head <= 0x9f) {
        push_items(u, head & 15, false);
    } else if (head <= 0xbf) {
        push_bytes(u, head & 31);
    } else if (head >= 0xe0) {
        lua_pushnumber(u->L, (int8_t)head);
    } else {
        switch (head) {
        case 0xc0: lua_pushnil(u->L); break;
        case 0xc2:
        case 0xc3: lua_pushboolean(u->L, head & 1); break;
        case 0xc4:
        case 0xd9: push_bytes(u, take_uint(u, 1)); break;
        case 0xc5:
        case 0xda: push_bytes(u, take_uint(u, 2)); break;
        case 0xc6:
        case 0xdb: push_bytes(u, take_uint(u, 4)); break;
        case 0xca: push_float(u, 4); break;
        case 0xcb: push_float(u, 8); break;
        case 0xcc:
        case 0xcd:
        case 0xce: lua_pushnumber(u->L, (lua_Number)take_uint(u, 1u << (head - 0xcc))); break;
        case 0xd0:
        case 0xd1:
        case 0xd2:
        case 0xd3: push_signed(u, 1u << (head - 0xd0)); break;
        case 0xcf: push_signed(u, 8); break; /* COMPAT: above 2^63 - 1 it is negative */
        case 0xdc: push_items(u, take_uint(u, 2), false); break;
        case 0xdd: push_items(u, take_uint(u, 4), false); break;
        case 0xde: push_items(u, take_uint(u, 2), true); break;
        case 0xdf: push_items(u, take_uint(u, 4), true); break;
        default: luaL_error(u->L, "Bad data format in input.");
        }
    }
}

/* limit 0: all, and only they are returned; else at most limit, behind the offset of the rest, -1
 * when there is none. */
static int unpack_some(lua_State *L, lua_Integer limit, lua_Integer offset)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    if (offset < 0 || limit < 0) {
        return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)n);
    }
    if ((size_t)offset > n) {
        return luaL_error(L, "Start offset %d greater than input length %d.", (int)offset, (int)n);
    }
    bool all = limit == 0 && offset == 0;
    struct unpacker u = { L, (const uint8_t *)s + offset, n - (size_t)offset };
    int count = 0;
    while (u.n > 0 && (limit == 0 || count < limit)) {
        push_value(&u);
        count++;
    }
    if (!all) {
        lua_pushinteger(L, u.n == 0 ? -1 : (lua_Integer)(n - u.n));
        lua_insert(L, -count - 1);
        count++;
    }
    return count;
}

static int mp_unpack(lua_State *L)
{
    return unpack_some(L, 0, 0);
}

static int mp_unpack_one(lua_State *L)
{
    lua_Integer offset = luaL_optinteger(L, 2, 0);
    lua_settop(L, 1);
    return unpack_some(L, 1, offset);
}

static int mp_unpack_limit(lua_State *L)
{
    lua_Integer limit = luaL_checkinteger(L, 2), offset = luaL_optinteger(L, 3, 0);
    lua_settop(L, 1);
    return unpack_some(L, limit, offset);
}

int luaopen_cmsgpack(lua_State *L)
{
    static const luaL_Reg functions[] = { { "pack", mp_pack },
                                          { "unpack", mp_unpack },
                                          { "unpack_one", mp_unpack_one },
                                          { "unpack_limit", mp_unpack_limit },
                                          { NULL, NULL } };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, "cmsgpack");
    lua_setfield(L, -2, "_NAME");
    lua_pushliteral(L, "kv cmsgpack, as lua-cmsgpack 0.4.0");
    lua_setfield(L, -2, "_VERSION");
    return 1;
}
