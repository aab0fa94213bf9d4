/* test_observe.c -- What the engine tells about itself: latency events and histograms, the slow
 * log, the sums of the workers' counters. SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include "exec/latency.h"
#include "base/mem.h"
#include <stdio.h>

/* ---- Latency ---- */

START_TEST(test_events)
{
    struct exec *x = engine_new(NULL);
    struct latency_history h;
    latency_note(x, LATENCY_COMMAND, 1000000); /* the monitor is off */
    ck_assert(!latency_history(x, LATENCY_COMMAND, &h));
    atomic_store(&x->opt.latency_threshold, 10);
    latency_note(x, LATENCY_COMMAND, 9999);
    ck_assert(!latency_history(x, LATENCY_COMMAND, &h));
    latency_note(x, LATENCY_COMMAND, 10000);
    latency_note(x, LATENCY_COMMAND, 30999);
    latency_note(x, LATENCY_COMMAND, 20000);
    ck_assert(latency_history(x, LATENCY_COMMAND, &h));
    ck_assert_int_eq(h.max_ms, 30);
    ck_assert(h.n >= 1 && h.n <= 3); /* one per second, the worst of it */
    int64_t worst = 0;
    for (unsigned i = 0; i < h.n; i++) {
        worst = h.sample[i].ms > worst ? h.sample[i].ms : worst;
    }
    ck_assert_int_eq(worst, 30);
    ck_assert(!latency_history(x, LATENCY_FSYNC, &h));
    ck_assert(!latency_forget(x, LATENCY_FSYNC));
    ck_assert(latency_forget(x, LATENCY_COMMAND));
    ck_assert(!latency_history(x, LATENCY_COMMAND, &h));
    engine_free(x);
}
END_TEST

START_TEST(test_event_names)
{
    for (int e = 0; e < LATENCY_EVENTS; e++) {
        ck_assert_int_eq(latency_event_find(slice_str(latency_event_name(e))), e);
    }
    ck_assert_int_eq(latency_event_find(S("no-such-event")), -1);
}
END_TEST

/* Each number of ticks counts in a step that ends at it or at most 1/32 above. */
START_TEST(test_histogram_steps)
{
    struct exec *x = engine_new(NULL);
    struct latency_total *t = mem_alloc(sizeof *t);
    struct cmd_stat *st = &x->workers[0].stats[0];
    unsigned last = 0;
    for (uint64_t ticks = 1; ticks < (uint64_t)1 << 33; ticks += ticks / 7 + 1) {
        latency_count(st, ticks);
        ck_assert(latency_sum(x, 0, t));
        ck_assert_uint_eq(t->calls, 1);
        unsigned step = 0;
        while (t->count[step] == 0) {
            step++;
        }
        ck_assert_uint_ge(step, last);
        last = step;
        ck_assert_uint_ge(latency_step_ns(step), clock_ticks_to_ns(ticks));
        ck_assert_uint_le(latency_step_ns(step), clock_ticks_to_ns(ticks + ticks / 32 + 1));
        latency_reset_histogram(st);
        ck_assert(!latency_sum(x, 0, t));
    }
    latency_count(st, UINT64_MAX);
    ck_assert(latency_sum(x, 0, t));
    ck_assert_uint_eq(t->count[LATENCY_STEPS - 1], 1);
    mem_free(t);
    engine_free(x);
}
END_TEST

struct text {
    char name[64], line[256];
    unsigned lines;
};

static void keep_line(void *arg, const char *name, struct slice text)
{
    struct text *t = arg;
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->line, sizeof t->line, "%.*s", (int)text.n, text.p);
    t->lines++;
}

/* All workers' calls together: 90 fast ones here, 10 slow ones there. */
START_TEST(test_percentiles)
{
    struct exec *x = engine_new(NULL);
    unsigned id = 3;
    for (unsigned i = 0; i < 100; i++) {
        latency_count(&x->workers[i < 90 ? 0 : 1].stats[id], i < 90 ? 10 : 31);
    }
    x->opt.latency_percentiles = 3;
    x->opt.latency_percentile[0] = 50;
    x->opt.latency_percentile[1] = 90;
    x->opt.latency_percentile[2] = 99.9;
    struct text t = { .lines = 0 };
    exec_latencystats(x, keep_line, &t);
    ck_assert_uint_eq(t.lines, 1);
    ck_assert_str_eq(t.name, command_by_id(x, id)->full);
    char expected[256];
    double fast = (double)latency_step_ns(10) / 1000, slow = (double)latency_step_ns(31) / 1000;
    snprintf(expected, sizeof expected, "p50=%.3f,p90=%.3f,p99.9=%.3f", fast, fast, slow);
    ck_assert_str_eq(t.line, expected);
    engine_free(x);
}
END_TEST

