/* cmd_hash_ex.c -- HGETDEL, HGETEX, HSETEX: hash fields read or written together with their due.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * EFFECTS  HDEL; what hash_set_due() logs; HSET, and HPEXPIREAT for those that have a due then;
 * HSETEX KEEPTTL where these would be far larger than the request.
 * What is due is removed first, where the command names it (cmd_hash_expire.c). */
#include "commands/hash.h"
#include "base/mem.h"
#include <stdlib.h>

#define NOT_COUNT "ERR Number of fields must be a positive integer"

/* The values of the fields from argv[first] on. */
static void reply_values(struct call *c, const struct entry *e, const struct fields *f,
                         unsigned first)
{
    char digits[I64_TEXT_MAX];
    struct slice value;
    reply_array(c, c->argc - first);
    for (unsigned i = first; i < c->argc; i++) {
        if (e != NULL && fields_get(f, c->argv[i], digits, &value)) {
            reply_bulk(c, value);
        } else {
            reply_null(c);
        }
    }
}

/* NAME key argument..., from argv[rest] on; `room` is for all of it. */
static void effect_of(struct call *c, struct slice *room, struct slice name, unsigned rest)
{
    room[0] = name;
    room[1] = c->keys[0].s;
    memcpy(room + 2, c->argv + rest, (c->argc - rest) * sizeof *room);
    effect(c, room, 2 + c->argc - rest);
}

/* Room for an effect, before the first change. NULL: replied that there is no memory. */
static struct slice *effect_room(struct call *c)
{
    struct slice *room = mem_try_alloc((2 + (size_t)c->argc) * sizeof *room);
    if (room == NULL) {
        reply_oom(c);
    }
    return room;
}

/* ---- HGETDEL ---- */

/* Replies the values of the fields from argv[first] on, and takes them away. */
static void take(struct call *c, struct entry *e, struct fields *f, unsigned first)
{
    char digits[I64_TEXT_MAX];
    struct slice value, *room = effect_room(c);
    unsigned removed = 0;
    if (room == NULL) {
        return;
    }
    reply_array(c, c->argc - first);
    for (unsigned i = first; i < c->argc; i++) { /* one named twice is gone the second time */
        if (e != NULL && fields_get(f, c->argv[i], digits, &value)) {
            reply_bulk(c, value);
            must(fields_remove(f, c->argv[i]));
            removed++;
        } else {
            reply_null(c);
        }
    }
    if (removed > 0) {
        call_more_changes(c, (int64_t)removed - 1);
        hash_shrunk(c, &c->keys[0], e, f);
        effect_of(c, room, S("HDEL"), first);
    }
    mem_free(room);
}

static void cmd_hgetdel(struct call *c)
{
    struct entry *e;
    struct fields f;
    if (hash_fields_arg(c, 2, NOT_COUNT) && hash_write_named(c, &c->keys[0], 4, 1, &e, &f)) {
        take(c, e, &f, 4);
    }
}

/* ---- Options ---- */

struct timing {
    enum { TIME_LEFT, TIME_SET, TIME_END } what; /* TIME_LEFT: no option */
    int64_t when;
};

static bool is_timing(const struct call *c, unsigned i)
{
    return arg_is(c, i, "ex") || arg_is(c, i, "px") || arg_is(c, i, "exat") || arg_is(c, i, "pxat");
}

/* EX, PX, EXAT or PXAT at argv[i]? Then its time. -1: replied an error, 0: no, 1: yes. */
static int timing_option(struct call *c, unsigned i, struct timing *t)
{
    bool ex = arg_is(c, i, "ex"), exat = arg_is(c, i, "exat");
    if (!is_timing(c, i)) {
        return 0;
    }
    t->what = TIME_SET;
    if (i + 1 >= c->argc) {
        reply_error(c, "ERR missing expire time");
        return -1;
    }
    return hash_time(c, i + 1, ex || exat, ex || arg_is(c, i, "px"), &t->when) ? 1 : -1;
}

static bool passed(const struct call *c, const struct timing *t)
{
    return t->what == TIME_SET && t->when <= c->now_ms && !(c->flags & CALL_REPLAY);
}

/* ---- HGETEX ---- */

