/* stream_ops.h -- What the files of the stream family share.
 * SPDX-License-Identifier: BSD-3-Clause
 * All need the lock of the key they are given, as every handler has it. */
#ifndef COMMANDS_STREAM_OPS_H
#define COMMANDS_STREAM_OPS_H

#include "commands/commands.h"
#include "ds/stream.h"
#include "ds/stream_group.h"

struct stream_limits stream_limits(struct call *c); /* as configured */

/* The live stream at k, *s NULL if there is none. False: replied that it is something else. */
must_check bool stream_read(struct call *c, const struct key *k, struct stream **s);
must_check bool stream_write(struct call *c, const struct key *k, struct stream **s);

/* ---- IDs as arguments ---- */

/* "ms-seq" or "ms". *any_seq: "ms-*"; NULL: no ID. */
must_check bool stream_id_parse(struct slice text, uint64_t missing_seq, struct stream_id *id,
                                bool *any_seq);
/* The same, with seq 0 if there is none; false: replied the error. */
must_check bool arg_stream_id(struct call *c, unsigned i, struct stream_id *id);
/* "-", "+", an ID, or "(" and one that does not belong to the range. */
must_check bool arg_stream_first(struct call *c, unsigned i, struct stream_id *id);
must_check bool arg_stream_last(struct call *c, unsigned i, struct stream_id *id);
/* The IDs argv[from..argc) are well-formed; false: replied the error. */
must_check bool arg_stream_ids(struct call *c, unsigned from);

/* On replay, a count in a log from when counts did not stop at INT64_MAX: one beyond it is that.
 * False otherwise, with no reply. */
bool arg_logged_count(struct call *c, unsigned i, int64_t *count);

/* ---- Replies ---- */

void reply_stream_id(struct call *c, struct stream_id id);
void reply_stream_entry(struct call *c, struct stream_iter *it, const struct stream_entry *e);
/* The entry with that ID, or nothing; false: it is not there. */
bool reply_stream_one(struct call *c, const struct stream *s, struct stream_id id);
/* An array of up to count entries (0: all). */
void reply_stream_range(struct call *c, const struct stream *s, struct stream_id first,
                        struct stream_id last, bool forward, uint64_t count);

/* ---- Effects ---- */

struct id_text {
    char text[STREAM_ID_TEXT_MAX];
};
struct slice id_slice(struct id_text *t, struct stream_id id);
/* XGROUP SETID with what the group has. */
void effect_group(struct call *c, const struct key *k, const struct stream_group *g);

/* Deliveries in few commands: XCLAIM with the IDs that have the same time and count. */
#define CLAIMS_PER_COMMAND 100
struct claims {
    struct call *c;
    const struct key *k;
    struct slice group, consumer;
    int64_t time;
    uint64_t count;
    bool again; /* set after claims_begin(): to who has them; that gets nothing new, and on replay
                 * it is no more active than it was */
    unsigned n;
    unsigned room; /* for so many more there is memory */
    size_t before; /* bytes of effects that come before the first */
    struct id_text ids[CLAIMS_PER_COMMAND];
    struct slice argv[CLAIMS_PER_COMMAND + 11];
};
void claims_begin(struct claims *l, struct call *c, const struct key *k, struct slice group,
                  struct slice consumer);
/* Before each of those that are added, or acknowledged instead. False: no memory for its effect. */
must_check bool claims_room(struct claims *l);
void claims_add(struct claims *l, const struct stream_pending *p);
void claims_end(struct claims *l);

/* ---- Deleting with a say in what is pending: XDELEX, XACKDEL, XTRIM, XADD ---- */

/* Of entries that go: what is pending stays (KEEP) or goes, too (DROP); or only those go that every
 * group has read and acknowledged. */
enum stream_refs { REFS_NONE, REFS_KEEP, REFS_DROP, REFS_ACKED };
enum stream_refs stream_refs_word(struct slice s); /* NONE: it is no such word */
/* Up to it every group has read. */
struct stream_id stream_min_read(const struct stream *s);
/* Some group, but that one (NULL: any), has not read it yet or has it pending. */
bool stream_referenced(const struct stream *s, struct stream_id min_read, struct stream_id id,
                       const struct stream_group *but);
/* s is what trimming left of `before`: what went is not pending any more. Writes the effects. */
void stream_drop_refs(struct call *c, const struct key *k, struct stream *s,
                      const struct stream *before);
/* Before the first change: is there memory for the effects of trimming a stream that may be longer
 * by one, with DROP? With ACKED it ends where there is none. */
must_check bool stream_trim_room(struct call *c, const struct stream *s,
                                 const struct stream_trim *t, enum stream_refs refs);
/* Every group has read and acknowledged all that trimming would take: it may do so. */
must_check bool stream_trim_is_acked(const struct stream *s, const struct stream_trim *t);
/* If not: takes those that are, in order, as XDEL. Writes the effects. Returns how many. */
uint64_t stream_trim_acked(struct call *c, const struct key *k, struct stream *s,
                           const struct stream_trim *t);

/* ---- Groups ---- */

/* The stream and its group argv[group]. Also those that change the group count as readers of the
 * key, as in Redis. False: replied WRONGTYPE, or NOGROUP when there is no key or no such group. */
must_check bool stream_group_arg(struct call *c, const struct key *k, unsigned group,
                                 struct stream **s, struct stream_group *g);
/* The same for an entry (or NULL) that was looked up already. */
must_check bool stream_group_in(struct call *c, const struct key *k, const struct entry *e,
                                unsigned group, struct stream **s, struct stream_group *g);
/* That argv[2] has no group argv[3]. */
void reply_no_group(struct call *c);
/* The group's consumer asks for something now. made: stream_consumer_add() has made it for this
 * call, which tells of that; g->name must not point into the stream. */
void stream_consumer_met(struct call *c, const struct key *k, struct stream *s,
                         const struct stream_group *g, struct slice name,
                         struct stream_consumer *out, bool made);
#endif
