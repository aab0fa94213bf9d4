/* cmd_geo_search.c -- Members in an area: GEOSEARCH, GEOSEARCHSTORE and the older GEORADIUS,
 * GEORADIUSBYMEMBER and their _RO forms. SPDX-License-Identifier: BSD-3-Clause
 *
 * ORDER    Without ASC or DESC, that of the search: cell by cell (geo_cover()), by score within
 * one. Equal distances keep that order. MEMORY   What is found is copied before it is sorted,
 * answered or stored: the destination may be the source. EFFECTS  What was stored, DEL destination,
 * ZADD destination score member ...: distances come from the C library's sine, which is not the
 * same everywhere. */
#include "commands/geo_ops.h"
#include "base/mem.h"
#include <stdlib.h>

struct found {
    struct geo_point at;
    double score, metres;
    size_t member, length; /* in search.members */
    uint64_t place;        /* in the order of the search */
};
struct search {
    /* what is asked for */
    struct geo_area area;
    bool is_geosearch; /* not one of the older forms */
    enum { FROM_NOWHERE, FROM_MEMBER, FROM_POINT } from;
    enum { BY_NOTHING, BY_RADIUS, BY_BOX } by;
    bool with_dist, with_hash, with_coord;
    bool any, store_dist;
    int order;      /* 1: ASC, -1: DESC, 0 */
    uint64_t count; /* 0: all */
    unsigned store; /* argv of the destination; 0: none */
    const struct entry *e;
    /* what is found */
    struct buf items, members;
    uint64_t n;
};

/* ---- Arguments ---- */

static bool arg_size(struct call *c, unsigned i, const char *error, double *size)
{
    if (parse_f64(c->argv[i], size)) {
        return true;
    }
    reply_error(c, error);
    return false;
}

/* Radius and unit from argv[i] on. */
static bool arg_circle(struct call *c, unsigned i, struct geo_area *a)
{
    if (!arg_size(c, i, "ERR need numeric radius", &a->radius)) {
        return false;
    }
    if (a->radius < 0) {
        reply_error(c, "ERR radius cannot be negative");
        return false;
    }
    return arg_unit(c, i + 1, &a->unit);
}

/* Width, height and unit. */
static bool arg_box(struct call *c, unsigned i, struct geo_area *a)
{
    if (!arg_size(c, i, "ERR need numeric width", &a->width) ||
        !arg_size(c, i + 1, "ERR need numeric height", &a->height)) {
        return false;
    }
    if (a->width < 0 || a->height < 0) {
        reply_error(c, "ERR height or width cannot be negative");
        return false;
    }
    a->is_box = true;
    return arg_unit(c, i + 2, &a->unit);
}

/* Without a key the member is not looked for: the arguments are, and then there is nothing. */
static bool arg_member(struct call *c, struct search *s, unsigned i)
{
    s->from = FROM_MEMBER;
    if (s->e == NULL || geo_member(s->e, c->argv[i], &s->area.middle)) {
        return true;
    }
    reply_error(c, "ERR could not decode requested zset member");
    return false;
}

static bool arg_count(struct call *c, struct search *s, unsigned i)
{
    int64_t count;
    if (!arg_i64(c, i, &count)) {
        return false;
    }
    if (count <= 0) {
        reply_error(c, "ERR COUNT must be > 0");
        return false;
    }
    s->count = (uint64_t)count;
    return true;
}

/* Options of all forms. Returns how many arguments it has taken: 0 is none of these; -1: replied
 * the error. */
static int option_common(struct call *c, struct search *s, unsigned i)
{
    if (arg_is(c, i, "withdist")) {
        s->with_dist = true;
    } else if (arg_is(c, i, "withhash")) {
        s->with_hash = true;
    } else if (arg_is(c, i, "withcoord")) {
        s->with_coord = true;
    } else if (arg_is(c, i, "any")) {
        s->any = true;
    } else if (arg_is(c, i, "asc")) {
        s->order = 1;
    } else if (arg_is(c, i, "desc")) {
        s->order = -1;
    } else if (arg_is(c, i, "count") && i + 1 < c->argc) {
        return arg_count(c, s, i + 1) ? 2 : -1;
    } else {
        return 0;
    }
    return 1;
}

