/* powerloss_script.h -- Some 700 commands over five connections, what each prefix of them leaves,
 * and whether a server holds that. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         After a crash the keys of a connection must be those of a prefix of its commands that
 * is no shorter than what it, or anybody, was told. Each connection has three databases of its own
 * and a counter in database 0, so the prefixes can be judged one by one; a FLUSHALL in the middle
 * ties them together. What each prefix leaves is learned from a redis-server.
 * STEP        One command or one transaction: what a crash may not cut in two. Strings, lists,
 * expiries, several databases (SELECT, MOVE, COPY, SWAPDB), FLUSHDB, values up to 100 KB; and looks
 * at the counters of the others, which show how far these were.
 * THREADS     One; the connections are served in turn and have up to two chunks under way each. */
#ifndef TESTS_POWERLOSS_SCRIPT_H
#define TESTS_POWERLOSS_SCRIPT_H

#include "server.h"

#define SCRIPT_CONNECTIONS 5
#define SCRIPT_STEPS       112 /* of each connection */

struct script;

/* Starts a redis-server for a moment. The same seed gives the same script. */
struct script *script_new(uint64_t seed);
void script_free(struct script *s);
unsigned script_commands(const struct script *s);

/* What was said and heard, over all lives of a server. */
struct script_run {
    unsigned sent[SCRIPT_CONNECTIONS], told[SCRIPT_CONNECTIONS]; /* steps; told: at least these */
    unsigned refused;                                            /* replies -MISCONF, -OOM */
    bool holes[SCRIPT_CONNECTIONS]; /* got -OOM, perhaps inside a transaction: is not judged */
    bool served;                    /* somebody has seen this state: */
    uint64_t seen[SCRIPT_CONNECTIONS];
    char problem[256]; /* a reply nobody should get, or none at all */
};

enum script_pace {
    SCRIPT_FAST,   /* chunks of up to six steps, two under way */
    SCRIPT_CAREFUL /* one step at a time; a refused one is repeated, for at most a second */
};
/* Plays it from the beginning until its end (true) or until the server is gone or refuses for good.
 */
bool script_play(const struct script *s, uint16_t port, enum script_pace pace,
                 struct script_run *run);

/* Looks at all keys and compares them with what the run allows: 0 as it should be, 1 the server
 * went away meanwhile, -1 run->problem tells. From then on only this state is allowed. */
int script_check(const struct script *s, uint16_t port, struct script_run *run);
/* Writes to a key that is not looked at until the server is gone; false: it stays. */
bool script_disturb(uint16_t port, unsigned writes);
/* Waits until it answers PONG; false when it is gone. */
bool script_wait_ready(uint16_t port);
#endif
