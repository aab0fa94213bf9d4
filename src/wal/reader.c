/* reader.c -- The window: kept bytes move in front of the piece that was read ahead.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY         Each piece is read with room for HEAD bytes before it. When the window moves on, the
 *             unfinished batch at its end is copied into that room, so only the edge between two
 *             pieces is ever copied.
 *             Several pieces are on their way at once: one read after the other leaves a disk half
 *             idle.
 * THREADS     Each slot of struct wal_ahead has a helper thread, and one request at a time: its
 *             fields belong to the helper while state is ASKED and to the reader otherwise.
 * FAILURE     A piece that cannot be read as a whole is read again as exactly what was asked for,
 * so that a bad block is reported where it is needed and not before. */
#include "wal/reader.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/mem.h"
#include "base/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define PIECE \
    ((size_t)1 << 20)          /* large enough for a disk's full rate, small enough for the cache */
#define HEAD ((size_t)1 << 18) /* batches up to this move without another allocation */

/* ---- Buffers ---- */

struct wal_batch *wal_batch_new(size_t cap)
{
    size_t n;
    if (!size_add(cap, sizeof(struct wal_batch) + WAL_BLOCK, &n)) {
        return NULL;
    }
    struct wal_batch *b = mem_try_alloc(n);
    if (b != NULL) {
        uintptr_t first = (uintptr_t)(b + 1) + WAL_BLOCK - 1;
        atomic_init(&b->refs, 1);
        b->cap = cap;
        b->bytes = (uint8_t *)(first - first % WAL_BLOCK);
    }
    return b;
}

void wal_batch_retain(struct wal_batch *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

void wal_batch_release(struct wal_batch *b)
{
    if (b != NULL && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(b);
    }
}

/* ---- Reading ---- */

/* Fewer bytes only where the file has been cut meanwhile. */
static ssize_t read_at(int fd, void *p, size_t n, uint64_t offset)
{
    int hit = fault("wal.read");
    if (hit != 0) {
        return hit == FAULT_SHORT || hit == FAULT_FAIL ? -EIO : -hit;
    }
    ssize_t got = io_pread_full(fd, p, n, offset);
    if (got == -EINVAL) {
        /* Some file systems accept O_DIRECT at open and refuse it here. */
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && (flags & O_DIRECT) != 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0) {
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            got = io_pread_full(fd, p, n, offset);
        }
    }
    return got;
}

/* ---- The helper threads ---- */

#define AHEAD_PIECES 4 /* on their way at once */

enum { IDLE, ASKED, DONE, QUIT };

struct slot {
    pthread_t thread;
    _Atomic uint32_t state; /* futex */
    /* What is asked for, and the answer. */
    int fd;
    uint64_t offset;
    size_t n;
    struct wal_batch *into; /* at bytes + HEAD */
    ssize_t got;
};

struct wal_ahead {
    struct slot slot[AHEAD_PIECES];
    unsigned slots; /* with a thread */
    unsigned first; /* of those asked, the oldest */
    unsigned asked; /* from `first` on, round the end: pieces that follow each other */
    uint64_t next;  /* offset behind the newest */
};

static void set_state(struct slot *a, uint32_t state)
{
    atomic_store_explicit(&a->state, state, memory_order_release);
    futex_wake(&a->state, 1);
}

static uint32_t wait_while(struct slot *a, uint32_t unwanted)
{
    uint32_t state;
    while ((state = atomic_load_explicit(&a->state, memory_order_acquire)) == unwanted) {
        futex_wait(&a->state, unwanted, -1);
    }
    return state;
}

static void *ahead_main(void *arg)
{
    struct slot *a = arg;
    mem_thread_start();
    for (;;) {
        uint32_t state = atomic_load_explicit(&a->state, memory_order_acquire);
        if (state == QUIT) {
            break;
        }
        if (state != ASKED) {
            futex_wait(&a->state, state, -1);
            continue;
        }
        a->got = read_at(a->fd, a->into->bytes + HEAD, a->n, a->offset);
        set_state(a, DONE);
    }
    mem_thread_stop();
    return NULL;
}

