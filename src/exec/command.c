/* command.c -- The command table: rows by name, their statistics ids, and the keys a request
 * declares. SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      Everything about a command derives from its row. The table is built once, before any
 * thread starts, and only read after. THREADS  Any; read-only after start. exec_rename_command()
 * before start. */
#include "exec/exec_int.h"
#include <ctype.h>
#include <stdio.h>

#define TABLE_SLOTS COMMANDS_MAX /* power of two, above twice the number of top-level commands */

struct command_table {
    struct cmd_ref *top[TABLE_SLOTS];    /* open addressing by name_word() */
    uint64_t word[TABLE_SLOTS];          /* the name_word() of each */
    struct cmd_ref *logged[TABLE_SLOTS]; /* as top, but by the names of the rows */
    struct cmd_ref *by_id[TABLE_SLOTS];
    unsigned count;
    const struct command *families[64];
    unsigned nfamilies;
};

/* A name as a number, whatever its case: of one length up to WORD_EXACT without loss, else a
 * mixture. A byte that is no letter may become another one, but none becomes
 * a letter. */
#define WORD_EXACT 7
static inline uint64_t name_word(const char *p, size_t n)
{
    uint32_t a = 0, b = 0;
    if (n >= 4) {
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
    } else if (n > 0) {
        a = (uint8_t)p[0] | (uint32_t)(uint8_t)p[n / 2] << 8 | (uint32_t)(uint8_t)p[n - 1] << 16;
    }
    uint64_t w = ((uint64_t)b << 32 | a) | 0x2020202020202020u;
    for (size_t i = 4; i + 4 < n; i += 4) { /* what lies between the first and the last four */
        memcpy(&a, p + i, 4);
        w = (w ^ (a | 0x20202020u)) * 0x9e3779b97f4a7c15u;
    }
    return w ^ (uint64_t)n << 56;
}

static inline uint32_t word_slot(uint64_t w)
{
    return (uint32_t)(w * 0x9e3779b97f4a7c15u >> 40) & (TABLE_SLOTS - 1);
}

static bool name_eq(struct slice name, struct slice lower)
{
    if (name.n != lower.n) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        if (ch >= 'A' && ch <= 'Z') {
            ch = (char)(ch | 0x20);
        }
        if (ch != lower.p[i]) {
            return false;
        }
    }
    return true;
}

/* Categories that follow from the flags, as Redis derives them. */
uint32_t command_acl(const struct command *row)
{
    uint32_t acl = row->acl, f = row->flags;
    if (f & CMD_WRITE) {
        acl |= ACL_WRITE;
    }
    if ((f & CMD_READONLY) && !(acl & ACL_SCRIPTING)) {
        acl |= ACL_READ;
    }
    if (f & CMD_ADMIN) {
        acl |= ACL_ADMIN | ACL_DANGEROUS;
    }
    if (f & CMD_PUBSUB) {
        acl |= ACL_PUBSUB;
    }
    if (f & CMD_BLOCKING) {
        acl |= ACL_BLOCKING;
    }
    acl |= (f & CMD_FAST) ? ACL_FAST : ACL_SLOW;
    return acl;
}

const struct bit_name command_categories[COMMAND_CATEGORIES] = {
    { ACL_KEYSPACE, "keyspace" },
    { ACL_READ, "read" },
    { ACL_WRITE, "write" },
    { ACL_SET, "set" },
    { ACL_SORTEDSET, "sortedset" },
    { ACL_LIST, "list" },
    { ACL_HASH, "hash" },
    { ACL_STRING, "string" },
    { ACL_BITMAP, "bitmap" },
    { ACL_HYPERLOGLOG, "hyperloglog" },
    { ACL_GEO, "geo" },
    { ACL_STREAM, "stream" },
    { ACL_PUBSUB, "pubsub" },
    { ACL_ADMIN, "admin" },
    { ACL_FAST, "fast" },
    { ACL_SLOW, "slow" },
    { ACL_BLOCKING, "blocking" },
    { ACL_DANGEROUS, "dangerous" },
    { ACL_CONNECTION, "connection" },
    { ACL_TRANSACTION, "transaction" },
    { ACL_SCRIPTING, "scripting" },
};

