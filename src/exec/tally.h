/* tally.h -- What the commands of an attempt of a script count, until it is known that it stays.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      An attempt that is undone did not happen, and runs once more: its commands would be in
 *          the statistics and in the command logs twice.
 * BOUNDS   Of very many commands, or where there is no memory, those behind are counted at once.
 *          Errors by their codes, refusals of an ACL and hot keys always are.
 * THREADS  Its worker's. */
#ifndef EXEC_TALLY_H
#define EXEC_TALLY_H

#include "exec/exec_int.h"

struct tally {
    bool on; /* else all counts at once */
    struct tally_call *call;
    unsigned ncalls, calls_cap;
    struct tally_note *first, **last; /* for the command logs, oldest first */
    size_t note_bytes;
};

void tally_begin(struct tally *t);
void tally_end(struct tally *t, struct worker *w, bool stays); /* none began: nothing */
void tally_free(struct tally *t);                              /* what *t has */
/* Instead of call_account(). */
void tally_account(struct tally *t, struct call *c);
void tally_rejected(struct tally *t, struct worker *w, unsigned id);
#endif
