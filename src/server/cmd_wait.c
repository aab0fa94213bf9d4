/* cmd_wait.c -- WAIT and WAITAOF as a primary without replicas.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WAIT     No replica will ever acknowledge: 0 after the timeout, at once when none is asked for.
 * WAITAOF  The local half waits for the barrier behind the client's last write, in every
 * appendfsync mode: everysec waits for the sync of that second, `no` asks for one.
 * Inside MULTI both answer at once what is so now, as in Redis. */
#include "server/server_int.h"

static void reply_wait(struct call *c)
{
    reply_int(c, 0);
}

static void cmd_wait(struct call *c)
{
    int64_t replicas, deadline_ms;
    if (!arg_i64(c, 1, &replicas) || !arg_timeout_ms(c, 2, false, &deadline_ms)) {
        return;
    }
    if (replicas <= 0 || !call_may_block(c)) {
        reply_wait(c);
    } else {
        call_block_until(c, UINT64_MAX, deadline_ms, reply_wait);
    }
}

static bool refused_without_log(struct call *c)
{
    int64_t local;
    if (exec_log_promises(c->x) || (parse_i64(c->argv[1], &local) && local == 0)) {
        return false;
    }
    reply_error(c, "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    return true;
}

static bool is_local_durable(struct call *c)
{
    struct wal *wal = server_of(c)->wal;
    return exec_log_promises(c->x) && wal_durable(wal).v >= session_last_write(c->session);
}

/* At once, and when the wait ends: the log may have been switched off meanwhile. */
static void reply_waitaof(struct call *c)
{
    if (!refused_without_log(c)) {
        reply_array(c, 2);
        reply_int(c, is_local_durable(c));
        reply_int(c, 0);
    }
}

/* Not a number and a number out of range have errors of their own. */
static bool arg_count(struct call *c, unsigned i, int64_t max, const char *range, int64_t *out)
{
    return arg_i64(c, i, out) && arg_i64_range(c, i, 0, max, out, range);
}

static void cmd_waitaof(struct call *c)
{
    int64_t local, replicas, deadline_ms;
    if (!arg_count(c, 1, 1, "ERR value is out of range, value must between 0 and 1", &local) ||
        !arg_count(c, 2, INT64_MAX, "ERR value is out of range, must be positive", &replicas) ||
        !arg_timeout_ms(c, 3, false, &deadline_ms) || refused_without_log(c)) {
        return;
    }
    bool done = replicas == 0 && (local == 0 || is_local_durable(c));
    if (done || !call_may_block(c)) {
        reply_waitaof(c);
    } else {
        call_block_until(c, replicas > 0 ? UINT64_MAX : session_last_write(c->session), deadline_ms,
                         reply_waitaof);
    }
}

const struct command wait_commands[] = {
    { .name = "wait",
      .proc = cmd_wait,
      .arity = 3,
      .flags = CMD_BLOCKING,
      .acl = ACL_CONNECTION,
      .group = "generic",
      .since = "3.0.0",
      .complexity = "O(1)",
      .summary = "Wait for the synchronous replication of all the write commands sent in the "
                 "context of the current connection",
      .syntax = "numreplicas:int timeout:int",
      .tips = "request_policy:all_shards,response_policy:agg_min" },
    { .name = "waitaof",
      .proc = cmd_waitaof,
      .arity = 4,
      .flags = CMD_BLOCKING,
      .acl = ACL_CONNECTION,
      .group = "generic",
      .since = "7.2.0",
      .complexity = "O(1)",
      .summary = "Blocks until all of the preceding write commands sent by the connection are "
                 "written to the append-only file of the primary and/or replicas.",
      .syntax = "numlocal:int numreplicas:int timeout:int",
      .tips = "request_policy:all_shards,response_policy:agg_min" },
    { .name = NULL },
};
