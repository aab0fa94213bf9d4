/* functions.c -- Libraries: FUNCTION and FCALL.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT      A library is its text; it is data: FUNCTION LOAD, DELETE and FLUSH are records of the
 *           log as they came, and replay runs them. A text is loaded twice: here, in a state of its
 *           own, to see what it registers, and in each worker's state before its next FCALL
 *           there.
 * LOCKS     Libraries change in exclusive sections only, so whoever runs a command may keep
 * pointers to them until it ends; s->lock covers readers of INFO. */
#include "script/script_int.h"
#include "base/clock.h"
#include "base/mem.h"
#include <search.h>
#include <string.h>
#include <strings.h>

#define LOAD_TIMEOUT_US 500000

/* By slices: what a client asks for may be of any length, and have a NUL in it. */
static int library_order(const void *a, const void *b)
{
    const struct library *x = a, *y = b;
    int order = memcmp(x->name, y->name, size_min(x->name_n, y->name_n));
    return order != 0 ? order : (x->name_n > y->name_n) - (x->name_n < y->name_n);
}

static int function_order(const void *a, const void *b)
{
    const struct function *x = a, *y = b;
    int order = strncasecmp(x->name, y->name, size_min(x->name_n, y->name_n));
    return order != 0 ? order : (x->name_n > y->name_n) - (x->name_n < y->name_n);
}

void library_free(struct library *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        mem_free(l->functions[i]->name);
        mem_free(l->functions[i]->description);
        mem_free(l->functions[i]);
    }
    mem_free(l->functions);
    mem_free(l->name);
    mem_free((void *)(uintptr_t)l->code.p);
    mem_free(l);
}

static void library_destroy(void *l)
{
    library_free(l);
}

static void keep(void *item unused_arg)
{
}

void functions_free(struct scripts *s)
{
    tdestroy(s->functions, keep);
    tdestroy(s->libraries, library_destroy);
    s->functions = s->libraries = NULL;
    s->nlibraries = s->nfunctions = s->library_bytes = 0;
}

struct library *library_find(struct scripts *s, struct slice name)
{
    struct library want = { .name = (char *)(uintptr_t)name.p, .name_n = name.n };
    struct library **at = tfind(&want, &s->libraries, library_order);
    return at != NULL ? *at : NULL;
}

struct function *function_find(struct scripts *s, struct slice name)
{
    struct function want = { .name = (char *)(uintptr_t)name.p, .name_n = name.n };
    struct function **at = tfind(&want, &s->functions, function_order);
    return at != NULL ? *at : NULL;
}

void library_add(struct scripts *s, struct library *l)
{
    lock_acquire(&s->lock);
    l->id = ++s->library_ids;
    must(tsearch(l, &s->libraries, library_order) != NULL);
    for (unsigned i = 0; i < l->n; i++) {
        must(tsearch(l->functions[i], &s->functions, function_order) != NULL);
    }
    s->nlibraries++;
    s->nfunctions += l->n;
    s->library_bytes += sizeof *l + l->code.n;
    lock_release(&s->lock);
    atomic_fetch_add(&s->library_generation, 1);
}

void library_take(struct scripts *s, struct library *l)
{
    lock_acquire(&s->lock);
    tdelete(l, &s->libraries, library_order);
    for (unsigned i = 0; i < l->n; i++) {
        tdelete(l->functions[i], &s->functions, function_order);
    }
    s->nlibraries--;
    s->nfunctions -= l->n;
    s->library_bytes -= sizeof *l + l->code.n;
    lock_release(&s->lock);
    atomic_fetch_add(&s->library_generation, 1);
}

void libraries_flush(struct scripts *s)
{
    lock_acquire(&s->lock);
    functions_free(s);
    lock_release(&s->lock);
    atomic_fetch_add(&s->library_generation, 1);
}

/* ---- Loading ---- */