/* ---- Slow log ---- */

static void ask_named(struct exec *x, const char *name, const char *sub, const char *arg,
                      struct buf *reply)
{
    const struct slice argv[] = { slice_str(name), slice_str(sub),
                                  slice_str(arg != NULL ? arg : "") };
    struct out out = { 0 };
    struct call_int in = { .t = &x->workers[0].txn, .w = &x->workers[0] };
    struct call c = { .argv = argv,
                      .argc = arg != NULL ? 3 : 2,
                      .resp = 2,
                      .x = x,
                      .ks = x->ks,
                      .out = &out,
                      .in = &in };
    in.ref = command_lookup(x, argv, 2);
    c.cmd = in.ref->row;
    c.cmd->proc(&c);
    reply->n = 0;
    out_copy_to(&out, reply);
    buf_add_char(reply, '\0');
    out_clear(&out);
}

static void ask(struct exec *x, const char *sub, const char *arg, struct buf *reply)
{
    ask_named(x, "slowlog", sub, arg, reply);
}

static void ask_log(struct exec *x, const char *sub, const char *arg, struct buf *reply)
{
    ask_named(x, "commandlog", sub, arg, reply);
}

/* A call that took so long; its argument number `secret` (0: none) is redacted. */
static void note_secret(struct exec *x, const struct slice *argv, unsigned argc, uint32_t flags,
                        uint64_t ticks, unsigned secret)
{
    const struct command row = { .name = "x", .flags = flags };
    struct call_int in = { .t = &x->workers[0].txn, .w = &x->workers[0] };
    struct call c = { .cmd = &row, .argv = argv, .argc = argc, .now_ms = 5000, .x = x, .in = &in };
    if (secret != 0) {
        call_redact(&c, secret);
    }
    slowlog_note(&c, ticks);
}

static void note(struct exec *x, const struct slice *argv, unsigned argc, uint32_t flags,
                 uint64_t ticks)
{
    note_secret(x, argv, argc, flags, ticks, 0);
}

START_TEST(test_slowlog)
{
    struct exec *x = engine_new(NULL);
    struct buf reply = { 0 };
    const struct slice argv[] = { S("name"), S("arg") };
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_SLOW], INT64_C(1000000));
    atomic_store(&x->opt.commandlog_max_len[COMMANDLOG_SLOW], 2);
    note(x, argv, 2, 0, 1); /* too fast */
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_SLOW], -1);
    note(x, argv, 2, 0, 1); /* off */
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_SLOW], 0);
    note(x, argv, 2, CMD_SKIP_SLOWLOG, 1);
    ask(x, "len", NULL, &reply);
    ck_assert_str_eq(reply.p, ":0\r\n");
    for (unsigned i = 1; i <= 2; i++) {
        note(x, argv, i, 0, 0);
    }
    ask(x, "get", NULL, &reply); /* the newest first */
    ck_assert_str_eq(reply.p,
                     "*2\r\n"
                     "*6\r\n:1\r\n:5\r\n:0\r\n*2\r\n$4\r\nname\r\n$3\r\narg\r\n$0\r\n\r\n$0\r\n\r\n"
                     "*6\r\n:0\r\n:5\r\n:0\r\n*1\r\n$4\r\nname\r\n$0\r\n\r\n$0\r\n\r\n");
    note(x, argv, 2, 0, 0); /* the oldest goes */
    ask(x, "len", NULL, &reply);
    ck_assert_str_eq(reply.p, ":2\r\n");
    ask(x, "get", "1", &reply);
    ck_assert_int_eq(strncmp(reply.p, "*1\r\n*6\r\n:2\r\n", 12), 0);
    ask(x, "get", "-1", &reply);
    ck_assert_int_eq(strncmp(reply.p, "*2\r\n*6\r\n:2\r\n", 12), 0);
    ask(x, "reset", NULL, &reply);
    ask(x, "len", NULL, &reply);
    ck_assert_str_eq(reply.p, ":0\r\n");
    atomic_store(&x->opt.commandlog_max_len[COMMANDLOG_SLOW], 0);
    note(x, argv, 2, 0, 0);
    ask(x, "len", NULL, &reply);
    ck_assert_str_eq(reply.p, ":0\r\n");
    buf_free(&reply);
    engine_free(x);
}
END_TEST

