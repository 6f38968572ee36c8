/* SPDX-License-Identifier: Apache-2.0 */
#include "trace_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <fleetcast/workload/trace.h>

enum {
  PIECE = 1 << 16,                      /* bytes taken from the source at once */
  ROOM = FC_TRACE_LINE_MAX + 2 + PIECE, /* the longest line with its end, and a piece */
  GZIP_WINDOW = MAX_WBITS + 16,         /* zlib: gzip framing alone */
};

struct fc_lines {
  int file; /* -1: memory */
  const unsigned char *memory;
  size_t memory_left;
  bool source_ended, ended;
  bool packed, inflating; /* gzip; z is alive */
  bool member_ended;      /* of gzip: another one may follow */
  z_stream z;
  size_t number;              /* lines given */
  size_t begin, scanned, end; /* in room: unread bytes; without a line end up to scanned */
  unsigned char piece[PIECE];
  char room[ROOM];
};

/* zlib's memory is asked for here, so that a refusal can be tested */
static voidpf allocate(voidpf opaque, uInt items, uInt size) {
  (void)opaque;
  return calloc(items, size);
}

static void release(voidpf opaque, voidpf address) {
  (void)opaque;
  free(address);
}

/* Up to `most` bytes from the file or memory. */
static fc_status read_source(fc_lines *l, void *to, size_t most, size_t *got) {
  *got = 0;
  if (l->file < 0) {
    *got = most < l->memory_left ? most : l->memory_left;
    if (*got) memcpy(to, l->memory, *got);
    l->memory += *got;
    l->memory_left -= *got;
  } else {
    ssize_t n;
    do n = read(l->file, to, most);
    while (n < 0 && errno == EINTR);
    if (n < 0) return FC_E_IO;
    *got = (size_t)n;
  }
  if (*got == 0) l->source_ended = true;
  return FC_OK;
}

static fc_status begin_inflating(fc_lines *l) {
  l->z.zalloc = allocate;
  l->z.zfree = release;
  if (inflateInit2(&l->z, GZIP_WINDOW) != Z_OK) return FC_E_NOMEM;
  l->inflating = true;
  return FC_OK;
}

/* Plain, or gzip by its two magic bytes (RFC 1952). */
static fc_status begin(fc_lines *l) {
  size_t have = 0;
  while (have < 2 && !l->source_ended) {
    size_t got;
    fc_status status = read_source(l, l->piece + have, PIECE - have, &got);
    if (status) return status;
    have += got;
  }
  l->packed = have >= 2 && l->piece[0] == 0x1f && l->piece[1] == 0x8b;
  if (!l->packed) {
    memcpy(l->room, l->piece, have);
    l->end = have;
    return FC_OK;
  }
  l->z.next_in = l->piece;
  l->z.avail_in = (uInt)have;
  return begin_inflating(l);
}

static fc_status new_lines(fc_lines **out, int file, const void *bytes, size_t length) {
  *out = NULL;
  fc_lines *l = malloc(sizeof *l);
  if (!l) return FC_E_NOMEM;
  memset(l, 0, offsetof(fc_lines, piece));
  l->file = file;
  l->memory = bytes;
  l->memory_left = length;
  fc_status status = begin(l);
  if (status) {
    l->file = -1; /* the caller's still */
    fc_lines_free(l);
  } else {
    *out = l;
  }
  return status;
}

fc_status fc_lines_of(fc_lines **out, const void *bytes, size_t length) {
  return new_lines(out, -1, bytes, length);
}

fc_status fc_lines_open(fc_lines **out, const char *path) {
  *out = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return FC_E_IO;
  fc_status status = new_lines(out, file, NULL, 0);
  if (status) {
    int error = errno;
    (void)close(file);
    errno = error;
  }
  return status;
}

void fc_lines_free(fc_lines *lines) {
  if (!lines) return;
  if (lines->inflating) (void)inflateEnd(&lines->z);
  if (lines->file >= 0) (void)close(lines->file);
  free(lines);
}

/* More plain bytes at the end of the room, at least one or the end. */
static fc_status inflate_more(fc_lines *l) {
  uInt before = (uInt)(ROOM - l->end);
  l->z.next_out = (unsigned char *)l->room + l->end;
  l->z.avail_out = before;
  while (l->z.avail_out == before) {
    if (l->z.avail_in == 0 && !l->source_ended) {
      size_t got;
      fc_status status = read_source(l, l->piece, PIECE, &got);
      if (status) return status;
      l->z.next_in = l->piece;
      l->z.avail_in = (uInt)got;
    }
    if (l->z.avail_in == 0) {
      if (!l->member_ended) return FC_E_INPUT; /* cut off */
      l->ended = true;
      return FC_OK;
    }
    if (l->member_ended && inflateReset(&l->z) != Z_OK) return FC_E_INPUT;
    l->member_ended = false;
    int code = inflate(&l->z, Z_NO_FLUSH);
    if (code == Z_MEM_ERROR) return FC_E_NOMEM;
    if (code == Z_STREAM_END)
      l->member_ended = true;
    else if (code != Z_OK && code != Z_BUF_ERROR)
      return FC_E_INPUT;
    l->end = ROOM - l->z.avail_out;
  }
  return FC_OK;
}

static fc_status fill(fc_lines *l) {
  if (l->begin > 0) {
    memmove(l->room, l->room + l->begin, l->end - l->begin);
    l->scanned -= l->begin;
    l->end -= l->begin;
    l->begin = 0;
  }
  if (l->packed) return inflate_more(l);
  size_t room = ROOM - l->end, got;
  fc_status status = read_source(l, l->room + l->end, room < PIECE ? room : PIECE, &got);
  if (status) return status;
  l->end += got;
  l->ended = got == 0;
  return FC_OK;
}

static void give(fc_lines *l, fc_line *out, size_t stop, bool too_long) {
  size_t length = stop - l->begin;
  const char *text = l->room + l->begin;
  if (!too_long && length > 0 && text[length - 1] == '\r') length--;
  if (length > FC_TRACE_LINE_MAX) {
    length = FC_TRACE_LINE_MAX;
    too_long = true;
  }
  *out = (fc_line){.text = text, .length = length, .number = ++l->number, .too_long = too_long};
}

/* Drops what is left of a line that did not fit. */
static fc_status skip_rest(fc_lines *l) {
  for (;;) {
    const char *eol = memchr(l->room + l->begin, '\n', l->end - l->begin);
    if (eol) {
      l->begin = l->scanned = (size_t)(eol - l->room) + 1;
      return FC_OK;
    }
    l->begin = l->scanned = l->end;
    if (l->ended) return FC_OK;
    fc_status status = fill(l);
    if (status) return status;
  }
}

fc_status fc_lines_next(fc_lines *l, fc_line *out) {
  *out = (fc_line){0};
  for (;;) {
    const char *eol = l->scanned < l->end ? memchr(l->room + l->scanned, '\n', l->end - l->scanned) : NULL;
    if (eol) {
      size_t stop = (size_t)(eol - l->room);
      give(l, out, stop, false);
      l->begin = l->scanned = stop + 1;
      return FC_OK;
    }
    l->scanned = l->end;
    if (l->ended) break;
    if (l->begin == 0 && l->end == ROOM) {
      fc_status status = skip_rest(l);
      give(l, out, l->begin, true);
      out->text = ""; /* the room holds what came later */
      out->length = 0;
      return status;
    }
    fc_status status = fill(l);
    if (status) return status;
  }
  if (l->begin == l->end) return FC_OK;
  give(l, out, l->end, false); /* the last line need not end */
  l->begin = l->scanned = l->end;
  return FC_OK;
}
