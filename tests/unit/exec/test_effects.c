/* test_effects.c -- What a transaction writes into the log, read back from the log.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "exec_util.h"
#include "unit/wal/wal_util.h"

struct scene {
    struct exec *x;
    struct rig rig;
    struct txn *t;
    struct seen_log seen;
    const char *dir;
};

static void nothing(struct call *c)
{
    (void)c;
}

static const struct command rows[] = {
    { .name = "del", .proc = nothing, .arity = -2 },
    { .name = NULL },
};

static void begin(struct scene *s)
{
    s->x = engine_new(rows);
    s->dir = unit_tmpdir();
    rig_init(&s->rig, s->dir);
    rig_start(&s->rig);
    exec_set_wal(s->x, s->rig.w);
    s->t = &s->x->workers[0].txn;
    fx_reset(s->t);
}

/* The record becomes the log's next one; the transaction is as new. */
static void append(struct scene *s)
{
    ck_assert_uint_gt(fx_append(s->t), 0);
    ck_assert(s->x->workers[0].appended);
    wal_announce(s->rig.w, 0);
    fx_reset(s->t);
}

static void finish(struct scene *s)
{
    exec_set_wal(s->x, NULL);
    rig_stop(&s->rig);
    seen_read_sound(&s->seen, s->dir);
}

static void expect(const struct scene *s, size_t i, const char *text, uint16_t slot)
{
    ck_assert_uint_lt(i, s->seen.records);
    const struct seen_record *r = &s->seen.record[i];
    ck_assert_msg(r->n == strlen(text) && memcmp(r->payload, text, r->n) == 0, "%.*s", (int)r->n,
                  (const char *)r->payload);
    ck_assert_uint_eq(r->frame.slot, slot);
}

static void end(struct scene *s)
{
    seen_free(&s->seen);
    engine_free(s->x);
}

static void add(struct scene *s, unsigned db, const char *name, const char *key)
{
    const struct slice argv[] = { slice_str(name), slice_str(key) };
    fx_argv(s->t, db, argv, 2);
}

#define DEL_A  "*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
#define DEL_B  "*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n"
#define SEL(n) "*2\r\n$6\r\nSELECT\r\n$1\r\n" #n "\r\n"
#define MULTI  "*1\r\n$5\r\nMULTI\r\n"
#define EXEC   "*1\r\n$4\r\nEXEC\r\n"

START_TEST(test_wrapping)
{
    struct scene s;
    begin(&s);
    ck_assert_uint_eq(fx_append(s.t), 0); /* nothing changed, nothing is logged */
    add(&s, 0, "DEL", "a");
    append(&s);
    add(&s, 3, "DEL", "a");
    append(&s);
    add(&s, 0, "DEL", "b");
    add(&s, 0, "DEL", "a");
    append(&s);
    add(&s, 0, "DEL", "a");
    add(&s, 3, "DEL", "b");
    add(&s, 3, "DEL", "a");
    add(&s, 0, "DEL", "b");
    append(&s);
    add(&s, 3, "DEL", "a");
    add(&s, 4, "DEL", "b");
    append(&s);
    finish(&s);
    ck_assert_uint_eq(s.seen.records, 5);
    expect(&s, 0, DEL_A, WAL_SLOT_ALL);
    expect(&s, 1, SEL(3) DEL_A SEL(0), WAL_SLOT_ALL);
    expect(&s, 2, MULTI DEL_B DEL_A EXEC, WAL_SLOT_ALL);
    expect(&s, 3, MULTI DEL_A SEL(3) DEL_B DEL_A SEL(0) DEL_B EXEC, WAL_SLOT_ALL);
    expect(&s, 4, MULTI SEL(3) DEL_A SEL(4) DEL_B SEL(0) EXEC, WAL_SLOT_ALL);
    ck_assert_uint_eq(s.seen.record[1].frame.db, 3);
    ck_assert_uint_eq(s.seen.record[3].frame.db, 0);
    end(&s);
}
END_TEST

struct made_call {
    struct call c;
    struct call_int in;
    struct slice argv[2];
    struct key key[2];
};

/* `DEL a`, or what else it is, as a client sent it, in this database. */
static struct call *make_call(struct scene *s, struct made_call *m, const char *name,
                              const char *key, unsigned db, const char *raw)
{
    *m = (struct made_call){ .argv = { slice_str(name), slice_str(key) } };
    m->key[0] = keyspace_key(s->x->ks, m->argv[1]);
    m->in = (struct call_int){
        .t = s->t, .w = s->t->w, .raw = slice_str(raw), .ref = command_lookup(s->x, m->argv, 2)
    };
    ck_assert_ptr_nonnull(m->in.ref);
    m->c = (struct call){ .argv = m->argv,
                          .argc = 2,
                          .keys = m->key,
                          .nkeys = 1,
                          .db = db,
                          .x = s->x,
                          .ks = s->x->ks,
                          .in = &m->in };
    return &m->c;
}