uint32_t command_category(struct slice name)
{
    for (unsigned i = 0; i < COMMAND_CATEGORIES; i++) {
        if (slice_is(name, command_categories[i].name)) {
            return command_categories[i].bit;
        }
    }
    return 0;
}

static bool one_key_at_1(const struct command *row)
{
    const struct keyspec *k = &row->keys[0];
    return row->getkeys == NULL && row->sub == NULL && row->exclusive == NULL && k->step == 1 &&
           k->begin == 1 && k->keyword == NULL && k->last == 0 && !k->numkeys &&
           row->keys[1].step == 0;
}

static void ref_fill(struct command_table *t, struct cmd_ref *ref, const struct command *row,
                     const struct cmd_ref *parent)
{
    ref->row = row;
    ref->parent = parent;
    ref->name = slice_str(row->name);
    if (parent != NULL) {
        snprintf(ref->full, sizeof ref->full, "%s|%s", parent->full, row->name);
    } else {
        snprintf(ref->full, sizeof ref->full, "%s", row->name);
    }
    must(t->count < TABLE_SLOTS);
    ref->id = t->count;
    t->by_id[t->count++] = ref;
    ref->acl = command_acl(row);
    ref->one_key = one_key_at_1(row);
    ref->counted_keys = row->sub == NULL && row->keys[0].numkeys && row->keys[0].begin == 2;
    for (const struct command *s = row->sub; s != NULL && s->name != NULL; s++) {
        ref->nsub++;
    }
    if (ref->nsub > 0) {
        ref->sub = mem_calloc(ref->nsub * sizeof *ref->sub);
        for (unsigned i = 0; i < ref->nsub; i++) {
            ref_fill(t, &ref->sub[i], &row->sub[i], ref);
        }
    }
}

static void table_put(struct command_table *t, struct cmd_ref *ref)
{
    uint64_t w = name_word(ref->name.p, ref->name.n);
    uint32_t at = word_slot(w);
    while (t->top[at] != NULL) {
        must(!name_eq(t->top[at]->name, ref->name));
        at = (at + 1) & (TABLE_SLOTS - 1);
    }
    t->top[at] = ref;
    t->word[at] = w;
    ref->letters = ref->name.n <= WORD_EXACT;
    for (size_t i = 0; i < ref->name.n; i++) {
        ref->letters = ref->letters && ref->name.p[i] >= 'a' && ref->name.p[i] <= 'z';
    }
}

static void logged_put(struct command_table *t, struct cmd_ref *ref)
{
    uint32_t at = word_slot(name_word(ref->row->name, strlen(ref->row->name)));
    while (t->logged[at] != NULL) {
        at = (at + 1) & (TABLE_SLOTS - 1);
    }
    t->logged[at] = ref;
}

int commands_new(struct exec *x)
{
    x->commands = mem_calloc(sizeof *x->commands);
    return 0;
}

/* A command that was renamed owns its name; others have that of the row. */
static void drop_given_name(struct cmd_ref *ref)
{
    if (ref->name.p != ref->row->name) {
        mem_free((void *)(uintptr_t)ref->name.p);
    }
    ref->name = slice_str(ref->row->name);
}

void commands_free(struct exec *x)
{
    struct command_table *t = x->commands;
    /* Backwards: subcommands lie in an array of their parent's, and come after it. */
    for (unsigned i = t->count; i-- > 0;) {
        struct cmd_ref *ref = t->by_id[i];
        drop_given_name(ref);
        mem_free(ref->sub);
        if (ref->parent == NULL) {
            mem_free(ref);
        }
    }
    mem_free(t);
}

void exec_register(struct exec *x, const struct command *rows)
{
    struct command_table *t = x->commands;
    must(t->nfamilies < countof(t->families));
    t->families[t->nfamilies++] = rows;
    for (const struct command *row = rows; row->name != NULL; row++) {
        struct cmd_ref *ref = mem_calloc(sizeof *ref);
        ref_fill(t, ref, row, NULL);
        table_put(t, ref);
        logged_put(t, ref);
    }
}

