/* cmd_geo.c -- Members of sorted sets as places: GEOADD, GEOPOS, GEOHASH, GEODIST.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * VALUES   Sorted sets whose scores are cells (geo.h). Any sorted set will do: any score is a
 * place. EFFECTS  GEOADD as it came: the score follows from the coordinates by a few operations
 * that are exact everywhere (IEEE 754). */
#include "commands/geo_ops.h"
#include <stdio.h>

/* ---- Shared ---- */

bool arg_point(struct call *c, unsigned i, struct geo_point *p)
{
    if (!arg_f64(c, i, &p->lon) || !arg_f64(c, i + 1, &p->lat)) {
        return false;
    }
    if (!geo_valid(*p)) {
        reply_errorf(c, "ERR invalid longitude,latitude pair %f,%f", p->lon, p->lat);
        return false;
    }
    return true;
}

bool arg_unit(struct call *c, unsigned i, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } unit[] = { { "m", 1 }, { "km", 1000 }, { "ft", 0.3048 }, { "mi", 1609.34 } };
    for (unsigned u = 0; u < countof(unit); u++) {
        if (arg_is(c, i, unit[u].name)) {
            *metres = unit[u].metres;
            return true;
        }
    }
    reply_error(c, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

bool geo_member(const struct entry *e, struct slice member, struct geo_point *p)
{
    double score;
    if (e == NULL || !zset_score(zset_of(e), member, &score)) {
        return false;
    }
    *p = geo_point_of(score);
    return true;
}

void reply_point(struct call *c, struct geo_point p)
{
    reply_array(c, 2);
    reply_human_double(c, p.lon);
    reply_human_double(c, p.lat);
}

void reply_distance(struct call *c, double d)
{
    char text[512]; /* DBL_MAX has 309 digits, and any radius is allowed as a unit's multiple */
    int n = snprintf(text, sizeof text, "%.4f", d);
    reply_bulk(c, slice_of(text, (size_t)n));
}

/* ---- GEOADD ---- */

static bool read_cell(struct call *c, unsigned i, double *score)
{
    struct geo_point p;
    if (!arg_point(c, i, &p)) {
        return false;
    }
    *score = geo_score(p);
    return true;
}

static void cmd_geoadd(struct call *c)
{
    struct zset_adding z = { .first = 2, .step = 3, .read = read_cell };
    for (; z.first < c->argc; z.first++) {
        if (arg_is(c, z.first, "nx")) {
            z.nx = true;
        } else if (arg_is(c, z.first, "xx")) {
            z.xx = true;
        } else if (arg_is(c, z.first, "ch")) {
            z.ch = true;
        } else {
            break;
        }
    }
    z.pairs = (c->argc - z.first) / 3;
    if ((c->argc - z.first) % 3 != 0 || z.pairs == 0 || (z.nx && z.xx)) {
        reply_syntax(c);
        return;
    }
    zset_adding_run(c, &z);
}

/* ---- Looking at members ---- */

static void cmd_geopos(struct call *c)
{
    struct entry *e;
    struct geo_point p;
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        if (geo_member(e, c->argv[i], &p)) {
            reply_point(c, p);
        } else {
            reply_null_array(c);
        }
    }
}

static void cmd_geohash(struct call *c)
{
    struct entry *e;
    struct geo_point p;
    char text[GEO_TEXT];
    if (!zset_read(c, &c->keys[0], &e)) {
        return;
    }
    reply_array(c, c->argc - 2);
    for (unsigned i = 2; i < c->argc; i++) {
        if (geo_member(e, c->argv[i], &p)) {
            geo_text(p, text);
            reply_bulk(c, slice_of(text, sizeof text));
        } else {
            reply_null(c);
        }
    }
}

static void cmd_geodist(struct call *c)
{
    struct entry *e;
    struct geo_point a, b;
    double metres = 1;
    if (c->argc > 5) {
        reply_syntax(c);
        return;
    }
    if ((c->argc == 5 && !arg_unit(c, 4, &metres)) || !zset_read(c, &c->keys[0], &e)) {
        return;
    }
    if (geo_member(e, c->argv[2], &a) && geo_member(e, c->argv[3], &b)) {
        reply_distance(c, geo_distance(a, b) / metres);
    } else {
        reply_null(c);
    }
}

#define GEO_ROW .acl = ACL_GEO, .group = "geo"
const struct command geo_commands[] = {
    { .name = "geoadd",
      .proc = cmd_geoadd,
      .arity = -5,
      .flags = CMD_WRITE | CMD_DENYOOM,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RW | KEY_UPDATE) },
      .since = "3.2.0",
      .complexity =
          "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
      .summary = "Add one or more geospatial items in the geospatial index represented using a "
                 "sorted set",
      .syntax = "key [condition=<NX|XX>]@6.2.0 [change=CH]@6.2.0 "
                "longitude_latitude_member=<longitude:double latitude:double member>...",
      .history = "6.2.0:Added the `CH`, `NX` and `XX` options." },
    { .name = "geopos",
      .proc = cmd_geopos,
      .arity = -2,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "3.2.0",
      .complexity = "O(N) where N is the number of members requested.",
      .summary = "Returns longitude and latitude of members of a geospatial index",
      .syntax = "key member..." },
    { .name = "geohash",
      .proc = cmd_geohash,
      .arity = -2,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "3.2.0",
      .complexity = "O(log(N)) for each member requested, where N is the number of elements in the "
                    "sorted set.",
      .summary = "Returns members of a geospatial index as standard geohash strings",
      .syntax = "key member..." },
    { .name = "geodist",
      .proc = cmd_geodist,
      .arity = -4,
      .flags = CMD_READONLY,
      GEO_ROW,
      .keys = { KEY_AT(1, KEY_RO | KEY_ACCESS) },
      .since = "3.2.0",
      .complexity = "O(log(N))",
      .summary = "Returns the distance between two members of a geospatial index",
      .syntax = "key member1 member2 [unit=<M|KM|FT|MI>]" },
    { .name = NULL },
};
