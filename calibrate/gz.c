/* SPDX-License-Identifier: Apache-2.0 */
#define ZLIB_CONST /* its inputs are const */
#include <fleetcast/calibrate/table.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <fleetcast/base/file.h>

#include "measure.h"

enum { FIRST_ROOM = 1 << 16, GZIP_WINDOW = MAX_WBITS + 16 };

bool fc_gz_is(const char *bytes, size_t length) {
  return length >= 2 && (unsigned char)bytes[0] == 0x1f && (unsigned char)bytes[1] == 0x8b;
}

typedef struct {
  char *bytes;
  size_t used, capacity, most;
} room;

/* @return errno, 0: there is room */
static int grow(room *r) {
  if (r->used < r->capacity) return 0;
  if (r->capacity > r->most) return EFBIG;
  size_t capacity = r->capacity ? r->capacity * 2 : FIRST_ROOM;
  if (capacity > r->most) capacity = r->most + 1; /* the one too many tells that it is */
  char *grown = realloc(r->bytes, capacity + 1);
  if (!grown) return ENOMEM;
  r->bytes = grown;
  r->capacity = capacity;
  return 0;
}

static uInt at_most_uint(size_t n) {
  return n > UINT_MAX ? UINT_MAX : (uInt)n;
}

/* All members, one after the other (gzip(1) joins files so).  @return errno */
static int inflate_all(room *r, z_stream *z, const unsigned char *packed, size_t length) {
  size_t at = 0;
  for (;;) {
    int error = grow(r);
    if (error) return error;
    uInt in = at_most_uint(length - at), out = at_most_uint(r->capacity - r->used);
    z->next_in = packed + at;
    z->avail_in = in;
    z->next_out = (unsigned char *)r->bytes + r->used;
    z->avail_out = out;
    int code = inflate(z, Z_NO_FLUSH);
    at += in - z->avail_in;
    r->used += out - z->avail_out;
    if (r->used > r->most) return EFBIG;
    if (code == Z_MEM_ERROR) return ENOMEM;
    if (code == Z_STREAM_END) {
      if (at == length) return 0;
      if (inflateReset(z) != Z_OK) return EBADMSG;
    } else if (code != Z_OK || (at == length && z->avail_out > 0)) {
      return EBADMSG; /* damaged, or cut off */
    }
  }
}

fc_status fc_gz_unpack(char **out, size_t *length, const char *packed, size_t packed_length,
                       size_t max_bytes) {
  *out = NULL;
  *length = 0;
  if (max_bytes > SIZE_MAX / 4) max_bytes = SIZE_MAX / 4;
  room r = {.most = max_bytes};
  z_stream z = {0};
  int error = inflateInit2(&z, GZIP_WINDOW) == Z_OK ? 0 : ENOMEM;
  if (!error) {
    error = inflate_all(&r, &z, (const unsigned char *)packed, packed_length);
    (void)inflateEnd(&z);
  }
  errno = error;
  if (error) {
    free(r.bytes);
    return error == ENOMEM ? FC_E_NOMEM : FC_E_IO;
  }
  r.bytes[r.used] = '\0';
  *out = r.bytes;
  *length = r.used;
  return FC_OK;
}

/* --- large files, by several threads: their pages are copied one by one --- */

enum { SLICE_LEAST = 1 << 23, SLICES_MAX = 16 };

typedef struct {
  int fd;
  char *bytes; /* of the whole */
  size_t from, end;
} slice;

/* Leaves `from` before `end` where it fails, or the file is shorter than it was. */
static void *read_slice(void *argument) {
  slice *s = argument;
  while (s->from < s->end) {
    ssize_t n = pread(s->fd, s->bytes + s->from, s->end - s->from, (off_t)s->from);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    s->from += (size_t)n;
  }
  return NULL;
}

/* @return whether all `length` bytes came and there are no more */
static bool read_slices(char *bytes, size_t length, int fd, size_t n) {
  slice part[SLICES_MAX];
  pthread_t thread[SLICES_MAX];
  bool started[SLICES_MAX] = {false}, whole = true;
  for (size_t i = 0; i < n; i++) {
    part[i] = (slice){fd, bytes, length / n * i, i + 1 < n ? length / n * (i + 1) : length};
    started[i] = i > 0 && pthread_create(&thread[i], NULL, read_slice, &part[i]) == 0;
  }
  for (size_t i = 0; i < n; i++) {
    if (started[i])
      (void)pthread_join(thread[i], NULL);
    else
      (void)read_slice(&part[i]);
    whole = whole && part[i].from == part[i].end;
  }
  char more;
  return whole && pread(fd, &more, 1, (off_t)length) == 0;
}

/* @return false: not a large file, or not one that is as it was a moment ago; then it is read from the start
 */
static bool read_together(char **bytes, size_t *length, const char *path, size_t max_bytes, size_t threads) {
  struct stat st;
  if (threads < 2 || stat(path, &st) || !S_ISREG(st.st_mode)) return false; /* a pipe is opened once */
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool large = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > (off_t)SLICE_LEAST &&
               (uintmax_t)st.st_size <= max_bytes;
  size_t size = large ? (size_t)st.st_size : 0, n = size / SLICE_LEAST + 1;
  if (n > threads) n = threads;
  char *text = large ? malloc(size + 1) : NULL;
  bool good = text && read_slices(text, size, fd, n < SLICES_MAX ? n : SLICES_MAX);
  (void)close(fd);
  if (!good) {
    free(text);
    return false;
  }
  text[size] = '\0';
  *bytes = text;
  *length = size;
  return true;
}

fc_status fc_gz_read_by(char **bytes, size_t *length, const char *path, size_t max_bytes, size_t threads) {
  if (threads == 0) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    threads = online > 0 ? (size_t)online : 1;
  }
  fc_status status = FC_OK;
  if (!read_together(bytes, length, path, max_bytes, threads))
    status = fc_file_read(bytes, length, path, max_bytes);
  if (status || !fc_gz_is(*bytes, *length)) return status;
  char *packed = *bytes;
  status = fc_gz_unpack(bytes, length, packed, *length, max_bytes);
  int error = errno;
  free(packed);
  errno = error;
  return status;
}

fc_status fc_gz_read(char **bytes, size_t *length, const char *path, size_t max_bytes) {
  return fc_gz_read_by(bytes, length, path, max_bytes, 1);
}
