/* child.h -- Runs a function in a child process: for what must end the process.
 * SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_BASE_CHILD_H
#define TESTS_UNIT_BASE_CHILD_H

#include <check.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_TEXT_MAX 65536

/* The wait status; a child whose function returns exits with 0. What it wrote to standard output
 * and error is in text[0..CHILD_TEXT_MAX), NUL-terminated, the rest cut off. */
static inline int child_run(void (*run)(void), char *text)
{
    int pipe_fd[2];
    ck_assert_int_eq(pipe(pipe_fd), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        dup2(pipe_fd[1], STDOUT_FILENO);
        dup2(pipe_fd[1], STDERR_FILENO);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        run();
        _exit(0);
    }
    close(pipe_fd[1]);
    size_t n = 0;
    char rest[4096];
    for (;;) {
        ssize_t got = n < CHILD_TEXT_MAX - 1 ? read(pipe_fd[0], text + n, CHILD_TEXT_MAX - 1 - n)
                                             : read(pipe_fd[0], rest, sizeof rest);
        if (got <= 0) {
            break;
        }
        n += n < CHILD_TEXT_MAX - 1 ? (size_t)got : 0;
    }
    text[n] = '\0';
    close(pipe_fd[0]);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* The child must have been aborted after it said `words`. */
static inline void child_must_abort(void (*run)(void), const char *words)
{
    static char text[CHILD_TEXT_MAX];
    int status = child_run(run, text);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x: %s", status,
                  text);
    ck_assert_msg(strstr(text, words) != NULL, "expected \"%s\" in: %s", words, text);
}

static inline void child_must_exit(void (*run)(void), int code)
{
    static char text[CHILD_TEXT_MAX];
    int status = child_run(run, text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code, "status %x: %s", status, text);
}
#endif
