/* hotkeys.c -- HOTKEYS: which keys cost most processor time and network bytes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      The form is that of Redis 8.6. Each worker has sketches of its own, which HOTKEYS GET
 *          adds up: a key's time is known when its shard's lock is gone, and a worker's sketch
 * needs no lock. Without a session a command pays for one comparison. WHAT     Microseconds of
 * execution and bytes of the request and its reply, in equal parts for each key of a command; what
 * a script calls counts for the keys it calls it with. With SAMPLE one command in so many is
 * counted, for what it cost itself. THREADS  Sessions begin, end and are read in exclusive
 * sections. In between each worker writes its part; whoever first sees that the time is up ends the
 * session. */
#include "exec/commandlog.h"
#include "base/rng.h"
#include "ds/topk.h"
#include <sys/resource.h>

#define COUNT_DEFAULT 10
#define COUNT_MAX     64
#define COUNTERS      1024 /* per sketch: what has 1/1024 of all is surely in it */
#define SECONDS_MAX   1000000

enum hot_metric { METRIC_CPU, METRIC_NET, METRICS };

struct hotkeys_part { /* of one worker */
    struct hotkeys *of;
    struct topk *by[METRICS];    /* in ticks, in bytes; NULL: not asked for */
    uint64_t all_ticks, all_net; /* of all commands */
    bool starting;               /* HOTKEYS START itself has not ended yet */
};
struct usage {
    int64_t user_ms, sys_ms;
    uint64_t net;
};
struct hotkeys {
    unsigned count, sample;
    int64_t start_ms, start_us; /* unix; monotonic */
    int64_t until_us;           /* INT64_MAX: STOP ends it */
    struct usage at_start;
    _Atomic bool ended;
    int64_t end_us; /* from here on: once it has ended */
    struct usage at_end;
    unsigned nparts;
    struct hotkeys_part part[];
};

/* ---- Counting ---- */

static struct usage usage_now(struct exec *x)
{
    struct rusage r;
    struct net_stats net = { 0 };
    getrusage(RUSAGE_SELF, &r);
    if (x->net != NULL) {
        net_stats(x->net, &net);
    }
    return (struct usage){ .user_ms = r.ru_utime.tv_sec * 1000 + r.ru_utime.tv_usec / 1000,
                           .sys_ms = r.ru_stime.tv_sec * 1000 + r.ru_stime.tv_usec / 1000,
                           .net = net.in_bytes + net.out_bytes };
}

static void end_at(struct exec *x, struct hotkeys *h, int64_t us)
{
    if (!atomic_exchange_explicit(&h->ended, true, memory_order_relaxed)) {
        h->end_us = us;
        h->at_end = usage_now(x);
    }
}

/* Its time may be up without anybody having seen that. */
static bool is_active(struct exec *x, struct hotkeys *h)
{
    if (h->until_us != INT64_MAX && clock_mono_us() >= h->until_us) {
        end_at(x, h, h->until_us);
    }
    return !atomic_load_explicit(&h->ended, memory_order_relaxed);
}

/* What a script calls does not come and go by the network. */
static uint64_t net_bytes(const struct call *c)
{
    if (c->flags & CALL_SCRIPT) {
        return 0;
    }
    uint64_t bytes = c->in->raw.n != 0 ? c->in->raw.n : call_request_bytes(c);
    if (c->in->reply_from != 0 && !(c->cmd->flags & CMD_OWN_MONITOR)) { /* EXEC: others' replies */
        bytes += out_size(c->out) + 1 - c->in->reply_from;
    }
    return bytes;
}

