/* cmd_latency.c -- The LATENCY family.
 * SPDX-License-Identifier: BSD-3-Clause
 * THREADS  Any reactor: latency.c hands out copies. */
#include "exec/latency.h"
#include <stdio.h>

static unsigned samples_of(const struct latency_history *h)
{
    return h->n < LATENCY_HISTORY ? (unsigned)h->n : LATENCY_HISTORY;
}

/* i = 0: the oldest one that is kept. */
static const struct latency_sample *sample_at(const struct latency_history *h, unsigned i)
{
    return &h->sample[(h->n - samples_of(h) + i) % LATENCY_HISTORY];
}

static void cmd_latency_latest(struct call *c)
{
    struct latency_history h;
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    for (int e = 0; e < LATENCY_EVENTS; e++) {
        if (latency_history(c->x, (enum latency_event)e, &h)) {
            const struct latency_sample *last = sample_at(&h, samples_of(&h) - 1);
            reply_array(c, 4);
            reply_bulk_str(c, latency_event_name((enum latency_event)e));
            reply_int(c, last->time_s);
            reply_int(c, last->ms);
            reply_int(c, h.max_ms);
            n++;
        }
    }
    reply_array_fill(c, hole, n);
}

static bool history_of_arg(struct call *c, struct latency_history *h)
{
    int e = latency_event_find(c->argv[2]);
    return e >= 0 && latency_history(c->x, (enum latency_event)e, h);
}

static void cmd_latency_history(struct call *c)
{
    struct latency_history h;
    unsigned n = history_of_arg(c, &h) ? samples_of(&h) : 0;
    reply_array(c, n);
    for (unsigned i = 0; i < n; i++) {
        const struct latency_sample *s = sample_at(&h, i);
        reply_array(c, 2);
        reply_int(c, s->time_s);
        reply_int(c, s->ms);
    }
}

static void cmd_latency_reset(struct call *c)
{
    int64_t n = 0;
    for (int e = 0; e < LATENCY_EVENTS && c->argc == 2; e++) {
        n += latency_forget(c->x, (enum latency_event)e);
    }
    for (unsigned i = 2; i < c->argc; i++) {
        int e = latency_event_find(c->argv[i]);
        n += e >= 0 && latency_forget(c->x, (enum latency_event)e);
    }
    reply_int(c, n);
}

/* ---- GRAPH ---- */

#define GRAPH_ROWS   4
#define GRAPH_LEVELS 3 /* of one character: '_', 'o', '#' */
#define LABEL_MAX    8

/* How long ago, as "42s", "5m", "3h", "2d"; it is written downwards under its column. */
static void label_of(int64_t seconds, char text[LABEL_MAX])
{
    static const struct {
        int64_t unit;
        char name;
    } units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
    unsigned u = 0;
    while (u + 1 < countof(units) && seconds < units[u].unit) {
        u++;
    }
    snprintf(text, LABEL_MAX, "%lld%c", (long long)(seconds / units[u].unit), units[u].name);
}

static char graph_char(int64_t ms, int64_t low, int64_t high, unsigned row)
{
    const unsigned levels = GRAPH_ROWS * GRAPH_LEVELS;
    double part = high > low ? (double)(ms - low) / (double)(high - low) : 0;
    unsigned level = (unsigned)(part * levels);
    level = level < levels ? level : levels - 1;
    unsigned from_bottom = GRAPH_ROWS - 1 - row, top = level / GRAPH_LEVELS;
    return from_bottom > top ? ' ' : from_bottom < top ? '|' : "_o#"[level % GRAPH_LEVELS];
}

static void graph_write(struct buf *b, const struct latency_history *h, int64_t low, int64_t high)
{
    unsigned n = samples_of(h);
    int64_t now = clock_wall_ms() / 1000;
    for (unsigned row = 0; row < GRAPH_ROWS; row++) {
        for (unsigned i = 0; i < n; i++) {
            buf_add_char(b, graph_char(sample_at(h, i)->ms, low, high, row));
        }
        buf_add_char(b, '\n');
    }
    bool any = true;
    for (unsigned row = 0; any; row++) {
        any = false;
        buf_add_char(b, '\n');
        for (unsigned i = 0; i < n; i++) {
            char label[LABEL_MAX];
            label_of(now - sample_at(h, i)->time_s, label);
            size_t len = strlen(label);
            buf_add_char(b, row < len ? label[row] : ' ');
            any |= row + 1 < len;
        }
    }
    buf_add_char(b, '\n');
}

