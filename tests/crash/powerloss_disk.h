/* powerloss_disk.h -- A model of a disk that has not been told to sync: what would be left of a
 * directory tree if the power failed now. SPDX-License-Identifier: BSD-3-Clause
 *
 * The real files always show the newest state (what the page cache would show). Beside it the model
 * keeps what is needed to go back: older contents of sectors, sizes and directory entries that no
 * sync has made final. disk_crash() rewrites the real tree into one that a power loss could leave:
 * of everything unsynced a random subset, in any order, writes torn at sectors.
 *   Stricter than most file systems: a synced file whose directory was not synced may be gone.
 *   Not modelled: sync of a file by the kernel's own choice that is visible in order (any order is
 *   tried), damage to what was synced.
 * One caller at a time (the shim's lock). Nothing here goes through the calls that the shim
 * replaces. */
#ifndef TESTS_POWERLOSS_DISK_H
#define TESTS_POWERLOSS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DISK_SECTOR 512

struct disk;
typedef uint64_t disk_op; /* grows with each change; 0: none */

/* Takes the tree below root as durable, or goes on from what disk_save() left. `attic` (created, on
 * the same file system, outside of root) keeps files alive that lost their name. */
struct disk *disk_new(const char *root, const char *attic);
/* For a process that ends while the power stays: what is unsynced stays so. */
void disk_save(const struct disk *d);
void disk_free(struct disk *d);

/* A file or directory that has just been created. */
void disk_created(struct disk *d, uint64_t dir, const char *name, const char *path);
void disk_unlinked(struct disk *d, uint64_t dir, const char *name);
/* Both names in one directory. */
void disk_renamed(struct disk *d, uint64_t dir, const char *from, const char *to);

/* Around the real write: before it, and with what it returned. */
disk_op disk_before_write(struct disk *d, uint64_t ino, uint64_t offset, size_t n);
void disk_after_write(struct disk *d, uint64_t ino, disk_op op, uint64_t offset, ssize_t wrote);
void disk_before_truncate(struct disk *d, uint64_t ino, uint64_t size);

/* That write is durable, earlier ones need not be (O_DSYNC). */
void disk_write_synced(struct disk *d, uint64_t ino, disk_op op);
/* Everything up to `upto` is durable: fsync, of a directory too. Take disk_now() when it begins. */
disk_op disk_now(const struct disk *d);
void disk_synced(struct disk *d, uint64_t ino, disk_op upto);
/* A sync that failed: what it was for is not durable, and no later sync makes it so (the kernel may
 * have dropped it and called it clean). */
void disk_sync_failed(struct disk *d, uint64_t ino, disk_op upto);

/* The power fails. The real tree becomes what the seed leaves of it. */
void disk_crash(struct disk *d, uint64_t seed);

/* System calls as they are. */
long disk_raw(long number, long a, long b, long c, long d, long e, long f);
#endif
