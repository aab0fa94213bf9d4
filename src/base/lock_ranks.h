/* lock_ranks.h -- The order in which locks are taken. The whole list, in one place.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread may take a lock only if its rank is higher than that of every lock it holds; SHARD alone
 * may be held several times, with ascending order numbers. Debug and sanitizer builds assert this
 * at each lock_acquire(). */
#ifndef BASE_LOCK_RANKS_H
#define BASE_LOCK_RANKS_H

enum lock_rank {
    RANK_CONFIG = 10,      /* server/config: one CONFIG SET or REWRITE at a time */
    RANK_SECTION = 20,     /* exec/section: one exclusive section at a time */
    RANK_SHARD = 30,       /* store/shard: a slice of the keyspace; order number = shard index */
    RANK_CLIENTS = 40,     /* exec/registry: client id -> handle, CLIENT LIST rows */
    RANK_SCRIPTS = 45,     /* script: cache of scripts, libraries */
    RANK_CHANNELS = 50,    /* exec/pubsub: channel and pattern registry */
    RANK_TRACKING = 52,    /* exec/tracking: prefixes that clients track */
    RANK_MONITOR = 55,     /* exec/monitor: who listens */
    RANK_LOG_BEGIN = 58,   /* exec/log_begin: what waits to be appended */
    RANK_WAL_TAKE = 60,    /* wal: sequence, chain and file position are fixed under it */
    RANK_WAL_PUBLISH = 62, /* wal: watermarks move under it */
    RANK_WAL_FILES = 65,   /* wal: list of segments and prepared files */
    RANK_MAILBOX = 70,     /* net: overflow list of a reactor's inbox */
    RANK_LAZYFREE = 75,    /* store: queue of the background thread */
    RANK_STATS = 80,       /* slowlog, latency, error statistics */
    RANK_LEAF = 100        /* nothing is taken under it (test helpers, log file) */
};
#endif
