/* pre_image.h -- What keys were before a script changed them, and how that is put back.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  Its worker's. The locks of the keys are held from the first pre_image_save() to
 * pre_images_put_back() or pre_images_forget(). */
#ifndef EXEC_PRE_IMAGE_H
#define EXEC_PRE_IMAGE_H

#include "store/store.h"

struct pre_image {
    unsigned db;
    struct key key;       /* bytes copied */
    struct entry *before; /* outside of any table; NULL: the key was not there */
};
struct pre_images {
    struct pre_image *at; /* n of them, in the order they were saved */
    unsigned n, cap;
    uint32_t *slot;    /* 1 + index in `at`, by hash; 0: free. At least half of them are */
    unsigned slots;    /* a power of 2; 0: none yet */
    uint64_t compared; /* keys, ever: what looking them up has cost */
};

/* Before the first change of k, and for nothing behind it. False: no memory for a copy, or too long
 * for one; nothing is saved. */
must_check bool pre_image_save(struct pre_images *all, struct keyspace *ks, unsigned db,
                               const struct key *k);
/* All keys are as they were; then as pre_images_forget(). */
void pre_images_put_back(struct pre_images *all, struct keyspace *ks);
/* Empty, with little memory kept for the next script. */
void pre_images_forget(struct pre_images *all);
void pre_images_free(struct pre_images *all); /* what *all has */
#endif
