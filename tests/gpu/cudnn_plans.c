/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cudnn_attention_graph.h"

/* Are the attention graphs valid for an H100?  Asked without one: cuDNN
 * takes a device's properties as a text, and builds plans for it, kernels
 * compiled, as long as there is something to load them into: fake_cuda.c.
 *
 * cudnn_plans PATH/libcuda.so.1 (the fake; each line: engine, work space, kernels)
 *
 * Leans on cuDNN's internals, hence optional: 77 and "skipped: REASON" where it cannot ask.  1: a graph is
 * refused, or its kernels are not of the kind expected.  Says nothing about results: that takes a GPU. */

#if defined(FC_HAVE_CUDNN)

/* Limits: CUDA C++ Programming Guide, compute capability 9.0.  132 units and 50
 * MiB of L2: H100 SXM datasheet.  Clocks, memory, PCI and driver numbers are
 * plausible ones, not read from a device.  Names: those that cuDNN itself reads */
static const char h100[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
    "\"multiProcessorCount\":132,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":"
    "65536,"
    "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":9008,"
    "\"isTccDriver\":0,\"supportCoopLaunch\":1,\"totalGlobalMem\":85000000000,\"smClockRateKHz\":1980000,"
    "\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800,\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"deviceName\":\"NVIDIA H100 80GB HBM3\"}";

typedef struct plan_case {
  const char *name;
  fc_dnn_attention a;
  bool backward;
  const char *kernels; /* what their names must contain; NULL: anything that builds */
} plan_case;

static const plan_case cases[] = {
    {"mla_prefill 4096", {1, 128, 128, 4096, 4096, 192, 128, 0, 0, false}, false, "sm90"},
    {"mla_prefill 1024 of 4096", {1, 128, 128, 1024, 4096, 192, 128, 0, 0, false}, false, "sm90"},
    {"mla_prefill 100 of 1000", {2, 16, 16, 100, 1000, 192, 128, 0, 0, false}, false, "sm90"},
    {"attention_prefill 4096", {1, 64, 8, 4096, 4096, 128, 128, 0, 0, false}, false, "sm90"},
    {"attention_prefill 1024 of 4096", {1, 64, 8, 1024, 4096, 128, 128, 0, 0, false}, false, "sm90"},
    {"mla_backward 4096", {1, 128, 128, 4096, 4096, 192, 128, 0, 0, false}, true, "sm90"},
    {"mla_backward 1024 of 4096", {1, 128, 128, 1024, 4096, 192, 128, 0, 0, false}, true, "sm90"},
    {"attention_backward 4096", {1, 64, 8, 4096, 4096, 128, 128, 0, 0, false}, true, "sm90"},
    {"attention_decode 64 x 4096", {64, 64, 8, 1, 0, 128, 128, 8192, 64, false}, false, NULL},
    {"attention_decode q 2", {64, 64, 8, 2, 0, 128, 128, 8192, 64, false}, false, NULL},
    {"mla_decode 64 x 4096", {64, 128, 1, 1, 0, 576, 512, 8192, 64, true}, false, NULL},
    {"mla_decode q 2", {64, 128, 1, 2, 0, 576, 512, 8192, 64, true}, false, NULL},
};

typedef struct driver {
  const char *(*kernels)(void);
  void (*forget)(void);
} driver;

/* dlsym's pointers, as POSIX has them */
static void *symbol(void *library, const char *name) {
  return library ? dlsym(library, name) : NULL;
}

static bool open_driver(driver *d, const char *path) {
  void *library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  void *kernels = symbol(library, "fake_cuda_kernels"), *forget = symbol(library, "fake_cuda_forget");
  memcpy(&d->kernels, &kernels, sizeof kernels);
  memcpy(&d->forget, &forget, sizeof forget);
  return library != NULL;
}

static cudnnBackendDescriptor_t device_of(const fc_cudnn *lib, const char *json) {
  cudnnBackendDescriptor_t d = NULL;
  if (lib->cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d) != CUDNN_STATUS_SUCCESS)
    return NULL;
  if (lib->cudnnBackendSetAttribute(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                    (int64_t)strlen(json), json) == CUDNN_STATUS_SUCCESS &&
      lib->cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS)
    return d;
  lib->cudnnBackendDestroyDescriptor(d);
  return NULL;
}

static bool check(const fc_cudnn *lib, cudnnBackendDescriptor_t device, const driver *cuda,
                  const plan_case *c) {
  static fc_dnn_graph g; /* large, and not to be moved */
  fc_dnn_init(&g, lib);
  if (c->backward)
    fc_dnn_attention_backward(&g, &c->a);
  else
    fc_dnn_attention_forward(&g, &c->a);
  if (cuda->forget) cuda->forget();
  bool good = fc_dnn_plan(&g, NULL, device) == 0;
  const char *kernels = cuda->kernels ? cuda->kernels() : "";
  if (!good)
    (void)printf("%s: refused: %s\n", c->name, g.why);
  else
    (void)printf("%s: engine %" PRId64 ", %" PRId64 " bytes, %s\n", c->name, g.engine, g.workspace_bytes,
                 kernels);
  if (good && c->kernels && cuda->kernels && !strstr(kernels, c->kernels)) {
    (void)printf("%s: kernels are not %s\n", c->name, c->kernels);
    good = false;
  }
  fc_dnn_fini(&g);
  return good;
}

static int skipped(const char *why) {
  (void)printf("skipped: %s\n", why);
  return 77;
}

int main(int argc, char **argv) {
  driver cuda;
  if (!open_driver(&cuda, argc > 1 ? argv[1] : NULL)) return skipped("libcuda.so.1 is not found");
  const fc_cudnn *lib = fc_cudnn_open();
  if (lib->missing[0]) return skipped(lib->missing);
  cudnnBackendDescriptor_t device = device_of(lib, h100);
  if (!device) return skipped("this cuDNN takes no description of a device");
  int bad = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (!check(lib, device, &cuda, &cases[i])) bad++;
  lib->cudnnBackendDestroyDescriptor(device);
  return bad ? 1 : 0;
}

#else

int main(void) {
  (void)puts("skipped: built without cudnn_backend.h");
  return 77;
}

#endif
