/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_NVIDIA_DYNAMIC_H
#define FC_NVIDIA_DYNAMIC_H

#include <stddef.h>

/** NVIDIA's libraries, opened at run time: cuBLASLt alone is half a gigabyte,
 *  and a program that only simulates must start without it.  A library that
 *  is absent is a reason, not a failure.  Headers are needed to build.
 *
 *  The tables below are the one state of this folder: filled once, on first use
 *  (thread-safe), never changed after that, kept to the end of the process.  What is
 *  made on the device (the handles, the work space that all products share) is made
 *  once, too, by the first prepare(); launches on one queue at a time may use it. */

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#if defined(__has_include)
#if __has_include(<cudnn_backend.h>)
#define FC_HAVE_CUDNN 1
#include <cudnn_backend.h>
#endif
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <fleetcast/kernels/implementation.h>

/* NOLINTNEXTLINE(bugprone-macro-parentheses): a member's name */
#define FC_DYNAMIC_MEMBER(name) __typeof__(name) *name;

/* --- cuBLASLt --- */

#define FC_CUBLASLT_MAP(X)                                                                                   \
  X(cublasLtGetVersion)                                                                                      \
  X(cublasLtGetStatusName)                                                                                   \
  X(cublasLtCreate)                                                                                          \
  X(cublasLtMatmulDescCreate)                                                                                \
  X(cublasLtMatmulDescDestroy)                                                                               \
  X(cublasLtMatmulDescSetAttribute)                                                                          \
  X(cublasLtMatrixLayoutCreate)                                                                              \
  X(cublasLtMatrixLayoutDestroy)                                                                             \
  X(cublasLtMatrixLayoutSetAttribute)                                                                        \
  X(cublasLtMatmulPreferenceCreate)                                                                          \
  X(cublasLtMatmulPreferenceDestroy)                                                                         \
  X(cublasLtMatmulPreferenceSetAttribute)                                                                    \
  X(cublasLtMatmulAlgoGetHeuristic)                                                                          \
  X(cublasLtMatmul)

typedef struct fc_cublaslt {
  char missing[FC_WHY]; /* why it cannot be used; "": it can */
  size_t version;       /* 10000 major + 100 minor + patch */
  FC_CUBLASLT_MAP(FC_DYNAMIC_MEMBER)
} fc_cublaslt;

/** Borrowed; never NULL. */
const fc_cublaslt *fc_cublaslt_open(void);

/** Work space of cuBLASLt's products, one after another in a queue.  A choice, not a documented figure: room
 * for the binary32 parts of a split-K product of 4096 x 4096. */
#define FC_CUBLASLT_WORKSPACE ((size_t)64 << 20)

typedef struct fc_cublaslt_device {
  char missing[FC_WHY]; /* "": ready */
  cublasLtHandle_t handle;
  void *workspace; /* FC_CUBLASLT_WORKSPACE bytes, on the device that was current at first use */
} fc_cublaslt_device;

/** Handle and work space, made on first use on the current device.  Borrowed; never NULL. */
const fc_cublaslt_device *fc_cublaslt_device_open(void);

/* --- cuDNN --- */

#if defined(FC_HAVE_CUDNN)

#define FC_CUDNN_MAP(X)                                                                                      \
  X(cudnnGetVersion)                                                                                         \
  X(cudnnGetErrorString)                                                                                     \
  X(cudnnGetLastErrorString)                                                                                 \
  X(cudnnCreate)                                                                                             \
  X(cudnnSetStream)                                                                                          \
  X(cudnnBackendCreateDescriptor)                                                                            \
  X(cudnnBackendDestroyDescriptor)                                                                           \
  X(cudnnBackendFinalize)                                                                                    \
  X(cudnnBackendSetAttribute)                                                                                \
  X(cudnnBackendGetAttribute)                                                                                \
  X(cudnnBackendExecute)

typedef struct fc_cudnn {
  char missing[FC_WHY]; /* why it cannot be used; "": it can */
  size_t version;       /* 10000 major + 100 minor + patch */
  FC_CUDNN_MAP(FC_DYNAMIC_MEMBER)
} fc_cudnn;

/** Borrowed; never NULL. */
const fc_cudnn *fc_cudnn_open(void);

typedef struct fc_cudnn_device {
  char missing[FC_WHY]; /* "": ready */
  cudnnHandle_t handle;
} fc_cudnn_device;

/** The handle, made on first use on the current device.  Borrowed; never NULL. */
const fc_cudnn_device *fc_cudnn_device_open(void);

#endif

/** What is there, for the `library` column: "cuBLASLt 13.1.0, cuDNN 9.19.0"; absent ones are left out. */
void fc_nvidia_versions(char *text, size_t size);

/** "FUNCTION: reason" into why [FC_WHY], for CUDA's and
 *  cuBLASLt's statuses.  @return 1, for prepare() to pass on */
int fc_cuda_failed(const char *what, cudaError_t error, char *why);
int fc_cublaslt_failed(const char *what, cublasStatus_t status, char *why);

#endif
