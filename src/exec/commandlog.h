/* commandlog.h -- The three command logs: COMMANDLOG shows all, SLOWLOG the first.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXEC_COMMANDLOG_H
#define EXEC_COMMANDLOG_H

#include "exec/exec_int.h"

/* The replies of GET (CMD_KEYSPACE), LEN and RESET. Any reactor. count: of the newest; negative:
 * all.
 */
void commandlog_get(struct call *c, enum commandlog_kind kind, int64_t count);
void commandlog_len(struct call *c, enum commandlog_kind kind);
void commandlog_reset(struct call *c, enum commandlog_kind kind);
/* argv[2]; false: replied the error. */
must_check bool commandlog_count_arg(struct call *c, int64_t *count);
/* The bytes of the request as an array of bulk strings, whatever it came as. */
size_t call_request_bytes(const struct call *c);
#endif
