/* config.h -- The registry of directives: every module's option table bound to its values; files,
 * arguments, CONFIG GET, SET and REWRITE. SPDX-License-Identifier: BSD-3-Clause THREADS  Loading:
 * the main thread before others start. config_set_many, config_rewritten: one at a time, in an
 * exclusive section or before start. Texts are Redis's, because tools and test suites match on
 * them. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base/option.h"

struct config;

struct config *config_new(void);
void config_free(struct config *c);
/* Binds a table (terminated by name NULL) to the struct its offsets are relative to, and sets the
 * defaults. */
void config_bind(struct config *c, const struct option *table, void *base);

void config_rebind(struct config *c, void *from, void *to); /* the values moved */
/* A directive's words as they stand on one line: name first. False: *error says why. Used while
 * loading. */
must_check bool config_load_words(struct config *c, const struct slice *argv, unsigned argc,
                                  struct buf *error);
/* A whole file ("-": standard input), with `include`. On failure *error is the text a server prints
 * before it exits. */
must_check bool config_load_file(struct config *c, const char *path, struct buf *error);
must_check bool config_load_text(struct config *c, struct slice text, const char *name,
                                 struct buf *error);
/* "--port 7000 --save '' ..." as redis-server takes them. */
must_check bool config_load_args(struct config *c, int argc, char **argv, struct buf *error);

/* CONFIG GET: every directive that matches one of the patterns, once, aliases included; by the name
 * that was given where that is no pattern. */
void config_get(struct config *c, const struct slice *patterns, unsigned n,
                void (*visit)(void *arg, struct slice name, struct slice value), void *arg);
/* One value as text; false: no such directive. */
bool config_value(struct config *c, const char *name, struct buf *out);

bool config_is_sensitive(struct config *c, struct slice name); /* false: no such directive, too */

/* CONFIG SET: all pairs or none. On failure *error is the whole error reply ("ERR ..."). `local`:
 * the caller may change protected ones. */
must_check bool config_set_many(struct config *c, const struct slice *pairs, unsigned npairs,
                                bool protected_ok, struct buf *error);
/* config_save before a CONFIG SET of pairs: the values to go back to when what follows it fails;
 * unknown names are left out. config_restore is CONFIG SET of those that nobody has set since. When
 * they cannot go back together, each that can goes alone; false, and *error says why. */
struct config_saved;
struct config_saved *config_save(struct config *c, const struct slice *pairs, unsigned npairs);
must_check bool config_restore(struct config *c, const struct config_saved *saved,
                               struct buf *error);
void config_saved_free(struct config_saved *saved);
/* What CONFIG REWRITE writes: comments and order of the file it was started with are kept. 0,
 * -ENOENT (no file), -EFBIG (larger than what is read at a start), or -errno. */
must_check int config_rewritten(struct config *c, struct buf *now);
const char *config_file(const struct config *c); /* "" : started without one */
/* Writes a kv.conf with every directive and its doc comment. */
void config_print_default(struct config *c, struct buf *out);
void config_each(struct config *c, void (*visit)(void *arg, const struct option *o, void *base),
                 void *arg);
#endif
