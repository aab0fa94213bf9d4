/* kv-wal.c -- Looks into a log directory: list, verify, dump as text, export as a command stream.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Somebody whose server does not start wants to know what is there before anything is
 *             changed; and what is in the log should never be locked in it. Reads with the same
 * code as recovery, takes no lock, writes nothing below the directory. FAILURE     Exit status: 0
 * fine, 1 damage, 2 usage, 3 could not be read or written. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/mem.h"
#include "ds/btree.h"
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

struct deadlines;
struct tool {
    char *dir; /* holds CURRENT and the histories */
    uint8_t current[WAL_HISTORY_BYTES];
    bool chosen; /* --history instead of CURRENT */
    bool known;  /* `current` is one of both */
    uint64_t from, to;
    struct buf line;
    struct slice *arg; /* of the command read last */
    size_t args, args_cap;
    struct deadlines *deadlines; /* export */
};

static const char help[] =
    "kv-wal: looks into the log of a kv data directory; never changes it. The server may run.\n"
    "\n"
    "  kv-wal list   [DIR]   histories and segments, from their headers alone\n"
    "  kv-wal verify [DIR]   reads everything from the disk and judges it as a start would\n"
    "  kv-wal dump   [DIR]   one line per record: LSN, batch, time, slot, database, command\n"
    "  kv-wal export [DIR]   the commands as Redis protocol: kv-wal export | redis-cli --pipe\n"
    "\n"
    "A server runs its clock while it reads an export, and would drop what a later command kept.\n"
    "So deadlines that are over, or come within an hour, are exported as an hour from now: import\n"
    "within it. Those of keys are set right by the last commands of the export; fields of hashes\n"
    "live up to that hour longer.\n"
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
        t->known = parse_history(s, t->current);
        if (!t->known) {
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
    bool found = false;
    for (int i = 0; i < n; i++) {
        uint8_t id[WAL_HISTORY_BYTES];
        bool wanted = parse_history(slice_str(names[i]->d_name), id) &&
                      (!t->chosen || memcmp(id, t->current, sizeof id) == 0);
        if (wanted && status == EXIT_OK) {
            found |= memcmp(id, t->current, sizeof id) == 0;
            status = list_history(t, id);
        }
        free(names[i]);
    }
    free(names);
    if (status == EXIT_OK && t->known && !found) {
        char hex[HEX + 1] = { 0 };
        hex_encode(t->current, WAL_HISTORY_BYTES, hex);
        fflush(stdout);
        fprintf(stderr, "kv-wal: %s: history %s%s is not there\n", t->dir, hex,
                t->chosen ? "" : ", which CURRENT names,");
        status = EXIT_DAMAGE;
    }
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

/* One command off the front of *s into t->arg, which points there. */
static bool take_command(struct tool *t, struct slice *s)
{
    struct slice rest = *s;
    uint64_t argc, n;
    t->args = 0;
    if (!take_number(&rest, '*', &argc)) {
        return false;
    }
    for (uint64_t i = 0; i < argc; i++) {
        if (!take_number(&rest, '$', &n) || n > rest.n || rest.n - n < 2) {
            return false;
        }
        if (t->args == t->args_cap) {
            t->args_cap = 2 * t->args_cap + 16;
            t->arg = mem_realloc(t->arg, t->args_cap * sizeof *t->arg);
        }
        t->arg[t->args++] = slice_of(rest.p, n);
        rest = slice_of(rest.p + n + 2, rest.n - n - 2);
    }
    *s = rest;
    return true;
}

static void add_payload(struct tool *t, struct slice payload)
{
    struct buf *line = &t->line;
    size_t start = line->n;
    struct slice rest = payload;
    bool commands = payload.n > 0;
    while (commands && rest.n > 0) {
        if (line->n > start) {
            buf_add_str(line, " ;");
        }
        commands = take_command(t, &rest);
        for (size_t i = 0; commands && i < t->args; i++) {
            buf_add_char(line, ' ');
            buf_add_repr(line, t->arg[i]);
        }
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
        add_payload(t, rec.payload);
        buf_add_char(&t->line, '\n');
        printf("lsn=%llu batch=%llu time=", (unsigned long long)rec.lsn,
               (unsigned long long)b->seq);
        print_time(b->wall_ms);
        fwrite(t->line.p, 1, t->line.n, stdout);
    }
    return ferror(stdout) ? -EPIPE : 0;
}

/* ---- Deadlines ----
 *
 * kv logs a DEL (an HDEL) for all that has expired, and reads its log without a clock. Whoever
 * imports an export has one, and would lose for good what a PERSIST or a later deadline kept. So
 * none is written that could come during the import. The log has them in four forms, all absolute:
 * the handlers and exec/image.c write no other. (Those of fields in a payload of RESTORE stay.)
 *
 * `moved`: (database, key) -> the true deadline, where the last one that the key was given is such
 * a one. Not all commands that remove a key are followed; so at the end the true deadline is for
 * keys that have one (XX): that can only be the last one they were given, or that came with them
 * from another name. */
#define MARGIN_MS 3600000 /* what an import may take */
#define DATABASES 65536   /* the log's records have 16 bits for them */

struct deadlines {
    int64_t soonest; /* none is written that is earlier, unix ms */
    struct btree *moved;
    struct buf key;
    uint16_t db;               /* that the next command is about */
    uint16_t place[DATABASES]; /* SWAPDB: under which number `moved` has a database */
};

/* (db, key) as `moved` has it, until the next call. */
static struct slice place_of(struct deadlines *d, uint16_t db, struct slice key, uint64_t *order)
{
    d->key.n = 0;
    buf_add(&d->key, &d->place[db], sizeof d->place[db]);
    buf_add_slice(&d->key, key);
    *order = hash_xxh3(d->key.p, d->key.n);
    return buf_slice(&d->key);
}

static void forget(struct deadlines *d, uint16_t db, struct slice key)
{
    uint64_t order;
    if (btree_count(d->moved) > 0) {
        struct slice at = place_of(d, db, key, &order);
        (void)btree_remove(d->moved, order, at);
    }
}

static void remember(struct deadlines *d, uint16_t db, struct slice key, int64_t ms)
{
    uint64_t order;
    struct slice at = place_of(d, db, key, &order);
    if (btree_put(d->moved, order, at, slice_of(&ms, sizeof ms), BTREE_NO_DUE) < 0) {
        forget(d, db, key); /* no memory: it lives longer */
    }
}

/* The key has got what the other one has. */
static void follow_copy(struct deadlines *d, struct slice from, uint16_t db, struct slice to)
{
    uint64_t order;
    struct btree_item item;
    int64_t ms;
    struct slice at = place_of(d, d->db, from, &order);
    if (btree_find(d->moved, order, at, &item)) {
        memcpy(&ms, item.value.p, sizeof ms);
        remember(d, db, to, ms);
    } else {
        forget(d, db, to);
    }
}

static bool is(const struct tool *t, const char *name, size_t args)
{
    return t->args == args && slice_is(t->arg[0], name);
}

static uint16_t database(struct slice number)
{
    uint64_t db;
    return parse_u64(number, &db) ? (uint16_t)db : 0;
}

/* Commands about keys as a whole. */
static void follow_keys(const struct tool *t, struct deadlines *d)
{
    const struct slice *arg = t->arg;
    if (is(t, "select", 2)) {
        d->db = database(arg[1]);
    } else if (is(t, "swapdb", 3)) {
        uint16_t a = database(arg[1]), b = database(arg[2]), was = d->place[a];
        d->place[a] = d->place[b];
        d->place[b] = was;
    } else if ((is(t, "rename", 3) || is(t, "renamenx", 3)) && !slice_eq(arg[1], arg[2])) {
        follow_copy(d, arg[1], d->db, arg[2]);
        forget(d, d->db, arg[1]);
    } else if (is(t, "move", 3)) {
        follow_copy(d, arg[1], database(arg[2]), arg[1]);
        forget(d, d->db, arg[1]);
    } else if (t->args >= 3 && slice_is(arg[0], "copy")) {
        uint16_t db = d->db;
        for (size_t i = 3; i + 1 < t->args; i++) {
            db = slice_is(arg[i], "db") ? database(arg[i + 1]) : db;
        }
        follow_copy(d, arg[1], db, arg[2]);
    } else if (t->args > 0 && slice_is(arg[0], "flushall")) {
        (void)btree_remove_range(d->moved, 0, btree_count(d->moved));
    } else if (t->args > 1 && (slice_is(arg[0], "del") || slice_is(arg[0], "unlink"))) {
        for (size_t i = 1; i < t->args; i++) {
            forget(d, d->db, arg[i]);
        }
    }
}

/* Which argument is the deadline of the key or of its fields; 0: there is none. */
static size_t deadline_at(const struct tool *t, bool *of_key)
{
    const struct slice *arg = t->arg;
    *of_key = true;
    if (is(t, "set", 5) && slice_is(arg[3], "pxat")) {
        return 4;
    }
    if (is(t, "pexpireat", 3) || (is(t, "restore", 6) && !slice_eq(arg[2], S("0")))) {
        return 2;
    }
    *of_key = false;
    return t->args > 5 && slice_is(arg[0], "hpexpireat") ? 2 : 0;
}

/* The command in t->arg: which argument is a deadline to be moved; 0: none. */
static size_t follow(const struct tool *t, struct deadlines *d)
{
    int64_t ms;
    bool of_key;
    size_t at = deadline_at(t, &of_key);
    bool moves = at != 0 && parse_i64(t->arg[at], &ms) && ms < d->soonest;
    if (of_key && moves) {
        remember(d, d->db, t->arg[1], ms);
    } else if (of_key) {
        forget(d, d->db, t->arg[1]);
    } else {
        follow_keys(t, d);
    }
    return moves ? at : 0;
}

static void put_command(const struct slice *arg, size_t n)
{
    printf("*%zu\r\n", n);
    for (size_t i = 0; i < n; i++) {
        printf("$%zu\r\n", arg[i].n);
        fwrite(arg[i].p, 1, arg[i].n, stdout);
        fputs("\r\n", stdout);
    }
}

static void put_select(uint16_t db)
{
    char text[I64_TEXT_MAX];
    put_command((struct slice[]){ S("SELECT"), slice_of(text, format_u64(text, db)) }, 2);
}

static void export_payload(struct tool *t, struct slice payload)
{
    struct slice rest = payload;
    const char *kept = payload.p; /* from here on it is written as it is */
    for (const char *from = rest.p; rest.n > 0 && take_command(t, &rest); from = rest.p) {
        char text[I64_TEXT_MAX];
        size_t at = follow(t, t->deadlines);
        if (at != 0) {
            fwrite(kept, 1, (size_t)(from - kept), stdout);
            t->arg[at] = slice_of(text, format_i64(text, t->deadlines->soonest));
            put_command(t->arg, t->args);
            kept = rest.p;
        }
    }
    fwrite(kept, 1, (size_t)(payload.p + payload.n - kept), stdout);
}

/* The true ones. */
static void export_moved(const struct deadlines *d)
{
    uint16_t *back = mem_calloc(DATABASES * sizeof *back), db = 0, place;
    struct btree_iter it;
    struct btree_item item;
    for (unsigned i = 0; i < DATABASES; i++) {
        back[d->place[i]] = (uint16_t)i;
    }
    btree_iter(&it, d->moved, 0, true);
    while (btree_next(&it, &item)) {
        char text[I64_TEXT_MAX];
        int64_t ms;
        memcpy(&place, item.key.p, sizeof place);
        memcpy(&ms, item.value.p, sizeof ms);
        if (back[place] != db) {
            db = back[place];
            put_select(db);
        }
        struct slice key = slice_of(item.key.p + sizeof place, item.key.n - sizeof place);
        put_command(
            (struct slice[]){ S("PEXPIREAT"), key, slice_of(text, format_i64(text, ms)), S("XX") },
            4);
    }
    if (db != 0) {
        put_select(0);
    }
    mem_free(back);
}

static int export_batch(void *arg, struct wal_batch *window unused_arg,
                        const struct wal_batch_header *b)
{
    struct tool *t = arg;
    const uint8_t *body = (const uint8_t *)(b + 1);
    struct wal_record rec = { .lsn = b->first_lsn };
    for (uint64_t at = 0; wal_next_record(body, b->body_bytes, &at, &rec);) {
        if (wanted(t, &rec)) {
            export_payload(t, rec.payload);
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
    if (t->deadlines != NULL) {
        export_moved(t->deadlines);
    }
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
    struct deadlines *d = mem_calloc(sizeof *d);
    d->soonest = clock_wall_ms() + MARGIN_MS;
    d->moved = btree_new();
    for (unsigned i = 0; i < DATABASES; i++) {
        d->place[i] = (uint16_t)i;
    }
    t->deadlines = d;
    int status = run_records(t, export_batch);
    btree_free(d->moved);
    buf_free(&d->key);
    mem_free(d);
    return status;
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
            t->chosen = t->known = true;
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
        mem_free(t.arg);
        mem_free(t.dir);
        return status;
    }
    return usage("unknown command", argv[optind]);
}
