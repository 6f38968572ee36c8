/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A driver without a device, linked as a shared library with the name libcuda.so.1.  cuDNN builds a plan by
 * compiling its kernels and loading them as a library of the driver: here loading notes their names, read
 * from the section names of the image (an ELF file; ".text.NAME" holds kernel NAME).  Everything else that
 * cuDNN looks up succeeds and does nothing.  Only cudnn_plans.c uses it. */

#define FC_EXPORT __attribute__((visibility("default")))

typedef struct elf64 { /* the few members of an ELF header that matter here, at their offsets */
  unsigned char identity[16], skipped[24];
  unsigned long section_headers;
  unsigned char skipped_too[10];
  unsigned short section_size, sections, names;
} elf64;

typedef struct elf64_section {
  unsigned name, type;
  unsigned long flags, address, offset, size;
  unsigned char skipped[24];
} elf64_section;

static char kernels[1024];

static void note_kernel(const char *name) {
  size_t used = strlen(kernels);
  if (!strstr(kernels, name))
    (void)snprintf(kernels + used, sizeof kernels - used, "%s%s", used ? " " : "", name);
}

static void note_kernels(const void *image) {
  const unsigned char *base = image;
  elf64 head;
  memcpy(&head, base, sizeof head);
  if (memcmp(head.identity, "\177ELF", 4) != 0 || head.names >= head.sections) return;
  elf64_section names, section;
  memcpy(&names, base + head.section_headers + (size_t)head.names * head.section_size, sizeof names);
  for (unsigned i = 0; i < head.sections; i++) {
    memcpy(&section, base + head.section_headers + (size_t)i * head.section_size, sizeof section);
    const char *name = (const char *)base + names.offset + section.name;
    if (strncmp(name, ".text.", 6) == 0) note_kernel(name + 6);
  }
}

FC_EXPORT const char *fake_cuda_kernels(void);
FC_EXPORT void fake_cuda_forget(void);
FC_EXPORT int cuLibraryLoadData(void **library, const void *image);
FC_EXPORT int cuModuleLoadData(void **module, const void *image);
FC_EXPORT int cuDriverGetVersion(int *version);
FC_EXPORT int cuLibraryGetKernel(void **kernel);
FC_EXPORT int cuModuleGetFunction(void **function);

const char *fake_cuda_kernels(void) {
  return kernels;
}

void fake_cuda_forget(void) {
  kernels[0] = '\0';
}

int cuLibraryLoadData(void **library, const void *image) {
  note_kernels(image);
  *library = kernels; /* any address that is not NULL */
  return 0;
}

int cuModuleLoadData(void **module, const void *image) {
  return cuLibraryLoadData(module, image);
}

int cuDriverGetVersion(int *version) {
  *version = 13000;
  return 0;
}

int cuLibraryGetKernel(void **kernel) {
  *kernel = kernels;
  return 0;
}

int cuModuleGetFunction(void **function) {
  return cuLibraryGetKernel(function);
}

/* the System V calling convention lets a callee ignore its arguments */
#define FC_SUCCEEDS(name)                                                                                    \
  FC_EXPORT int name(void);                                                                                  \
  int name(void) {                                                                                           \
    return 0;                                                                                                \
  }
FC_SUCCEEDS(cuGetErrorName)
FC_SUCCEEDS(cuGetErrorString)
FC_SUCCEEDS(cuLaunchKernel)
FC_SUCCEEDS(cuLaunchKernelEx)
FC_SUCCEEDS(cuLaunchCooperativeKernel)
FC_SUCCEEDS(cuLibraryLoadFromFile)
FC_SUCCEEDS(cuLibraryUnload)
FC_SUCCEEDS(cuModuleUnload)
FC_SUCCEEDS(cuKernelSetAttribute)
FC_SUCCEEDS(cuKernelGetAttribute)
FC_SUCCEEDS(cuKernelGetFunction)
FC_SUCCEEDS(cuFuncSetAttribute)
FC_SUCCEEDS(cuFuncGetAttribute)
FC_SUCCEEDS(cuFuncGetName)
FC_SUCCEEDS(cuTensorMapEncodeTiled)
FC_SUCCEEDS(cuTensorMapEncodeIm2col)
FC_SUCCEEDS(cuCtxGetCurrent)
FC_SUCCEEDS(cuCtxGetLimit)
FC_SUCCEEDS(cuCtxPopCurrent)
FC_SUCCEEDS(cuCtxPushCurrent)
FC_SUCCEEDS(cuStreamGetCtx)
FC_SUCCEEDS(cuLinkCreate)
FC_SUCCEEDS(cuLinkAddData)
FC_SUCCEEDS(cuLinkComplete)
FC_SUCCEEDS(cuLinkDestroy)
FC_SUCCEEDS(cuDeviceGetCount)
FC_SUCCEEDS(cuDeviceGet)
FC_SUCCEEDS(cuDeviceGetAttribute)
FC_SUCCEEDS(cuOccupancyMaxPotentialClusterSize)
FC_SUCCEEDS(cuOccupancyMaxActiveClusters)
FC_SUCCEEDS(cuOccupancyMaxActiveBlocksPerMultiprocessor)
FC_SUCCEEDS(cuOccupancyAvailableDynamicSMemPerBlock)
FC_SUCCEEDS(cuGraphAddKernelNode_v2)
FC_SUCCEEDS(cuGraphKernelNodeSetAttribute)
FC_SUCCEEDS(cuGraphKernelNodeSetParams_v2)
FC_SUCCEEDS(cuGraphAddDependencies)
FC_SUCCEEDS(cuGraphAddDependencies_v2)
FC_SUCCEEDS(cuGraphNodeGetDependentNodes)
FC_SUCCEEDS(cuGraphNodeGetDependentNodes_v2)
