/* io.h -- The file seam: every durable byte goes through here, every call can be made to fail.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * All return 0 (or a descriptor / byte count) or -errno. EINTR is retried and short transfers are
 * completed inside. io_fsync/io_fdatasync are never retried after any other error: the kernel may
 * have dropped the dirty pages, and a second call would then report success.
 *
 * Fault points: io.open, io.read, io.write, io.fsync, io.fdatasync, io.rename, io.unlink, io.mkdir,
 * io.truncate, io.fsync_dir. Each counts system calls, not functions: a short write is two hits.
 *
 * Any thread; blocking: never from a reactor except where the caller says so. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/bytes.h"
#include <sys/types.h>

must_check int io_open(const char *path, int flags, mode_t mode); /* O_CLOEXEC is added */
void io_close(int fd);
/* All n bytes or -errno; how many were written before an error is not told. */
must_check int io_pwrite_full(int fd, const void *p, size_t n, uint64_t offset);
must_check int io_write_full(int fd, const void *p, size_t n);
/* Fewer than n only at the end of the file. */
must_check ssize_t io_pread_full(int fd, void *p, size_t n, uint64_t offset);
must_check int io_fsync(int fd);
must_check int io_fdatasync(int fd);
must_check int io_rename(const char *from, const char *to);
must_check int io_unlink(const char *path);
must_check int io_mkdir(const char *path, mode_t mode); /* 0 also when it exists as a directory */
must_check int io_truncate(int fd, uint64_t size);
must_check int io_fsync_dir(const char *dir); /* makes create/rename/unlink in dir durable */
/* Raises the soft limit of open files to `want`, or as far as the system lets it; the limit now. */
uint64_t io_raise_files(uint64_t want);
/* Appends the content to out; -EFBIG above limit, -ENOMEM; on failure out is as it was. */
must_check int io_read_file(const char *path, struct buf *out, size_t limit);

/* Replaces `path` by `data` so that after a crash it is the old or the new content: write
 * path.tmp.<pid>, fsync, rename, fsync the directory. 0 or -errno; on failure the old file is
 * untouched and the temporary one is gone. One exception: when only the last step fails, the new
 * content is in place but a crash may still bring the old one back. */
must_check int atomic_replace(const char *path, struct slice data, mode_t mode);
/* The permissions of the file that is there; else `otherwise`. */
mode_t io_mode_of(const char *path, mode_t otherwise);
#endif
