/* cmd_sort.c -- SORT and SORT_RO: elements of a container in order, looked up, cut, stored.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * KEYS     The key and the destination are declared. The keys that BY and GET patterns name depend
 *          on the elements, so a call with such a pattern runs in an exclusive section, and its
 *          reply waits for everything appended so far.
 * ORDER    Bytes as unsigned numbers, whatever the locale; a merge sort, so that equal weights keep
 *          the order of the list, also with DESC. A set has no order to keep: what is stored of it
 *          is sorted by its bytes at least.
 * MEMORY   The elements stay where they are while they are sorted: nothing changes before the last
 *          of them has been copied into the result.
 * EFFECTS  STORE logs what it stored: DEL destination, RPUSH destination element... */
#include "commands/list.h"
#include "base/mem.h"
#include "ds/fields.h"
#include "ds/set.h"
#include "ds/zset.h"
#include <float.h>

struct sort_item {
    struct slice text; /* the element */
    union {
        double number;
        struct slice text; /* p NULL: the key that BY names is not there */
    } weight;
};

struct sort {
    struct slice by; /* p NULL: the elements themselves are the weights */
    bool keep_order; /* BY something without '*' */
    bool descending, alpha, store;
    bool has_key_pattern; /* BY or GET looks at other keys */
    int64_t offset, count;
    unsigned gets;  /* number of GET */
    uint64_t first; /* the range of the sorted elements that is wanted */
    uint64_t wanted;
    size_t longest_pattern, longest_element;

    struct sort_item *item, *spare; /* one allocation: twice n items, then digits of integers */
    uint64_t n;
    char *digits;    /* free room for I64_TEXT_MAX bytes per element and per weight */
    struct buf name; /* the key a pattern names */
};

/* ---- Arguments ---- */

/* How many arguments belong to the option at argv[i] of SORT, besides itself; -1: no option that
 * has any, or not all of them are there. */
static int option_args(const struct slice *argv, unsigned argc, unsigned i)
{
    unsigned left = argc - i - 1;
    if (slice_is(argv[i], "limit")) {
        return left >= 2 ? 2 : -1;
    }
    if (slice_is(argv[i], "by") || slice_is(argv[i], "get") || slice_is(argv[i], "store")) {
        return left >= 1 ? 1 : -1;
    }
    return -1;
}

/* A pattern names keys when it has a star. "#" is the element, other words are no key. */
static const char *star_of(struct slice pattern)
{
    return pattern.n > 0 ? memchr(pattern.p, '*', pattern.n) : NULL;
}

static int sort_keys(const struct slice *argv, unsigned argc, uint32_t *index, unsigned room)
{
    unsigned store = 0;
    for (unsigned i = 2; i < argc; i++) {
        int args = option_args(argv, argc, i);
        if (args == 1 && slice_is(argv[i], "store")) {
            store = i + 1; /* the last one counts */
        }
        i += args > 0 ? (unsigned)args : 0;
    }
    uint32_t found[2] = { 1, store };
    unsigned n = store > 0 ? 2 : 1;
    for (unsigned i = 0; i < n && i < room; i++) {
        index[i] = found[i];
    }
    return (int)n;
}

static int sort_ro_keys(const struct slice *argv unused_arg, unsigned argc unused_arg,
                        uint32_t *index, unsigned room)
{
    if (room > 0) {
        index[0] = 1;
    }
    return 1;
}

static bool sort_exclusive(const struct slice *argv, unsigned argc)
{
    for (unsigned i = 2; i < argc; i++) {
        int args = option_args(argv, argc, i);
        if (args == 1 && !slice_is(argv[i], "store") && star_of(argv[i + 1]) != NULL) {
            return true;
        }
        i += args > 0 ? (unsigned)args : 0;
    }
    return false;
}

