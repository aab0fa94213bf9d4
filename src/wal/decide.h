/* decide.h -- What recovery does at one position of the log: the total decision table.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A position is where the next thing is expected: a segment's header, a batch or a footer. The
 * observations are phrased so that 0 is a healthy log without proof; WAL_IN_* may be combined in
 * any way and exactly one case comes out. Pure; any thread. */
#ifndef WAL_DECIDE_H
#define WAL_DECIDE_H

#include "base/base.h"

/* The letters are those of the recovery table in the design: Z V N C I B S L E. */
enum wal_observed {
    WAL_IN_ZERO = 1 << 0,       /* Z: the rest of the segment is zero */
    WAL_IN_INVALID = 1 << 1,    /* not V: no header with a valid crc here */
    WAL_IN_UNNAMED = 1 << 2,    /* not N: it names another history or another segment */
    WAL_IN_UNCHAINED = 1 << 3,  /* not C: it does not carry the chain value expected */
    WAL_IN_MISORDERED = 1 << 4, /* not I: its sequence is not the one expected */
    WAL_IN_BAD_BODY = 1 << 5,   /* not B: length, records, padding or checksum of the body */
    WAL_IN_SYNCED = 1 << 6,  /* S: the expected sequence <= the highest synced_upto seen anywhere */
    WAL_IN_PROVEN = 1 << 7,  /* L: another proof that the expected sequence had been synced */
    WAL_IN_ERROR = 1 << 8,   /* E: it, or the rest that would prove it, could not be read */
    WAL_IN_MISSING = 1 << 9, /* a segment is missing in the middle */
    WAL_IN_LATE = 1 << 10,   /* the first segment begins after the snapshot's LSN */
    WAL_IN_SNAPSHOT = 1 << 11, /* not a position: the newest snapshot is bad, an older one plus the
                                  log reaches further */
    WAL_IN_ALL = (1 << 12) - 1
};

/* Letters as in the design; what follows from each is in wal_verdict_of(). Append-only: tools print
 * them. */
enum wal_case {
    WAL_CASE_ACCEPT = 0,
    WAL_CASE_E = 1, /* damage to acknowledged data */
    WAL_CASE_F = 2, /* foreign or misdirected write below the proof */
    WAL_CASE_G = 3, /* unreadable */
    WAL_CASE_H = 4, /* missing */
    WAL_CASE_D = 5, /* a block of an older life: the end */
    WAL_CASE_B = 6, /* nothing written here: the end */
    WAL_CASE_C = 7, /* torn: the end, after cutting */
    WAL_CASE_I = 8  /* use the older snapshot */
};
enum wal_verdict {
    WAL_TAKE,   /* go on behind it */
    WAL_END,    /* the log ends here */
    WAL_CUT,    /* the log ends here; what follows is zeroed before anything is written */
    WAL_REFUSE, /* do not start */
    WAL_OLDER_SNAPSHOT
};

enum wal_case wal_decide(unsigned observed);
enum wal_verdict wal_verdict_of(enum wal_case c);
char wal_case_letter(enum wal_case c);      /* 'a' for accept, else the letter */
const char *wal_case_text(enum wal_case c); /* a few words for messages */
#endif