static void cmd_hgetex(struct call *c)
{
    const struct key *k = &c->keys[0];
    struct timing t = { TIME_LEFT, BTREE_NO_DUE };
    struct entry *e;
    struct fields f;
    int timed = timing_option(c, 2, &t);
    unsigned at = timed > 0 ? 4 : 2;
    if (timed == 0 && arg_is(c, 2, "persist")) {
        t.what = TIME_END;
        at = 3;
    }
    if (timed < 0 || !hash_fields_arg(c, at, NOT_COUNT) ||
        !hash_write_named(c, k, at + 2, 1, &e, &f)) {
        return;
    }
    struct hash_due d = { c->argv + at + 2, c->argc - at - 2, t.when, 0, NULL };
    if (passed(c, &t)) {
        take(c, e, &f, at + 2);
    } else if (e != NULL && t.what != TIME_LEFT && !hash_set_due(c, k, e, &f, &d)) {
        reply_oom(c);
    } else {
        reply_values(c, e, &f, at + 2);
    }
}

/* ---- HSETEX ---- */

struct hsetex {
    bool fnx, fxx, keep;
    struct timing t;
    unsigned fields;   /* argv of FIELDS */
    unsigned n;        /* pairs */
    struct kept *kept; /* with KEEPTTL: those that have a due, by due */
    unsigned nkept;
    bool whole;  /* logged as HSETEX */
    size_t room; /* for the dues that are kept */
};

