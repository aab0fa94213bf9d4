/* kv-wal.c -- Looks into a log directory: list, verify, dump as text, export as a command stream.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Somebody whose server does not start wants to know what is there before anything is
 *             changed; and what is in the log should never be locked in it. Reads with the same
 * code as recovery, takes no lock, writes nothing below the directory. FAILURE     Exit status: 0
 * fine, 1 damage, 2 usage, 3 could not be read or written. */
#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "wal/recover.h"
#include "wal/walk.h"
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_DAMAGE = 1, EXIT_USAGE = 2, EXIT_IO = 3 };
#define HEX (2 * WAL_HISTORY_BYTES)

struct tool {
    char *dir; /* holds CURRENT and the histories */
    uint8_t current[WAL_HISTORY_BYTES];
    bool chosen; /* --history instead of CURRENT */
    uint64_t from, to;
    struct buf line;
};

static const char help[] =
    "kv-wal: looks into the log of a kv data directory; never changes it. The server may run.\n"
    "\n"
    "  kv-wal list   [DIR]   histories and segments, from their headers alone\n"
    "  kv-wal verify [DIR]   reads everything from the disk and judges it as a start would\n"
    "  kv-wal dump   [DIR]   one line per record: LSN, batch, time, slot, database, command\n"
    "  kv-wal export [DIR]   the commands as Redis protocol: kv-wal export | redis-cli --pipe\n"
    "\n"
    "DIR is the data directory or the `wal` directory in it; without it the present one.\n"
    "  --history ID   this history (40 hex digits) and its parents instead of the current one\n"
    "  --from LSN     dump, export: only records that end behind this LSN\n"
    "  --to LSN       dump, export: only records that end at or before this LSN\n"
    "  --help         this text\n"
    "Exit status: 0 fine; 1 the log is damaged (dump and export stop before the damage); 2 usage;\n"
    "3 it cannot be read, or the output cannot be written.\n";

static int failed(int status, const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "kv-wal: %s: %s\n", what, why);
    return status;
}

static const char *error_text(int err)
{
    switch (err) {
    case WAL_E_DAMAGED: return "the log is damaged";
    case WAL_E_VERSION: return "the log has a format newer than this program";
    case WAL_E_FOREIGN: return "the files do not belong together";
    default: return strerror(-err);
    }
}

/* What an open or a replay came to; `message`: what recovery said, if anything. */
static int fail_log(const struct tool *t, int err, const char *message)
{
    bool log = err == WAL_E_DAMAGED || err == WAL_E_VERSION || err == WAL_E_FOREIGN;
    return failed(log ? EXIT_DAMAGE : EXIT_IO, t->dir,
                  *message != '\0' ? message : error_text(err));
}

/* ---- Where the log is ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_history(struct slice s, uint8_t *id)
{
    if (s.n != HEX) {
        return false;
    }
    for (size_t i = 0; i < WAL_HISTORY_BYTES; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static char *join(const char *a, const char *b)
{
    struct buf s = { NULL, 0, 0 };
    buf_printf(&s, "%s/%s%c", a, b, '\0');
    return s.p;
}

static char *find_dir(const char *given)
{
    char *below = join(given, "wal");
    if (access(below, F_OK) == 0) {
        return below;
    }
    mem_free(below);
    return mem_strdup(given);
}

static int read_current(struct tool *t)
{
    char *path = join(t->dir, "CURRENT");
    struct buf text = { NULL, 0, 0 };
    int err = io_read_file(path, &text, 4096);
    int status = EXIT_OK;
    if (err == -ENOENT) {
        status = failed(EXIT_IO, t->dir, "holds no log (there is no CURRENT)");
    } else if (err != 0) {
        status = failed(EXIT_IO, path, strerror(-err));
    } else {
        struct slice s = buf_slice(&text);
        s.n -= s.n > 0 && s.p[s.n - 1] == '\n' ? 1 : 0;
        if (!parse_history(s, t->current)) {
            status = failed(EXIT_DAMAGE, path, "does not name a history (use --history)");
        }
    }
    buf_free(&text);
    mem_free(path);
    return status;
}

/* ---- list ---- */

