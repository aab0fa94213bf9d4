/* waiter.h -- A parked client and what tells its reactor of its end. Private to exec/.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXEC_WAITER_H
#define EXEC_WAITER_H

#include "exec/acl.h"
#include "exec/keymap.h"

enum wait_state { WAIT_WAITING, WAIT_CLAIMED, WAIT_DONE };

struct wait_node {
    struct wait_node *prev, *next;
    struct waiter *owner;
    struct keynode *at;
    bool linked; /* false also where another node of its owner is at the same key */
};
struct waiter {
    /* set when it blocks */
    struct worker *home;
    uint64_t handle;         /* of its session */
    bool tracks;             /* what it reads is to be remembered */
    bool silent;             /* CLIENT REPLY OFF or SKIP came before it */
    struct session *session; /* home reactor only; NULL once it closed */
    struct queued *args;
    const struct cmd_ref *ref;
    unsigned db;
    int resp;
    enum block_kind kind;
    int64_t deadline_ms;
    void (*timeout_reply)(struct call *c);
    const struct acl_user *user; /* its deletion ends the wait */
    struct key *keys;            /* all declared keys of the command, bytes in args */
    unsigned nkeys, first, n;
    size_t bytes; /* of itself, its copies, and of what it was the first to wait for */
    struct reactor_timer timer;
    bool leaves; /* it ended; a slow script has the locks that taking it out of the lists needs */
    /* home reactor only: in home->durable_waits until `lsn` is durable */
    uint64_t lsn;
    struct waiter *next_durable;
    bool in_durable;

    /* atomic */
    _Atomic int state; /* enum wait_state */
    _Atomic bool cancel;
    _Atomic bool skipped; /* another key was ready while it was claimed: look at all its keys */

    struct wait_node node[]; /* n of them, for keys[first..] ; under each key's shard lock */
};
/* For call_block(), with n places in lists: copies of the arguments and of the keys are there, the
 * rest is zero. NULL: no memory. */
must_check struct waiter *waiter_new(const struct call *c, unsigned n);

struct served { /* tells the home reactor */
    struct message m;
    struct waiter *w;
    struct out out;
    uint64_t gate, lsn;
    bool close_only; /* it was cancelled: nothing to say */
    const char *error;
    enum acl_result denied; /* its user may no longer do this */
    unsigned denied_at;
    bool refused; /* it never ran, for this reason or for `error` */
    uint64_t ticks;
};
/* One compare-and-swap; false: it is in another state. Any thread that knows w to be valid. */
bool waiter_move(struct waiter *w, enum wait_state from, enum wait_state to);
/* w is DONE without having been served: its reactor gets a message. error NULL: its time is up;
 * close_only: nothing to say, its client has gone. Any thread. */
void waiter_post_end(struct waiter *w, const char *error, bool close_only);
/* served.m.run, on the home reactor; w is DONE. They free the message and the waiter. */
void waiter_on_ended(struct reactor *r, struct message *m);
void waiter_on_served(struct reactor *r, struct message *m);
#endif