static bool sort_parse(struct call *c, bool read_only, struct sort *s)
{
    for (unsigned i = 2; i < c->argc; i++) {
        int args = option_args(c->argv, c->argc, i);
        if (arg_is(c, i, "asc") || arg_is(c, i, "desc")) {
            s->descending = arg_is(c, i, "desc");
        } else if (arg_is(c, i, "alpha")) {
            s->alpha = true;
        } else if (args == 2) {
            if (!arg_i64(c, i + 1, &s->offset) || !arg_i64(c, i + 2, &s->count)) {
                return false;
            }
        } else if (args < 0 || (read_only && arg_is(c, i, "store"))) {
            reply_syntax(c);
            return false;
        } else if (arg_is(c, i, "store")) {
            s->store = true;
        } else {
            bool star = star_of(c->argv[i + 1]) != NULL;
            s->has_key_pattern |= star;
            s->longest_pattern = size_max(s->longest_pattern, c->argv[i + 1].n);
            bool get = arg_is(c, i, "get");
            if ((get || star) && !call_reads_all_keys(c)) {
                reply_errorf(c, "ERR %s option of SORT denied due to insufficient ACL permissions.",
                             get ? "GET" : "BY");
                return false;
            }
            if (get) {
                s->gets++;
            } else {
                s->by = c->argv[i + 1];
                s->keep_order |= !star;
            }
        }
        i += args > 0 ? (unsigned)args : 0;
    }
    return true;
}

/* LIMIT as a range of n elements: a negative offset is 0, a negative count means all. */
static void sort_range(struct sort *s)
{
    uint64_t offset = s->offset < 0 ? 0 : (uint64_t)s->offset;
    s->first = offset < s->n ? offset : s->n;
    s->wanted = s->n - s->first;
    if (s->count >= 0 && (uint64_t)s->count < s->wanted) {
        s->wanted = (uint64_t)s->count;
    }
}

/* ---- Patterns ---- */

/* The string at the key that `pattern` names for an element. False: there is none. A pattern with
 * "->field" behind the star looks into a hash. The name fits what sort_load() reserved. */
static bool pattern_value(struct call *c, struct sort *s, struct slice pattern,
                          struct slice element, char tmp[I64_TEXT_MAX], struct slice *out)
{
    if (slice_eq(pattern, S("#"))) {
        *out = element;
        return true;
    }
    const char *star = star_of(pattern);
    if (star == NULL) {
        return false;
    }
    size_t before = (size_t)(star - pattern.p);
    struct slice tail = slice_of(star + 1, pattern.n - before - 1);
    const char *arrow = tail.n > 0 ? memmem(tail.p, tail.n, "->", 2) : NULL;
    bool field = arrow != NULL && arrow + 2 < tail.p + tail.n;
    if (field) {
        tail.n = (size_t)(arrow - tail.p);
    }
    s->name.n = 0;
    buf_add(&s->name, pattern.p, before);
    buf_add_slice(&s->name, element);
    buf_add_slice(&s->name, tail);
    struct key k = call_key(c, buf_slice(&s->name));
    const struct entry *e = key_read(c, &k);
    if (e != NULL && field && entry_type(e) == OBJ_HASH) {
        struct fields f;
        entry_get_fields(e, call_view(c), &f);
        return fields_get(&f, slice_of(arrow + 2, (size_t)(pattern.p + pattern.n - arrow) - 2), tmp,
                          out);
    }
    if (e == NULL || field || entry_type(e) != OBJ_STRING) {
        return false;
    }
    *out = entry_string(e, tmp);
    return true;
}

/* ---- Weights ---- */

/* What strtod() makes of it: space before the number is fine, no text at all is 0, a NUL ends the
 * text. Not a number, or out of the range of normal doubles: false. */
static bool weight_number(struct slice text, double *out)
{
    const char *nul = text.n > 0 ? memchr(text.p, '\0', text.n) : NULL;
    if (nul != NULL) {
        text.n = (size_t)(nul - text.p);
    }
    if (text.n == 0) {
        *out = 0;
        return true;
    }
    while (text.n > 0 && char_is_space(text.p[0])) {
        text.p++;
        text.n--;
    }
    return parse_f64(text, out) && (*out == 0 || *out >= DBL_MIN || *out <= -DBL_MIN);
}

/* False: a weight is not a number. */
static bool sort_weigh(struct call *c, struct sort *s)
{
    bool fine = true;
    for (uint64_t i = 0; i < s->n; i++) {
        struct sort_item *it = &s->item[i];
        struct slice w = it->text;
        if (s->by.p != NULL && !pattern_value(c, s, s->by, it->text, s->digits, &w)) {
            w = slice_of(NULL, 0);
        }
        if (s->alpha) {
            s->digits += w.p == s->digits ? I64_TEXT_MAX : 0;
            if (!s->store && w.p != NULL) { /* Redis compares C strings here, bytes for STORE */
                w.n = strnlen(w.p, w.n);
            }
            it->weight.text = w;
        } else if (w.p == NULL) {
            it->weight.number = 0;
        } else if (!weight_number(w, &it->weight.number)) {
            fine = false; /* the keys behind it are looked at all the same, as in Redis */
        }
    }
    return fine;
}