const struct command *const *exec_families(struct exec *x, unsigned *n)
{
    *n = x->commands->nfamilies;
    return x->commands->families;
}

void exec_each_command(struct exec *x, void (*visit)(void *arg, const struct command *row),
                       void *arg)
{
    struct command_table *t = x->commands;
    for (unsigned i = 0; i < t->count; i++) {
        const struct cmd_ref *ref = t->by_id[i];
        if (ref->parent == NULL && command_lookup_top(x, ref->name) == ref) {
            visit(arg, ref->row);
        }
    }
}

unsigned commands_count(const struct exec *x)
{
    return x->commands->count;
}

const struct cmd_ref *command_by_id(const struct exec *x, unsigned id)
{
    return x->commands->by_id[id];
}

static struct cmd_ref **table_at(struct command_table *t, struct slice name)
{
    uint64_t w = name_word(name.p, name.n);
    uint32_t at = word_slot(w);
    while (t->top[at] != NULL) {
        const struct cmd_ref *ref = t->top[at];
        if (t->word[at] == w && ref->name.n == name.n &&
            (likely(ref->letters) || name_eq(name, ref->name))) {
            return &t->top[at];
        }
        at = (at + 1) & (TABLE_SLOTS - 1);
    }
    return NULL;
}

const struct cmd_ref *command_lookup_top(const struct exec *x, struct slice name)
{
    struct cmd_ref **at = table_at(x->commands, name);
    return at != NULL ? *at : NULL;
}

static const struct cmd_ref *with_subcommand(const struct cmd_ref *ref, const struct slice *argv,
                                             unsigned argc)
{
    if (ref == NULL || ref->nsub == 0 || argc < 2) {
        return ref;
    }
    for (unsigned i = 0; i < ref->nsub; i++) {
        if (name_eq(argv[1], ref->sub[i].name)) {
            return &ref->sub[i];
        }
    }
    return ref; /* the container's own handler answers: unknown subcommand */
}

const struct cmd_ref *command_lookup(const struct exec *x, const struct slice *argv, unsigned argc)
{
    return with_subcommand(command_lookup_top(x, argv[0]), argv, argc);
}

const struct cmd_ref *command_lookup_logged(const struct exec *x, const struct slice *argv,
                                            unsigned argc)
{
    struct cmd_ref *const *table = x->commands->logged;
    uint32_t at = word_slot(name_word(argv[0].p, argv[0].n));
    while (table[at] != NULL && !name_eq(argv[0], slice_str(table[at]->row->name))) {
        at = (at + 1) & (TABLE_SLOTS - 1);
    }
    return with_subcommand(table[at], argv, argc);
}

const char *command_original_name(const struct cmd_ref *ref)
{
    const struct cmd_ref *top = ref->parent != NULL ? ref->parent : ref;
    return top->name.p != top->row->name ? top->row->name : NULL;
}

const struct command *exec_find_command(struct exec *x, const struct slice *argv, unsigned argc)
{
    const struct cmd_ref *ref = command_lookup(x, argv, argc);
    return ref != NULL ? ref->row : NULL;
}

/* Open addressing has no tombstones here: the table is rebuilt, which happens a few times at start.
 */
bool exec_rename_command(struct exec *x, struct slice from, struct slice to)
{
    struct command_table *t = x->commands;
    struct cmd_ref **at = table_at(t, from);
    if (at == NULL || (to.n > 0 && table_at(t, to) != NULL)) {
        return false;
    }
    struct cmd_ref *moved = *at;
    *at = NULL;
    struct cmd_ref *all[TABLE_SLOTS];
    unsigned n = 0;
    for (unsigned i = 0; i < TABLE_SLOTS; i++) {
        if (t->top[i] != NULL) {
            all[n++] = t->top[i];
        }
    }
    memset(t->top, 0, sizeof t->top);
    for (unsigned i = 0; i < n; i++) {
        table_put(t, all[i]);
    }
    if (to.n > 0) {
        char *copy = mem_dup(to.p, to.n);
        for (size_t i = 0; i < to.n; i++) {
            copy[i] = (char)tolower((unsigned char)copy[i]);
        }
        drop_given_name(moved);
        moved->name = slice_of(copy, to.n);
        table_put(t, moved);
    }
    return true;
}

