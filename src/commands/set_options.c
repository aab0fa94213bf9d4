/* set_options.c -- Options of SET, GETEX and MSETEX; comparing the value of a key.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/set_options.h"
#include "base/hash.h"

static const struct option_word {
    const char *word;
    unsigned flag, excludes; /* a word may be repeated: the last one counts */
} option_words[] = {
    { "nx", OPT_NX, OPT_CONDITION & ~OPT_NX },
    { "xx", OPT_XX, OPT_CONDITION & ~OPT_XX },
    { "get", OPT_GET, 0 },
    { "keepttl", OPT_KEEPTTL, OPT_TTL & ~OPT_KEEPTTL },
    { "persist", OPT_PERSIST, OPT_TTL & ~OPT_PERSIST },
    { "ex", OPT_EX, OPT_TTL & ~OPT_EX },
    { "px", OPT_PX, OPT_TTL & ~OPT_PX },
    { "exat", OPT_EXAT, OPT_TTL & ~OPT_EXAT },
    { "pxat", OPT_PXAT, OPT_TTL & ~OPT_PXAT },
    { "ifeq", OPT_IFEQ, OPT_CONDITION & ~OPT_IFEQ },
    { "ifne", OPT_IFNE, OPT_CONDITION & ~OPT_IFNE },
    { "ifdeq", OPT_IFDEQ, OPT_CONDITION & ~OPT_IFDEQ },
    { "ifdne", OPT_IFDNE, OPT_CONDITION & ~OPT_IFDNE },
};

static const struct option_word *word_find(struct slice word)
{
    for (unsigned i = 0; i < countof(option_words); i++) {
        if (slice_is(word, option_words[i].word)) {
            return &option_words[i];
        }
    }
    return NULL;
}

bool set_options_parse(struct call *c, unsigned from, unsigned allowed, struct set_options *o)
{
    *o = (struct set_options){ 0, 0, 0 };
    for (unsigned i = from; i < c->argc; i++) {
        const struct option_word *w = word_find(c->argv[i]);
        if (w == NULL || !(w->flag & allowed) || (o->set & w->excludes) ||
            ((w->flag & (OPT_EXPIRE | OPT_COMPARE)) && i + 1 == c->argc)) {
            reply_syntax(c);
            return false;
        }
        o->set |= w->flag;
        if (w->flag & OPT_EXPIRE) {
            o->expire_arg = ++i;
        } else if (w->flag & OPT_COMPARE) {
            o->compare_arg = ++i;
        }
    }
    return true;
}

bool arg_expire(struct call *c, unsigned i, unsigned unit, int64_t *unix_ms)
{
    int64_t t;
    if (!arg_i64(c, i, &t)) {
        return false;
    }
    if (t <= 0 || ((unit & OPT_SECONDS) && __builtin_mul_overflow(t, 1000, &t)) ||
        ((unit & OPT_RELATIVE) && __builtin_add_overflow(t, c->now_ms, &t))) {
        reply_errorf(c, "ERR invalid expire time in '%s' command", c->cmd->name);
        return false;
    }
    *unix_ms = t;
    return true;
}

void string_digest(struct slice s, char out[STRING_DIGEST])
{
    uint64_t h = hash_xxh3(s.p, s.n);
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(h >> (56 - 8 * i));
    }
    hex_encode(bytes, sizeof bytes, out);
}

unsigned string_compare_word(struct slice word)
{
    const struct option_word *w = word_find(word);
    return w != NULL ? w->flag & OPT_COMPARE : 0;
}

bool string_compare(struct call *c, const struct entry *e, unsigned kind, struct slice with,
                    bool *met)
{
    bool unequal = (kind & (OPT_IFNE | OPT_IFDNE)) != 0;
    char tmp[I64_TEXT_MAX], digest[STRING_DIGEST];
    *met = unequal;
    if (e == NULL || !key_is(c, e, OBJ_STRING)) {
        return e == NULL;
    }
    struct slice value = entry_string(e, tmp);
    if (kind & (OPT_IFDEQ | OPT_IFDNE)) {
        if (with.n != STRING_DIGEST) {
            reply_error(c, "ERR must be exactly 16 hexadecimal characters");
            return false;
        }
        string_digest(value, digest);
        *met = slice_eq_nocase(with, slice_of(digest, sizeof digest)) != unequal;
    } else {
        *met = slice_eq(with, value) != unequal;
    }
    return true;
}