/* Engine and name from the words of the first line. False: replied. */
static bool read_metadata(struct call *c, const struct slice *word, unsigned n,
                          struct slice *engine, struct slice *name)
{
    *engine = slice_of(word[0].p + 2, word[0].n - 2);
    *name = slice_of(NULL, 0);
    for (unsigned i = 1; i < n; i++) {
        struct slice w = word[i];
        if (w.n < 5 || memcmp(w.p, "name=", 5) != 0) {
            reply_errorf(c, "ERR Invalid metadata value given: %.*s", (int)w.n, w.p);
            return false;
        }
        if (name->p != NULL) {
            reply_error(c, "ERR Invalid metadata value, name argument was given multiple times");
            return false;
        }
        *name = slice_of(w.p + 5, w.n - 5);
    }
    if (name->p == NULL) {
        reply_error(c, "ERR Library name was not given");
        return false;
    }
    if (!library_name_ok(name->p, name->n)) {
        reply_error(c, "ERR Library names can only contain letters, numbers, or underscores(_) and "
                       "must be at least one character long");
        return false;
    }
    if (!slice_is(*engine, "lua")) {
        reply_errorf(c, "ERR Engine '%.*s' not found", (int)engine->n, engine->p);
        return false;
    }
    return true;
}

/* Without functions yet. NULL: no memory. */
static struct library *library_alloc(struct slice name, struct slice code)
{
    struct library *l = mem_calloc(sizeof *l);
    l->name = try_dup(name);
    l->name_n = name.n;
    l->code = slice_of(try_dup(code), code.n);
    if (l->name == NULL || l->code.p == NULL) {
        library_free(l);
        return NULL;
    }
    return l;
}

/* The library of this text; NULL: the error is replied. */
static struct library *library_read(struct call *c, struct slice code, struct slice *body)
{
    struct slice engine, name, *word = NULL;
    struct buf store = { 0 };
    unsigned n = 0;
    struct library *l = NULL;
    if (code.n < 2 || memcmp(code.p, "#!", 2) != 0) {
        reply_error(c, "ERR Missing library metadata");
        return NULL;
    }
    struct slice first;
    if (!shebang_line(code, &first, body) ||
        (!(c->flags & CALL_REPLAY) && !shebang_may_be(first)) ||
        !split_args(first, &store, &word, &n) || n == 0 || word[0].n < 2) {
        reply_error(c, "ERR Invalid library metadata");
    } else if (read_metadata(c, word, n, &engine, &name)) {
        l = library_alloc(name, code);
        if (l == NULL) {
            reply_oom(c);
        }
    }
    mem_free(word);
    buf_free(&store);
    return l;
}

