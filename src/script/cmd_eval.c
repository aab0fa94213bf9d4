/* cmd_eval.c -- EVAL and its kin, SCRIPT.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A script is known by the SHA-1 of its text. The text is the engine's; each Lua state compiles it
 * at its first use there. */
#include "script/script_int.h"
#include "base/hash.h"
#include "base/mem.h"
#include <string.h>

/* ---- Lately here ---- */

static void sha_of(struct slice text, char sha[41])
{
    uint8_t digest[20];
    sha1(text.p, text.n, digest);
    hex_encode(digest, sizeof digest, sha);
    sha[40] = '\0';
}

static struct recent *recent_by_sha(struct vm *vm, const char *sha)
{
    uint32_t digits;
    memcpy(&digits, sha, sizeof digits);
    return &vm->by_sha[(digits * 0x9e3779b9u >> 24) % RECENT_SCRIPTS];
}

static struct script **recent_by_text(struct vm *vm, struct slice text)
{
    uint64_t x = text.n;
    for (unsigned i = 0; i < 8 && text.n >= 8; i++) {
        uint64_t sample;
        memcpy(&sample, text.p + (text.n - 8) * i / 7, 8);
        x = (x ^ sample) * 0x9e3779b97f4a7c15u;
    }
    return &vm->by_text[(x >> 32) % RECENT_SCRIPTS];
}

/* The function on top of the stack stays there. */
static void recent_set(struct vm *vm, struct script *sc)
{
    struct recent *r = recent_by_sha(vm, sc->sha);
    if (r->script != NULL) {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, r->function);
    }
    lua_pushvalue(vm->L, -1);
    *r = (struct recent){ sc, luaL_ref(vm->L, LUA_REGISTRYINDEX) };
}

static bool push_recent(struct vm *vm, const struct script *sc)
{
    const struct recent *r = recent_by_sha(vm, sc->sha);
    if (r->script != sc) {
        return false;
    }
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, r->function);
    return true;
}

void recent_forget(struct vm *vm, const struct script *sc)
{
    struct recent *r = recent_by_sha(vm, sc->sha);
    if (r->script == sc) {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, r->function);
        r->script = NULL;
    }
    struct script **by_text = recent_by_text(vm, sc->text);
    if (*by_text == sc) {
        *by_text = NULL;
    }
}

static bool is_cached(const struct script *sc)
{
    return sc != NULL && !atomic_load_explicit(&sc->evicted, memory_order_relaxed);
}

static struct script *script_of(struct vm *vm, const char *sha)
{
    const struct recent *r = recent_by_sha(vm, sha);
    return is_cached(r->script) && strcmp(r->script->sha, sha) == 0 ? r->script
                                                                    : cache_find(vm, sha, false);
}

/* ---- Compiling ---- */

/* Pushes the compiled script; false: it does not compile, the error is replied. */
static bool push_compiled(struct call *c, struct vm *vm, const struct script *sc)
{
    lua_State *L = vm->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "scripts");
    lua_getfield(L, -1, sc->sha);
    if (lua_isfunction(L, -1)) {
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 1);
    struct slice body = sc->text, line;
    if (!(sc->flags & SCRIPT_FLAG_COMPAT)) {
        must(shebang_line(sc->text, &line, &body));
    }
    bool bytecode = body.n > 0 && body.p[0] == LUA_SIGNATURE[0];
    if (bytecode || !vm_compile(vm, body, "@user_script", true)) {
        reply_errorf(c, "ERR Error compiling script (new function): %s",
                     bytecode ? "compiled code is not accepted" : lua_tostring(L, -1));
        lua_settop(L, 0);
        return false;
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, sc->sha);
    lua_remove(L, -2);
    return true;
}

/* The same for a script of the cache. */
static bool push_cached(struct call *c, struct vm *vm, struct script *sc)
{
    if (push_recent(vm, sc)) {
        return true;
    }
    if (!push_compiled(c, vm, sc)) {
        return false;
    }
    recent_set(vm, sc);
    return true;
}

