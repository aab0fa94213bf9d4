/* config.c -- The registry of directives, reading and changing them.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "server/config_int.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What the value of an option of this kind owns. */
void bound_value_free(enum option_kind kind, void *value)
{
    if (kind == OPT_STRING) {
        mem_free(*(char **)value);
    } else if (kind == OPT_BYTES) {
        mem_free((void *)(uintptr_t)((struct slice *)value)->p);
    }
}

struct config *config_new(void)
{
    return mem_calloc(sizeof(struct config));
}

void config_free(struct config *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct bound *b = &c->item[i];
        bound_value_free(b->o->kind, bound_value(b));
    }
    mem_free(c->item);
    mem_free(c->file);
    mem_free(c);
}

void config_bind(struct config *c, const struct option *table, void *base)
{
    for (const struct option *o = table; o->name != NULL; o++) {
        if (c->n == c->cap) {
            c->cap = c->cap == 0 ? 256 : c->cap * 2;
            c->item = mem_realloc(c->item, c->cap * sizeof *c->item);
        }
        struct bound *b = &c->item[c->n++];
        *b = (struct bound){ .o = o, .base = base };
        const char *error = NULL;
        if (o->def != NULL) {
            must(bound_set_text(b, slice_str(o->def), &error));
        }
    }
}

void config_rebind(struct config *c, void *from, void *to)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (c->item[i].base == from) {
            c->item[i].base = to;
        }
    }
}

struct bound *config_find(struct config *c, struct slice name)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct bound *b = &c->item[i];
        if (slice_is(name, b->o->name) || (b->o->alias != NULL && slice_is(name, b->o->alias))) {
            return b;
        }
    }
    return NULL;
}

/* ---- Values ---- */

static bool enum_find(const struct option_name *names, struct slice text, int64_t *out)
{
    for (; names->name != NULL; names++) {
        if (slice_is(text, names->name)) {
            *out = names->value;
            return true;
        }
    }
    return false;
}

static _Thread_local char
    error_text[512]; /* errors with numbers in them; read before the next one is made */

static const char *range_error(const struct option *o)
{
    snprintf(error_text, sizeof error_text, "argument must be between %lld and %lld inclusive",
             (long long)o->min, (long long)o->max);
    return error_text;
}

static const char *enum_error(const struct option *o)
{
    size_t n = (size_t)snprintf(error_text, sizeof error_text,
                                "argument(s) must be one of the following: ");
    for (const struct option_name *e = o->names; e->name != NULL && n < sizeof error_text; e++) {
        n += (size_t)snprintf(error_text + n, sizeof error_text - n, "%s%s",
                              e == o->names ? "" : ", ", e->name);
    }
    return error_text;
}

/* It is, and between the bounds that are silent afterwards. */
static bool in_range(const struct option *o, int64_t *v, const char **error)
{
    if ((o->min != 0 || o->max != 0) && (*v < o->min || *v > o->max)) {
        *error = range_error(o);
        return false;
    }
    if (o->least != 0 || o->most != 0) {
        *v = *v < o->least ? o->least : *v > o->most ? o->most : *v;
    }
    return true;
}

static bool parse_octal(struct slice s, int64_t *out)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7' || v > 07777) {
            return false;
        }
        v = v * 8 + (s.p[i] - '0');
    }
    *out = v;
    return s.n > 0;
}

/* A percentage is stored as its negative. */
static bool parse_percent_or_memory(struct slice s, int64_t *out, const char **error)
{
    int64_t v;
    uint64_t u;
    if (s.n > 1 && s.p[s.n - 1] == '%') {
        if (!parse_i64(slice_of(s.p, s.n - 1), &v) || v < 0) {
            return false;
        }
        if (v > 100) {
            *error = "percentage argument must be less or equal to 100";
            return false;
        }
        *out = -v;
        return true;
    }
    if (!parse_memory(s, &u) || u > INT64_MAX) {
        return false;
    }
    *out = (int64_t)u;
    return true;
}

