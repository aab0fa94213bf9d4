/* geo.c -- Cells, distances, areas.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/geo.h"
#include <math.h>

#define LON_MAX   180.0
#define LAT_MAX   85.05112878
#define STEPS_MAX 26             /* bits of each coordinate in a score */
#define EARTH     6372797.560856 /* radius in metres, as Redis has it */
#define MERCATOR  20037726.37    /* half of the map's width in metres */

/* ---- Cells ---- */

/* A cell among 2^steps times 2^steps. A coordinate at the upper end of its range is one beyond the
 * last: 2^steps. */
struct cell {
    uint32_t lon, lat;
    unsigned steps;
};
struct bounds {
    double low, high;
};
struct frame { /* what a cell is a part of */
    struct bounds lon, lat;
};
static const struct frame map = { { -LON_MAX, LON_MAX }, { -LAT_MAX, LAT_MAX } };
static const struct frame globe = { { -LON_MAX, LON_MAX }, { -90, 90 } };

bool geo_valid(struct geo_point p)
{
    return p.lon >= -LON_MAX && p.lon <= LON_MAX && p.lat >= -LAT_MAX && p.lat <= LAT_MAX;
}

static uint32_t part_of(double v, struct bounds b, unsigned steps)
{
    double part = (v - b.low) / (b.high - b.low);
    part *= (double)(UINT64_C(1) << steps);
    return (uint32_t)part;
}

static struct cell cell_at(struct geo_point p, const struct frame *f, unsigned steps)
{
    return (struct cell){ part_of(p.lon, f->lon, steps), part_of(p.lat, f->lat, steps), steps };
}

static double edge_of(uint64_t part, struct bounds b, unsigned steps)
{
    return b.low + ((double)part / (double)(UINT64_C(1) << steps)) * (b.high - b.low);
}

static struct frame cell_frame(struct cell c)
{
    return (struct frame){
        { edge_of(c.lon, map.lon, c.steps), edge_of((uint64_t)c.lon + 1, map.lon, c.steps) },
        { edge_of(c.lat, map.lat, c.steps), edge_of((uint64_t)c.lat + 1, map.lat, c.steps) }
    };
}

/* Its bits at the even places. */
static uint64_t spread(uint32_t v)
{
    uint64_t x = v;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x << 2) & 0x3333333333333333;
    return (x | x << 1) & 0x5555555555555555;
}

static uint32_t gather(uint64_t x)
{
    x &= 0x5555555555555555;
    x = (x | x >> 1) & 0x3333333333333333;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return (uint32_t)(x | x >> 16);
}

static uint64_t cell_bits(struct cell c)
{
    return spread(c.lat) | spread(c.lon) << 1;
}

double geo_score(struct geo_point p)
{
    return (double)cell_bits(cell_at(p, &map, STEPS_MAX));
}

/* What a conversion to uint64_t gives on x86-64, where any score is possible: below 0 it wraps. */
static uint64_t score_bits(double score)
{
    const double half = 0x1p63;
    double rest = score < half ? score : score - half;
    uint64_t top = score < half ? 0 : UINT64_C(1) << 63;
    return top ^ (rest >= -half && rest < half ? (uint64_t)(int64_t)rest : UINT64_C(1) << 63);
}

static double clamp(double v, double max)
{
    v = v > max ? max : v;
    return v < -max ? -max : v;
}

struct geo_point geo_point_of(double score)
{
    uint64_t bits = score_bits(score);
    struct frame f = cell_frame((struct cell){ gather(bits >> 1), gather(bits), STEPS_MAX });
    return (struct geo_point){ clamp((f.lon.low + f.lon.high) / 2, LON_MAX),
                               clamp((f.lat.low + f.lat.high) / 2, LAT_MAX) };
}

