/* unit_child.c -- Children of tests: what they assert does not reach the runner's file.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "unit.h"
#include "base/base.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOWN_BYTES 1024

/* Check gives no name to the file: it is a regular one without a link. */
static bool is_message_file(int fd)
{
    struct stat st;
    return fd > STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0;
}

static void tell(int file)
{
    DIR *fds = opendir("/proc/self/fd");
    must(fds != NULL);
    for (struct dirent *e; (e = readdir(fds)) != NULL;) {
        int fd = (int)strtol(e->d_name, NULL, 10);
        if (fd != file && is_message_file(fd)) {
            must(dup2(file, fd) == fd);
        }
    }
    closedir(fds);
}

/* The assertion that failed is the last that was written. */
static void show_failure(int file)
{
    char text[SHOWN_BYTES];
    off_t end = lseek(file, 0, SEEK_END);
    ssize_t n = pread(file, text, sizeof text, end > SHOWN_BYTES ? end - SHOWN_BYTES : 0);
    printf("a child of the test: ");
    for (ssize_t i = 0; i < n; i++) {
        putchar(text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ');
    }
    putchar('\n');
}

int in_child(void (*body)(void *arg), void *arg)
{
    FILE *told = tmpfile();
    ck_assert_ptr_nonnull(told);
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        tell(fileno(told));
        body(arg);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        show_failure(fileno(told));
    }
    fclose(told);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