static int compare_weights(const struct sort *s, const struct sort_item *a,
                           const struct sort_item *b)
{
    int order;
    if (s->alpha) {
        if (a->weight.text.p == NULL || b->weight.text.p == NULL) {
            order = (a->weight.text.p != NULL) - (b->weight.text.p != NULL);
        } else {
            order = slice_cmp(a->weight.text, b->weight.text);
        }
    } else {
        order = (a->weight.number > b->weight.number) - (a->weight.number < b->weight.number);
        if (order == 0) { /* a defined order also for numbers that are written in several ways */
            order = slice_cmp(a->text, b->text);
        }
    }
    return s->descending ? -order : order;
}

/* Merges the sorted runs [from, mid) and [mid, to) of src into dst. */
static void merge(const struct sort *s, const struct sort_item *src, struct sort_item *dst,
                  uint64_t from, uint64_t mid, uint64_t to)
{
    uint64_t a = from, b = mid;
    for (uint64_t i = from; i < to; i++) {
        bool left = b == to || (a < mid && compare_weights(s, &src[a], &src[b]) <= 0);
        dst[i] = left ? src[a++] : src[b++];
    }
}

static void sort_items(struct sort *s)
{
    for (uint64_t run = 1; run < s->n; run *= 2) {
        for (uint64_t from = 0; from < s->n; from += 2 * run) {
            uint64_t mid = from + run < s->n ? from + run : s->n;
            uint64_t to = mid + run < s->n ? mid + run : s->n;
            merge(s, s->item, s->spare, from, mid, to);
        }
        struct sort_item *sorted = s->spare;
        s->spare = s->item;
        s->item = sorted;
    }
}

/* ---- Elements ---- */

/* Room for n elements. *block is to be freed; false: no memory. */
static bool sort_reserve(struct sort *s, uint64_t n, void **block)
{
    size_t size;
    if (__builtin_mul_overflow(n, 2 * (sizeof(struct sort_item) + I64_TEXT_MAX), &size)) {
        return false;
    }
    *block = mem_try_alloc(size > 0 ? size : 1);
    if (*block == NULL) {
        return false;
    }
    s->item = *block;
    s->spare = s->item + n;
    s->digits = (char *)(s->spare + n);
    return true;
}

/* A short text may be gone after this call, a long one has to stay. */
static void sort_item(struct sort *s, uint64_t i, struct slice text)
{
    if (text.n < I64_TEXT_MAX) {
        memcpy(s->digits, text.p, text.n);
        text.p = s->digits;
        s->digits += I64_TEXT_MAX;
    }
    s->item[i].text = text;
    s->longest_element = size_max(s->longest_element, text.n);
}

static void load_list(struct sort *s, const struct entry *e, uint64_t from, bool backwards)
{
    struct ql_iter it;
    struct lp_value v;
    char text[I64_TEXT_MAX];
    quicklist_iter(&it, list_of(e), from, !backwards);
    for (uint64_t i = 0; i < s->n; i++) {
        must(quicklist_next(&it, &v));
        sort_item(s, i, lp_text(&v, text));
    }
}

static void load_set(struct sort *s, const struct entry *e, uint64_t from)
{
    struct set set;
    struct set_iter it;
    struct set_member m;
    entry_get_set(e, &set);
    set_iter(&it, &set, from);
    for (uint64_t i = 0; i < s->n; i++) {
        must(set_next(&it, &m));
        sort_item(s, i, set_text(&m));
    }
}

static void load_zset(struct sort *s, const struct entry *e, uint64_t from, bool backwards)
{
    struct zset z;
    struct zset_iter it;
    struct zset_item item = { 0 };
    entry_get_zset(e, &z);
    zset_iter(&it, z, from, !backwards);
    for (uint64_t i = 0; i < s->n; i++) {
        must(zset_next(&it, &item));
        sort_item(s, i, item.member);
    }
}

static uint64_t element_count(const struct entry *e)
{
    struct set set;
    struct zset z;
    switch (entry_type(e)) {
    case OBJ_LIST: return quicklist_count(list_of(e));
    case OBJ_SET: entry_get_set(e, &set); return set_count(&set);
    case OBJ_ZSET: entry_get_zset(e, &z); return zset_count(z);
    default: must_not_reach();
    }
}

