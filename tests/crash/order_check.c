/* order_check.c -- From a history to a graph, from the graph to a cycle.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Real-time edges between all pairs would be quadratic. Instead, each completion is a
 * node of a chain in time: an operation leads to its own completion, a completion to the next one,
 * and to the operations that start before the next one. The chain alone has no cycle.
 * UNSEEN      An append that no read shows comes after all that were read: every read of the whole
 * known list precedes it. So one that was acknowledged and lost makes a cycle with any later read,
 * and half a transaction with any read that shows its other half. */
#include "order.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

enum edge_kind { WW = 1, WR = 2, RW = 4, RT = 8 };

struct edge {
    uint32_t from, to;
    uint32_t kind;
};
struct version { /* of (key, value): who appended it, and where it stands in the key's order */
    uint64_t id; /* key << 32 | value; UINT64_MAX: free */
    uint32_t op, at;
};
struct list { /* the longest read of a key */
    uint32_t key;
    const uint32_t *seen;
    uint32_t n;
    bool used;
};
struct graph {
    const struct order_history *h;
    struct version *version;
    size_t versions; /* power of two */
    struct list *list;
    size_t lists; /* power of two */
    struct edge *edge;
    size_t edges, cap;
    uint32_t nodes;
    uint32_t *first; /* nodes + 1; edges sorted by `from` */
    char *report;
    size_t size;
};

/* ---- Histories ---- */

static void *grown(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    must(p != NULL);
    return p;
}

void order_init(struct order_history *h)
{
    *h = (struct order_history){ NULL, 0, 0, NULL };
}

void order_free(struct order_history *h)
{
    for (size_t i = 0; i < h->n; i++) {
        for (unsigned m = 0; m < h->op[i].n; m++) {
            free(h->op[i].micro[m].seen);
        }
        free(h->op[i].micro);
    }
    free(h->op);
    order_init(h);
}

struct order_op *order_add(struct order_history *h, uint32_t process, int64_t start, int64_t end)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 256 : 2 * h->cap;
        h->op = grown(h->op, h->cap * sizeof *h->op);
    }
    h->op[h->n] = (struct order_op){ start, end, process, 0, NULL };
    return &h->op[h->n++];
}

void order_drop(struct order_history *h)
{
    struct order_op *op = &h->op[--h->n];
    for (unsigned m = 0; m < op->n; m++) {
        free(op->micro[m].seen);
    }
    free(op->micro);
}

static struct order_micro *add_micro(struct order_op *op, enum order_kind kind, uint32_t key)
{
    op->micro = grown(op->micro, (op->n + 1) * sizeof *op->micro);
    op->micro[op->n] = (struct order_micro){ .kind = kind, .key = key };
    return &op->micro[op->n++];
}

void order_append(struct order_op *op, uint32_t key, uint32_t value)
{
    add_micro(op, ORDER_APPEND, key)->value = value;
}

void order_sees(struct order_op *op, uint32_t key, uint32_t value)
{
    add_micro(op, ORDER_SEES, key)->value = value;
}

void order_read(struct order_op *op, uint32_t key, const uint32_t *seen, uint32_t nseen)
{
    struct order_micro *m = add_micro(op, ORDER_READ, key);
    m->nseen = nseen;
    if (nseen > 0) {
        m->seen = grown(NULL, nseen * sizeof *seen);
        memcpy(m->seen, seen, nseen * sizeof *seen);
    }
}

void order_join(struct order_history *to, struct order_history *from)
{
    to->op = grown(to->op, (to->n + from->n + 1) * sizeof *to->op);
    for (size_t i = 0; i < from->n; i++) {
        to->op[to->n++] = from->op[i];
    }
    to->cap = to->n + 1;
    free(from->op);
    order_init(from);
}

/* ---- Text ---- */

const char *order_name(enum order_verdict v)
{
    static const char *const names[ORDER_VERDICTS] = {
        "ok",           "bad list",          "G0",         "G1c", "G-single", "G2", "G0-realtime",
        "G1c-realtime", "G-single-realtime", "G2-realtime"
    };
    return names[v];
}

static void say(struct graph *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct graph *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t n = strlen(g->report);
    vsnprintf(g->report + n, g->size - n, fmt, ap);
    va_end(ap);
}

