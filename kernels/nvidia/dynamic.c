/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Where the toolkit puts its libraries unless told otherwise; the loader's own search comes first. */
#if !defined(FC_CUDA_LIBRARIES)
#define FC_CUDA_LIBRARIES "/usr/local/cuda/lib64"
#endif

typedef struct symbol {
  const char *name;
  size_t offset; /* of the function pointer in the library's table */
} symbol;

/* The major version that the headers are of, else the development link, else the toolkit's folder. */
static void *open_library(const char *versioned, const char *plain) {
  void *library = dlopen(versioned, RTLD_NOW | RTLD_LOCAL);
  if (!library) library = dlopen(plain, RTLD_NOW | RTLD_LOCAL);
  if (library) return library;
  char path[256];
  (void)snprintf(path, sizeof path, "%s/%s", FC_CUDA_LIBRARIES, versioned);
  return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void load(void *table, char *missing, const char *versioned, const char *plain, const symbol *symbols,
                 size_t n) {
  void *library = open_library(versioned, plain);
  if (!library) {
    (void)snprintf(missing, FC_WHY, "%s is not found", versioned);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    void *address = dlsym(library, symbols[i].name);
    if (!address) {
      (void)snprintf(missing, FC_WHY, "%s has no %s", versioned, symbols[i].name);
      return;
    }
    /* ISO C converts no object pointer to a function pointer; POSIX has them alike */
    memcpy((char *)table + symbols[i].offset, &address, sizeof address);
  }
}

#define QUOTED(x)   #x
#define MAJOR_OF(x) QUOTED(x)

/* --- cuBLASLt --- */

static struct {
  pthread_once_t once, device_once;
  fc_cublaslt table;
  fc_cublaslt_device device;
} lt = {.once = PTHREAD_ONCE_INIT, .device_once = PTHREAD_ONCE_INIT};

static void cublaslt_load(void) {
#define SYMBOL(f) {#f, offsetof(fc_cublaslt, f)},
  static const symbol symbols[] = {FC_CUBLASLT_MAP(SYMBOL)};
#undef SYMBOL
  load(&lt.table, lt.table.missing, "libcublasLt.so." MAJOR_OF(CUBLAS_VER_MAJOR), "libcublasLt.so", symbols,
       sizeof symbols / sizeof *symbols);
  if (!lt.table.missing[0]) lt.table.version = lt.table.cublasLtGetVersion();
}

const fc_cublaslt *fc_cublaslt_open(void) {
  pthread_once(&lt.once, cublaslt_load);
  return &lt.table;
}

static void cublaslt_device_make(void) {
  const fc_cublaslt *library = fc_cublaslt_open();
  fc_cublaslt_device *d = &lt.device;
  if (library->missing[0]) {
    memcpy(d->missing, library->missing, FC_WHY);
    return;
  }
  cublasStatus_t status = library->cublasLtCreate(&d->handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    fc_cublaslt_failed("cublasLtCreate", status, d->missing);
    return;
  }
  cudaError_t error = cudaMalloc(&d->workspace, FC_CUBLASLT_WORKSPACE);
  if (error != cudaSuccess) fc_cuda_failed("cudaMalloc of the work space", error, d->missing);
}

const fc_cublaslt_device *fc_cublaslt_device_open(void) {
  pthread_once(&lt.device_once, cublaslt_device_make);
  return &lt.device;
}

/* --- cuDNN --- */

#if defined(FC_HAVE_CUDNN)

static struct {
  pthread_once_t once, device_once;
  fc_cudnn table;
  fc_cudnn_device device;
} dnn = {.once = PTHREAD_ONCE_INIT, .device_once = PTHREAD_ONCE_INIT};

static void cudnn_load(void) {
#define SYMBOL(f) {#f, offsetof(fc_cudnn, f)},
  static const symbol symbols[] = {FC_CUDNN_MAP(SYMBOL)};
#undef SYMBOL
  load(&dnn.table, dnn.table.missing, "libcudnn.so." MAJOR_OF(CUDNN_MAJOR), "libcudnn.so", symbols,
       sizeof symbols / sizeof *symbols);
  if (!dnn.table.missing[0]) dnn.table.version = dnn.table.cudnnGetVersion();
}

const fc_cudnn *fc_cudnn_open(void) {
  pthread_once(&dnn.once, cudnn_load);
  return &dnn.table;
}

static void cudnn_device_make(void) {
  const fc_cudnn *library = fc_cudnn_open();
  fc_cudnn_device *d = &dnn.device;
  if (library->missing[0]) {
    memcpy(d->missing, library->missing, FC_WHY);
    return;
  }
  cudnnStatus_t status = library->cudnnCreate(&d->handle);
  if (status != CUDNN_STATUS_SUCCESS)
    (void)snprintf(d->missing, FC_WHY, "cudnnCreate: %.120s", library->cudnnGetErrorString(status));
}

const fc_cudnn_device *fc_cudnn_device_open(void) {
  pthread_once(&dnn.device_once, cudnn_device_make);
  return &dnn.device;
}

#endif

/* --- reports --- */

static void version_text(char *text, size_t size, const char *name, size_t version) {
  size_t used = strlen(text);
  if (used < size)
    (void)snprintf(text + used, size - used, "%s%s %zu.%zu.%zu", used ? ", " : "", name, version / 10000,
                   version / 100 % 100, version % 100);
}

void fc_nvidia_versions(char *text, size_t size) {
  if (size == 0) return;
  text[0] = '\0';
  const fc_cublaslt *blas = fc_cublaslt_open();
  if (!blas->missing[0]) version_text(text, size, "cuBLASLt", blas->version);
#if defined(FC_HAVE_CUDNN)
  const fc_cudnn *net = fc_cudnn_open();
  if (!net->missing[0]) version_text(text, size, "cuDNN", net->version);
#endif
}

int fc_cuda_failed(const char *what, cudaError_t error, char *why) {
  (void)snprintf(why, FC_WHY, "%s: %s", what, cudaGetErrorString(error));
  return 1;
}

int fc_cublaslt_failed(const char *what, cublasStatus_t status, char *why) {
  (void)snprintf(why, FC_WHY, "%s: %s", what, fc_cublaslt_open()->cublasLtGetStatusName(status));
  return 1;
}
