/* test_pre_image.c -- Keys are saved once, put back as they were, and found without looking at all
 * of them. SPDX-License-Identifier: BSD-3-Clause */
#include "exec/pre_image.h"
#include "base/fault.h"
#include "exec_util.h"
#include <stdio.h>
#include <stdlib.h>

#define KEYS   40000
#define ROUNDS 3

static struct exec *x;
static struct pre_images images;

static void lock_all(bool lock)
{
    uint32_t index[16];
    for (unsigned i = 0; i < keyspace_shards(x->ks); i++) {
        index[i] = i;
    }
    (lock ? keyspace_lock_many : keyspace_unlock_many)(x->ks, index, keyspace_shards(x->ks));
}

static void start(void)
{
    x = engine_new(NULL);
    lock_all(true);
}

static void stop(void)
{
    pre_images_free(&images);
    lock_all(false);
    engine_free(x);
}

static struct key key_of(unsigned i, char text[16])
{
    return keyspace_key(x->ks, slice_of(text, (size_t)snprintf(text, 16, "k%u", i)));
}

static void put(unsigned db, const struct key *k, unsigned value)
{
    must(shard_set_int(keyspace_shard(x->ks, k->shard), db, k, value, 0) != NULL);
}

/* 0: it is not there */
static unsigned value_of(unsigned db, const struct key *k)
{
    char tmp[I64_TEXT_MAX];
    const struct entry *e = shard_find(keyspace_shard(x->ks, k->shard), db, k);
    return e == NULL ? 0 : (unsigned)strtoul(entry_string(e, tmp).p, NULL, 10);
}

static void drop(unsigned db, const struct key *k)
{
    struct shard *s = keyspace_shard(x->ks, k->shard);
    struct entry *e = shard_find(s, db, k);
    if (e != NULL) {
        shard_delete(s, db, e);
    }
}

/* Every third key is there, in two databases with another value. */
static unsigned before(unsigned i, unsigned db)
{
    return i % 3 == 0 ? i * 2 + db + 1 : 0;
}

START_TEST(test_many_keys)
{
    char text[16];
    for (unsigned i = 0; i < KEYS; i++) {
        struct key k = key_of(i, text);
        for (unsigned db = 0; db < 2 && before(i, db) != 0; db++) {
            put(db, &k, before(i, db));
        }
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            struct key k = key_of(i, text);
            unsigned db = i / 7 % 2;
            ck_assert(pre_image_save(&images, x->ks, db, &k));
            if ((i + round) % 2 == 0) {
                drop(db, &k);
            } else {
                put(db, &k, 1000000 + round);
            }
        }
        ck_assert_uint_eq(images.n, KEYS);
    }
    ck_assert_uint_lt(images.compared, (uint64_t)KEYS * ROUNDS * 20);
    pre_images_put_back(&images, x->ks);
    ck_assert_uint_eq(images.n, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        struct key k = key_of(i, text);
        ck_assert_uint_eq(value_of(0, &k), before(i, 0));
        ck_assert_uint_eq(value_of(1, &k), before(i, 1));
    }
    struct key k = key_of(1, text); /* the next script finds nothing of this one */
    ck_assert(pre_image_save(&images, x->ks, 0, &k));
    put(0, &k, 5);
    pre_images_forget(&images);
    ck_assert(pre_image_save(&images, x->ks, 0, &k));
    put(0, &k, 6);
    pre_images_put_back(&images, x->ks);
    ck_assert_uint_eq(value_of(0, &k), 5);
}
END_TEST

/* Wherever memory ends, what was saved before is there, and what was not is changed by nobody. */
START_TEST(test_no_memory)
{
#ifdef KV_FAULTS
    for (unsigned at = 0; at < 60; at++) {
        char text[16], spec[32];
        snprintf(spec, sizeof spec, "mem.alloc=nomem:%u", at);
        ck_assert_int_eq(fault_arm(spec), 0);
        unsigned saved = 0;
        for (unsigned i = 0; i < 40; i++) {
            struct key k = key_of(i, text);
            if (pre_image_save(&images, x->ks, 0, &k)) {
                saved++;
                ck_assert(pre_image_save(&images, x->ks, 0, &k));
            }
            ck_assert_uint_eq(images.n, saved);
        }
        ck_assert_int_eq(fault_arm(""), 0);
        pre_images_put_back(&images, x->ks);
    }
#else
    unit_skip("no fault points in this variant");
#endif
}
END_TEST

UNIT_SUITE(exec_pre_image)
{
    TCase *tc = unit_case(suite, "pre images", test_many_keys, test_no_memory);
    tcase_add_checked_fixture(tc, start, stop);
}