static void say_op(struct graph *g, const struct order_op *op)
{
    say(g, "  process %u, %lld..%lld us:", op->process, (long long)op->start,
        op->end == ORDER_UNKNOWN ? -1 : (long long)op->end);
    for (unsigned i = 0; i < op->n; i++) {
        const struct order_micro *m = &op->micro[i];
        if (m->kind == ORDER_READ) {
            say(g, " read %u (%u elements, last %#x)", m->key, m->nseen,
                m->nseen > 0 ? m->seen[m->nseen - 1] : 0);
        } else {
            say(g, " %s %u %#x", m->kind == ORDER_APPEND ? "append" : "sees", m->key, m->value);
        }
    }
    say(g, "\n");
}

/* ---- Tables ---- */

static uint64_t version_id(uint32_t key, uint32_t value)
{
    return (uint64_t)key << 32 | value;
}

static uint64_t mixed(uint64_t x)
{
    x *= 0x9e3779b97f4a7c15u;
    return x ^ (x >> 32);
}

/* The entry of (key, value), or the free one where it belongs. */
static struct version *version_of(struct graph *g, uint32_t key, uint32_t value)
{
    uint64_t id = version_id(key, value);
    size_t at = mixed(id) & (g->versions - 1);
    while (g->version[at].id != UINT64_MAX && g->version[at].id != id) {
        at = (at + 1) & (g->versions - 1);
    }
    return &g->version[at];
}

static struct list *list_of(struct graph *g, uint32_t key)
{
    size_t at = mixed(key) & (g->lists - 1);
    while (g->list[at].used && g->list[at].key != key) {
        at = (at + 1) & (g->lists - 1);
    }
    g->list[at].used = true;
    g->list[at].key = key;
    return &g->list[at];
}

static size_t table_size(size_t n)
{
    size_t size = 64;
    while (size < 2 * n) {
        size *= 2;
    }
    return size;
}

static void tables_new(struct graph *g)
{
    size_t appends = 0, all = 0;
    for (size_t i = 0; i < g->h->n; i++) {
        for (unsigned m = 0; m < g->h->op[i].n; m++) {
            appends += g->h->op[i].micro[m].kind == ORDER_APPEND;
            all++;
        }
    }
    g->versions = table_size(2 * all + appends);
    g->version = grown(NULL, g->versions * sizeof *g->version);
    memset(g->version, 0xff, g->versions * sizeof *g->version);
    g->lists = table_size(all);
    g->list = calloc(g->lists, sizeof *g->list);
    must(g->list != NULL);
}

/* Who appended what. */
static bool note_appends(struct graph *g)
{
    for (size_t i = 0; i < g->h->n; i++) {
        const struct order_op *op = &g->h->op[i];
        for (unsigned m = 0; m < op->n; m++) {
            must(op->end != ORDER_UNKNOWN || op->micro[m].kind == ORDER_APPEND);
            if (op->micro[m].kind == ORDER_APPEND) {
                struct version *v = version_of(g, op->micro[m].key, op->micro[m].value);
                if (v->id != UINT64_MAX) {
                    say(g, "%#x was appended to %u twice:\n", op->micro[m].value, op->micro[m].key);
                    say_op(g, op);
                    return false;
                }
                *v = (struct version){ version_id(op->micro[m].key, op->micro[m].value),
                                       (uint32_t)i, NONE };
            }
        }
    }
    return true;
}

static void note_longest(struct graph *g)
{
    for (size_t i = 0; i < g->h->n; i++) {
        for (unsigned m = 0; m < g->h->op[i].n; m++) {
            const struct order_micro *r = &g->h->op[i].micro[m];
            struct list *l = list_of(g, r->key);
            if (r->kind == ORDER_READ && r->nseen > l->n) {
                l->seen = r->seen;
                l->n = r->nseen;
            }
        }
    }
}

/* Each element once, each appended by somebody. */
static bool order_versions(struct graph *g)
{
    for (size_t i = 0; i < g->lists; i++) {
        const struct list *l = &g->list[i];
        bool anonymous = l->used && g->h->anonymous != NULL && g->h->anonymous(l->key);
        for (uint32_t at = 0; at < l->n; at++) {
            struct version *v = version_of(g, l->key, l->seen[at]);
            if (v->id == UINT64_MAX && anonymous) {
                *v = (struct version){ version_id(l->key, l->seen[at]), NONE, NONE };
            }
            if (v->id == UINT64_MAX || v->at != NONE) {
                say(g, "element %u of %u, %#x, %s\n", at, l->key, l->seen[at],
                    v->id == UINT64_MAX ? "was never appended" : "is there twice");
                return false;
            }
            v->at = at;
        }
    }
    return true;
}

