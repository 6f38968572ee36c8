/* SPDX-License-Identifier: Apache-2.0 */
#include "check.hpp"

/* wgmma and mma.sync against a triple loop; operands small integers, so that every sum is exact. */

enum { K_TILE = 128 /* bytes of k in a swizzled tile */ };

/* d [64][n] = a [64][k] b [n][k]^T, one tile of 128 bytes along k at a time; d starts as 1 */
template <int N, bool FP8>
static __global__ void product(const __grid_constant__ fc_tensor_map a_map,
                               const __grid_constant__ fc_tensor_map b_map, float *out, int tiles) {
  FC_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ uint64_t bar;
  unsigned char *a = shared, *b = shared + 64 * K_TILE;
  if (threadIdx.x == 0) {
    fc_mbarrier_init(&bar, 1);
    fc_mbarrier_init_fence();
  }
  __syncthreads();
  float d[N / 2];
  for (int i = 0; i < N / 2; i++) d[i] = 1.0f;
  for (int t = 0; t < tiles; t++) {
    if (threadIdx.x == 0) {
      fc_mbarrier_expect(&bar, (64 + N) * K_TILE);
      fc_tma_load_2d(a, &a_map, &bar, t * (FP8 ? 128 : 64), 0);
      fc_tma_load_2d(b, &b_map, &bar, t * (FP8 ? 128 : 64), 0);
    }
    fc_mbarrier_wait(&bar, (uint32_t)t & 1);
    uint64_t da = fc_wgmma_descriptor(a, 128, 1, 1024), db = fc_wgmma_descriptor(b, 128, 1, 1024);
    fc_wgmma_hold(d);
    fc_wgmma_fence();
    for (int j = 0; j < 4; j++) {
      if (FP8)
        fc_wgmma_e4m3<N>(d, da + 2 * (uint64_t)j, db + 2 * (uint64_t)j, true);
      else
        fc_wgmma_bf16<N>(d, da + 2 * (uint64_t)j, db + 2 * (uint64_t)j, true);
    }
    fc_wgmma_commit();
    fc_wgmma_wait<0>();
    fc_wgmma_hold(d);
    __syncthreads();
  }
  int w = (int)threadIdx.x / 32, l = (int)threadIdx.x % 32;
  for (int i = 0; i < N / 8; i++) {
    for (int j = 0; j < 2; j++) {
      for (int c = 0; c < 2; c++)
        out[(16 * w + l / 4 + 8 * j) * N + 8 * i + 2 * (l % 4) + c] = d[4 * i + 2 * j + c];
    }
  }
}

static void fill(void *data, bool fp8, int n, uint32_t seed) {
  for (int i = 0; i < n; i++) {
    float v = (float)((int)(next_random(&seed) % 5u) - 2);
    if (fp8)
      static_cast<uint8_t *>(data)[i] = fc_e4m3_encode(v);
    else
      static_cast<uint16_t *>(data)[i] = fc_bf16_encode(v);
  }
}

static float value(const void *data, bool fp8, int i) {
  return fp8 ? fc_e4m3_decode(static_cast<const uint8_t *>(data)[i])
             : fc_bf16_decode(static_cast<const uint16_t *>(data)[i]);
}

template <int N, bool FP8> static int test_product() {
  enum { TILES = 3, K = TILES * K_TILE / (FP8 ? 1 : 2) };
  int failures = 0;
  alignas(16) static unsigned char a[64 * TILES * K_TILE], b[N * TILES * K_TILE];
  static float out[64 * N];
  fill(a, FP8, 64 * K, 1);
  fill(b, FP8, N * K, 2);
  fc_tensor_map a_map, b_map;
  fc_elem elem = FP8 ? FC_ELEM_E4M3 : FC_ELEM_BF16;
  const int64_t a_dim[2] = {K, 64}, b_dim[2] = {K, N}, stride[1] = {TILES * K_TILE};
  const int a_box[2] = {K / TILES, 64}, b_box[2] = {K / TILES, N};
  CHECK(fc_tensor_map_encode(&a_map, elem, 2, a, a_dim, stride, a_box, 128) == 0);
  CHECK(fc_tensor_map_encode(&b_map, elem, 2, b, b_dim, stride, b_box, 128) == 0);
  CHECK(FC_LAUNCH((product<N, FP8>), 1, 128, (64 + N) * K_TILE, nullptr, a_map, b_map, out, (int)TILES) == 0);
  for (int i = 0; i < 64; i++) {
    for (int j = 0; j < N; j++) {
      float sum = 1.0f;
      for (int k = 0; k < K; k++) sum += value(a, FP8, i * K + k) * value(b, FP8, j * K + k);
      CHECK(out[i * N + j] == sum);
    }
  }
  return failures;
}

