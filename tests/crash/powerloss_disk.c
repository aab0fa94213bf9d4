/* powerloss_disk.c -- Older contents of everything unsynced, and which of it survives.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Keeping back is done by remembering how to undo: reads then need no overlay, and the
 *             process under test runs on ordinary files.
 * INVARIANTS  A sector is listed only while a version of it is unsynced. Its last version is what
 *             the file holds; `base` is what the disk holds for sure. */
#include "powerloss_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- System calls past the shim ---- */

long disk_raw(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "system calls of this processor"
#endif
}

void disk_broken(const char *what, long err)
{
    fprintf(stderr, "powerloss: %s: %s\n", what, strerror((int)-err));
    abort();
}

long disk_sure(const char *what, long result)
{
    if (result < 0) {
        disk_broken(what, result);
    }
    return result;
}

int disk_open_raw(const char *path, int flags)
{
    return (int)disk_raw(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0600, 0, 0);
}

void disk_unlink_raw(const char *path, int flags)
{
    disk_sure(path, disk_raw(SYS_unlinkat, AT_FDCWD, (long)path, flags, 0, 0, 0));
}

static void raw_link(const char *from, const char *to)
{
    disk_sure(to, disk_raw(SYS_linkat, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0, 0));
}

static void raw_rename(const char *from, const char *to)
{
    disk_sure(to, disk_raw(SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0, 0));
}

/* ---- Nodes ---- */

uint8_t disk_zero_sector[DISK_SECTOR];

static void *grow(void *p, size_t n, size_t size)
{
    if ((n & (n - 1)) == 0) { /* full at each power of two */
        p = realloc(p, (n == 0 ? 1 : 2 * n) * size);
        if (p == NULL) {
            disk_broken("memory", -ENOMEM);
        }
    }
    return p;
}

static struct node *find(const struct disk *d, uint64_t ino)
{
    for (size_t i = d->nodes; i-- > 0;) {
        if (d->node[i]->ino == ino) {
            return d->node[i];
        }
    }
    return NULL;
}

static struct node *find_sure(const struct disk *d, uint64_t ino)
{
    struct node *n = find(d, ino);
    if (n == NULL) {
        disk_broken("a file that was never seen", -ENOENT);
    }
    return n;
}

char *disk_print(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0) {
        disk_broken("memory", -ENOMEM);
    }
    return s;
}

char *disk_attic_path(const struct disk *d, uint64_t ino)
{
    return disk_print("%s/%llu", d->attic, (unsigned long long)ino);
}

static struct node *add_node(struct disk *d, const char *path)
{
    struct stat st;
    disk_sure(path, lstat(path, &st) == 0 ? 0 : -errno);
    struct node *n = calloc(1, sizeof *n);
    n->ino = st.st_ino;
    n->is_dir = S_ISDIR(st.st_mode);
    n->fd = -1;
    if (!n->is_dir) {
        n->size = (uint64_t)st.st_size;
        n->fd = (int)disk_sure(path, disk_open_raw(path, O_RDWR));
        char *keep = disk_attic_path(d, n->ino);
        raw_link(path, keep);
        free(keep);
    }
    d->node = grow(d->node, d->nodes, sizeof(struct node *));
    d->node[d->nodes++] = n;
    return n;
}

/* ---- Directories ---- */

static void set_entry(struct node *dir, const char *name, uint64_t ino)
{
    for (size_t i = 0; i < dir->entries; i++) {
        if (strcmp(dir->entry[i].name, name) == 0) {
            if (ino != 0) {
                dir->entry[i].ino = ino;
            } else {
                free(dir->entry[i].name);
                dir->entry[i] = dir->entry[--dir->entries];
            }
            return;
        }
    }
    if (ino != 0) {
        dir->entry = grow(dir->entry, dir->entries, sizeof *dir->entry);
        dir->entry[dir->entries++] = (struct entry){ strdup(name), ino };
    }
}