struct wal_ahead *wal_ahead_new(void)
{
    struct wal_ahead *a = mem_calloc(sizeof *a);
    while (a->slots < AHEAD_PIECES) {
        struct slot *s = &a->slot[a->slots];
        if (thread_start(&s->thread, "wal-ahead", ahead_main, s) != 0) {
            break;
        }
        a->slots++;
    }
    return a; /* without threads nothing is read ahead */
}

void wal_ahead_free(struct wal_ahead *a)
{
    if (a == NULL) {
        return;
    }
    must(a->asked == 0); /* readers are closed before */
    for (unsigned i = 0; i < a->slots; i++) {
        set_state(&a->slot[i], QUIT);
        pthread_join(a->slot[i].thread, NULL);
    }
    mem_free(a);
}

/* Asks for the pieces behind the window, as far as there are any and memory for them. */
static void ahead_ask(struct wal_reader *r)
{
    struct wal_ahead *a = r->ahead;
    if (a == NULL) {
        return;
    }
    if (a->asked == 0) {
        a->next = r->from + r->len;
    }
    while (a->asked < a->slots && a->next < r->size) {
        struct slot *s = &a->slot[(a->first + a->asked) % a->slots];
        s->into = wal_batch_new(HEAD + PIECE);
        if (s->into == NULL) {
            return;
        }
        s->fd = r->fd;
        s->offset = a->next;
        s->n = (size_t)u64_min(PIECE, r->size - a->next);
        a->next += s->n;
        a->asked++;
        set_state(s, ASKED);
    }
}

/* The oldest that was asked for; waits for it. */
static struct slot *ahead_shift(struct wal_ahead *a)
{
    struct slot *s = &a->slot[a->first];
    a->first = (a->first + 1) % a->slots;
    a->asked--;
    must(wait_while(s, ASKED) == DONE);
    atomic_store_explicit(&s->state, IDLE, memory_order_relaxed);
    return s;
}

static void ahead_drop(struct wal_ahead *a)
{
    while (a != NULL && a->asked > 0) {
        wal_batch_release(ahead_shift(a)->into);
    }
}

/* Waits for the piece at `offset` and takes it; NULL when that was not asked for, or could not be
 * read as a whole: then nothing is on its way any more. *got: bytes at bytes + HEAD. The caller
 * owns the result. */
static struct wal_batch *ahead_take(struct wal_reader *r, uint64_t offset, size_t *got)
{
    struct wal_ahead *a = r->ahead;
    if (a == NULL || a->asked == 0) {
        return NULL;
    }
    struct slot *s = ahead_shift(a);
    bool whole = s->got == (ssize_t)s->n;
    if (!whole) {
        ahead_drop(a);
    }
    if (s->offset != offset || s->got <= 0) {
        wal_batch_release(s->into);
        ahead_drop(a);
        return NULL;
    }
    *got = (size_t)s->got;
    return s->into;
}

/* ---- The window ---- */

