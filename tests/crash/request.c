/* request.c -- Words to RESP arrays.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "request.h"
#include "base/base.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t random_below(uint64_t *state, uint64_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % n;
}

void request_add(struct request *r, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    unsigned words = 1;
    for (const char *p = line; *p != '\0'; p++) {
        words += *p == ' ';
    }
    r->n += (size_t)snprintf(r->bytes + r->n, sizeof r->bytes - r->n, "*%u\r\n", words);
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        r->n += (size_t)snprintf(r->bytes + r->n, sizeof r->bytes - r->n, "$%zu\r\n%s\r\n",
                                 strlen(word), word);
    }
    must(r->n < sizeof r->bytes);
}
