/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.hpp"

#include <stdlib.h>

/* wgmma from descriptors, mma.sync, ldmatrix, stmatrix.
 *
 * The threads of a warpgroup issue a wgmma without waiting for each other; it is computed when the first of
 * them waits for it.  @source PTX ISA, asynchronous warpgroup level matrix instructions: matrix descriptor,
 * canonical layouts, register fragments */

enum { M = 64, N_MAX = 256, ROW_BYTES = 32 /* of K in one operation: 16 bf16 or 32 e4m3 */ };

/* --- operands in shared memory --- */

struct operand {
  uintptr_t start;
  int swizzle, leading, stride;
  bool issued; /* read again: another check tells more than that of the proxy */
};

uint64_t fc_wgmma_descriptor(const void *shared, int swizzle_bytes, int leading_bytes, int stride_bytes,
                             const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  fc_emulator_check_shared(shared, 16, 16, "wgmma descriptor", file, line);
  if (swizzle_bytes != 0 && swizzle_bytes != 32 && swizzle_bytes != 64 && swizzle_bytes != 128)
    fc_emulator_fail(file, line, "wgmma descriptor: swizzle of %d bytes", swizzle_bytes);
  if (leading_bytes < 0 || leading_bytes >= FC_WINDOW || stride_bytes < 0 || stride_bytes >= FC_WINDOW)
    fc_emulator_fail(file, line, "wgmma descriptor: leading %d, stride %d", leading_bytes, stride_bytes);
  uint64_t mode = swizzle_bytes == 128 ? 1 : (swizzle_bytes == 64 ? 2 : (swizzle_bytes == 32 ? 3 : 0));
  uintptr_t address = (uintptr_t)shared, window = address >> FC_WINDOW_BITS;
  int w = 0;
  while (w < m->n_windows && m->window[w] != window) w++;
  if (w == FC_WINDOWS) fc_emulator_fail(file, line, "wgmma descriptor: too many static arrays");
  if (w == m->n_windows) m->window[m->n_windows++] = window;
  return (address & (FC_WINDOW - 1)) >> 4 | (uint64_t)(leading_bytes >> 4) << 16 |
         (uint64_t)(stride_bytes >> 4) << 32 | (uint64_t)w << 52 | mode << 62;
}

static operand operand_of(uint64_t descriptor, const fc_wgmma *op) {
  static const int span[4] = {0, 128, 64, 32};
  const fc_machine_cpu *m = fc_machine_now;
  operand o;
  int w = (int)(descriptor >> 52 & 0x3ff);
  o.swizzle = span[descriptor >> 62];
  o.leading = (int)(descriptor >> 16 & 0x3fff) << 4;
  o.stride = (int)(descriptor >> 32 & 0x3fff) << 4;
  o.start = (m->window[w] << FC_WINDOW_BITS) + ((descriptor & 0xffff) << 4);
  o.issued = op->sum != 0;
  if (w >= m->n_windows || (descriptor >> 49 & 7) != 0)
    fc_emulator_fail(op->file, op->line, "wgmma: %016llx is no descriptor", (unsigned long long)descriptor);
  if (o.swizzle != 0 && (o.start >> 7 & (uintptr_t)(o.swizzle / 16 - 1)) != 0)
    fc_emulator_fail(op->file, op->line, "wgmma: a tile of %d-byte swizzle starts off its %d-byte period",
                     o.swizzle, 8 * o.swizzle);
  return o;
}

/* copies 16 bytes of an operand at `offset` from its start */
static void take(unsigned char *out, const operand *o, int offset, const char *file, int line) {
  const void *p =
      reinterpret_cast<const void *>(fc_emulator_swizzle(o->start + (uintptr_t)offset, o->swizzle));
  fc_emulator_check_shared(p, 16, 16, "wgmma operand", file, line);
  if (!o->issued) fc_emulator_async_reads(p, file, line);
  memcpy(out, p, 16);
}