static bool has_shebang(struct slice text)
{
    return text.n >= 2 && memcmp(text.p, "#!", 2) == 0;
}

/* What the text says of itself; false: the error is replied. */
static bool text_flags(struct call *c, struct slice text, unsigned *flags)
{
    struct buf error = { 0 };
    *flags = SCRIPT_FLAG_COMPAT;
    bool fine = !has_shebang(text) || shebang_flags(text, flags, &error);
    if (!fine) {
        reply_error(c, error.p);
    }
    buf_free(&error);
    return fine;
}

/* The script of this text, compiled on top of the stack; NULL: the error is replied. keep: it is
 * not evicted. */
static struct script *load_text(struct call *c, struct vm *vm, struct slice text, bool keep)
{
    struct script **recent = recent_by_text(vm, text);
    if (!keep && is_cached(*recent) && slice_eq((*recent)->text, text) &&
        push_recent(vm, *recent)) {
        return *recent;
    }
    char sha[41];
    sha_of(text, sha);
    struct script *known = cache_find(vm, sha, keep);
    if (known != NULL) {
        *recent = known;
        return push_cached(c, vm, known) ? known : NULL;
    }
    unsigned flags;
    if (!text_flags(c, text, &flags)) {
        return NULL;
    }
    struct script *sc = cache_new(vm->s, sha, text, flags);
    if (sc == NULL) {
        reply_oom(c);
        return NULL;
    }
    if (!push_compiled(c, vm, sc)) {
        cache_discard(sc);
        return NULL;
    }
    return cache_add(vm, sc, keep);
}

/* ---- EVAL ---- */

bool script_rules(struct call *c, unsigned flags, bool readonly, unsigned *rules)
{
    *rules = readonly || (flags & SCRIPT_FLAG_NO_WRITES) ? SCRIPT_READONLY : 0u;
    if (readonly && !(flags & (SCRIPT_FLAG_COMPAT | SCRIPT_FLAG_NO_WRITES))) {
        reply_error(c, "ERR Can not execute a script with write flag using *_ro command.");
        return false;
    }
    const char *why = NULL;
    if (!(flags & (SCRIPT_FLAG_COMPAT | SCRIPT_FLAG_NO_WRITES))) { /* it says that it may write */
        why = call_write_refusal(c);
    }
    if (why != NULL) {
        reply_error(c, why);
        return false;
    }
    if ((flags & SCRIPT_FLAG_ALLOW_OOM) || (*rules & SCRIPT_READONLY) || call_has_room(c)) {
        return true;
    }
    if (!(flags & SCRIPT_FLAG_COMPAT)) {
        reply_error(c, "OOM allow-oom flag is not set on the script, can not run it when used "
                       "memory > 'maxmemory'");
        return false;
    }
    *rules |= SCRIPT_OVER_MEMORY;
    return true;
}

struct eval {
    struct vm *vm;
    struct script *script; /* until SCRIPT FLUSH */
    struct run run;
    unsigned nkeys;
    bool by_sha1, readonly;
    bool ran; /* it runs once more */
    char sha[41];
};

