/* order.h -- Histories of list appends, and a check that they are strictly serializable.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         A list that only grows shows its own versions: whoever reads it learns who appended
 * in which order (Kingsbury, Alvaro: Elle, VLDB 2020). Four kinds of edges follow from that:
 *               ww  A appended, B appended next to the same list
 *               wr  A appended the last element that B read
 *               rw  A read a list, B appended the next element
 *               rt  A had its answer before B was sent
 * A cycle shows that no order of the operations explains what the clients saw.
 * FORM        An operation is one transaction: one command, one EXEC, or WATCH + read + EXEC. Times
 * are those of one clock. An operation whose reply never came ends at ORDER_UNKNOWN: it may have
 * happened at any time after its start, or never; so it only appends: what was read did happen. One
 * that surely did not happen is left out.
 * Values are unique within a key.
 * THREADS     A history belongs to one thread; order_join() puts several together. */
#ifndef CRASH_ORDER_H
#define CRASH_ORDER_H

#include "base/base.h"

#define ORDER_UNKNOWN INT64_MAX

enum order_kind {
    ORDER_APPEND, /* `value` was appended */
    ORDER_READ,   /* the whole list was seen[0..nseen) */
    ORDER_SEES,   /* that `value` had been appended was seen, nothing else */
};

struct order_micro {
    enum order_kind kind;
    uint32_t key, value;
    uint32_t told; /* ORDER_APPEND: the length that was answered; 0: none was */
    uint32_t *seen;
    uint32_t nseen;
};
struct order_op {
    int64_t start, end;
    uint32_t process;
    unsigned n;
    struct order_micro *micro;
};
struct order_history {
    struct order_op *op;
    size_t n, cap;
    /* Keys that may hold values whose append no operation names (NULL: none). */
    bool (*anonymous)(uint32_t key);
};

void order_init(struct order_history *h);
void order_free(struct order_history *h);
/* A new operation; the pointer is good until the next one is added. */
struct order_op *order_add(struct order_history *h, uint32_t process, int64_t start, int64_t end);
/* Takes the last one back: it did not happen. */
void order_drop(struct order_history *h);
void order_append(struct order_op *op, uint32_t key, uint32_t value);
void order_sees(struct order_op *op, uint32_t key, uint32_t value);
void order_read(struct order_op *op, uint32_t key, const uint32_t *seen, uint32_t nseen);
/* Moves all operations of `from` behind those of `to`. */
void order_join(struct order_history *to, struct order_history *from);

/* In the order in which they are looked for: the first that applies is the answer. */
enum order_verdict {
    ORDER_OK,
    ORDER_BAD_LIST, /* two reads of a key disagree, an element twice, one that nobody appended, or
                       one elsewhere than its append was told */
    ORDER_G0,       /* ww */
    ORDER_G1C,      /* ww, wr */
    ORDER_G_SINGLE, /* ww, wr, one rw: lost update, read skew */
    ORDER_G2,       /* ww, wr, rw: write skew */
    ORDER_G0_REALTIME,
    ORDER_G1C_REALTIME,
    ORDER_G_SINGLE_REALTIME, /* a stale read */
    ORDER_G2_REALTIME,
    ORDER_VERDICTS
};
/* The verdict; text about it in `report`. */
enum order_verdict order_check(const struct order_history *h, char *report, size_t size);
const char *order_name(enum order_verdict v);
#endif
