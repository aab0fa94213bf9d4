/* vm.c -- The Lua state of a worker: its memory, its clock, running a function for a call.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ENDING    A run that must end (it needs the whole keyspace, it was killed) raises an error that
 *           nothing catches for long: what could take it (pcall, coroutine.resume) and the hook, at
 *           every instruction that follows, raise it again, until the run is over. A coroutine has
 *           a hook of its own, with a count of its own.
 * MEMORY    An error of memory that Lua does not catch ends the process. So only code that runs
 *           protected can meet one: elsewhere memory has no limit, and what is asked for there is
 *           small. Lua 5.1 collects at its own pace, not when memory is short.
 * THREADS   A state belongs to its worker. */
#include "script/script_int.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include <stdio.h>
#include <string.h>

#define MEMORY_MAX   ((size_t)1 << 30) /* of one state: then "not enough memory" */
#define MEMORY_CLEAN (MEMORY_MAX / 4)  /* above, the next call does not wait for the collector */
#define MEMORY_MORE  ((size_t)4 << 20) /* than it kept, and twice as much: it is cleaned */
#define HOOK_EVERY   10000             /* instructions between two looks at the time */

static void *allocate(void *user, void *p, size_t old, size_t n)
{
    struct vm *vm = user;
    old = p != NULL ? old : 0;
    if (n == 0) {
        mem_free(p);
        vm->bytes -= old;
        return NULL;
    }
    if (vm->limited && n > old && vm->bytes + (n - old) > MEMORY_MAX) {
        return NULL;
    }
    void *to = vm->limited ? mem_try_realloc(p, n) : mem_realloc(p, n);
    if (to != NULL) {
        vm->bytes += n - old;
    }
    return to;
}

static void tell_memory(struct vm *vm)
{
    atomic_fetch_add_explicit(&vm->s->memory, vm->bytes - vm->told_bytes, memory_order_relaxed);
    vm->told_bytes = vm->bytes;
}

/* Lua ends the process after it: an error that no protected call takes is a bug. */
static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    log_warning("Lua raised an error outside of any protected call: %s", text != NULL ? text : "");
    must_not_reach();
}

struct vm *vm_new(struct scripts *s, unsigned id)
{
    struct vm *vm = mem_calloc(sizeof *vm);
    vm->s = s;
    vm->id = id;
    vm->evictions = atomic_load_explicit(&s->evictions, memory_order_relaxed);
    vm->cache_generation = atomic_load(&s->cache_generation);
    srand48_r((long)(rng_u64() >> 33), &vm->random);
    vm->L = lua_newstate(allocate, vm);
    must(vm->L != NULL);
    (void)lua_atpanic(vm->L, on_panic);
    sandbox_open(vm->L);
    lua_newtable(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "scripts"); /* sha -> function */
    redis_api_push(vm->L, false);
    lua_pushvalue(vm->L, -1);
    sandbox_set_global(vm->L, "redis");
    sandbox_set_global(vm->L, "server"); /* Valkey's name for it */
    sandbox_open_libraries(vm->L);
    lua_newtable(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "libraries"); /* id -> the next one of each */
    lua_newtable(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "functions"); /* lower-case name -> function */
    return vm;
}

void vm_free(struct vm *vm)
{
    if (vm != NULL) {
        lua_close(vm->L);
        tell_memory(vm);
        cache_leave(vm);
        mem_free(vm);
    }
}

bool vm_stale(const struct vm *vm)
{
    return vm->cache_generation !=
           atomic_load_explicit(&vm->s->cache_generation, memory_order_acquire);
}

struct vm *vm_of_call(struct call *c)
{
    struct scripts *s = exec_scripts(c->x);
    unsigned id = call_worker(c);
    must(id < s->nvm);
    struct vm **at = &s->vm[id];
    if (*at != NULL && vm_stale(*at)) {
        vm_free(*at);
        *at = NULL;
    }
    if (*at == NULL) {
        *at = vm_new(s, id);
    }
    if ((*at)->run == NULL) {
        cache_let_go(*at);
    }
    return *at;
}

/* ---- Ending a run ---- */

static int raise_end(lua_State *L)
{
    const struct run *run = vm_of(L)->run;
    error_push(L, run != NULL && run->killed ? "ERR Script killed by user with SCRIPT KILL."
                                             : "ERR the script runs again");
    return lua_error(L);
}