static void add_dir_op(struct disk *d, uint64_t dir, const char *from, const char *to, uint64_t ino)
{
    struct node *n = find_sure(d, dir);
    n->dir_op = grow(n->dir_op, n->dir_ops, sizeof *n->dir_op);
    n->dir_op[n->dir_ops++] = (struct dir_op){ .op = ++d->last,
                                               .from = from != NULL ? strdup(from) : NULL,
                                               .to = to != NULL ? strdup(to) : NULL,
                                               .ino = ino };
}

static void apply_dir_op(struct node *dir, const struct dir_op *o)
{
    if (o->from != NULL) {
        set_entry(dir, o->from, 0);
    }
    if (o->to != NULL) {
        set_entry(dir, o->to, o->ino);
    }
}

/* The inode a name has now, durable or not. */
static uint64_t newest_ino(const struct node *dir, const char *name)
{
    uint64_t ino = 0;
    for (size_t i = 0; i < dir->entries; i++) {
        ino = strcmp(dir->entry[i].name, name) == 0 ? dir->entry[i].ino : ino;
    }
    for (size_t i = 0; i < dir->dir_ops; i++) {
        const struct dir_op *o = &dir->dir_op[i];
        ino = o->from != NULL && strcmp(o->from, name) == 0 ? 0 : ino;
        ino = o->to != NULL && strcmp(o->to, name) == 0 ? o->ino : ino;
    }
    return ino;
}

static void scan(struct disk *d, struct node *dir, const char *path)
{
    DIR *stream = opendir(path);
    if (stream == NULL) {
        disk_broken(path, -errno);
    }
    for (struct dirent *e; (e = readdir(stream)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        char *child = disk_print("%s/%s", path, e->d_name);
        struct stat st;
        disk_sure(child, lstat(child, &st) == 0 ? 0 : -errno);
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) { /* not sockets */
            struct node *n = add_node(d, child);
            set_entry(dir, e->d_name, n->ino);
            if (n->is_dir) {
                scan(d, n, child);
            }
        }
        free(child);
    }
    closedir(stream);
}

