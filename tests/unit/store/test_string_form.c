/* test_string_form.c -- Which encoding a string gets.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "store/store.h"
#include "unit.h"

static enum obj_enc encoding(struct keyspace *ks, const char *text, enum string_form form)
{
    struct key k = keyspace_key(ks, S("key"));
    struct shard *s = keyspace_shard(ks, k.shard);
    shard_lock(s);
    struct entry *e = shard_set_string(s, 0, &k, slice_str(text), form, false);
    ck_assert_ptr_nonnull(e);
    char tmp[I64_TEXT_MAX];
    ck_assert(slice_eq(entry_string(e, tmp), slice_str(text)));
    enum obj_enc enc = entry_enc(e);
    shard_unlock(s);
    return enc;
}

START_TEST(test_string_forms)
{
    static const char text44[] = "12345678901234567890123456789012345678901234";
    static const char text45[] = "123456789012345678901234567890123456789012345";
    struct keyspace *ks;
    ck_assert_int_eq(keyspace_new(&ks, &(struct keyspace_config){ .shards = 1, .databases = 1 }),
                     0);
    ck_assert_int_eq(encoding(ks, "12", STRING_AUTO), ENC_INT);
    ck_assert_int_eq(encoding(ks, "12", STRING_TEXT), ENC_EMBSTR);
    ck_assert_int_eq(encoding(ks, "12", STRING_RAW), ENC_RAW);
    ck_assert_int_eq(encoding(ks, "012", STRING_AUTO), ENC_EMBSTR);
    ck_assert_int_eq(encoding(ks, text44, STRING_AUTO), ENC_EMBSTR);
    ck_assert_int_eq(encoding(ks, text44, STRING_TEXT), ENC_EMBSTR);
    ck_assert_int_eq(encoding(ks, text45, STRING_AUTO), ENC_RAW);
    ck_assert_int_eq(encoding(ks, text45, STRING_TEXT), ENC_RAW);
    keyspace_free(ks);
}
END_TEST

UNIT_SUITE(string_form)
{
    unit_case(suite, "string_form", test_string_forms);
}