static void on_hook_end(lua_State *L, lua_Debug *ar unused_arg)
{
    raise_end(L);
}

void vm_stop(struct vm *vm, lua_State *L)
{
    lua_sethook(vm->L, on_hook_end, LUA_MASKCOUNT | LUA_MASKLINE, 1);
    if (L != vm->L) {
        lua_sethook(L, on_hook_end, LUA_MASKCOUNT | LUA_MASKLINE, 1);
    }
    raise_end(L);
}

void vm_look(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct run *run = vm->run;
    if (run != NULL && !run_ends(run)) {
        enum script_fate fate = call_script_slow(run->c);
        run->killed = fate == SCRIPT_END;
        run->again = fate == SCRIPT_ALONE;
    }
    if (run != NULL && run_ends(run)) {
        vm_stop(vm, L);
    }
    if (vm->load != NULL && vm->load->deadline_us != 0 && clock_mono_us() > vm->load->deadline_us) {
        error_push(L, "ERR FUNCTION LOAD timeout");
        lua_error(L);
    }
}

static void on_hook(lua_State *L, lua_Debug *ar unused_arg)
{
    vm_look(L);
}

bool vm_compile(struct vm *vm, struct slice text, const char *name, bool limited)
{
    vm->limited = limited;
    int status = luaL_loadbuffer(vm->L, text.p, text.n, name);
    vm->limited = false;
    tell_memory(vm);
    return status == 0;
}

/* ---- Running ---- */

static const char *const error_fields[] = { "err", "source", "line", "ignore_error_stats_update" };

/* Where the error came from; what is no table becomes one, without a metatable. */
static int on_error(lua_State *L)
{
    lua_Debug ar;
    bool known = lua_getstack(L, 1, &ar) != 0 && lua_getinfo(L, "Sl", &ar) != 0;
    if (known && strcmp(ar.what, "C") == 0) {
        known = lua_getstack(L, 2, &ar) != 0 && lua_getinfo(L, "Sl", &ar) != 0;
    }
    if (!lua_istable(L, 1)) {
        const char *text =
            lua_isboolean(L, 1) ? (lua_toboolean(L, 1) ? "true" : "false") : lua_tostring(L, 1);
        lua_pushfstring(L, "ERR %s", text != NULL ? text : lua_typename(L, lua_type(L, 1)));
        lua_settop(L, 2);
        lua_createtable(L, 0, 3);
        lua_insert(L, 2);
        lua_setfield(L, 2, "err");
        lua_replace(L, 1);
    }
    if (known) {
        lua_pushstring(L, ar.source);
        lua_setfield(L, 1, "source");
        lua_pushinteger(L, ar.currentline);
        lua_setfield(L, 1, "line");
    }
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) { /* what it says is asked here, where it may fail or never end */
        lua_newtable(L);
        for (unsigned i = 0; i < countof(error_fields); i++) {
            lua_getfield(L, 1, error_fields[i]);
            lua_setfield(L, 3, error_fields[i]);
        }
    }
    return 1;
}

/* Unprotected: a metamethod of the script must not run. */
static void push_raw(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
}

#define POSITION_ROOM 64 /* what stands around the name and the place of an error */

static void reply_failure(struct call *c, lua_State *L, const char *name)
{
    if (!lua_istable(L, -1)) {
        const char *text = lua_tostring(L, -1);
        reply_errorf(c, "ERR Error running script %s, %.100s", name, text != NULL ? text : "");
        return;
    }
    int error = lua_gettop(L);
    for (unsigned i = 0; i < countof(error_fields); i++) {
        push_raw(L, error, error_fields[i]);
    }
    const char *err = lua_isstring(L, -4) ? lua_tostring(L, -4) : "ERR unknown error";
    bool counted = lua_toboolean(L, -1);
    struct buf text = { 0 };
    const char *where = lua_isstring(L, -3) ? lua_tostring(L, -3) : "";
    size_t room = strlen(err) + strlen(name) + strlen(where) + POSITION_ROOM;
    if (!buf_try_reserve(&text, room)) {
        reply_oom(c);
        return;
    }
    buf_add(&text, err, strlen(err));
    if (lua_isstring(L, -3) && lua_isnumber(L, -2)) {
        buf_printf(&text, " script: %s, on %s:%d.", name, where, (int)lua_tointeger(L, -2));
    }
    buf_add_char(&text, '\0');
    (counted ? reply_error_again : reply_error)(c, text.p);
    buf_free(&text);
}

