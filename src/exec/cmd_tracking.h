/* cmd_tracking.h -- The handlers of CLIENT's subcommands that are about tracking; their rows stand
 * in cmd_client.c. SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXEC_CMD_TRACKING_H
#define EXEC_CMD_TRACKING_H

#include "exec/exec.h"

void cmd_client_tracking(struct call *c);
void cmd_client_trackinginfo(struct call *c);
void cmd_client_getredir(struct call *c);
void cmd_client_caching(struct call *c);
#endif
