/* powerloss_script.c -- Makes the script, plays it, and finds the prefix that a server holds.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  A state is a hash of the replies to a fixed list of reads, so the same lines of code ask
 * redis-server for what should be there and kv for what is. */
#include "powerloss_script.h"
#include "unit.h"
#include "base/bytes.h"
#include "base/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FLUSH_STEP    (SCRIPT_STEPS / 2)
#define OWN_DATABASES 3
#define NAMES         9
#define FAR_MS        4102444800000ull
#define REFUSED_MS    1000
#define READY_MS      60000
#define BIG           100000

static const char *const names[NAMES] = { "s0", "s1", "s2", "s3", "n0", "n1", "l0", "l1", "l2" };

struct step {
    size_t from, bytes; /* in the connection's text */
    unsigned replies;
    bool looks; /* its second reply are the counters of all */
};
struct lane {
    struct buf text;
    struct step step[SCRIPT_STEPS];
    struct buf reads; /* asks for the state */
    unsigned answers;
    uint64_t state[SCRIPT_STEPS + 1]; /* after so many steps */
};
struct script {
    uint64_t x;
    unsigned commands;
    struct lane lane[SCRIPT_CONNECTIONS];
};

static unsigned roll(struct script *s, unsigned below)
{
    s->x = s->x * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((s->x >> 33) % below);
}

/* ---- Making it ---- */

/* One command: words separated by single spaces. */
__attribute__((format(printf, 2, 3))) static void add(struct buf *to, const char *fmt, ...)
{
    static char line[BIG + 200];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    must(n > 0 && n < (int)sizeof line);
    unsigned words = 1;
    for (const char *p = line; (p = strchr(p, ' ')) != NULL; p++) {
        words++;
    }
    buf_printf(to, "*%u\r\n", words);
    for (char *rest = NULL, *w = strtok_r(line, " ", &rest); w != NULL;
         w = strtok_r(NULL, " ", &rest)) {
        buf_printf(to, "$%zu\r\n", strlen(w));
        buf_add_str(to, w);
        buf_add_str(to, "\r\n");
    }
}

static unsigned database(struct script *s, unsigned lane)
{
    return 1 + lane * OWN_DATABASES + roll(s, OWN_DATABASES);
}

static const char *any(struct script *s)
{
    return names[roll(s, NAMES)];
}

static const char *text_key(struct script *s)
{
    return names[roll(s, 4)];
}

static const char *list_key(struct script *s)
{
    return names[6 + roll(s, 3)];
}

/* A value that nothing else has, short as a rule, sometimes beyond what travels in the frame. */
static const char *value(struct script *s)
{
    static char text[BIG + 1];
    unsigned kind = roll(s, 30);
    size_t n = kind == 0 ? BIG - roll(s, 1000) : kind < 4 ? 2000 + roll(s, 4000) : 4 + roll(s, 60);
    int head = snprintf(text, sizeof text, "%u.", roll(s, 1u << 30));
    n = size_min(n, (size_t)(BIG - head));
    memset(text + head, 'a' + (int)roll(s, 26), n);
    text[(size_t)head + n] = '\0';
    return text;
}

static void add_string(struct script *s, struct buf *to)
{
    unsigned long long ms = FAR_MS + roll(s, 1u << 30);
    switch (roll(s, 10)) {
    case 0:
    case 1:
    case 2: add(to, "SET %s %s", text_key(s), value(s)); break;
    case 3: add(to, "SET %s %s PXAT %llu", text_key(s), value(s), ms); break;
    case 4: add(to, "APPEND %s .%u", text_key(s), roll(s, 100000)); break;
    case 5: add(to, "SETRANGE %s %u x%u", text_key(s), roll(s, 40), roll(s, 1000)); break;
    case 6: add(to, "INCRBY n%u %u", roll(s, 2), 1 + roll(s, 100)); break;
    case 7: add(to, "MSET s0 %u s3 %u n1 %u", roll(s, 1000), roll(s, 1000), roll(s, 1000)); break;
    case 8: add(to, "GETDEL %s", text_key(s)); break;
    default: add(to, "SETBIT %s %u 1", text_key(s), roll(s, 300)); break;
    }
}