/* rows r of K-major: out[r][32 bytes of k] */
static void gather_k_major(unsigned char *out, uint64_t descriptor, int rows, const fc_wgmma *op) {
  operand o = operand_of(descriptor, op);
  if (o.swizzle != 0 && (int)(o.start % (uintptr_t)o.swizzle) + ROW_BYTES > o.swizzle)
    fc_emulator_fail(op->file, op->line, "wgmma: 32 bytes of k run over the span of the %d-byte swizzle",
                     o.swizzle);
  if (o.stride == 0 && rows > 8)
    fc_emulator_fail(op->file, op->line, "wgmma: K-major operand with a stride of 0");
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < 2; c++) {
      int offset = o.swizzle == 0 ? r % 8 * 16 + r / 8 * o.stride + c * o.leading
                                  : r % 8 * o.swizzle + r / 8 * o.stride + c * 16;
      take(out + r * ROW_BYTES + c * 16, &o, offset, op->file, op->line);
    }
  }
}

/* MN-major bf16: out[k][n] of 2 bytes; pieces of 8 n, `unit` of them in a row of the swizzle */
static void gather_mn_major(unsigned char *out, uint64_t descriptor, int n, const fc_wgmma *op) {
  operand o = operand_of(descriptor, op);
  int unit = o.swizzle == 0 ? 1 : o.swizzle / 16;
  if (o.swizzle != 0 && o.start % (uintptr_t)o.swizzle != 0)
    fc_emulator_fail(op->file, op->line, "wgmma: MN-major operand starts inside a row of the swizzle");
  if (o.stride == 0 || (n / 8 > unit && o.swizzle != 0 && o.leading == 0))
    fc_emulator_fail(op->file, op->line, "wgmma: MN-major operand with a stride or leading of 0");
  for (int k = 0; k < 16; k++) {
    for (int g = 0; g < n / 8; g++) {
      int offset = o.swizzle == 0
                       ? g * o.stride + k % 8 * 16 + k / 8 * o.leading
                       : g % unit * 16 + g / unit * o.leading + k % 8 * o.swizzle + k / 8 * o.stride;
      take(out + (k * n + g * 8) * 2, &o, offset, op->file, op->line);
    }
  }
}

/* the bytes of both operands as they are now; A in registers is not among them */
static void gather(const fc_wgmma *op, unsigned char *a, unsigned char *b) {
  if (!op->from_registers) gather_k_major(a, op->a, M, op);
  if (op->kind == FC_WGMMA_BF16_TN)
    gather_mn_major(b, op->b, op->n, op);
  else
    gather_k_major(b, op->b, op->n, op);
}

static uint64_t checksum(const fc_wgmma *op, const unsigned char *a, const unsigned char *b) {
  uint64_t sum = 0xcbf29ce484222325u, word; /* FNV-1a, by words */
  for (int i = 0; i < M * ROW_BYTES && !op->from_registers; i += 8) {
    memcpy(&word, a + i, 8);
    sum = (sum ^ word) * 0x100000001b3u;
  }
  for (int i = 0; i < op->n * ROW_BYTES; i += 8) {
    memcpy(&word, b + i, 8);
    sum = (sum ^ word) * 0x100000001b3u;
  }
  return sum | 1; /* 0: not issued */
}

/* --- wgmma: computing --- */

static float bf16_at(const unsigned char *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return fc_bf16_decode(v);
}

/* a [64][32] and b [k][n] as floats; b comes as [n][k] or, MN-major, as [k][n] */
static int decode(const fc_wgmma *op, const unsigned char *a, const unsigned char *b, float *af, float *bf) {
  int n = op->n, k_size = op->kind == FC_WGMMA_E4M3 ? 32 : 16;
  for (int k = 0; k < k_size; k++) {
    for (int j = 0; j < n; j++) {
      if (op->kind == FC_WGMMA_E4M3)
        bf[k * n + j] = fc_e4m3_decode(b[j * ROW_BYTES + k]);
      else
        bf[k * n + j] = bf16_at(op->kind == FC_WGMMA_BF16 ? b + j * ROW_BYTES + 2 * k : b + (k * n + j) * 2);
    }
  }
  for (int i = 0; i < M && !op->from_registers; i++) {
    for (int k = 0; k < k_size; k++) {
      const unsigned char *row = a + i * ROW_BYTES;
      af[i * 32 + k] = op->kind == FC_WGMMA_E4M3 ? fc_e4m3_decode(row[k]) : bf16_at(row + 2 * k);
    }
  }
  for (int t = 0; t < 128 && op->from_registers; t++) {
    for (int r = 0; r < 4; r++) { /* r & 1: row + 8, r & 2: k + 8 */
      int i = t / 32 * 16 + t % 32 / 4 + (r & 1) * 8, k = t % 4 * 2 + (r & 2) * 4;
      af[i * 32 + k] = fc_bf16_decode((uint16_t)(op->registers[t][r] & 0xffff));
      af[i * 32 + k + 1] = fc_bf16_decode((uint16_t)(op->registers[t][r] >> 16));
    }
  }
  return k_size;
}

