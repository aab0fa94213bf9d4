/* cmd_stream.c -- Streams: adding, deleting, trimming and looking at entries.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  XADD with the ID that the entry got. Trimming as what it came to, whatever was asked:
 *          MAXLEN = length or MINID = first ID. The rest as it came. */
#include "commands/stream_ops.h"
#include "base/mem.h"
#include <errno.h>

/* ---- Options of XADD and XTRIM ---- */

struct add_args {
    bool trims, limit_given, make; /* make: the stream, if it is not there */
    enum stream_refs refs;
    struct stream_trim trim;
    int64_t limit;
    unsigned id_at;       /* argv; 0: there is none */
    bool any_id, any_seq; /* "*", "ms-*" */
    struct stream_id id;
};

/* MAXLEN or MINID at argv[*i], which becomes its last argument. */
static bool strategy_arg(struct call *c, unsigned *i, bool by_id, struct add_args *a)
{
    if (a->trims) {
        reply_error(c, "ERR syntax error, MAXLEN and MINID options at the same time are not "
                       "compatible");
        return false;
    }
    a->trims = true;
    a->trim.by_id = by_id;
    a->trim.whole_nodes = false;
    if (c->argc - 1 - *i >= 2 && (arg_is(c, *i + 1, "~") || arg_is(c, *i + 1, "="))) {
        ++*i;
        a->trim.whole_nodes = arg_is(c, *i, "~");
    }
    ++*i;
    if (by_id) {
        return arg_stream_id(c, *i, &a->trim.min_id);
    }
    int64_t length;
    if (!arg_i64(c, *i, &length)) {
        return false;
    }
    if (length < 0) {
        reply_error(c, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    a->trim.length = (uint64_t)length;
    return true;
}

static bool limit_arg(struct call *c, unsigned i, struct add_args *a)
{
    if (!arg_i64(c, i, &a->limit)) {
        return false;
    }
    a->limit_given = true;
    if (a->limit < 0) {
        reply_error(c, "ERR The LIMIT argument must be >= 0.");
        return false;
    }
    return true;
}

static bool id_arg(struct call *c, unsigned i, struct add_args *a)
{
    a->id_at = i;
    a->any_id = slice_eq(c->argv[i], S("*"));
    if (a->any_id || stream_id_parse(c->argv[i], 0, &a->id, &a->any_seq)) {
        return true;
    }
    return arg_stream_id(c, i, &a->id); /* replies */
}

/* Approximate trimming without LIMIT looks at this many nodes, at this many entries at most. */
#define LIMIT_NODES 100
#define LIMIT_MIN   10000
#define LIMIT_MAX   1000000

static bool check_limit(struct call *c, bool is_add, struct add_args *a)
{
    const char *error = NULL;
    if (a->limit != 0 && !a->trims) {
        error = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    } else if (!is_add && !a->trims) {
        error = "ERR syntax error, XTRIM must be called with a trimming strategy";
    } else if (a->limit_given && !a->trim.whole_nodes) {
        error = "ERR syntax error, LIMIT cannot be used without the special ~ option";
    }
    if (error != NULL) {
        reply_error(c, error);
        return false;
    }
    a->trim.limit = (uint64_t)a->limit;
    if (a->trim.whole_nodes && !a->limit_given) {
        uint64_t per_node = stream_limits(c).entries;
        a->trim.limit = per_node == 0                         ? LIMIT_MIN
                        : per_node >= LIMIT_MAX / LIMIT_NODES ? LIMIT_MAX
                                                              : LIMIT_NODES * per_node;
    }
    return true;
}

static bool add_options(struct call *c, bool is_add, struct add_args *a)
{
    for (unsigned i = 2; i < c->argc && a->id_at == 0; i++) {
        unsigned more = c->argc - 1 - i;
        bool fine = true;
        if (is_add && slice_eq(c->argv[i], S("*"))) {
            fine = id_arg(c, i, a);
        } else if (more > 0 && (arg_is(c, i, "maxlen") || arg_is(c, i, "minid"))) {
            fine = strategy_arg(c, &i, arg_is(c, i, "minid"), a);
        } else if (more > 0 && arg_is(c, i, "limit")) {
            fine = limit_arg(c, ++i, a);
        } else if (a->refs == REFS_NONE && stream_refs_word(c->argv[i]) != REFS_NONE) {
            a->refs = stream_refs_word(c->argv[i]);
        } else if (is_add && arg_is(c, i, "nomkstream")) {
            a->make = false;
        } else if (is_add) {
            fine = id_arg(c, i, a);
        } else {
            reply_syntax(c);
            return false;
        }
        if (!fine) {
            return false;
        }
    }
    return check_limit(c, is_add, a);
}

/* What trimming came to, as arguments: argv gets three. */
struct trim_effect {
    struct slice argv[3];
    struct id_text id;
    char length[I64_TEXT_MAX];
};

static void trim_effect(struct trim_effect *f, const struct stream *s, const struct add_args *a)
{
    struct stream_id first = a->trim.min_id;
    f->argv[1] = S("=");
    if (a->trim.by_id) {
        (void)stream_edge(s, true, &first);
        f->argv[0] = S("MINID");
        f->argv[2] = id_slice(&f->id, first);
    } else {
        f->argv[0] = S("MAXLEN");
        f->argv[2] = slice_of(f->length, format_u64(f->length, stream_state(s)->length));
    }
}

/* Trimming in three steps: trim() does what can be told by trim_effect(), if anything went;
 * trim_rest(), behind the effect of that, the rest with its own effects. */
struct trimmed {
    uint64_t gone;         /* so far */
    bool apart;            /* each by itself: not done yet */
    struct stream *before; /* NULL, or what the stream was */
};

/* What went is freed where nobody waits for it. */
static void trim(struct call *c, struct stream *s, const struct add_args *a, struct trimmed *r)
{
    bool refs = a->refs > REFS_KEEP && stream_group_count(s) > 0;
    *r = (struct trimmed){ .apart = refs && a->refs == REFS_ACKED };
    if (r->apart && !stream_trim_is_acked(s, &a->trim)) {
        return;
    }
    r->apart = false;
    struct stream *old, *before = refs && a->refs == REFS_DROP ? stream_dup(s) : NULL;
    r->gone = stream_trim(s, &a->trim, &old);
    r->before = before;
    if (old != NULL) {
        keyspace_free_value(c->ks, OBJ_STREAM, ENC_STREAM, old);
    }
}

static void trim_rest(struct call *c, const struct key *k, struct stream *s,
                      const struct add_args *a, struct trimmed *r)
{
    if (r->apart) {
        r->gone = stream_trim_acked(c, k, s, &a->trim);
    }
    if (r->before != NULL) {
        if (r->gone > 0) {
            stream_drop_refs(c, k, s, r->before);
        }
        keyspace_free_value(c->ks, OBJ_STREAM, ENC_STREAM, r->before);
    }
}

/* ---- XADD ---- */

#define ADD_ARGS_ON_STACK 32

static void add_effect(struct call *c, const struct stream *s, const struct add_args *a,
                       bool trimmed)
{
    struct slice few[ADD_ARGS_ON_STACK], *argv = few;
    struct trim_effect trim;
    struct id_text id;
    unsigned n = 0, texts = c->argc - a->id_at - 1;
    if (a->id_at == 2 && !a->any_id && !a->any_seq) {
        return; /* as it came */
    }
    if (texts + 6 > countof(few)) {
        argv = mem_alloc((texts + 6) * sizeof *argv);
    }
    argv[n++] = S("XADD");
    argv[n++] = c->keys[0].s;
    if (trimmed) {
        trim_effect(&trim, s, a);
        memcpy(argv + n, trim.argv, sizeof trim.argv);
        n += countof(trim.argv);
    }
    argv[n++] = id_slice(&id, a->id);
    memcpy(argv + n, c->argv + a->id_at + 1, texts * sizeof *argv);
    effect(c, argv, n + texts);
    if (argv != few) {
        mem_free(argv);
    }
}

/* The ID that the entry gets; NULL, or the error. */
static const char *add_id(struct call *c, struct stream_id last, struct add_args *a)
{
    if (stream_id_cmp(last, STREAM_ID_MAX) == 0) {
        return "ERR The stream has exhausted the last possible ID, unable to add more items";
    }
    if (a->any_id) {
        a->id = (struct stream_id){ (uint64_t)c->now_ms, 0 };
        if (a->id.ms <= last.ms) {
            a->id = last;
            must(stream_id_next(&a->id));
        }
    } else if (a->any_seq && a->id.ms == last.ms) {
        a->id.seq = last.seq + 1; /* 0, and so below `last`, if there is none */
    }
    if (stream_id_cmp(a->id, last) <= 0) {
        return "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    }
    return NULL;
}

static bool texts_fit(const struct call *c, const struct add_args *a)
{
    size_t n = 0;
    for (unsigned i = a->id_at + 1; i < c->argc; i++) {
        n += c->argv[i].n;
    }
    return n <= STREAM_ENTRY_BYTES_MAX;
}

/* Appends to s, which is new if it has no entry yet. False: replied the error. */
static bool add_append(struct call *c, struct stream *s, struct add_args *a)
{
    struct stream_limits limits = stream_limits(c);
    const char *error = add_id(c, stream_state(s)->last, a);
    if (error == NULL && !texts_fit(c, a)) {
        error = "ERR Elements are too large to be stored";
    }
    if (error != NULL) {
        reply_error(c, error);
        return false;
    }
    if (stream_append(s, a->id, c->argv + a->id_at + 1, (c->argc - a->id_at - 1) / 2, &limits) !=
        0) {
        reply_oom(c);
        return false;
    }
    return true;
}

static void add_entry(struct call *c, struct add_args *a)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    if (!stream_write(c, k, &s)) {
        return;
    }
    if (s == NULL && !a->make) {
        reply_null(c);
        return;
    }
    bool is_new = s == NULL;
    if (!is_new && a->trims && !stream_trim_room(c, s, &a->trim, a->refs)) {
        reply_oom(c);
        return;
    }
    if (is_new) {
        s = stream_new();
    }
    if (!add_append(c, s, a)) {
        if (is_new) {
            stream_free(s);
        }
        return;
    }
    if (is_new) {
        (void)key_add(c, k, OBJ_STREAM, ENC_STREAM, s);
    } else {
        key_changed(c, k);
        key_ready(c, k);
    }
    notify(c, NOTIFY_STREAM, "xadd", k);
    struct trimmed r = { 0 };
    if (a->trims) {
        trim(c, s, a, &r);
    }
    add_effect(c, s, a, r.gone > 0);
    trim_rest(c, k, s, a, &r);
    if (r.gone > 0) {
        notify(c, NOTIFY_STREAM, "xtrim", k);
    }
    reply_stream_id(c, a->id);
}

static void cmd_xadd(struct call *c)
{
    struct add_args a = { .make = true };
    if (!add_options(c, true, &a)) {
        return;
    }
    unsigned texts = a.id_at == 0 ? 0 : c->argc - a.id_at - 1;
    if (texts < 2 || texts % 2 != 0) {
        reply_arity(c);
    } else if (!a.any_id && !a.any_seq && stream_id_cmp(a.id, STREAM_ID_MIN) == 0) {
        reply_error(c, "ERR The ID specified in XADD must be greater than 0-0");
    } else {
        add_entry(c, &a);
    }
}

/* ---- XTRIM, XDEL ---- */

static void cmd_xtrim(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct add_args a = { 0 };
    struct stream *s;
    if (!add_options(c, false, &a) || !stream_write(c, k, &s)) {
        return;
    }
    if (s == NULL) {
        reply_int(c, 0);
        return;
    }
    if (!stream_trim_room(c, s, &a.trim, a.refs)) {
        reply_oom(c);
        return;
    }
    struct trimmed r;
    trim(c, s, &a, &r);
    if (r.gone > 0) {
        struct trim_effect f;
        trim_effect(&f, s, &a);
        EFFECT(c, S("XTRIM"), k->s, f.argv[0], f.argv[1], f.argv[2]);
    }
    trim_rest(c, k, s, &a, &r);
    if (r.gone > 0) {
        key_changed(c, k);
        call_more_changes(c, (int64_t)r.gone - 1);
        notify(c, NOTIFY_STREAM, "xtrim", k);
    }
    reply_int(c, (int64_t)r.gone);
}

static void cmd_xdel(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct stream *s;
    struct stream_id id;
    int64_t gone = 0;
    int rc = 0;
    if (!stream_write(c, k, &s)) {
        return;
    }
    if (s == NULL) {
        reply_int(c, 0);
        return;
    }
    if (!arg_stream_ids(c, 2)) {
        return;
    }
    unsigned i = 2;
    for (; i < c->argc; i++) {
        must(stream_id_parse(c->argv[i], 0, &id, NULL));
        rc = stream_delete(s, id);
        if (rc < 0) {
            break;
        }
        gone += rc;
    }
    if (gone > 0) {
        key_changed(c, k);
        call_more_changes(c, gone - 1);
        notify(c, NOTIFY_STREAM, "xdel", k);
        if (i < c->argc) { /* no memory for the rest: what was done stays */
            effect(c, c->argv, i);
        }
    }
    if (rc < 0) {
        reply_oom(c);
    } else {
        reply_int(c, gone);
    }
}

/* ---- XSETID ---- */

struct setid_args {
    struct stream_id last, max_deleted;
    int64_t added; /* -1: not given */
};

static bool setid_options(struct call *c, struct setid_args *a)
{
    for (unsigned i = 3; i < c->argc; i++) {
        if (arg_is(c, i, "entriesadded") && i + 1 < c->argc) {
            if (!arg_logged_count(c, ++i, &a->added) && !arg_i64(c, i, &a->added)) {
                return false;
            }
            if (a->added < 0) {
                reply_error(c, "ERR entries_added must be positive");
                return false;
            }
        } else if (arg_is(c, i, "maxdeletedid") && i + 1 < c->argc) {
            if (!arg_stream_id(c, ++i, &a->max_deleted)) {
                return false;
            }
            if (stream_id_cmp(a->last, a->max_deleted) < 0) {
                reply_error(c, "ERR The ID specified in XSETID is smaller than the provided "
                               "max_deleted_entry_id");
                return false;
            }
        } else {
            reply_syntax(c);
            return false;
        }
    }
    return true;
}

static const char *setid_refusal(const struct stream *s, const struct setid_args *a)
{
    struct stream_id top;
    if (stream_id_cmp(a->last, stream_state(s)->max_deleted) < 0) {
        return "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    }
    if (!stream_edge(s, false, &top)) {
        return NULL;
    }
    if (stream_id_cmp(a->last, top) < 0) {
        return "ERR The ID specified in XSETID is smaller than the target stream top item";
    }
    if (a->added >= 0 && (uint64_t)a->added < stream_state(s)->length) {
        return "ERR The entries_added specified in XSETID is smaller than the target stream length";
    }
    return NULL;
}

static void cmd_xsetid(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct setid_args a = { .added = -1 };
    struct stream *s;
    if (!arg_stream_id(c, 2, &a.last) || !setid_options(c, &a) || !stream_write(c, k, &s)) {
        return;
    }
    if (s == NULL) {
        reply_no_key(c);
        return;
    }
    const char *error = setid_refusal(s, &a);
    if (error != NULL) {
        reply_error(c, error);
        return;
    }
    const struct stream_state *t = stream_state(s);
    bool deleted = stream_id_cmp(a.max_deleted, STREAM_ID_MIN) != 0;
    stream_set_state(s, a.last, a.added >= 0 ? (uint64_t)a.added : t->added,
                     deleted ? a.max_deleted : t->max_deleted);
    key_changed_quietly(c, k);
    notify(c, NOTIFY_STREAM, "xsetid", k);
    reply_ok(c);
}

/* ---- XLEN, XRANGE, XREVRANGE ---- */

static void cmd_xlen(struct call *c)
{
    struct stream *s;
    if (stream_read(c, &c->keys[0], &s)) {
        reply_int(c, s != NULL ? (int64_t)stream_state(s)->length : 0);
    }
}

static bool range_count(struct call *c, int64_t *count)
{
    for (unsigned i = 4; i < c->argc; i++) {
        if (!arg_is(c, i, "count") || i + 1 == c->argc) {
            reply_syntax(c);
            return false;
        }
        if (!arg_i64(c, ++i, count)) {
            return false;
        }
        *count = *count < 0 ? 0 : *count;
    }
    return true;
}

static void range_call(struct call *c, bool forward)
{
    struct stream_id first, last;
    struct stream *s;
    int64_t count = -1;
    if (!arg_stream_first(c, forward ? 2 : 3, &first) ||
        !arg_stream_last(c, forward ? 3 : 2, &last) || !range_count(c, &count) ||
        !stream_read(c, &c->keys[0], &s)) {
        return;
    }
    if (s == NULL) {
        reply_array(c, 0);
    } else if (count == 0) {
        reply_null_array(c);
    } else {
        reply_stream_range(c, s, first, last, forward, count < 0 ? 0 : (uint64_t)count);
    }
}

static void cmd_xrange(struct call *c)
{
    range_call(c, true);
}

static void cmd_xrevrange(struct call *c)
{
    range_call(c, false);
}

#define STREAM_ROW .acl = ACL_STREAM, .group = "stream", .since = "5.0.0"
#define TRIM_SYNTAX                                                                       \
    "trim=<strategy=<MAXLEN|MINID@6.2.0> [operator=<equal==|approximately=~>] threshold " \
    "[LIMIT count:int]@6.2.0"
#define REFS_SYNTAX "condition=<KEEPREF|DELREF|ACKED>"
const struct command stream_commands[] = {
    { .name = "xadd",
      .proc = cmd_xadd,
      .arity = -5,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      STREAM_ROW,
      .keys = { { .flags = KEY_RW | KEY_UPDATE,
                  .begin = 1,
                  .step = 1,
                  .notes = "UPDATE instead of INSERT because of the optional trimming feature" } },
      .complexity = "O(1) when adding a new entry, O(N) when trimming where N being the number of "
                    "entries evicted.",
      .summary = "Appends a new entry to a stream",
      .syntax = "key [NOMKSTREAM]@6.2.0 [" REFS_SYNTAX "]@8.2.0 [" TRIM_SYNTAX
                ">] id_or_auto=<auto_id=*|id> "
                "field_value=<field value>...",
      .tips = "nondeterministic_output",
      .history = "6.2.0:Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` "
                 "option.|7.0.0:Added support for the `<ms>-*` explicit ID form.|8.2.0:Added "
                 "the `KEEPREF`, `DELREF` and `ACKED` options." },
    { .name = "xtrim",
      .proc = cmd_xtrim,
      .arity = -4,
      .flags = CMD_WRITE,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .complexity =
          "O(N), with N being the number of evicted entries. Constant times are very small "
          "however, since entries are organized in macro nodes containing multiple entries that "
          "can be released with a single deallocation.",
      .summary = "Trims the stream to (approximately if '~' is passed) a certain size",
      .syntax = "key " TRIM_SYNTAX " [" REFS_SYNTAX "]@8.2.0>",
      .tips = "nondeterministic_output",
      .history = "6.2.0:Added the `MINID` trimming strategy and the `LIMIT` option.|8.2.0:Added "
                 "the `KEEPREF`, `DELREF` and `ACKED` options." },
    { .name = "xdel",
      .proc = cmd_xdel,
      .arity = -3,
      .flags = CMD_WRITE | CMD_FAST,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_DELETE) },
      .complexity =
          "O(1) for each single item to delete in the stream, regardless of the stream size.",
      .summary = "Removes the specified entries from the stream. Returns the number of items "
                 "actually deleted, that may be different from the number of IDs passed in case "
                 "certain IDs do not exist.",
      .syntax = "key id..." },
    { .name = "xsetid",
      .proc = cmd_xsetid,
      .arity = -3,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .complexity = "O(1)",
      .summary = "An internal command for replicating stream values",
      .syntax = "key last-id [ENTRIESADDED entries_added:int]@7.0.0 [MAXDELETEDID "
                "max_deleted_entry_id]@7.0.0",
      .history = "7.0.0:Added the `entries_added` and `max_deleted_entry_id` arguments." },
    { .name = "xlen",
      .proc = cmd_xlen,
      .arity = 2,
      .flags = CMD_READONLY | CMD_FAST,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RO) },
      .complexity = "O(1)",
      .summary = "Return the number of entries in a stream",
      .syntax = "key" },
    { .name = "xrange",
      .proc = cmd_xrange,
      .arity = -4,
      .flags = CMD_READONLY,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .complexity = "O(N) with N being the number of elements being returned. If N is constant "
                    "(e.g. always asking for the first 10 elements with COUNT), you can consider "
                    "it O(1).",
      .summary =
          "Return a range of elements in a stream, with IDs matching the specified IDs interval",
      .syntax = "key start end [COUNT count:int]",
      .history = "6.2.0:Added exclusive ranges." },
    { .name = "xrevrange",
      .proc = cmd_xrevrange,
      .arity = -4,
      .flags = CMD_READONLY,
      STREAM_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .complexity = "O(N) with N being the number of elements returned. If N is constant (e.g. "
                    "always asking for the first 10 elements with COUNT), you can consider it "
                    "O(1).",
      .summary = "Return a range of elements in a stream, with IDs matching the specified IDs "
                 "interval, in reverse order (from greater to smaller IDs) compared to XRANGE",
      .syntax = "key end start [COUNT count:int]",
      .history = "6.2.0:Added exclusive ranges." },
    { .name = NULL },
};
