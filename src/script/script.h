/* script.h -- Lua 5.1: EVAL, SCRIPT, FUNCTION and FCALL.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHAT     Each worker has a Lua state of its own, made at its first script, so scripts on
 * different keys run in parallel. The cache of scripts and the libraries are the engine's, under
 * one lock; a state compiles what it needs from them. THREADS  script_new() and script_free():
 * while no worker runs. Handlers as exec.h says. */
#ifndef SCRIPT_SCRIPT_H
#define SCRIPT_SCRIPT_H

#include "exec/exec.h"

struct scripts;

/* Attaches itself to x (exec_set_scripts). */
struct scripts *script_new(struct exec *x);
void script_free(struct scripts *s);

struct script_stats {
    uint64_t cached, libraries, functions;
    uint64_t script_bytes, library_bytes; /* their texts */
    uint64_t memory_bytes;                /* of all Lua states */
    uint64_t evicted;                     /* scripts, since script_stats_reset() */
};
void script_stats(struct scripts *s, struct script_stats *out); /* any thread */
void script_stats_reset(struct scripts *s);                     /* any thread */

extern const struct command script_commands[];
#endif