static void remove_below(const char *dir)
{
    DIR *stream = opendir(dir);
    if (stream == NULL) {
        disk_broken(dir, -errno);
    }
    for (struct dirent *e; (e = readdir(stream)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        char *path = disk_print("%s/%s", dir, e->d_name);
        bool is_dir = e->d_type == DT_DIR;
        if (is_dir) {
            remove_below(path);
        }
        disk_unlink_raw(path, is_dir ? AT_REMOVEDIR : 0);
        free(path);
    }
    closedir(stream);
}

struct disk *disk_new(const char *root, const char *attic)
{
    struct disk *d = calloc(1, sizeof *d);
    d->root = strdup(root);
    d->attic = strdup(attic);
    if (disk_load(d)) {
        return d;
    }
    if (access(attic, F_OK) == 0) {
        remove_below(attic);
    } else {
        disk_sure(attic, disk_raw(SYS_mkdirat, AT_FDCWD, (long)attic, 0700, 0, 0, 0));
    }
    struct node *n = add_node(d, root);
    d->root_ino = n->ino;
    scan(d, n, root);
    return d;
}

void disk_created(struct disk *d, uint64_t dir, const char *name, const char *path)
{
    struct node *n = add_node(d, path);
    n->size = 0;
    add_dir_op(d, dir, NULL, name, n->ino);
}

void disk_unlinked(struct disk *d, uint64_t dir, const char *name)
{
    add_dir_op(d, dir, name, NULL, 0);
}

void disk_renamed(struct disk *d, uint64_t dir, const char *from, const char *to)
{
    add_dir_op(d, dir, from, to, newest_ino(find_sure(d, dir), from));
}

/* ---- Contents ---- */

static size_t sector_at(const struct node *n, uint64_t index)
{
    size_t low = 0, high = n->sectors;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (n->sector[mid].index < index) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static uint8_t *keep_sector(const uint8_t *p)
{
    if (memcmp(p, disk_zero_sector, DISK_SECTOR) == 0) {
        return disk_zero_sector;
    }
    uint8_t *copy = malloc(DISK_SECTOR);
    memcpy(copy, p, DISK_SECTOR);
    return copy;
}

static void drop_sector(uint8_t *p)
{
    if (p != disk_zero_sector) {
        free(p);
    }
}

/* The sector is about to get a new version; `old` is what the file holds. */
static void add_version(struct node *n, uint64_t index, const uint8_t *old, disk_op op)
{
    size_t at = sector_at(n, index);
    if (at == n->sectors || n->sector[at].index != index) {
        if (n->sectors == n->sector_cap) {
            n->sector_cap = n->sector_cap == 0 ? 64 : 2 * n->sector_cap;
            n->sector = realloc(n->sector, n->sector_cap * sizeof *n->sector);
        }
        memmove(&n->sector[at + 1], &n->sector[at], (n->sectors - at) * sizeof *n->sector);
        n->sector[at] = (struct sector){ .index = index, .base = keep_sector(old) };
        n->sectors++;
    } else {
        struct sector *s = &n->sector[at];
        s->v[s->n - 1].data = keep_sector(old);
    }
    struct sector *s = &n->sector[at];
    s->v = grow(s->v, s->n, sizeof *s->v);
    s->v[s->n++] = (struct version){ op, NULL };
}

static void add_versions(struct node *n, uint64_t offset, uint64_t bytes, disk_op op)
{
    if (bytes == 0) {
        return;
    }
    uint64_t first = offset / DISK_SECTOR, last = (offset + bytes - 1) / DISK_SECTOR;
    size_t len = (size_t)(last - first + 1) * DISK_SECTOR;
    uint8_t *old = calloc(1, len);
    disk_sure("read", disk_raw(SYS_pread64, n->fd, (long)old, (long)len,
                               (long)(first * DISK_SECTOR), 0, 0));
    for (uint64_t i = first; i <= last; i++) {
        add_version(n, i, old + (i - first) * DISK_SECTOR, op);
    }
    free(old);
}

static void add_size_op(struct node *n, disk_op op, bool truncate, uint64_t to)
{
    n->size_op = grow(n->size_op, n->size_ops, sizeof *n->size_op);
    n->size_op[n->size_ops++] = (struct size_op){ op, truncate, to };
}

disk_op disk_before_write(struct disk *d, uint64_t ino, uint64_t offset, size_t n)
{
    add_versions(find_sure(d, ino), offset, n, ++d->last);
    return d->last;
}

void disk_after_write(struct disk *d, uint64_t ino, disk_op op, uint64_t offset, ssize_t wrote)
{
    if (wrote > 0) {
        add_size_op(find_sure(d, ino), op, false, offset + (uint64_t)wrote);
    }
}

void disk_before_truncate(struct disk *d, uint64_t ino, uint64_t size)
{
    struct node *n = find_sure(d, ino);
    struct stat st;
    disk_sure("fstat", fstat(n->fd, &st) == 0 ? 0 : -errno);
    disk_op op = ++d->last;
    if ((uint64_t)st.st_size > size) {
        add_versions(n, size, (uint64_t)st.st_size - size, op);
    }
    add_size_op(n, op, true, size);
}

/* ---- Syncs ---- */

static uint64_t resized(uint64_t size, const struct size_op *o)
{
    return o->truncate || o->to > size ? o->to : size;
}

/* Version i is durable: it is the base now, and the ones before it cannot come back. False: nothing
 * unsynced is left of the sector. */
static bool settle(struct sector *s, unsigned i)
{
    drop_sector(s->base);
    for (unsigned k = 0; k < i; k++) {
        drop_sector(s->v[k].data);
    }
    s->base = s->v[i].data;
    s->n -= i + 1;
    memmove(s->v, s->v + i + 1, s->n * sizeof *s->v);
    if (s->n == 0) {
        free(s->v);
        return false;
    }
    return true;
}

void disk_write_synced(struct disk *d, uint64_t ino, disk_op op)
{
    struct node *n = find_sure(d, ino);
    size_t kept = 0;
    for (size_t i = 0; i < n->sectors; i++) {
        struct sector *s = &n->sector[i];
        bool keep = true;
        for (unsigned k = 0; k < s->n; k++) {
            if (s->v[k].op == op) {
                keep = settle(s, k);
                break;
            }
        }
        if (keep) {
            n->sector[kept++] = *s;
        }
    }
    n->sectors = kept;
    for (size_t i = 0; i < n->size_ops; i++) {
        if (n->size_op[i].op == op) {
            n->size = resized(n->size, &n->size_op[i]);
            memmove(&n->size_op[i], &n->size_op[i + 1], (--n->size_ops - i) * sizeof *n->size_op);
            break;
        }
    }
}

disk_op disk_now(const struct disk *d)
{
    return d->last;
}

static void sync_dir(struct node *n, disk_op upto)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->dir_ops; i++) {
        if (n->dir_op[i].op <= upto) {
            apply_dir_op(n, &n->dir_op[i]);
            free(n->dir_op[i].from);
            free(n->dir_op[i].to);
        } else {
            n->dir_op[kept++] = n->dir_op[i];
        }
    }
    n->dir_ops = kept;
}

