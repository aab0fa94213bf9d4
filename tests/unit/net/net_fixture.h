/* net_fixture.h -- A small server over net/ for its tests: sessions that execute a handful of
 * commands, and a release point that the test moves.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_NET_FIXTURE_H
#define TESTS_NET_FIXTURE_H

#include "net/net_int.h"
#include "resp_client.h"
#include "unit.h"
#include <stdatomic.h>

/* Commands (each reply carries the gate 0 unless said):
 *   PING | ECHO x | LEN x (integer) | BYTES n (bulk of n pattern bytes) | EXT n (the same,
 * uncopied) GATE g x        bulk x with gate g HANDLE          integer | PEER | LOCAL | KIND |
 * REACTOR BLOCK, DEFER    stops with STOP_BLOCKED, STOP_DEFERRED; UNBLOCK from another connection
 * answers it
 *   ENDED h         1: connection h of this reactor has ended its side, and nothing watches it
 *   UNBLOCK h       "+OK"; by message: "+UNBLOCKED" to connection h, which resumes
 *   STOP why ms     stops reading for that reason (the enum's number), resumes by timer
 *   AFTER ms        answers after ms, by timer, without stopping
 *   KILL h          by message: closes connection h; ALIVE h: 1 or 0
 *   LIMITS hard soft seconds | QUERYLIMIT n
 *   QUIT            "+OK", then closes after the reply | DROP closes at once
 *   HOLD n          keeps n pending output bytes without a gate
 *   TICK ms         the next tick comes within that time
 *   STALL           keeps the reactor inside this request until `go`
 *   PAUSE h ms      stops another connection of this reactor at once, resumes it by timer; SHUT h
 * closes it at once */
struct fixture {
    struct net *net;
    struct net_config config;
    int port, tls_port;
    _Atomic uint64_t release;
    atomic_uint opened, closed, limits, ticks, starts, stops, sleeping, sleeps;
    _Atomic(const char *) limit_what;
    _Atomic uint64_t lowest_asked; /* last lowest_gate given to before_sleep */
    atomic_bool stopped_asked;
    atomic_bool late; /* before_sleep finds released whatever is asked for */
    atomic_uint took_big;
    atomic_uint tick_wait; /* what the tick upcall returns; default 10 */
    atomic_uint stalls;    /* requests that are or were inside STALL */
    atomic_bool go;
    atomic_uint ahead_calls, ahead_inputs,
        ahead_unfed; /* inputs announced; and not given as announced */
    /* Handle of a connection that each turn resumes from STOP_ADMISSION, stopped for that or not.
     */
    _Atomic uint64_t nudged;
    unsigned batch; /* requests parsed before any is executed; default 16 */
};

struct fixture *fixture_new(unsigned threads); /* not started; change config, then start */
void fixture_start(struct fixture *f);         /* opens on a free port of 127.0.0.1 if port is 0 */
void fixture_stop(struct fixture *f);          /* stops, checks that all sessions were closed */
struct fixture *fixture_run(unsigned threads); /* new and start */
void fixture_release(struct fixture *f, uint64_t gate); /* moves the release point, wakes all */
struct client *connect_to(const struct fixture *f);
void send_text(struct client *c, const char *text);
char *filled(size_t n);                              /* n times 'v'; mem_free() */
void expect_pattern(const struct resp *r, size_t n); /* what BYTES and EXT send */
int free_port(void);
/* Waits (up to 10 s) until *v == want. */
void wait_uint(const atomic_uint *v, unsigned want);
void sleep_ms(int ms);
#endif
