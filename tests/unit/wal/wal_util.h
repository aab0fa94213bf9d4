/* wal_util.h -- For tests of the log's writer: a log to write to, and a reader of the format that
 * shares no code with recovery.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_WAL_UTIL_H
#define TESTS_WAL_UTIL_H

#include "unit.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/mem.h"
#include "wal/wal_int.h"
#include <pthread.h>
#include <unistd.h>

#define RIG_PRODUCERS 8

/* A log in a directory of its own, and sleeping places for its producers. */
struct rig {
    struct wal *w;
    struct wal_config cfg;
    struct wal_report report;
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        unsigned wakes;
    } bed[RIG_PRODUCERS];
};

void rig_init(struct rig *r, const char *dir); /* small segments, depth 2, always */
void rig_start(struct rig *r);                 /* open and start; fails the test */
int rig_try_start(struct rig *r);              /* 0 or what failed; nothing is left open then */
void rig_stop(struct rig *r);                  /* stop and free; fails the test */
uint64_t rig_append(struct rig *r, unsigned producer, struct slice payload);
/* As a reactor: announces, waits until `gate` is released. False after `seconds`. */
bool rig_wait_gate(struct rig *r, unsigned producer, uint64_t gate, unsigned seconds);
/* Sleeps until wake() was called for the producer more than `seen` times. */
bool rig_sleep(struct rig *r, unsigned producer, unsigned seen, unsigned seconds);
unsigned rig_wakes(struct rig *r, unsigned producer);

/* Polls until the condition holds; false after 30 seconds. */
#define eventually(condition)                                           \
    ({                                                                  \
        bool holds_ = false;                                            \
        for (int i_ = 0; i_ < 30000 && !(holds_ = (condition)); i_++) { \
            usleep(1000);                                               \
        }                                                               \
        holds_;                                                         \
    })
struct wal_stats rig_stats(struct rig *r);

/* Record i of a producer: what it contains follows from the two numbers. */
#define RIG_PAYLOAD_MAX ((size_t)3 << 20)
struct slice rig_payload(unsigned producer, uint64_t i, size_t max, char *buf);
/* Each producer's records are there in their order from 0 on, nothing else is. Fills count[]. */
struct seen_log;
void rig_check_payloads(const struct seen_log *s, size_t max, uint64_t count[RIG_PRODUCERS]);

void *shared_memory(size_t n); /* zeroed; of this process and its children */

/* ---- What is on disk ---- */
struct seen_record {
    uint64_t lsn, seq; /* after it; of its batch */
    struct wal_frame frame;
    size_t n;
    uint8_t *payload;
};
struct seen_batch {
    uint64_t segment, offset, seq, synced_upto, end_lsn, bytes;
    unsigned records;
    uint16_t flags;
};
struct seen_segment {
    uint64_t number, size, first_seq;
    uint32_t sync;
    bool sealed;
};
struct seen_log {
    struct seen_record *record;
    size_t records;
    struct seen_batch *batch;
    size_t batches;
    struct seen_segment *segment;
    size_t segments; /* begun ones */
    uint64_t end_lsn;
    uint8_t history[WAL_HISTORY_BYTES], parent[WAL_HISTORY_BYTES];
    uint64_t fork_lsn, fork_seq;
    uint32_t flags;
    char problem[256]; /* what keeps it from being a log without damage; "" when nothing does */
};
/* Reads the history of CURRENT from its first segment, checks everything the format promises, stops
 * at the first block that is no batch. */
void seen_read(struct seen_log *s, const char *dir);
void seen_free(struct seen_log *s);
/* Reads, and fails the test if there is a problem. */
void seen_read_sound(struct seen_log *s, const char *dir);

#endif
