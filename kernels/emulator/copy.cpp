/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.hpp"

#include <stdio.h>

/* Bulk copies with and without a tensor map, cp.async. */

/* --- what the asynchronous proxy sees --- */

void fc_async_fence() {
  fc_machine_now->fences++;
}

void fc_emulator_async_wrote(const void *p, size_t bytes) {
  fc_machine_cpu *m = fc_machine_now;
  size_t at = (size_t)((uintptr_t)p - (uintptr_t)m->shared);
  if (at >= FC_WINDOW) return; /* a static array */
  memcpy(m->async_view + at, p, bytes);
  for (size_t i = at / 16; i < (at + bytes) / 16; i++) m->async_epoch[i] = m->fences;
}

void fc_emulator_async_reads(const void *p, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  size_t at = (size_t)((uintptr_t)p - (uintptr_t)m->shared);
  if (at >= FC_WINDOW || memcmp(m->async_view + at, p, 16) == 0) return;
  if (m->async_epoch[at / 16] == m->fences)
    fc_emulator_fail(file, line,
                     "reads byte %zu of dynamic shared memory, which a plain store changed, without an "
                     "fc_async_fence in between",
                     at);
  fc_emulator_async_wrote(p, 16);
}

/* --- tensor maps --- */

static int refuse(const char *why, long long value) {
  fprintf(stderr, "emulator: tensor map: %s (%lld)\n", why, value);
  return 1; /* CUDA_ERROR_INVALID_VALUE */
}

/* @source CUDA driver API, cuTensorMapEncodeTiled: limits of each argument */
int fc_tensor_map_encode(fc_tensor_map *out, fc_elem elem, int rank, const void *base, const int64_t *dim,
                         const int64_t *stride_bytes, const int *box, int swizzle_bytes) {
  if (rank < 2 || rank > 4) return refuse("rank", rank);
  if (base == nullptr || (uintptr_t)base % 16 != 0)
    return refuse("base is not aligned to 16 bytes", (long long)(uintptr_t)base);
  if (swizzle_bytes != 0 && swizzle_bytes != 32 && swizzle_bytes != 64 && swizzle_bytes != 128)
    return refuse("no such swizzle", swizzle_bytes);
  fc_tensor_map m = {};
  m.base = static_cast<unsigned char *>(const_cast<void *>(base));
  m.rank = rank;
  m.swizzle = swizzle_bytes;
  m.elem_size = (int32_t)fc_elem_size(elem);
  for (int i = 0; i < 4; i++) {
    m.dim[i] = i < rank ? dim[i] : 1;
    m.box[i] = i < rank ? box[i] : 1;
    m.stride[i] = i == 0 ? m.elem_size : (i < rank ? stride_bytes[i - 1] : 0);
    if (m.dim[i] < 1 || m.dim[i] > (int64_t)1 << 32) return refuse("dimension", m.dim[i]);
    if (m.box[i] < 1 || m.box[i] > 256) return refuse("a box is 1 to 256 elements wide", m.box[i]);
    if (i > 0 && i < rank && (m.stride[i] % 16 != 0 || m.stride[i] < 0 || m.stride[i] >= (int64_t)1 << 40))
      return refuse("a stride is a multiple of 16 bytes below 2^40", m.stride[i]);
  }
  int inner = m.box[0] * m.elem_size;
  if (inner % 16 != 0) return refuse("bytes of a row of the box are no multiple of 16", inner);
  if (m.swizzle != 0 && inner > m.swizzle) return refuse("a row of the box is wider than the swizzle", inner);
  if (m.swizzle != 0 && inner < m.swizzle)
    return refuse("not emulated: a row narrower than the swizzle", inner);
  *out = m;
  return 0;
}

static uint32_t box_bytes(const fc_tensor_map *m) {
  return (uint32_t)(m->box[0] * m->box[1] * m->box[2] * m->box[3] * m->elem_size);
}

