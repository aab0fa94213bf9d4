/* client_filter.h -- Which clients CLIENT LIST and CLIENT KILL mean.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXEC_CLIENT_FILTER_H
#define EXEC_CLIENT_FILTER_H

#include "exec/exec_int.h"

enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_REPLICA, TYPE_PUBSUB, TYPE_MASTER, TYPE_UNKNOWN };
enum filter_text {
    FILTER_ADDR,
    FILTER_LADDR,
    FILTER_IP,
    FILTER_USER,
    FILTER_NAME,
    FILTER_LIB_NAME,
    FILTER_LIB_VER,
    FILTER_TEXTS
};
struct client_traits { /* points into the arguments of the call */
    const struct slice *text[FILTER_TEXTS];
    unsigned ids_at, ids; /* argv */
    int64_t *sorted;      /* the same as numbers, in order; NULL: none are asked for */
    enum client_type type;
    bool by_db;
    int64_t db;
};
/* All of `is`, none of `isnt`. */
struct client_filter {
    struct client_traits is, isnt;
    int64_t maxage, idle; /* seconds at least; 0: any */
    bool skip_me;         /* set before parsing: the default */
};
/* The options argv[2...]. False: replied the error, there is nothing to free. */
must_check bool client_filter_parse(struct call *c, struct client_filter *f);
void client_filter_free(struct client_filter *f);
/* In an exclusive section, s being any client. */
bool client_filter_takes(const struct call *c, struct session *s, const struct client_filter *f);
#endif