static void cmd_latency_graph(struct call *c)
{
    struct latency_history h;
    if (!history_of_arg(c, &h)) {
        reply_errorf(c, "ERR No samples available for event '%.*s'",
                     (int)size_min(c->argv[2].n, 128), c->argv[2].p);
        return;
    }
    int64_t low = INT64_MAX, high = 0;
    for (unsigned i = 0; i < samples_of(&h); i++) {
        int64_t ms = sample_at(&h, i)->ms;
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
    }
    struct buf b = { 0 };
    buf_printf(&b, "%s - high %lld ms, low %lld ms (all time high %lld ms)\n",
               latency_event_name((enum latency_event)latency_event_find(c->argv[2])),
               (long long)high, (long long)low, (long long)h.max_ms);
    for (unsigned i = 0; i < 80; i++) {
        buf_add_char(&b, '-');
    }
    buf_add_char(&b, '\n');
    graph_write(&b, &h, low, high);
    reply_verbatim(c, buf_slice(&b), "txt");
    buf_free(&b);
}

/* ---- DOCTOR ---- */

static const char *const advice[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] = "Some commands run long: SLOWLOG GET names them. KEYS, large ranges and "
                        "whole-keyspace commands also hold up other clients.",
    [LATENCY_FAST_COMMAND] = "Commands that should be fast were slow: the machine is short of CPU "
                             "(more threads than cores, other programs, a virtual machine that was "
                             "stopped) or of memory (swapping).",
    [LATENCY_EXPIRE_CYCLE] = "Very many keys expire at the same moment: spread their times.",
    [LATENCY_EVICTION_CYCLE] = "Eviction takes long: raise maxmemory, or lower "
                               "maxmemory-eviction-tenacity so that each command evicts less.",
    [LATENCY_EVICTION_DEL] = "Single evictions take long: are there very large values?",
    [LATENCY_FSYNC] = "The disk is slow to confirm writes: INFO durability has the distribution. "
                      "Look for other users of the disk.",
};

static void doctor_event(struct buf *b, enum latency_event e, const struct latency_history *h)
{
    unsigned n = samples_of(h);
    double sum = 0, deviation = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += (double)sample_at(h, i)->ms;
    }
    double average = sum / n;
    for (unsigned i = 0; i < n; i++) {
        double d = (double)sample_at(h, i)->ms - average;
        deviation += d < 0 ? -d : d;
    }
    int64_t span = clock_wall_ms() / 1000 - sample_at(h, 0)->time_s;
    buf_printf(b,
               "%s: %u spikes, %.0f ms on average (mean deviation %.0f ms), one every %.1f "
               "seconds, the worst ever %lld ms.\n  %s\n",
               latency_event_name(e), n, average, deviation / n, (double)span / n,
               (long long)h->max_ms, advice[e]);
}

static void cmd_latency_doctor(struct call *c)
{
    struct buf b = { 0 };
    struct latency_history h;
    for (int e = 0; e < LATENCY_EVENTS; e++) {
        if (latency_history(c->x, (enum latency_event)e, &h)) {
            doctor_event(&b, (enum latency_event)e, &h);
        }
    }
    int64_t threshold = option_int(&c->x->opt.latency_threshold);
    if (threshold == 0) {
        buf_add_str(&b, "Latency monitoring is off. CONFIG SET latency-monitor-threshold "
                        "<milliseconds> turns it on.\n");
    } else if (b.n == 0) {
        buf_printf(&b, "Nothing took %lld ms or longer since monitoring began.\n",
                   (long long)threshold);
    }
    reply_verbatim(c, buf_slice(&b), "txt");
    buf_free(&b);
}

/* ---- HISTOGRAM ---- */

/* The bounds a Redis client expects: 1.024 us and its doublings, shown as the whole microseconds of
 * the largest value that a histogram of two digits cannot tell from the bound. */
static uint64_t bound_ns(unsigned power)
{
    return ((uint64_t)1032 << power) - 1;
}

