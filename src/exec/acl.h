/* acl.h -- Users: who may log in, and which commands, keys and channels they may use.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  Users change in exclusive sections only (ACL SETUSER, DELUSER, LOAD; CONFIG SET
 *          requirepass) and before threads start; so whoever runs a command may read them without a
 *          lock. A pointer to a user is good until its worker parks.
 * MEANING  A user has a root selector and maybe more; a command may run when one selector alone
 *          allows its name, all its keys and all its channels. Rules are those of Redis 7.2. */
#ifndef EXEC_ACL_H
#define EXEC_ACL_H

#include "exec/exec_int.h"

#define ACL_HASH_TEXT 64 /* hexadecimal digits of SHA-256 */

enum acl_access { ACL_ACCESS_READ = 1, ACL_ACCESS_WRITE = 2, ACL_ACCESS_ALL = 3 };
struct acl_pattern {
    struct slice s;  /* owned */
    unsigned access; /* of keys: enum acl_access */
};
struct acl_patterns {
    struct acl_pattern *at;
    unsigned n, cap;
};
struct acl_first_arg { /* +select|0: the command with this first argument only */
    unsigned id;
    char *arg; /* lower case */
};
struct acl_selector {
    struct acl_selector *next;
    bool all_keys, all_channels;
    bool all_commands;                   /* +@all and nothing taken away since */
    bool base_all;                       /* its description begins with +@all */
    uint64_t allowed[COMMANDS_MAX / 64]; /* by cmd_ref.id */
    struct acl_patterns keys, channels;  /* empty when all are allowed */
    struct acl_first_arg *first;
    unsigned nfirst;
    char **rule; /* what was said since base_all: "+get", "-@write" ... */
    unsigned nrules;
};
struct acl_user {
    char *name;
    bool enabled, nopass;
    bool skip_sanitize; /* shown only: RESTORE always checks */
    char (*password)[ACL_HASH_TEXT];
    unsigned npasswords;
    struct acl_selector *selectors; /* the first is the root */
    bool unrestricted;              /* some selector allows everything */
};

/* ---- acl_rules.c: one user's rules ---- */
enum acl_error {
    ACL_E_OK,
    ACL_E_UNKNOWN,
    ACL_E_SYNTAX,
    ACL_E_ALL_KEYS,
    ACL_E_ALL_CHANNELS,
    ACL_E_NO_PASSWORD,
    ACL_E_BAD_HASH,
    ACL_E_FIRST_ARG,
    ACL_E_UNCLOSED,
};
const char *acl_error_text(enum acl_error e); /* in Redis's words */
/* A new user as ACL SETUSER makes it before its first rule. x NULL: for acl_user_apply() without a
 * command table. */
struct acl_user *acl_user_new(const struct exec *x, struct slice name);
struct acl_user *acl_user_copy(const struct acl_user *u);
void acl_user_free(struct acl_user *u);
/* `to` gets the rights and passwords of `from`, which is freed; `to` keeps its name and place. */
void acl_user_become(struct acl_user *to, struct acl_user *from);
/* One rule: "on", ">password", "~key*", "+get", "(+set ~x)" ... On an error the user is as it was.
 * x NULL: commands and categories are not looked up. */
must_check enum acl_error acl_user_apply(const struct exec *x, struct acl_user *u, struct slice op);
/* All of a request's or a line's; selectors may be written over several words: "(+get", "~x)". At
 * the first error it stops; *bad is then the rule. */
must_check enum acl_error acl_user_apply_all(const struct exec *x, struct acl_user *u,
                                             const struct slice *rule, unsigned n, struct buf *bad);
bool acl_name_ok(struct slice name);                                /* no space, no NUL */
void acl_describe(const struct acl_user *u, struct buf *out);       /* the rules, for files */
void acl_describe_shown(const struct acl_user *u, struct buf *out); /* for ACL LIST */
void acl_describe_commands(const struct acl_selector *s, struct buf *out);
void acl_describe_keys(const struct acl_selector *s, struct buf *out);
void acl_describe_channels(const struct acl_selector *s, struct buf *out);

