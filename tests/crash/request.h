/* request.h -- Pipelines of commands for clients that must not fail when their server dies.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_REQUEST_H
#define CRASH_REQUEST_H

#include "resp_client.h"
#include <stdbool.h>
#include <stdint.h>

struct request {
    char bytes[16384];
    size_t n;
};

/* Adds one command; its words are separated by spaces. */
void request_add(struct request *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A number below n from a generator of the caller's (splitmix64). */
uint64_t random_below(uint64_t *state, uint64_t n);
#endif
