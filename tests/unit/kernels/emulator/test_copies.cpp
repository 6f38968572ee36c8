/* SPDX-License-Identifier: Apache-2.0 */
#include "check.hpp"

/* Bulk tensor loads and stores: bounds and swizzles against formulas of their own; cp.async. */

/* loads one box and copies the raw bytes of shared memory out */
static __global__ void load_box(const __grid_constant__ fc_tensor_map map, unsigned char *out, int bytes,
                                int rank, int x, int y, int z, int w) {
  FC_DYNAMIC_SHARED(unsigned char, tile);
  __shared__ uint64_t bar;
  if (threadIdx.x == 0) {
    fc_mbarrier_init(&bar, 1);
    fc_mbarrier_init_fence();
    fc_tma_prefetch(&map);
    fc_mbarrier_expect(&bar, (uint32_t)bytes);
    if (rank == 2) fc_tma_load_2d(tile, &map, &bar, x, y);
    if (rank == 3) fc_tma_load_3d(tile, &map, &bar, x, y, z);
    if (rank == 4) fc_tma_load_4d(tile, &map, &bar, x, y, z, w);
  }
  __syncthreads();
  fc_mbarrier_wait(&bar, 0);
  for (int i = (int)threadIdx.x; i < bytes; i += (int)blockDim.x) out[i] = tile[i];
}

/* where byte `byte` of row `row` of a tile lies, rows of `span` bytes, span the swizzle: a 128-byte line
 * holds 128/span rows; its pieces are permuted within a span by the line's number */
static int swizzled(int span, int row, int byte) {
  int line = (row * span + byte) / 128, piece = byte / 16, pieces = span / 16;
  return row * span + (piece ^ (line % pieces)) * 16 + byte % 16;
}

static int test_load_2d(int span, int x, int y) {
  enum { ROWS = 50, COLUMNS = 200, BOX_ROWS = 16 };
  int failures = 0, box_columns = (span == 0 ? 64 : span) / 2;
  alignas(16) static uint16_t in[ROWS * COLUMNS];
  static uint16_t out[BOX_ROWS * 64];
  for (int i = 0; i < ROWS * COLUMNS; i++) in[i] = (uint16_t)(i + 1);
  fc_tensor_map map;
  const int64_t dim[2] = {COLUMNS, ROWS}, stride[1] = {COLUMNS * 2};
  const int box[2] = {box_columns, BOX_ROWS};
  int bytes = box_columns * BOX_ROWS * 2;
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_BF16, 2, in, dim, stride, box, span) == 0);
  unsigned char *raw = reinterpret_cast<unsigned char *>(out);
  CHECK(FC_LAUNCH(load_box, 1, 32, (size_t)bytes, nullptr, map, raw, bytes, 2, x, y, 0, 0) == 0);
  for (int r = 0; r < BOX_ROWS; r++) {
    for (int c = 0; c < box_columns; c++) {
      int at = span == 0 ? (r * box_columns + c) * 2 : swizzled(span, r, 2 * c);
      bool inside = x + c >= 0 && x + c < COLUMNS && y + r >= 0 && y + r < ROWS;
      uint16_t want = inside ? in[(y + r) * COLUMNS + x + c] : 0, got;
      memcpy(&got, raw + at, 2);
      CHECK(got == want);
    }
  }
  for (int r = 0; r < 16 && span == 128; r++) CHECK(swizzled(128, r, 40) == swizzled_128(r, 40));
  return failures;
}

static int test_load_4d() {
  int failures = 0;
  alignas(16) static float in[3 * 4 * 5 * 8];
  static float out[2 * 2 * 3 * 8];
  for (int i = 0; i < 480; i++) in[i] = (float)i + 1.0f;
  fc_tensor_map map;
  const int64_t dim[4] = {8, 5, 4, 3}, stride[3] = {32, 160, 640};
  const int box[4] = {8, 3, 2, 2}, at[4] = {2, 3, -1, 1};
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 4, in, dim, stride, box, 0) == 0);
  CHECK(FC_LAUNCH(load_box, 1, 32, sizeof out, nullptr, map, reinterpret_cast<unsigned char *>(out),
                  (int)sizeof out, 4, at[0], at[1], at[2], at[3]) == 0);
  for (int i = 0; i < 96; i++) {
    int x = at[0] + i % 8, y = at[1] + i / 8 % 3, z = at[2] + i / 24 % 2, w = at[3] + i / 48;
    bool inside = x < 8 && y < 5 && z >= 0 && z < 4 && w < 3;
    CHECK(out[i] == (inside ? in[((w * 4 + z) * 5 + y) * 8 + x] : 0.0f));
  }
  /* the same tensor without its outermost dimension */
  const int box3[3] = {8, 3, 2};
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 3, in, dim, stride, box3, 0) == 0);
  CHECK(FC_LAUNCH(load_box, 1, 32, sizeof out / 2, nullptr, map, reinterpret_cast<unsigned char *>(out),
                  (int)(sizeof out / 2), 3, 0, 1, 2, 0) == 0);
  for (int i = 0; i < 48; i++) CHECK(out[i] == in[((2 + i / 24) * 5 + 1 + i / 8 % 3) * 8 + i % 8]);
  return failures;
}