/* what softmax times values needs: A [64][64] from registers or shared memory, B [64][N] with n contiguous,
 * in tiles of [64 k][64 n]; two accumulators in flight in two groups */
template <int N, bool REGISTERS>
static __global__ void product_tn(const __grid_constant__ fc_tensor_map b_map, const uint16_t *a,
                                  float *out) {
  FC_DYNAMIC_SHARED(unsigned char, shared);
  __shared__ uint64_t bar;
  int t = (int)threadIdx.x, w = t / 32, l = t % 32;
  unsigned char *as = shared + N * 128;
  if (t == 0) {
    fc_mbarrier_init(&bar, 1);
    fc_mbarrier_init_fence();
    fc_mbarrier_expect(&bar, N * 128);
    for (int i = 0; i < N / 64; i++) fc_tma_load_2d(shared + i * 8192, &b_map, &bar, 64 * i, 0);
  }
  for (int i = t; i < 64 * 64; i += 128) memcpy(as + swizzled_128(i / 64, i % 64 * 2), &a[i], 2);
  fc_async_fence();
  __syncthreads();
  fc_mbarrier_wait(&bar, 0);
  float d[N / 2], twice[N / 2];
  uint64_t da = fc_wgmma_descriptor(as, 128, 1, 1024), db = fc_wgmma_descriptor(shared, 128, 8192, 1024);
  fc_wgmma_fence();
  for (int group = 0; group < 2; group++) {
    for (int s = 0; s < 4 * (group + 1); s++) {
      uint64_t k = (uint64_t)s % 4;
      float(&acc)[N / 2] = group == 0 ? d : twice;
      if (REGISTERS) {
        uint32_t r[4];
        for (int i = 0; i < 4; i++)
          memcpy(&r[i], &a[(16 * w + l / 4 + i % 2 * 8) * 64 + 16 * (int)k + 2 * (l % 4) + i / 2 * 8], 4);
        fc_wgmma_bf16_ra_tn<N>(acc, r, db + k * 128, s > 0);
      } else {
        fc_wgmma_bf16_tn<N>(acc, da + 2 * k, db + k * 128, s > 0);
      }
    }
    fc_wgmma_commit();
  }
  fc_wgmma_wait<1>();
  bool early = fc_float_bits(twice[0]) == 0xffffffffu; /* the emulator poisons what is in flight */
  for (int i = 0; i < N / 2; i++) {
    int row = 16 * w + l / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + 2 * (l % 4) + i % 2;
    out[row * N + column] = early ? -d[i] : 0.0f;
  }
  fc_wgmma_wait<0>();
  for (int i = 0; i < N / 2; i++) {
    int row = 16 * w + l / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + 2 * (l % 4) + i % 2;
    out[row * N + column] += twice[i];
  }
}

template <int N, bool REGISTERS> static int test_product_tn() {
  int failures = 0;
  alignas(16) static uint16_t a[64 * 64], b[64 * N];
  static float out[64 * N];
  fill(a, false, 64 * 64, 3);
  fill(b, false, 64 * N, 4);
  fc_tensor_map b_map;
  const int64_t dim[2] = {N, 64}, stride[1] = {N * 2};
  const int box[2] = {64, 64};
  CHECK(fc_tensor_map_encode(&b_map, FC_ELEM_BF16, 2, b, dim, stride, box, 128) == 0);
  CHECK(FC_LAUNCH((product_tn<N, REGISTERS>), 1, 128, (N + 64) * 128, nullptr, b_map, a, out) == 0);
  for (int i = 0; i < 64; i++) {
    for (int j = 0; j < N; j++) {
      float sum = 0.0f;
      for (int k = 0; k < 64; k++) sum += value(a, false, i * 64 + k) * value(b, false, k * N + j);
      CHECK(out[i * N + j] == sum);
    }
  }
  return failures;
}

/* K-major without swizzle and with A from registers: core matrices of 8 rows by 16 bytes, [k / 8][n / 8] */
static __global__ void product_plain(const uint16_t *a, const uint16_t *b, float *out) {
  FC_DYNAMIC_SHARED(uint16_t, bs);
  int t = (int)threadIdx.x, w = t / 32, l = t % 32;
  for (int i = t; i < 32 * 16; i += 128) {
    int n = i / 16, k = i % 16;
    bs[(k / 8 * 4 + n / 8) * 64 + n % 8 * 8 + k % 8] = b[i];
  }
  fc_async_fence();
  __syncthreads();
  uint32_t r[4];
  for (int i = 0; i < 4; i++)
    memcpy(&r[i], &a[(16 * w + l / 4 + i % 2 * 8) * 16 + 2 * (l % 4) + i / 2 * 8], 4);
  float d[16];
  fc_wgmma_fence();
  fc_wgmma_bf16_ra<32>(d, r, fc_wgmma_descriptor(bs, 0, 4 * 128, 128), false);
  fc_wgmma_commit();
  fc_wgmma_wait<0>();
  for (int i = 0; i < 16; i++)
    out[(16 * w + l / 4 + i / 2 % 2 * 8) * 32 + i / 4 * 8 + 2 * (l % 4) + i % 2] = d[i];
}

