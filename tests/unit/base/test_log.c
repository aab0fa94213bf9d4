/* test_log.c -- Log lines: form, levels, files that move away, syslog.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/clock.h"
#include "base/log.h"
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>

/* These stand in front of libc's: there is no syslog daemon to ask in a test. */
static char syslog_text[256], syslog_ident[64];
static int syslog_priority, syslog_facility;

void openlog(const char *ident, int option unused_arg, int facility)
{
    snprintf(syslog_ident, sizeof syslog_ident, "%s", ident);
    syslog_facility = facility;
}

void syslog(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(syslog_text, sizeof syslog_text, format, args);
    va_end(args);
    syslog_priority = priority;
}

static char path[300];

static const char *log_to_file(void)
{
    snprintf(path, sizeof path, "%.250s/kv.log", unit_tmpdir());
    ck_assert_int_eq(log_open(path, false), 0);
    return path;
}

/* The file's content; empty when there is no file. */
static const char *content(const char *file)
{
    static char text[2 << 20];
    size_t n = 0;
    FILE *f = fopen(file, "r");
    if (f != NULL) {
        n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
    }
    text[n] = '\0';
    return text;
}

static void must_match(const char *text, const char *pattern)
{
    regex_t re;
    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&re, text, 0, NULL, 0) == 0, "\"%s\" is not like %s", text, pattern);
    regfree(&re);
}

static void must_contain(const char *file, const char *words, bool yes)
{
    ck_assert_msg((strstr(content(file), words) != NULL) == yes, "%s: \"%s\" %s", file, words,
                  yes ? "missing" : "unexpected");
}

START_TEST(test_line_form)
{
    const char *file = log_to_file();
    log_notice("Server %s has %d keys", "kv", 3);
    char pattern[200];
    snprintf(
        pattern, sizeof pattern,
        "^%ld:M [0-3][0-9] [A-Z][a-z]{2} 20[0-9]{2} [0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3} "
        "\\* Server kv has 3 keys\n$",
        (long)getpid());
    must_match(content(file), pattern);
}
END_TEST

START_TEST(test_date_is_the_wall_clock)
{
    ck_assert_int_eq(setenv("TZ", "UTC0", 1), 0);
    const char *file = log_to_file();
    /* 2021-03-04 05:06:07.089 UTC; the line may be a little later. */
    clock_wall_shift_ms(1614834367089 - clock_wall_ms());
    log_warning("now");
    clock_wall_shift_ms(0);
    must_match(content(file),
               ":M 04 Mar 2021 05:(06:0[7-9]|06:[1-5]|0[7-9])[^ ]*\\.[0-9]{3} # now\n");
}
END_TEST

START_TEST(test_levels)
{
    static const char *const marks[] = { " . x0\n", " - x1\n", " * x2\n", " # x3\n" };
    ck_assert_int_eq(log_level(), LOG_NOTICE_);
    for (int level = LOG_DEBUG_; level <= LOG_NOTHING_; level++) {
        const char *file = log_to_file();
        log_set_level((enum log_level)level);
        ck_assert_int_eq(log_level(), level);
        log_debug("x%d", 0);
        log_verbose("x%d", 1);
        log_notice("x%d", 2);
        log_warning("x%d", 3);
        log_write(LOG_NOTHING_, "x%d", 4);
        for (int line = LOG_DEBUG_; line <= LOG_WARNING_; line++) {
            must_contain(file, marks[line], line >= level);
        }
        must_contain(file, "x4", false);
    }
}
END_TEST

START_TEST(test_role)
{
    const char *file = log_to_file();
    log_set_role('S');
    log_notice("replica");
    log_set_role('M');
    log_notice("primary");
    must_match(content(file), "^[0-9]+:S .* replica\n[0-9]+:M .* primary\n$");
}
END_TEST

