/* requests.h -- Requests for every command of the table, made from a fuzzer's bytes.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY   Bytes that libFuzzer makes up seldom are a command with valid arguments. Here they choose
 *       among what the rows say about themselves (`syntax`): a new command is covered on the day
 *       it gets its row. */
#ifndef FUZZ_REQUESTS_H
#define FUZZ_REQUESTS_H

#include "base/bytes.h"

struct exec;

/* Where choices come from: the bytes, and after their end zeros. */
struct choices {
    const uint8_t *p;
    size_t n, at;
};
unsigned choose(struct choices *c, unsigned n);           /* 0 .. n-1; n up to 65536 */
struct slice choose_bytes(struct choices *c, size_t max); /* the next few of them, as they are */

/* Commands and subcommands, without those that end, stop or reconfigure the server, or wait. */
void requests_prepare(struct exec *x);
unsigned requests_commands(void); /* how many there are */
bool requests_has_keys(unsigned command);
bool requests_blocks(unsigned command); /* it may, outside MULTI */
/* Appends one request, in RESP, for the command of that number. `key`: most of its keys are this
 * one; empty: they are chosen among some for each type. */
void requests_add(struct buf *to, unsigned command, struct slice key, struct choices *c);

#endif
