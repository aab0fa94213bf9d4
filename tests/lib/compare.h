/* compare.h -- The same lines of commands to kv and to redis-server; every reply, every keyspace
 * event and the keys that remain must be equal.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 *     START_TEST(test_append)
 *     {
 *         compare("APPEND k 'a b'",
 *                 "APPEND k \"\\x00\"",
 *                 "~near=1000 PTTL k",
 *                 "BITCOUNT nokey 1 => -ERR syntax error",
 *                 "@b &BLPOP l 0", "RPUSH l x", "@b <");
 *     }
 *     END_TEST
 *     UNIT_SUITE(string)
 *     {
 *         TCase *tc = unit_case(suite, "string", test_append);
 *         tcase_add_unchecked_fixture(tc, compare_start, compare_stop);
 *     }
 *
 * All lines run twice, in RESP2 and in RESP3, each time on empty servers. A difference does not
 * end the run; the test fails at its end with all of them (the first 20), by line number.
 *
 * A LINE is, in this order:
 *   @name      the connection; without: the main one. Opened when first named.
 *   ~a,b=n     normalisers for this reply:
 *                sort     elements of the outermost array or set, pairs of the outermost map, in
 *                         any order
 *                pairs    the outermost array is a flat list of pairs in any order (HGETALL in
 *                         RESP2; a map is as with sort)
 *                near=n   integers at any depth may differ by n
 *                type     only the type is compared (RANDOMKEY, TIME)
 *                code     of an error only the first word is compared
 *   a command, with the quoting of redis-cli; then optionally
 *   => line    what kv must answer, as resp_line() writes it, whatever redis answers: for what
 *              changed after 7.0.15; events are not compared then
 * or, after @name:
 *   &command   is sent and not read: it blocks; the next line waits until it does
 *   <          reads one reply or push and compares it (may follow ~normalisers)
 *   !quiet     nothing may arrive here within 100 ms
 *   !close     closes the connection
 *   #...       a comment
 *
 * EVENTS     Both servers publish keyspace events (all classes but expired and evicted, whose
 *            moment is not fixed). They are compared after each line, unless its connection cannot
 *            PUBLISH just then (in MULTI, blocked, subscribed): then after the next one that can.
 * STATE      At the end: every key of database 0 with type, encoding, expiry (within 2 s), value.
 */
#ifndef TESTS_COMPARE_H
#define TESTS_COMPARE_H

#include "server.h"

/* Fixture for a case: a kv-server with 4 threads and a redis-server, empty before each run. */
void compare_start(void);
void compare_stop(void);

/* Between compare_start() and compare_stop(). */
#define compare(...) compare_lines(__FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })
void compare_lines(const char *file, int line, const char *const *lines);

/* The lines on servers of their own; then kv is killed and started again, and its keys must still
 * be those of redis: what the commands wrote into the log says what they did. */
#define compare_recovered(...) \
    compare_recovered_lines(__FILE__, __LINE__, (const char *const[]){ __VA_ARGS__, NULL })
void compare_recovered_lines(const char *file, int line, const char *const *lines);

/* The same with generated lines: compare_add() each, compare_script() runs them once and empties
 * the script. */
struct compare_script {
    char **line;
    size_t count;
};
void compare_add(struct compare_script *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define compare_script(s) compare_script_run(__FILE__, __LINE__, s)
void compare_script_run(const char *file, int line, struct compare_script *s);
/* As compare_recovered(). */
#define compare_script_recovered(s) compare_script_run_recovered(__FILE__, __LINE__, s)
void compare_script_run_recovered(const char *file, int line, struct compare_script *s);

/* What these are made of: runs the lines with one protocol on any two servers, or compares the keys
 * alone. */
struct compare_result {
    unsigned lines, errors; /* compared replies, of which errors */
    unsigned events, keys;
    unsigned differences;
    char *report; /* the differences as text, to be freed */
};
void compare_run(const struct server *kv, const struct server *redis, int protocol,
                 const char *const *lines, struct compare_result *out);
void compare_keys(const struct server *kv, const struct server *redis, struct compare_result *out);
/* Arguments that both servers must be started with. */
#define COMPARE_EVENTS "--notify-keyspace-events", "Eg$lshztdmn"
#endif
