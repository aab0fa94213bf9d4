/* pubsub.c -- placeholder head, see next commit
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec/exec_int.h"
bool session_subscribed(const struct session *s)
{
    return s->subs != NULL;
}
void session_unsubscribe_all(struct session *s)
{
    (void)s;
}
void events_publish(struct txn *t, uint64_t gate)
{
    (void)gate;
    t->nevents = 0;
}
void notify(struct call *c, enum notify_class cls, const char *event, const struct key *k)
{
    (void)c;
    (void)cls;
    (void)event;
    (void)k;
}
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
