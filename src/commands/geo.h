/* geo.h -- Places on the globe: cells of 52 bits, distances, and which ranges of cells cover an
 * area. SPDX-License-Identifier: BSD-3-Clause
 *
 * CELLS     A coordinate is the number of its part of the range (longitude -180..180, latitude
 *           -85.05112878..85.05112878, where the web Mercator map ends) in 2^26 equal parts; the
 *           bits of both, interleaved with those of the longitude in front, are the score of a
 *           member. Each pair of bits that is left out makes a cell four times as large: all
 *           cells inside of a larger one are a range of scores.
 * ARITHMETIC  Replies and their order are compared with Redis's byte by byte, so each expression
 *           has the operations of redis-server 7.0.15, in their order; its answers are the
 *           reference.
 * THREADS   Any; no state. */
#ifndef COMMANDS_GEO_H
#define COMMANDS_GEO_H

#include "base/base.h"

struct geo_point {
    double lon, lat; /* degrees */
};
bool geo_valid(struct geo_point p); /* inside the ranges above? */

double geo_score(struct geo_point p);        /* of its cell; p is valid */
struct geo_point geo_point_of(double score); /* the middle of the cell; any score, not NaN */
#define GEO_TEXT 11
void geo_text(struct geo_point p, char text[GEO_TEXT]); /* as geohash.org writes it */

double geo_distance(struct geo_point a, struct geo_point b); /* metres, on a sphere */

struct geo_area {
    struct geo_point middle;
    bool is_box;
    double radius;        /* of a circle */
    double width, height; /* of a box */
    double unit;          /* of these, in metres */
};
/* Is p inside, and how many metres from the middle? */
bool geo_inside(const struct geo_area *a, struct geo_point p, double *distance);

struct geo_range {
    double from, below; /* scores: from <= score < below */
};
#define GEO_RANGES_MAX 9
/* Ranges that together hold all that is inside, in the order in which Redis searches them. Returns
 * how many. Two may overlap only where Redis's do. */
unsigned geo_cover(const struct geo_area *a, struct geo_range range[GEO_RANGES_MAX]);
#endif
