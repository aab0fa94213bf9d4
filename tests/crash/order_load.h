/* order_load.h -- Clients that append to lists and note what they sent and heard, with its times.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * LISTS    of number k, five kinds, a key of the history each:
 *            a  appended to and read, by single commands, in transactions, under WATCH; in database
 *               3 when k is odd
 *            q  appended to; elements move from its head to the end of d, by LMOVE and BLMOVE. "d
 *               then q", read in one transaction, is the history's list of all appended to q
 *            d  see q; its appends are the moves
 *            b  a queue that BLPOP takes from; the history's list is what was taken, in order
 *            g  what was appended to b in the same transaction, so the order of b's elements
 *          A list gets some dozens of elements, then the clients go on to the next number.
 * THREADS  One per client, each with a history of its own until order_load_stop(). */
#ifndef CRASH_ORDER_LOAD_H
#define CRASH_ORDER_LOAD_H

#include "order.h"
#include "server.h"

struct order_load;

/* `clients` connections to `s`, which serves already. */
struct order_load *order_load_start(const struct server *s, unsigned clients, uint64_t seed);
/* From now on nobody connects again: before `s` is killed. */
void order_load_hold(struct order_load *l);
/* `s` serves again. */
void order_load_go_on(struct order_load *l);
/* Ends the clients, reads every list once more and frees the load; the whole history is in *h.
 * False, with lines on standard error, when a reply or a queue shows a flaw by itself. */
bool order_load_stop(struct order_load *l, struct order_history *h);
/* Ends the clients of a server that is gone and frees the load; how many replies were wrong. */
unsigned order_load_abandon(struct order_load *l);
#endif
