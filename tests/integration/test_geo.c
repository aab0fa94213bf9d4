/* test_geo.c -- The geo family beside redis-server: the same places, areas, orders and digits.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "base/rng.h"
#include "compare.h"
#include "unit.h"
#include <stdio.h>

#define SICILY "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"

START_TEST(test_geoadd)
{
    compare(SICILY, SICILY, "GEOADD g 1 1 a 2 2 b", "GEOADD g NX 3 3 a 3 3 c",
            "GEOADD g XX 4 4 a 4 4 d", "GEOADD g CH 5 5 a 5 5 e", "GEOADD g ch xx 6 6 a 6 6 f",
            "GEOADD g NX CH 7 7 a 7 7 h", "ZRANGE g 0 -1 WITHSCORES", "GEOADD g NX XX 1 1 a",
            "GEOADD g 1 1", "GEOADD g 1 1 a 1", "GEOADD g 1 1 a 1 1", "GEOADD g NX",
            "GEOADD g NX CH", "GEOADD g CH XX NX", "GEOADD g foo 1 1 a", "GEOADD g 1 foo a",
            "GEOADD g foo 1 a", "GEOADD g 1 1 a nan 1 b", "GEOADD g inf 1 a",
            "GEOADD g 1 1 z 1 -86 b", "ZSCORE g z",
            "GEOADD g 180 85.05112878 ne -180 -85.05112878 sw 180 -85.05112878 se 0 0 zero",
            "GEOADD g 180.0001 0 a", "GEOADD g 0 85.05112879 a", "GEOADD g -1e300 1 a",
            "GEOPOS g ne sw se zero", "GEOHASH g ne sw se zero", "ZRANGE g 0 -1 WITHSCORES",
            "SET s x", "GEOADD s 1 1 a", "GEOADD s 1000 1 a", "GEOADD", "TYPE g",
            "OBJECT ENCODING g", "EXPIRE g 100", "GEOADD g 9 9 i", "~near=500 PTTL g");
}
END_TEST

START_TEST(test_geo_look)
{
    compare(SICILY, "SET s x", "GEOPOS g Palermo no Catania", "GEOPOS g", "GEOPOS nokey",
            "GEOPOS s", "GEOPOS nokey a b", "GEOPOS s a", "GEOPOS", "GEOHASH g Palermo no Catania",
            "GEOHASH g", "GEOHASH nokey a b", "GEOHASH s a", "GEODIST g Palermo Catania",
            "GEODIST g Palermo Catania km", "GEODIST g Palermo Catania MI",
            "GEODIST g Palermo Catania Ft", "GEODIST g Palermo Catania m",
            "GEODIST g Palermo Palermo", "GEODIST g Palermo no", "GEODIST g no Palermo",
            "GEODIST nokey a b", "GEODIST nokey a b foo", "GEODIST s a b", "GEODIST s a b foo",
            "GEODIST g Palermo Catania foo", "GEODIST g Palermo Catania m x", "GEODIST g a",
            "ZADD z 1 a 1.5 b -1 c -0.5 d 1e300 e inf f -inf g 4503599627370495 h "
            "4503599627370496 i 9007199254740993 j 9223372036854775807 k 18446744073709551615 l "
            "-9223372036854775808 m -1e19 n 1e19 o 0 p",
            "GEOPOS z a b c d e f g h i j k l m n o p", "GEOHASH z a b c d e f g h i j k l m n o p",
            "GEODIST z a h", "GEODIST z c d km",
            "GEORADIUSBYMEMBER z c 40000 km WITHDIST WITHCOORD WITHHASH",
            "GEORADIUSBYMEMBER z h 20000 km WITHDIST ASC", "DEL z");
}
END_TEST

START_TEST(test_georadius_arguments)
{
    compare(SICILY, "SET s x", "GEORADIUS g 15 37 200 km", "GEORADIUS g 15 37 200 KM withdist",
            "GEORADIUS g 15 37 200 km WITHCOORD WITHHASH WITHDIST",
            "GEORADIUS g 15 37 200 km DESC COUNT 1", "GEORADIUS g 15 37 200 km COUNT 1 ANY",
            "GEORADIUS g 15 37 200 km ANY", "GEORADIUS g 15 37 200 km COUNT 0",
            "GEORADIUS g 15 37 200 km COUNT -1", "GEORADIUS g 15 37 200 km COUNT x",
            "GEORADIUS g 15 37 200 km COUNT", "GEORADIUS g 15 37 200 km STORE",
            "GEORADIUS g 15 37 200 km foo", "GEORADIUS g 15 37 200 km ASC DESC",
            "GEORADIUS g 15 37 -1 km", "GEORADIUS g 15 37 x km", "GEORADIUS g 15 37 1 foo",
            "GEORADIUS g 15 x 1 km", "GEORADIUS g 15 90 1 km", "GEORADIUS g 15 37 1",
            "GEORADIUS g 15 37 nan km", "GEORADIUS g 15 37 inf km ASC", "GEORADIUS g 15 37 0 m",
            "GEORADIUS g 13.361389 38.115556 1 m WITHDIST", "GEORADIUS nokey 15 37 200 km",
            "GEORADIUS nokey 15 90 200 km", "GEORADIUS nokey 15 37 x km", "GEORADIUS s 15 37 x km",
            "GEORADIUS nokey 15 37 200 km foo", "GEORADIUS nokey 15 37 200 km COUNT 0",
            "GEORADIUS_RO g 15 37 200 km", "GEORADIUS_RO g 15 37 200 km STORE d",
            "GEORADIUS_RO g 15 37 200 km STOREDIST d",
            "GEORADIUSBYMEMBER g Palermo 200 km WITHDIST", "GEORADIUSBYMEMBER g no 200 km",
            "GEORADIUSBYMEMBER nokey no 200 km", "GEORADIUSBYMEMBER nokey no x km",
            "GEORADIUSBYMEMBER nokey no x foo bar", "GEORADIUSBYMEMBER nokey no -1 foo COUNT 1",
            "GEORADIUSBYMEMBER s no 200 km", "GEORADIUSBYMEMBER g Palermo x km",
            "GEORADIUSBYMEMBER g no x km", "GEORADIUSBYMEMBER_RO g Catania 200 mi ASC WITHDIST",
            "GEORADIUSBYMEMBER_RO g Catania 200 mi STORE d", "GEORADIUSBYMEMBER g Catania 100 ft",
            "EVAL_RO \"return redis.call('GEORADIUS_RO','g','15','37','200','km')\" 1 g");
}
END_TEST

START_TEST(test_geosearch_arguments)
{
    compare(
        SICILY, "SET s x", "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km",
        "GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST WITHCOORD WITHHASH",
        "GEOSEARCH g BYBOX 400 400 km FROMMEMBER Palermo DESC",
        "GEOSEARCH g FROMMEMBER no BYRADIUS 1 km", "GEOSEARCH g FROMMEMBER Palermo ASC DESC ASC",
        "GEOSEARCH g BYRADIUS 1 km ASC DESC", "geosearch g BYRADIUS 1 km ASC DESC",
        "GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 km",
        "GEOSEARCH g FROMMEMBER Palermo BYBOX 1 1 km BYRADIUS 1 km",
        "GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 km BYRADIUS 1 km",
        "GEOSEARCH g FROMMEMBER Palermo FROMMEMBER Palermo BYRADIUS 1 km",
        "GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 -1 km", "GEOSEARCH g FROMLONLAT 15 37 BYBOX x 1 km",
        "GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 x km", "GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 1 foo",
        "GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 1", "GEOSEARCH g FROMLONLAT 15 x BYBOX 1 1 m",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 ANY",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY COUNT 1 DESC WITHDIST",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY", "GEOSEARCH g ASC ANY COUNT 1 DESC ASC",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STORE d",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST",
        "GEOSEARCH nokey FROMLONLAT 15 37 BYRADIUS 200 km",
        "GEOSEARCH nokey FROMMEMBER a BYRADIUS 200 km", "GEOSEARCH nokey FROMMEMBER a ASC DESC ASC",
        "GEOSEARCH nokey FROMMEMBER a BYRADIUS -1 km",
        "GEOSEARCH nokey FROMMEMBER a FROMLONLAT 1 1 BYRADIUS 1 km",
        "GEOSEARCH s FROMMEMBER a BYRADIUS -1 km", "GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 9223372036854775807",
        "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1e300 km", "GEOSEARCH g");
}
END_TEST

START_TEST(test_geo_store)
{
    compare(
        SICILY, "SET s x", "GEORADIUS g 15 37 200 km STORE d", "ZRANGE d 0 -1 WITHSCORES",
        "GEORADIUS g 15 37 200 km STOREDIST d",
        "EVAL \"return math.floor(redis.call('ZSCORE',KEYS[1],ARGV[1])*1000000)\" 1 d Catania",
        "ZRANGE d 0 -1", "GEORADIUS g 15 37 200 km STORE a STOREDIST b",
        "GEORADIUS g 15 37 200 km STOREDIST b STORE a", "GEORADIUS g 15 37 200 km STORE a STORE c",
        "GEORADIUS g 15 37 200 km STORE store", "GEORADIUS g 15 37 200 km STOREDIST store STORE x",
        "ZRANGE x 0 -1", "EXISTS STORE", "GEORADIUS g 15 37 200 km STOREDIST STORE STORE storedist",
        "ZRANGE storedist 0 -1", "GEORADIUS nokey 15 37 200 km STORE storedist STOREDIST x",
        "EXISTS x", "GEORADIUSBYMEMBER g Palermo 200 km STOREDIST store STORE y", "ZRANGE y 0 -1",
        "GEORADIUS g 15 37 200 km STORE a WITHDIST", "GEORADIUS g 15 37 1 m STORE d", "EXISTS d",
        "GEORADIUS g 15 37 1 m STORE d", "GEORADIUS nokey 15 37 1 m STORE b", "EXISTS b",
        "GEORADIUS g 15 37 200 km STORE s", "TYPE s", "GEORADIUS g 15 37 200 km STORE t",
        "EXPIRE t 100", "GEORADIUS g 15 37 200 km STORE t", "PTTL t",
        "GEORADIUSBYMEMBER g Palermo 200 km STOREDIST e COUNT 1", "ZRANGE e 0 -1 WITHSCORES",
        "GEORADIUSBYMEMBER nokey Palermo 200 km STOREDIST e", "EXISTS e",
        "GEOSEARCHSTORE f g FROMMEMBER Catania BYBOX 400 400 km STOREDIST",
        "ZRANGE f 0 -1 WITHSCORES", "GEOSEARCHSTORE f g FROMMEMBER Catania BYRADIUS 1 km DESC",
        "ZRANGE f 0 -1 WITHSCORES", "GEOSEARCHSTORE g g FROMMEMBER Catania BYRADIUS 1 km",
        "ZRANGE g 0 -1 WITHSCORES", "GEOSEARCHSTORE f g FROMMEMBER Catania BYRADIUS 1 km WITHDIST",
        "GEOSEARCHSTORE f g FROMMEMBER Catania BYRADIUS 1 km STOREDIST x",
        "GEOSEARCHSTORE f nokey FROMMEMBER Catania BYRADIUS 1 km", "EXISTS f",
        "GEOSEARCHSTORE f nokey FROMMEMBER Catania BYRADIUS 1 km", "RPUSH l x",
        "GEOSEARCHSTORE f l FROMMEMBER Catania BYRADIUS 1 km", "GEOSEARCHSTORE f g",
        "GEOSEARCHSTORE", "GEOSEARCHSTORE l g FROMLONLAT 15 37 BYRADIUS 200 km",
        "OBJECT ENCODING l", "COMMAND GETKEYS GEORADIUS g 1 1 1 km STORE a",
        "COMMAND GETKEYSANDFLAGS GEORADIUS g 1 1 1 km STOREDIST a STORE b",
        "COMMAND GETKEYS GEORADIUSBYMEMBER g m 1 km STORE a",
        "COMMAND GETKEYS GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m",
        "COMMAND GETKEYS GEORADIUS g 1 1 1 km");
}
END_TEST

/* Where in the world: anywhere; near the date line; near the ends of the map; within some metres.
 */
