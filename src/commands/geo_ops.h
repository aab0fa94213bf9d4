/* geo_ops.h -- What the files of the geo family share.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMMANDS_GEO_OPS_H
#define COMMANDS_GEO_OPS_H

#include "commands/geo.h"
#include "commands/zset_ops.h"

/* argv[i] and argv[i + 1] as longitude and latitude. False: replied the error. */
must_check bool arg_point(struct call *c, unsigned i, struct geo_point *p);
/* M, KM, FT or MI in argv[i], in metres. False: replied the error. */
must_check bool arg_unit(struct call *c, unsigned i, double *metres);
/* z.p NULL: no members. False: it is not there. */
must_check bool geo_member(const struct entry *e, struct slice member, struct geo_point *p);

void reply_point(struct call *c, struct geo_point p);
void reply_distance(struct call *c, double d); /* with four digits behind the point */
#endif