void hotkeys_note(struct call *c, uint64_t ticks)
{
    struct worker *w = c->in->w;
    struct hotkeys_part *p = w->hotkeys;
    if (!is_active(c->x, p->of)) {
        w->hotkeys = NULL;
        return;
    }
    if (p->starting) {
        p->starting = false;
        return;
    }
    uint64_t cost[METRICS] = { ticks, net_bytes(c) };
    p->all_ticks += cost[METRIC_CPU];
    p->all_net += cost[METRIC_NET];
    if (c->nkeys == 0 || (p->of->sample > 1 && rng_below(p->of->sample) != 0)) {
        return;
    }
    for (unsigned m = 0; m < METRICS; m++) {
        for (unsigned i = 0; i < c->nkeys && p->by[m] != NULL; i++) {
            topk_add(p->by[m], c->keys[i].hash, c->keys[i].s, cost[m] / c->nkeys);
        }
    }
}

/* ---- HOTKEYS START ---- */

struct hot_request {
    bool metric[METRICS];
    int64_t count, seconds, sample;
};

/* METRICS n names; *i is behind them. Names of later versions are passed over. */
static bool metrics_arg(struct call *c, unsigned *i, struct hot_request *r)
{
    static const char *const names[METRICS] = { "cpu", "net" };
    static const char *const twice[METRICS] = { "ERR METRICS CPU defined more than once!",
                                                "ERR METRICS NET defined more than once!" };
    int64_t n;
    if (c->argc < 4 || !arg_is(c, 2, "metrics")) {
        reply_error(c, "ERR METRICS parameter is required");
        return false;
    }
    if (!arg_i64_range(c, 3, 1, METRICS, &n, "ERR METRICS count must be > 0 and <= 2")) {
        return false;
    }
    if ((int64_t)c->argc - 4 < n) {
        reply_error(c, "ERR METRICS count does not match number of metric types provided");
        return false;
    }
    for (*i = 4; *i < 4 + (unsigned)n; ++*i) {
        for (unsigned m = 0; m < METRICS; m++) {
            if (arg_is(c, *i, names[m])) {
                if (r->metric[m]) {
                    reply_error(c, twice[m]);
                    return false;
                }
                r->metric[m] = true;
            }
        }
    }
    if (!r->metric[METRIC_CPU] && !r->metric[METRIC_NET]) {
        reply_error(c, "ERR METRICS no valid metrics passed. Supported: CPU|NET");
        return false;
    }
    return true;
}

static bool request_args(struct call *c, struct hot_request *r)
{
    static const struct {
        const char *name;
        int64_t max;
        const char *error;
    } option[] = {
        { "count", COUNT_MAX, "ERR COUNT must be between 1 and 64" },
        { "duration", SECONDS_MAX, "ERR DURATION must be between 1 and 1000000" },
        { "sample", INT32_MAX, "ERR SAMPLE ratio must be positive" },
    };
    int64_t *const to[] = { &r->count, &r->seconds, &r->sample };
    unsigned i;
    if (!metrics_arg(c, &i, r)) {
        return false;
    }
    for (; i < c->argc; i += 2) {
        unsigned k = 0;
        while (k < countof(option) && !(i + 1 < c->argc && arg_is(c, i, option[k].name))) {
            k++;
        }
        if (k < countof(option)) {
            if (!arg_i64_range(c, i + 1, 1, option[k].max, to[k], option[k].error)) {
                return false;
            }
        } else {
            if (arg_is(c, i, "slots") && i + 1 < c->argc) {
                reply_error(c, "ERR SLOTS parameter cannot be used in non-cluster mode");
            } else {
                reply_syntax(c);
            }
            return false;
        }
    }
    return true;
}

void hotkeys_free(struct exec *x)
{
    struct hotkeys *h = x->hotkeys;
    for (unsigned i = 0; h != NULL && i < h->nparts; i++) {
        for (unsigned m = 0; m < METRICS; m++) {
            topk_free(h->part[i].by[m]);
        }
        x->workers[i].hotkeys = NULL;
    }
    mem_free(h);
    x->hotkeys = NULL;
}