/* 32 arguments and 128 bytes of each are kept, the rest is counted. */
START_TEST(test_slow_limits)
{
    struct exec *x = engine_new(NULL);
    uint64_t second = worker_slow_ticks(x, 1000000);
    ck_assert_uint_gt(second, 0);
    ck_assert_uint_lt(second, UINT64_MAX);
    ck_assert_uint_gt(worker_slow_ticks(x, 100000000000), 90000 * second);
    ck_assert_uint_eq(worker_slow_ticks(x, INT64_MAX), UINT64_MAX); /* no small remainder of it */
    ck_assert_uint_eq(worker_slow_ticks(x, -1), UINT64_MAX);
    engine_free(x);
}
END_TEST

START_TEST(test_slowlog_cuts)
{
    struct exec *x = engine_new(NULL);
    struct buf reply = { 0 };
    char big[131];
    memset(big, 'b', sizeof big);
    struct slice argv[33];
    for (unsigned i = 0; i < 33; i++) {
        argv[i] = S("a");
    }
    argv[0] = slice_of(big, 128);
    argv[1] = slice_of(big, 130);
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_SLOW], 0);
    atomic_store(&x->opt.commandlog_max_len[COMMANDLOG_SLOW], 10);
    note(x, argv, 32, 0, 0);
    ask(x, "get", NULL, &reply);
    ck_assert_ptr_nonnull(strstr(reply.p, "*32\r\n$128\r\n"));
    ck_assert_ptr_nonnull(strstr(reply.p, "bb... (2 more bytes)\r\n"));
    ck_assert_ptr_null(strstr(reply.p, "more arguments"));
    note(x, argv, 33, 0, 0);
    ask(x, "get", "1", &reply);
    ck_assert_ptr_nonnull(strstr(reply.p, "*32\r\n"));
    ck_assert_ptr_nonnull(strstr(reply.p, "... (2 more arguments)\r\n"));
    buf_free(&reply);
    engine_free(x);
}
END_TEST

START_TEST(test_slowlog_secrets)
{
    struct exec *x = engine_new(NULL);
    struct buf reply = { 0 };
    const struct slice argv[] = { S("auth"), S("user"), S("secret") };
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_SLOW], 0);
    atomic_store(&x->opt.commandlog_max_len[COMMANDLOG_SLOW], 10);
    note_secret(x, argv, 3, 0, 0, 2);
    ask(x, "get", NULL, &reply);
    ck_assert_ptr_nonnull(strstr(reply.p, "user\r\n$10\r\n(redacted)\r\n"));
    ck_assert_ptr_null(strstr(reply.p, "secret"));
    buf_free(&reply);
    engine_free(x);
}
END_TEST

/* What is not below the limits, by the bytes of the protocol. */
START_TEST(test_commandlog_sizes)
{
    struct exec *x = engine_new(NULL);
    const struct command row = { .name = "x" };
    const struct slice argv[] = { S("name"), S("0123456789") };
    struct out out = { 0 };
    struct call_int in = { .t = &x->workers[0].txn, .w = &x->workers[0], .reply_from = 1 };
    struct call c = {
        .cmd = &row, .argv = argv, .argc = 2, .now_ms = 5000, .x = x, .in = &in, .out = &out
    };
    struct {
        int64_t request, reply;
        const char *requests, *replies;
    } cases[] = {
        { 32, 9, ":0\r\n", ":0\r\n" }, /* *2 $4 name $10 0123456789: 31 bytes; 8 */
        { 31, 8, ":1\r\n", ":1\r\n" },
        { -1, 0, ":1\r\n", ":2\r\n" },
        { 0, -1, ":2\r\n", ":2\r\n" },
    };
    struct buf reply = { 0 };
    out_add(&out, "+8bytes\n", 8);
    for (unsigned k = 0; k < COMMANDLOG_KINDS; k++) {
        atomic_store(&x->opt.commandlog_max_len[k], 10);
    }
    for (unsigned i = 0; i < countof(cases); i++) {
        atomic_store(&x->opt.commandlog_limit[COMMANDLOG_LARGE_REQUEST], cases[i].request);
        atomic_store(&x->opt.commandlog_limit[COMMANDLOG_LARGE_REPLY], cases[i].reply);
        commandlog_note_sizes(&c);
        ask_log(x, "len", "large-request", &reply);
        ck_assert_str_eq(reply.p, cases[i].requests);
        ask_log(x, "len", "large-reply", &reply);
        ck_assert_str_eq(reply.p, cases[i].replies);
    }
    ask_log(x, "len", "slow", &reply);
    ck_assert_str_eq(reply.p, ":0\r\n");
    in.reply_from = 0; /* of a script's command: it has none of its own */
    atomic_store(&x->opt.commandlog_limit[COMMANDLOG_LARGE_REPLY], 0);
    commandlog_note_sizes(&c);
    ask_log(x, "len", "large-reply", &reply);
    ck_assert_str_eq(reply.p, ":2\r\n");
    out_clear(&out);
    buf_free(&reply);
    engine_free(x);
}
END_TEST

