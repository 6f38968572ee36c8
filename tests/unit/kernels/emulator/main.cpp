/* SPDX-License-Identifier: Apache-2.0 */
#include "check.hpp"

#include <time.h>

/* The emulator against what the instructions are documented to do.  With an argument: fiber switches a
 * second. */

static __global__ void switches(int rounds) {
  for (int i = 0; i < rounds; i++) __syncthreads();
}

static double now_s() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    int rounds = atoi(argv[1]);
    double start_s = now_s();
    int status = FC_LAUNCH(switches, 1, 256, 0, nullptr, rounds);
    printf("%.2f million switches a second\n", 256e-6 * rounds / (now_s() - start_s));
    return status != 0;
  }
  int threads = test_threads(), copies = test_copies(), matrix = test_matrix(), faults = test_faults();
  printf("emulator: failed checks: threads %d, copies %d, matrix %d, faults %d\n", threads, copies, matrix,
         faults);
  return threads + copies + matrix + faults != 0;
}