/* one row of 16-byte pieces between shared and global memory; outside of the tensor: zeros in, nothing out */
static void move_row(const fc_copy *c, unsigned char *row, uintptr_t shared, bool inside, bool load) {
  const fc_tensor_map *m = &c->map;
  int64_t x = c->at[0];
  int elem = m->elem_size, per_piece = 16 / elem;
  for (int i = 0; i < m->box[0]; i += per_piece) {
    unsigned char *s =
        reinterpret_cast<unsigned char *>(fc_emulator_swizzle(shared + (uintptr_t)(i * elem), m->swizzle));
    if (!load) fc_emulator_async_reads(s, c->file, c->line);
    bool whole = inside && x + i >= 0 && x + i + per_piece <= m->dim[0];
    if (whole && load) memcpy(s, row + (x + i) * elem, 16);
    if (whole && !load) memcpy(row + (x + i) * elem, s, 16);
    for (int j = 0; j < per_piece && !whole; j++) {
      bool in = inside && x + i + j >= 0 && x + i + j < m->dim[0];
      unsigned char *g = row + (x + i + j) * elem;
      if (in && load) memcpy(s + j * elem, g, (size_t)elem);
      if (in && !load) memcpy(g, s + j * elem, (size_t)elem);
      if (!in && load) memset(s + j * elem, 0, (size_t)elem);
    }
    if (load) fc_emulator_async_wrote(s, 16);
  }
}

static void move_box(const fc_copy *c, bool load) {
  const fc_tensor_map *m = &c->map;
  uintptr_t shared = (uintptr_t)c->shared;
  for (int l = 0; l < m->box[3]; l++) {
    for (int k = 0; k < m->box[2]; k++) {
      for (int j = 0; j < m->box[1]; j++) {
        int64_t y = (int64_t)c->at[1] + j, z = (int64_t)c->at[2] + k, w = (int64_t)c->at[3] + l;
        bool inside = y >= 0 && y < m->dim[1] && z >= 0 && z < m->dim[2] && w >= 0 && w < m->dim[3];
        unsigned char *row =
            inside ? m->base + y * m->stride[1] + z * m->stride[2] + w * m->stride[3] : m->base;
        move_row(c, row, shared, inside, load);
        shared += (uintptr_t)(m->box[0] * m->elem_size);
      }
    }
  }
}

static void check_box(const fc_tensor_map *map, const void *shared, int rank, const char *what,
                      const char *file, int line) {
  if (map->rank != rank)
    fc_emulator_fail(file, line, "%s of rank %d: the map has rank %d", what, rank, map->rank);
  /* 128 bytes, or the period of the swizzle, which shared tiles must start with to be read back by row */
  size_t align = map->swizzle == 0 ? 128 : (size_t)map->swizzle * 8;
  fc_emulator_check_shared(shared, box_bytes(map), align, what, file, line);
}

/* --- loads --- */

static void start_load(const fc_copy *c, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  if (m->unfenced_inits > 0)
    fc_emulator_fail(file, line, "bulk load: an mbarrier was initialised, fc_mbarrier_init_fence is missing");
  fc_emulator_check_shared(c->bar, 8, 8, "mbarrier", file, line);
  m->load = fc_emulator_grow(m->load, m->n_loads, &m->room_loads);
  m->load[m->n_loads++] = *c;
  memset(c->shared, FC_POISON, c->bytes); /* undefined until it has arrived */
  fc_emulator_async_wrote(c->shared, c->bytes);
}

void fc_emulator_tma_load(void *shared, const fc_tensor_map *map, uint64_t *bar, int rank, const int *at,
                          const char *file, int line) {
  check_box(map, shared, rank, "bulk tensor load", file, line);
  fc_copy c = {};
  c.map = *map;
  for (int i = 0; i < rank; i++) c.at[i] = at[i];
  c.shared = static_cast<unsigned char *>(shared);
  c.bytes = box_bytes(map);
  c.bar = bar;
  start_load(&c, file, line);
}