static void random_place(unsigned region, double *lon, double *lat)
{
    double a = rng_unit() * 2 - 1, b = rng_unit() * 2 - 1;
    switch (region) {
    case 0: *lon = a * 180, *lat = b * 85.05; break;
    case 1: *lon = a < 0 ? -180 - a : 180 - a, *lat = b * 60; break;
    case 2: *lon = a * 180, *lat = (b < 0 ? -85 : 85) - b * 3; break;
    default: *lon = 10 + a / 1000, *lat = 50 + b / 1000; break;
    }
}

START_TEST(test_geo_random)
{
    static const char *const unit[] = { "m", "km", "ft", "mi" };
    static const char *const more[] = { "",
                                        "ASC",
                                        "DESC",
                                        "COUNT 3",
                                        "COUNT 20 DESC",
                                        "COUNT 5 ANY",
                                        "COUNT 7 ANY ASC",
                                        "WITHDIST",
                                        "WITHHASH WITHCOORD" };
    struct compare_script s = { NULL, 0 };
    for (unsigned i = 0; i < 600; i++) {
        unsigned region = i / 10 % 4;
        double lon, lat;
        random_place(region, &lon, &lat);
        if (region == 3) { /* no two in one cell: Redis orders equal distances as it happens */
            lat = 50 + ((double)i - 300) / 300000;
        }
        compare_add(&s, "GEOADD g%u %.17g %.17g m%u", region, lon, lat, i);
    }
    for (unsigned i = 0; i < 1500; i++) {
        unsigned region = i % 4;
        double lon, lat;
        /* 2^-1 .. 2^24 metres, mostly such that something is found. */
        double metres = (double)(1u << rng_below(24)) * (0.5 + rng_unit());
        const char *u = unit[rng_below(4)], *m = more[rng_below(countof(more))];
        random_place(region, &lon, &lat);
        switch (rng_below(5)) {
        case 0:
            compare_add(&s, "GEOSEARCH g%u FROMLONLAT %.17g %.17g BYRADIUS %.17g %s %s", region,
                        lon, lat, metres, u, m);
            break;
        case 1:
            compare_add(&s, "GEOSEARCH g%u FROMLONLAT %.17g %.17g BYBOX %.17g %.17g %s %s", region,
                        lon, lat, metres, metres * rng_unit() * 4, u, m);
            break;
        case 2:
            compare_add(&s, "GEOSEARCH g%u FROMLONLAT %.17g %.17g BYBOX %.17g %.17g m %s", region,
                        lon, lat, metres, metres * (1 + rng_unit()), m);
            break;
        case 3:
            compare_add(&s, "GEORADIUS g%u %.17g %.17g %.17g m %s", region, lon, lat, metres, m);
            break;
        default:
            compare_add(&s, "GEOSEARCHSTORE d%u g%u FROMLONLAT %.17g %.17g BYRADIUS %.17g m %s",
                        i % 3, region, lon, lat, metres, rng_below(2) ? "ASC COUNT 20" : "COUNT 9");
            break;
        }
        compare_add(&s, "GEODIST g%u m%u m%u", region, (unsigned)rng_below(600),
                    (unsigned)rng_below(600));
    }
    compare_script(&s);
}
END_TEST

