/* lib_bit.c -- The table `bit`: operations on 32-bit numbers.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * SOURCE  The semantics of Lua BitOp 1.0 (bitop.luajit.org): arguments are taken modulo 2^32,
 * results are signed. */
#include "script/script_int.h"

/* Rounds and takes the low 32 bits, as adding 2^52 + 2^51 to a double does. */
static uint32_t arg_bits(lua_State *L, int i)
{
    union {
        double d;
        uint64_t u;
    } v = { .d = luaL_checknumber(L, i) + 6755399441055744.0 };
    return (uint32_t)v.u;
}

static int push_bits(lua_State *L, uint32_t v)
{
    lua_pushnumber(L, (lua_Number)(int32_t)v);
    return 1;
}

static int bit_tobit(lua_State *L)
{
    return push_bits(L, arg_bits(L, 1));
}

static int bit_bnot(lua_State *L)
{
    return push_bits(L, ~arg_bits(L, 1));
}

static int bit_band(lua_State *L)
{
    uint32_t v = arg_bits(L, 1);
    for (int i = lua_gettop(L); i > 1; i--) {
        v &= arg_bits(L, i);
    }
    return push_bits(L, v);
}

static int bit_bor(lua_State *L)
{
    uint32_t v = arg_bits(L, 1);
    for (int i = lua_gettop(L); i > 1; i--) {
        v |= arg_bits(L, i);
    }
    return push_bits(L, v);
}

static int bit_bxor(lua_State *L)
{
    uint32_t v = arg_bits(L, 1);
    for (int i = lua_gettop(L); i > 1; i--) {
        v ^= arg_bits(L, i);
    }
    return push_bits(L, v);
}

static int bit_lshift(lua_State *L)
{
    return push_bits(L, arg_bits(L, 1) << (arg_bits(L, 2) & 31));
}

static int bit_rshift(lua_State *L)
{
    return push_bits(L, arg_bits(L, 1) >> (arg_bits(L, 2) & 31));
}

static int bit_arshift(lua_State *L)
{
    return push_bits(L, (uint32_t)((int32_t)arg_bits(L, 1) >> (arg_bits(L, 2) & 31)));
}

static uint32_t rotated(uint32_t v, uint32_t n)
{
    n &= 31;
    return n == 0 ? v : v << n | v >> (32 - n);
}

static int bit_rol(lua_State *L)
{
    return push_bits(L, rotated(arg_bits(L, 1), arg_bits(L, 2)));
}

static int bit_ror(lua_State *L)
{
    return push_bits(L, rotated(arg_bits(L, 1), 32 - (arg_bits(L, 2) & 31)));
}

static int bit_bswap(lua_State *L)
{
    return push_bits(L, __builtin_bswap32(arg_bits(L, 1)));
}

/* tohex(x, n): the low |n| digits, in capitals when n is negative. */
static int bit_tohex(lua_State *L)
{
    uint32_t v = arg_bits(L, 1);
    int32_t n = lua_isnone(L, 2) ? 8 : (int32_t)arg_bits(L, 2);
    const char *digits = n < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    uint32_t count = n < 0 ? -(uint32_t)n : (uint32_t)n;
    count = count > 8 ? 8 : count;
    char text[8];
    for (uint32_t i = count; i > 0; i--) {
        text[i - 1] = digits[v & 15];
        v >>= 4;
    }
    lua_pushlstring(L, text, count);
    return 1;
}

int luaopen_bit(lua_State *L)
{
    static const luaL_Reg functions[] = { { "tobit", bit_tobit },
                                          { "bnot", bit_bnot },
                                          { "band", bit_band },
                                          { "bor", bit_bor },
                                          { "bxor", bit_bxor },
                                          { "lshift", bit_lshift },
                                          { "rshift", bit_rshift },
                                          { "arshift", bit_arshift },
                                          { "rol", bit_rol },
                                          { "ror", bit_ror },
                                          { "bswap", bit_bswap },
                                          { "tohex", bit_tohex },
                                          { NULL, NULL } };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
