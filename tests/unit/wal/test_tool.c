/* test_tool.c -- kv-wal on logs that are whole, torn, damaged, newer and missing.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The program itself is compiled in, with its main() under another name, and run in a child. */
#include "log_builder.h"
#include "base/hash.h"
#include "unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int kv_wal_main(int argc, char **argv);
#define main kv_wal_main
#include "../../../utils/kv-wal.c"
#undef main

static struct buf out, err;

static void drain(int fd, struct buf *to)
{
    char part[4096];
    ssize_t got;
    to->n = 0;
    while ((got = read(fd, part, sizeof part)) > 0) {
        buf_add(to, part, (size_t)got);
    }
    buf_add_char(to, '\0');
    to->n--;
    close(fd);
}

/* Output of at most a pipe's capacity each. */
static int run(const char *a, const char *b, const char *c, const char *d)
{
    char *argv[] = { (char *)"kv-wal", (char *)a, (char *)b, (char *)c, (char *)d, NULL };
    int argc = 1;
    while (argc < 5 && argv[argc] != NULL) {
        argc++;
    }
    int o[2], e[2], status;
    ck_assert_int_eq(pipe(o) | pipe(e), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(o[1], 1);
        dup2(e[1], 2);
        close(o[1]);
        close(e[1]);
        int s = kv_wal_main(argc, argv);
        fflush(stdout);
        _exit(s);
    }
    close(o[1]);
    close(e[1]);
    drain(o[0], &out);
    drain(e[0], &err);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define HAS(what, text) ck_assert_msg(strstr((what).p, text) != NULL, "%s", (what).p)

static char *hex_of(const struct log_builder *b)
{
    static char hex[2 * WAL_HISTORY_BYTES + 1];
    hex_encode(b->history, WAL_HISTORY_BYTES, hex);
    return hex;
}

static struct log_builder *commands_log(void)
{
    struct log_builder *b = lb_new();
    const char set[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\x01\"\r\n";
    const char two[] = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    lb_record(b, set, sizeof set - 1, 77, 0, 0);
    lb_write(b, 0, 0);
    lb_record(b, two, sizeof two - 1, WAL_SLOT_SEVERAL, 3, 0);
    lb_record(b, "no protocol", 11, WAL_SLOT_ALL, 0, WAL_REC_UNSHIPPED);
    lb_write(b, 1, 0);
    return b;
}

START_TEST(test_dump)
{
    struct log_builder *b = commands_log();
    uint64_t before = lb_fingerprint(b);
    ck_assert_int_eq(run("dump", b->dir, NULL, NULL), 0);
    HAS(out, "lsn=30 batch=1 time=2023-11-14T22:13:20.001Z slot=77 db=0 \"SET\" \"k\" "
             "\"\\r\\n\\x01\\\"\"\n");
    HAS(out, "slot=several db=3 \"SELECT\" \"3\" ; \"DEL\" \"k\"\n");
    HAS(out, "slot=all db=0 unshipped payload \"no protocol\"\n");
    ck_assert_uint_eq(err.n, 0);
    ck_assert_uint_eq(lb_fingerprint(b), before);
    lb_free(b);
}
END_TEST

START_TEST(test_ranges)
{
    struct log_builder *b = commands_log();
    ck_assert_int_eq(run("dump", "--from=30", b->dir, NULL), 0);
    ck_assert_ptr_null(strstr(out.p, "SET"));
    HAS(out, "DEL");
    ck_assert_int_eq(run("dump", "--to=30", b->dir, NULL), 0);
    ck_assert_ptr_null(strstr(out.p, "DEL"));
    HAS(out, "SET");
    lb_free(b);
}
END_TEST

/* Exactly the payloads, in order; of parents too. */
START_TEST(test_export)
{
    struct log_builder *b = commands_log();
    lb_fork(b);
    lb_add(b, 100);
    struct buf all = { NULL, 0, 0 };
    for (unsigned i = 0; i < b->records; i++) {
        buf_add(&all, b->record[i].payload, b->record[i].n);
    }
    char *data = NULL;
    ck_assert_int_ge(asprintf(&data, "%.*s", (int)(strlen(b->dir) - 4), b->dir), 0);
    ck_assert_int_eq(run("export", data, NULL, NULL), 0); /* the data directory will do as well */
    ck_assert_uint_eq(out.n, all.n);
    ck_assert(memcmp(out.p, all.p, all.n) == 0);
    buf_free(&all);
    free(data);
    lb_free(b);
}
END_TEST

/* Adds the words as one command, in a record of its own. */
static void add_words(struct log_builder *b, const char *words)
{
    struct buf command = { NULL, 0, 0 }, args = { NULL, 0, 0 };
    unsigned n = 0;
    for (const char *at = words; *at != '\0'; n++) {
        size_t len = strcspn(at, " ");
        buf_printf(&args, "$%zu\r\n%.*s\r\n", len, (int)len, at);
        at += len + (at[len] == ' ');
    }
    buf_printf(&command, "*%u\r\n", n);
    buf_add_slice(&command, buf_slice(&args));
    lb_record(b, command.p, command.n, 77, 0, 0);
    buf_free(&command);
    buf_free(&args);
}

/* The commands that came out, each a line of words. Moved deadlines, which must be `from` or later
 * and before a far one, are replaced by "+1h". */
static char *words_out(int64_t from)
{
    struct buf text = { NULL, 0, 0 };
    bool first = true;
    for (char *line = strtok(out.p, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        int64_t number;
        if (*line == '*') {
            buf_add_str(&text, first ? "" : "\n");
            first = true;
        } else if (*line != '$') {
            bool later = parse_i64(slice_str(line), &number) && number >= from &&
                         number < from + 1000 * 1000;
            buf_printf(&text, "%s%s", first ? "" : " ", later ? "+1h" : line);
            first = false;
        }
    }
    buf_add_char(&text, '\0');
    return text.p;
}

static const char *const timed[] = {
    "SET sess data PXAT 1000",
    "PEXPIREAT sess 4000000000000", /* kept */
    "SET late data PXAT 1000",
    "PERSIST late",
    "RPUSH over x",
    "PEXPIREAT over -5",
    "HSET h a 1",
    "HPEXPIREAT h 2000 FIELDS 1 a",
    "HPEXPIREAT h 4000000000000 FIELDS 1 a",
    "RESTORE r 3000 payload REPLACE ABSTTL",
    "RESTORE e 0 payload REPLACE ABSTTL",
    "SET gone x PXAT 4000",
    "DEL gone",
    "SET a 1 PXAT 5000",
    "RENAME a b",
    "SET far 1 PXAT 4000000000000",
    "SET c 1 PXAT 5500",
    "RENAME far c",
    "SELECT 2",
    "SET d2 1 pxat 6000",
    "COPY d2 d3 REPLACE DB 3",
    "MOVE d2 4",
    "SWAPDB 3 5",
    "SELECT 0",
};
static const char *const moved[] = {
    "SET sess data PXAT +1h",
    "PEXPIREAT sess 4000000000000",
    "SET late data PXAT +1h",
    "PERSIST late",
    "RPUSH over x",
    "PEXPIREAT over +1h",
    "HSET h a 1",
    "HPEXPIREAT h +1h FIELDS 1 a",
    "HPEXPIREAT h 4000000000000 FIELDS 1 a",
    "RESTORE r +1h payload REPLACE ABSTTL",
    "RESTORE e 0 payload REPLACE ABSTTL",
    "SET gone x PXAT +1h",
    "DEL gone",
    "SET a 1 PXAT +1h",
    "RENAME a b",
    "SET far 1 PXAT 4000000000000",
    "SET c 1 PXAT +1h",
    "RENAME far c",
    "SELECT 2",
    "SET d2 1 pxat +1h",
    "COPY d2 d3 REPLACE DB 3",
    "MOVE d2 4",
    "SWAPDB 3 5",
    "SELECT 0",
};
/* Behind them, in any order; what PERSIST did is left to XX. */
static const char *const behind[] = {
    "PEXPIREAT over -5 XX", "PEXPIREAT r 3000 XX",  "PEXPIREAT b 5000 XX",
    "PEXPIREAT d3 6000 XX", "PEXPIREAT d2 6000 XX", "PEXPIREAT late 1000 XX",
};

/* Deadlines that come before an import is through are moved, and set right at the end for keys
 * that still have them. */
START_TEST(test_deadlines)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < countof(timed); i++) {
        add_words(b, timed[i]);
    }
    lb_write(b, 0, 0);
    int64_t from = clock_wall_ms() + 3600 * 1000;
    ck_assert_int_eq(run("export", b->dir, NULL, NULL), 0);
    char *got = words_out(from), *line = strtok(got, "\n");
    for (unsigned i = 0; i < countof(moved); i++, line = strtok(NULL, "\n")) {
        ck_assert_ptr_nonnull(line);
        ck_assert_str_eq(line, moved[i]);
    }
    unsigned db = 0, found = 0;
    for (; line != NULL; line = strtok(NULL, "\n")) {
        if (sscanf(line, "SELECT %u", &db) == 1) {
            continue;
        }
        bool known = false;
        for (unsigned i = 0; i < countof(behind); i++) {
            known |= strcmp(line, behind[i]) == 0;
        }
        ck_assert_msg(known, "%s", line);
        found++;
        ck_assert_uint_eq(db, strstr(line, " d3 ") != NULL ? 5 : strstr(line, " d2 ") ? 4 : 0);
    }
    ck_assert_uint_eq(found, countof(behind));
    ck_assert_uint_eq(db, 0);
    mem_free(got);
    lb_free(b);
}
END_TEST

#define NOT_THERE "0123456789abcdef0123456789abcdef01234567"

START_TEST(test_list)
{
    struct log_builder *b = commands_log();
    lb_footer(b);
    lb_segment(b);
    lb_zero_segment(b, 3);
    char parent[2 * WAL_HISTORY_BYTES + 1];
    memcpy(parent, hex_of(b), sizeof parent);
    lb_fork(b);
    ck_assert_int_eq(run("list", b->dir, NULL, NULL), 0);
    HAS(out, parent);
    HAS(out, hex_of(b));
    HAS(out, "(current)");
    HAS(out, "continues");
    HAS(out, "prepared");
    ck_assert_int_eq(run("list", b->dir, "--history", parent), 0);
    ck_assert_ptr_null(strstr(out.p, hex_of(b)));
    ck_assert_int_eq(run("list", b->dir, "--history", NOT_THERE), 1);
    HAS(err, "history " NOT_THERE " is not there");
    ck_assert_int_eq(run("verify", b->dir, "--history", NOT_THERE), 1);
    char *current = NULL;
    ck_assert_int_ge(asprintf(&current, "%s/CURRENT", b->dir), 0);
    unlink(current);
    ck_assert_int_eq(run("list", b->dir, NULL, NULL), 3);
    HAS(out, parent); /* still of use */
    ck_assert_int_eq(atomic_replace(current, S(NOT_THERE "\n"), 0600), 0);
    ck_assert_int_eq(run("list", b->dir, NULL, NULL), 1);
    HAS(out, parent);
    HAS(err, "history " NOT_THERE ", which CURRENT names, is not there");
    ck_assert_int_eq(run("verify", b->dir, NULL, NULL), 1);
    ck_assert_int_eq(run("verify", b->dir, "--history", parent), 0);
    free(current);
    lb_free(b);
}
END_TEST

START_TEST(test_verify)
{
    struct log_builder *b = lb_new();
    for (unsigned i = 0; i < 6; i++) {
        lb_add(b, 100);
    }
    ck_assert_int_eq(run("verify", b->dir, NULL, NULL), 0);
    HAS(out, "ok: 6 records in 6 batches, LSN 0 to 600");
    HAS(out, "batches 5 to 6 are whole");
    lb_flip(b, 1, b->batch[5].offset + 150);
    ck_assert_int_eq(run("verify", b->dir, NULL, NULL), 0);
    HAS(out, "ok: 5 records");
    HAS(out, "torn end");
    lb_flip(b, 1, b->batch[2].offset + 150);
    uint64_t before = lb_fingerprint(b);
    ck_assert_int_eq(run("verify", b->dir, NULL, NULL), 1);
    HAS(err, "damage to acknowledged data (case e)");
    ck_assert_int_eq(run("export", b->dir, NULL, NULL), 1); /* what is before it comes out */
    ck_assert_uint_eq(out.n, 200);
    HAS(err, "damage to acknowledged data (case e)");
    ck_assert_uint_eq(lb_fingerprint(b), before);
    lb_free(b);
    b = lb_new();
    b->batch_version = 2;
    lb_add(b, 10);
    ck_assert_int_eq(run("verify", b->dir, NULL, NULL), 1);
    HAS(err, "newer");
    lb_free(b);
}
END_TEST

START_TEST(test_bad_usage)
{
    ck_assert_int_eq(run(NULL, NULL, NULL, NULL), 2);
    ck_assert_int_eq(run("frobnicate", NULL, NULL, NULL), 2);
    HAS(err, "frobnicate");
    ck_assert_int_eq(run("dump", "--from", "x", NULL), 2);
    ck_assert_int_eq(run("dump", "--no-such", NULL, NULL), 2);
    ck_assert_int_eq(run("dump", "--history", "12", NULL), 2);
    ck_assert_int_eq(run("dump", "a", "b", NULL), 2);
    ck_assert_int_eq(run("--help", NULL, NULL, NULL), 0);
    HAS(out, "kv-wal export");
    ck_assert_int_eq(run("dump", unit_tmpdir(), NULL, NULL), 3);
    HAS(err, "holds no log");
    ck_assert_int_eq(run("verify", "/nonexistent", NULL, NULL), 3);
}
END_TEST

UNIT_SUITE(wal_tool)
{
    unit_case(suite, "kv-wal", test_dump, test_ranges, test_export, test_deadlines, test_list,
              test_verify, test_bad_usage);
}
