/* lib_struct.c -- The table `struct`: values to and from C-like byte layouts.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORMAT  >  big endian      x    a zero byte           i In   signed int (n bytes)
 *         <  little          b B  char                  I In   unsigned int
 *         !n align to n      h H  short                 f d    float, double
 *         =  native order    l L  long    T  size_t     s      zero-terminated string
 *                                                        cn    n bytes; c0: all of the string, or,
 *         unpacking, as many as the number read before it
 * SOURCE  The documentation of struct 0.2 (inf.puc-rio.br/~roberto/struct). */
#include "script/script_int.h"
#include "base/mem.h"
#include <limits.h>
#include <stddef.h>
#include <string.h>

#define INT_BYTES_MAX 32
#define ALIGN_DEFAULT 8

struct layout {
    const char *fmt;
    bool little;
    size_t align;
};
struct item {
    char opt;
    size_t size;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t read_number(lua_State *L, struct layout *y, size_t otherwise)
{
    if (!is_digit(*y->fmt)) {
        return otherwise;
    }
    size_t n = 0;
    while (is_digit(*y->fmt)) {
        size_t digit = (size_t)(*y->fmt++ - '0');
        if (n > (INT_MAX - digit) / 10) {
            luaL_error(L, "integral size overflow");
        }
        n = n * 10 + digit;
    }
    return n;
}

static size_t int_size(lua_State *L, struct layout *y)
{
    size_t n = read_number(L, y, sizeof(int));
    if (n > INT_BYTES_MAX) {
        luaL_error(L, "integral size %d is larger than limit of %d", (int)n, INT_BYTES_MAX);
    }
    return n;
}

/* The next option that stands for a value or padding; false: the format is over. */
static bool next_item(lua_State *L, struct layout *y, struct item *it)
{
    while (*y->fmt != '\0') {
        it->opt = *y->fmt++;
        switch (it->opt) {
        case 'b':
        case 'B': it->size = 1; return true;
        case 'h':
        case 'H': it->size = sizeof(short); return true;
        case 'l':
        case 'L': it->size = sizeof(long); return true;
        case 'T': it->size = sizeof(size_t); return true;
        case 'f': it->size = sizeof(float); return true;
        case 'd': it->size = sizeof(double); return true;
        case 'x': it->size = 1; return true;
        case 'c': it->size = read_number(L, y, 1); return true;
        case 'i':
        case 'I': it->size = int_size(L, y); return true;
        case 's': it->size = 0; return true;
        case ' ': break;
        case '>': y->little = false; break;
        case '<':
        case '=': y->little = true; break;
        case '!': {
            size_t n = read_number(L, y, ALIGN_DEFAULT);
            if (n == 0 || (n & (n - 1)) != 0) {
                luaL_error(L, "alignment %d is not a power of 2", (int)n);
            }
            y->align = n;
            break;
        }
        default: luaL_argerror(L, 1, lua_pushfstring(L, "invalid format option '%c'", it->opt));
        }
    }
    return false;
}

static size_t padding(const struct layout *y, const struct item *it, size_t at)
{
    if (it->size == 0 || it->opt == 'c' || it->opt == 'x') {
        return 0;
    }
    /* COMPAT: a size that is no power of 2 goes into the mask as it is. */
    size_t align = it->size > y->align ? y->align : it->size;
    return align > 1 ? (align - (at & (align - 1))) & (align - 1) : 0;
}

static struct layout layout_of(lua_State *L)
{
    return (struct layout){ .fmt = luaL_checkstring(L, 1), .little = true, .align = 1 };
}

static void swap_bytes(char *p, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        char c = p[i];
        p[i] = p[n - 1 - i];
        p[n - 1 - i] = c;
    }
}

static void add_int(lua_State *L, luaL_Buffer *b, int arg, const struct item *it, bool little)
{
    lua_Number n = luaL_checknumber(L, arg);
    uint64_t v = n < 0 ? (uint64_t)(n < -9223372036854775808.0 ? INT64_MIN : (int64_t)n)
                       : (n < 18446744073709551616.0 ? (uint64_t)n : UINT64_MAX);
    char bytes[INT_BYTES_MAX];
    for (size_t i = 0; i < it->size; i++) {
        bytes[i] = (char)(i < 8 ? v >> (8 * i) & 0xff : 0);
    }
    if (!little) {
        swap_bytes(bytes, it->size);
    }
    luaL_addlstring(b, bytes, it->size);
}

static void add_float(lua_State *L, luaL_Buffer *b, int arg, const struct item *it, bool little)
{
    char bytes[sizeof(double)];
    double d = luaL_checknumber(L, arg);
    if (it->opt == 'f') {
        float f = (float)d;
        memcpy(bytes, &f, sizeof f);
    } else {
        memcpy(bytes, &d, sizeof d);
    }
    if (!little) {
        swap_bytes(bytes, it->size);
    }
    luaL_addlstring(b, bytes, it->size);
}