START_TEST(test_renamed_file_is_followed)
{
    const char *file = log_to_file();
    char old[320];
    snprintf(old, sizeof old, "%s.1", file);
    log_notice("one");
    ck_assert_int_eq(rename(file, old), 0);
    /* A notice may still go to the old file for a second; a warning looks at once. */
    log_warning("two");
    log_notice("three");
    must_contain(old, "one", true);
    must_contain(old, "two", false);
    must_contain(file, "two", true);
    must_contain(file, "three", true);
    ck_assert_int_eq(unlink(file), 0);
    log_warning("four");
    must_contain(file, "four", true);
}
END_TEST

START_TEST(test_notice_follows_within_a_second)
{
    const char *file = log_to_file();
    char old[320];
    snprintf(old, sizeof old, "%s.1", file);
    log_notice("one");
    ck_assert_int_eq(rename(file, old), 0);
    usleep(1100000);
    log_notice("two");
    must_contain(file, "two", true);
}
END_TEST

/* The directory is gone: lines go to the file that is open, and nothing breaks. */
START_TEST(test_unreachable_path)
{
    char dir[220], file[320], moved[300];
    snprintf(dir, sizeof dir, "%.200s/d", unit_tmpdir());
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    snprintf(file, sizeof file, "%s/kv.log", dir);
    ck_assert_int_eq(log_open(file, false), 0);
    snprintf(moved, sizeof moved, "%s2", dir);
    ck_assert_int_eq(rename(dir, moved), 0);
    log_warning("still written");
    snprintf(file, sizeof file, "%s/kv.log", moved);
    must_contain(file, "still written", true);
}
END_TEST

START_TEST(test_open_fails)
{
    const char *file = log_to_file();
    ck_assert_int_eq(log_open("/nonexistent-directory/kv.log", false), -ENOENT);
    char longest[5000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(log_open(longest, false), -ENAMETOOLONG);
    log_notice("the old file goes on");
    must_contain(file, "the old file goes on", true);
}
END_TEST

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

START_TEST(test_reopening_leaks_nothing)
{
    log_to_file();
    unsigned before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        log_to_file();
        unlink(path);
        log_warning("again");
    }
    ck_assert_uint_eq(open_descriptors(), before);
    ck_assert_int_ne(fcntl(log_raw_fd(), F_GETFD) & FD_CLOEXEC, 0);
}
END_TEST

START_TEST(test_long_line_is_cut)
{
    const char *file = log_to_file();
    static char long_text[20000];
    memset(long_text, 'x', sizeof long_text - 1);
    log_notice("%s", long_text);
    log_notice("next");
    const char *text = content(file), *end = strchr(text, '\n');
    ck_assert_ptr_nonnull(end);
    ck_assert_int_ge(end - text, 4000);
    ck_assert_int_le(end - text, 4096);
    must_match(end + 1, "^[0-9]+:M .* next\n$");
    /* Whatever the length, a line ends exactly once. */
    for (int n = 3900; n < 4200; n++) {
        log_notice("%.*s", n, long_text);
    }
    unsigned lines = 0;
    for (const char *p = content(file); *p != '\0'; p++) {
        lines += *p == '\n';
    }
    ck_assert_uint_eq(lines, 302);
}
END_TEST

START_TEST(test_raw)
{
    const char *file = log_to_file();
    log_set_level(LOG_NOTHING_);
    log_raw("exactly ");
    log_raw("this\n");
    ck_assert_str_eq(content(file), "exactly this\n");
    struct stat a, b;
    ck_assert_int_eq(fstat(log_raw_fd(), &a), 0);
    ck_assert_int_eq(stat(file, &b), 0);
    ck_assert_uint_eq(a.st_ino, b.st_ino);
}
END_TEST

START_TEST(test_errno_is_kept)
{
    const char *file = log_to_file();
    unlink(file);
    errno = EXDEV;
    log_warning("%m");
    ck_assert_int_eq(errno, EXDEV);
    must_contain(file, strerror(EXDEV), true);
    errno = EDOM;
    log_debug("not written");
    ck_assert_int_eq(errno, EDOM);
}
END_TEST