void geo_text(struct geo_point p, char text[GEO_TEXT])
{
    static const char digits[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = cell_bits(cell_at(p, &globe, STEPS_MAX));
    for (unsigned i = 0; i < GEO_TEXT - 1; i++) {
        text[i] = digits[bits >> (52 - 5 * (i + 1)) & 31];
    }
    text[GEO_TEXT - 1] = '0'; /* two bits are left for it: not enough */
}

/* ---- Distances ---- */

static double radians(double degrees)
{
    return degrees * (M_PI / 180.0);
}

static double degrees(double radians)
{
    return radians / (M_PI / 180.0);
}

double geo_distance(struct geo_point a, struct geo_point b)
{
    double lon_a = radians(a.lon), lat_a = radians(a.lat);
    double lon_b = radians(b.lon), lat_b = radians(b.lat);
    double u = sin((lat_b - lat_a) / 2), v = sin((lon_b - lon_a) / 2);
    return 2.0 * EARTH * asin(sqrt(u * u + cos(lat_a) * cos(lat_b) * v * v));
}

static bool inside_box(const struct geo_area *a, struct geo_point p, double *distance)
{
    double width = a->width * a->unit, height = a->height * a->unit;
    double north_south = EARTH * fabs(radians(p.lat) - radians(a->middle.lat));
    if (north_south > height / 2) {
        return false;
    }
    if (geo_distance(p, (struct geo_point){ a->middle.lon, p.lat }) > width / 2) {
        return false;
    }
    *distance = geo_distance(a->middle, p);
    return true;
}

bool geo_inside(const struct geo_area *a, struct geo_point p, double *distance)
{
    if (a->is_box) {
        return inside_box(a, p, distance);
    }
    *distance = geo_distance(a->middle, p);
    return !(*distance > a->radius * a->unit);
}

/* ---- Areas ---- */

/* The coordinates between which all of the area lies, more or less: near the poles it is not known
 * how far it goes east and west. */
static struct frame area_frame(const struct geo_area *a)
{
    double lon = a->middle.lon, lat = a->middle.lat;
    double height = a->unit * (a->is_box ? a->height / 2 : a->radius);
    double width = a->unit * (a->is_box ? a->width / 2 : a->radius);
    double up = degrees(height / EARTH);
    double wide_north = degrees(width / EARTH / cos(radians(lat + up)));
    double wide_south = degrees(width / EARTH / cos(radians(lat - up)));
    double wide = lat < 0 ? wide_south : wide_north;
    return (struct frame){ { lon - wide, lon + wide }, { lat - up, lat + up } };
}

/* So many that the area fits into a cell and its eight neighbours. */
static unsigned steps_for(double radius, double lat)
{
    int steps = 1;
    if (radius == 0) {
        return STEPS_MAX;
    }
    while (radius < MERCATOR) {
        radius *= 2;
        steps++;
    }
    steps -= 2; /* for the worst case, where the middle is near a corner of its cell */
    if (lat > 66 || lat < -66) { /* cells are narrow there */
        steps--;
        if (lat > 80 || lat < -80) {
            steps--;
        }
    }
    return steps < 1 ? 1 : steps > STEPS_MAX ? STEPS_MAX : (unsigned)steps;
}

/* In the order of the search. */
static const struct {
    int lon, lat;
} way[GEO_RANGES_MAX] = { { 0, 0 }, { 0, 1 },  { 0, -1 }, { 1, 0 },  { -1, 0 },
                          { 1, 1 }, { -1, 1 }, { 1, -1 }, { -1, -1 } };

static struct cell neighbour(struct cell c, unsigned i)
{
    uint32_t mask = (UINT32_C(1) << c.steps) - 1;
    c.lon = way[i].lon != 0 ? (c.lon + (uint32_t)way[i].lon) & mask : c.lon;
    c.lat = way[i].lat != 0 ? (c.lat + (uint32_t)way[i].lat) & mask : c.lat;
    return c;
}

/* Do the neighbours reach as far as the area? */
static bool cells_suffice(struct cell middle, const struct frame *area)
{
    return cell_frame(neighbour(middle, 1)).lat.high >= area->lat.high &&
           cell_frame(neighbour(middle, 2)).lat.low <= area->lat.low &&
           cell_frame(neighbour(middle, 3)).lon.high >= area->lon.high &&
           cell_frame(neighbour(middle, 4)).lon.low <= area->lon.low;
}

/* Does the area end inside of the cell in the middle, on the side of that neighbour? */
static bool useless(const struct frame *middle, const struct frame *area, unsigned i)
{
    return (way[i].lat < 0 && middle->lat.low < area->lat.low) ||
           (way[i].lat > 0 && middle->lat.high > area->lat.high) ||
           (way[i].lon < 0 && middle->lon.low < area->lon.low) ||
           (way[i].lon > 0 && middle->lon.high > area->lon.high);
}

unsigned geo_cover(const struct geo_area *a, struct geo_range range[GEO_RANGES_MAX])
{
    struct frame area = area_frame(a);
    double radius = a->is_box
                        ? sqrt(a->width / 2 * (a->width / 2) + a->height / 2 * (a->height / 2))
                        : a->radius;
    unsigned steps = steps_for(radius * a->unit, a->middle.lat);
    struct cell middle = cell_at(a->middle, &map, steps);
    if (steps > 1 && !cells_suffice(middle, &area)) {
        steps--;
        middle = cell_at(a->middle, &map, steps);
    }
    struct frame frame = cell_frame(middle);
    unsigned n = 0, shift = 2 * (STEPS_MAX - steps);
    for (unsigned i = 0; i < GEO_RANGES_MAX; i++) {
        if (steps >= 2 && useless(&frame, &area, i)) {
            continue;
        }
        uint64_t bits = cell_bits(neighbour(middle, i));
        struct geo_range r = { (double)(bits << shift), (double)((bits + 1) << shift) };
        /* Where there are few cells, neighbours of two sides are one; only what was searched last
         * is compared, and the middle never (Redis). */
        if (n < 2 || r.from != range[n - 1].from) {
            range[n++] = r;
        }
    }
    return n;
}
