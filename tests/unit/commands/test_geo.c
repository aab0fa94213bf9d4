/* test_geo.c -- Cells and areas: what is known of a place, and that no member inside is left out.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "unit/ds/oracle.h"
#include "commands/geo.h"
#include <math.h>

static const struct geo_point palermo = { 13.361389, 38.115556 },
                              catania = { 15.087269, 37.502669 };

START_TEST(test_geo_known)
{
    char text[GEO_TEXT];
    ck_assert(geo_score(palermo) == 3479099956230698);
    ck_assert(geo_score(catania) == 3479447370796909);
    struct geo_point p = geo_point_of(3479099956230698), c = geo_point_of(3479447370796909);
    ck_assert(fabs(p.lon - palermo.lon) < 1e-5 && fabs(p.lat - palermo.lat) < 1e-5);
    ck_assert_int_eq(lround(geo_distance(p, c)), 166274);
    ck_assert(geo_distance(p, p) == 0);
    geo_text(p, text);
    ck_assert(memcmp(text, "sqc8b49rny0", GEO_TEXT) == 0);
    ck_assert(geo_valid(palermo) && geo_valid((struct geo_point){ -180, 85.05112878 }));
    ck_assert(!geo_valid((struct geo_point){ 180.1, 0 }));
    ck_assert(!geo_valid((struct geo_point){ 0, -85.06 }));
}
END_TEST

/* Scores of sorted sets that hold no places: every one is one, inside of the map. */
START_TEST(test_geo_any_score)
{
    static const double odd[] = { -1,     -0.5,   1e300,  -1e300,  INFINITY, -INFINITY,
                                  0x1p52, 0x1p53, 0x1p63, -0x1p63, 0x1p64,   1.5 };
    for (unsigned i = 0; i < countof(odd) + 1000; i++) {
        union {
            uint64_t bits;
            double v;
        } score = { rng_u64() };
        score.v = i < countof(odd) ? odd[i] : score.v;
        if (!isnan(score.v)) {
            want(geo_valid(geo_point_of(score.v)));
        }
    }
}
END_TEST

static struct geo_point random_point(double lon, double lat)
{
    return (struct geo_point){ (rng_unit() * 2 - 1) * lon, (rng_unit() * 2 - 1) * lat };
}

/* The cell of a point contains it, and a cell's middle is in the cell. */
START_TEST(test_geo_round)
{
    for (unsigned i = 0; i < 10000; i++) {
        struct geo_point p = random_point(180, 85.05);
        double score = geo_score(p);
        want(score >= 0 && score < 0x1p52 && score == floor(score));
        struct geo_point q = geo_point_of(score);
        want(fabs(p.lon - q.lon) < 360.0 / (1 << 26) && fabs(p.lat - q.lat) < 171.0 / (1 << 26));
        want(geo_score(q) == score);
    }
}
END_TEST

static bool covered(const struct geo_range *r, unsigned n, double score)
{
    for (unsigned i = 0; i < n; i++) {
        if (score >= r[i].from && score < r[i].below) {
            return true;
        }
    }
    return false;
}

START_TEST(test_geo_cover)
{
    unsigned inside = 0;
    for (unsigned i = 0; i < 3000; i++) {
        struct geo_range r[GEO_RANGES_MAX];
        double size = exp(rng_unit() * 15), metres;
        struct geo_area a = { .middle = random_point(180, 60),
                              .is_box = rng_below(2),
                              .radius = size,
                              .width = size * (1 + rng_unit()),
                              .height = size * (1 + rng_unit()),
                              .unit = 1 };
        unsigned n = geo_cover(&a, r);
        want(n >= 1 && n <= GEO_RANGES_MAX);
        for (unsigned j = 0; j < n; j++) {
            want(r[j].from < r[j].below);
        }
        for (unsigned j = 0; j < 100; j++) {
            struct geo_point p = random_point(size / 80000, size / 110000);
            p = (struct geo_point){ a.middle.lon + p.lon, a.middle.lat + p.lat };
            if (!geo_valid(p)) {
                continue;
            }
            p = geo_point_of(geo_score(p));
            bool in = geo_inside(&a, p, &metres);
            want(!in || covered(r, n, geo_score(p)));
            want(!in || fabs(metres - geo_distance(a.middle, p)) < 1e-6);
            want(a.is_box || in == (geo_distance(a.middle, p) <= size));
            inside += in;
        }
    }
    ck_assert_uint_gt(inside, 10000); /* else nothing was tested */
}
END_TEST

UNIT_SUITE(geo)
{
    unit_case(suite, "geo", test_geo_known, test_geo_any_score, test_geo_round, test_geo_cover);
}