/* The same one may be repeated, and the last one counts: two kinds may not be mixed. */
static int option_geosearch(struct call *c, struct search *s, unsigned i)
{
    unsigned left = c->argc - i - 1;
    if (arg_is(c, i, "storedist") && s->store > 0) {
        s->store_dist = true;
        return 1;
    }
    if (arg_is(c, i, "frommember") && left >= 1 && s->from != FROM_POINT) {
        return arg_member(c, s, i + 1) ? 2 : -1;
    }
    if (arg_is(c, i, "fromlonlat") && left >= 2 && s->from != FROM_MEMBER) {
        s->from = FROM_POINT;
        return arg_point(c, i + 1, &s->area.middle) ? 3 : -1;
    }
    if (arg_is(c, i, "byradius") && left >= 2 && s->by != BY_BOX) {
        s->by = BY_RADIUS;
        return arg_circle(c, i + 1, &s->area) ? 3 : -1;
    }
    if (arg_is(c, i, "bybox") && left >= 3 && s->by != BY_RADIUS) {
        s->by = BY_BOX;
        return arg_box(c, i + 1, &s->area) ? 4 : -1;
    }
    return 0;
}

static int option_georadius(struct call *c, struct search *s, unsigned i)
{
    bool dist = arg_is(c, i, "storedist");
    if (!(c->cmd->flags & CMD_WRITE) || i + 1 == c->argc || (!dist && !arg_is(c, i, "store"))) {
        return 0;
    }
    s->store = i + 1;
    s->store_dist = dist;
    return 2;
}

static bool options_parse(struct call *c, struct search *s, unsigned i)
{
    while (i < c->argc) {
        int taken = option_common(c, s, i);
        if (taken == 0) {
            taken = s->is_geosearch ? option_geosearch(c, s, i) : option_georadius(c, s, i);
        }
        if (taken <= 0) {
            if (taken == 0) {
                reply_syntax(c);
            }
            return false;
        }
        i += (unsigned)taken;
    }
    return true;
}

