/* test_config_rewrite.c -- CONFIG REWRITE writes a file that the next start reads as it was.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "base/base.h"
#include "server.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    server_kill(&kv);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    fclose(f);
}

/* The main file, which includes one with the other text. */
static void configure(const char *text, const char *included)
{
    char path[400], all[2000];
    snprintf(path, sizeof path, "%s/inc.conf", kv.dir);
    snprintf(kv.conf, sizeof kv.conf, "%s/main.conf", kv.dir);
    write_file(path, included);
    snprintf(all, sizeof all, "%sinclude %s\n", text, path);
    write_file(kv.conf, all);
}

static struct client *begin(void)
{
    server_start(&kv);
    server_wait_ready(&kv);
    return server_connect(&kv);
}

static void end(struct client *c)
{
    client_close(c);
    server_stop(&kv);
}

/* The names that the files give, and no others: after the start, and after two with CONFIG REWRITE
 * before each. */
static void expect_names(const char *const *known, const char *const *unknown)
{
    for (unsigned i = 0; i < 3; i++) {
        struct client *c = begin();
        for (unsigned k = 0; known[k] != NULL; k++) {
            const char *words[] = { known[k], "no-such-argument", "x", "y" };
            client_send_args(c, 4, words, NULL);
            const char *line = client_read_line(c);
            ck_assert_msg(strstr(line, "unknown command") == NULL, "%s: %s", known[k], line);
        }
        for (unsigned k = 0; unknown[k] != NULL; k++) {
            client_expect_error(c, "ERR unknown command", "%s", unknown[k]);
        }
        client_expect(c, "+OK", "CONFIG REWRITE");
        end(c);
    }
}

#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(test_renamed_in_included_file)
{
    configure("rename-command TIME T2\n", "rename-command ROLE R2\nrename-command LOLWUT \"\"\n");
    expect_names(NAMES("T2", "R2"), NAMES("TIME", "ROLE", "LOLWUT"));
}
END_TEST

START_TEST(test_renamed_with_quotes)
{
    configure("rename-command TIME \"t'q\"\nrename-command ROLE \"r \\x01\\\"\"\n", "");
    expect_names(NAMES("t'q", "r \x01\""), NAMES("TIME", "ROLE"));
}
END_TEST

START_TEST(test_renamed_with_space)
{
    configure("rename-command LOLWUT \"lol wut\"\nrename-command ROLE \"\"\n",
              "rename-command TIME t#\n");
    expect_names(NAMES("lol wut", "t#"), NAMES("LOLWUT", "ROLE", "TIME"));
}
END_TEST

/* What an included file says as well is not there once more after each start. */
START_TEST(test_pairs_of_included_file)
{
    configure("save 900 1\nclient-output-buffer-limit pubsub 1mb 2mb 3\n",
              "save 300 10\nsave 60 10000\nclient-output-buffer-limit normal 5mb 6mb 7\n");
    for (unsigned i = 0; i < 3; i++) {
        struct client *c = begin();
        client_expect(c, "[\"save\", \"900 1 300 10 60 10000\"]", "CONFIG GET save");
        client_expect(c,
                      "[\"client-output-buffer-limit\", \"normal 5242880 6291456 7 slave 268435456 "
                      "67108864 60 pubsub 1048576 2097152 3\"]",
                      "CONFIG GET client-output-buffer-limit");
        client_expect(c, "+OK", "CONFIG REWRITE");
        end(c);
    }
}
END_TEST

/* As many as fit, in both files. */
START_TEST(test_pairs_twice)
{
    char text[1000] = "save";
    for (unsigned i = 1; i <= 32; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, " %u %u", i, 2 * i);
    }
    strcat(text, "\n");
    configure(text, text);
    text[strlen(text) - 1] = '\0';
    for (unsigned i = 0; i < 2; i++) {
        struct client *c = begin();
        const struct resp *r = client_ask(c, "CONFIG GET save");
        ck_assert_str_eq(r->at[1]->text, text + 5);
        client_expect(c, "+OK", "CONFIG REWRITE");
        end(c);
    }
}
END_TEST

/* In a file, one word in quotes may hold several names; what CONFIG SET refuses, a start does, too.
 */
START_TEST(test_names_of_a_set)
{
    configure("shutdown-on-sigterm \"now  nosave \"\n", "shutdown-on-sigint force  save\n");
    for (unsigned i = 0; i < 2; i++) {
        struct client *c = begin();
        client_expect(c,
                      "[\"shutdown-on-sigterm\", \"nosave now\", \"shutdown-on-sigint\", "
                      "\"save force\"]",
                      "CONFIG GET shutdown-on-sig*");
        client_expect(c, "+OK", "CONFIG REWRITE");
        end(c);
    }
    static const char *const bad[] = { "sigterm save nosave", "sigint \"nosave save\"",
                                       "sigint default nosave now save" };
    for (unsigned i = 0; i < countof(bad); i++) {
        char line[80];
        snprintf(line, sizeof line, "shutdown-on-%s\n", bad[i]);
        configure("", line);
        char *before = server_log(&kv);
        size_t from = strlen(before);
        free(before);
        ck_assert_int_ne(server_try_start(&kv), 0);
        server_wait_log(&kv, from, "shutdown options SAVE and NOSAVE can't be used", 0);
    }
}
END_TEST

UNIT_SUITE(config_rewrite)
{
    TCase *tc = unit_case_slow(suite, "start again", 120, test_renamed_in_included_file,
                               test_renamed_with_quotes, test_renamed_with_space,
                               test_pairs_of_included_file, test_pairs_twice, test_names_of_a_set);
    tcase_add_checked_fixture(tc, setup, teardown);
}
