/* crash.c -- What is written when the process crashes: the signal, a stack trace, the command that
 * ran; then the default action.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * THREADS  The crashing thread, on its second stack (base/thread.h); only async-signal-safe calls.
 */
#include "server/server_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static void put_hex(char *to, uint64_t v)
{
    for (int i = 15; i >= 0; i--) {
        to[i] = "0123456789abcdef"[v & 15];
        v >>= 4;
    }
    to[16] = '\0';
}

static void put_register(const char *name, uint64_t v)
{
    char text[40], hex[17];
    put_hex(hex, v);
    size_t n = strlen(name);
    memcpy(text, name, n);
    memcpy(text + n, hex, 16);
    text[n + 16] = '\n';
    text[n + 17] = '\0';
    log_raw(text);
}

static void put_registers(const ucontext_t *u)
{
#if defined(__x86_64__)
    static const struct {
        const char *name;
        int index;
    } regs[] = {
        { "RIP:", REG_RIP }, { "RSP:", REG_RSP }, { "RBP:", REG_RBP }, { "RAX:", REG_RAX },
        { "RBX:", REG_RBX }, { "RCX:", REG_RCX }, { "RDX:", REG_RDX }, { "RSI:", REG_RSI },
        { "RDI:", REG_RDI }, { "R8 :", REG_R8 },  { "R12:", REG_R12 }, { "R13:", REG_R13 }
    };
    for (unsigned i = 0; i < countof(regs); i++) {
        put_register(regs[i].name, (uint64_t)u->uc_mcontext.gregs[regs[i].index]);
    }
#else
    (void)u;
#endif
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
    log_raw("\n\n=== KV BUG REPORT START ===\n");
    char text[64];
    int n =
        snprintf(text, sizeof text, "kv crashed by signal: %d, si_code: %d\n", sig, info->si_code);
    if (n > 0) {
        log_raw(text);
    }
    put_register("Accessing address: ", (uint64_t)(uintptr_t)info->si_addr);
    log_raw("------ REGISTERS ------\n");
    put_registers(context);
    log_raw("------ STACK TRACE ------\n");
    void *trace[64];
    int depth = backtrace(trace, 64);
    backtrace_symbols_fd(trace, depth, log_raw_fd());
    const char *cmd = exec_current_command();
    log_raw("------ CURRENT COMMAND ------\n");
    log_raw(cmd != NULL ? cmd : "none on this thread");
    log_raw("\n=== KV BUG REPORT END ===\n");
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigaction(sig, &dfl, NULL);
    raise(sig);
}

void crash_handlers_install(struct server *s)
{
    if (!option_int(&s->opt.crash_log)) {
        return;
    }
    void *warm[1];
    backtrace(warm, 1);         /* loads the unwinder now, not in the handler */
    (void)thread_crash_stack(); /* of the first thread */
    struct sigaction sa = { .sa_sigaction = on_crash,
                            .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK };
    static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    for (unsigned i = 0; i < countof(signals); i++) {
        sigaction(signals[i], &sa, NULL);
    }
}