static void print_time(int64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    printf("%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
           tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

/* The header of a segment: 0, or WAL_IN_* of what is wrong, or -errno. */
static int read_header(const struct wal_history_info *h, uint64_t number,
                       struct wal_segment_header *out)
{
    struct wal_reader r;
    char *path = wal_lineage_file(h, number);
    int err = wal_reader_open(&r, path, WAL_READ_CACHED, NULL);
    mem_free(path);
    if (err != 0) {
        return err;
    }
    const uint8_t *p;
    struct wal_expect x = { .segment = number };
    memcpy(x.history, h->id, WAL_HISTORY_BYTES);
    err = r.size == 0 ? (int)WAL_IN_INVALID : wal_reader_need(&r, 0, WAL_BLOCK, &p);
    if (err == 0) {
        memcpy(out, p, sizeof *out);
        err = (int)wal_look_segment(out, &x, true);
    }
    wal_reader_close(&r);
    return err;
}

static void print_history(const struct tool *t, const struct wal_history_info *h,
                          const struct wal_segment_header *first)
{
    static const uint8_t none[WAL_HISTORY_BYTES];
    char hex[HEX + 1] = { 0 };
    hex_encode(h->id, WAL_HISTORY_BYTES, hex);
    printf("history %s%s", hex,
           memcmp(h->id, t->current, WAL_HISTORY_BYTES) == 0 ? " (current)" : "");
    if (first != NULL && memcmp(first->parent, none, sizeof none) != 0) {
        hex_encode(first->parent, WAL_HISTORY_BYTES, hex);
        printf(", %s %s at LSN %llu, batch %llu",
               (first->flags & WAL_SEGMENT_WHOLE) != 0 ? "replaces" : "continues", hex,
               (unsigned long long)first->fork_lsn, (unsigned long long)first->fork_seq);
    }
    printf("\n  %20s %12s %14s %16s %-9s %s\n", "segment", "bytes", "first batch", "first LSN",
           "sync", "begun");
}

static void print_segment(const struct wal_segment_info *s, const struct wal_segment_header *h,
                          int wrong)
{
    static const char *const sync[] = { "always", "everysec", "no" };
    printf("  %20llu %12llu ", (unsigned long long)s->number, (unsigned long long)s->bytes);
    if (wrong < 0) {
        printf("%s\n", strerror(-wrong));
    } else if (((unsigned)wrong & WAL_SEEN_NEWER) != 0) {
        printf("newer format\n");
    } else if (wrong != 0) {
        printf("%s\n", ((unsigned)wrong & WAL_IN_INVALID) != 0 ? "prepared, or no valid header"
                                                               : "of an older life");
    } else {
        printf("%14llu %16llu %-9s ", (unsigned long long)h->first_seq,
               (unsigned long long)h->first_lsn, h->sync < countof(sync) ? sync[h->sync] : "?");
        print_time(h->created_ms);
        printf("\n");
    }
}

static int list_history(const struct tool *t, const uint8_t *id)
{
    char hex[HEX + 1] = { 0 };
    hex_encode(id, WAL_HISTORY_BYTES, hex);
    struct wal_history_info h = { .path = join(t->dir, hex) };
    memcpy(h.id, id, sizeof h.id);
    int err = wal_lineage_list(&h);
    int status = err != 0 ? failed(EXIT_IO, h.path, strerror(-err)) : EXIT_OK;
    struct wal_segment_header *s = mem_alloc(sizeof *s);
    for (unsigned i = 0; i < h.nsegments; i++) {
        int wrong = read_header(&h, h.segment[i].number, s);
        if (i == 0) {
            print_history(t, &h, wrong == 0 ? s : NULL);
        }
        print_segment(&h.segment[i], s, wrong);
    }
    if (err == 0 && h.nsegments == 0) {
        print_history(t, &h, NULL);
    }
    mem_free(s);
    mem_free(h.segment);
    mem_free(h.path);
    return status;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int run_list(struct tool *t)
{
    struct dirent **names;
    int n = scandir(t->dir, &names, NULL, compare_names);
    if (n < 0) {
        return failed(EXIT_IO, t->dir, strerror(errno));
    }
    int status = EXIT_OK;
    for (int i = 0; i < n; i++) {
        uint8_t id[WAL_HISTORY_BYTES];
        bool wanted = parse_history(slice_str(names[i]->d_name), id) &&
                      (!t->chosen || memcmp(id, t->current, sizeof id) == 0);
        if (wanted && status == EXIT_OK) {
            status = list_history(t, id);
        }
        free(names[i]);
    }
    free(names);
    return status;
}

/* ---- verify ---- */

static void print_lineage(const struct wal_recovery *r)
{
    for (unsigned i = 0; i <= r->last; i++) {
        const struct wal_history_info *h = &r->history[i];
        char hex[HEX + 1] = { 0 };
        hex_encode(h->id, WAL_HISTORY_BYTES, hex);
        uint64_t first = 0, last = 0, end = 0;
        for (unsigned k = 0; k < h->nsegments && h->segment[k].used; k++) {
            first = k == 0 ? h->segment[k].number : first;
            last = h->segment[k].number;
            end = h->segment[k].end_lsn;
        }
        printf("history %s: segments %llu to %llu, up to LSN %llu\n", hex,
               (unsigned long long)first, (unsigned long long)last, (unsigned long long)end);
    }
}

static int run_verify(struct tool *t)
{
    struct wal_recovery *r;
    struct wal_report report = { .records = 0 };
    struct wal_recovery_options o = { .how = WAL_READ_DISK, .live = true };
    int err = wal_recovery_open(&r, t->dir, t->current, &o, &report);
    if (err != 0) {
        return fail_log(t, err, report.message);
    }
    print_lineage(r);
    printf("ok: %llu records in %llu batches, LSN %llu to %llu, %s\n",
           (unsigned long long)report.records, (unsigned long long)report.batches,
           (unsigned long long)report.first_lsn, (unsigned long long)report.end_lsn,
           report.clean ? "ended by a clean stop" : "not stopped cleanly, or still in use");
    if (report.torn_bytes > 0) {
        printf("%s\n", report.message);
    }
    if (r->proven + 1 < r->at.seq) {
        printf("batches %llu to %llu are whole, but nothing on disk proves that they were synced\n",
               (unsigned long long)r->proven + 1, (unsigned long long)r->at.seq - 1);
    }
    wal_recovery_free(r);
    return EXIT_OK;
}

/* ---- dump and export ---- */

static bool wanted(const struct tool *t, const struct wal_record *rec)
{
    return (t->from == 0 || rec->lsn > t->from) && rec->lsn <= t->to;
}

/* One RESP argument list; false: it is not one. */
static bool take_number(struct slice *s, char type, uint64_t *n)
{
    const char *end = s->n > 3 && s->p[0] == type ? memchr(s->p, '\r', size_min(s->n, 24)) : NULL;
    if (end == NULL || end + 1 >= s->p + s->n || end[1] != '\n' ||
        !parse_u64(slice_of(s->p + 1, (size_t)(end - s->p) - 1), n)) {
        return false;
    }
    size_t used = (size_t)(end - s->p) + 2;
    *s = slice_of(s->p + used, s->n - used);
    return true;
}

static bool add_command(struct buf *line, struct slice *s)
{
    uint64_t argc, n;
    if (!take_number(s, '*', &argc)) {
        return false;
    }
    for (uint64_t i = 0; i < argc; i++) {
        if (!take_number(s, '$', &n) || n > s->n || s->n - n < 2) {
            return false;
        }
        buf_add_char(line, ' ');
        buf_add_repr(line, slice_of(s->p, n));
        *s = slice_of(s->p + n + 2, s->n - n - 2);
    }
    return true;
}

static void add_payload(struct buf *line, struct slice payload)
{
    size_t start = line->n;
    struct slice rest = payload;
    bool commands = payload.n > 0;
    while (commands && rest.n > 0) {
        if (line->n > start) {
            buf_add_str(line, " ;");
        }
        commands = add_command(line, &rest);
    }
    if (!commands) {
        line->n = start;
        buf_add_str(line, " payload ");
        buf_add_repr(line, payload);
    }
}

static void add_slot(struct buf *line, uint16_t slot)
{
    if (slot == WAL_SLOT_ALL || slot == WAL_SLOT_SEVERAL) {
        buf_add_str(line, slot == WAL_SLOT_ALL ? " slot=all" : " slot=several");
    } else {
        buf_printf(line, " slot=%u", slot);
    }
}

static int dump_batch(void *arg, struct wal_batch *window unused_arg,
                      const struct wal_batch_header *b)
{
    struct tool *t = arg;
    const uint8_t *body = (const uint8_t *)(b + 1);
    struct wal_record rec = { .lsn = b->first_lsn };
    for (uint64_t at = 0; wal_next_record(body, b->body_bytes, &at, &rec);) {
        if (!wanted(t, &rec)) {
            continue;
        }
        t->line.n = 0;
        add_slot(&t->line, rec.slot);
        buf_printf(&t->line, " db=%u%s", rec.db,
                   (rec.flags & WAL_REC_UNSHIPPED) != 0 ? " unshipped" : "");
        add_payload(&t->line, rec.payload);
        buf_add_char(&t->line, '\n');
        printf("lsn=%llu batch=%llu time=", (unsigned long long)rec.lsn,
               (unsigned long long)b->seq);
        print_time(b->wall_ms);
        fwrite(t->line.p, 1, t->line.n, stdout);
    }
    return ferror(stdout) ? -EPIPE : 0;
}

static int export_batch(void *arg, struct wal_batch *window unused_arg,
                        const struct wal_batch_header *b)
{
    const struct tool *t = arg;
    const uint8_t *body = (const uint8_t *)(b + 1);
    struct wal_record rec = { .lsn = b->first_lsn };
    for (uint64_t at = 0; wal_next_record(body, b->body_bytes, &at, &rec);) {
        if (wanted(t, &rec)) {
            fwrite(rec.payload.p, 1, rec.payload.n, stdout);
        }
    }
    return ferror(stdout) ? -EPIPE : 0;
}

static void ignore_progress(void *arg unused_arg, uint64_t bytes unused_arg)
{
}

/* Everything up to the end or to the damage. */
static int run_records(struct tool *t,
                       int (*batch)(void *, struct wal_batch *, const struct wal_batch_header *))
{
    struct wal_recovery *r;
    struct wal_report report = { .records = 0 };
    struct wal_recovery_options o = { .how = WAL_READ_CACHED, .live = true, .force = true };
    int err = wal_recovery_open(&r, t->dir, t->current, &o, &report);
    if (err != 0) {
        return fail_log(t, err, report.message);
    }
    struct wal_visitor v = { .arg = t, .batch = batch, .read = ignore_progress };
    err = wal_recovery_visit(r, &v);
    bool damaged = r->forced;
    wal_recovery_free(r);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return failed(EXIT_IO, "standard output", strerror(errno));
    }
    if (err != 0 || damaged) {
        return fail_log(t, err != 0 ? err : WAL_E_DAMAGED, report.message);
    }
    return EXIT_OK;
}

static int run_dump(struct tool *t)
{
    return run_records(t, dump_batch);
}

static int run_export(struct tool *t)
{
    return run_records(t, export_batch);
}

/* ---- Command line ---- */

static const struct {
    const char *name;
    int (*run)(struct tool *t);
} commands[] = {
    { "list", run_list }, { "verify", run_verify }, { "dump", run_dump }, { "export", run_export }
};

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "kv-wal: %s%s%s\nTry kv-wal --help.\n", why, *what != '\0' ? ": " : "", what);
    return EXIT_USAGE;
}