static void add_list(struct script *s, struct buf *to)
{
    const char *key = list_key(s);
    switch (roll(s, 10)) {
    case 0:
    case 1: add(to, "RPUSH %s %u %u %u", key, roll(s, 9), roll(s, 9), roll(s, 1000)); break;
    case 2: add(to, "LPUSH %s %s", key, value(s)); break;
    case 3: add(to, "LPOP %s", key); break;
    case 4: add(to, "RPOP %s 2", key); break;
    case 5: add(to, "LMOVE %s %s LEFT RIGHT", key, list_key(s)); break;
    case 6: add(to, "LREM %s 1 %u", key, roll(s, 9)); break;
    case 7: add(to, "LTRIM %s 0 %u", key, 2 + roll(s, 8)); break;
    case 8: add(to, "LINSERT %s BEFORE %u new%u", key, roll(s, 9), roll(s, 100)); break;
    default: add(to, "LSET %s 0 set%u", key, roll(s, 1000)); break;
    }
}

static void add_generic(struct script *s, struct buf *to, unsigned lane)
{
    const char *key = any(s);
    unsigned db = database(s, lane);
    switch (roll(s, 12)) {
    case 0: add(to, "DEL %s", key); break;
    case 1: add(to, "RENAME %s %s", key, any(s)); break;
    case 2: add(to, "PERSIST %s", key); break;
    case 3:
    case 4: add(to, "PEXPIREAT %s %llu", key, FAR_MS + roll(s, 1u << 30)); break;
    case 5: add(to, "PEXPIREAT %s 1000", key); break; /* long ago: a DEL */
    case 6: add(to, "MOVE %s %u", key, db); break;
    case 7: add(to, "COPY %s %s DB %u REPLACE", key, any(s), db); break;
    case 8: add(to, "SWAPDB %u %u", db, database(s, lane)); break;
    case 9: add(to, "GETEX %s PERSIST", text_key(s)); break;
    case 10: add(to, roll(s, 4) == 0 ? "FLUSHDB" : "GET n0"); break;
    default: add(to, "UNLINK %s %s", key, any(s)); break;
    }
}

static void add_any(struct script *s, struct step *step, struct buf *to, unsigned lane)
{
    unsigned kind = roll(s, 10);
    if (kind < 4) {
        add_string(s, to);
    } else if (kind < 7) {
        add_list(s, to);
    } else {
        add_generic(s, to, lane);
    }
    step->replies++;
}

static void add_transaction(struct script *s, struct step *step, struct buf *to, unsigned lane,
                            unsigned *db)
{
    unsigned n = 1 + roll(s, 4);
    add(to, "MULTI");
    for (unsigned i = 0; i < n; i++) {
        if (roll(s, 4) == 0) {
            *db = database(s, lane);
            add(to, "SELECT %u", *db);
            step->replies++;
        }
        add_any(s, step, to, lane);
    }
    add(to, "EXEC");
    step->replies += 2;
}

static void make_step(struct script *s, unsigned lane, unsigned i, unsigned *db)
{
    struct lane *l = &s->lane[lane];
    struct step *step = &l->step[i];
    struct buf *to = &l->text;
    *step = (struct step){ .from = to->n };
    unsigned kind = i == 0 ? 0 : roll(s, 16);
    if (i == FLUSH_STEP) { /* one connection says it for all */
        if (lane == 0) {
            add(to, "FLUSHALL");
            step->replies = 1;
        }
    } else if (kind == 0) {
        *db = database(s, lane);
        add(to, "SELECT %u", *db);
        step->replies = 1;
    } else if (kind <= 2) {
        add_transaction(s, step, to, lane, db);
    } else if (kind <= 5) {
        add(to, "MULTI");
        add_any(s, step, to, lane);
        add(to, "SELECT 0");
        add(to, "SET count:%u %u", lane, i);
        add(to, "SELECT %u", *db);
        add(to, "EXEC");
        step->replies += 5;
    } else if (kind == 6) {
        add(to, "SELECT 0");
        add(to, "MGET count:0 count:1 count:2 count:3 count:4");
        add(to, "SELECT %u", *db);
        step->replies = 3;
        step->looks = true;
    } else {
        add_any(s, step, to, lane);
    }
    step->bytes = to->n - step->from;
    s->commands += step->replies;
}