/* As clients write it: in capitals, too. "" when it is no SHA-1 by its length. */
static void sha_given(struct slice given, char sha[41])
{
    unsigned n = given.n == 40 ? 40 : 0;
    for (unsigned i = 0; i < n; i++) {
        char ch = given.p[i];
        sha[i] = (char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
    }
    sha[n] = '\0';
}

static struct script *script_by_sha(struct call *c, struct vm *vm)
{
    char sha[41];
    sha_given(c->argv[1], sha);
    struct script *sc = sha[0] != '\0' ? script_of(vm, sha) : NULL;
    if (sc == NULL) {
        reply_error(c, "NOSCRIPT No matching script. Please use EVAL.");
    }
    return sc;
}

/* The script, and what it may do; false: replied. */
static bool eval_find(struct call *c, struct eval *e)
{
    e->vm = vm_of_call(c);
    e->script = e->by_sha1 ? script_by_sha(c, e->vm) : load_text(c, e->vm, c->argv[1], false);
    lua_settop(e->vm->L, 0);
    if (e->script == NULL) {
        return false;
    }
    cache_used(e->vm->s, e->script);
    memcpy(e->sha, e->script->sha, sizeof e->sha);
    e->run = (struct run){ .c = c, .name = e->sha, .flags = e->script->flags };
    return script_rules(c, e->script->flags, e->readonly, &e->run.rules);
}

static bool eval_body(struct call *c, void *arg)
{
    struct eval *e = arg;
    if (unlikely(vm_stale(e->vm)) && !eval_find(c, e)) { /* flushed while it waited to run alone */
        return true;
    }
    if (e->ran) {
        atomic_store_explicit(&e->script->alone, true, memory_order_relaxed);
    }
    e->ran = true;
    e->run.again = false;
    e->run.resp = 2;
    if (!push_cached(c, e->vm, e->script)) {
        return true;
    }
    lua_State *L = e->vm->L;
    if (!vm_push_arguments(e->vm, c, e->nkeys)) {
        lua_settop(L, 0);
        return true;
    }
    sandbox_set_global(L, "ARGV");
    sandbox_set_global(L, "KEYS");
    vm_call(e->vm, &e->run, 0);
    return !e->run.again;
}

static void eval(struct call *c, bool by_sha1, bool readonly)
{
    int64_t nkeys;
    if (!arg_i64(c, 2, &nkeys)) {
        return;
    }
    if (nkeys > (int64_t)c->argc - 3) {
        reply_error(c, "ERR Number of keys can't be greater than number of args");
        return;
    }
    if (nkeys < 0) {
        reply_error(c, "ERR Number of keys can't be negative");
        return;
    }
    struct eval e = { .nkeys = (unsigned)nkeys, .by_sha1 = by_sha1, .readonly = readonly };
    if (eval_find(c, &e)) {
        bool alone = atomic_load_explicit(&e.script->alone, memory_order_relaxed);
        call_script(c, e.sha, alone, eval_body, &e);
    }
}

static void cmd_eval(struct call *c)
{
    eval(c, false, false);
}

static void cmd_evalsha(struct call *c)
{
    eval(c, true, false);
}

static void cmd_eval_ro(struct call *c)
{
    eval(c, false, true);
}

static void cmd_evalsha_ro(struct call *c)
{
    eval(c, true, true);
}

/* Inside EXEC nothing can be undone: the transaction runs alone. */
static bool in_exec_alone(const struct slice *argv unused_arg, unsigned argc unused_arg)
{
    return true;
}

static bool eval_may_write(struct exec *x unused_arg, const struct slice *argv,
                           unsigned argc unused_arg)
{
    struct buf error = { 0 };
    unsigned flags = 0;
    bool known = has_shebang(argv[1]) && shebang_flags(argv[1], &flags, &error);
    buf_free(&error);
    return !known || !(flags & SCRIPT_FLAG_NO_WRITES);
}

static bool evalsha_may_write(struct exec *x, const struct slice *argv, unsigned argc unused_arg)
{
    char sha[41];
    sha_given(argv[1], sha);
    unsigned flags = 0;
    return !cache_has(exec_scripts(x), sha, &flags) || !(flags & SCRIPT_FLAG_NO_WRITES);
}

/* ---- SCRIPT ---- */

static void cmd_script_load(struct call *c)
{
    struct vm *vm = vm_of_call(c);
    const struct script *sc = load_text(c, vm, c->argv[2], true);
    lua_settop(vm->L, 0);
    if (sc != NULL) {
        reply_bulk_str(c, sc->sha);
    }
}

static void cmd_script_exists(struct call *c)
{
    struct scripts *s = exec_scripts(c->x);
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        char sha[41];
        sha_given(c->argv[i], sha);
        unsigned flags;
        reply_int(c, cache_has(s, sha, &flags));
    }
}