static bool parse_one(const struct option *o, struct slice s, int64_t *out, const char **error)
{
    uint64_t u;
    switch (o->kind) {
    case OPT_BOOL:
        *error = "argument must be 'yes' or 'no'";
        *out = slice_is(s, "yes");
        return *out || slice_is(s, "no");
    case OPT_INT:
        *error = "argument couldn't be parsed into an integer";
        return parse_i64(s, out) && in_range(o, out, error);
    case OPT_MEMORY:
        *error = "argument must be a memory value";
        if (!parse_memory(s, &u)) {
            return false;
        }
        if (u > INT64_MAX) {
            *error = o->max != 0 ? range_error(o) : *error;
            return false;
        }
        *out = (int64_t)u;
        return in_range(o, out, error);
    case OPT_PERCENT_OR_MEMORY:
        *error = "argument must be a memory or percent value";
        return parse_percent_or_memory(s, out, error);
    case OPT_OCTAL:
        *error = "argument couldn't be parsed into an integer";
        return parse_octal(s, out) && in_range(o, out, error);
    default: must_not_reach();
    }
}

static void add_names(const struct option *o, int64_t v, struct buf *out)
{
    bool any = false;
    for (const struct option_name *e = o->names; e->name != NULL; e++) {
        if (o->kind == OPT_ENUM ? e->value == v
                                : (e->value == 0 ? v == 0 : (v & e->value) == e->value)) {
            buf_printf(out, "%s%s", any ? " " : "", e->name);
            any = true;
            if (o->kind == OPT_ENUM) {
                break;
            }
        }
    }
}

static bool set_names(struct bound *b, int64_t v, const char **error)
{
    const struct option *o = b->o;
    bool ok = true;
    if (o->check != NULL) {
        struct buf text = { 0 };
        add_names(o, v, &text);
        ok = o->check(buf_slice(&text), error);
        buf_free(&text);
    }
    if (ok) {
        atomic_store_explicit((_Atomic int64_t *)bound_value(b), v, memory_order_relaxed);
    }
    return ok;
}

/* Names between single spaces: more of them, or one at an end, have an empty name beside them. */
static bool set_flags_text(struct bound *b, struct slice text, const char **error)
{
    int64_t all = 0, v;
    for (size_t from = 0, to; from <= text.n; from = to + 1) {
        for (to = from; to < text.n && text.p[to] != ' '; to++) {
        }
        if (!enum_find(b->o->names, slice_of(text.p + from, to - from), &v)) {
            *error = enum_error(b->o);
            return false;
        }
        all |= v;
    }
    return set_names(b, all, error);
}

bool bound_set_words(struct bound *b, const struct slice *argv, unsigned argc, const char **error)
{
    const struct option *o = b->o;
    if (o->kind == OPT_CUSTOM) {
        return o->set(b->base, argv, argc, error);
    }
    if (o->kind == OPT_FLAGS || o->kind == OPT_ENUM) {
        int64_t all = 0;
        for (unsigned i = 0; i < argc; i++) {
            int64_t v;
            if (!enum_find(o->names, argv[i], &v)) {
                *error = enum_error(o);
                return false;
            }
            all |= v;
        }
        if (argc == 0 || (o->kind == OPT_ENUM && argc != 1)) {
            *error = argc == 0 ? enum_error(o) : "wrong number of arguments";
            return false;
        }
        return set_names(b, all, error);
    }
    if (argc != 1) {
        *error = "wrong number of arguments";
        return false;
    }
    if (o->kind == OPT_STRING || o->kind == OPT_BYTES) {
        if (o->check != NULL && !o->check(argv[0], error)) {
            return false;
        }
        char *copy = mem_dup(argv[0].p, argv[0].n);
        bound_value_free(o->kind, bound_value(b));
        if (o->kind == OPT_STRING) {
            *(char **)bound_value(b) = copy;
        } else {
            *(struct slice *)bound_value(b) = slice_of(copy, argv[0].n);
        }
        return true;
    }
    int64_t v;
    if (!parse_one(o, argv[0], &v, error)) {
        return false;
    }
    atomic_store_explicit((_Atomic int64_t *)bound_value(b), v, memory_order_relaxed);
    return true;
}

/* The value as CONFIG SET and defaults give it: one text, which kinds of several words split. */
bool bound_set_text(struct bound *b, struct slice text, const char **error)
{
    if (b->o->kind == OPT_FLAGS) {
        return set_flags_text(b, text, error);
    }
    if (b->o->kind != OPT_CUSTOM) {
        return bound_set_words(b, &text, 1, error);
    }
    struct buf store = { 0 };
    struct slice *argv = NULL;
    unsigned argc = 0;
    if (!split_args(text, &store, &argv, &argc)) {
        *error = "unbalanced quotes";
        return false;
    }
    bool ok = bound_set_words(b, argv, argc, error);
    mem_free(argv);
    buf_free(&store);
    return ok;
}