static void make_reads(struct lane *l, unsigned lane)
{
    for (unsigned d = 0; d < OWN_DATABASES; d++) {
        add(&l->reads, "SELECT %u", 1 + lane * OWN_DATABASES + d);
        add(&l->reads, "DBSIZE");
        for (unsigned i = 0; i < NAMES; i++) {
            add(&l->reads, "GET %s", names[i]);
            add(&l->reads, "LRANGE %s 0 -1", names[i]);
            add(&l->reads, "PEXPIRETIME %s", names[i]);
        }
    }
    add(&l->reads, "SELECT 0");
    add(&l->reads, "GET count:%u", lane);
    l->answers = OWN_DATABASES * (2 + 3 * NAMES) + 2;
}

/* ---- States ---- */

static uint64_t fnv(uint64_t h, const char *p)
{
    for (; *p != '\0'; p++) {
        h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
    }
    return (h ^ '\n') * 0x100000001b3ull;
}

static bool read_state(const struct lane *l, struct client *c, uint64_t *out)
{
    uint64_t h = 0xcbf29ce484222325ull;
    bool fine = client_try_send_raw(c, l->reads.p, l->reads.n);
    for (unsigned i = 0; fine && i < l->answers; i++) {
        const struct resp *reply;
        fine = client_try_read(c, &reply) == RESP_OK;
        if (fine) {
            char *line = resp_line(reply);
            h = fnv(h, line);
            free(line);
        }
    }
    *out = h;
    return fine;
}

static void learn(struct script *s, uint16_t port)
{
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        struct lane *l = &s->lane[i];
        struct client *c = client_connect(port), *look = client_connect(port);
        client_expect(c, "+OK", "FLUSHALL");
        ck_assert(read_state(l, look, &l->state[0]));
        for (unsigned k = 0; k < SCRIPT_STEPS; k++) {
            const struct step *step = &l->step[k];
            if (k == FLUSH_STEP && step->replies == 0) {
                client_expect(look, "+OK", "FLUSHALL");
            }
            client_send_raw(c, l->text.p + step->from, step->bytes);
            for (unsigned r = 0; r < step->replies; r++) {
                (void)client_read(c);
            }
            ck_assert(read_state(l, look, &l->state[k + 1]));
        }
        client_close(c);
        client_close(look);
    }
}

struct script *script_new(uint64_t seed)
{
    struct script *s = calloc(1, sizeof *s);
    s->x = seed;
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        unsigned db = 0;
        for (unsigned k = 0; k < SCRIPT_STEPS; k++) {
            make_step(s, i, k, &db);
        }
        make_reads(&s->lane[i], i);
    }
    struct server redis;
    server_init(&redis, SERVER_REDIS);
    server_start(&redis);
    learn(s, redis.port);
    server_kill(&redis);
    return s;
}

void script_free(struct script *s)
{
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        buf_free(&s->lane[i].text);
        buf_free(&s->lane[i].reads);
    }
    free(s);
}

unsigned script_commands(const struct script *s)
{
    return s->commands;
}

/* ---- Playing ---- */

enum heard { HEARD, REFUSED, GONE };

static void note_counters(const struct resp *reply, struct script_run *run)
{
    for (size_t i = 0; reply->type == RESP_ARRAY && i < reply->count; i++) {
        const struct resp *one = reply->at[i];
        if (one->type == RESP_BULK) { /* step `text` of that connection is done */
            unsigned steps = (unsigned)strtoul(one->text, NULL, 10) + 1;
            run->told[i] = run->told[i] < steps ? steps : run->told[i];
        }
    }
}

/* It, or an element of it, is that error. */
static bool reply_says(const struct resp *reply, const char *code)
{
    bool says = reply->type == RESP_ERROR && strncmp(reply->text, code, strlen(code)) == 0;
    for (size_t i = 0; i < reply->count && !says; i++) {
        says = reply_says(reply->at[i], code);
    }
    return says;
}