static void cmd_script_flush(struct call *c)
{
    if (c->argc > 3 || (c->argc == 3 && !arg_is(c, 2, "sync") && !arg_is(c, 2, "async"))) {
        reply_error(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    cache_clear(exec_scripts(c->x));
    reply_ok(c);
}

static void cmd_script_debug(struct call *c)
{
    if (arg_is(c, 2, "no")) {
        reply_ok(c);
    } else if (arg_is(c, 2, "yes") || arg_is(c, 2, "sync")) {
        reply_error(c, "ERR the Lua debugger is not available: no session can be paused inside a "
                       "script here");
    } else {
        reply_error(c, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
}

static void cmd_script_kill(struct call *c)
{
    const char *error = call_script_kill(c, false);
    if (error != NULL) {
        reply_error(c, error);
    } else {
        reply_ok(c);
    }
}

static void cmd_script_help(struct call *c)
{
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts "
        "in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on "
        "replicas.",
        "    When called without the optional mode argument, the "
        "behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. "
        "Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without "
        "executing it.",
        NULL
    };
    reply_help(c, lines);
}

/* ---- The engine ---- */

struct scripts *script_new(struct exec *x)
{
    static const struct script_hooks hooks = { functions_each, libraries_flush };
    struct scripts *s = mem_calloc(sizeof *s);
    s->x = x;
    lock_init(&s->lock, RANK_SCRIPTS, 0);
    s->nvm = exec_workers(x);
    s->vm = mem_calloc(s->nvm * sizeof(struct vm *));
    exec_set_scripts(x, s, &hooks);
    return s;
}

void script_free(struct scripts *s)
{
    for (unsigned i = 0; i < s->nvm; i++) {
        vm_free(s->vm[i]);
    }
    cache_clear(s);
    functions_free(s);
    exec_set_scripts(s->x, NULL, NULL);
    mem_free(s->vm);
    mem_free(s);
}

void script_stats(struct scripts *s, struct script_stats *out)
{
    lock_acquire(&s->lock);
    *out = (struct script_stats){ .cached = s->cached,
                                  .libraries = s->nlibraries,
                                  .functions = s->nfunctions,
                                  .script_bytes = s->cache_bytes,
                                  .library_bytes = s->library_bytes };
    lock_release(&s->lock);
    out->evicted = atomic_load_explicit(&s->evictions, memory_order_relaxed) -
                   atomic_load_explicit(&s->evictions_reset, memory_order_relaxed);
    out->memory_bytes = atomic_load_explicit(&s->memory, memory_order_relaxed);
}

void script_stats_reset(struct scripts *s)
{
    atomic_store_explicit(&s->evictions_reset,
                          atomic_load_explicit(&s->evictions, memory_order_relaxed),
                          memory_order_relaxed);
}

#define RUNS_SCRIPT(what)                                                                \
    .arity = -3, .acl = ACL_SCRIPTING, .exclusive = in_exec_alone, .group = "scripting", \
    .complexity = "Depends on the " what " that is executed."
#define SCRIPT_FLAGS                                                                         \
    (CMD_NOSCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MOVABLEKEYS | \
     CMD_OWN_TXN)
#define SCRIPT_KEYS(fl, why) \
    .keys = { { .flags = (fl), .begin = 2, .numkeys = true, .step = 1, .notes = (why) } }
#define KEYS_OF_ANY "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
#define KEYS_OF_RO  "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"
#define RW_KEYS     (KEY_RW | KEY_ACCESS | KEY_UPDATE)
#define RO_KEYS     (KEY_RO | KEY_ACCESS)

static const struct command script_sub[] = {
    { .name = "flush",
      .proc = cmd_script_flush,
      .arity = -2,
      .flags = CMD_NOSCRIPT | CMD_EXCLUSIVE,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "2.6.0",
      .complexity = "O(N) with N being the number of scripts in cache",
      .summary = "Remove all the scripts from the script cache.",
      .syntax = "[async=<ASYNC|SYNC>]@6.2.0",
      .history = "6.2.0:Added the `ASYNC` and `SYNC` flushing mode modifiers.",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "exists",
      .proc = cmd_script_exists,
      .arity = -3,
      .flags = CMD_NOSCRIPT,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "2.6.0",
      .complexity = "O(N) with N being the number of scripts to check (so checking a single script "
                    "is an O(1) operation).",
      .summary = "Check existence of scripts in the script cache.",
      .syntax = "sha1...",
      .tips = "request_policy:all_shards,response_policy:agg_logical_and" },
    { .name = "debug",
      .proc = cmd_script_debug,
      .arity = 3,
      .flags = CMD_NOSCRIPT,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "3.2.0",
      .complexity = "O(1)",
      .summary = "Set the debug mode for executed scripts.",
      .syntax = "mode=<YES|SYNC|NO>" },
    { .name = "load",
      .proc = cmd_script_load,
      .arity = 3,
      .flags = CMD_NOSCRIPT | CMD_STALE,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "2.6.0",
      .complexity = "O(N) with N being the length in bytes of the script body.",
      .summary = "Load the specified Lua script into the script cache.",
      .syntax = "script",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "help",
      .proc = cmd_script_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "5.0.0",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "kill",
      .proc = cmd_script_kill,
      .arity = 2,
      .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
      .acl = ACL_SCRIPTING,
      .group = "scripting",
      .since = "2.6.0",
      .complexity = "O(1)",
      .summary = "Kill the script currently in execution.",
      .tips = "request_policy:all_shards,response_policy:one_succeeded" },
    { .name = NULL },
};

const struct command script_commands[] = {
    { .name = "eval",
      .proc = cmd_eval,
      .may_write = eval_may_write,
      RUNS_SCRIPT("script"),
      .flags = SCRIPT_FLAGS,
      SCRIPT_KEYS(RW_KEYS, KEYS_OF_ANY),
      .since = "2.6.0",
      .summary = "Execute a Lua script server side",
      .syntax = "script numkeys:int [key]... [arg]..." },
    { .name = "evalsha",
      .proc = cmd_evalsha,
      .may_write = evalsha_may_write,
      RUNS_SCRIPT("script"),
      .flags = SCRIPT_FLAGS,
      SCRIPT_KEYS(RW_KEYS, NULL),
      .since = "2.6.0",
      .summary = "Execute a Lua script server side",
      .syntax = "sha1 numkeys:int [key]... [arg]..." },
    { .name = "eval_ro",
      .proc = cmd_eval_ro,
      RUNS_SCRIPT("script"),
      .flags = SCRIPT_FLAGS | CMD_READONLY,
      SCRIPT_KEYS(RO_KEYS, KEYS_OF_RO),
      .since = "7.0.0",
      .summary = "Execute a read-only Lua script server side",
      .syntax = "script numkeys:int [key]... [arg]..." },
    { .name = "evalsha_ro",
      .proc = cmd_evalsha_ro,
      RUNS_SCRIPT("script"),
      .flags = SCRIPT_FLAGS | CMD_READONLY,
      SCRIPT_KEYS(RO_KEYS, NULL),
      .since = "7.0.0",
      .summary = "Execute a read-only Lua script server side",
      .syntax = "sha1 numkeys:int [key]... [arg]..." },
    { .name = "script",
      .arity = -2,
      .sub = script_sub,
      .group = "scripting",
      .since = "2.6.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for Lua scripts management commands" },
    { .name = "fcall",
      .proc = cmd_fcall,
      .may_write = fcall_may_write,
      RUNS_SCRIPT("function"),
      .flags = SCRIPT_FLAGS,
      SCRIPT_KEYS(RW_KEYS, KEYS_OF_ANY),
      .since = "7.0.0",
      .summary = "Invoke a function",
      .syntax = "function numkeys:int [key]... [arg]..." },
    { .name = "fcall_ro",
      .proc = cmd_fcall_ro,
      RUNS_SCRIPT("function"),
      .flags = SCRIPT_FLAGS | CMD_READONLY,
      SCRIPT_KEYS(RO_KEYS, KEYS_OF_RO),
      .since = "7.0.0",
      .summary = "Invoke a read-only function",
      .syntax = "function numkeys:int [key]... [arg]..." },
    { .name = "function",
      .arity = -2,
      .sub = function_subcommands,
      .group = "scripting",
      .since = "7.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for function commands" },
    { .name = NULL },
};
