/* reply.c -- Replies as handlers write them: thin words over the RESP writer, plus argument parsing
 * with Redis's error texts. SPDX-License-Identifier: BSD-3-Clause THREADS  The thread that runs the
 * call. */
#include "exec/exec_int.h"
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void reply_ok(struct call *c)
{
    resp_simple(c->out, S("OK"));
}

void reply_simple(struct call *c, const char *text)
{
    resp_simple(c->out, slice_str(text));
}

void reply_error(struct call *c, const char *text)
{
    struct slice s = slice_str(text);
    const char *space = memchr(s.p, ' ', s.n);
    c->in->error = true;
    if (c->in->w != NULL && !(c->flags & CALL_REPLAY)) {
        error_count(c->x, c->in->w, slice_of(s.p, space != NULL ? (size_t)(space - s.p) : s.n));
    }
    resp_error(c->out, s);
}

void reply_error_again(struct call *c, const char *text)
{
    c->in->error = true;
    resp_error(c->out, slice_str(text));
}

void reply_errorf(struct call *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *whole = n >= (int)sizeof text ? mem_try_alloc((size_t)n + 1) : NULL;
    if (whole != NULL) { /* a long argument is quoted */
        va_start(ap, fmt);
        vsnprintf(whole, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    reply_error(c, whole != NULL ? whole : text);
    mem_free(whole);
}

void reply_int(struct call *c, int64_t v)
{
    resp_int(c->out, v);
}

void reply_bulk(struct call *c, struct slice s)
{
    resp_bulk(c->out, s);
}

void reply_bulk_str(struct call *c, const char *s)
{
    resp_bulk(c->out, slice_str(s));
}

void reply_bulk_i64(struct call *c, int64_t v)
{
    resp_bulk_i64(c->out, v);
}

/* Above this a reply borrows the blob instead of copying it. */
#define BORROW_MIN 16384

void reply_entry_string(struct call *c, struct entry *e)
{
    if (unlikely(entry_strlen(e) >= BORROW_MIN)) {
        struct slice bytes;
        struct blob *b = entry_blob_ref(e, &bytes);
        if (b != NULL) {
            char head[I64_TEXT_MAX + 3];
            size_t n = 0;
            head[n++] = '$';
            n += format_u64(head + n, bytes.n);
            head[n++] = '\r';
            head[n++] = '\n';
            out_add(c->out, head, n);
            out_add_ext(c->out, bytes.p, bytes.n, blob_release, b);
            out_add(c->out, "\r\n", 2);
            return;
        }
    }
    char tmp[I64_TEXT_MAX];
    resp_bulk(c->out, entry_string(e, tmp));
}

void reply_null(struct call *c)
{
    resp_null(c->out, c->resp);
}

void reply_null_array(struct call *c)
{
    resp_null_array(c->out, c->resp);
}

void reply_array(struct call *c, size_t n)
{
    resp_array(c->out, n);
}

void reply_map(struct call *c, size_t pairs)
{
    resp_map(c->out, pairs, c->resp);
}

void reply_set(struct call *c, size_t n)
{
    resp_set(c->out, n, c->resp);
}

void reply_push(struct call *c, size_t n)
{
    resp_push(c->out, n, c->resp);
}

void reply_bool(struct call *c, bool v)
{
    resp_bool(c->out, v, c->resp);
}

void reply_double(struct call *c, double v)
{
    resp_double(c->out, v, c->resp);
}

void reply_long_double(struct call *c, long double v)
{
    resp_long_double(c->out, v);
}

void reply_human_double(struct call *c, long double v)
{
    resp_human_double(c->out, v, c->resp);
}

void reply_bignum(struct call *c, struct slice digits)
{
    resp_bignum(c->out, digits, c->resp);
}

void reply_verbatim(struct call *c, struct slice s, const char ext[3])
{
    resp_verbatim(c->out, s, ext, c->resp);
}

struct out_block *reply_array_deferred(struct call *c)
{
    return resp_array_deferred(c->out);
}

void reply_array_fill(struct call *c, struct out_block *hole, size_t n)
{
    resp_array_fill(c->out, hole, n);
}

void reply_bulk_u64_fill(struct call *c, struct out_block *hole, uint64_t v)
{
    char digits[I64_TEXT_MAX];
    reply_bulk_fill(c, hole, slice_of(digits, format_u64(digits, v)));
}

void reply_bulk_fill(struct call *c, struct out_block *hole, struct slice s)
{
    char text[64];
    must(s.n <= 48);
    int len = snprintf(text, sizeof text, "$%zu\r\n%.*s\r\n", s.n, (int)s.n, s.p);
    out_fill_hole(c->out, hole, text, (size_t)len);
}

void reply_map_fill(struct call *c, struct out_block *hole, size_t pairs)
{
    resp_map_fill(c->out, hole, pairs, c->resp);
}

void reply_set_fill(struct call *c, struct out_block *hole, size_t n)
{
    resp_set_fill(c->out, hole, n, c->resp);
}

void reply_help(struct call *c, const char *const *lines)
{
    unsigned n = 0;
    while (lines[n] != NULL) {
        n++;
    }
    char name[64];
    const struct cmd_ref *top = c->in->ref->parent != NULL ? c->in->ref->parent : c->in->ref;
    snprintf(name, sizeof name, "%s", top->row->name);
    for (char *p = name; *p != '\0'; p++) {
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    }
    char head[160];
    snprintf(head, sizeof head,
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(c, n + 3);
    reply_simple(c, head);
    for (unsigned i = 0; i < n; i++) {
        reply_simple(c, lines[i]);
    }
    reply_simple(c, "HELP");
    reply_simple(c, "    Print this help.");
}

void reply_wrongtype(struct call *c)
{
    reply_error(c, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_syntax(struct call *c)
{
    reply_error(c, "ERR syntax error");
}

void reply_not_int(struct call *c)
{
    reply_error(c, "ERR value is not an integer or out of range");
}

void reply_not_float(struct call *c)
{
    reply_error(c, "ERR value is not a valid float");
}

void reply_arity(struct call *c)
{
    reply_errorf(c, "ERR wrong number of arguments for '%s' command", c->in->ref->full);
}

void reply_wrong_sub(struct call *c)
{
    char name[64];
    const char *parent = c->in->ref->parent->row->name;
    size_t n = 0;
    for (; parent[n] != '\0' && n < sizeof name - 1; n++) {
        name[n] = (char)toupper((unsigned char)parent[n]);
    }
    name[n] = '\0';
    reply_errorf(c, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                 (int)size_min(c->argv[1].n, 128), c->argv[1].p, name);
}

void reply_unknown_sub(struct call *c)
{
    char name[64];
    snprintf(name, sizeof name, "%s", c->in->ref->row->name);
    for (char *p = name; *p != '\0'; p++) {
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    }
    reply_errorf(c, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)size_min(c->argv[1].n, 128),
                 c->argv[1].p, name);
}

void reply_oom(struct call *c)
{
    reply_error(c, NO_MEMORY);
}

void reply_no_key(struct call *c)
{
    reply_error(c, "ERR no such key");
}

/* ---- Arguments ---- */

bool arg_is(const struct call *c, unsigned i, const char *lower)
{
    return i < c->argc && slice_is(c->argv[i], lower);
}

bool arg_i64(struct call *c, unsigned i, int64_t *out)
{
    if (parse_i64(c->argv[i], out)) {
        return true;
    }
    reply_not_int(c);
    return false;
}

bool arg_i64_range(struct call *c, unsigned i, int64_t min, int64_t max, int64_t *out,
                   const char *error)
{
    int64_t v;
    bool is_int = parse_i64(c->argv[i], &v);
    if (is_int && v >= min && v <= max) {
        *out = v;
        return true;
    }
    if (error != NULL) {
        reply_error(c, error);
    } else if (is_int) {
        reply_errorf(c, "ERR value is out of range, value must between %lld and %lld",
                     (long long)min, (long long)max);
    } else {
        reply_not_int(c);
    }
    return false;
}

bool arg_f64(struct call *c, unsigned i, double *out)
{
    if (parse_f64(c->argv[i], out)) {
        return true;
    }
    reply_not_float(c);
    return false;
}

bool arg_ld(struct call *c, unsigned i, long double *out)
{
    if (parse_ld(c->argv[i], out)) {
        return true;
    }
    reply_not_float(c);
    return false;
}

bool arg_timeout_ms(struct call *c, unsigned i, bool seconds, int64_t *deadline_ms)
{
    int64_t ms;
    if (seconds) {
        long double v;
        if (!parse_ld(c->argv[i], &v)) {
            reply_error(c, "ERR timeout is not a float or out of range");
            return false;
        }
        v *= 1000;
        if (v <= -1) { /* what is above is 0 when rounded; the cast knows nothing below INT64_MIN */
            reply_error(c, "ERR timeout is negative");
            return false;
        }
        if (!(v <= (long double)INT64_MAX)) {
            reply_error(c, "ERR timeout is out of range");
            return false;
        }
        ms = (int64_t)ceill(v);
    } else if (!parse_i64(c->argv[i], &ms)) {
        reply_error(c, "ERR timeout is not an integer or out of range");
        return false;
    }
    if (ms < 0) {
        reply_error(c, "ERR timeout is negative");
        return false;
    }
    int64_t now = clock_mono_ms();
    if (ms > 0 && ms > INT64_MAX - now) {
        reply_error(c, "ERR timeout is out of range");
        return false;
    }
    /* The clock is cut to milliseconds: without one more the time could be short by almost one. */
    *deadline_ms = ms > 0 ? now + ms + (ms < INT64_MAX - now) : 0;
    return true;
}