/* All replies of one step. */
static enum heard hear(const struct step *step, struct client *c, struct script_run *run,
                       bool *hole)
{
    bool refused = false;
    for (unsigned i = 0; i < step->replies; i++) {
        const struct resp *reply;
        enum resp_status status = client_try_read(c, &reply);
        if (status == RESP_TIMEOUT || status == RESP_MALFORMED) {
            snprintf(run->problem, sizeof run->problem, "%s",
                     status == RESP_TIMEOUT ? "no reply" : client_problem(c));
        }
        if (status != RESP_OK) {
            return GONE;
        }
        bool oom = reply_says(reply, "OOM");
        if (oom || reply_says(reply, "MISCONF")) {
            run->refused++;
            refused = true;
            *hole |= oom;
        }
        if (step->looks && i == 1) {
            note_counters(reply, run);
        }
    }
    return refused ? REFUSED : HEARD;
}

struct play {
    const struct script *s;
    struct script_run *run;
    struct client *c[SCRIPT_CONNECTIONS];
    unsigned heard[SCRIPT_CONNECTIONS];
};

static size_t begin_of(const struct lane *l, unsigned step)
{
    return step < SCRIPT_STEPS ? l->step[step].from : l->text.n;
}

static bool play_send(struct play *p, unsigned lane, unsigned upto)
{
    const struct lane *l = &p->s->lane[lane];
    size_t at = begin_of(l, p->run->sent[lane]);
    p->run->sent[lane] = upto;
    return client_try_send_raw(p->c[lane], l->text.p + at, begin_of(l, upto) - at);
}

static enum heard play_hear(struct play *p, unsigned lane, unsigned upto)
{
    enum heard what = HEARD;
    for (; p->heard[lane] < upto && what == HEARD; p->heard[lane] += what == HEARD) {
        what =
            hear(&p->s->lane[lane].step[p->heard[lane]], p->c[lane], p->run, &p->run->holes[lane]);
        if (what == HEARD && p->run->told[lane] < p->heard[lane] + 1) {
            p->run->told[lane] = p->heard[lane] + 1;
        }
    }
    return what;
}

static bool play_fast(struct play *p, unsigned end)
{
    bool fine = true;
    unsigned before = p->run->refused;
    for (unsigned round = 0, busy = 1; busy != 0 && fine; round++) {
        unsigned half[SCRIPT_CONNECTIONS];
        busy = 0;
        for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
            half[i] = p->run->sent[i];
            unsigned upto = half[i] + 1 + (round * 7 + i * 5) % 6;
            upto = upto < end ? upto : end;
            busy += upto > half[i] || half[i] > p->heard[i];
            fine = play_send(p, i, upto) && fine;
        }
        for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
            fine = play_hear(p, i, half[i]) == HEARD && fine;
        }
    }
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS && p->run->refused == before; i++) {
        fine = play_hear(p, i, p->run->sent[i]) == HEARD && fine; /* said before it went */
    }
    if (p->run->refused != before) { /* what followed in the same chunk may have been done */
        snprintf(p->run->problem, sizeof p->run->problem, "refused");
    }
    return fine;
}

/* A step that is refused is sent again, until a connection has been refused for so long: there may
 * be no memory for it ever again. Each has its own time, for others may go on or have ended. */
static bool play_careful(struct play *p, unsigned end)
{
    int64_t deadline[SCRIPT_CONNECTIONS];
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        deadline[i] = clock_mono_ms() + unit_patient_ms(REFUSED_MS);
    }
    for (unsigned busy = 1; busy != 0;) {
        busy = 0;
        for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
            p->run->sent[i] = p->heard[i];
            if (p->heard[i] < end && !play_send(p, i, p->heard[i] + 1)) {
                return false;
            }
        }
        bool goes_on = true; /* when one has ended the others are heard still: what was refused */
        for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
            enum heard what = play_hear(p, i, p->run->sent[i]);
            if (what == GONE || (what == REFUSED && clock_mono_ms() > deadline[i])) {
                goes_on = false;
            }
            deadline[i] =
                what == REFUSED ? deadline[i] : clock_mono_ms() + unit_patient_ms(REFUSED_MS);
            busy += p->heard[i] < end;
        }
        if (!goes_on) {
            return false;
        }
    }
    return true;
}

