/* log.h -- The server's log lines, in Redis's format: "pid:role date level text".
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Any thread; a line is one write. Not from signal handlers (use log_raw()). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"

enum log_level {
    LOG_DEBUG_ = 0,
    LOG_VERBOSE_ = 1,
    LOG_NOTICE_ = 2,
    LOG_WARNING_ = 3,
    LOG_NOTHING_ = 4
};

#define log_debug(...)   log_write(LOG_DEBUG_, __VA_ARGS__)
#define log_verbose(...) log_write(LOG_VERBOSE_, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_NOTICE_, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING_, __VA_ARGS__)

/* Adds the line end; a line above 4 KiB is cut. errno is kept. */
void log_write(enum log_level level, const char *fmt, ...) printf_like(2, 3);
/* Async-signal-safe: the text as it is, no level, no line end added. */
void log_raw(const char *text);
/* Where log_raw() writes, for backtrace_symbols_fd() and the like; never -1. */
int log_raw_fd(void);

/* "" = standard output (nowhere when daemonized). A file that was renamed or removed is opened
 * again under its path, within a second or before a warning. 0 or -errno (nothing changed). */
must_check int log_open(const char *path, bool daemonized);
void log_set_level(enum log_level level);
enum log_level log_level(void);
void log_set_role(char role); /* 'M' primary, 'S' replica, 'X' sentinel, 'C' child */
void log_set_syslog(bool on, const char *ident, int facility); /* in addition to the file */
#endif