/* Runs the text in vm. False: the error's text is on top of the stack. */
static bool run_text(struct vm *vm, struct slice body, struct load *load, const char **what)
{
    *what = "Error compiling function: ";
    if (body.n > 0 && body.p[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(vm->L, "compiled code is not accepted");
        return false;
    }
    if (!vm_compile(vm, body, "@user_function", load->lib != NULL)) {
        return false;
    }
    *what = "Error registering functions: ";
    return vm_load(vm, load);
}

/* What the text registers, found out in a state of its own. False: replied. */
static bool library_try(struct call *c, struct library *l, struct slice body)
{
    struct vm *vm = vm_new(exec_scripts(c->x), call_worker(c));
    bool replay = (c->flags & CALL_REPLAY) != 0;
    struct load load = { .lib = l, .deadline_us = replay ? 0 : clock_mono_us() + LOAD_TIMEOUT_US };
    const char *what;
    bool done = run_text(vm, body, &load, &what);
    if (!done) {
        const char *text = lua_tostring(vm->L, -1);
        reply_errorf(c, "ERR %s%s", what, text != NULL ? text : "");
    } else if (l->n == 0) {
        reply_error(c, "ERR No functions registered");
        done = false;
    }
    vm_free(vm);
    return done;
}

static const struct function *taken_by_another(struct scripts *s, const struct library *l,
                                               const struct library *except)
{
    for (unsigned i = 0; i < l->n; i++) {
        const struct function *f = function_find(s, slice_str(l->functions[i]->name));
        if (f != NULL && f->of != except) {
            return l->functions[i];
        }
    }
    return NULL;
}

struct library *library_new(struct call *c, struct slice code)
{
    struct slice body;
    struct library *l = library_read(c, code, &body);
    if (l != NULL && !library_try(c, l, body)) {
        library_free(l);
        l = NULL;
    }
    return l;
}

/* FUNCTION LOAD of one text. NULL: replied. */
static struct library *load(struct call *c, struct slice code, bool replace)
{
    struct scripts *s = exec_scripts(c->x);
    struct slice body;
    struct library *l = library_read(c, code, &body);
    if (l == NULL) {
        return NULL;
    }
    struct library *old = library_find(s, slice_str(l->name));
    bool done = false;
    if (old != NULL && !replace && !(c->flags & CALL_REPLAY)) {
        reply_errorf(c, "ERR Library '%s' already exists", l->name);
    } else if (library_try(c, l, body)) {
        const struct function *taken = taken_by_another(s, l, old);
        if (taken != NULL) {
            reply_errorf(c, "ERR Function %s already exists", taken->name);
        } else {
            done = true;
        }
    }
    if (!done) {
        library_free(l);
        return NULL;
    }
    if (old != NULL) {
        library_take(s, old);
        library_free(old);
    }
    library_add(s, l);
    return l;
}

static __thread struct vm *walking; /* twalk() has no argument */

static void load_new(struct vm *vm, const struct library *l)
{
    const char *what;
    struct load again = { NULL, 0 };
    struct slice line, body;
    lua_newtable(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "functions");
    must(shebang_line(l->code, &line, &body));
    must(run_text(vm, body, &again, &what)); /* it did before, and depends on nothing */
    lua_getfield(vm->L, LUA_REGISTRYINDEX, "functions");
    lua_pushnil(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "functions");
}

/* Its functions into the table on top, from the one below where they are there already: what they
 * have in their variables stays. */
static void load_visit(const void *node, VISIT which, int depth unused_arg)
{
    if (which != postorder && which != leaf) {
        return;
    }
    const struct library *l = *(struct library *const *)node;
    lua_State *L = walking->L;
    lua_pushnumber(L, (lua_Number)l->id);
    lua_pushvalue(L, -1);
    lua_rawget(L, -4);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        load_new(walking, l);
    }
    lua_rawset(L, -3);
}

static bool libraries_changed(const struct vm *vm)
{
    return vm->library_generation !=
           atomic_load_explicit(&vm->s->library_generation, memory_order_acquire);
}

/* The state knows every library as it is now. */
static void libraries_into(struct vm *vm)
{
    struct scripts *s = vm->s;
    if (!libraries_changed(vm)) {
        return;
    }
    vm->library_generation = atomic_load_explicit(&s->library_generation, memory_order_acquire);
    lua_getfield(vm->L, LUA_REGISTRYINDEX, "libraries");
    lua_newtable(vm->L);
    walking = vm;
    twalk(s->libraries, load_visit);
    walking = NULL;
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "libraries");
    lua_pop(vm->L, 1);
}

/* ---- A log that begins ---- */

struct emitter {
    void (*emit)(void *to, const struct slice *argv, unsigned argc);
    void *to;
};
static __thread const struct emitter *emitting;

static void emit_visit(const void *node, VISIT which, int depth unused_arg)
{
    if (which == postorder || which == leaf) {
        const struct library *l = *(struct library *const *)node;
        const struct slice argv[] = { S("FUNCTION"), S("LOAD"), S("REPLACE"), l->code };
        emitting->emit(emitting->to, argv, countof(argv));
    }
}

void functions_each(struct scripts *s,
                    void (*emit)(void *to, const struct slice *argv, unsigned argc), void *to)
{
    struct emitter e = { emit, to };
    emitting = &e;
    twalk(s->libraries, emit_visit);
    emitting = NULL;
}

/* ---- FCALL ---- */

static struct function *function_of(struct exec *x, struct slice given)
{
    return function_find(exec_scripts(x), given);
}

bool fcall_may_write(struct exec *x, const struct slice *argv, unsigned argc unused_arg)
{
    const struct function *f = function_of(x, argv[1]);
    return f == NULL || !(f->flags & SCRIPT_FLAG_NO_WRITES);
}

