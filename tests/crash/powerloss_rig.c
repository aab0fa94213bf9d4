/* powerloss_rig.c -- Lives of a kv-server on the power-loss shim.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "powerloss_rig.h"
#include "unit.h"
#include "base/base.h"
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_MS 60000 /* a server that neither ends nor answers hangs */

void power_rig_init(struct power_rig *r, bool buffered, struct script *script)
{
    memset(r, 0, sizeof *r);
    server_init(&r->s, SERVER_KV);
    r->script = script;
    r->buffered = buffered;
    snprintf(r->count, sizeof r->count, "%s.count", r->s.dir);
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(r->shim, sizeof r->shim, "%s/preload_powerloss.so", dirname(self));
    ck_assert_msg(access(r->shim, R_OK) == 0, "%s is not built", r->shim);
}

void power_rig_reset(struct power_rig *r)
{
    char *command = NULL;
    must(asprintf(&command, "rm -rf %s %s.attic && mkdir %s", r->s.dir, r->s.dir, r->s.dir) > 0);
    ck_assert_int_eq(system(command), 0);
    free(command);
    ck_assert(truncate(r->s.log, 0) == 0 || access(r->s.log, F_OK) != 0);
}

static int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool power_rig_start(struct power_rig *r, struct power_life life, int *status)
{
    struct server *s = &r->s;
    memset(s->env, 0, sizeof s->env);
    server_env(s, "LD_PRELOAD", r->shim);
    server_env(s, "KV_POWERLOSS_DIR", s->dir);
    char plan[256];
    snprintf(plan, sizeof plan, "after=%llu seed=%llu kill=%d delay=300 fail=%llu exit=%d",
             (unsigned long long)life.after, (unsigned long long)life.seed, life.killed,
             (unsigned long long)r->fail_barrier, r->loses_at_exit);
    server_env(s, "KV_POWERLOSS_PLAN", plan);
    server_env(s, "KV_POWERLOSS_COUNT", r->count);
    server_env(s, "KV_FAULTS", r->faults);
    *status = server_try_start(s, "--threads", "2", "--wal-segment-size", "1mb", "--wal-direct-io",
                               r->buffered ? "no" : "yes");
    if (s->pid == 0) {
        *status = exit_status(*status);
        return false;
    }
    if (!script_wait_ready(s->port)) {
        *status = power_rig_wait(r);
        return false;
    }
    return true;
}

int power_rig_wait(struct power_rig *r)
{
    return exit_status(server_wait_exit(&r->s, END_MS));
}

void power_rig_count(struct power_rig *r, uint64_t *calls, uint64_t *barriers)
{
    unsigned long long c = 0, b = 0;
    FILE *f = fopen(r->count, "r");
    ck_assert_msg(f != NULL && fscanf(f, "%llu %llu", &c, &b) == 2, "%s", r->count);
    fclose(f);
    *calls = c;
    *barriers = b;
}

void power_rig_fail(struct power_rig *r, const char *fmt, ...)
{
    char what[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    char *log = server_log(&r->s);
    size_t n = strlen(log);
    ck_abort_msg("%s; %s\n%s", r->buffered ? "fallback" : "direct", what,
                 log + (n > 3000 ? n - 3000 : 0));
    abort();
}