/* Elements of e in the order of the list, or backwards; where the order is kept, those in range. */
static void sort_load(struct sort *s, const struct entry *e)
{
    bool backwards = s->keep_order && s->descending;
    uint64_t all = s->n, from = s->keep_order ? s->first : 0;
    if (s->keep_order) {
        s->n = s->wanted;
        s->first = 0;
    }
    if (s->n == 0) {
        return;
    }
    if (entry_type(e) == OBJ_SET) {
        load_set(s, e, from);
    } else if (entry_type(e) == OBJ_ZSET) {
        load_zset(s, e, backwards ? all - 1 - from : from, backwards);
    } else {
        load_list(s, e, backwards ? all - 1 - from : from, backwards);
    }
}

/* ---- Results ---- */

/* Calls put() with each value of the result, missing ones with p NULL; stops when it is false. */
static bool sort_results(struct call *c, struct sort *s,
                         bool (*put)(struct call *c, void *arg, struct slice v), void *arg)
{
    char tmp[I64_TEXT_MAX];
    for (uint64_t i = 0; i < s->wanted; i++) {
        struct slice element = s->item[s->first + i].text;
        if (s->gets == 0 && !put(c, arg, element)) {
            return false;
        }
        for (unsigned a = 2; s->gets > 0 && a < c->argc; a++) {
            int args = option_args(c->argv, c->argc, a);
            if (arg_is(c, a, "get")) {
                struct slice v;
                if (!pattern_value(c, s, c->argv[a + 1], element, tmp, &v)) {
                    v = slice_of(NULL, 0);
                }
                if (!put(c, arg, v)) {
                    return false;
                }
            }
            a += args > 0 ? (unsigned)args : 0;
        }
    }
    return true;
}

static bool put_reply(struct call *c, void *arg unused_arg, struct slice v)
{
    if (v.p == NULL) {
        reply_null(c);
    } else {
        reply_bulk(c, v);
    }
    return true;
}

static bool put_list(struct call *c unused_arg, void *arg, struct slice v)
{
    return quicklist_push(arg, QL_TAIL, v.p != NULL ? v : S("")) == 0;
}

#define STORE_BATCH 128 /* elements per RPUSH of the effect: what it needs fits the stack */

static void store_effect(struct call *c, const struct key *k, const struct quicklist *ql)
{
    struct slice argv[2 + STORE_BATCH] = { S("RPUSH"), k->s };
    char digits[STORE_BATCH][I64_TEXT_MAX];
    unsigned n = 0;
    struct ql_iter it;
    struct lp_value v;
    EFFECT(c, S("DEL"), k->s);
    quicklist_iter(&it, ql, 0, true);
    while (quicklist_next(&it, &v)) {
        argv[2 + n] = lp_text(&v, digits[n]);
        if (++n == STORE_BATCH) {
            effect(c, argv, 2 + n);
            n = 0;
        }
    }
    if (n > 0) {
        effect(c, argv, 2 + n);
    }
}

/* The result becomes the list at k, instead of what is there; an empty one deletes it. */
static void sort_store(struct call *c, struct sort *s, const struct key *k)
{
    struct quicklist *ql = list_new(c);
    if (!sort_results(c, s, put_list, ql)) {
        quicklist_free(ql);
        reply_oom(c);
        return;
    }
    uint64_t n = quicklist_count(ql);
    size_t room = quicklist_bytes(ql) + n * EFFECT_ARG +
                  (n / STORE_BATCH + 2) * (k->s.n + 3 * (size_t)EFFECT_ARG);
    if (!effect_fits(c, room)) {
        quicklist_free(ql);
        reply_oom(c);
        return;
    }
    if (n == 0) {
        quicklist_free(ql);
        if (key_delete(c, k)) {
            EFFECT(c, S("DEL"), k->s);
            notify(c, NOTIFY_GENERIC, "del", k);
        }
    } else {
        list_settle(key_replace(c, k, OBJ_LIST, ENC_LISTPACK, ql));
        store_effect(c, k, ql);
        call_more_changes(c, (int64_t)n - 1);
        notify(c, NOTIFY_LIST, "sortstore", k);
    }
    reply_int(c, (int64_t)n);
}

/* ---- The commands ---- */