/* The length that answered an append is the place of its element. */
static bool told_right(struct graph *g, const struct order_op *op, const struct order_micro *a)
{
    uint32_t at = version_of(g, a->key, a->value)->at;
    if (a->told == 0 || at == NONE || at + 1 == a->told) {
        return true;
    }
    say(g, "element %u of %u was told to be number %u:\n", at, a->key, a->told - 1);
    say_op(g, op);
    return false;
}

static bool replies_agree(struct graph *g)
{
    for (size_t i = 0; i < g->h->n; i++) {
        const struct order_op *op = &g->h->op[i];
        for (unsigned m = 0; m < op->n; m++) {
            const struct order_micro *r = &op->micro[m];
            const struct list *l = list_of(g, r->key);
            if (r->kind == ORDER_READ && r->nseen > 0 &&
                memcmp(r->seen, l->seen, r->nseen * sizeof *r->seen) != 0) {
                say(g, "a read of %u is no prefix of a longer one:\n", r->key);
                say_op(g, op);
                return false;
            }
            if (r->kind == ORDER_APPEND && !told_right(g, op, r)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Edges ---- */

static void add_edge(struct graph *g, uint32_t from, uint32_t to, enum edge_kind kind)
{
    if (from == to || from == NONE || to == NONE) {
        return;
    }
    if (g->edges == g->cap) {
        g->cap = g->cap == 0 ? 1024 : 2 * g->cap;
        g->edge = grown(g->edge, g->cap * sizeof *g->edge);
    }
    g->edge[g->edges++] = (struct edge){ from, to, kind };
}

static void add_ww(struct graph *g)
{
    for (size_t i = 0; i < g->lists; i++) {
        const struct list *l = &g->list[i];
        uint32_t before = NONE;
        for (uint32_t at = 0; at < l->n; at++) {
            uint32_t op = version_of(g, l->key, l->seen[at])->op;
            add_edge(g, before, op, WW);
            before = op != NONE ? op : before;
        }
    }
}

static void add_of_read(struct graph *g, uint32_t op, const struct order_micro *r)
{
    const struct list *l = list_of(g, r->key);
    for (uint32_t at = r->nseen; at > 0; at--) { /* the last one that somebody is known for */
        uint32_t by = version_of(g, r->key, r->seen[at - 1])->op;
        if (by != NONE && by != op) {
            add_edge(g, by, op, WR);
            break;
        }
    }
    for (uint32_t at = r->nseen; at < l->n; at++) {
        uint32_t by = version_of(g, r->key, l->seen[at])->op;
        if (by != NONE && by != op) {
            add_edge(g, op, by, RW);
            return;
        }
    }
}

/* Appends that no read shows follow the last version, and all reads of it. */
struct unseen {
    uint32_t key, op;
};

static int by_key(const void *a, const void *b)
{
    const struct unseen *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void add_unseen(struct graph *g)
{
    struct unseen *u = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < g->versions; i++) {
        const struct version *v = &g->version[i];
        if (v->id != UINT64_MAX && v->at == NONE) {
            if (n == cap) {
                cap = cap == 0 ? 256 : 2 * cap;
                u = grown(u, cap * sizeof *u);
            }
            u[n++] = (struct unseen){ (uint32_t)(v->id >> 32), v->op };
        }
    }
    if (n > 0) {
        qsort(u, n, sizeof *u, by_key);
    }
    for (size_t i = 0; i < g->h->n && n > 0; i++) {
        for (unsigned m = 0; m < g->h->op[i].n; m++) {
            const struct order_micro *r = &g->h->op[i].micro[m];
            if (r->kind != ORDER_READ || r->nseen < list_of(g, r->key)->n) {
                continue;
            }
            struct unseen k = { r->key, 0 }, *at = bsearch(&k, u, n, sizeof *u, by_key);
            while (at != NULL && at > u && at[-1].key == r->key) {
                at--;
            }
            for (; at != NULL && at < u + n && at->key == r->key; at++) {
                add_edge(g, (uint32_t)i, at->op, RW);
            }
        }
    }
    free(u);
}

struct moment {
    int64_t when;
    uint32_t op;
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    return x->when < y->when ? -1 : x->when > y->when;
}

/* Node h->n + i is the i-th completion. */
static void add_real_time(struct graph *g)
{
    uint32_t n = (uint32_t)g->h->n, ends = 0;
    struct moment *end = grown(NULL, (n + 1) * sizeof *end);
    for (uint32_t i = 0; i < n; i++) {
        if (g->h->op[i].end != ORDER_UNKNOWN) {
            end[ends++] = (struct moment){ g->h->op[i].end, i };
        }
    }
    qsort(end, ends, sizeof *end, by_time);
    for (uint32_t i = 0; i < ends; i++) {
        add_edge(g, end[i].op, n + i, RT);
        if (i + 1 < ends) {
            add_edge(g, n + i, n + i + 1, RT);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t low = 0, high = ends; /* completions before this start */
        while (low < high) {
            uint32_t mid = (low + high) / 2;
            if (end[mid].when < g->h->op[i].start) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        if (low > 0) {
            add_edge(g, n + low - 1, i, RT);
        }
    }
    g->nodes = n + ends;
    free(end);
}

static void build_edges(struct graph *g)
{
    add_ww(g);
    for (size_t i = 0; i < g->h->n; i++) {
        for (unsigned m = 0; m < g->h->op[i].n; m++) {
            const struct order_micro *x = &g->h->op[i].micro[m];
            if (x->kind == ORDER_READ) {
                add_of_read(g, (uint32_t)i, x);
            } else if (x->kind == ORDER_SEES) {
                const struct version *v = version_of(g, x->key, x->value);
                add_edge(g, v->id != UINT64_MAX ? v->op : NONE, (uint32_t)i, WR);
            }
        }
    }
    add_unseen(g);
    add_real_time(g);
    g->first = calloc(g->nodes + 2, sizeof *g->first);
    struct edge *sorted = grown(NULL, (g->edges + 1) * sizeof *sorted);
    must(g->first != NULL);
    for (size_t i = 0; i < g->edges; i++) {
        g->first[g->edge[i].from + 2]++;
    }
    for (uint32_t i = 2; i < g->nodes + 2; i++) {
        g->first[i] += g->first[i - 1];
    }
    for (size_t i = 0; i < g->edges; i++) {
        sorted[g->first[g->edge[i].from + 1]++] = g->edge[i];
    }
    free(g->edge);
    g->edge = sorted;
}

/* ---- Cycles ---- */

struct tarjan {
    uint32_t *index, *low, *next, *stack, *path;
    bool *on;
};

/* Nodes of a strongly connected component with more than one node over edges of `kinds`: one of
 * them, or NONE; *size of them and component[] == the answer for each of them. Tarjan 1972, without
 * recursion. */
static uint32_t find_component(const struct graph *g, unsigned kinds, uint32_t *component)
{
    uint32_t n = g->nodes, counter = 0, depth = 0, top = 0, found = NONE;
    struct tarjan t = { calloc(n, 4), calloc(n, 4), calloc(n, 4),
                        calloc(n, 4), calloc(n, 4), calloc(n, 1) };
    must(t.index && t.low && t.next && t.stack && t.path && t.on);
    memset(component, 0xff, n * sizeof *component);
    for (uint32_t root = 0; root < n && found == NONE; root++) {
        if (t.index[root] != 0) {
            continue;
        }
        t.path[depth++] = root;
        while (depth > 0 && found == NONE) {
            uint32_t v = t.path[depth - 1];
            if (t.index[v] == 0) {
                t.index[v] = t.low[v] = ++counter;
                t.next[v] = g->first[v];
                t.stack[top++] = v;
                t.on[v] = true;
            }
            if (t.next[v] < g->first[v + 1]) {
                const struct edge *e = &g->edge[t.next[v]++];
                if ((e->kind & kinds) == 0) {
                    continue;
                }
                if (t.index[e->to] == 0) {
                    t.path[depth++] = e->to;
                } else if (t.on[e->to] && t.index[e->to] < t.low[v]) {
                    t.low[v] = t.index[e->to];
                }
                continue;
            }
            depth--;
            if (depth > 0 && t.low[v] < t.low[t.path[depth - 1]]) {
                t.low[t.path[depth - 1]] = t.low[v];
            }
            if (t.low[v] == t.index[v]) {
                found = t.stack[top - 1] != v ? v : NONE;
                uint32_t w;
                do {
                    w = t.stack[--top];
                    t.on[w] = false;
                    component[w] = v;
                } while (w != v);
            }
        }
    }
    free(t.index), free(t.low), free(t.next), free(t.stack), free(t.path), free(t.on);
    return found;
}

/* The shortest way from `node` back to itself within its component: edges in `way`, backwards;
 * returns how many. Real-time edges through the chain count as one. */
static uint32_t shortest_cycle(const struct graph *g, unsigned kinds, const uint32_t *component,
                               uint32_t node, const struct edge **way, uint32_t max)
{
    const struct edge **by = calloc(g->nodes, sizeof *by);
    uint32_t *queue = calloc(g->nodes, sizeof *queue), head = 0, tail = 0, n = 0;
    must(by != NULL && queue != NULL);
    queue[tail++] = node;
    while (head < tail && by[node] == NULL) {
        uint32_t v = queue[head++];
        for (uint32_t i = g->first[v]; i < g->first[v + 1]; i++) {
            const struct edge *e = &g->edge[i];
            if ((e->kind & kinds) != 0 && component[e->to] == component[node] &&
                by[e->to] == NULL) {
                by[e->to] = e;
                queue[tail++] = e->to;
            }
        }
    }
    for (uint32_t at = node; n < max && by[at] != NULL;) {
        way[n++] = by[at];
        at = by[at]->from;
        if (at == node) {
            break;
        }
    }
    free(by);
    free(queue);
    return n;
}

#define CYCLE_MAX 256
#define TRIES     40 /* nodes of a component from which a short cycle is looked for */

static unsigned count_rw(const struct edge *const *way, uint32_t n)
{
    unsigned rw = 0;
    for (uint32_t i = 0; i < n; i++) {
        rw += way[i]->kind == RW;
    }
    return rw;
}

/* Prints a short cycle; returns how many rw edges it has. */
static unsigned describe_cycle(struct graph *g, unsigned kinds, const uint32_t *component,
                               uint32_t node)
{
    const struct edge *best[CYCLE_MAX], *way[CYCLE_MAX];
    uint32_t nbest = 0, tries = 0;
    for (uint32_t v = 0; v < g->h->n && tries < TRIES; v++) {
        if (component[v] != component[node]) {
            continue;
        }
        tries++;
        uint32_t n = shortest_cycle(g, kinds, component, v, way, CYCLE_MAX);
        if (n > 0 && (nbest == 0 || count_rw(way, n) < count_rw(best, nbest) ||
                      (count_rw(way, n) == count_rw(best, nbest) && n < nbest))) {
            memcpy(best, way, n * sizeof *way);
            nbest = n;
        }
    }
    for (uint32_t i = nbest; i > 0; i--) {
        const struct edge *e = best[i - 1];
        if (e->from < g->h->n) {
            say_op(g, &g->h->op[e->from]);
            say(g, "    --%s-->\n",
                e->kind == WW   ? "ww"
                : e->kind == WR ? "wr"
                : e->kind == RW ? "rw"
                                : "rt");
        }
    }
    return count_rw(best, nbest);
}

static enum order_verdict find_cycle(struct graph *g)
{
    static const struct {
        unsigned kinds;
        enum order_verdict one, more; /* with at most one rw edge, with more */
    } step[] = {
        { WW, ORDER_G0, ORDER_G0 },
        { WW | WR, ORDER_G1C, ORDER_G1C },
        { WW | WR | RW, ORDER_G_SINGLE, ORDER_G2 },
        { WW | RT, ORDER_G0_REALTIME, ORDER_G0_REALTIME },
        { WW | WR | RT, ORDER_G1C_REALTIME, ORDER_G1C_REALTIME },
        { WW | WR | RW | RT, ORDER_G_SINGLE_REALTIME, ORDER_G2_REALTIME },
    };
    uint32_t *component = grown(NULL, (g->nodes + 1) * sizeof *component);
    enum order_verdict v = ORDER_OK;
    must(g->nodes > 0); /* one per operation, and there are some */
    if (find_component(g, WW | WR | RW | RT, component) != NONE) {
        for (unsigned i = 0; i < countof(step) && v == ORDER_OK; i++) {
            uint32_t node = find_component(g, step[i].kinds, component);
            if (node != NONE) {
                v = describe_cycle(g, step[i].kinds, component, node) > 1 ? step[i].more
                                                                          : step[i].one;
            }
        }
    }
    free(component);
    return v;
}

enum order_verdict order_check(const struct order_history *h, char *report, size_t size)
{
    struct graph g = { .h = h, .report = report, .size = size };
    report[0] = '\0';
    if (h->n == 0) {
        return ORDER_OK;
    }
    tables_new(&g);
    enum order_verdict v = ORDER_BAD_LIST;
    if (note_appends(&g)) {
        note_longest(&g);
        if (order_versions(&g) && replies_agree(&g)) {
            build_edges(&g);
            v = find_cycle(&g);
        }
    }
    free(g.version);
    free(g.list);
    free(g.edge);
    free(g.first);
    return v;
}
