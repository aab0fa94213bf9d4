/* powerloss_state.c -- What is unsynced when a process ends while the power stays, for the next
 * one. SPDX-License-Identifier: BSD-3-Clause
 *
 * Structs as they are: both processes are of the same build. */
#include "powerloss_int.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(FILE *f, const void *p, size_t n)
{
    if (n > 0 && fwrite(p, n, 1, f) != 1) {
        disk_broken("state", -EIO);
    }
}

static void get(FILE *f, void *p, size_t n)
{
    if (n > 0 && fread(p, n, 1, f) != 1) {
        disk_broken("state", -EIO);
    }
}

static void put_sector(FILE *f, const uint8_t *p)
{
    uint8_t kind = p == NULL ? 0 : p == disk_zero_sector ? 1 : 2;
    put(f, &kind, 1);
    put(f, p, kind == 2 ? DISK_SECTOR : 0);
}

static uint8_t *get_sector(FILE *f)
{
    uint8_t kind, *p = NULL;
    get(f, &kind, 1);
    if (kind == 2) {
        p = malloc(DISK_SECTOR);
        get(f, p, DISK_SECTOR);
    }
    return kind == 1 ? disk_zero_sector : p;
}

static void put_name(FILE *f, const char *name)
{
    size_t n = name != NULL ? strlen(name) + 1 : 0;
    put(f, &n, sizeof n);
    put(f, name, n);
}

static char *get_name(FILE *f)
{
    size_t n;
    get(f, &n, sizeof n);
    char *name = n > 0 ? malloc(n) : NULL;
    get(f, name, n);
    return name;
}

static void put_node(FILE *f, const struct node *n)
{
    put(f, n, sizeof *n);
    for (size_t i = 0; i < n->sectors; i++) {
        const struct sector *s = &n->sector[i];
        put(f, s, sizeof *s);
        put_sector(f, s->base);
        for (unsigned k = 0; k < s->n; k++) {
            put(f, &s->v[k], sizeof s->v[k]);
            put_sector(f, s->v[k].data);
        }
    }
    put(f, n->size_op, n->size_ops * sizeof *n->size_op);
    for (size_t i = 0; i < n->entries; i++) {
        put(f, &n->entry[i], sizeof n->entry[i]);
        put_name(f, n->entry[i].name);
    }
    for (size_t i = 0; i < n->dir_ops; i++) {
        put(f, &n->dir_op[i], sizeof n->dir_op[i]);
        put_name(f, n->dir_op[i].from);
        put_name(f, n->dir_op[i].to);
    }
}

/* Room for n of them, so that grow() goes on from there. */
static void *room(size_t n, size_t size)
{
    size_t cap = 1;
    while (cap < n) {
        cap *= 2;
    }
    return calloc(cap, size);
}

static struct node *get_node(struct disk *d, FILE *f)
{
    struct node *n = malloc(sizeof *n);
    get(f, n, sizeof *n);
    n->sector_cap = n->sectors + 1;
    n->sector = calloc(n->sector_cap, sizeof *n->sector);
    for (size_t i = 0; i < n->sectors; i++) {
        struct sector *s = &n->sector[i];
        get(f, s, sizeof *s);
        s->base = get_sector(f);
        s->v = room(s->n, sizeof *s->v);
        for (unsigned k = 0; k < s->n; k++) {
            get(f, &s->v[k], sizeof s->v[k]);
            s->v[k].data = get_sector(f);
        }
    }
    n->size_op = room(n->size_ops, sizeof *n->size_op);
    get(f, n->size_op, n->size_ops * sizeof *n->size_op);
    n->entry = room(n->entries, sizeof *n->entry);
    for (size_t i = 0; i < n->entries; i++) {
        get(f, &n->entry[i], sizeof n->entry[i]);
        n->entry[i].name = get_name(f);
    }
    n->dir_op = room(n->dir_ops, sizeof *n->dir_op);
    for (size_t i = 0; i < n->dir_ops; i++) {
        get(f, &n->dir_op[i], sizeof n->dir_op[i]);
        n->dir_op[i].from = get_name(f);
        n->dir_op[i].to = get_name(f);
    }
    if (!n->is_dir) {
        char *path = disk_attic_path(d, n->ino);
        n->fd = (int)disk_sure(path, disk_open_raw(path, O_RDWR));
        free(path);
    }
    return n;
}

void disk_save(const struct disk *d)
{
    char *path = disk_print("%s/state", d->attic);
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        disk_broken(path, -errno);
    }
    put(f, d, sizeof *d);
    for (size_t i = 0; i < d->nodes; i++) {
        put_node(f, d->node[i]);
    }
    if (fclose(f) != 0) {
        disk_broken(path, -errno);
    }
    free(path);
}

bool disk_load(struct disk *d)
{
    char *path = disk_print("%s/state", d->attic);
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        struct disk saved;
        get(f, &saved, sizeof saved);
        d->root_ino = saved.root_ino;
        d->last = saved.last;
        d->nodes = saved.nodes;
        d->node = room(d->nodes, sizeof(struct node *));
        for (size_t i = 0; i < d->nodes; i++) {
            d->node[i] = get_node(d, f);
        }
        fclose(f);
        disk_unlink_raw(path, 0);
    }
    free(path);
    return f != NULL;
}