struct fcall {
    struct vm *vm;
    struct function *fn; /* until the libraries change */
    struct run run;
    unsigned nkeys;
    bool readonly;
    bool ran;   /* it runs once more */
    char *name; /* `room`, or allocated for a long one; of the same length when found again */
    char room[64];
};

static void keep_name(struct fcall *f)
{
    size_t n = f->fn->name_n + 1;
    if (f->name == NULL) {
        f->name = n <= sizeof f->room ? f->room : mem_alloc(n);
    }
    memcpy(f->name, f->fn->name, n);
}

/* The function, and what it may do; false: replied. */
static bool fcall_find(struct call *c, struct fcall *f)
{
    f->vm = vm_of_call(c);
    f->fn = function_of(c->x, c->argv[1]);
    if (f->fn == NULL) {
        reply_error(c, "ERR Function not found");
        return false;
    }
    keep_name(f);
    f->run = (struct run){ .c = c, .name = f->name, .flags = f->fn->flags };
    if (!script_rules(c, f->fn->flags, f->readonly, &f->run.rules)) {
        return false;
    }
    libraries_into(f->vm);
    return true;
}

static bool fcall_body(struct call *c, void *arg)
{
    struct fcall *f = arg;
    if (unlikely(vm_stale(f->vm) || libraries_changed(f->vm)) && !fcall_find(c, f)) {
        return true; /* they changed while it waited to run alone */
    }
    if (f->ran) {
        atomic_store_explicit(&f->fn->alone, true, memory_order_relaxed);
    }
    f->ran = true;
    f->run.again = false;
    f->run.resp = 2;
    lua_State *L = f->vm->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "libraries");
    lua_pushnumber(L, (lua_Number)f->fn->of->id);
    lua_rawget(L, -2);
    push_lower(L, f->name);
    lua_rawget(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
    must(lua_isfunction(L, -1));
    if (!vm_push_arguments(f->vm, c, f->nkeys)) {
        lua_settop(L, 0);
        return true;
    }
    vm_call(f->vm, &f->run, 2);
    return !f->run.again;
}

