/* order.c -- What clients of one server see is strictly serializable, also over kills.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "order_load.h"
#include "request.h"
#include "unit.h"
#include "base/clock.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS    8
#define SHORT_MS   6000
#define LONG_MS    60000
#define SHORT_RUNS 2
#define LONG_RUNS  20
#define BETWEEN_MS 1500 /* from one kill to the next, on average */

static void start_kv(struct server *kv, bool slow_writes)
{
    server_env(kv, "KV_FAULTS", slow_writes ? "wal.before_write=delay4:0:0" : "");
    server_start(kv, "--threads", "4");
}

/* Of all runs together. */
struct figures {
    size_t operations;
    unsigned kills;
};

/* Nobody but us ends the server: whatever ended it, and what clients were told before, is a flaw.
 */
static void check_alive(struct server *kv, struct order_load *l)
{
    if (!server_running(kv)) {
        unsigned flaws = order_load_abandon(l);
        char *log = server_log(kv);
        size_t n = strlen(log);
        ck_abort_msg("SEED=%" PRIu64
                     ": the server has ended by itself, after %u wrong replies:\n%s",
                     unit_seed(), flaws, log + (n > 3000 ? n - 3000 : 0));
    }
}

/* One history; ends as a failure when the history has a flaw. */
static void run(unsigned number, int64_t ms, bool kills, struct figures *f)
{
    uint64_t state = unit_seed() + number;
    struct server kv;
    struct order_history h;
    static char report[65536];
    unsigned killed = 0;
    server_init(&kv, SERVER_KV);
    start_kv(&kv, false);
    struct order_load *l = order_load_start(&kv, CLIENTS, state);
    for (int64_t end = clock_mono_ms() + ms; clock_mono_ms() < end;) {
        int64_t left = end - clock_mono_ms();
        int64_t next = BETWEEN_MS / 2 + (int64_t)random_below(&state, BETWEEN_MS);
        usleep((useconds_t)(next < left ? next : left > 0 ? left : 0) * 1000);
        check_alive(&kv, l);
        if (kills) {
            order_load_hold(l);
            server_kill(&kv);
            start_kv(&kv, ++killed % 2 == 1);
            order_load_go_on(l);
        }
    }
    bool good = order_load_stop(l, &h);
    size_t n = h.n;
    enum order_verdict v = order_check(&h, report, sizeof report);
    order_free(&h);
    server_stop(&kv);
    printf("run %u: %zu operations, %u kills: %s\n", number, n, killed, order_name(v));
    ck_assert_msg(v == ORDER_OK, "run %u (SEED=%" PRIu64 "): %s\n%s", number, unit_seed(),
                  order_name(v), report);
    ck_assert(good);
    ck_assert_uint_gt(n, 100);
    f->operations += n;
    f->kills += killed;
}

START_TEST(test_order)
{
    unsigned runs = unit_torture() ? LONG_RUNS : SHORT_RUNS;
    struct figures f = { 0, 0 };
    for (unsigned i = 0; i < runs; i++) {
        run(i, unit_torture() ? LONG_MS : SHORT_MS / 2, i % 2 == 1, &f);
    }
    printf("order: %u runs, %zu operations, %u kills, 0 cycles\n", runs, f.operations, f.kills);
}
END_TEST

UNIT_SUITE(order)
{
    unit_case_slow(suite, "list append", unit_torture() ? 3600 : 300, test_order);
}
