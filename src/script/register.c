/* register.c -- redis.register_function(): what a library says of its functions.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "script/script_int.h"
#include "base/mem.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

struct registration {
    const char *name, *description;
    size_t name_n, description_n;
    int callback; /* stack index; 0: none */
    unsigned flags;
};

static int refuse(lua_State *L, const char *text)
{
    lua_pushfstring(L, "ERR %s", text);
    error_push(L, lua_tostring(L, -1));
    return lua_error(L);
}

static const char *name_of(lua_State *L, int at)
{
    return lua_isstring(L, at) ? lua_tostring(L, at) : NULL; /* a number is one, too */
}

bool library_name_ok(const char *name, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_') {
            return false;
        }
    }
    return n > 0;
}

static unsigned read_flags(lua_State *L, int at)
{
    if (!lua_istable(L, at)) {
        refuse(L, "flags argument to redis.register_function must be a table representing function "
                  "flags");
    }
    unsigned flags = 0;
    for (int i = 1;; i++) {
        lua_rawgeti(L, at, i);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            return flags;
        }
        const char *text = name_of(L, -1);
        const struct flag_name *f = script_flag_names;
        while (text != NULL && f->name != NULL && strcasecmp(text, f->name) != 0) {
            f++;
        }
        if (text == NULL || f->name == NULL) {
            refuse(L, "unknown flag given");
        }
        flags |= f->flag;
        lua_pop(L, 1);
    }
}

/* One of {function_name=, callback=, description=, flags=}: the value is at `at`. */
static void read_named(lua_State *L, struct registration *r, const char *field, int at)
{
    if (strcasecmp(field, "function_name") == 0) {
        r->name = name_of(L, at);
        r->name_n = lua_objlen(L, at);
        if (r->name == NULL) {
            refuse(L, "function_name argument given to redis.register_function must be a string");
        }
    } else if (strcasecmp(field, "description") == 0) {
        r->description = name_of(L, at);
        r->description_n = lua_objlen(L, at);
        if (r->description == NULL) {
            refuse(L, "description argument given to redis.register_function must be a string");
        }
    } else if (strcasecmp(field, "callback") == 0) {
        if (!lua_isfunction(L, at)) {
            refuse(L, "callback argument given to redis.register_function must be a function");
        }
        r->callback = at;
    } else if (strcasecmp(field, "flags") == 0) {
        r->flags = read_flags(L, at);
    } else {
        refuse(L, "unknown argument given to redis.register_function");
    }
}

static void read_table(lua_State *L, struct registration *r)
{
    luaL_checkstack(L, 16, NULL);
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER) {
            refuse(L, "named argument key given to redis.register_function is not a string");
        }
        lua_pushvalue(L, -2); /* tostring() would change a number key under lua_next() */
        const char *field = lua_tostring(L, -1);
        read_named(L, r, field, lua_gettop(L) - 1);
        lua_pop(L, 1);
        lua_insert(L, -2); /* the value stays, below the key: r points to it */
        if (lua_gettop(L) > 12) {
            refuse(L, "unknown argument given to redis.register_function");
        }
        if (r->callback == lua_gettop(L)) {
            r->callback--;
        }
    }
    if (r->name == NULL) {
        refuse(L, "redis.register_function must get a function name argument");
    }
    if (r->callback == 0) {
        refuse(L, "redis.register_function must get a callback argument");
    }
}

static void read_arguments(lua_State *L, struct registration *r)
{
    int n = lua_gettop(L);
    if (n < 1 || n > 2) {
        refuse(L, "wrong number of arguments to redis.register_function");
    }
    if (n == 1) {
        if (!lua_istable(L, 1)) {
            refuse(L,
                   "calling redis.register_function with a single argument is only applicable to "
                   "Lua table (representing named arguments).");
        }
        read_table(L, r);
        return;
    }
    r->name = name_of(L, 1);
    r->name_n = lua_objlen(L, 1);
    if (r->name == NULL) {
        refuse(L, "first argument to redis.register_function must be a string");
    }
    if (!lua_isfunction(L, 2)) {
        refuse(L, "second argument to redis.register_function must be a function");
    }
    r->callback = 2;
}

char *try_dup(struct slice s)
{
    char *copy = mem_try_alloc(s.n + 1);
    if (copy != NULL) {
        memcpy(copy, s.p, s.n);
        copy[s.n] = '\0';
    }
    return copy;
}

static void add_function(lua_State *L, struct library *l, const struct registration *r)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (strcasecmp(l->functions[i]->name, r->name) == 0) {
            refuse(L, "Function already exists in the library");
        }
    }
    struct slice text = slice_of(r->description, r->description_n);
    char *name = try_dup(slice_of(r->name, r->name_n));
    char *description = r->description != NULL ? try_dup(text) : NULL;
    struct function **all = mem_try_realloc(l->functions, (l->n + 1) * sizeof *all);
    l->functions = all != NULL ? all : l->functions;
    if (name == NULL || (r->description != NULL && description == NULL) || all == NULL) {
        mem_free(name);
        mem_free(description);
        refuse(L, "not enough memory");
    }
    struct function *f = mem_calloc(sizeof *f);
    *f = (struct function){ .of = l,
                            .name = name,
                            .name_n = r->name_n,
                            .description = description,
                            .description_n = r->description_n,
                            .flags = r->flags };
    l->functions[l->n++] = f;
}

void push_lower(lua_State *L, const char *name)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (const char *p = name; *p != '\0'; p++) {
        luaL_addchar(&b, (char)tolower((unsigned char)*p));
    }
    luaL_pushresult(&b);
}

int api_register_function(lua_State *L)
{
    struct load *load = vm_of(L)->load;
    if (load == NULL) {
        return refuse(L, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    struct registration r = { 0 };
    read_arguments(L, &r);
    if (!library_name_ok(r.name, r.name_n)) {
        return refuse(L, "Library names can only contain letters, numbers, or underscores(_) and "
                         "must be at least one character long");
    }
    if (load->lib != NULL) {
        add_function(L, load->lib, &r);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, "functions");
    push_lower(L, r.name);
    lua_pushvalue(L, r.callback);
    lua_rawset(L, -3);
    return 0;
}