static int test_plain() {
  int failures = 0;
  static uint16_t a[64 * 16], b[32 * 16];
  static float out[64 * 32];
  fill(a, false, 64 * 16, 5);
  fill(b, false, 32 * 16, 6);
  CHECK(FC_LAUNCH(product_plain, 1, 128, 1024, nullptr, a, b, out) == 0);
  for (int i = 0; i < 64; i++) {
    for (int j = 0; j < 32; j++) {
      float sum = 0.0f;
      for (int k = 0; k < 16; k++) sum += value(a, false, i * 16 + k) * value(b, false, j * 16 + k);
      CHECK(out[i * 32 + j] == sum);
    }
  }
  return failures;
}

/* a [16][16], b [8][16] once as [n][k], once as [k][n] by the transposing load; c [16][16] = a b^T twice over
 */
static __global__ void product_mma(const uint16_t *a, const uint16_t *b, const uint16_t *bt, float *out,
                                   uint16_t *a_again) {
  FC_DYNAMIC_SHARED(uint16_t, s);
  int l = (int)threadIdx.x;
  for (int i = l; i < 256; i += 32) s[i] = a[i];
  for (int i = l; i < 128; i += 32) s[256 + i] = b[i];
  for (int i = l; i < 128; i += 32) s[384 + i] = bt[i];
  __syncwarp();
  uint32_t ra[4], rb[2], rt[4];
  fc_ldmatrix_x4(ra, s + l % 16 * 16 + l / 16 * 8);
  fc_ldmatrix_x2(rb, s + 256 + l % 8 * 16 + l / 8 % 2 * 8);
  fc_ldmatrix_x4_trans(rt, s + 384 + l % 16 * 8);
  float d[4] = {0.5f, 0.5f, 0.5f, 0.5f}, e[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  uint32_t first_two[2] = {rt[0], rt[1]};
  fc_mma_bf16(d, ra, rb);
  fc_mma_bf16(e, ra, first_two);
  for (int i = 0; i < 4; i++)
    out[(l / 4 + i / 2 * 8) * 8 + 2 * (l % 4) + i % 2] = d[i] == e[i] + 0.5f ? d[i] : -1.0f;
  __syncwarp();
  fc_stmatrix_x4(s + 512 + l % 16 * 16 + l / 16 * 8, ra);
  __syncwarp();
  for (int i = l; i < 256; i += 32) a_again[i] = s[512 + i];
}

static int test_mma() {
  int failures = 0;
  uint16_t a[256], again[256], b[128], bt[128];
  float out[128];
  fill(a, false, 256, 7);
  fill(b, false, 128, 8);
  for (int i = 0; i < 128; i++) bt[i % 16 * 8 + i / 16] = b[i];
  CHECK(FC_LAUNCH(product_mma, 1, 32, 2048, nullptr, a, b, bt, out, again) == 0);
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) {
      float sum = 0.5f;
      for (int k = 0; k < 16; k++) sum += value(a, false, i * 16 + k) * value(b, false, j * 16 + k);
      CHECK(out[i * 8 + j] == sum);
    }
  }
  CHECK(memcmp(a, again, sizeof a) == 0);
  return failures;
}

static int test_conversions() {
  int failures = 0;
  CHECK(fc_pack_e4m3(1.0f, -448.0f) == (0x38 | 0xfe << 8));
  CHECK(fc_pack_bf16(1.0f, -2.0f) == (0x3f80u | 0xc000u << 16));
  CHECK(fc_exp2(3.0f) == 8.0f && fc_exp2(-127.5f) == 0.0f && fc_exp2(-INFINITY) == 0.0f &&
        fc_exp2(NAN) != fc_exp2(0));
  return failures;
}

int test_matrix() {
  return test_product<64, true>() + test_product<160, true>() + test_product<256, true>() +
         test_product<16, false>() + test_product<128, false>() + test_product<256, false>() +
         test_product_tn<64, false>() + test_product_tn<256, false>() + test_product_tn<128, true>() +
         test_plain() + test_mma() + test_conversions();
}