typedef float vec8 __attribute__((vector_size(32), aligned(4)));

/* d [64][n] += a b, two rows by 16 columns at a time */
static void multiply(float *d, const float *a, const float *b, int n, int k_size) {
  for (int i = 0; i < M; i += 2) {
    for (int j = 0; j < n; j += 16) {
      vec8 *d0 = reinterpret_cast<vec8 *>(d + i * n + j), *d1 = reinterpret_cast<vec8 *>(d + (i + 1) * n + j);
      vec8 c00 = d0[0], c01 = d0[1], c10 = d1[0], c11 = d1[1];
      for (int k = 0; k < k_size; k++) {
        const vec8 *row = reinterpret_cast<const vec8 *>(b + k * n + j);
        vec8 b0 = row[0], b1 = row[1];
        float a0 = a[i * 32 + k], a1 = a[(i + 1) * 32 + k];
        c00 += a0 * b0;
        c01 += a0 * b1;
        c10 += a1 * b0;
        c11 += a1 * b1;
      }
      d0[0] = c00, d0[1] = c01, d1[0] = c10, d1[1] = c11;
    }
  }
}

static void execute(fc_warpgroup *g, const fc_wgmma *op) {
  alignas(16) unsigned char a[M * ROW_BYTES], b[N_MAX * ROW_BYTES];
  alignas(32) float af[M * 32], bf[32 * N_MAX];
  gather(op, a, b);
  if (checksum(op, a, b) != op->sum)
    fc_emulator_fail(op->file, op->line,
                     "wgmma: its operands in shared memory changed after the first thread issued it: "
                     "written late, or overwritten before fc_wgmma_wait");
  int k_size = decode(op, a, b, af, bf);
  float *d = g->accumulator[op->slot];
  if (!op->accumulate) memset(d, 0, sizeof(float) * M * (size_t)op->n);
  multiply(d, af, bf, op->n, k_size);
}

/* --- wgmma: issuing and waiting --- */

/* element i of the fragment of thread t, in [64][n] */
static int fragment_at(int t, int i, int n) {
  int row = t / 32 * 16 + t % 32 / 4 + (i >> 1 & 1) * 8, column = i / 4 * 8 + t % 4 * 2 + (i & 1);
  return row * n + column;
}

static bool is_poison(float x) {
  return fc_float_bits(x) == 0xffffffffu;
}

/* finds or opens the accumulators of d in flight */
static int accumulator_slot(fc_fiber *f, fc_warpgroup *g, float *d, int n, bool accumulate, const char *file,
                            int line) {
  int slot = -1, spare = -1;
  for (int s = FC_ACCUMULATORS - 1; s >= 0; s--) {
    if (f->accumulator[s].d == d) slot = s;
    if (f->accumulator[s].d == nullptr) spare = s;
  }
  if (slot >= 0) {
    if (f->accumulator[slot].n != n)
      fc_emulator_fail(file, line, "wgmma: accumulators in flight with another n");
    if (!is_poison(d[0]) || !is_poison(d[n / 2 - 1]))
      fc_emulator_fail(file, line, "wgmma: accumulators were written before fc_wgmma_wait");
    return slot;
  }
  if (spare < 0)
    fc_emulator_fail(file, line, "wgmma: more than %d accumulators in flight", (int)FC_ACCUMULATORS);
  if (!f->fenced)
    fc_emulator_fail(file, line, "wgmma: no fc_wgmma_fence since its accumulators were last used");
  if (g->accumulator[spare] == nullptr) {
    g->accumulator[spare] = static_cast<float *>(malloc(sizeof(float) * M * N_MAX));
    if (g->accumulator[spare] == nullptr) fc_emulator_fail(file, line, "out of memory");
  }
  f->accumulator[spare] = fc_accumulator{d, n, 0};
  for (int i = 0; i < n / 2 && accumulate; i++)
    g->accumulator[spare][fragment_at(f->number % 128, i, n)] = d[i];
  return spare;
}