void disk_synced(struct disk *d, uint64_t ino, disk_op upto)
{
    struct node *n = find_sure(d, ino);
    if (n->is_dir) {
        sync_dir(n, upto);
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n->sectors; i++) {
        struct sector *s = &n->sector[i];
        unsigned k = s->n;
        while (k > 0 && s->v[k - 1].op > upto) {
            k--;
        }
        if (k == 0 || s->v[k - 1].op <= n->failed || settle(s, k - 1)) {
            n->sector[kept++] = *s;
        }
    }
    n->sectors = kept;
    kept = 0;
    for (size_t i = 0; i < n->size_ops; i++) {
        if (n->size_op[i].op <= upto) {
            n->size = resized(n->size, &n->size_op[i]);
        } else {
            n->size_op[kept++] = n->size_op[i];
        }
    }
    n->size_ops = kept;
}

void disk_sync_failed(struct disk *d, uint64_t ino, disk_op upto)
{
    find_sure(d, ino)->failed = upto;
}

/* ---- The crash ---- */

uint64_t disk_mix(uint64_t a, uint64_t b)
{
    uint64_t x = a * 0x9e3779b97f4a7c15ull + b + 0x632be59bd9b4e019ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* Of each change by itself: does it survive whole, partly or not at all? Seeds differ in how much
 * survives, so that the extremes occur. */
enum fate { LOST, TORN, WHOLE };

static enum fate fate_of(uint64_t seed, disk_op op)
{
    static const unsigned survive[] = { 0, 100, 50, 15, 85 }; /* percent */
    unsigned percent = survive[seed % 5];
    uint64_t h = disk_mix(seed, op);
    if (percent != 0 && percent != 100 && h % 4 == 0) {
        return TORN;
    }
    return (h >> 8) % 100 < percent ? WHOLE : LOST;
}

static bool survives(uint64_t seed, disk_op op, uint64_t sector)
{
    enum fate f = fate_of(seed, op);
    return f == WHOLE || (f == TORN && (disk_mix(disk_mix(seed, op), sector) & 1) != 0);
}

static void crash_file(struct node *n, uint64_t seed)
{
    uint64_t size = n->size;
    for (size_t i = 0; i < n->size_ops; i++) {
        if (fate_of(seed, n->size_op[i].op) != LOST) {
            size = resized(size, &n->size_op[i]);
        }
    }
    for (size_t i = 0; i < n->sectors; i++) {
        const struct sector *s = &n->sector[i];
        const uint8_t *p = s->base;
        for (unsigned k = 0; k < s->n; k++) {
            p = survives(seed, s->v[k].op, s->index) ? s->v[k].data : p;
        }
        if (p != NULL && s->index * DISK_SECTOR < size) {
            disk_sure("write", disk_raw(SYS_pwrite64, n->fd, (long)p, DISK_SECTOR,
                                        (long)(s->index * DISK_SECTOR), 0, 0));
        }
    }
    disk_sure("truncate", disk_raw(SYS_ftruncate, n->fd, (long)size, 0, 0, 0, 0));
}

/* Moves everything out of a directory that is not to be there. */
static void clear_dir(struct disk *d, const struct node *dir, const char *path)
{
    DIR *stream = opendir(path);
    if (stream == NULL) {
        disk_broken(path, -errno);
    }
    for (struct dirent *e; (e = readdir(stream)) != NULL;) {
        uint64_t ino = 0;
        for (size_t i = 0; i < dir->entries; i++) {
            ino = strcmp(dir->entry[i].name, e->d_name) == 0 ? dir->entry[i].ino : ino;
        }
        const struct node *n = find(d, e->d_ino);
        if (ino == e->d_ino || n == NULL || strcmp(e->d_name, ".") == 0 ||
            strcmp(e->d_name, "..") == 0) {
            continue;
        }
        char *child = disk_print("%s/%s", path, e->d_name);
        char *attic = disk_attic_path(d, e->d_ino);
        if (n->is_dir) {
            raw_rename(child, attic);
        } else {
            disk_unlink_raw(child, 0);
        }
        free(child);
        free(attic);
    }
    closedir(stream);
}

static void fill_dir(struct disk *d, const struct node *dir, const char *path)
{
    for (size_t i = 0; i < dir->entries; i++) {
        char *child = disk_print("%s/%s", path, dir->entry[i].name);
        char *attic = disk_attic_path(d, dir->entry[i].ino);
        struct stat st;
        const struct node *n = find_sure(d, dir->entry[i].ino);
        if (lstat(child, &st) != 0) {
            if (!n->is_dir) {
                raw_link(attic, child);
            } else if (lstat(attic, &st) == 0) {
                raw_rename(attic, child);
            } else {
                disk_sure(child, disk_raw(SYS_mkdirat, AT_FDCWD, (long)child, 0700, 0, 0, 0));
            }
        }
        free(attic);
        free(child);
    }
}

static void walk_dirs(struct disk *d, struct node *dir, const char *path,
                      void (*visit)(struct disk *, const struct node *, const char *))
{
    visit(d, dir, path);
    for (size_t i = 0; i < dir->entries; i++) {
        struct node *n = find_sure(d, dir->entry[i].ino);
        char *child = disk_print("%s/%s", path, dir->entry[i].name);
        struct stat st;
        if (n->is_dir && lstat(child, &st) == 0) {
            walk_dirs(d, n, child, visit);
        }
        free(child);
    }
}

void disk_crash(struct disk *d, uint64_t seed)
{
    for (size_t i = 0; i < d->nodes; i++) {
        struct node *n = d->node[i];
        if (!n->is_dir) {
            crash_file(n, seed);
            continue;
        }
        for (size_t k = 0; k < n->dir_ops; k++) {
            if (fate_of(seed, n->dir_op[k].op) == WHOLE) {
                apply_dir_op(n, &n->dir_op[k]);
            }
        }
    }
    struct node *root = find_sure(d, d->root_ino);
    walk_dirs(d, root, d->root, clear_dir);
    walk_dirs(d, root, d->root, fill_dir);
}

void disk_free(struct disk *d)
{
    for (size_t i = 0; i < d->nodes; i++) {
        struct node *n = d->node[i];
        n->failed = 0;
        disk_synced(d, n->ino, d->last);
        for (size_t k = 0; k < n->entries; k++) {
            free(n->entry[k].name);
        }
        if (n->fd >= 0) {
            disk_raw(SYS_close, n->fd, 0, 0, 0, 0, 0);
        }
        free(n->sector);
        free(n->size_op);
        free(n->entry);
        free(n->dir_op);
        free(n);
    }
    free(d->node);
    free(d->root);
    free(d->attic);
    free(d);
}
