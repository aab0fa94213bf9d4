/* entry.c -- Entries: key, value, expiry and access clock in one allocation; and blobs.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY      A small string costs one cache miss and one allocation: a 16-byte key with 64 bytes is
 *          96 bytes in all. Large strings (blobs) are shared with replies under way, so that
 *          neither a GET nor its socket needs a copy under the lock.
 *
 * THREADS  The holder of the shard lock. blob_release(), entry_free(): any thread.
 *
 * FAILURE  entry_make, blob_*: NULL, and the arguments as they were. */
#include "store/store_int.h"
#include "base/fault.h"

/* Appending grows a blob to twice its size up to here, then by this much. */
#define BLOB_STEP_MAX ((size_t)1 << 20)

enum obj_type entry_type(const struct entry *e)
{
    return (enum obj_type)e->type;
}

enum obj_enc entry_enc(const struct entry *e)
{
    return (enum obj_enc)e->enc;
}

struct slice entry_key(const struct entry *e)
{
    return slice_of(entry_key_bytes(e), e->klen);
}

int64_t entry_expire(const struct entry *e)
{
    if (!(e->flags & ENTRY_EXPIRES)) {
        return NO_EXPIRE;
    }
    int64_t when;
    memcpy(&when, e->body + entry_word_size(e), sizeof when);
    return when;
}

uint32_t entry_clock(const struct entry *e)
{
    return e->clock;
}

void entry_set_clock(struct entry *e, uint32_t clock)
{
    e->clock = clock;
}

/* ================= Strings ================= */

struct slice entry_string(const struct entry *e, char tmp[I64_TEXT_MAX])
{
    must(e->type == OBJ_STRING);
    if (e->flags & ENTRY_INLINE) {
        return slice_of(entry_inline_bytes(e), e->vlen);
    }
    if (e->enc == ENC_INT) {
        return slice_of(tmp, format_i64(tmp, (int64_t)entry_word(e)));
    }
    const struct blob *b = entry_word_ptr(e);
    return slice_of(b->data, b->len);
}

bool entry_int(const struct entry *e, int64_t *out)
{
    if (e->type != OBJ_STRING || e->enc != ENC_INT) {
        return false;
    }
    *out = (int64_t)entry_word(e);
    return true;
}

size_t entry_strlen(const struct entry *e)
{
    must(e->type == OBJ_STRING);
    if (e->flags & ENTRY_INLINE) {
        return e->vlen;
    }
    if (e->enc == ENC_INT) {
        return i64_digits((int64_t)entry_word(e));
    }
    return ((const struct blob *)entry_word_ptr(e))->len;
}

struct blob *entry_blob_ref(struct entry *e, struct slice *bytes)
{
    if (!entry_is_blob(e)) {
        return NULL;
    }
    struct blob *b = entry_word_ptr(e);
    must(atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed) < UINT32_MAX);
    *bytes = slice_of(b->data, b->len);
    return b;
}

/* ================= Containers ================= */

void *entry_ptr(const struct entry *e)
{
    must(e->type != OBJ_STRING);
    return entry_word_ptr(e);
}

void entry_set_ptr(struct entry *e, enum obj_enc enc, void *ptr)
{
    must(e->type != OBJ_STRING);
    e->enc = enc & 15u;
    entry_set_word(e, (uint64_t)(uintptr_t)ptr);
}

/* ================= Making and reshaping ================= */

struct entry_form entry_form_of(const struct entry *e)
{
    struct entry_form f = { .type = (enum obj_type)e->type,
                            .enc = (enum obj_enc)e->enc,
                            .flags = e->flags,
                            .expire_ms = entry_expire(e) };
    if (e->flags & ENTRY_INLINE) {
        f.bytes = slice_of(entry_inline_bytes(e), e->vlen);
    } else {
        f.word = entry_word(e);
    }
    return f;
}

/* Everything but key, inline bytes and place in the expiry order. */
static void write_head(struct entry *e, const struct entry_form *f)
{
    e->type = f->type & 15u;
    e->enc = f->enc & 15u;
    e->flags = f->flags;
    if (f->flags & ENTRY_INLINE) {
        e->vlen = (uint32_t)(f->bytes.n + f->zeros);
    } else {
        e->vlen = 0;
        entry_set_word(e, f->word);
    }
    if (f->flags & ENTRY_EXPIRES) {
        entry_set_when(e, f->expire_ms);
    }
}

struct entry *entry_make(struct slice key, const struct entry_form *f, bool sure)
{
    must(key.n <= UINT32_MAX); /* far above the largest argument */
    size_t size = entry_class(entry_form_size(f, key.n));
    struct entry *e = sure ? mem_alloc(size) : mem_try_alloc(size);
    if (unlikely(e == NULL)) {
        return NULL;
    }
    must((uintptr_t)e >> 48 == 0);
    e->epoch = 0;
    e->clock = 0;
    e->klen = (uint32_t)key.n;
    write_head(e, f);
    memcpy(entry_key_bytes(e), key.p, key.n);
    if (f->flags & ENTRY_INLINE) {
        char *v = entry_inline_bytes(e);
        memcpy(v, f->bytes.p, f->bytes.n);
        memset(v + f->bytes.n, 0, f->zeros);
    }
    return e;
}

