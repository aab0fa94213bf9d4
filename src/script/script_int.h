/* script_int.h -- What the files of script/ share: the engine, the Lua state of a worker, a run.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCRIPT_SCRIPT_INT_H
#define SCRIPT_SCRIPT_INT_H

#include "base/lock.h"
#include "script/script.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

/* A script of the cache. */
struct script {
    char sha[41];
    unsigned flags; /* enum script_flags */
    struct slice text;
    _Atomic bool alone;      /* it touched keys that it did not declare: it begins in a section */
    _Atomic bool evicted;    /* it is in the cache no more */
    _Atomic unsigned owners; /* the cache, states */
    _Atomic uint64_t used;   /* scripts.uses when it last ran */
    bool held[];             /* by the state of this worker: each its worker's */
};
#define EVICTABLE_MAX 500 /* scripts of EVAL, as in Redis and Valkey */
enum script_flags {
    SCRIPT_FLAG_NO_WRITES = 1,
    SCRIPT_FLAG_ALLOW_OOM = 2,
    SCRIPT_FLAG_ALLOW_STALE = 4,
    SCRIPT_FLAG_NO_CLUSTER = 8,
    SCRIPT_FLAG_CROSS_SLOT = 16,
    SCRIPT_FLAG_COMPAT = 32, /* no flags were given: rules apply command by command */
};
struct flag_name {
    const char *name;
    unsigned flag;
};
extern const struct flag_name script_flag_names[]; /* terminated by NULL */

struct function {
    struct library *of;
    char *name, *description; /* description NULL: none */
    size_t name_n, description_n;
    unsigned flags;
    _Atomic bool alone; /* it touched keys that it did not declare */
};
struct library {
    uint64_t id; /* of no other that ever joined the engine */
    char *name;
    size_t name_n;
    struct slice code;
    struct function **functions; /* n of them, in the order they were registered */
    unsigned n;
};

struct scripts {
    struct exec *x;
    struct lock lock; /* RANK_SCRIPTS */
    /* under lock */
    void *cache; /* tree of struct script by sha (search.h) */
    uint64_t cached, cache_bytes;
    struct script *evictable[EVICTABLE_MAX]; /* those of EVAL alone, in no order */
    unsigned nevictable;
    void *libraries, *functions; /* trees of struct library and function by name */
    uint64_t nlibraries, nfunctions, library_bytes;
    uint64_t library_ids; /* given so far */
    /* atomic */
    _Atomic uint64_t cache_generation; /* SCRIPT FLUSH: states forget what they compiled */
    _Atomic uint64_t library_generation;
    _Atomic uint64_t uses;      /* of scripts, but for the same one again */
    _Atomic uint64_t evictions, /* ever */
        evictions_reset;        /* at CONFIG RESETSTAT */
    _Atomic uint64_t memory;    /* of all states */
    struct vm **vm;             /* by worker id, each its worker's */
    unsigned nvm;
};

/* What runs now in a state. */
struct run {
    struct call *c;
    const char *name; /* sha, or function */
    unsigned flags;   /* enum script_flags */
    unsigned rules;   /* enum script_rules for its commands */
    int resp;         /* redis.setresp() */
    bool again;       /* it must end, to run alone */
    bool killed;      /* it must end, for good */
};
static inline bool run_ends(const struct run *run)
{
    return run->again || run->killed;
}
/* Scripts that ran lately in a state, found without hashing their text, without the lock and
 * without making Lua strings: a place by the sha for what is compiled, a place by samples of the
 * text. */
#define RECENT_SCRIPTS 64
struct recent {
    struct script *script; /* NULL: free */
    int function;          /* reference in the Lua registry */
};
struct vm {
    lua_State *L;
    struct scripts *s;
    unsigned id;          /* of its worker */
    struct script **held; /* nheld: what it may have compiled */
    unsigned nheld, held_cap;
    uint64_t evictions; /* scripts.evictions when it last let go */
    struct recent by_sha[RECENT_SCRIPTS];
    struct script *by_text[RECENT_SCRIPTS];
    struct run *run;   /* NULL: a library is being loaded, or nothing */
    struct load *load; /* FUNCTION LOAD: where redis.register_function() goes */
    uint64_t cache_generation, library_generation;
    size_t bytes, kept_bytes, /* kept: after it was last cleaned */
        told_bytes;           /* its share of scripts.memory */
    bool limited;             /* protected code runs: it may meet an error of memory */
    struct drand48_data random;
};

/* A library that is being loaded. */
struct load {
    struct library *lib; /* gets the functions; NULL: only the state does */
    int64_t deadline_us; /* monotonic; 0: none */
};

static inline struct vm *vm_of(lua_State *L)
{
    void *vm;
    (void)lua_getallocf(L, &vm);
    return vm;
}

/* vm.c */
struct vm *vm_new(struct scripts *s, unsigned id);
void vm_free(struct vm *vm);
struct vm *vm_of_call(struct call *c);
/* SCRIPT FLUSH has come since: what it knows of the cache is freed. The next vm_of_call() is
 * another. */
bool vm_stale(const struct vm *vm);
/* Pushes the function that the text is; false: the error. limited: it may fail for memory. */
must_check bool vm_compile(struct vm *vm, struct slice text, const char *name, bool limited);
/* Pushes the keys of EVAL or FCALL, and the other arguments, as a table each. False: replied that
 * there is no memory. */