bool script_play(const struct script *s, uint16_t port, enum script_pace pace,
                 struct script_run *run)
{
    struct play p = { .s = s, .run = run };
    bool fine = true;
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        p.c[i] = fine ? client_try_connect(port) : NULL;
        fine = p.c[i] != NULL;
    }
    bool (*part)(struct play *, unsigned) = pace == SCRIPT_FAST ? play_fast : play_careful;
    if (fine) { /* everybody is there before the FLUSHALL, and nobody goes on before it is heard */
        fine = part(&p, FLUSH_STEP);
        if (fine) {
            fine = play_send(&p, 0, FLUSH_STEP + 1) && play_hear(&p, 0, FLUSH_STEP + 1) == HEARD;
        }
        if (fine) {
            fine = part(&p, SCRIPT_STEPS);
        }
    }
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        client_close(p.c[i]);
    }
    return fine;
}

/* ---- Judging ---- */

/* The steps of the others do not include the FLUSHALL that they share. */
static bool allowed(const struct script *s, const struct script_run *run, const uint64_t *state,
                    unsigned lane, bool flushed)
{
    unsigned from = flushed ? FLUSH_STEP + 1 : 0, to = flushed ? SCRIPT_STEPS : FLUSH_STEP;
    unsigned told = run->told[lane], sent = run->sent[lane];
    if (run->holes[lane]) {
        return true;
    }
    if (flushed && sent < FLUSH_STEP + 1) { /* it may have come, told or not */
        sent = run->sent[0] > FLUSH_STEP ? FLUSH_STEP + 1 : sent;
    }
    for (unsigned k = from > told ? from : told; k <= to && k <= sent; k++) {
        if (s->lane[lane].state[k] == state[lane]) {
            return true;
        }
    }
    return false;
}

static void describe(const struct script *s, struct script_run *run, const uint64_t *state)
{
    char *p = run->problem, *end = p + sizeof run->problem;
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        if (allowed(s, run, state, i, false) || allowed(s, run, state, i, true)) {
            continue;
        }
        int found = -1;
        for (unsigned k = 0; k <= SCRIPT_STEPS; k++) {
            found = s->lane[i].state[k] == state[i] ? (int)k : found;
        }
        p += snprintf(p, (size_t)(end - p), "connection %u: told %u, sent %u, found %d; ", i,
                      run->told[i], run->sent[i], found);
        p = p < end ? p : end - 1;
    }
    if (p == run->problem) {
        snprintf(p, (size_t)(end - p), "the FLUSHALL is half there");
    }
}

int script_check(const struct script *s, uint16_t port, struct script_run *run)
{
    uint64_t state[SCRIPT_CONNECTIONS];
    struct client *c = client_try_connect(port);
    bool fine = c != NULL;
    for (unsigned i = 0; fine && i < SCRIPT_CONNECTIONS; i++) {
        fine = read_state(&s->lane[i], c, &state[i]);
    }
    client_close(c);
    if (!fine) {
        return 1;
    }
    bool without = true, with = true;
    for (unsigned i = 0; i < SCRIPT_CONNECTIONS; i++) {
        if (run->served && run->seen[i] != state[i] && !run->holes[i]) {
            snprintf(run->problem, sizeof run->problem,
                     "connection %u: not what an earlier life had shown", i);
            return -1;
        }
        without = allowed(s, run, state, i, false) && without;
        with = allowed(s, run, state, i, true) && with;
    }
    if (!without && !with) {
        describe(s, run, state);
        return -1;
    }
    run->served = true;
    memcpy(run->seen, state, sizeof state);
    return 0;
}

bool script_disturb(uint16_t port, unsigned writes)
{
    struct client *c = client_try_connect(port);
    const struct resp *reply;
    bool there = c != NULL;
    for (unsigned i = 0; there && i < writes; i++) {
        there = client_try_send(c, "SET filler %u", i) && client_try_read(c, &reply) == RESP_OK;
    }
    client_close(c);
    return !there;
}

bool script_wait_ready(uint16_t port)
{
    struct client *c = client_try_connect(port);
    const struct resp *reply;
    int64_t deadline = clock_mono_ms() + unit_patient_ms(READY_MS);
    bool ready = false;
    while (c != NULL && !ready && clock_mono_ms() < deadline && client_try_send(c, "PING") &&
           client_try_read(c, &reply) == RESP_OK) {
        ready = reply->type == RESP_SIMPLE;
        if (!ready) {
            nanosleep(&(struct timespec){ .tv_nsec = 500 * 1000 }, NULL);
        }
    }
    client_close(c);
    return ready;
}