/* a tile [16][64] bf16, 128-byte swizzle, of elements 100 row + column, to (x, y) */
static __global__ void store_box(const __grid_constant__ fc_tensor_map map, int x, int y) {
  FC_DYNAMIC_SHARED(unsigned char, tile);
  for (int i = (int)threadIdx.x; i < 16 * 64; i += 32) {
    uint16_t v = (uint16_t)(i / 64 * 100 + i % 64);
    memcpy(tile + swizzled_128(i / 64, i % 64 * 2), &v, 2);
  }
  fc_async_fence();
  __syncwarp();
  if (fc_elect_one()) {
    fc_tma_store_2d(&map, tile, x, y);
    fc_tma_store_commit();
    fc_tma_store_wait<0>();
  }
}

static int test_store() {
  enum { ROWS = 20, COLUMNS = 72 };
  int failures = 0;
  alignas(16) static uint16_t out[(ROWS + 1) * COLUMNS];
  memset(out, 0xee, sizeof out);
  fc_tensor_map map;
  const int64_t dim[2] = {COLUMNS, ROWS}, stride[1] = {COLUMNS * 2};
  const int box[2] = {64, 16};
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_BF16, 2, out, dim, stride, box, 128) == 0);
  CHECK(FC_LAUNCH(store_box, 1, 32, 2048, nullptr, map, 10, 8) == 0);
  for (int i = 0; i < (ROWS + 1) * COLUMNS; i++) {
    int r = i / COLUMNS - 8, c = i % COLUMNS - 10;
    bool written = r >= 0 && r < 12 && c >= 0;
    CHECK(out[i] == (written ? r * 100 + c : 0xeeee));
  }
  return failures;
}

static __global__ void copy_16(const uint4 *in, uint4 *out) {
  FC_DYNAMIC_SHARED(uint4, tile);
  int t = (int)threadIdx.x;
  fc_copy_async16(&tile[t], &in[t]);
  fc_copy_async_commit();
  fc_copy_async16(&tile[64 + t], &in[64 + t]);
  fc_copy_async_commit();
  bool early = tile[t].x == 0xffffffffu; /* has not arrived */
  fc_copy_async_wait<1>();
  early = early && tile[t].x == in[t].x && tile[64 + t].x == 0xffffffffu;
  fc_copy_async_wait<0>();
  __syncthreads();
  out[t] = tile[127 - t];
  out[64 + t] = tile[63 - t];
  if (!early) out[t].x = 0;
}

static int test_copy_async() {
  int failures = 0;
  static uint4 in[128], out[128];
  for (uint32_t i = 0; i < 128; i++) in[i] = make_uint4(i + 1, i + 2, i + 3, i + 4);
  CHECK(FC_LAUNCH(copy_16, 1, 64, sizeof in, nullptr, in, out) == 0);
  for (int i = 0; i < 128; i++) CHECK(out[i].x == in[127 - i].x && out[i].w == in[127 - i].w);
  return failures;
}

static int test_maps() {
  int failures = 0;
  alignas(16) static float in[64 * 64];
  fc_tensor_map map;
  const int64_t dim[2] = {64, 64}, stride[1] = {256}, odd_stride[1] = {260};
  const int box[2] = {32, 8}, wide[2] = {64, 8}, large[2] = {32, 257};
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 2, in, dim, stride, box, 128) == 0);
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 2, in, dim, stride, wide, 128) != 0);
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 2, in, dim, stride, large, 128) != 0);
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 2, in, dim, odd_stride, box, 128) != 0);
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 2, in + 1, dim, stride, box, 128) != 0);
  CHECK(fc_tensor_map_encode(&map, FC_ELEM_F32, 5, in, dim, stride, box, 128) != 0);
  return failures;
}

int test_copies() {
  int failures = 0;
  static const int spans[4] = {0, 32, 64, 128}, at[4][2] = {{8, 3}, {160, 40}, {-5, -2}, {-100, 7}};
  for (int s = 0; s < 4; s++) {
    for (int i = 0; i < 4; i++) failures += test_load_2d(spans[s], at[i][0], at[i][1]);
  }
  return failures + test_load_4d() + test_store() + test_copy_async() + test_maps();
}