void fc_bulk_load(void *shared, const void *global, uint32_t bytes, uint64_t *bar, const char *file,
                  int line) {
  fc_emulator_check_shared(shared, bytes, 16, "bulk load", file, line);
  if ((uintptr_t)global % 16 != 0 || bytes % 16 != 0 || bytes == 0)
    fc_emulator_fail(file, line, "bulk load: %u bytes at %p: multiples of 16", bytes, global);
  fc_copy c = {};
  c.shared = static_cast<unsigned char *>(shared);
  c.global = static_cast<const unsigned char *>(global);
  c.bytes = bytes;
  c.bar = bar;
  start_load(&c, file, line);
}

bool fc_emulator_deliver(fc_machine_cpu *m) {
  if (m->n_loads == 0) return false;
  uint32_t i = fc_emulator_random(m, (uint32_t)m->n_loads);
  fc_copy c = m->load[i];
  m->load[i] = m->load[--m->n_loads];
  if (c.global != nullptr)
    memcpy(c.shared, c.global, c.bytes);
  else
    move_box(&c, true);
  fc_emulator_mbarrier_bytes(c.bar, c.bytes);
  return true;
}

/* --- stores --- */

void fc_emulator_tma_store(const fc_tensor_map *map, const void *shared, int rank, const int *at,
                           const char *file, int line) {
  fc_fiber *f = fc_machine_now->current;
  check_box(map, shared, rank, "bulk tensor store", file, line);
  fc_copy c = {};
  c.map = *map;
  for (int i = 0; i < rank; i++) c.at[i] = at[i];
  c.shared = static_cast<unsigned char *>(const_cast<void *>(shared));
  c.group = f->store_group;
  c.file = file;
  c.line = line;
  f->store = fc_emulator_grow(f->store, f->n_stores, &f->room_stores);
  f->store[f->n_stores++] = c;
}

void fc_tma_store_commit() {
  fc_machine_now->current->store_group++;
}

void fc_emulator_store_wait(int groups) {
  fc_fiber *f = fc_machine_now->current;
  int kept = 0;
  for (int i = 0; i < f->n_stores; i++) {
    if (f->store[i].group < f->store_group - groups)
      move_box(&f->store[i], false);
    else
      f->store[kept++] = f->store[i];
  }
  f->n_stores = kept;
}

void fc_emulator_check_copies(const fc_fiber *f) {
  const fc_machine_cpu *m = fc_machine_now;
  if (f->n_stores > 0) fc_emulator_fail(nullptr, 0, "ends while its bulk store reads shared memory");
  if (m->n_live == 1 && m->n_loads > 0)
    fc_emulator_fail(nullptr, 0, "the block ends while %d bulk loads write its shared memory", m->n_loads);
}

/* --- cp.async --- */

void fc_copy_async16(void *shared, const void *global, const char *file, int line) {
  fc_fiber *f = fc_machine_now->current;
  fc_emulator_check_shared(shared, 16, 16, "cp.async", file, line);
  if ((uintptr_t)global % 16 != 0)
    fc_emulator_fail(file, line, "cp.async from %p, not aligned to 16 bytes", global);
  f->copy = fc_emulator_grow(f->copy, f->n_copies, &f->room_copies);
  f->copy[f->n_copies++] = fc_copy16{static_cast<unsigned char *>(shared),
                                     static_cast<const unsigned char *>(global), f->copy_group};
  memset(shared, FC_POISON, 16);
}

void fc_copy_async_commit() {
  fc_machine_now->current->copy_group++;
}

void fc_emulator_copy_wait(int groups) {
  fc_fiber *f = fc_machine_now->current;
  int kept = 0;
  for (int i = 0; i < f->n_copies; i++) {
    if (f->copy[i].group < f->copy_group - groups)
      memcpy(f->copy[i].shared, f->copy[i].global, 16);
    else
      f->copy[kept++] = f->copy[i];
  }
  f->n_copies = kept;
}
