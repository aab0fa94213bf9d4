/* config_int.h -- What config.c (values) and config_file.c (files) share.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVER_CONFIG_INT_H
#define SERVER_CONFIG_INT_H

#include "server/config.h"

struct bound {
    const struct option *o;
    void *base;
    bool loaded; /* a MULTI directive that a file or argument has already set: the next line adds to
                    it */
    uint64_t sets; /* by CONFIG SET, of those that were not refused */
};
struct config {
    struct bound *item;
    unsigned n, cap;
    char *file; /* absolute path, NULL: none */
};

static inline void *bound_value(const struct bound *b)
{
    return (char *)b->base + b->o->offset;
}
void bound_value_free(enum option_kind kind, void *value);
struct bound *config_find(struct config *c, struct slice name);
bool bound_set_words(struct bound *b, const struct slice *argv, unsigned argc, const char **error);
bool bound_set_text(struct bound *b, struct slice text, const char **error);
void bound_get(const struct bound *b, struct buf *out);
/* A word as a file has it: in quotes where it needs them to be read back as one. */
void config_add_word(struct buf *out, struct slice word);
#endif
