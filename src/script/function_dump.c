/* function_dump.c -- FUNCTION DUMP and RESTORE: all libraries as bytes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT     The payload is what an RDB file has for libraries, each its text behind an opcode, and a
 *          footer (store/rdb.h). All of it is loaded and found to be compatible with what stays
 *          before anything changes.
 * EFFECT   The payload with FLUSH or REPLACE: APPEND has made sure that nothing is replaced, and a
 *          log that begins meanwhile may have the libraries already. */
#include "base/mem.h"
#include "script/script_int.h"
#include "store/rdb.h"
#include <string.h>
#include <strings.h>

static void dump_library(void *writer, const struct slice *argv, unsigned argc)
{
    rdb_write_byte(writer, RDB_OP_FUNCTION);
    rdb_write_text(writer, argv[argc - 1]);
}

void cmd_function_dump(struct call *c)
{
    struct rdb_writer w = { .compress = true };
    functions_each(exec_scripts(c->x), dump_library, &w);
    rdb_write_footer(&w, RDB_VERSION);
    if (w.error != 0) {
        reply_oom(c);
    } else {
        reply_bulk(c, buf_slice(&w.b));
    }
    buf_free(&w.b);
}

/* ---- RESTORE ---- */

enum policy { POLICY_APPEND, POLICY_REPLACE, POLICY_FLUSH };

/* The libraries of a payload. */
struct restored {
    struct library **at;
    unsigned n;
};

static void forget(struct restored *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        library_free(r->at[i]);
    }
    mem_free(r->at);
}

static const char *function_in_both(const struct library *a, const struct library *b)
{
    for (unsigned i = 0; i < a->n; i++) {
        for (unsigned j = 0; j < b->n; j++) {
            if (strcasecmp(a->functions[i]->name, b->functions[j]->name) == 0) {
                return a->functions[i]->name;
            }
        }
    }
    return NULL;
}

/* Takes the library over. False: replied that it is in the payload already. */
static bool keep(struct call *c, struct restored *r, struct library *l)
{
    r->at = mem_realloc(r->at, (r->n + 1) * sizeof(*r->at));
    r->at[r->n++] = l;
    for (unsigned i = 0; i + 1 < r->n; i++) {
        const char *both = function_in_both(l, r->at[i]);
        if (strcmp(l->name, r->at[i]->name) == 0) {
            reply_errorf(c, "ERR Library '%s' already exists", l->name);
            return false;
        }
        if (both != NULL) {
            reply_errorf(c, "ERR Function %s already exists", both);
            return false;
        }
    }
    return true;
}

static bool read_library(struct call *c, struct rdb_reader *from, struct rdb_text *text,
                         struct restored *r)
{
    unsigned opcode = 0;
    if (!rdb_read_byte(from, &opcode) || opcode != RDB_OP_FUNCTION) {
        reply_error(c, opcode == RDB_OP_FUNCTION_OLD ? "ERR Pre-GA function format not supported"
                                                     : "ERR given type is not a function");
        return false;
    }
    if (!rdb_read_text(from, text)) {
        reply_error(c, "ERR Failed loading library code");
        return false;
    }
    struct library *l = library_new(c, text->s);
    return l != NULL && keep(c, r, l);
}

/* False: replied; r has what was read before. */
static bool read_all(struct call *c, struct slice body, struct restored *r)
{
    struct rdb_reader from = rdb_reader_of(body);
    struct rdb_text text = { .own = { 0 } };
    bool done = true;
    while (done && !rdb_at_end(&from)) {
        done = read_library(c, &from, &text, r);
    }
    buf_free(&text.own);
    return done;
}

static bool is_replaced(const struct restored *r, const struct library *l)
{
    bool found = false;
    for (unsigned i = 0; i < r->n && !found; i++) {
        found = strcmp(r->at[i]->name, l->name) == 0;
    }
    return found;
}

/* Can all of it join what is there? False: replied. */
static bool may_join(struct call *c, const struct restored *r, bool replace)
{
    struct scripts *s = exec_scripts(c->x);
    for (unsigned i = 0; i < r->n; i++) {
        const struct library *l = r->at[i];
        if (!replace && library_find(s, slice_str(l->name)) != NULL) {
            reply_errorf(c, "ERR Library %s already exists", l->name);
            return false;
        }
    }
    for (unsigned i = 0; i < r->n; i++) {
        const struct library *l = r->at[i];
        for (unsigned j = 0; j < l->n; j++) {
            const struct function *f = function_find(s, slice_str(l->functions[j]->name));
            if (f != NULL && !is_replaced(r, f->of)) {
                reply_errorf(c, "ERR Function %s already exists", f->name);
                return false;
            }
        }
    }
    return true;
}

static void join(struct scripts *s, struct restored *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        struct library *old = library_find(s, slice_str(r->at[i]->name));
        if (old != NULL) {
            library_take(s, old);
            library_free(old);
        }
    }
    for (unsigned i = 0; i < r->n; i++) {
        library_add(s, r->at[i]);
    }
    r->n = 0;
}

static bool parse_policy(struct call *c, enum policy *policy)
{
    *policy = POLICY_APPEND;
    if (c->argc > 4) {
        reply_wrong_sub(c);
        return false;
    }
    if (c->argc < 4 || arg_is(c, 3, "append")) {
        return true;
    }
    if (!arg_is(c, 3, "flush") && !arg_is(c, 3, "replace")) {
        reply_error(c, "ERR Wrong restore policy given, value should be either FLUSH, APPEND or "
                       "REPLACE.");
        return false;
    }
    *policy = arg_is(c, 3, "flush") ? POLICY_FLUSH : POLICY_REPLACE;
    return true;
}

void cmd_function_restore(struct call *c)
{
    struct scripts *s = exec_scripts(c->x);
    struct restored r = { NULL, 0 };
    struct slice body;
    enum policy policy;
    if (!parse_policy(c, &policy)) {
        return;
    }
    if (!rdb_footer_take(c->argv[2], &body)) {
        reply_error(c, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct rdb_writer w = { .error = 0 }; /* the same as any Redis reads it, for the log */
    if (!buf_try_reserve(&w.b, c->argv[2].n)) {
        reply_oom(c);
        return;
    }
    buf_add_slice(&w.b, body);
    rdb_write_footer(&w, RDB_VERSION);
    if (read_all(c, body, &r) &&
        (policy == POLICY_FLUSH || may_join(c, &r, policy == POLICY_REPLACE))) {
        if (policy == POLICY_FLUSH) {
            libraries_flush(s);
        }
        join(s, &r);
        EFFECT(c, S("FUNCTION"), S("RESTORE"), buf_slice(&w.b),
               policy == POLICY_FLUSH ? S("FLUSH") : S("REPLACE"));
        reply_ok(c);
    }
    buf_free(&w.b);
    forget(&r);
}