/* -1: go on. */
static int parse_options(struct tool *t, int argc, char **argv)
{
    static const struct option options[] = { { "history", required_argument, NULL, 'y' },
                                             { "from", required_argument, NULL, 'f' },
                                             { "to", required_argument, NULL, 't' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    optind = 0; /* this may not be the first command line in the process */
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'y':
            if (!parse_history(slice_str(optarg), t->current)) {
                return usage("--history needs 40 hex digits", optarg);
            }
            t->chosen = true;
            break;
        case 'f':
        case 't':
            if (!parse_u64(slice_str(optarg), c == 'f' ? &t->from : &t->to)) {
                return usage("not an LSN", optarg);
            }
            break;
        case 'h': fputs(help, stdout); return EXIT_OK;
        default: return usage("unknown option, or its value is missing", argv[optind - 1]);
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    struct tool t = { .from = 0, .to = UINT64_MAX };
    int status = parse_options(&t, argc, argv);
    if (status >= 0) {
        return status;
    }
    if (optind >= argc) {
        return usage("which command: list, verify, dump or export?", "");
    }
    if (argc - optind > 2) {
        return usage("one directory at a time", argv[optind + 2]);
    }
    for (unsigned i = 0; i < countof(commands); i++) {
        if (strcmp(argv[optind], commands[i].name) != 0) {
            continue;
        }
        t.dir = find_dir(optind + 1 < argc ? argv[optind + 1] : ".");
        status = t.chosen ? EXIT_OK : read_current(&t);
        if (status == EXIT_OK || commands[i].run == run_list) {
            int ran = commands[i].run(&t); /* a list is of use without CURRENT, too */
            status = status != EXIT_OK ? status : ran;
        }
        if (status == EXIT_OK && fflush(stdout) != 0) {
            status = failed(EXIT_IO, "standard output", strerror(errno));
        }
        buf_free(&t.line);
        mem_free(t.dir);
        return status;
    }
    return usage("unknown command", argv[optind]);
}
