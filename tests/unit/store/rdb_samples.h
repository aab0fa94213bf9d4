/* rdb_samples.h -- Values as other servers wrote them, and bytes that are none.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_RDB_SAMPLES_H
#define TESTS_RDB_SAMPLES_H

#include "base/bytes.h"

struct sample {
    const char *what;
    unsigned type;
    struct slice bytes;
    const char *value; /* NULL: refused */
};

#define ZIP3 /* "a", 5, -300 */                        \
    "\x14\x00\x00\x00\x0f\x00\x00\x00\x03\x00\x00\x01" \
    "a\x03\xf6\x02\xc0\xd4\xfe\xff"
#define ZIP2 /* "a", 5 */                              \
    "\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01" \
    "a\x03\xf6\xff"
#define ZIPSAME /* "a", "a" */                         \
    "\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01" \
    "a\x03\x01"                                        \
    "a\xff"
#define LP2 /* "a", 5 */           \
    "\x0c\x00\x00\x00\x02\x00\x81" \
    "a\x02\x05\x01\xff"
#define LPSAME /* "a" 1 "a" 2 */   \
    "\x11\x00\x00\x00\x04\x00\x81" \
    "a\x02\x01\x01\x81"            \
    "a\x02\x02\x01\xff"
#define LPEMPTY "\x07\x00\x00\x00\x00\x00\xff"
#define INTS    "\x02\x00\x00\x00\x03\x00\x00\x00\xff\xff\x01\x00\x02\x00"

