/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* realpath */
#include <fleetcast/base/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fleetcast/base/assert.h>

#include "file_private.h"

/* --- reading --- */

static int open_file(const char *path, int flags) {
  int fd;
  do fd = open(path, flags | O_CLOEXEC, 0666); /* the umask takes its share */
  while (fd < 0 && errno == EINTR);
  return fd;
}

/* All of fd, one byte past the end kept for NUL. */
static int read_all(char **bytes, size_t *length, int fd, size_t guess, size_t max_bytes) {
  size_t capacity = guess < 4096 ? 4096 : guess, used = 0;
  char *text = malloc(capacity + 1);
  while (text) {
    ssize_t n = read(fd, text + used, capacity - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    used += (size_t)n;
    if (n == 0 || used > max_bytes) {
      if (used > max_bytes) {
        errno = EFBIG;
        break;
      }
      text[used] = '\0';
      *bytes = text;
      *length = used;
      return 0;
    }
    if (used < capacity) continue;
    capacity = capacity > SIZE_MAX / 2 - 1 ? SIZE_MAX - 1 : capacity * 2;
    char *grown = realloc(text, capacity + 1);
    if (!grown) {
      errno = ENOMEM;
      break;
    }
    text = grown;
  }
  int error = text ? errno : ENOMEM;
  free(text);
  return error;
}

fc_status fc_file_read(char **bytes, size_t *length, const char *path, size_t max_bytes) {
  *bytes = NULL;
  *length = 0;
  int fd = open_file(path, O_RDONLY);
  if (fd < 0) return FC_E_IO;
  struct stat st;
  int error = fstat(fd, &st) ? errno : 0;
  if (!error && S_ISDIR(st.st_mode)) error = EISDIR;
  bool regular = !error && S_ISREG(st.st_mode) && st.st_size > 0;
  if (regular && (uintmax_t)st.st_size > max_bytes) error = EFBIG;
  /* one byte more than its size: the read that finds the end then needs no growth */
  if (!error) error = read_all(bytes, length, fd, regular ? (size_t)st.st_size + 1 : 0, max_bytes);
  (void)close(fd);
  errno = error;
  return error == 0 ? FC_OK : error == ENOMEM ? FC_E_NOMEM : FC_E_IO;
}

/* --- writing --- */

static void release(fc_file *file) {
  if (file->fd >= 0) (void)close(file->fd);
  if (file->temporary) (void)unlink(file->temporary);
  free(file->temporary);
  free(file->path);
  free(file);
}

/* A name of its own beside the file, so that rename stays on one file system. */
static int open_temporary(fc_file *file) {
  size_t capacity = strlen(file->path) + 40;
  file->temporary = malloc(capacity);
  if (!file->temporary) return ENOMEM;
  for (unsigned n = 0; n < 1000; n++) {
    (void)snprintf(file->temporary, capacity, "%s.tmp.%ld.%u", file->path, (long)getpid(), n);
    file->fd = open_file(file->temporary, O_WRONLY | O_CREAT | O_EXCL);
    if (file->fd >= 0) return 0;
    if (errno != EEXIST) break;
  }
  int error = errno;
  free(file->temporary); /* not ours: nothing to unlink */
  file->temporary = NULL;
  return error;
}

static char *copy_text(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

fc_status fc_file_create(fc_file **out, const char *path) {
  *out = NULL;
  fc_file *file = malloc(sizeof *file);
  if (!file) return FC_E_NOMEM;
  file->fd = -1;
  file->error = 0;
  file->synced = file->mid_row = false;
  file->temporary = NULL;
  file->tap = NULL;
  file->used = 0;
  struct stat st;
  bool exists = stat(path, &st) == 0;
  /* through a link: replace its target; a pipe behind /dev/stdout has none that could be named */
  bool regular = exists && S_ISREG(st.st_mode);
  file->path = regular ? realpath(path, NULL) : copy_text(path);
  int error = 0;
  if (!file->path)
    error = regular ? errno : ENOMEM;
  else if (exists && S_ISDIR(st.st_mode))
    error = EISDIR;
  else if (exists && !regular)
    error = (file->fd = open_file(path, O_WRONLY)) < 0 ? errno : 0;
  else
    error = open_temporary(file);
  if (error) {
    release(file);
    errno = error;
    return error == ENOMEM ? FC_E_NOMEM : FC_E_IO;
  }
  *out = file;
  return FC_OK;
}

void fc_file_tap(fc_file *file, void (*tap)(void *context, const void *bytes, size_t length), void *context) {
  file->tap = tap;
  file->tap_context = context;
}

static void write_out(fc_file *file, const char *bytes, size_t length) {
  if (file->tap && !file->error) file->tap(file->tap_context, bytes, length);
  while (length && !file->error) {
    ssize_t n = write(file->fd, bytes, length);
    if (n < 0) {
      if (errno != EINTR) file->error = errno;
    } else if (n == 0) {
      file->error = ENOSPC;
    } else {
      bytes += n;
      length -= (size_t)n;
    }
  }
}

static void flush(fc_file *file) {
  write_out(file, file->buffer, file->used);
  file->used = 0;
}

void fc_file_write(fc_file *file, const void *bytes, size_t length) {
  file->synced = false;
  if (length > FILE_BUFFER - file->used) flush(file);
  if (length > FILE_BUFFER) {
    write_out(file, bytes, length);
    return;
  }
  if (length) memcpy(file->buffer + file->used, bytes, length);
  file->used += length;
}

void fc_file_printf(fc_file *file, const char *format, ...) {
  char small[256];
  va_list args;
  va_start(args, format);
  /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): not so */
  int n = vsnprintf(small, sizeof small, format, args);
  va_end(args);
  FC_ASSERT(n >= 0);
  size_t length = (size_t)n;
  if (length < sizeof small) {
    fc_file_write(file, small, length);
    return;
  }
  char *large = malloc(length + 1);
  if (!large) {
    if (!file->error) file->error = ENOMEM;
    return;
  }
  va_start(args, format);
  (void)vsnprintf(large, length + 1, format, args);
  va_end(args);
  fc_file_write(file, large, length);
  free(large);
}

static fc_status status_of(int error) {
  errno = error;
  return error == 0 ? FC_OK : error == ENOMEM ? FC_E_NOMEM : FC_E_IO;
}

static void sync_data(fc_file *file) {
  if (file->synced) return;
  flush(file);
  if (!file->error && file->temporary && fsync(file->fd)) file->error = errno;
  file->synced = !file->error;
}

fc_status fc_file_sync(fc_file *file) {
  sync_data(file);
  return status_of(file->error);
}

/* The new name survives a power cut once its folder is on disk; not every file system can say so. */
static void sync_folder(char *path) {
  char *slash = strrchr(path, '/');
  if (slash) slash[slash == path] = '\0';
  int fd = open_file(slash ? path : ".", O_RDONLY);
  if (fd < 0) return;
  (void)fsync(fd);
  (void)close(fd);
}

fc_status fc_file_commit(fc_file *file) {
  if (!file) return FC_OK;
  sync_data(file);
  int fd = file->fd;
  file->fd = -1;
  if (close(fd) && errno != EINTR && !file->error)
    file->error = errno; /* a full network disk may tell only now */
  if (!file->error && file->temporary) {
    if (rename(file->temporary, file->path)) {
      file->error = errno;
    } else {
      free(file->temporary);
      file->temporary = NULL;
      sync_folder(file->path);
    }
  }
  int error = file->error;
  release(file);
  return status_of(error);
}

void fc_file_abandon(fc_file *file) {
  if (file) release(file);
}
