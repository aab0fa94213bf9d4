/* log.c -- Log lines to a file, standard output and syslog.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY
 * The descriptor of a log file keeps its number: a renamed file is replaced under it with dup3(),
 * so that writers, the crash handler among them, never need a lock.
 *
 * THREADS
 * Any. One line is one write(2) in append mode: lines of several threads never mix.
 *
 * LOCKS
 * logger.mutex (outside the ranks, nothing is taken under it): path and reopening; never around the
 * write of a line.
 *
 * FAILURE
 * A line that cannot be written is lost; the server goes on. */
#include "base/log.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX  4096
#define LOG_PATH_MAX  4096
#define LOG_IDENT_MAX 64
#define RECHECK_MS    1000

static struct {
    _Atomic int fd; /* -1: nowhere */
    _Atomic int level;
    _Atomic int role;
    _Atomic bool syslog_on;
    _Atomic int64_t checked_ms; /* when the file was last compared with its path */
    pthread_mutex_t mutex;
    char path[LOG_PATH_MAX]; /* under mutex; "" = standard output */
    char ident[LOG_IDENT_MAX];
} logger = {
    .fd = STDOUT_FILENO, .level = LOG_NOTICE_, .role = 'M', .mutex = PTHREAD_MUTEX_INITIALIZER
};

static int open_append(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

int log_open(const char *path, bool daemonized)
{
    if (strlen(path) >= LOG_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    int fd = daemonized ? -1 : STDOUT_FILENO;
    if (path[0] != '\0') {
        fd = open_append(path);
        if (fd < 0) {
            return fd;
        }
    }
    pthread_mutex_lock(&logger.mutex);
    int old = atomic_exchange(&logger.fd, fd);
    bool close_old = logger.path[0] != '\0';
    strcpy(logger.path, path);
    pthread_mutex_unlock(&logger.mutex);
    if (close_old) {
        close(old);
    }
    return 0;
}

static bool same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* logrotate and people rename the file away: follow the path, once a second or before a warning. */
static void follow_path(enum log_level level)
{
    int64_t now = clock_mono_ms();
    int64_t last = atomic_load_explicit(&logger.checked_ms, memory_order_relaxed);
    if (level < LOG_WARNING_ && now - last < RECHECK_MS) {
        return;
    }
    atomic_store_explicit(&logger.checked_ms, now, memory_order_relaxed);
    pthread_mutex_lock(&logger.mutex);
    if (logger.path[0] != '\0' && !same_file(logger.fd, logger.path)) {
        int fd = open_append(logger.path);
        if (fd >= 0) {
            dup3(fd, logger.fd, O_CLOEXEC);
            close(fd);
        }
    }
    pthread_mutex_unlock(&logger.mutex);
}

static size_t write_head(char *line, size_t room, enum log_level level)
{
    int64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    char date[64];
    strftime(date, sizeof date, "%d %b %Y %H:%M:%S", &tm);
    return (size_t)snprintf(line, room, "%d:%c %s.%03d %c ", (int)getpid(), (char)logger.role, date,
                            (int)(now % 1000), ".-*#"[level]);
}

static void put(const char *p, size_t n)
{
    int fd = atomic_load(&logger.fd);
    if (fd >= 0) {
        ssize_t done = write(fd, p, n);
        (void)done;
    }
}

void log_write(enum log_level level, const char *fmt, ...)
{
    static const int priority[] = { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING };
    if ((int)level < atomic_load_explicit(&logger.level, memory_order_relaxed) ||
        level >= LOG_NOTHING_) {
        return;
    }
    int saved_errno = errno;
    follow_path(level);
    char line[LOG_LINE_MAX];
    size_t head = write_head(line, sizeof line, level);
    va_list args;
    va_start(args, fmt);
    errno = saved_errno; /* for %m */
    int text = vsnprintf(line + head, sizeof line - head - 1, fmt, args);
    va_end(args);
    size_t end = head + (text > 0 ? (size_t)text : 0);
    if (end > sizeof line - 2) {
        end = sizeof line - 2;
    }
    if (atomic_load(&logger.syslog_on)) {
        syslog(priority[level], "%s", line + head);
    }
    line[end] = '\n';
    put(line, end + 1);
    errno = saved_errno;
}

void log_raw(const char *text)
{
    put(text, strlen(text));
}

int log_raw_fd(void)
{
    int fd = atomic_load(&logger.fd);
    return fd >= 0 ? fd : STDERR_FILENO;
}

void log_set_level(enum log_level level)
{
    atomic_store(&logger.level, (int)level);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load(&logger.level);
}

void log_set_role(char role)
{
    atomic_store(&logger.role, role);
}

void log_set_syslog(bool on, const char *ident, int facility)
{
    if (on) {
        /* syslog keeps the pointer. */
        pthread_mutex_lock(&logger.mutex);
        snprintf(logger.ident, sizeof logger.ident, "%s", ident);
        pthread_mutex_unlock(&logger.mutex);
        openlog(logger.ident, LOG_PID | LOG_NDELAY | LOG_NOWAIT, facility);
    }
    atomic_store(&logger.syslog_on, on);
}