/* ---- Sums ---- */

static void sum_calls(void *arg, const char *name, uint64_t calls, uint64_t usec, uint64_t rejected,
                      uint64_t failed)
{
    uint64_t *sum = arg;
    (void)name;
    sum[0] += calls;
    sum[1] += usec;
    sum[2] += rejected;
    sum[3] += failed;
}

START_TEST(test_stats)
{
    struct exec *x = engine_new(NULL);
    ck_assert_uint_eq(exec_reactors(x), EXEC_REACTORS);
    for (unsigned i = 0; i < x->nworkers; i++) {
        struct worker *w = &x->workers[i];
        counter_t *const all[] = { &w->commands, &w->hits,         &w->misses,    &w->expired,
                                   &w->evicted,  &w->errors_total, &w->unblocked, &w->clients_mem };
        for (unsigned k = 0; k < countof(all); k++) {
            counter_add(all[k], (k + 1) * 100 + i);
        }
        counter_add(&w->clients_in_max, 10 - i);
        counter_add(&w->clients_out_max, 20 + i);
        stat_count(w, 1, 1000000, i == 0);
        counter_add(&w->stats[1].rejected, 1);
    }
    atomic_store(&x->evicted_clients, 9);
    struct exec_stats s;
    exec_stats(x, &s);
    const uint64_t sums[] = { s.commands, s.hits,   s.misses,    s.expired,
                              s.evicted,  s.errors, s.unblocked, s.clients_mem };
    for (unsigned k = 0; k < countof(sums); k++) {
        ck_assert_uint_eq(sums[k], (k + 1) * 300 + 3);
    }
    ck_assert_uint_eq(s.clients_in_max, 10);
    ck_assert_uint_eq(s.clients_out_max, 22);
    ck_assert_uint_eq(s.evicted_clients, 9);
    ck_assert_uint_eq(s.clients, 0);
    uint64_t sum[4] = { 0 };
    exec_commandstats(x, sum_calls, sum);
    ck_assert_uint_eq(sum[0], 3);
    ck_assert_uint_eq(sum[1], clock_ticks_to_ns(3000000) / 1000);
    ck_assert_uint_eq(sum[2], 3);
    ck_assert_uint_eq(sum[3], 1);
    exec_stats_reset(x);
    exec_stats(x, &s);
    ck_assert_uint_eq(
        s.commands + s.hits + s.misses + s.expired + s.evicted + s.errors + s.unblocked, 0);
    ck_assert_uint_eq(s.evicted_clients, 0);
    ck_assert_uint_eq(s.clients_mem, 8 * 300 + 3); /* no count of events: it stays */
    memset(sum, 0, sizeof sum);
    exec_commandstats(x, sum_calls, sum);
    ck_assert_uint_eq(sum[0] + sum[1] + sum[2] + sum[3], 0);
    engine_free(x);
}
END_TEST

struct errors {
    char text[256];
};

static void keep_error(void *arg, const char *code, uint64_t count)
{
    struct errors *e = arg;
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, "%s=%llu ", code, (unsigned long long)count);
}

/* The first word of each error reply, of all workers together, sorted. */
START_TEST(test_errorstats)
{
    struct exec *x = engine_new(NULL);
    struct errors e = { "" };
    for (unsigned i = 0; i < 3; i++) {
        struct worker *w = &x->workers[i % 2];
        struct out out = { 0 };
        struct call_int in = { .t = &w->txn, .w = w };
        struct call c = { .resp = 2, .x = x, .ks = x->ks, .out = &out, .in = &in };
        if (i > 0) {
            reply_error(&c, "BUSYKEY is taken");
        } else {
            reply_errorf(&c, "ERR number %u", i);
        }
        ck_assert(in.error);
        out_clear(&out);
    }
    exec_errorstats(x, keep_error, &e);
    ck_assert_str_eq(e.text, "BUSYKEY=2 ERR=1 ");
    exec_errorstats_reset(x);
    e.text[0] = '\0';
    exec_errorstats(x, keep_error, &e);
    ck_assert_str_eq(e.text, "");
    engine_free(x);
}
END_TEST

