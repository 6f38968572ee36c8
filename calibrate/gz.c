/* SPDX-License-Identifier: Apache-2.0 */
#define ZLIB_CONST /* its inputs are const */
#include <fleetcast/calibrate/table.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
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

fc_status fc_gz_read(char **bytes, size_t *length, const char *path, size_t max_bytes) {
  fc_status status = fc_file_read(bytes, length, path, max_bytes);
  if (status || !fc_gz_is(*bytes, *length)) return status;
  char *packed = *bytes;
  status = fc_gz_unpack(bytes, length, packed, *length, max_bytes);
  int error = errno;
  free(packed);
  errno = error;
  return status;
}
