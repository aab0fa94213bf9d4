/* rig.h -- A whole server in the fuzzer's process: started once, spoken to, looked into.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The server has a unix socket, one reactor and no log. All functions belong to the fuzzer's
 * thread. What goes wrong ends the process: that is what a fuzzer reports. */
#ifndef FUZZ_RIG_H
#define FUZZ_RIG_H

#include "base/bytes.h"
#include "store/store.h"

struct server;

/* `config` are directives beside those of the rig. The server takes commands when this returns; it
 * is the same one each time. */
struct server *rig_server(const char *name, const char *config);

/* A new connection sends `requests`, ends its side and reads until the server ends the other, which
 * it must do within a minute. Replies are appended to `replies` unless that is NULL. */
void rig_converse(struct slice requests, struct buf *replies);

/* A type byte and a value, as DUMP has them before the footer. False: refused, or bytes follow it.
 * It is read whole and in pieces, which must come to the same; what is accepted must keep the
 * invariants of its container and, written and read again, be the same value. */
bool rig_value(struct slice bytes);

/* Every shard and every value of the server is sound; each value passes rig_value(). */
void rig_check(void);

#endif