/* The words before FIELDS, from argv[*i] on. False: replied an error. */
static bool hsetex_option(struct call *c, unsigned *i, struct hsetex *h)
{
    bool fnx = arg_is(c, *i, "fnx"), keep = arg_is(c, *i, "keepttl");
    if (fnx || arg_is(c, *i, "fxx")) {
        if (h->fnx || h->fxx) {
            reply_error(c, "ERR Only one of FXX or FNX arguments can be specified");
            return false;
        }
        h->fnx = fnx;
        h->fxx = !fnx;
        return true;
    }
    bool timed = h->keep || h->t.what != TIME_LEFT;
    if (timed && (keep || is_timing(c, *i))) {
        reply_error(c, "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
        return false;
    }
    if (keep) {
        h->keep = true;
        return true;
    }
    int rc = timing_option(c, *i, &h->t);
    if (rc == 0) {
        reply_errorf(c, "ERR unknown argument: %.*s", (int)size_min(c->argv[*i].n, 128),
                     c->argv[*i].p);
    }
    *i += rc > 0;
    return rc > 0;
}

static bool hsetex_parse(struct call *c, struct hsetex *h)
{
    int64_t n;
    unsigned i = 2;
    while (i < c->argc && !arg_is(c, i, "fields")) {
        if (!hsetex_option(c, &i, h)) {
            return false;
        }
        i++;
    }
    if (i + 1 >= c->argc) {
        reply_arity(c);
        return false;
    }
    if (!arg_i64_range(c, i + 1, 1, INT64_MAX, &n, "ERR invalid number of fields")) {
        return false;
    }
    if (n > UINT32_MAX / 2 || c->argc - i - 2 != 2 * (unsigned)n) {
        reply_arity(c);
        return false;
    }
    h->fields = i;
    h->n = (unsigned)n;
    return true;
}

/* May the fields be set, as FNX and FXX have it? */
static bool hsetex_allowed(const struct call *c, const struct hsetex *h, const struct entry *e,
                           const struct fields *f)
{
    bool fine = true;
    for (unsigned i = 0; i < h->n && fine && (h->fnx || h->fxx); i++) {
        int64_t due;
        bool there = e != NULL && fields_get_due(f, c->argv[h->fields + 2 + 2 * i], &due);
        fine = there == h->fxx;
    }
    return fine;
}

/* Set to a time that has passed: they are as good as deleted. */
static void hsetex_passed(struct call *c, const struct hsetex *h, struct entry *e, struct fields *f)
{
    const struct key *k = &c->keys[0];
    struct slice *room = effect_room(c);
    unsigned removed = 0;
    if (room == NULL) {
        return;
    }
    for (unsigned i = 0; e != NULL && i < h->n; i++) { /* one named twice is gone the second time */
        struct slice name = c->argv[h->fields + 2 + 2 * i];
        if (fields_remove(f, name)) {
            room[2 + removed++] = name;
        }
    }
    if (removed > 0) {
        notify(c, NOTIFY_HASH, "hset", k);
        hash_shrunk(c, k, e, f);
        room[0] = S("HDEL");
        room[1] = k->s;
        effect(c, room, 2 + removed);
    }
    mem_free(room);
    reply_int(c, 1);
}

/* ---- KEEPTTL ---- */

/* A field that has a due, which HSET would end. */
struct kept {
    int64_t due;
    unsigned pair;
};

static int earlier_first(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    return x->due != y->due ? (x->due > y->due) - (x->due < y->due)
                            : (x->pair > y->pair) - (x->pair < y->pair);
}

#define NAME_ROOM  32  /* of a field in the log, without its bytes */
#define DUE_ROOM   128 /* HPEXPIREAT, without key and fields */
#define KEPT_TIMES 4   /* the request: more is not logged beside it */

/* Finds the fields whose dues stay, and how the log says so. Each due needs a command with the key:
 * where that makes too much of a small request, HSETEX is logged itself. A due is what replay has,
 * too, for what was over is gone by an HDEL before. False: replied -OOM. */
static bool hsetex_kept(struct call *c, struct hsetex *h, const struct entry *e,
                        const struct fields *f)
{
    size_t given = 0, dues = 0, key = c->argv[1].n;
    if (!h->keep || e == NULL || fields_first_due(f) == BTREE_NO_DUE) {
        return true;
    }
    h->kept = mem_try_alloc(h->n * sizeof *h->kept);
    if (h->kept == NULL) {
        reply_oom(c);
        return false;
    }
    for (unsigned i = 0; i < h->n; i++) {
        int64_t due;
        if (fields_get_due(f, c->argv[h->fields + 2 + 2 * i], &due) && due != BTREE_NO_DUE) {
            h->kept[h->nkept++] = (struct kept){ due, i };
        }
    }
    qsort(h->kept, h->nkept, sizeof *h->kept, earlier_first);
    for (unsigned i = 0; i < h->nkept; i++) {
        dues += i == 0 || h->kept[i].due != h->kept[i - 1].due;
    }
    for (unsigned i = 0; i < c->argc; i++) {
        given += c->argv[i].n + NAME_ROOM;
    }
    h->whole = dues > KEPT_TIMES * given / (key + DUE_ROOM);
    h->room = h->whole ? 0 : dues * (key + DUE_ROOM);
    return true;
}

/* Behind HSET: one command for each of the dues that it ended. */
static void hsetex_kept_effects(struct call *c, const struct hsetex *h, struct slice *room)
{
    unsigned n = 0;
    for (unsigned i = 0; i < h->nkept; i++) {
        room[HASH_DUES_HEAD + n++] = c->argv[h->fields + 2 + 2 * h->kept[i].pair];
        if (i + 1 == h->nkept || h->kept[i + 1].due != h->kept[i].due) {
            hash_dues_effect(c, &c->keys[0], room, n, h->kept[i].due);
            n = 0;
        }
    }
}

/* ---- Setting ---- */

/* HSET ends the dues of its fields: what they have now comes behind it. */
static void hsetex_effects(struct call *c, const struct hsetex *h, struct slice *room)
{
    if (h->whole) {
        room[0] = S("HSETEX");
        room[1] = c->keys[0].s;
        room[2] = S("KEEPTTL");
        memcpy(room + 3, c->argv + h->fields, (c->argc - h->fields) * sizeof *room);
        effect(c, room, 3 + c->argc - h->fields);
        return;
    }
    effect_of(c, room, S("HSET"), h->fields + 2);
    hsetex_kept_effects(c, h, room);
    if (h->t.what == TIME_SET) {
        for (unsigned i = 0; i < h->n; i++) {
            room[HASH_DUES_HEAD + i] = c->argv[h->fields + 2 + 2 * i];
        }
        hash_dues_effect(c, &c->keys[0], room, h->n, h->t.when);
    }
}

/* Beside HSET: each field's name once more, and commands with the key. */
static bool hsetex_room(struct call *c, const struct hsetex *h)
{
    size_t bytes = DUE_ROOM + c->argv[1].n + h->room;
    for (unsigned i = 0; i < h->n; i++) {
        bytes += c->argv[h->fields + 2 + 2 * i].n + NAME_ROOM;
    }
    if (!effect_reserve(c, bytes)) {
        reply_oom(c);
        return false;
    }
    return true;
}

static void hsetex_set(struct call *c, const struct hsetex *h, struct entry *e, struct fields *f)
{
    const struct key *k = &c->keys[0];
    struct fields_limits limits = hash_limits(c);
    struct slice *room = hsetex_room(c, h) ? effect_room(c) : NULL;
    if (room == NULL) {
        return;
    }
    if (e == NULL) {
        fields_new(f);
    }
    int64_t due = h->keep ? FIELDS_KEEP_DUE : h->t.when;
    int64_t rc = hash_put_all(f, c->argv + h->fields + 2, h->n, due, &limits);
    if (rc >= 0) {
        hash_stored(c, k, e, f);
        call_more_changes(c, (int64_t)h->n - 1);
        notify(c, NOTIFY_HASH, "hset", k);
    } else if (e != NULL) {
        key_put_fields(c, k, e, f);
    } else {
        fields_free(f);
    }
    if (rc >= 0 && h->t.what == TIME_SET) {
        notify(c, NOTIFY_HASH, "hexpire", k);
    }
    if (rc >= 0) {
        hsetex_effects(c, h, room);
    }
    mem_free(room);
    if (rc >= 0) {
        reply_int(c, 1);
    } else {
        reply_oom(c);
    }
}

static void cmd_hsetex(struct call *c)
{
    struct hsetex h = { .t = { TIME_LEFT, BTREE_NO_DUE } };
    struct entry *e;
    struct fields f;
    if (!hsetex_parse(c, &h) || !hash_write_named(c, &c->keys[0], h.fields + 2, 2, &e, &f)) {
        return;
    }
    if (!hsetex_allowed(c, &h, e, &f)) {
        reply_int(c, 0);
    } else if (passed(c, &h.t)) {
        hsetex_passed(c, &h, e, &f);
    } else if (hsetex_kept(c, &h, e, &f)) {
        hsetex_set(c, &h, e, &f);
        mem_free(h.kept);
    }
}

/* ---- Rows ---- */

#define TIMES                                                              \
    "EX seconds:int|PX milliseconds:int|EXAT unix-time-seconds:time|PXAT " \
    "unix-time-milliseconds:time|"
#define ROW_EX(word, fn, least, fl, keyflags, cost, says, args)                            \
    {                                                                                      \
        .name = word, .proc = fn, .arity = -(least), .flags = (fl) | CMD_WRITE | CMD_FAST, \
        .acl = ACL_HASH, .keys = { KEY_AT(1, KEY_RW | (keyflags)) }, .group = "hash",      \
        .since = "8.0.0", .complexity = cost, .summary = says, .syntax = "key " args       \
    }
const struct command hash_ex_commands[] = {
    ROW_EX("hgetdel", cmd_hgetdel, 5, 0, KEY_ACCESS | KEY_DELETE,
           "O(N) where N is the number of specified fields",
           "Returns the value of a field and deletes it from the hash.",
           "FIELDS fields=<numfields:int field...>"),
    ROW_EX("hgetex", cmd_hgetex, 5, 0, KEY_ACCESS | KEY_UPDATE,
           "O(N) where N is the number of specified fields",
           "Get the value of one or more fields of a given hash key, and optionally set their "
           "expiration.",
           "[expiration=<" TIMES "PERSIST>] FIELDS fields=<numfields:int field...>"),
    ROW_EX("hsetex", cmd_hsetex, 6, CMD_DENYOOM, KEY_UPDATE,
           "O(N) where N is the number of fields being set.",
           "Set the value of one or more fields of a given hash key, and optionally set their "
           "expiration.",
           "[condition=<FNX|FXX>] [expiration=<" TIMES
           "KEEPTTL>] FIELDS fields=<numfields:int data=<field value>...>"),
    { .name = NULL },
};