/* ---- Arguments ---- */

struct pushing {
    const struct call *c;
    unsigned nkeys;
};

static void push_table(lua_State *L, const struct slice *text, unsigned n)
{
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        lua_pushlstring(L, text[i].p, text[i].n);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* A protected call has no results: they go to the registry. */
static int make_arguments(lua_State *L)
{
    const struct pushing *p = lua_touserdata(L, 1);
    const struct slice *first = p->c->argv + 3;
    push_table(L, first, p->nkeys);
    lua_setfield(L, LUA_REGISTRYINDEX, "KEYS");
    push_table(L, first + p->nkeys, p->c->argc - 3 - p->nkeys);
    lua_setfield(L, LUA_REGISTRYINDEX, "ARGV");
    return 0;
}

static void take_from_registry(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, name);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, name);
}

/* Forgets the arguments of the last call and whatever else nobody needs. */
static void clean(struct vm *vm)
{
    static const char *const names[] = { "KEYS", "ARGV" };
    for (unsigned i = 0; i < countof(names); i++) {
        take_from_registry(vm->L, names[i]);
        lua_pop(vm->L, 1);
        lua_pushnil(vm->L);
        sandbox_set_global(vm->L, names[i]);
    }
    size_t before;
    do { /* each time Lua gives back half of the room where it puts strings together */
        before = vm->bytes;
        lua_gc(vm->L, LUA_GCCOLLECT, 0);
    } while (vm->bytes > MEMORY_MORE && vm->bytes < before - before / 8);
    vm->kept_bytes = vm->bytes;
}

/* What a call leaves behind counts against maxmemory: much of it does not wait for the next calls.
 * A little does, since to collect it all that the state keeps is walked over. */
static bool has_grown(const struct vm *vm)
{
    return vm->bytes > MEMORY_CLEAN ||
           (vm->bytes > vm->kept_bytes + MEMORY_MORE && vm->bytes > 2 * vm->kept_bytes);
}

bool vm_push_arguments(struct vm *vm, struct call *c, unsigned nkeys)
{
    struct pushing p = { c, nkeys };
    vm->limited = true;
    int status = lua_cpcall(vm->L, make_arguments, &p);
    vm->limited = false;
    if (status != 0) {
        lua_pop(vm->L, 1);
        clean(vm);
        reply_oom(c);
        return false;
    }
    take_from_registry(vm->L, "KEYS");
    take_from_registry(vm->L, "ARGV");
    return true;
}

void vm_call(struct vm *vm, struct run *run, int nargs)
{
    lua_State *L = vm->L;
    vm->run = run;
    int base = lua_gettop(L) - nargs;
    lua_pushcfunction(L, on_error);
    lua_insert(L, base);
    lua_sethook(L, on_hook, LUA_MASKCOUNT, HOOK_EVERY);
    vm->limited = true;
    int status = lua_pcall(L, nargs, 1, base);
    vm->limited = false;
    lua_sethook(L, NULL, 0, 0);
    vm->run = NULL;
    if (run->again) {
        /* nothing to say: it runs once more */
    } else if (status == 0) {
        convert_reply(run->c, L, run->resp);
    } else {
        reply_failure(run->c, L, run->name);
    }
    lua_settop(L, 0);
    if (has_grown(vm)) {
        clean(vm);
    }
    tell_memory(vm);
}

bool vm_load(struct vm *vm, struct load *load)
{
    lua_State *L = vm->L;
    sandbox_library_env(L, true);
    lua_setfenv(L, -2);
    lua_pushcfunction(L, on_error);
    lua_insert(L, -2);
    vm->load = load;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, HOOK_EVERY);
    vm->limited = load->lib != NULL; /* else it was read before, and must be again */
    int status = lua_pcall(L, 0, 0, -2);
    vm->limited = false;
    lua_sethook(L, NULL, 0, 0);
    vm->load = NULL;
    sandbox_library_env(L, false);
    lua_pop(L, 1);
    if (status == 0) {
        lua_pop(L, 1);
        return true;
    }
    lua_remove(L, -2);
    if (lua_istable(L, -1)) {
        push_raw(L, lua_gettop(L), "err");
        lua_remove(L, -2);
    }
    return false;
}