static const struct sample samples[] = {
    { "string", 0, { "\x02hi", 3 }, "hi" },
    { "integer", 0, { "\xc1\x39\x30", 3 }, "12345" },
    { "lzf",
      0,
      { "\xc3\x04\x16\x00"
        "a\xe0\x0c\x00",
        8 },
      NULL }, /* makes 22, and is cut */
    { "lzf bomb",
      0,
      { "\xc3\x04\x80\x7f\xff\xff\xff"
        "abcd",
        11 },
      NULL },
    { "huge string",
      0,
      { "\x81\x7f\xff\xff\xff\xff\xff\xff\xff"
        "abcd",
        13 },
      NULL },
    { "encoding 4", 0, { "\xc4\x39\x30", 3 }, NULL },
    { "list",
      1,
      { "\x02\x01"
        "a\xc0\x07",
        5 },
      "a 7 " },
    { "empty list", 1, { "\x00", 1 }, NULL },
    { "more than there is",
      1,
      { "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01"
        "a",
        11 },
      NULL },
    { "set", 2, { "\x02\xc0\x01\xc0\x02", 5 }, "1 2 " },
    { "set, twice", 2, { "\x02\xc0\x01\xc0\x01", 5 }, NULL },
    { "set, twice as text",
      2,
      { "\x03\x01"
        "b\xc0\x01\x01"
        "1",
        7 },
      NULL },
    { "zset text",
      3,
      { "\x03\x01"
        "a\x03"
        "1.5\x01"
        "b\xfe\x01"
        "c\xff",
        13 },
      "c=-inf a=1.5 b=inf " },
    { "zset nan",
      3,
      { "\x01\x01"
        "a\xfd",
        4 },
      NULL },
    { "zset nan as text",
      3,
      { "\x01\x01"
        "a\x03"
        "nan",
        7 },
      NULL },
    { "zset no number",
      3,
      { "\x01\x01"
        "a\x03"
        "1x5",
        7 },
      NULL },
    { "hash",
      4,
      { "\x01\x01"
        "a\x01"
        "b",
        5 },
      "a=b " },
    { "hash, twice",
      4,
      { "\x02\x01"
        "a\x01"
        "b\x01"
        "a\x01"
        "c",
        9 },
      NULL },
    { "zset",
      5,
      { "\x01\x01"
        "a\x00\x00\x00\x00\x00\x00\xf8\x3f",
        11 },
      "a=1.5 " },
    { "zset binary nan",
      5,
      { "\x01\x01"
        "a\x00\x00\x00\x00\x00\x00\xf8\x7f",
        11 },
      NULL },
    { "zset, twice",
      5,
      { "\x02\x01"
        "a\x00\x00\x00\x00\x00\x00\xf8\x3f\x01"
        "a\x00\x00\x00\x00\x00\x00\xf8\x3f",
        21 },
      NULL },
    { "module",
      6,
      { "\x01\x01"
        "a\x01"
        "b",
        5 },
      NULL },
    { "module 2",
      7,
      { "\x01\x01"
        "a\x01"
        "b",
        5 },
      NULL },
    { "type 8",
      8,
      { "\x01\x01"
        "a\x01"
        "b",
        5 },
      NULL },
    { "type 200",
      200,
      { "\x01\x01"
        "a\x01"
        "b",
        5 },
      NULL },
    { "zipmap",
      9,
      { "\x0b\x01\x01"
        "a\x03\x02"
        "xyz??\xff",
        12 },
      "a=xyz " },
    { "zipmap, odd",
      9,
      { "\x04\x01\x01"
        "a\xff",
        5 },
      NULL },
    { "zipmap, count",
      9,
      { "\x0b\x02\x01"
        "a\x03\x02"
        "xyz??\xff",
        12 },
      NULL },
    { "zipmap, too long",
      9,
      { "\x0b\x01\x01"
        "a\x03\x03"
        "xyz??\xff",
        12 },
      NULL },
    { "ziplist", 10, { "\x14" ZIP3, 21 }, "a 5 -300 " },
    { "ziplist, tail",
      10,
      { "\x10\x10\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x01"
        "a\x03\xf6\xff",
        17 },
      NULL },
    { "ziplist, count",
      10,
      { "\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x03\x00\x00\x01"
        "a\x03\xf6\xff",
        17 },
      NULL },
    { "ziplist, back",
      10,
      { "\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01"
        "a\x04\xf6\xff",
        17 },
      NULL },
    { "ziplist, size",
      10,
      { "\x10\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01"
        "a\x03\xf6\xff",
        17 },
      NULL },
    { "ziplist, string",
      10,
      { "\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x04"
        "a\x03\xf6\xff",
        17 },
      NULL },
    { "empty ziplist", 10, { "\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff", 12 }, NULL },
    { "intset", 11, { "\x0e" INTS, 15 }, "-1 1 2 " },
    { "intset, order", 11, { "\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00", 13 }, NULL },
    { "intset, twice", 11, { "\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x02\x00", 13 }, NULL },
    { "empty intset", 11, { "\x08\x02\x00\x00\x00\x00\x00\x00\x00", 9 }, NULL },
    { "zset ziplist", 12, { "\x10" ZIP2, 17 }, "a=5 " },
    { "zset ziplist, half", 12, { "\x14" ZIP3, 21 }, NULL },
    { "hash ziplist", 13, { "\x10" ZIP2, 17 }, "a=5 " },
    { "hash ziplist, half", 13, { "\x14" ZIP3, 21 }, NULL },
    { "set of ziplists", 14, { "\x02\x14" ZIP3 "\x10" ZIP2, 39 }, "a 5 -300 a 5 " },
    { "quicklist of nothing",
      14,
      { "\x01\x0b\x0b\x00\x00\x00\x0a\x00\x00\x00\x00\x00\xff", 13 },
      NULL },
    { "hash listpack", 16, { "\x0c" LP2, 13 }, "a=5 " },
    { "hash listpack, twice", 16, { "\x11" LPSAME, 18 }, NULL },
    { "hash listpack, empty", 16, { "\x07" LPEMPTY, 8 }, NULL },
    { "zset listpack", 17, { "\x0c" LP2, 13 }, "a=5 " },
    { "zset listpack, twice", 17, { "\x11" LPSAME, 18 }, NULL },
    { "chunks", 18, { "\x03\x02\x0c" LP2 "\x01\x02hi\x02\x07" LPEMPTY, 28 }, "a 5 hi " },
    { "chunk of kind 3", 18, { "\x01\x03\x0c" LP2, 15 }, NULL },
    { "chunks, one empty", 18, { "\x01\x02\x07" LPEMPTY, 10 }, NULL },
    { "set listpack", 20, { "\x0c" LP2, 13 }, "a 5 " },
    { "set listpack, twice", 20, { "\x11" LPSAME, 18 }, NULL },
    { "set listpack, empty", 20, { "\x07" LPEMPTY, 8 }, NULL },
    { "timed hash",
      24,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x02\x01\x01"
        "a\xc0\x05\x00\x01"
        "b\xc0\x06",
        19 },
      "a=5@1000 b=6 " },
    { "timed hash, later",
      24,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x02@A\x01"
        "a\xc0\x05\x01\x01"
        "b\xc0\x06",
        20 },
      "b=6@1000 a=5@1064 " },
    { "timed hash, due 0",
      24,
      { "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01"
        "a\xc0\x05",
        14 },
      NULL },
    { "timed hash, farthest",
      24,
      { "\xff\xff\xff\xff\xff\x3f\x00\x00\x01\x01\x01"
        "a\xc0\x05",
        14 },
      "a=5@70368744177663 " },
    { "timed hash, too far",
      24,
      { "\xff\xff\xff\xff\xff\x3f\x00\x00\x01\x02\x01"
        "a\xc0\x05",
        14 },
      NULL },
    { "timed hash, first beyond",
      24,
      { "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x01"
        "a\xc0\x05",
        14 },
      NULL },
    { "timed hash, no dues",
      24,
      { "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x01"
        "a\xc0\x05",
        14 },
      "a=5 " },
    { "timed hash, twice",
      24,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x02\x01\x01"
        "a\xc0\x05\x00\x01"
        "a\xc0\x05",
        19 },
      NULL },
    { "timed hash of the candidates",
      22,
      { "\x02"
        "C\xe8\x01"
        "a\xc0\x05\x00\x01"
        "b\xc0\x06",
        12 },
      "a=5@1000 b=6 " },
    { "timed hash of the candidates, too far",
      22,
      { "\x01\x81\x00\x00@\x00\x00\x00\x00\x00\x01"
        "a\xc0\x05",
        14 },
      NULL },
    { "timed listpack of the candidates",
      23,
      { "\x16\x16\x00\x00\x00\x06\x00\x81"
        "a\x02\x05\x01\xc3\xe8\x02\x81"
        "b\x02\x06\x01\x00\x01\xff",
        23 },
      "a=5@1000 b=6 " },
    { "timed listpack",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x16\x16\x00\x00\x00\x06\x00\x81"
        "a\x02\x05\x01\xc3\xe8\x02\x81"
        "b\x02\x06\x01\x00\x01\xff",
        31 },
      "a=5@1000 b=6 " },
    { "timed listpack, half",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x14\x14\x00\x00\x00\x05\x00\x81"
        "a\x02\x05\x01\xc3\xe8\x02\x81"
        "b\x02\x06\x01\xff",
        29 },
      NULL },
    { "timed listpack, a name",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x12\x12\x00\x00\x00\x04\x00\x81"
        "a\x02\x05\x01\xc3\xe8\x02\x81"
        "b\x02\xff",
        27 },
      NULL },
    { "timed listpack, empty",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x07\x07\x00\x00\x00\x00\x00\xff", 16 },
      NULL },
    { "timed listpack, twice",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x15\x15\x00\x00\x00\x06\x00\x81"
        "a\x02\x01\x01\x05\x01\x81"
        "a\x02\x02\x01\x05\x01\xff",
        30 },
      NULL },
    { "timed listpack, negative",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x0f\x0f\x00\x00\x00\x03\x00\x81"
        "a\x02\x01\x01\xdf\xff\x02\xff",
        24 },
      NULL },
    { "timed listpack, text",
      25,
      { "\xe8\x03\x00\x00\x00\x00\x00\x00\x0f\x0f\x00\x00\x00\x03\x00\x81"
        "a\x02\x01\x01\x81x\x02\xff",
        24 },
      NULL },
};

#endif