/* ---- acl_check.c: may it? ---- */
enum acl_result { /* the later, the more a selector allowed before it said no */
                  ACL_OK,
                  ACL_DENIED_CMD,
                  ACL_DENIED_KEY,
                  ACL_DENIED_AUTH,
                  ACL_DENIED_CHANNEL
};
/* Arity is right. *at: the argument it is about, with ACL_DENIED_KEY and _CHANNEL. u NULL: its user
 * was deleted, nothing is allowed. */
enum acl_result acl_check(const struct acl_user *u, const struct cmd_ref *ref,
                          const struct slice *argv, unsigned argc, unsigned *at);
/* Would some selector allow this and the reading of every key? */
bool acl_reads_all_keys(const struct acl_user *u, const struct cmd_ref *ref,
                        const struct slice *argv, unsigned argc);
bool acl_channel_ok(const struct acl_user *u, struct slice channel, bool pattern);
/* What the client is told: without its code; `detail` names the key or channel (ACL DRYRUN). */
void acl_denied_text(enum acl_result why, const struct acl_user *u, const struct cmd_ref *ref,
                     struct slice what, bool detail, struct buf *out);
/* Why, in EXEC. */
const char *acl_denied_reason(enum acl_result why);

/* ---- acl.c: all users, and the sessions they have ---- */
struct acl {
    struct acl_user **user; /* by name, in byte order */
    unsigned n, cap;
    struct acl_user *def; /* "default" */
    _Atomic uint64_t denied[ACL_DENIED_CHANNEL + 1];
    struct acl_log *log;
};
struct acl_user *acl_default_user(void); /* as it is where nobody said anything */
struct acl_user *acl_find(const struct acl *a, struct slice name); /* NULL: none */
/* The following: exclusive section, or before threads start. `self`: whose command does it; it is
 * answered before it is closed. NULL: nobody's. */
void acl_put(struct acl *a, struct acl_user *u); /* a new name */
/* The rights of u changed, NULL: of anybody. Closes subscribers that may no longer listen. */
void acl_changed(struct exec *x, const struct acl_user *u, struct session *self);
void acl_delete(struct exec *x, struct acl_user *u, struct session *self);
/* All users at once: those of `now` that exist already keep their clients. Frees now's array. */
void acl_replace(struct exec *x, struct acl *now, struct session *self);
void acl_set_requirepass(struct exec *x);
/* The password, or none where it is empty, as the only one. */
void acl_user_requirepass(struct acl_user *u, struct slice password);

bool acl_login_needed(const struct acl *a); /* for who comes without a name */
/* The user, or NULL: no such user, disabled, or not its password. Takes as long either way. */
struct acl_user *acl_login(const struct acl *a, struct slice name, struct slice password);

/* ---- acl_log.c: what was denied ---- */
enum acl_context { ACL_IN_TOPLEVEL, ACL_IN_MULTI, ACL_IN_SCRIPT }; /* as ACL LOG names them */
struct acl_log *acl_log_new(void);
void acl_log_free(struct acl_log *log);
/* Counts the denial and logs it; `object` is the command, key or channel. On the session's reactor,
 * or in an exclusive section. */
void acl_log_denied(struct call *c, enum acl_result why, enum acl_context where,
                    struct slice object, const char *username);
void cmd_acl_log(struct call *c);

/* ---- acl_file.c ---- */
/* Replaces all users by those of the file, or changes nothing: *error says why then. */
must_check bool acl_load_file(struct exec *x, struct session *self, struct buf *error);
void acl_file_text(const struct exec *x, struct buf *text); /* what acl_load_file() reads */
#define ACL_FILE_MODE 0600                                  /* password hashes are in it */
/* The directive `user`: kept until exec_load_users(), when commands are known. */
bool acl_user_lines_set(void *base, const struct slice *argv, unsigned argc, const char **error);
void acl_user_lines_get(void *base, struct buf *out);

/* ---- Of a session: its reactor ---- */
void session_login(struct session *s, struct acl_user *u);
/* NOPERM for the call: counted, logged, replied. */
void acl_refuse(struct call *c, enum acl_result why, unsigned at);
#endif
