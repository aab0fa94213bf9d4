/* observe.c -- What is told about running commands: the slow log, MONITOR.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec/exec_int.h"
void monitor_feed(struct exec *x, struct session *s, unsigned db, const struct slice *argv,
                  unsigned argc)
{
    (void)x;
    (void)s;
    (void)db;
    (void)argv;
    (void)argc;
}
void session_unmonitor(struct session *s)
{
    (void)s;
}
void slowlog_note(struct call *c, uint64_t ticks)
{
    (void)c;
    (void)ticks;
}
bool memory_make_room(struct worker *w)
{
    return (int64_t)mem_used() < option_int(&w->x->opt.maxmemory);
}