/* ---- Declared keys ---- */

/* First key of one specification, or 0 when there is none. */
static unsigned spec_begin(const struct keyspec *k, const struct slice *argv, unsigned argc)
{
    if (k->keyword == NULL) {
        return k->begin > 0 && (unsigned)k->begin < argc ? (unsigned)k->begin : 0;
    }
    bool backwards = k->begin < 0;
    int i = backwards ? (int)argc + k->begin : k->begin;
    for (; i > 0 && i < (int)argc; i += backwards ? -1 : 1) {
        if (slice_is(argv[i], k->keyword)) {
            return i + 1 < (int)argc ? (unsigned)i + 1 : 0;
        }
    }
    return 0;
}

/* Appends to index[n..) (and flags[]); returns the new count, beyond room nothing is written. */
static int spec_keys(const struct keyspec *k, const struct slice *argv, unsigned argc,
                     uint32_t *index, uint32_t *flags, unsigned n, unsigned room)
{
    unsigned first = spec_begin(k, argv, argc);
    if (first == 0) {
        return (int)n;
    }
    int64_t last;
    if (k->numkeys) {
        int64_t count;
        if (!parse_i64(argv[first], &count) || count < 0 || count > (int64_t)argc - 1 - first) {
            return -1;
        }
        last = (int64_t)first + count * k->step;
        first++;
    } else if (k->last >= 0) {
        last = (int64_t)first + k->last;
    } else {
        int64_t limit = k->limit > 1 ? k->limit : 1;
        int64_t count = ((int64_t)argc - first + k->last + 1) / limit;
        last = (int64_t)first + count - 1;
    }
    if (last >= (int64_t)argc) {
        return -1;
    }
    for (int64_t i = first; i <= last; i += k->step) {
        if (n < room) {
            index[n] = (uint32_t)i;
            if (flags != NULL) {
                flags[n] = k->flags;
            }
        }
        n++;
    }
    return (int)n;
}

/* An odd layout's first specification is its first key's; its last one is that of all others. */
static void getkeys_flags(const struct command *cmd, uint32_t *flags, unsigned n)
{
    unsigned specs = 0;
    while (specs < KEYSPEC_MAX && cmd->keys[specs].step != 0) {
        specs++;
    }
    for (unsigned i = 0; i < n; i++) {
        flags[i] = specs > 0 ? cmd->keys[i == 0 ? 0 : specs - 1].flags : 0;
    }
}

int command_keys_flags(const struct command *cmd, const struct slice *argv, unsigned argc,
                       uint32_t *index, uint32_t *flags, unsigned room)
{
    int total = 0;
    if (cmd->getkeys != NULL) {
        total = cmd->getkeys(argv, argc, index, room);
        if (flags != NULL && total > 0 && (unsigned)total <= room) {
            getkeys_flags(cmd, flags, (unsigned)total);
        }
    } else {
        for (unsigned i = 0; i < KEYSPEC_MAX && cmd->keys[i].step != 0 && total >= 0; i++) {
            const struct keyspec *k = &cmd->keys[i];
            int before = total;
            if (!(k->flags & KEY_NOT_KEY)) {
                total = spec_keys(k, argv, argc, index, flags, (unsigned)total, room);
                bool none = k->numkeys && total == before;
                total = none && !(cmd->flags & CMD_NO_MANDATORY_KEYS) ? -1 : total;
            }
        }
    }
    if (flags != NULL && cmd->key_flags != NULL) {
        uint32_t of_all = cmd->key_flags(argv, argc);
        for (unsigned i = 0; i < room && (int)i < total; i++) {
            flags[i] = of_all;
        }
    }
    return total;
}

int command_keys(const struct command *cmd, const struct slice *argv, unsigned argc,
                 uint32_t *index, unsigned room)
{
    return command_keys_flags(cmd, argv, argc, index, NULL, room);
}