static void log_to_stdout(void)
{
    ck_assert_int_eq(log_open("", false), 0);
    log_notice("to standard output");
}

static void log_to_nowhere(void)
{
    ck_assert_int_eq(log_open("", true), 0);
    log_notice("to nowhere");
    log_raw("to nowhere");
    ck_assert_int_eq(log_raw_fd(), STDERR_FILENO);
}

START_TEST(test_standard_output)
{
    static char text[CHILD_TEXT_MAX];
    log_to_file();
    child_run(log_to_stdout, text);
    ck_assert_ptr_nonnull(strstr(text, "* to standard output\n"));
    int status = child_run(log_to_nowhere, text);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(test_syslog)
{
    static const int priority[] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING };
    const char *file = log_to_file();
    log_notice("file only");
    ck_assert_str_eq(syslog_text, "");
    char ident[] = "kv-6379";
    log_set_syslog(true, ident, LOG_LOCAL3);
    ck_assert_str_eq(syslog_ident, "kv-6379");
    ck_assert_int_eq(syslog_facility, LOG_LOCAL3);
    log_set_level(LOG_DEBUG_);
    for (int level = LOG_DEBUG_; level <= LOG_WARNING_; level++) {
        log_write((enum log_level)level, "100%% at %d", level);
        char want[64];
        snprintf(want, sizeof want, "100%% at %d", level);
        ck_assert_str_eq(syslog_text, want);
        ck_assert_int_eq(syslog_priority, priority[level]);
        must_contain(file, want, true);
    }
    log_set_syslog(false, NULL, 0);
    log_notice("no more");
    ck_assert_str_ne(syslog_text, "no more");
}
END_TEST

#define WRITERS 4
#define LINES   2000

static void *write_lines(void *arg)
{
    char filler[200];
    int id = (int)(intptr_t)arg;
    memset(filler, 'a' + id, sizeof filler);
    for (int i = 0; i < LINES; i++) {
        log_notice("%d %.*s %d", id, (int)(i % (int)sizeof filler), filler, i);
    }
    return NULL;
}

/* Lines of several threads, while the file is moved away: each is whole, and all are somewhere. */
START_TEST(test_threads_and_rotation)
{
    const char *file = log_to_file();
    pthread_t thread[WRITERS];
    for (intptr_t i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, write_lines, (void *)i), 0);
    }
    char old[320];
    int moves = 0;
    for (; moves < 20; moves++) {
        snprintf(old, sizeof old, "%s.%d", file, moves);
        rename(file, old);
        log_warning("moved");
        usleep(500);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(thread[i], NULL);
    }
    unsigned found = 0;
    for (int m = -1; m < moves; m++) {
        snprintf(old, sizeof old, m < 0 ? "%s" : "%s.%d", file, m);
        FILE *f = fopen(old, "r");
        char line[1000], filler[1000];
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            int id, number;
            char *text = strstr(line, " * ");
            if (text == NULL) {
                ck_assert_ptr_nonnull(strstr(line, " # moved\n"));
                continue;
            }
            filler[0] = '\0';
            bool whole = sscanf(text, " * %d %999[a-z] %d\n", &id, filler, &number) == 3 ||
                         sscanf(text, " * %d  %d\n", &id, &number) == 2;
            ck_assert_msg(whole && (int)strlen(filler) == number % 200, "%s", line);
            found++;
        }
        if (f != NULL) {
            fclose(f);
        }
    }
    ck_assert_uint_eq(found, WRITERS * LINES);
}
END_TEST

UNIT_SUITE(log)
{
    unit_case(suite, "line", test_line_form, test_date_is_the_wall_clock, test_levels, test_role,
              test_long_line_is_cut, test_raw, test_errno_is_kept);
    unit_case(suite, "file", test_renamed_file_is_followed, test_notice_follows_within_a_second,
              test_unreachable_path, test_open_fails, test_reopening_leaks_nothing,
              test_standard_output, test_threads_and_rotation);
    unit_case(suite, "syslog", test_syslog);
}