START_TEST(test_barriers_are_noted)
{
    struct exec *x = engine_new(NULL);
    struct latency_history h;
    atomic_store(&x->opt.latency_threshold, 10);
    exec_wal_barrier(x, 9999);
    ck_assert(!latency_history(x, LATENCY_FSYNC, &h));
    exec_wal_barrier(x, 25000);
    ck_assert(latency_history(x, LATENCY_FSYNC, &h));
    ck_assert_int_eq(h.max_ms, 25);
    engine_free(x);
}
END_TEST

START_TEST(test_shutdown_request)
{
    struct exec *x = engine_new(NULL);
    ck_assert_int_eq(exec_shutdown_requested(x), -1);
    exec_shutdown_request(x, 5);
    ck_assert_int_eq(exec_shutdown_requested(x), 5);
    ck_assert_ptr_null(exec_current_command()); /* this thread is no reactor */
    engine_free(x);
}
END_TEST

static void be_freed(void *p)
{
    *(int *)p += 1;
}

struct alone {
    struct exec *x;
    int ran;
};

static void run_alone(void *arg)
{
    struct alone *a = arg;
    ck_assert(a->x->workers[a->x->reactors].in_section);
    exec_exclusive(a->x, be_freed, &a->ran); /* inside, it is just called */
    a->ran++;
}

START_TEST(test_exclusive_and_retire)
{
    struct exec *x = engine_new(NULL);
    struct alone a = { x, 0 };
    int freed = 0;
    exec_retire(x, &freed, be_freed); /* nobody sweeps beside this thread */
    ck_assert_int_eq(freed, 1);
    exec_exclusive(x, run_alone, &a);
    ck_assert_int_eq(a.ran, 2);
    ck_assert(!x->workers[x->reactors].in_section);
    engine_free(x);
}
END_TEST

/* What a worker of a replay retires is freed when no other one and no reactor can look at it. */
START_TEST(test_retire_in_a_replay)
{
    struct exec *x = engine_new(NULL);
    struct worker *w = mem_aligned(64, 2 * sizeof *w), *reactor = &x->workers[0];
    memset(w, 0, 2 * sizeof *w);
    int freed = 0;
    for (unsigned i = 0; i < 2; i++) {
        w[i].x = x;
        replay_join(&w[i]);
    }
    replay_here(&w[0]);
    worker_wake(reactor);
    exec_retire(x, &freed, be_freed);
    worker_quiesce(&w[0]);
    ck_assert_int_eq(freed, 0);
    worker_quiesce(&w[1]);
    worker_quiesce(&w[0]);
    ck_assert_int_eq(freed, 0); /* the reactor may look */
    worker_sleep(reactor);
    worker_quiesce(&w[0]);
    ck_assert_int_eq(freed, 1);
    exec_retire(x, &freed, be_freed);
    worker_quiesce(&w[0]); /* the other one may look, until it has ended */
    ck_assert_int_eq(freed, 1);
    replay_here(NULL);
    replay_left(x);
    ck_assert_int_eq(freed, 2);
    mem_free(w);
    engine_free(x);
}
END_TEST

START_TEST(test_load_progress)
{
    struct exec *x = engine_new(NULL);
    struct load_progress p;
    exec_load_progress(x, &p);
    ck_assert(!p.loading && p.done == 0 && p.total == 0 && p.eta_s == 1);
    exec_set_loading(x, true);
    atomic_store(&x->load_done, 100);
    atomic_store(&x->load_total, 400);
    atomic_store(&x->load_start_ms, clock_mono_ms() - 1000000);
    exec_load_progress(x, &p);
    ck_assert(p.loading && p.done == 100 && p.total == 400);
    ck_assert(p.eta_s >= 3001 && p.eta_s < 4000); /* three times what it took so far */
    engine_free(x);
}
END_TEST

UNIT_SUITE(exec_observe)
{
    unit_case(suite, "latency", test_events, test_event_names, test_histogram_steps,
              test_percentiles);
    unit_case(suite, "slow log", test_slowlog, test_slow_limits, test_slowlog_cuts,
              test_slowlog_secrets, test_commandlog_sizes);
    unit_case(suite, "sums", test_stats, test_errorstats, test_load_progress);
    unit_case(suite, "engine", test_barriers_are_noted, test_shutdown_request,
              test_exclusive_and_retire, test_retire_in_a_replay);
}