void entry_reshape(struct entry *e, const struct entry_form *f)
{
    uint32_t place = e->flags & ENTRY_EXPIRES ? entry_place(e) : 0;
    char *from = entry_key_bytes(e);
    char *to = e->body + (f->flags & ENTRY_INLINE ? 0 : 8) + (f->flags & ENTRY_EXPIRES ? 12 : 0);
    /* The bytes may be the entry's own, behind its key: if the key moves towards them they go
     * first. */
    if (f->flags & ENTRY_INLINE && to > from) {
        memmove(to + e->klen, f->bytes.p, f->bytes.n);
    }
    if (to != from) {
        memmove(to, from, e->klen);
    }
    if (f->flags & ENTRY_INLINE && to <= from) {
        memmove(to + e->klen, f->bytes.p, f->bytes.n);
    }
    write_head(e, f);
    if (f->flags & ENTRY_INLINE) {
        memset(entry_inline_bytes(e) + f->bytes.n, 0, f->zeros);
    }
    if (f->flags & ENTRY_EXPIRES) {
        entry_set_place(e, place);
    }
}

/* ================= Strings outside of a table ================= */

bool entry_form_string(struct entry_form *f, struct slice v, enum string_form form)
{
    int64_t number;
    *f = (struct entry_form){ .type = OBJ_STRING, .enc = ENC_RAW };
    if (form == STRING_AUTO && v.n < I64_TEXT_MAX && parse_i64(v, &number)) {
        f->enc = ENC_INT;
        f->word = (uint64_t)number;
        return true;
    }
    if (v.n <= STRING_INLINE_MAX) {
        f->enc = form != STRING_RAW && v.n <= EMBSTR_MAX ? ENC_EMBSTR : ENC_RAW;
        f->flags = ENTRY_INLINE;
        f->bytes = v;
        return true;
    }
    struct blob *b = blob_new(v.n, v.n);
    if (b == NULL) {
        return false;
    }
    memcpy(b->data, v.p, v.n);
    f->word = (uint64_t)(uintptr_t)b;
    return true;
}

void entry_form_release(const struct entry_form *f)
{
    if (f->enc == ENC_RAW && !(f->flags & ENTRY_INLINE)) {
        blob_release((void *)(uintptr_t)f->word);
    }
}

struct entry *entry_new_string(const struct key *k, struct slice v)
{
    struct entry_form f;
    if (fault("store.new_string") || !entry_form_string(&f, v, STRING_AUTO)) {
        return NULL;
    }
    struct entry *e = entry_make(k->s, &f, false);
    if (e == NULL) {
        entry_form_release(&f);
    }
    return e;
}

void entry_discard(struct entry *e)
{
    const struct value_ops *o = entry_ops(e);
    if (o != NULL) {
        o->free(entry_word_ptr(e));
    }
    mem_free(e);
}

/* ================= Blobs ================= */

struct blob *blob_new(size_t len, size_t cap)
{
    size_t size;
    if (!size_add(sizeof(struct blob), cap, &size)) {
        return NULL;
    }
    struct blob *b = mem_try_alloc(size);
    if (b != NULL) {
        *b = (struct blob){ 1, len, cap, (char *)(b + 1) };
    }
    return b;
}

struct blob *blob_adopt(char *p, size_t n)
{
    struct blob *b = mem_try_alloc(sizeof *b);
    if (b != NULL) {
        *b = (struct blob){ 1, n, n, p };
    }
    return b;
}

static bool blob_is_own(const struct blob *b)
{
    return b->data == (const char *)(b + 1);
}

void blob_release(void *blob)
{
    struct blob *b = blob;
    /* acq_rel: what other holders read happened before the bytes go. */
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        if (!blob_is_own(b)) {
            mem_free(b->data);
        }
        mem_free(b);
    }
}

size_t blob_room(size_t size)
{
    size_t room;
    return size_add(size, size_min(size, BLOB_STEP_MAX), &room) ? room : size;
}

struct blob *blob_grow(struct blob *b, size_t size)
{
    size_t len = size_max(b->len, size);
    if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1) {
        struct blob *copy = blob_new(len, size > b->len ? blob_room(size) : len);
        if (copy == NULL) {
            return NULL;
        }
        memcpy(copy->data, b->data, b->len);
        memset(copy->data + b->len, 0, len - b->len);
        blob_release(b);
        return copy;
    }
    if (size > b->cap) {
        size_t cap = blob_room(size), whole;
        if (blob_is_own(b)) {
            struct blob *moved =
                size_add(sizeof *b, cap, &whole) ? mem_try_realloc(b, whole) : NULL;
            if (moved == NULL) {
                return NULL;
            }
            b = moved;
            b->data = (char *)(b + 1);
        } else {
            char *moved = mem_try_realloc(b->data, cap);
            if (moved == NULL) {
                return NULL;
            }
            b->data = moved;
        }
        b->cap = cap;
    }
    memset(b->data + b->len, 0, len - b->len);
    b->len = len;
    return b;
}

size_t blob_memory(const struct blob *b)
{
    return mem_usable(b) + (blob_is_own(b) ? 0 : mem_usable(b->data));
}
