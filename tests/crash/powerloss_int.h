/* powerloss_int.h -- What the parts of the disk model share.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_POWERLOSS_INT_H
#define TESTS_POWERLOSS_INT_H

#include "powerloss_disk.h"

struct version {
    disk_op op;
    uint8_t *data; /* NULL: the last one, in the file */
};
struct sector {
    uint64_t index;
    uint8_t *base;
    struct version *v;
    unsigned n;
};
struct size_op {
    disk_op op;
    bool truncate;
    uint64_t to;
};
struct entry {
    char *name;
    uint64_t ino;
};
struct dir_op { /* from: removed, to: set to ino; either may be NULL */
    disk_op op;
    char *from, *to;
    uint64_t ino;
};
struct node {
    uint64_t ino;
    bool is_dir;
    int fd;                /* of a file; read and write */
    uint64_t size;         /* durable */
    struct sector *sector; /* ascending */
    size_t sectors, sector_cap;
    struct size_op *size_op;
    size_t size_ops;
    struct entry *entry; /* durable */
    size_t entries;
    struct dir_op *dir_op;
    size_t dir_ops;
    disk_op failed; /* writes up to here that are unsynced stay so */
};
struct disk {
    char *root, *attic;
    uint64_t root_ino;
    struct node **node;
    size_t nodes;
    disk_op last;
};

extern uint8_t disk_zero_sector[DISK_SECTOR]; /* stands for all sectors of zeros */

/* powerloss_disk.c */
_Noreturn void disk_broken(const char *what, long err); /* the model itself cannot go on */
long disk_sure(const char *what, long result);
uint64_t disk_mix(uint64_t a, uint64_t b); /* two numbers into a random one */
char *disk_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *disk_attic_path(const struct disk *d, uint64_t ino);
int disk_open_raw(const char *path, int flags);
void disk_unlink_raw(const char *path, int flags);
/* powerloss_state.c: false: there is nothing to go on with. */
bool disk_load(struct disk *d);
#endif