/* As Redis, which needs the other form for it: OBJECT ENCODING shows it from then on. */
static bool zset_for_sort(struct entry *e)
{
    struct zset z;
    if (e == NULL || entry_type(e) != OBJ_ZSET) {
        return true;
    }
    entry_get_zset(e, &z);
    bool done = zset_make_big(&z);
    entry_put_zset(e, &z);
    return done;
}

static void sort_run(struct call *c, struct sort *s, struct entry *e)
{
    void *block;
    if (!zset_for_sort(e)) {
        reply_oom(c);
        return;
    }
    s->n = e != NULL ? element_count(e) : 0;
    bool must_repeat = s->store || (c->flags & CALL_SCRIPT) != 0;
    if (s->keep_order && must_repeat && e != NULL && entry_type(e) == OBJ_SET) {
        s->keep_order = false; /* replay, and a script run again, must come to the same */
        s->alpha = true;
        s->by.p = NULL;
    }
    sort_range(s);
    if (!sort_reserve(s, s->keep_order ? s->wanted : s->n, &block)) {
        reply_oom(c);
        return;
    }
    sort_load(s, e);
    if (s->has_key_pattern && !buf_try_reserve(&s->name, s->longest_pattern + s->longest_element)) {
        reply_oom(c);
    } else if (!s->keep_order && !sort_weigh(c, s)) {
        reply_error(c, "ERR One or more scores can't be converted into double");
    } else {
        if (!s->keep_order) {
            sort_items(s);
        }
        if (s->store) {
            sort_store(c, s, &c->keys[1]);
        } else {
            reply_array(c, s->wanted * (s->gets > 0 ? s->gets : 1));
            (void)sort_results(c, s, put_reply, NULL);
        }
    }
    mem_free(block);
    buf_free(&s->name);
}

static void sort_call(struct call *c, bool read_only)
{
    struct sort s = { .count = -1 };
    if (!sort_parse(c, read_only, &s)) {
        return;
    }
    struct entry *e = key_read(c, &c->keys[0]);
    if (e != NULL && entry_type(e) != OBJ_SET && entry_type(e) != OBJ_ZSET &&
        !key_is(c, e, OBJ_LIST)) {
        return;
    }
    sort_run(c, &s, e);
    if (s.has_key_pattern) {
        call_gate_all(c);
    }
}

static void cmd_sort(struct call *c)
{
    sort_call(c, false);
}

static void cmd_sort_ro(struct call *c)
{
    sort_call(c, true);
}

#define SORT_COMPLEXITY                                                                      \
    "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the " \
    "number of returned elements. When the elements are not sorted, complexity is O(N)."
/* Specifications that begin at 0 cannot be told from the arguments: "unknown". */
#define PATTERN_KEYS                                                                              \
    {                                                                                             \
        .flags = KEY_RO | KEY_ACCESS, .step = 1,                                                  \
        .notes = "For the optional BY/GET keyword. It is marked 'unknown' because the key names " \
                 "derive from the content of the key we sort"                                     \
    }
#define SORT_ARGS                                                                 \
    "key [BY pattern:pattern1] [LIMIT offset_count=<offset:int count:int>] [GET " \
    "pattern:pattern1]..."                                                        \
    " [order=<ASC|DESC>] [sorting=ALPHA]"
const struct command sort_commands[] = {
    { .name = "sort",
      .proc = cmd_sort,
      .arity = -2,
      .flags = CMD_WRITE | CMD_DENYOOM | CMD_MOVABLEKEYS,
      .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS),
                PATTERN_KEYS,
                { .flags = KEY_OW | KEY_UPDATE,
                  .step = 1,
                  .notes = "For the optional STORE keyword. It is marked 'unknown' because the "
                           "keyword can appear anywhere in the argument array" } },
      .getkeys = sort_keys,
      .exclusive = sort_exclusive,
      .group = "generic",
      .since = "1.0.0",
      .complexity = SORT_COMPLEXITY,
      .summary = "Sort the elements in a list, set or sorted set",
      .syntax = SORT_ARGS " [STORE destination:key2]" },
    { .name = "sort_ro",
      .proc = cmd_sort_ro,
      .arity = -2,
      .flags = CMD_READONLY | CMD_MOVABLEKEYS,
      .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS), PATTERN_KEYS },
      .getkeys = sort_ro_keys,
      .exclusive = sort_exclusive,
      .group = "generic",
      .since = "7.0.0",
      .complexity = SORT_COMPLEXITY,
      .summary = "Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
      .syntax = SORT_ARGS },
    { .name = NULL },
};
