/* decide.c -- The decision table as data: first matching row wins, the last two rows cover the
 * rest. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Refusing too little loses acknowledged data, refusing too much keeps a healthy server
 *             down after every power cut. A table can be read beside the design and enumerated by a
 *             test; nested ifs cannot.
 * THREADS     Any; pure. */
#include "wal/decide.h"

/* A row matches when all of `all` are observed, none of `none`, and at least one of each non-empty
 * `any`. */
struct row {
    enum wal_case id;
    enum wal_verdict verdict;
    unsigned all, none, any1, any2;
    char letter;
    const char *text;
};

#define PROOF (WAL_IN_SYNCED | WAL_IN_PROVEN)
#define BAD   (WAL_IN_ZERO | WAL_IN_INVALID | WAL_IN_UNNAMED | WAL_IN_MISORDERED | WAL_IN_BAD_BODY)

static const struct row table[] = {
    { .id = WAL_CASE_ACCEPT,
      .verdict = WAL_TAKE,
      .none = WAL_IN_INVALID | WAL_IN_UNNAMED | WAL_IN_UNCHAINED | WAL_IN_MISORDERED |
              WAL_IN_BAD_BODY | WAL_IN_ERROR | WAL_IN_MISSING | WAL_IN_LATE | WAL_IN_SNAPSHOT,
      .letter = 'a',
      .text = "accepted" },
    { .id = WAL_CASE_E,
      .verdict = WAL_REFUSE,
      .any1 = PROOF,
      .any2 = BAD,
      .letter = 'e',
      .text = "damage to acknowledged data" },
    { .id = WAL_CASE_F,
      .verdict = WAL_REFUSE,
      .all = WAL_IN_UNCHAINED,
      .none = BAD,
      .any1 = PROOF,
      .letter = 'f',
      .text = "a foreign or misdirected write over acknowledged data" },
    { .id = WAL_CASE_G,
      .verdict = WAL_REFUSE,
      .all = WAL_IN_ERROR,
      .letter = 'g',
      .text = "unreadable: cannot be told from acknowledged data" },
    { .id = WAL_CASE_H,
      .verdict = WAL_REFUSE,
      .any1 = WAL_IN_MISSING | WAL_IN_LATE,
      .letter = 'h',
      .text = "a part of the log is missing" },
    { .id = WAL_CASE_D,
      .verdict = WAL_END,
      .none = WAL_IN_INVALID,
      .any1 = WAL_IN_UNNAMED | WAL_IN_UNCHAINED | WAL_IN_MISORDERED,
      .letter = 'd',
      .text = "end of the log before blocks of an older life" },
    { .id = WAL_CASE_B,
      .verdict = WAL_END,
      .all = WAL_IN_ZERO,
      .letter = 'b',
      .text = "end of the log" },
    { .id = WAL_CASE_C,
      .verdict = WAL_CUT,
      .none = WAL_IN_SNAPSHOT,
      .letter = 'c',
      .text = "torn end, never acknowledged" },
    { .id = WAL_CASE_I,
      .verdict = WAL_OLDER_SNAPSHOT,
      .all = WAL_IN_SNAPSHOT,
      .letter = 'i',
      .text = "the newest snapshot is bad, an older one and the log reach further" },
};

static bool matches(const struct row *r, unsigned in)
{
    return (in & r->all) == r->all && (in & r->none) == 0 &&
           (r->any1 == 0 || (in & r->any1) != 0) && (r->any2 == 0 || (in & r->any2) != 0);
}

static const struct row *row_of(enum wal_case c)
{
    must((unsigned)c < countof(table) && table[c].id == c);
    return &table[c];
}

enum wal_case wal_decide(unsigned observed)
{
    must((observed & ~(unsigned)WAL_IN_ALL) == 0);
    for (unsigned i = 0; i < countof(table); i++) {
        if (matches(&table[i], observed)) {
            return table[i].id;
        }
    }
    must_not_reach(); /* C and I leave nothing over */
}

enum wal_verdict wal_verdict_of(enum wal_case c)
{
    return row_of(c)->verdict;
}

char wal_case_letter(enum wal_case c)
{
    return row_of(c)->letter;
}

const char *wal_case_text(enum wal_case c)
{
    return row_of(c)->text;
}