static void begin(struct call *c, const struct hot_request *r)
{
    struct exec *x = c->x;
    hotkeys_free(x);
    struct hotkeys *h = mem_calloc(sizeof *h + x->nworkers * sizeof h->part[0]);
    h->count = (unsigned)r->count;
    h->sample = (unsigned)r->sample;
    h->nparts = x->nworkers;
    h->start_ms = clock_wall_ms();
    h->start_us = clock_mono_us();
    h->until_us = r->seconds > 0 ? h->start_us + r->seconds * 1000000 : INT64_MAX;
    h->at_start = usage_now(x);
    for (unsigned i = 0; i < h->nparts; i++) {
        h->part[i].of = h;
        for (unsigned m = 0; m < METRICS; m++) {
            h->part[i].by[m] = r->metric[m] ? topk_new(COUNTERS) : NULL;
        }
        x->workers[i].hotkeys = &h->part[i];
    }
    c->in->w->hotkeys->starting = true;
    x->hotkeys = h;
}

static void cmd_hotkeys_start(struct call *c)
{
    struct hot_request r = { .count = COUNT_DEFAULT, .sample = 1 };
    if (c->x->hotkeys != NULL && is_active(c->x, c->x->hotkeys)) {
        reply_error(c, "ERR hotkey tracking session already in progress");
    } else if (request_args(c, &r)) {
        begin(c, &r);
        reply_ok(c);
    }
}

/* ---- The others ---- */

static void cmd_hotkeys_stop(struct call *c)
{
    struct hotkeys *h = c->x->hotkeys;
    if (h == NULL || !is_active(c->x, h)) {
        reply_null(c);
        return;
    }
    end_at(c->x, h, clock_mono_us());
    reply_ok(c);
}

static void cmd_hotkeys_reset(struct call *c)
{
    if (c->x->hotkeys != NULL && is_active(c->x, c->x->hotkeys)) {
        reply_error(c, "ERR hotkey tracking session in progress, stop tracking first");
        return;
    }
    hotkeys_free(c->x);
    reply_ok(c);
}

static int64_t ticks_to_us(uint64_t ticks)
{
    return (int64_t)(clock_ticks_to_ns(ticks) / 1000);
}

static void reply_best(struct call *c, const struct hotkeys *h, enum hot_metric m)
{
    struct topk **parts = mem_alloc(h->nparts * sizeof *parts);
    for (unsigned i = 0; i < h->nparts; i++) {
        parts[i] = h->part[i].by[m];
    }
    struct topk *all = topk_merge(parts, h->nparts);
    struct topk_item best[COUNT_MAX];
    unsigned n = topk_best(all, best, h->count);
    reply_array(c, 2 * (size_t)n);
    for (unsigned i = 0; i < n; i++) {
        reply_bulk(c, best[i].key);
        reply_int(c, m == METRIC_CPU ? ticks_to_us(best[i].weight) : (int64_t)best[i].weight);
    }
    topk_free(all);
    mem_free(parts);
}

static void reply_field(struct call *c, const char *name, int64_t v)
{
    reply_bulk_str(c, name);
    reply_int(c, v);
}

/* CONFIG RESETSTAT may have begun anew. */
static int64_t since(uint64_t start, uint64_t end)
{
    return (int64_t)(end >= start ? end - start : end);
}