/* The bytes of the request go as they came when they can stand alone. */
#define RAW_A "*2\r\n$3\r\ndel\r\n$1\r\na\r\n"
START_TEST(test_verbatim)
{
    struct scene s;
    struct made_call m;
    begin(&s);
    struct call *c = make_call(&s, &m, "DEL", "a", 0, RAW_A);
    fx_collect(c);
    ck_assert_uint_eq(fx_append(s.t), 0); /* it changed nothing */
    m.in.changed = true;
    fx_collect(c);
    append(&s);
    m.in.explicit_fx = true; /* effect_none() */
    fx_collect(c);
    ck_assert_uint_eq(fx_append(s.t), 0);
    c = make_call(&s, &m, "DEL", "a", 2, RAW_A);
    effect_verbatim(c);
    fx_collect(c);
    append(&s);
    c = make_call(&s, &m, "DEL", "a", 0, RAW_A); /* followed by another effect: one record */
    m.in.changed = true;
    fx_collect(c);
    add(&s, 5, "DEL", "b");
    append(&s);
    s.t->in_multi = true; /* inside EXEC every command is written anew */
    fx_collect(c);
    s.t->in_multi = false;
    append(&s);
    finish(&s);
    ck_assert_uint_eq(s.seen.records, 4);
    uint16_t slot = (uint16_t)hash_slot(S("a"));
    expect(&s, 0, RAW_A, slot);
    expect(&s, 1, SEL(2) RAW_A SEL(0), slot);
    expect(&s, 2, MULTI RAW_A SEL(5) DEL_B SEL(0) EXEC, slot);
    expect(&s, 3, DEL_A, slot);
    end(&s);
}
END_TEST

/* The log has the name that every kv knows. */
START_TEST(test_renamed)
{
    struct scene s;
    struct made_call m;
    begin(&s);
    ck_assert(exec_rename_command(s.x, S("del"), S("zap")));
    struct call *c = make_call(&s, &m, "zap", "a", 0, "*2\r\n$3\r\nzap\r\n$1\r\na\r\n");
    m.in.changed = true;
    fx_collect(c);
    append(&s);
    finish(&s);
    ck_assert_uint_eq(s.seen.records, 1);
    expect(&s, 0, "*2\r\n$3\r\ndel\r\n$1\r\na\r\n", (uint16_t)hash_slot(S("a")));
    end(&s);
}
END_TEST

START_TEST(test_explicit)
{
    struct scene s;
    struct made_call m;
    begin(&s);
    struct call *c = make_call(&s, &m, "DEL", "a", 0, RAW_A);
    m.in.changed = true;
    effect_i64(c, S("INCRBY"), S("a"), INT64_MIN);
    EFFECT(c, S("DEL"), S("b"));
    fx_collect(c); /* the arguments as they came are replaced */
    append(&s);
    effect_none(c);
    fx_collect(c);
    ck_assert_uint_eq(fx_append(s.t), 0);
    finish(&s);
    ck_assert_uint_eq(s.seen.records, 1);
    expect(&s, 0,
           MULTI "*3\r\n$6\r\nINCRBY\r\n$1\r\na\r\n$20\r\n-9223372036854775808\r\n" DEL_B EXEC,
           WAL_SLOT_ALL);
    end(&s);
}
END_TEST

/* The slot of one key; SEVERAL of keys in several; ALL without keys. */
START_TEST(test_slots)
{
    struct scene s;
    struct made_call m;
    begin(&s);
    struct key a = keyspace_key(s.x->ks, S("{t}a")), b = keyspace_key(s.x->ks, S("{t}b")),
               other = keyspace_key(s.x->ks, S("other"));
    ck_assert_uint_ne(hash_slot(a.s), hash_slot(other.s));
    const struct key *sets[][2] = { { &a, &b }, { &a, &other } };
    for (unsigned i = 0; i < 2; i++) {
        fx_slot(s.t, sets[i][0]);
        fx_slot(s.t, sets[i][1]);
        add(&s, 0, "DEL", "a");
        append(&s);
    }
    struct call *c = make_call(&s, &m, "DEL", "a", 0, RAW_A);
    c->nkeys = 0;
    effect_verbatim(c);
    fx_collect(c);
    append(&s);
    c = make_call(&s, &m, "DEL", "{t}a", 0, "");
    m.key[1] = other;
    c->nkeys = 2;
    m.in.changed = true;
    fx_collect(c);
    append(&s);
    finish(&s);
    expect(&s, 0, DEL_A, (uint16_t)hash_slot(S("t")));
    expect(&s, 1, DEL_A, WAL_SLOT_SEVERAL);
    expect(&s, 2, RAW_A, WAL_SLOT_ALL);
    expect(&s, 3, "*2\r\n$3\r\nDEL\r\n$4\r\n{t}a\r\n", WAL_SLOT_SEVERAL);
    end(&s);
}
END_TEST

/* On replay, without a log and while it is being closed, nothing is gathered. */
START_TEST(test_not_logging)
{
    struct scene s;
    begin(&s);
    s.t->replay = true;
    add(&s, 0, "DEL", "a");
    ck_assert_uint_eq(fx_append(s.t), 0);
    s.t->replay = false;
    s.x->log_closing = true;
    add(&s, 0, "DEL", "a");
    ck_assert_uint_eq(fx_append(s.t), 0);
    s.x->log_closing = false;
    exec_set_wal(s.x, NULL);
    add(&s, 0, "DEL", "a");
    ck_assert_uint_eq(fx_append(s.t), 0);
    finish(&s);
    ck_assert_uint_eq(s.seen.records, 0);
    end(&s);
}
END_TEST

UNIT_SUITE(exec_effects)
{
    unit_case(suite, "effects", test_wrapping, test_verbatim, test_renamed, test_explicit,
              test_slots, test_not_logging);
}