static void histogram_write(struct call *c, const struct latency_total *t)
{
    reply_map(c, 2);
    reply_bulk_str(c, "calls");
    reply_int(c, (int64_t)t->calls);
    reply_bulk_str(c, "histogram_usec");
    struct out_block *hole = reply_array_deferred(c);
    uint64_t sum = 0, told = 0;
    size_t pairs = 0;
    unsigned step = 0;
    for (unsigned power = 0; sum < t->calls; power++) {
        while (step < LATENCY_STEPS && latency_step_ns(step) <= bound_ns(power)) {
            sum += t->count[step++];
        }
        if (sum > told) {
            reply_int(c, (int64_t)(bound_ns(power) / 1000));
            reply_int(c, (int64_t)sum);
            told = sum;
            pairs++;
        }
    }
    reply_map_fill(c, hole, pairs);
}

static size_t histogram_of(struct call *c, const struct cmd_ref *ref, struct latency_total *t)
{
    size_t n = 0;
    if (latency_sum(c->x, ref->id, t)) {
        reply_bulk_str(c, ref->full);
        histogram_write(c, t);
        n++;
    }
    for (unsigned i = 0; i < ref->nsub; i++) {
        n += histogram_of(c, &ref->sub[i], t);
    }
    return n;
}

/* "get", "client", "client|id". */
static const struct cmd_ref *ref_by_name(struct exec *x, struct slice name)
{
    const char *bar = memchr(name.p, '|', name.n);
    if (bar == NULL) {
        return command_lookup_top(x, name);
    }
    size_t n = (size_t)(bar - name.p);
    struct slice words[] = { slice_of(name.p, n), slice_of(bar + 1, name.n - n - 1) };
    const struct cmd_ref *ref = command_lookup(x, words, 2);
    return ref != NULL && ref->parent != NULL ? ref : NULL;
}

static void cmd_latency_histogram(struct call *c)
{
    struct latency_total *t = mem_alloc(sizeof *t);
    struct out_block *hole = reply_array_deferred(c);
    size_t n = 0;
    for (unsigned id = 0; c->argc == 2 && id < commands_count(c->x); id++) {
        const struct cmd_ref *ref = command_by_id(c->x, id);
        n += ref->parent == NULL ? histogram_of(c, ref, t) : 0;
    }
    for (unsigned i = 2; i < c->argc; i++) {
        const struct cmd_ref *ref = ref_by_name(c->x, c->argv[i]);
        n += ref != NULL ? histogram_of(c, ref, t) : 0;
    }
    reply_map_fill(c, hole, n);
    mem_free(t);
}

static void cmd_latency_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        ("    Return a cumulative distribution of latencies in the format of a histogram for the "
         "specified command names."),
        "    If no commands are specified then all histograms are replied.",
        NULL,
    };
    reply_help(c, lines);
}

#define LATENCY_FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define LATENCY_TIPS  "nondeterministic_output,request_policy:all_nodes,response_policy:special"
static const struct command latency_sub[] = {
    { .name = "doctor",
      .proc = cmd_latency_doctor,
      .arity = 2,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Return a human readable latency analysis report.",
      .tips = LATENCY_TIPS },
    { .name = "graph",
      .proc = cmd_latency_graph,
      .arity = 3,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Return a latency graph for the event.",
      .syntax = "event",
      .tips = LATENCY_TIPS },
    { .name = "histogram",
      .proc = cmd_latency_histogram,
      .arity = -2,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "7.0.0",
      .complexity = "O(N) where N is the number of commands with latency information being "
                    "retrieved.",
      .summary = "Return the cumulative distribution of latencies of a subset of commands or all.",
      .syntax = "[command]...",
      .tips = LATENCY_TIPS },
    { .name = "history",
      .proc = cmd_latency_history,
      .arity = 3,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Return timestamp-latency samples for the event.",
      .syntax = "event",
      .tips = LATENCY_TIPS },
    { .name = "latest",
      .proc = cmd_latency_latest,
      .arity = 2,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Return the latest latency samples for all events.",
      .tips = LATENCY_TIPS },
    { .name = "reset",
      .proc = cmd_latency_reset,
      .arity = -2,
      .flags = LATENCY_FLAGS,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Reset latency data for one or more events.",
      .syntax = "[event]...",
      .tips = "request_policy:all_nodes,response_policy:all_succeeded" },
    { .name = "help",
      .proc = cmd_latency_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      .group = "server",
      .since = "2.8.13",
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands." },
    { .name = NULL },
};
const struct command latency_commands[] = {
    { .name = "latency",
      .arity = -2,
      .sub = latency_sub,
      .group = "server",
      .since = "2.8.13",
      .complexity = "Depends on subcommand.",
      .summary = "A container for latency diagnostics commands" },
    { .name = NULL },
};