START_TEST(test_geo_recovered)
{
    compare_recovered(SICILY, "GEOADD g NX 1 1 a 2 2 Palermo", "GEOADD g XX CH 3 3 a 4 4 no",
                      "GEORADIUS g 15 37 200 km STORE d",
                      "GEORADIUS g 15 37 200 km DESC COUNT 1 STOREDIST e",
                      "GEOSEARCHSTORE f g FROMMEMBER Catania BYBOX 400 400 km STOREDIST",
                      "GEOSEARCHSTORE g2 g FROMMEMBER Catania BYRADIUS 1 km",
                      "GEOSEARCHSTORE g2 g2 FROMMEMBER Catania BYRADIUS 1 km STOREDIST", "SET x 1",
                      "GEOSEARCHSTORE x g FROMLONLAT 100 0 BYRADIUS 1 km", "SET y 1",
                      "GEOSEARCHSTORE y nokey FROMLONLAT 100 0 BYRADIUS 1 km", "GEOADD late 1 1 a",
                      "PEXPIRE late 30", "~near=1 DEBUG SLEEP 0.05",
                      "GEOSEARCHSTORE gone late FROMLONLAT 1 1 BYRADIUS 1 m", "SELECT 3", SICILY,
                      "GEORADIUSBYMEMBER g Palermo 500 km STOREDIST d", "SELECT 0", "MULTI",
                      "GEOADD m 1 1 a", "GEORADIUS m 1 1 1 m STORE n", "EXEC");
}
END_TEST

UNIT_SUITE(geo)
{
    TCase *tc =
        unit_case_slow(suite, "geo", 300, test_geoadd, test_geo_look, test_georadius_arguments,
                       test_geosearch_arguments, test_geo_store, test_geo_random);
    tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
    unit_case(suite, "recovered", test_geo_recovered);
}