static void reply_session(struct call *c, struct hotkeys *h)
{
    bool active = is_active(c->x, h);
    bool cpu = h->part[0].by[METRIC_CPU] != NULL, net = h->part[0].by[METRIC_NET] != NULL;
    struct usage end = active ? usage_now(c->x) : h->at_end;
    uint64_t all_ticks = 0, all_net = 0;
    for (unsigned i = 0; i < h->nparts; i++) {
        all_ticks += h->part[i].all_ticks;
        all_net += h->part[i].all_net;
    }
    reply_map(c, 7 + (cpu ? 3 : 0) + (net ? 2 : 0));
    reply_field(c, "tracking-active", active);
    reply_field(c, "sample-ratio", h->sample);
    reply_bulk_str(c, "selected-slots");
    reply_array(c, 1);
    reply_array(c, 2);
    reply_int(c, 0);
    reply_int(c, 16383);
    reply_field(c, "all-commands-all-slots-us", ticks_to_us(all_ticks));
    reply_field(c, "net-bytes-all-commands-all-slots", (int64_t)all_net);
    reply_field(c, "collection-start-time-unix-ms", h->start_ms);
    reply_field(c, "collection-duration-ms",
                ((active ? clock_mono_us() : h->end_us) - h->start_us) / 1000);
    if (cpu) {
        reply_field(c, "total-cpu-time-user-ms", end.user_ms - h->at_start.user_ms);
        reply_field(c, "total-cpu-time-sys-ms", end.sys_ms - h->at_start.sys_ms);
    }
    if (net) {
        reply_field(c, "total-net-bytes", since(h->at_start.net, end.net));
    }
    if (cpu) {
        reply_bulk_str(c, "by-cpu-time-us");
        reply_best(c, h, METRIC_CPU);
    }
    if (net) {
        reply_bulk_str(c, "by-net-bytes");
        reply_best(c, h, METRIC_NET);
    }
}

static void cmd_hotkeys_get(struct call *c)
{
    if (c->x->hotkeys == NULL) {
        reply_null(c);
        return;
    }
    reply_array(c, 1);
    reply_session(c, c->x->hotkeys);
    if (!log_is_full(c->x)) { /* as INFO: it tells names of keys, and what they cost */
        call_gate_all(c);
    }
}

static void cmd_hotkeys_help(struct call *c)
{
    static const char *const lines[] = {
        "GET",
        "    Return what the session has found so far, or found: the keys that cost most.",
        "RESET",
        "    Forget the session; it must have been stopped.",
        "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
        "    Begin a session that follows the <k> (default 10) keys that cost most processor",
        "    time, or most network bytes, in one of <ratio> (default 1) commands.",
        "STOP",
        "    End the session; GET goes on to show what it found.",
        NULL,
    };
    reply_help(c, lines);
}

#define HOTKEYS_ROW .group = "server", .since = "8.6.0"
#define SESSION_ROW .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_EXCLUSIVE, HOTKEYS_ROW
static const struct command hotkeys_sub[] = {
    { .name = "get",
      .proc = cmd_hotkeys_get,
      .arity = 2,
      SESSION_ROW,
      .complexity = "O(K) where K is the number of hotkeys returned.",
      .summary = "Returns lists of top K hotkeys depending on metrics chosen in HOTKEYS START "
                 "command." },
    { .name = "help",
      .proc = cmd_hotkeys_help,
      .arity = 2,
      .flags = CMD_LOADING | CMD_STALE,
      HOTKEYS_ROW,
      .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { .name = "reset",
      .proc = cmd_hotkeys_reset,
      .arity = 2,
      SESSION_ROW,
      .complexity = "O(1)",
      .summary = "Release the resources used for hotkey tracking." },
    { .name = "start",
      .proc = cmd_hotkeys_start,
      .arity = -2,
      SESSION_ROW,
      .complexity = "O(1)",
      .summary = "Starts hotkeys tracking.",
      .syntax = "METRICS metrics=<count:int [CPU] [NET]> [COUNT k:int] [DURATION seconds:int] "
                "[SAMPLE ratio:int] [SLOTS slots=<count:int slot:int...>]" },
    { .name = "stop",
      .proc = cmd_hotkeys_stop,
      .arity = 2,
      SESSION_ROW,
      .complexity = "O(1)",
      .summary = "Stops hotkeys tracking." },
    { .name = NULL },
};
const struct command hotkeys_commands[] = {
    { .name = "hotkeys",
      .arity = -2,
      .sub = hotkeys_sub,
      HOTKEYS_ROW,
      .complexity = "Depends on subcommand.",
      .summary = "A container for hotkeys tracking commands." },
    { .name = NULL },
};