/* the record of the operation that this thread is about to issue: made by the first thread to come */
static fc_wgmma *operation(fc_fiber *f, fc_warpgroup *g, const fc_wgmma *mine) {
  if (g->flight == nullptr) g->flight = static_cast<fc_wgmma *>(calloc(FC_WGMMA_FLIGHT, sizeof(fc_wgmma)));
  if (g->flight == nullptr) fc_emulator_fail(mine->file, mine->line, "out of memory");
  fc_wgmma *op = &g->flight[f->issued % FC_WGMMA_FLIGHT];
  if (f->issued == g->first_seen) {
    if (f->issued - g->executed >= FC_WGMMA_FLIGHT)
      fc_emulator_fail(mine->file, mine->line, "wgmma: more than %d in flight", (int)FC_WGMMA_FLIGHT);
    unsigned char a[M * ROW_BYTES], b[N_MAX * ROW_BYTES];
    memcpy(op, mine, offsetof(fc_wgmma, registers));
    op->arrived = 0;
    gather(op, a, b);
    op->sum = checksum(op, a, b);
    g->first_seen++;
  }
  if (op->kind != mine->kind || op->n != mine->n || op->a != mine->a || op->b != mine->b ||
      op->slot != mine->slot || op->accumulate != mine->accumulate ||
      op->from_registers != mine->from_registers)
    fc_emulator_fail(mine->file, mine->line,
                     "wgmma: threads of a warpgroup differ in descriptors, n or accumulators");
  return op;
}

void fc_emulator_wgmma(fc_emulated_wgmma kind, int n, float *d, uint64_t a, const uint32_t *a_registers,
                       uint64_t b, bool accumulate, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  fc_fiber *f = m->current;
  int number = f->number / 128, t = f->number % 128;
  fc_warpgroup *g = &m->group[number];
  if (128 * (number + 1) > m->n_threads) fc_emulator_fail(file, line, "wgmma: the warpgroup is not complete");
  fc_wgmma mine;
  mine.kind = kind;
  mine.n = n;
  mine.slot = accumulator_slot(f, g, d, n, accumulate, file, line);
  mine.arrived = 0;
  mine.accumulate = accumulate;
  mine.from_registers = a_registers != nullptr;
  mine.a = a;
  mine.b = b;
  mine.sum = 0;
  mine.file = file;
  mine.line = line;
  fc_wgmma *op = operation(f, g, &mine);
  if (a_registers != nullptr) memcpy(op->registers[t], a_registers, sizeof op->registers[t]);
  f->accumulator[mine.slot].end = ++f->issued;
  memset(d, FC_POISON, sizeof(float) * (size_t)n / 2);
  if (++op->arrived < 128) return;
  g->complete++;
  for (int i = 0; i < 128; i++) {
    fc_fiber *other = &m->fiber[128 * number + i];
    if (other->waits == FC_WAITS_WGMMA && other->need <= g->complete) fc_emulator_wake(other);
  }
}

void fc_wgmma_fence() {
  fc_machine_now->current->fenced = true;
}

void fc_wgmma_commit() {
  fc_fiber *f = fc_machine_now->current;
  f->group_end[f->groups++ % FC_WGMMA_FLIGHT] = f->issued;
}

void fc_emulator_wgmma_wait(int groups, const char *file, int line) {
  fc_machine_cpu *m = fc_machine_now;
  fc_fiber *f = m->current;
  fc_warpgroup *g = &m->group[f->number / 128];
  if (f->groups <= (uint64_t)groups) return;
  f->need = f->group_end[(f->groups - (uint64_t)groups - 1) % FC_WGMMA_FLIGHT];
  if (g->complete < f->need) fc_emulator_block(FC_WAITS_WGMMA, g, file, line);
  while (g->executed < f->need) {
    execute(g, &g->flight[g->executed % FC_WGMMA_FLIGHT]);
    g->executed++;
  }
  for (int s = 0; s < FC_ACCUMULATORS; s++) {
    fc_accumulator *acc = &f->accumulator[s];
    if (acc->d == nullptr || acc->end > f->need) continue;
    for (int i = 0; i < acc->n / 2; i++)
      acc->d[i] = g->accumulator[s][fragment_at(f->number % 128, i, acc->n)];
    acc->d = nullptr;
    f->fenced = false;
  }
}

