/* test_log_at_start.c -- What a start makes of the data directory that it finds: a log that cannot
 * be seen is not taken for none, whatever `appendonly` says. SPDX-License-Identifier: BSD-3-Clause
 */
#include "server.h"
#include "unit.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server kv;

static void setup(void)
{
    server_init(&kv, SERVER_KV);
}

static void teardown(void)
{
    server_kill(&kv);
}

static const char *in_dir(const char *name)
{
    static char path[2][600];
    static unsigned at;
    at = !at;
    snprintf(path[at], sizeof path[at], "%s/%s", kv.dir, name);
    return path[at];
}

static void expect(const char *want, const char *line)
{
    struct client *c = server_connect(&kv);
    ck_assert_str_eq(client_line(c, "%s", line), want);
    client_close(c);
}

static void make_log(void)
{
    server_start(&kv);
    expect("+OK", "SET k v");
    server_stop(&kv);
}

/* With either setting the start ends with that status and these words. */
static void expect_refused(int status, const char *words)
{
    static const char *const settings[] = { "yes", "no" };
    for (unsigned i = 0; i < 2; i++) {
        char *before = server_log(&kv);
        int got = server_try_start(&kv, "--appendonly", settings[i]);
        ck_assert_msg(got != 0, "appendonly %s: it runs", settings[i]);
        ck_assert_msg(WIFEXITED(got) && WEXITSTATUS(got) == status, "appendonly %s: %#x",
                      settings[i], (unsigned)got);
        char *after = server_log(&kv), *news = after + strlen(before);
        ck_assert_msg(strstr(news, words) != NULL, "no \"%s\" in: %s", words, news);
        ck_assert_msg(strstr(news, "..") == NULL, "%s", news);
        free(before);
        free(after);
    }
}

START_TEST(test_no_current)
{
    make_log();
    ck_assert_int_eq(rename(in_dir("wal/CURRENT"), in_dir("aside")), 0);
    expect_refused(73, "to start empty. Nothing was changed. Exiting.");
    ck_assert_int_eq(rename(in_dir("aside"), in_dir("wal/CURRENT")), 0);
    server_start(&kv, "--appendonly", "no");
    expect("\"v\"", "GET k");
}
END_TEST

START_TEST(test_no_directory)
{
    make_log();
    ck_assert_int_eq(rename(in_dir("wal"), in_dir("aside")), 0);
    ck_assert_int_eq(symlink("nowhere", in_dir("wal")), 0);
    expect_refused(1, "Can't open the log in the data directory: ");
    ck_assert_int_eq(unlink(in_dir("wal")), 0);
    fclose(fopen(in_dir("wal"), "w"));
    expect_refused(1, "Can't open the log in the data directory: ");
    ck_assert_int_eq(unlink(in_dir("wal")), 0);
    ck_assert_int_eq(symlink("aside", in_dir("wal")), 0); /* elsewhere, and there */
    server_start(&kv, "--appendonly", "no");
    expect("\"v\"", "GET k");
}
END_TEST

/* It is there, and cannot be opened: as one without permission, from which nothing keeps root. */
START_TEST(test_no_way_in)
{
    make_log();
    ck_assert_int_eq(rename(in_dir("wal"), in_dir("aside")), 0);
    ck_assert_int_eq(symlink("wal", in_dir("wal")), 0);
    expect_refused(1, "Can't open the log in the data directory: ");
}
END_TEST

static unsigned entries(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

/* What a crash in the birth of a log leaves holds nothing; neither does a directory with the lock
 * alone. `appendonly no` makes no log of it. */
START_TEST(test_nothing_in_it)
{
    ck_assert_int_eq(mkdir(in_dir("wal"), 0700), 0);
    for (unsigned i = 0; i < 3; i++) {
        server_start(&kv, "--appendonly", "no");
        expect("0", "DBSIZE");
        server_stop(&kv);
        ck_assert_int_ne(access(in_dir("wal/CURRENT"), F_OK), 0);
        ck_assert_uint_eq(entries(in_dir("wal")), i < 2 ? 2 + i : 4);
        if (i == 0) {
            fclose(fopen(in_dir("wal/LOCK"), "w"));
        } else if (i == 1) {
            ck_assert_int_eq(mkdir(in_dir("wal/0123456789abcdef0123456789abcdef01234567"), 0700),
                             0);
        }
    }
    ck_assert(!server_log_has(&kv, "was loaded"));
    make_log();
}
END_TEST

static void make_file(const char *name)
{
    FILE *f = fopen(in_dir(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs("REDIS0011", f);
    fclose(f);
}

static void expect_untouched(const char *name)
{
    char text[32] = "";
    FILE *f = fopen(in_dir(name), "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    ck_assert_str_eq(text, "REDIS0011");
    fclose(f);
}

#define UNREAD(names) "WARNING This directory has data of a Redis (" names ") and no log of kv."

/* kv does not read what Redis has written, and says so as long as it has no log of its own. */
START_TEST(test_data_of_redis)
{
    server_start(&kv, "--appendonly", "no");
    server_stop(&kv);
    ck_assert(!server_log_has(&kv, "data of a Redis"));
    make_file("dump.rdb");
    server_start(&kv, "--appendonly", "no");
    server_stop(&kv);
    ck_assert(server_log_has(&kv, UNREAD("dump.rdb")));
    make_file("other.rdb");
    ck_assert_int_eq(mkdir(in_dir("aof"), 0700), 0);
    server_start(&kv, "--dbfilename", "other.rdb", "--appenddirname", "aof");
    expect("0", "DBSIZE");
    server_stop(&kv);
    ck_assert(server_log_has(&kv, UNREAD("other.rdb, aof")));
    char *before = server_log(&kv);
    server_start(&kv);
    server_stop(&kv);
    char *after = server_log(&kv);
    ck_assert_ptr_null(strstr(after + strlen(before), "data of a Redis"));
    free(before);
    free(after);
    expect_untouched("dump.rdb");
    expect_untouched("other.rdb");
}
END_TEST

UNIT_SUITE(log_at_start)
{
    TCase *c = unit_case(suite, "a log that is not seen", test_no_current, test_no_directory,
                         test_no_way_in, test_nothing_in_it, test_data_of_redis);
    tcase_add_checked_fixture(c, setup, teardown);
}