must_check bool vm_push_arguments(struct vm *vm, struct call *c, unsigned nkeys);
/* The function on top of the stack with the n arguments above it is called for the run; its reply
 * is written, or its error. The stack is emptied. */
void vm_call(struct vm *vm, struct run *run, int nargs);
/* Runs the chunk on top of the stack, which defines a library; true, or the error's text on top. */
must_check bool vm_load(struct vm *vm, struct load *load);
void vm_stop(struct vm *vm, lua_State *L); /* raises in L, and goes on raising until the run ends */
void vm_look(lua_State *L); /* at the time, and who asks: does that when the run must end */

/* sandbox.c: globals of a new state */
void sandbox_open(lua_State *L);
void sandbox_set_global(lua_State *L, const char *name); /* value on top */
/* After `redis` is there: the environment of libraries. It is one table, whose content depends on
 * whether library code is being loaded; pushed. */
void sandbox_open_libraries(lua_State *L);
void sandbox_no_more(lua_State *L); /* reading what the table on top lacks is an error */
void sandbox_library_env(lua_State *L, bool load);
void sandbox_protect(lua_State *L); /* the table on top becomes a read-only view of it */

/* guard.c: in front of the library function of the same arguments; raise */
void guard_unpack(lua_State *L);
void guard_pattern(lua_State *L); /* find, match, gmatch, gsub */
void guard_encode(lua_State *L);  /* cjson; upvalues 2, 3: its encode_max_depth and _sparse_array */

/* redis_api.c: pushes the table `redis`; for a library being loaded, another one */
void redis_api_push(lua_State *L, bool load);
void error_push(lua_State *L, const char *text); /* a table {err = text} */

/* convert.c */
/* The RESP bytes as a Lua value; true: it is an error. */
bool convert_push(lua_State *L, struct slice resp);
void convert_reply(struct call *c, lua_State *L,
                   int resp); /* the value on top becomes the reply; popped */

/* cache.c: any worker; with the state of the calling one. NULL: it is not there, or no memory. What
 * cache_find() and cache_add() give is the state's until its next vm_of_call(). keep: as SCRIPT
 * LOAD does, it is not evicted. */
struct script *cache_new(struct scripts *s, const char sha[41], struct slice text, unsigned flags);
void cache_discard(struct script *sc); /* that is new */
struct script *cache_find(struct vm *vm, const char *sha, bool keep);
must_check bool cache_has(struct scripts *s, const char *sha, unsigned *flags);
/* The one that is there, or `new`, which then belongs to the cache. */
struct script *cache_add(struct vm *vm, struct script *new, bool keep);
void cache_used(struct scripts *s, struct script *sc); /* it runs: it is the newest */
void cache_clear(struct scripts *s);                   /* while nobody runs */
void cache_let_go(struct vm *vm);                      /* of what was evicted; nothing runs in it */
void cache_leave(struct vm *vm);                       /* it ends */

/* shebang.c */
/* The first line of text, when that begins with "#!", without its end; *body: the rest, to which
 * the line end belongs. */
must_check bool shebang_line(struct slice text, struct slice *line, struct slice *body);
/* Asked for what clients give; a library of an older log may have any line. */
must_check bool shebang_may_be(struct slice line);
/* The enum script_flags that such a line gives to a script. False: *error, with a NUL. */
must_check bool shebang_flags(struct slice text, unsigned *flags, struct buf *error);

/* cmd_eval.c */
void recent_forget(struct vm *vm, const struct script *sc);
bool script_rules(struct call *c, unsigned flags, bool readonly, unsigned *rules);

/* register.c */
int api_register_function(lua_State *L);
bool library_name_ok(const char *name, size_t n); /* of libraries and functions */
char *try_dup(struct slice s);                    /* a copy and a NUL behind it; NULL: no memory */
void push_lower(lua_State *L, const char *name);  /* the key of a function */

/* functions.c */
void functions_free(struct scripts *s);
void functions_each(struct scripts *s,
                    void (*emit)(void *to, const struct slice *argv, unsigned argc), void *to);
/* A library of this text, which the engine does not know yet. NULL: the error is replied. */
struct library *library_new(struct call *c, struct slice code);
void library_free(struct library *l);
/* The rest in an exclusive section, or to look only: by whoever runs a command. */
void library_add(struct scripts *s, struct library *l);
void library_take(struct scripts *s,
                  struct library *l); /* out of the engine; the caller frees it */
void libraries_flush(struct scripts *s);
struct library *library_find(struct scripts *s, struct slice name);
struct function *function_find(struct scripts *s, struct slice name);
extern const struct command function_subcommands[];
void cmd_fcall(struct call *c);
bool fcall_may_write(struct exec *x, const struct slice *argv, unsigned argc);
void cmd_fcall_ro(struct call *c);

/* function_dump.c */
void cmd_function_dump(struct call *c);
void cmd_function_restore(struct call *c);

/* lib_*.c: push their table */
int luaopen_bit(lua_State *L);
int luaopen_struct(lua_State *L);
int luaopen_cmsgpack(lua_State *L);
#endif
