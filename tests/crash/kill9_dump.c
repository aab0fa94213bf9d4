/* kill9_dump.c -- Everything that is in a server, read through its commands.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "kill9.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATABASES 16
#define AT_A_TIME 100

static int by_name(const void *a, const void *b)
{
    const struct dump_key *x = a, *y = b;
    return x->db != y->db ? (x->db < y->db ? -1 : 1) : strcmp(x->key, y->key);
}

static char *value_text(const struct resp *string, const struct resp *list)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    must(f != NULL);
    if (string->type == RESP_BULK) {
        fputs("s ", f);
        fwrite(string->text, 1, string->len, f);
    } else if (list->type == RESP_ARRAY) {
        fputs("l", f);
        for (size_t i = 0; i < list->count; i++) {
            fprintf(f, " %s", list->at[i]->text);
        }
    } else {
        fputs("?", f);
    }
    must(fclose(f) == 0);
    return text;
}

static void ask_about(struct client *c, const char *key)
{
    const char *ttl[] = { "PEXPIRETIME", key }, *get[] = { "GET", key };
    const char *range[] = { "LRANGE", key, "0", "-1" };
    client_send_args(c, 2, ttl, NULL);
    client_send_args(c, 2, get, NULL);
    client_send_args(c, 4, range, NULL);
}

static void take_answers(struct dump *d, struct client *c, unsigned db, const char *key)
{
    if (d->n == d->cap) {
        d->cap = d->cap == 0 ? 256 : 2 * d->cap;
        d->key = realloc(d->key, d->cap * sizeof *d->key);
        must(d->key != NULL);
    }
    int64_t ttl = client_read(c)->integer;
    client_read(c);
    struct resp *string = client_take(c);
    client_read(c);
    struct resp *list = client_take(c);
    if (ttl != -2 && !(string->type == RESP_NIL && list->type == RESP_ARRAY && list->count == 0)) {
        struct dump_key *k = &d->key[d->n++];
        *k = (struct dump_key){ db, strdup(key), value_text(string, list), ttl, false };
    } /* else it expired meanwhile */
    resp_free(string);
    resp_free(list);
}

void dump_read(struct dump *d, struct client *c)
{
    *d = (struct dump){ NULL, 0, 0 };
    for (unsigned db = 0; db < DATABASES; db++) {
        client_expect(c, "+OK", "SELECT %u", db);
        client_ask(c, "KEYS *");
        struct resp *keys = client_take(c);
        for (size_t from = 0; from < keys->count; from += AT_A_TIME) {
            size_t to = from + AT_A_TIME < keys->count ? from + AT_A_TIME : keys->count;
            for (size_t i = from; i < to; i++) {
                ask_about(c, keys->at[i]->text);
            }
            for (size_t i = from; i < to; i++) {
                take_answers(d, c, db, keys->at[i]->text);
            }
        }
        resp_free(keys);
    }
    if (d->n > 0) {
        qsort(d->key, d->n, sizeof *d->key, by_name);
    }
}

void dump_free(struct dump *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->key[i].key);
        free(d->key[i].value);
    }
    free(d->key);
    *d = (struct dump){ NULL, 0, 0 };
}

struct dump_key *dump_find(struct dump *d, unsigned db, const char *key)
{
    struct dump_key wanted = { .db = db, .key = (char *)(uintptr_t)key };
    return d->n > 0 ? bsearch(&wanted, d->key, d->n, sizeof *d->key, by_name) : NULL;
}

bool dump_equal(const struct dump *a, const struct dump *b, char *why, size_t size)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const struct dump_key *x = &a->key[i], *y = &b->key[i];
        if (by_name(x, y) != 0 || strcmp(x->value, y->value) != 0 || x->ttl != y->ttl) {
            snprintf(why, size, "db%u %s = %.200s (%lld), and db%u %s = %.200s (%lld)", x->db,
                     x->key, x->value, (long long)x->ttl, y->db, y->key, y->value,
                     (long long)y->ttl);
            return false;
        }
    }
    snprintf(why, size, "%zu keys, and %zu", a->n, b->n);
    return a->n == b->n;
}