void bound_get(const struct bound *b, struct buf *out)
{
    const struct option *o = b->o;
    if (o->kind == OPT_CUSTOM) {
        o->get(b->base, out);
        return;
    }
    if (o->kind == OPT_STRING) {
        const char *s = *(char *const *)bound_value(b);
        buf_add_str(out, s != NULL ? s : "");
        return;
    }
    if (o->kind == OPT_BYTES) {
        buf_add_slice(out, *(const struct slice *)bound_value(b));
        return;
    }
    int64_t v = option_int((const _Atomic int64_t *)bound_value(b));
    switch (o->kind) {
    case OPT_BOOL: buf_add_str(out, v ? "yes" : "no"); break;
    case OPT_INT:
    case OPT_MEMORY: buf_add_i64(out, v); break;
    case OPT_PERCENT_OR_MEMORY:
        buf_add_i64(out, v < 0 ? -v : v);
        buf_add_str(out, v < 0 ? "%" : "");
        break;
    case OPT_OCTAL: buf_printf(out, "%llo", (unsigned long long)v); break;
    case OPT_ENUM:
    case OPT_FLAGS: add_names(o, v, out); break;
    default: must_not_reach();
    }
}

bool config_value(struct config *c, const char *name, struct buf *out)
{
    struct bound *b = config_find(c, slice_str(name));
    if (b == NULL) {
        return false;
    }
    bound_get(b, out);
    return true;
}

bool config_is_sensitive(struct config *c, struct slice name)
{
    const struct bound *b = config_find(c, name);
    return b != NULL && (b->o->flags & OPTF_SENSITIVE) != 0;
}

const char *config_file(const struct config *c)
{
    return c->file != NULL ? c->file : "";
}

void config_each(struct config *c, void (*visit)(void *arg, const struct option *o, void *base),
                 void *arg)
{
    for (unsigned i = 0; i < c->n; i++) {
        visit(arg, c->item[i].o, c->item[i].base);
    }
}

/* ---- CONFIG GET and SET ---- */

/* The pattern that matches the name, or what was given as that name; NULL: none. */
static const struct slice *match_of(const char *name, const struct slice *patterns, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (glob_match(patterns[i], slice_str(name), true)) {
            return &patterns[i];
        }
    }
    return NULL;
}

void config_get(struct config *c, const struct slice *patterns, unsigned n,
                void (*visit)(void *arg, struct slice name, struct slice value), void *arg)
{
    struct buf value = { 0 };
    for (unsigned i = 0; i < c->n; i++) {
        const struct bound *b = &c->item[i];
        const char *names[2] = { b->o->name, b->o->alias };
        for (unsigned k = 0; k < 2 && names[k] != NULL && !(b->o->flags & OPTF_HIDDEN); k++) {
            const struct slice *by = match_of(names[k], patterns, n);
            if (by != NULL) {
                value.n = 0;
                bound_get(b, &value);
                visit(arg, slice_is(*by, names[k]) ? *by : slice_str(names[k]), buf_slice(&value));
            }
        }
    }
    buf_free(&value);
}

struct change {
    struct bound *b;
    struct buf before;
    bool set;
};

static void failed(struct buf *error, struct slice name, const char *why)
{
    error->n = 0;
    buf_printf(error, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
               (int)name.n, name.p, why);
}

/* COMPAT: an immutable directive of kv's own may be set to the value it has, so that CONFIG SET of
 * all that CONFIG GET showed works as it does with Redis. */
static bool is_own_and_same(const struct bound *b, struct slice value)
{
    struct buf now = { 0 };
    bound_get(b, &now);
    bool same = (b->o->flags & OPTF_OWN) && slice_eq(buf_slice(&now), value);
    buf_free(&now);
    return same;
}