static int struct_pack(lua_State *L)
{
    struct layout y = layout_of(L);
    struct item it;
    luaL_Buffer b;
    size_t total = 0;
    int arg = 2;
    lua_pushnil(L); /* keeps the buffer's pieces apart from the arguments */
    luaL_buffinit(L, &b);
    while (next_item(L, &y, &it)) {
        for (size_t pad = padding(&y, &it, total); pad > 0; pad--, total++) {
            luaL_addchar(&b, '\0');
        }
        switch (it.opt) {
        case 'x': luaL_addchar(&b, '\0'); break;
        case 'f':
        case 'd': add_float(L, &b, arg++, &it, y.little); break;
        case 'c':
        case 's': {
            size_t n;
            const char *s = luaL_checklstring(L, arg++, &n);
            it.size = it.size == 0 ? n : it.size;
            luaL_argcheck(L, n >= it.size, arg, "string too short");
            luaL_addlstring(&b, s, it.size);
            if (it.opt == 's') {
                luaL_addchar(&b, '\0');
                it.size++;
            }
            break;
        }
        default: add_int(L, &b, arg++, &it, y.little);
        }
        total += it.size;
    }
    luaL_pushresult(&b);
    return 1;
}

static lua_Number get_int(const char *p, const struct item *it, bool little)
{
    uint64_t v = 0;
    for (size_t i = 0; i < it->size && i < 8; i++) {
        size_t at = little ? i : it->size - 1 - i;
        v |= (uint64_t)(uint8_t)p[at] << (8 * i);
    }
    bool is_signed = it->opt >= 'a';
    if (!is_signed) {
        return (lua_Number)v;
    }
    if (it->size < 8 && it->size > 0 && (v >> (8 * it->size - 1) & 1)) {
        v |= ~(uint64_t)0 << (8 * it->size);
    }
    return (lua_Number)(int64_t)v;
}

static lua_Number get_float(const char *p, const struct item *it, bool little)
{
    char bytes[sizeof(double)];
    memcpy(bytes, p, it->size);
    if (!little) {
        swap_bytes(bytes, it->size);
    }
    if (it->opt == 'f') {
        float f;
        memcpy(&f, bytes, sizeof f);
        return f;
    }
    double d;
    memcpy(&d, bytes, sizeof d);
    return d;
}

static int struct_unpack(lua_State *L)
{
    struct layout y = layout_of(L);
    struct item it;
    size_t n;
    const char *data = luaL_checklstring(L, 2, &n);
    lua_Integer from = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, from > 0, 3, "offset must be 1 or greater");
    size_t at = (size_t)from - 1;
    int pushed = 0;
    while (next_item(L, &y, &it)) {
        at += padding(&y, &it, at);
        luaL_argcheck(L, at <= n && it.size <= n - at, 2, "data string too short");
        luaL_checkstack(L, 2, "too many results");
        switch (it.opt) {
        case 'x': break;
        case 'f':
        case 'd':
            lua_pushnumber(L, get_float(data + at, &it, y.little));
            pushed++;
            break;
        case 'c':
            if (it.size == 0) { /* the number before it says how many */
                if (pushed == 0 || !lua_isnumber(L, -1)) {
                    luaL_error(L, "format 'c0' needs a previous size");
                }
                lua_Number count = lua_tonumber(L, -1);
                luaL_argcheck(L, count >= 0 && count <= (lua_Number)(n - at), 2,
                              "data string too short");
                it.size = (size_t)count;
                lua_pop(L, 1);
                pushed--;
            }
            lua_pushlstring(L, data + at, it.size);
            pushed++;
            break;
        case 's': {
            const char *end = memchr(data + at, '\0', n - at);
            if (end == NULL) {
                luaL_error(L, "unfinished string in data");
            }
            it.size = (size_t)(end - (data + at)) + 1;
            lua_pushlstring(L, data + at, it.size - 1);
            pushed++;
            break;
        }
        default: lua_pushnumber(L, get_int(data + at, &it, y.little)); pushed++;
        }
        at += it.size;
    }
    lua_pushinteger(L, (lua_Integer)at + 1);
    return pushed + 1;
}

static int struct_size(lua_State *L)
{
    struct layout y = layout_of(L);
    struct item it;
    size_t total = 0;
    while (next_item(L, &y, &it)) {
        total += padding(&y, &it, total);
        if (it.opt == 's') {
            luaL_argerror(L, 1, "option 's' has no fixed size");
        } else if (it.opt == 'c' && it.size == 0) {
            luaL_argerror(L, 1, "option 'c0' has no fixed size");
        }
        total += it.size; /* each at most INT_MAX, and the text of a format is bounded */
    }
    lua_pushnumber(L, (lua_Number)total);
    return 1;
}

int luaopen_struct(lua_State *L)
{
    static const luaL_Reg functions[] = { { "pack", struct_pack },
                                          { "unpack", struct_unpack },
                                          { "size", struct_size },
                                          { NULL, NULL } };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