int wal_reader_open(struct wal_reader *r, const char *path, enum wal_read_how how,
                    struct wal_ahead *ahead)
{
    *r = (struct wal_reader){ .fd = -1, .ahead = ahead };
    int fd = how == WAL_READ_DISK ? io_open(path, O_RDONLY | O_DIRECT, 0) : -EINVAL;
    if (fd == -EINVAL) {
        fd = io_open(path, O_RDONLY, 0);
    } else {
        r->direct = fd >= 0;
    }
    if (fd < 0) {
        return fd;
    }
    struct stat st;
    int err = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    if (err != 0) {
        io_close(fd);
        return err;
    }
    r->fd = fd;
    r->size = (uint64_t)st.st_size;
    /* Direct reads end at a block; only a file that was cut short does not. */
    if (r->direct && r->size % WAL_BLOCK != 0) {
        r->direct = fcntl(fd, F_SETFL, 0) != 0;
        how = WAL_READ_BUFFERED;
    }
    if (!r->direct && how != WAL_READ_CACHED) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void wal_reader_drop(struct wal_reader *r)
{
    ahead_drop(r->ahead);
    wal_batch_release(r->window);
    r->window = NULL;
    r->from = 0;
    r->len = 0;
}

void wal_reader_close(struct wal_reader *r)
{
    if (r->fd >= 0) {
        wal_reader_drop(r);
        io_close(r->fd);
        r->fd = -1;
    }
}

static void set_window(struct wal_reader *r, struct wal_batch *b, uint64_t from, size_t head,
                       size_t len)
{
    wal_batch_release(r->window);
    r->window = b;
    r->from = from;
    r->head = head;
    r->len = len;
}

/* A window of its own for at least n bytes at offset: what is kept of the old one, what was read
 * ahead, and the rest from the file. */
static int refill(struct wal_reader *r, uint64_t offset, size_t n, size_t keep,
                  const struct wal_batch *piece, size_t piece_len)
{
    size_t padded = n + (WAL_BLOCK - n % WAL_BLOCK) % WAL_BLOCK;
    size_t cap = size_max(size_max(padded, PIECE), keep + piece_len);
    struct wal_batch *b = wal_batch_new(cap);
    if (b == NULL) {
        return -ENOMEM;
    }
    size_t len = keep;
    if (keep > 0) {
        memcpy(b->bytes, r->window->bytes + r->head + (offset - r->from), keep);
    }
    if (piece != NULL) {
        memcpy(b->bytes + keep, piece->bytes + HEAD, piece_len);
        len += piece_len;
    }
    size_t want = size_min(cap, (size_t)u64_min(r->size - offset, SIZE_MAX)) - len;
    if (want > 0) {
        ssize_t got = read_at(r->fd, b->bytes + len, want, offset + len);
        size_t asked = len < padded ? size_min(padded - len, want) : 0;
        if (got < 0 && asked < want) {
            got = asked > 0 ? read_at(r->fd, b->bytes + len, asked, offset + len) : 0;
        }
        if (got < 0) {
            wal_batch_release(b);
            return (int)got;
        }
        len += (size_t)got;
    }
    set_window(r, b, offset, 0, len);
    return 0;
}

/* Zeros behind the end of the file, as far as asked for. */
static int zero_fill(struct wal_reader *r, size_t n)
{
    if (r->head + n > r->window->cap) {
        struct wal_batch *b = wal_batch_new(n);
        if (b == NULL) {
            return -ENOMEM;
        }
        memcpy(b->bytes, r->window->bytes + r->head, r->len);
        set_window(r, b, r->from, 0, r->len);
    }
    memset(r->window->bytes + r->head + r->len, 0, n - r->len);
    return 0;
}

int wal_reader_need(struct wal_reader *r, uint64_t offset, size_t n, const uint8_t **p)
{
    must(offset % WAL_BLOCK == 0 && offset < r->size && n > 0);
    uint64_t end = r->from + r->len;
    bool inside = r->window != NULL && offset >= r->from && offset < end;
    if (!inside || n > end - offset) {
        size_t keep = inside ? (size_t)(end - offset) : 0, piece_len = 0;
        if (offset + keep < r->size) {
            struct wal_batch *piece = ahead_take(r, offset + keep, &piece_len);
            int err = 0;
            if (piece != NULL && keep <= HEAD && keep + piece_len >= n) {
                if (keep > 0) {
                    memcpy(piece->bytes + HEAD - keep,
                           r->window->bytes + r->head + (offset - r->from), keep);
                }
                set_window(r, piece, offset, HEAD - keep, keep + piece_len);
            } else {
                err = refill(r, offset, n, keep, piece, piece_len);
                wal_batch_release(piece);
            }
            if (err != 0) {
                return err;
            }
            ahead_ask(r);
        }
        if (n > r->from + r->len - offset) {
            /* The file ends here. Move the window's start so that zero_fill() counts from it. */
            r->head += (size_t)(offset - r->from);
            r->len -= (size_t)(offset - r->from);
            r->from = offset;
            int err = zero_fill(r, n);
            if (err != 0) {
                return err;
            }
        }
    }
    *p = r->window->bytes + r->head + (offset - r->from);
    return 0;
}