void fc_emulator_check_wgmma(const fc_fiber *f) {
  for (const fc_accumulator &acc : f->accumulator) {
    if (acc.d != nullptr) fc_emulator_fail(nullptr, 0, "ends with a wgmma in flight");
  }
}

/* --- matrix instructions of a warp --- */

struct mma {
  float *d;
  const uint32_t *a, *b;
};

/* half `half` of a register of two bf16 */
static float half_of(uint32_t r, int half) {
  return fc_bf16_decode((uint16_t)(half != 0 ? r >> 16 : r & 0xffff));
}

/* @source PTX ISA, fragments of mma.m16n8k16 */
static void mma_body(void *const *lane, uint32_t) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; l++) {
    const mma *x = static_cast<const mma *>(lane[l]);
    int row = l / 4, pair = l % 4 * 2;
    for (int h = 0; h < 2; h++) {
      for (int r = 0; r < 4; r++) a[row + (r & 1) * 8][pair + h + (r & 2) * 4] = half_of(x->a[r], h);
      for (int r = 0; r < 2; r++) b[pair + h + r * 8][row] = half_of(x->b[r], h);
    }
  }
  for (int l = 0; l < 32; l++) {
    const mma *x = static_cast<const mma *>(lane[l]);
    for (int i = 0; i < 4; i++) {
      int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
      float sum = x->d[i];
      for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
      x->d[i] = sum;
    }
  }
}

void fc_mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char *file, int line) {
  mma mine = {d, a, b};
  fc_emulator_meet(0xffffffffu, &mine, mma_body, file, line);
}

struct ldmatrix {
  uint32_t *r;
  unsigned char *row; /* lane l gives row l % 8 of matrix l / 8 */
  int matrices;
  bool transposed;
};

static void ldmatrix_body(void *const *lane, uint32_t) {
  for (int l = 0; l < 32; l++) {
    const ldmatrix *mine = static_cast<const ldmatrix *>(lane[l]);
    for (int i = 0; i < mine->matrices; i++) {
      uint16_t pair[2];
      for (int h = 0; h < 2; h++) {
        int row = mine->transposed ? l % 4 * 2 + h : l / 4, column = mine->transposed ? l / 4 : l % 4 * 2 + h;
        memcpy(&pair[h], static_cast<const ldmatrix *>(lane[8 * i + row])->row + 2 * column, 2);
      }
      mine->r[i] = pair[0] | (uint32_t)pair[1] << 16;
    }
  }
}

static void stmatrix_body(void *const *lane, uint32_t) {
  for (int l = 0; l < 32; l++) {
    const ldmatrix *mine = static_cast<const ldmatrix *>(lane[l]);
    for (int i = 0; i < 4; i++)
      memcpy(static_cast<const ldmatrix *>(lane[8 * i + l / 4])->row + 4 * (l % 4), &mine->r[i], 4);
  }
}

void fc_emulator_ldmatrix(uint32_t *r, int matrices, bool transposed, const void *shared, const char *file,
                          int line) {
  if (fc_emulated_self->lane < 8 * matrices) fc_emulator_check_shared(shared, 16, 16, "ldmatrix", file, line);
  ldmatrix mine = {r, static_cast<unsigned char *>(const_cast<void *>(shared)), matrices, transposed};
  fc_emulator_meet(0xffffffffu, &mine, ldmatrix_body, file, line);
}

void fc_stmatrix_x4(void *shared, const uint32_t (&r)[4], const char *file, int line) {
  fc_emulator_check_shared(shared, 16, 16, "stmatrix", file, line);
  ldmatrix mine = {const_cast<uint32_t *>(r), static_cast<unsigned char *>(shared), 4, false};
  fc_emulator_meet(0xffffffffu, &mine, stmatrix_body, file, line);
}
