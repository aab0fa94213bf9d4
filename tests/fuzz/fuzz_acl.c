/* fuzz_acl.c -- Rules of users: no crash, and what is written out is read as the same.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Input: rules, one per line. */
#include "base/clock.h"
#include "exec/acl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct exec *engine(void)
{
    static struct exec *x;
    if (x == NULL) {
        struct keyspace *ks;
        struct keyspace_config kc = { .shards = 16, .databases = 16 };
        clock_init();
        must(keyspace_new(&ks, &kc) == 0);
        struct exec_config ec = { .ks = ks, .reactors = 1 };
        must(exec_new(&x, &ec) == 0);
        exec_prepare(x);
    }
    return x;
}

static struct acl_user *read_rules(const struct exec *x, struct slice text, char separator,
                                   enum acl_error *e)
{
    struct acl_user *u = acl_user_new(x, S("u"));
    struct slice *word = mem_alloc((text.n + 1) * sizeof *word);
    struct buf bad = { 0 };
    unsigned count = 0;
    for (size_t from = 0; from < text.n;) {
        const char *at = memchr(text.p + from, separator, text.n - from);
        size_t end = at != NULL ? (size_t)(at - text.p) : text.n;
        word[count++] = slice_of(text.p + from, end - from);
        from = end + 1;
    }
    *e = acl_user_apply_all(x, u, word, count, &bad);
    buf_free(&bad);
    mem_free(word);
    return u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct exec *x = engine();
    enum acl_error e;
    struct acl_user *u = read_rules(x, slice_of(data, n), '\n', &e);
    struct buf one = { 0 }, two = { 0 };
    acl_describe(u, &one); /* also after an error: what came before it is there */
    struct acl_user *again = read_rules(x, buf_slice(&one), ' ', &e);
    must(e == ACL_E_OK);
    acl_describe(again, &two);
    must(slice_eq(buf_slice(&one), buf_slice(&two)));
    for (unsigned id = 0; id < commands_count(x); id++) {
        const struct cmd_ref *ref = command_by_id(x, id);
        struct slice argv[3] = { slice_str(ref->row->name), slice_of(data, n < 8 ? n : 8), S("k") };
        unsigned at;
        must(acl_check(u, ref, argv, 3, &at) == acl_check(again, ref, argv, 3, &at));
    }
    acl_user_free(u);
    acl_user_free(again);
    buf_free(&one);
    buf_free(&two);
    return 0;
}