static void fcall(struct call *c, bool readonly)
{
    int64_t nkeys;
    if (function_of(c->x, c->argv[1]) == NULL) {
        reply_error(c, "ERR Function not found");
        return;
    }
    if (!parse_i64(c->argv[2], &nkeys)) {
        reply_error(c, "ERR Bad number of keys provided");
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
    struct fcall f = { .nkeys = (unsigned)nkeys, .readonly = readonly };
    if (fcall_find(c, &f)) {
        bool alone = atomic_load_explicit(&f.fn->alone, memory_order_relaxed);
        call_script(c, f.name, alone, fcall_body, &f);
    }
    if (f.name != f.room) {
        mem_free(f.name);
    }
}

void cmd_fcall(struct call *c)
{
    fcall(c, false);
}

void cmd_fcall_ro(struct call *c)
{
    fcall(c, true);
}

/* ---- FUNCTION ---- */

static void cmd_function_load(struct call *c)
{
    bool replace = false;
    for (unsigned i = 2; i + 1 < c->argc; i++) {
        if (!arg_is(c, i, "replace")) {
            reply_errorf(c, "ERR Unknown option given: %.*s", (int)c->argv[i].n, c->argv[i].p);
            return;
        }
        replace = true;
    }
    const struct library *l = load(c, c->argv[c->argc - 1], replace);
    if (l != NULL) {
        effect_verbatim(c);
        reply_bulk_str(c, l->name);
    }
}

static void cmd_function_delete(struct call *c)
{
    struct scripts *s = exec_scripts(c->x);
    struct library *l = library_find(s, c->argv[2]);
    if (l == NULL && !(c->flags & CALL_REPLAY)) {
        reply_error(c, "ERR Library not found");
        return;
    }
    if (l != NULL) {
        library_take(s, l);
        library_free(l);
    }
    effect_verbatim(c);
    reply_ok(c);
}

static void cmd_function_flush(struct call *c)
{
    if (c->argc > 3) {
        reply_wrong_sub(c);
        return;
    }
    if (c->argc == 3 && !arg_is(c, 2, "sync") && !arg_is(c, 2, "async")) {
        reply_error(c, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        return;
    }
    libraries_flush(exec_scripts(c->x));
    effect_verbatim(c);
    reply_ok(c);
}

struct listing {
    struct call *c;
    struct slice pattern; /* p NULL: all */
    bool code;
    size_t n;
};
static __thread struct listing *list_now;

static void reply_flags(struct call *c, unsigned flags)
{
    unsigned n = 0;
    for (const struct flag_name *f = script_flag_names; f->name != NULL; f++) {
        n += (flags & f->flag) != 0;
    }
    reply_set(c, n);
    for (const struct flag_name *f = script_flag_names; f->name != NULL; f++) {
        if (flags & f->flag) {
            reply_simple(c, f->name);
        }
    }
}

static void list_visit(const void *node, VISIT which, int depth unused_arg)
{
    if (which != postorder && which != leaf) {
        return;
    }
    const struct library *l = *(struct library *const *)node;
    struct listing *at = list_now;
    struct call *c = at->c;
    if (at->pattern.p != NULL && !glob_match(at->pattern, slice_str(l->name), true)) {
        return;
    }
    at->n++;
    reply_map(c, at->code ? 4 : 3);
    reply_bulk_str(c, "library_name");
    reply_bulk_str(c, l->name);
    reply_bulk_str(c, "engine");
    reply_bulk_str(c, "LUA");
    reply_bulk_str(c, "functions");
    reply_array(c, l->n);
    for (unsigned i = 0; i < l->n; i++) {
        const struct function *f = l->functions[i];
        reply_map(c, 3);
        reply_bulk_str(c, "name");
        reply_bulk_str(c, f->name);
        reply_bulk_str(c, "description");
        if (f->description != NULL) {
            reply_bulk(c, slice_of(f->description, f->description_n));
        } else {
            reply_null(c);
        }
        reply_bulk_str(c, "flags");
        reply_flags(c, f->flags);
    }
    if (at->code) {
        reply_bulk_str(c, "library_code");
        reply_bulk(c, l->code);
    }
}

static void cmd_function_list(struct call *c)
{
    struct listing l = { .c = c };
    for (unsigned i = 2; i < c->argc; i++) {
        if (!l.code && arg_is(c, i, "withcode")) {
            l.code = true;
        } else if (l.pattern.p == NULL && arg_is(c, i, "libraryname")) {
            if (++i == c->argc) {
                reply_error(c, "ERR library name argument was not given");
                return;
            }
            l.pattern = c->argv[i];
        } else {
            reply_errorf(c, "ERR Unknown argument %.*s", (int)c->argv[i].n, c->argv[i].p);
            return;
        }
    }
    struct out_block *hole = reply_array_deferred(c);
    list_now = &l;
    twalk(exec_scripts(c->x)->libraries, list_visit);
    list_now = NULL;
    reply_array_fill(c, hole, l.n);
}

static void cmd_function_stats(struct call *c)
{
    struct script_stats st;
    script_stats(exec_scripts(c->x), &st);
    reply_map(c, 2);
    reply_bulk_str(c, "running_script");
    struct slow_script slow;
    if (exec_slow_script(c->x, &slow)) {
        reply_map(c, 3);
        reply_bulk_str(c, "name");
        reply_bulk(c, *slow.name);
        reply_bulk_str(c, "command");
        reply_array(c, slow.argc);
        for (unsigned i = 0; i < slow.argc; i++) {
            reply_bulk(c, slow.argv[i]);
        }
        reply_bulk_str(c, "duration_ms");
        reply_int(c, slow.ms);
        mem_free(slow.name);
    } else {
        reply_null(c);
    }
    reply_bulk_str(c, "engines");
    reply_map(c, 1);
    reply_bulk_str(c, "LUA");
    reply_map(c, 2);
    reply_bulk_str(c, "libraries_count");
    reply_int(c, (int64_t)st.libraries);
    reply_bulk_str(c, "functions_count");
    reply_int(c, (int64_t)st.functions);
}

static void cmd_function_kill(struct call *c)
{
    const char *error = call_script_kill(c, true);
    if (error != NULL) {
        reply_error(c, error);
    } else {
        reply_ok(c);
    }
}

static void cmd_function_help(struct call *c)
{
    static const char *const lines[] = {
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        ("    It also possible to get only function that matches a pattern using LIBRARYNAME "
         "argument."),
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        ("    Return a serialized payload representing the current libraries, can be restored "
         "using FUNCTION RESTORE command"),
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        ("    Restore the libraries represented by the given payload, it is possible to give a "
         "restore policy to"),
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        ("    * APPEND: appends the restored libraries to the existing libraries. On collision, "
         "abort."),
        ("    * REPLACE: appends the restored libraries to the existing libraries, On collision, "
         "replace the old"),
        ("      libraries with the new libraries (notice that even on this option there is a "
         "chance of failure"),
        "      in case of functions name collision with another library).",
        NULL
    };
    reply_help(c, lines);
}

#define ROW(text, since_version) \
    .acl = ACL_SCRIPTING, .group = "scripting", .since = since_version, .summary = text
#define CHANGES .tips = "request_policy:all_shards,response_policy:all_succeeded"

const struct command function_subcommands[] = {
    { .name = "list",
      .proc = cmd_function_list,
      .arity = -2,
      .flags = CMD_NOSCRIPT,
      ROW("List information about all the functions", "7.0.0"),
      .complexity = "O(N) where N is the number of functions",
      .syntax = "[LIBRARYNAME library-name-pattern] [WITHCODE]",
      .tips = "nondeterministic_output_order" },
    { .name = "flush",
      .proc = cmd_function_flush,
      .arity = -2,
      .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_EXCLUSIVE,
      ROW("Deleting all functions", "7.0.0"),
      .complexity = "O(N) where N is the number of functions deleted",
      .syntax = "[async=<ASYNC|SYNC>]",
      CHANGES },
    { .name = "load",
      .proc = cmd_function_load,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_EXCLUSIVE,
      ROW("Create a function with the given arguments (name, code, description)", "7.0.0"),
      .complexity = "O(1) (considering compilation time is redundant)",
      .syntax = "[REPLACE] function-code",
      CHANGES },
    { .name = "delete",
      .proc = cmd_function_delete,
      .arity = 3,
      .flags = CMD_WRITE | CMD_NOSCRIPT | CMD_EXCLUSIVE,
      ROW("Delete a function by name", "7.0.0"),
      .complexity = "O(1)",
      .syntax = "library-name",
      CHANGES },
    { .name = "dump",
      .proc = cmd_function_dump,
      .arity = 2,
      .flags = CMD_NOSCRIPT,
      ROW("Dump all functions into a serialized binary payload", "7.0.0"),
      .complexity = "O(N) where N is the number of functions" },
    { .name = "restore",
      .proc = cmd_function_restore,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_NOSCRIPT | CMD_EXCLUSIVE,
      ROW("Restore all the functions on the given payload", "7.0.0"),
      .complexity = "O(N) where N is the number of functions on the payload",
      .syntax = "serialized-value [policy=<FLUSH|APPEND|REPLACE>]",
      CHANGES },
    { .name = "help",
      .proc = cmd_function_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      ROW("Show helpful text about the different subcommands", "7.0.0"),
      .complexity = "O(1)" },
    { .name = "kill",
      .proc = cmd_function_kill,
      .arity = 2,
      .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
      ROW("Kill the function currently in execution.", "7.0.0"),
      .complexity = "O(1)",
      .tips = "request_policy:all_shards,response_policy:one_succeeded" },
    { .name = "stats",
      .proc = cmd_function_stats,
      .arity = 2,
      .flags = CMD_NOSCRIPT | CMD_ALLOW_BUSY,
      ROW("Return information about the function currently running (name, description, duration)",
          "7.0.0"),
      .complexity = "O(1)",
      .tips = "nondeterministic_output,request_policy:all_shards,response_policy:special" },
    { .name = NULL },
};
