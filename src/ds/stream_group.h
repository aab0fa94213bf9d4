/* stream_group.h -- Consumer groups of a stream: who has read how far, and what is pending.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * FORM      Three trees (btree.h) for all groups of a stream together, so that copying a stream
 *           stays O(1). Groups and consumers have numbers that are never used again:
 *               names     0 and the name of a group, or a group's number and the name of a
 * consumer: its number owners    number: what is known of the group or consumer; number and name
 *               pending   a group's number and an ID: consumer, time, count; a consumer's number
 *                         and an ID
 * HANDLE    struct stream_group and struct stream_consumer are copies of what was found; the name
 *           points into the stream until its next change. What is set in one is stored by
 *           stream_group_set() and stream_consumer_set().
 * MEMORY    Only names have sizes that clients choose: -ENOMEM, and nothing changed.
 * INVARIANTS, checked by stream_check():
 *           M4 every consumer is there by name and by number, and its group is; what is pending for
 *              a group is pending for exactly one of its consumers, and the reverse */
#ifndef DS_STREAM_GROUP_H
#define DS_STREAM_GROUP_H

#include "ds/stream.h"

/* ---- Groups, in the sequence of their names ---- */

#define STREAM_READ_UNKNOWN (-1)

struct stream_group {
    struct slice name;
    uint64_t number;
    struct stream_id last; /* delivered last */
    int64_t read;          /* entries ever delivered; STREAM_READ_UNKNOWN */
};
uint64_t stream_group_count(const struct stream *s);
bool stream_group_at(const struct stream *s, uint64_t index, struct stream_group *out);
bool stream_group_find(const struct stream *s, struct slice name, struct stream_group *out);
/* 1; 0: it is there already; -ENOMEM. */
must_check int stream_group_add(struct stream *s, struct slice name, struct stream_id last,
                                int64_t read);
void stream_group_set(struct stream *s, const struct stream_group *g); /* last, read */
/* With its consumers and all that is pending. old: as for stream_trim(). */
void stream_group_remove(struct stream *s, const struct stream_group *g, struct stream **old);

/* Entries that the group has not read; false: nobody can tell. */
bool stream_lag(const struct stream *s, const struct stream_group *g, uint64_t *lag);
/* Entries ever added up to and including id; STREAM_READ_UNKNOWN: nobody can tell. */
int64_t stream_distance(const struct stream *s, struct stream_id id);
/* Before the first stream_group_advance() of a read: entries may have been trimmed unread since the
 * last one. */
void stream_group_resume(const struct stream *s, struct stream_group *g);
/* The group has been given `id`, the next entry. */
void stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id);

/* ---- Consumers of a group, in the sequence of their names ---- */

#define STREAM_NEVER (-1)

struct stream_consumer {
    struct slice name;
    uint64_t number, group;
    int64_t seen;   /* unix ms: it asked for something */
    int64_t active; /* and got it; STREAM_NEVER */
};
uint64_t stream_consumer_count(const struct stream *s, const struct stream_group *g);
bool stream_consumer_at(const struct stream *s, const struct stream_group *g, uint64_t index,
                        struct stream_consumer *out);
bool stream_consumer_find(const struct stream *s, const struct stream_group *g, struct slice name,
                          struct stream_consumer *out);
bool stream_consumer_by(const struct stream *s, uint64_t number, struct stream_consumer *out);
/* 1; 0: it is there already; -ENOMEM. */
must_check int stream_consumer_add(struct stream *s, const struct stream_group *g,
                                   struct slice name, int64_t seen, int64_t active);
void stream_consumer_set(struct stream *s, const struct stream_consumer *c); /* seen, active */
/* With what is pending for it. */
void stream_consumer_remove(struct stream *s, const struct stream_consumer *c);

/* ---- Pending entries ---- */

struct stream_pending {
    struct stream_id id;
    uint64_t consumer; /* its number */
    int64_t time;      /* of the last delivery, unix ms */
    uint64_t count;    /* of deliveries */
};
uint64_t stream_pending_count(const struct stream *s, uint64_t owner); /* a group's or consumer's */
bool stream_pending_find(const struct stream *s, const struct stream_group *g, struct stream_id id,
                         struct stream_pending *out);
/* The first or last of the group. */
bool stream_pending_edge(const struct stream *s, const struct stream_group *g, bool first,
                         struct stream_pending *out);
/* Makes it pending, or changes what is: consumer, time, count. The consumer is one of the group. */
void stream_pend(struct stream *s, const struct stream_group *g, const struct stream_pending *p);
bool stream_pending_remove(struct stream *s, const struct stream_group *g, struct stream_id id);

struct stream_pending_iter { /* private; any change makes it stale */
    const struct stream *s;
    uint64_t group;
    bool by_consumer;
    uint64_t left;
    struct btree_iter it;
};
/* Those of a group, or of one of its consumers (c NULL: all), from `first` to `last`, both
 * included. */
void stream_pending_iter(struct stream_pending_iter *it, const struct stream *s,
                         const struct stream_group *g, const struct stream_consumer *c,
                         struct stream_id first, struct stream_id last);
bool stream_pending_next(struct stream_pending_iter *it, struct stream_pending *out);
#endif