static bool may_change(struct config *c, const struct slice *pairs, unsigned i, struct change *ch,
                       bool protected_ok, struct buf *error)
{
    struct slice name = pairs[2 * i];
    struct bound *b = config_find(c, name);
    if (b == NULL || (b->o->flags & OPTF_HIDDEN)) {
        buf_printf(error, "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                   (int)name.n, name.p);
        return false;
    }
    const char *why = NULL;
    if ((b->o->flags & OPTF_IMMUTABLE) && !is_own_and_same(b, pairs[2 * i + 1])) {
        why = "can't set immutable config";
    } else if ((b->o->flags & OPTF_PROTECTED) && !protected_ok) {
        why = "can't set protected config";
    }
    for (unsigned k = 0; k < i && why == NULL; k++) {
        why = ch[k].b == b ? "duplicate parameter" : NULL;
    }
    if (why != NULL) {
        failed(error, name, why);
        return false;
    }
    ch[i].b = b;
    return true;
}

static void restore(struct change *ch, unsigned n)
{
    const char *ignored;
    for (unsigned i = n; i-- > 0;) {
        if (ch[i].set) {
            must(bound_set_text(ch[i].b, buf_slice(&ch[i].before), &ignored));
        }
    }
}

/* Makes changed values act; each apply function once, though several directives may share it. */
static bool apply_all(struct change *ch, unsigned n, const char **why, unsigned *at)
{
    for (unsigned i = 0; i < n; i++) {
        bool done = ch[i].b->o->apply == NULL;
        for (unsigned k = 0; k < i && !done; k++) {
            done = ch[k].b->o->apply == ch[i].b->o->apply;
        }
        if (!done && !ch[i].b->o->apply(ch[i].b->base, why)) {
            *at = i;
            return false;
        }
    }
    return true;
}

static bool set_values(const struct slice *pairs, unsigned n, struct change *ch, struct buf *error)
{
    const char *why = NULL;
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++) {
        bound_get(ch[i].b, &ch[i].before);
        ch[i].set = true;
        if (!bound_set_text(ch[i].b, pairs[2 * i + 1], &why)) {
            failed(error, pairs[2 * i], why);
            restore(ch, i + 1);
            return false;
        }
    }
    if (!apply_all(ch, n, &why, &at)) {
        failed(error, pairs[2 * at], why != NULL ? why : "it was refused");
        restore(ch, n);
        why = NULL;
        if (!apply_all(ch, n, &why, &at)) { /* what already acted goes back to the old values */
            log_warning("CONFIG SET failed, and the old value of '%s' could not act again: %s",
                        ch[at].b->o->name, why != NULL ? why : "it was refused");
        }
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        ch[i].b->sets++;
    }
    return true;
}

bool config_set_many(struct config *c, const struct slice *pairs, unsigned npairs,
                     bool protected_ok, struct buf *error)
{
    struct change *ch = mem_calloc((npairs + 1) * sizeof *ch);
    bool ok = true;
    for (unsigned i = 0; i < npairs && ok; i++) {
        ok = may_change(c, pairs, i, ch, protected_ok, error);
    }
    ok = ok && set_values(pairs, npairs, ch, error);
    for (unsigned i = 0; i < npairs; i++) {
        buf_free(&ch[i].before);
    }
    mem_free(ch);
    return ok;
}

/* ---- Going back ---- */

struct saved_value {
    struct bound *b;
    uint64_t sets;      /* of b, behind the CONFIG SET that follows */
    struct slice value; /* mem_dup'ed */
};

struct config_saved {
    unsigned n;
    struct saved_value item[];
};

struct config_saved *config_save(struct config *c, const struct slice *pairs, unsigned npairs)
{
    struct config_saved *saved = mem_alloc(sizeof *saved + npairs * sizeof saved->item[0]);
    struct buf value = { 0 };
    saved->n = 0;
    for (unsigned i = 0; i < npairs; i++) {
        struct bound *b = config_find(c, pairs[2 * i]);
        if (b == NULL) {
            continue;
        }
        value.n = 0;
        bound_get(b, &value);
        saved->item[saved->n++] = (struct saved_value){
            .b = b,
            .sets = b->sets + 1,
            .value = slice_of(mem_dup(value.n > 0 ? value.p : "", value.n), value.n),
        };
    }
    buf_free(&value);
    return saved;
}

bool config_restore(struct config *c, const struct config_saved *saved, struct buf *error)
{
    struct slice *pairs = mem_alloc(2 * (saved->n + 1) * sizeof *pairs);
    unsigned n = 0;
    for (unsigned i = 0; i < saved->n; i++) {
        const struct saved_value *v = &saved->item[i];
        if (v->b->sets == v->sets) {
            pairs[2 * n] = slice_str(v->b->o->name);
            pairs[2 * n + 1] = v->value;
            n++;
        }
    }
    bool ok = config_set_many(c, pairs, n, true, error);
    for (unsigned i = 0; i < n && !ok; i++) { /* those that can */
        struct buf ignored = { 0 };
        (void)!config_set_many(c, pairs + 2 * i, 1, true, &ignored);
        buf_free(&ignored);
    }
    mem_free(pairs);
    return ok;
}

void config_saved_free(struct config_saved *saved)
{
    for (unsigned i = 0; i < saved->n; i++) {
        mem_free((void *)(uintptr_t)saved->item[i].value.p);
    }
    mem_free(saved);
}