static bool options_agree(struct call *c, const struct search *s)
{
    struct slice name = c->argv[0];
    int shown = (int)size_min(name.n, 128);
    if (s->store > 0 && (s->with_dist || s->with_hash || s->with_coord)) {
        reply_errorf(c, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     s->is_geosearch ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    } else if (s->from == FROM_NOWHERE) {
        reply_errorf(c, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                     shown, name.p);
    } else if (s->by == BY_NOTHING) {
        reply_errorf(c, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s", shown,
                     name.p);
    } else if (s->any && s->count == 0) {
        reply_error(c, "ERR the ANY argument requires COUNT argument");
    } else {
        return true;
    }
    return false;
}

/* ---- The search ---- */

static bool found_add(struct search *s, const struct zset_item *item, struct geo_point at,
                      double metres)
{
    if (!buf_try_reserve(&s->items, sizeof(struct found)) ||
        !buf_try_reserve(&s->members, item->member.n)) {
        return false;
    }
    struct found f = { .at = at,
                       .score = item->score,
                       .metres = metres,
                       .member = s->members.n,
                       .length = item->member.n,
                       .place = s->n++ };
    buf_add(&s->items, &f, sizeof f);
    buf_add_slice(&s->members, item->member);
    return true;
}

/* False: no memory. */
static bool search_range(struct search *s, const struct geo_range *r, uint64_t limit)
{
    struct zset z = zset_of(s->e);
    struct zset_iter it;
    struct zset_item item;
    double metres;
    zset_iter(&it, z, zset_below(z, r->from, false), true);
    while ((limit == 0 || s->n < limit) && zset_next(&it, &item) && item.score < r->below) {
        struct geo_point at = geo_point_of(item.score);
        if (geo_inside(&s->area, at, &metres) && !found_add(s, &item, at, metres)) {
            return false;
        }
    }
    return true;
}

static int nearer_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->metres != y->metres) {
        return x->metres > y->metres ? 1 : -1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

static int farther_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->metres != y->metres) {
        return x->metres < y->metres ? 1 : -1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

/* s->items are what was found, in order, and no more than wanted. False: no memory. */
static bool search_run(struct search *s)
{
    struct geo_range range[GEO_RANGES_MAX];
    unsigned ranges = geo_cover(&s->area, range);
    for (unsigned i = 0; i < ranges; i++) {
        if (!search_range(s, &range[i], s->any ? s->count : 0)) {
            return false;
        }
    }
    int order = s->order != 0 ? s->order : s->count > 0 && !s->any; /* COUNT: the nearest ones */
    if (order != 0 && s->n > 0) {
        qsort(s->items.p, s->n, sizeof(struct found), order > 0 ? nearer_first : farther_first);
    }
    s->n = s->count > 0 ? u64_min(s->n, s->count) : s->n;
    return true;
}

static const struct found *found_at(const struct search *s, uint64_t i)
{
    return (const struct found *)(const void *)s->items.p + i;
}

static struct slice found_member(const struct search *s, const struct found *f)
{
    return slice_of(s->members.p + f->member, f->length);
}

/* ---- Results ---- */

static void reply_all(struct call *c, const struct search *s)
{
    unsigned with = (unsigned)s->with_dist + s->with_hash + s->with_coord;
    reply_array(c, s->n);
    for (uint64_t i = 0; i < s->n; i++) {
        const struct found *f = found_at(s, i);
        if (with > 0) {
            reply_array(c, 1 + with);
        }
        reply_bulk(c, found_member(s, f));
        if (s->with_dist) {
            reply_distance(c, f->metres / s->area.unit);
        }
        if (s->with_hash) {
            reply_int(c, (int64_t)f->score);
        }
        if (s->with_coord) {
            reply_point(c, f->at);
        }
    }
}

static double stored_score(const struct search *s, const struct found *f)
{
    return s->store_dist ? f->metres / s->area.unit : f->score;
}

#define STORE_BATCH 64 /* members per ZADD of the effect: what it needs fits the stack */

static void store_effect(struct call *c, const struct search *s, const struct key *k)
{
    struct slice argv[2 + 2 * STORE_BATCH] = { S("ZADD"), k->s };
    char digits[STORE_BATCH][F64_TEXT_MAX];
    unsigned n = 0;
    EFFECT(c, S("DEL"), k->s);
    for (uint64_t i = 0; i < s->n; i++) {
        const struct found *f = found_at(s, i);
        argv[2 + 2 * n] = slice_of(digits[n], format_f64(digits[n], stored_score(s, f)));
        argv[3 + 2 * n] = found_member(s, f);
        if (++n == STORE_BATCH || i + 1 == s->n) {
            effect(c, argv, 2 + 2 * n);
            n = 0;
        }
    }
}

static void store_all(struct call *c, const struct search *s, const struct key *k)
{
    struct zset z = zset_new();
    struct zset_limits limits = zset_limits(c);
    for (uint64_t i = 0; i < s->n; i++) {
        const struct found *f = found_at(s, i);
        double old;
        struct slice member = found_member(s, f);
        if (!zset_score(z, member, &old) &&
            zset_add(&z, &limits, member, stored_score(s, f)) != 0) {
            zset_free(z);
            reply_oom(c);
            return;
        }
    }
    size_t room = (s->n / STORE_BATCH + 2) * (k->s.n + 3 * (size_t)EFFECT_ARG);
    for (uint64_t i = 0; i < s->n; i++) {
        room += found_member(s, found_at(s, i)).n + F64_TEXT_MAX + 2 * (size_t)EFFECT_ARG;
    }
    if (!effect_fits(c, room)) {
        zset_free(z);
        reply_oom(c);
        return;
    }
    bool was_there = key_peek(c, k) != NULL;
    zset_store(c, k, z, s->is_geosearch ? "geosearchstore" : "georadiusstore");
    if (was_there || s->n > 0) {
        call_more_changes(c, (int64_t)s->n - (s->n > 0));
        store_effect(c, s, k);
    }
}

/* The destination among the keys. */
static const struct key *store_key(const struct call *c, const struct search *s)
{
    unsigned i = 0;
    while (i < c->nkeys && c->keys[i].s.p != c->argv[s->store].p) {
        i++;
    }
    must(i < c->nkeys);
    return &c->keys[i];
}

static void search_finish(struct call *c, struct search *s, unsigned options)
{
    if (!options_parse(c, s, options) || !options_agree(c, s)) {
        return;
    }
    if (s->e != NULL && !search_run(s)) {
        reply_oom(c);
    } else if (s->store > 0) {
        store_all(c, s, store_key(c, s));
    } else {
        reply_all(c, s);
    }
    buf_free(&s->items);
    buf_free(&s->members);
}

/* ---- The commands ---- */

static void geosearch(struct call *c, unsigned source, unsigned store)
{
    struct search s = { .is_geosearch = true, .store = store };
    struct entry *e;
    if (zset_read(c, &c->keys[source], &e)) {
        s.e = e;
        search_finish(c, &s, 2 + source);
    }
}

static void cmd_geosearch(struct call *c)
{
    geosearch(c, 0, 0);
}

static void cmd_geosearchstore(struct call *c)
{
    geosearch(c, 1, 1);
}

static void cmd_georadius(struct call *c)
{
    struct search s = { .from = FROM_POINT, .by = BY_RADIUS };
    struct entry *e;
    if (zset_read(c, &c->keys[0], &e) && arg_point(c, 2, &s.area.middle) &&
        arg_circle(c, 4, &s.area)) {
        s.e = e;
        search_finish(c, &s, 6);
    }
}

static void cmd_georadiusbymember(struct call *c)
{
    struct search s = { .by = BY_RADIUS };
    struct entry *e;
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    s.e = e;
    if (arg_member(c, &s, 2) && (e == NULL || arg_circle(c, 3, &s.area))) {
        search_finish(c, &s, 5);
    }
}

/* ---- Keys ---- */

/* The source, what follows each STORE, and what follows each STOREDIST: only the last of them is
 * written, but what a command may touch is locked. Both passes step as the handler does: a
 * destination may be named like an option. */
static int radius_keys(const struct slice *argv, unsigned argc, unsigned options, uint32_t *index,
                       unsigned room)
{
    static const char *const word[] = { "store", "storedist" };
    unsigned n = 1;
    if (room > 0) {
        index[0] = 1;
    }
    for (unsigned w = 0; w < countof(word); w++) {
        for (unsigned i = options; i + 1 < argc; i++) {
            bool wanted = slice_is(argv[i], word[w]);
            if (!wanted && !slice_is(argv[i], word[!w])) {
                continue;
            }
            i++;
            if (wanted && n < room) {
                index[n] = i;
            }
            n += wanted;
        }
    }
    return (int)n;
}

static int georadius_keys(const struct slice *argv, unsigned argc, uint32_t *index, unsigned room)
{
    return radius_keys(argv, argc, 6, index, room);
}

static int georadiusbymember_keys(const struct slice *argv, unsigned argc, uint32_t *index,
                                  unsigned room)
{
    return radius_keys(argv, argc, 5, index, room);
}

/* ---- Rows ---- */

#define GEO_ROW   .acl = ACL_GEO, .group = "geo"
#define UNIT      " unit=<M|KM|FT|MI>"
#define WITH      " [WITHCOORD] [WITHDIST] [WITHHASH]"
#define ORDER     " [order=<ASC|DESC>]"
#define COUNT     " [count=<COUNT count:int [ANY]>]"
#define COUNT_ANY " [count=<COUNT count:int [ANY]@6.2.0>]"
#define STORE     " [STORE key:key1] [STOREDIST key:key2]"
#define FROM_BY                                                                                  \
    " from=<FROMMEMBER member|FROMLONLAT longitude_latitude=<longitude:double latitude:double>>" \
    " by=<circle=<BYRADIUS radius:double" UNIT ">|box=<BYBOX width:double height:double" UNIT ">>"
#define STORED_AFTER(from)                                   \
    KEYS_AFTER("STORE", from, 0, 1, 0, KEY_OW | KEY_UPDATE), \
        KEYS_AFTER("STOREDIST", from, 0, 1, 0, KEY_OW | KEY_UPDATE)
#define RADIUS_COMPLEXITY                                                                         \
    "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area " \
    "delimited by center and radius and M is the number of items inside the index."
#define SEARCH_COMPLEXITY                                                                  \
    "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area " \
    "around the shape provided as the filter and M is the number of items inside the shape"
#define UPPERCASE "7.0.0:Added support for uppercase unit names."
#define ANY_ADDED "6.2.0:Added the `ANY` option for `COUNT`."

const struct command geo_search_commands[] = {
    { .name = "geosearch",
      .proc = cmd_geosearch,
      .arity = -7,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = SEARCH_COMPLEXITY,
      .summary = "Query a sorted set representing a geospatial index to fetch members inside an "
                 "area of a box or a circle.",
      .syntax = "key" FROM_BY ORDER COUNT WITH,
      .history = UPPERCASE },
    { .name = "geosearchstore",
      .proc = cmd_geosearchstore,
      .arity = -8,
      .flags = CMD_WRITE | CMD_DENYOOM,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_OW | KEY_UPDATE), KEY_AT(2, KEY_RO | KEY_ACCESS) },
      .since = "6.2.0",
      .complexity = SEARCH_COMPLEXITY,
      .summary = "Query a sorted set representing a geospatial index to fetch members inside an "
                 "area of a box or a circle, and store the result in another key.",
      .syntax = "destination:key source:key1" FROM_BY ORDER COUNT " [STOREDIST]",
      .history = UPPERCASE },
    { .name = "georadius",
      .proc = cmd_georadius,
      .arity = -6,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS), STORED_AFTER(6) },
      .getkeys = georadius_keys,
      .since = "3.2.0",
      .complexity = RADIUS_COMPLEXITY,
      .summary = "Query a sorted set representing a geospatial index to fetch members matching a "
                 "given maximum distance from a point",
      .deprecated_since = "6.2.0",
      .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
      .syntax =
          "key longitude:double latitude:double radius:double" UNIT WITH COUNT_ANY ORDER STORE,
      .history = ANY_ADDED "|" UPPERCASE },
    { .name = "georadius_ro",
      .proc = cmd_georadius,
      .arity = -6,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "3.2.10",
      .complexity = RADIUS_COMPLEXITY,
      .summary = "A read-only variant for GEORADIUS",
      .deprecated_since = "6.2.0",
      .replaced_by = "`GEOSEARCH` with the `BYRADIUS` argument",
      .syntax = "key longitude:double latitude:double radius:double" UNIT WITH COUNT_ANY ORDER,
      .history = ANY_ADDED },
    { .name = "georadiusbymember",
      .proc = cmd_georadiusbymember,
      .arity = -5,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS), STORED_AFTER(5) },
      .getkeys = georadiusbymember_keys,
      .since = "3.2.0",
      .complexity = RADIUS_COMPLEXITY,
      .summary = "Query a sorted set representing a geospatial index to fetch members matching a "
                 "given maximum distance from a member",
      .deprecated_since = "6.2.0",
      .replaced_by =
          "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
      .syntax = "key member radius:double" UNIT WITH COUNT ORDER STORE,
      .history = UPPERCASE },
    { .name = "georadiusbymember_ro",
      .proc = cmd_georadiusbymember,
      .arity = -5,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "3.2.10",
      .complexity = RADIUS_COMPLEXITY,
      .summary = "A read-only variant for GEORADIUSBYMEMBER",
      .deprecated_since = "6.2.0",
      .replaced_by = "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
      .syntax = "key member radius:double" UNIT WITH COUNT ORDER },
    { .name = NULL },
};
