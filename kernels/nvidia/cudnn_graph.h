/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_NVIDIA_CUDNN_GRAPH_H
#define FC_NVIDIA_CUDNN_GRAPH_H

#include "dynamic.h"

#if defined(FC_HAVE_CUDNN)

/** A graph of cuDNN operations through the C backend API (cudnn_backend.h): tensors, operations, plan,
 *  execution. Errors stick: the first one is kept in `why`, later calls do nothing, and plan() reports it.
 *
 *  Tensors have four dimensions and are named by a number > 0; 0 is "none".  A virtual tensor lives only
 *  inside the graph.  Scalars are read from the host when the graph runs. */

enum { FC_DNN_TENSORS = 80, FC_DNN_OPERATIONS = 48, FC_DNN_KEPT = 160 };

typedef struct fc_dnn_shape {
  int64_t dim[4], stride[4]; /* elements */
} fc_dnn_shape;

typedef union fc_dnn_scalar {
  float f;
  int32_t i;
} fc_dnn_scalar;

typedef struct fc_dnn_graph {
  const fc_cudnn *lib;
  bool failed;
  char why[FC_WHY];
  size_t n_tensors, n_operations, n_kept;
  cudnnBackendDescriptor_t tensor[FC_DNN_TENSORS], operation[FC_DNN_OPERATIONS];
  cudnnBackendDescriptor_t kept[FC_DNN_KEPT]; /* all descriptors, in the order they were made */
  fc_dnn_shape shape[FC_DNN_TENSORS];
  void *address[FC_DNN_TENSORS];
  bool is_virtual[FC_DNN_TENSORS];
  fc_dnn_scalar scalar[FC_DNN_TENSORS];
  cudnnBackendDescriptor_t plan;
  int64_t workspace_bytes, engine; /* of the plan; cuDNN's number of the engine */
} fc_dnn_graph;

void fc_dnn_init(fc_dnn_graph *g, const fc_cudnn *lib);
void fc_dnn_fini(fc_dnn_graph *g);

/** Contiguous, last dimension fastest. */
fc_dnn_shape fc_dnn_packed(int64_t d0, int64_t d1, int64_t d2, int64_t d3);
/** The same memory with its last two dimensions exchanged. */
fc_dnn_shape fc_dnn_transposed(fc_dnn_shape s);

int fc_dnn_tensor(fc_dnn_graph *g, cudnnDataType_t type, fc_dnn_shape shape);
int fc_dnn_virtual(fc_dnn_graph *g, cudnnDataType_t type, fc_dnn_shape shape);
int fc_dnn_float(fc_dnn_graph *g, float value);
int fc_dnn_int(fc_dnn_graph *g, int32_t value);

/** y = mode(x, b), or select: t ? x : b.  y 0: a new virtual tensor shaped as x, of type `out`.  @return y */
typedef struct fc_dnn_pointwise {
  cudnnPointwiseMode_t mode;
  int x, b, t, y;
  cudnnDataType_t compute, out; /* 0: CUDNN_DATA_FLOAT */
  int64_t axis;                 /* of CUDNN_POINTWISE_GEN_INDEX */
} fc_dnn_pointwise;
int fc_dnn_pointwise_add(fc_dnn_graph *g, fc_dnn_pointwise op);

/** c = a b, batched over the first two dimensions (a smaller number of heads in b is shared).  m, n, k: 0, or
 * tensors with each batch's actual sizes. */
void fc_dnn_matmul_add(fc_dnn_graph *g, int a, int b, int c, int m, int n, int k);
/** Reduces over the dimensions that are shorter in y. */
void fc_dnn_reduce_add(fc_dnn_graph *g, cudnnReduceTensorOp_t op, int x, int y);
void fc_dnn_reshape_add(fc_dnn_graph *g, int x, int y);
/** y = the pages of `container` that `table` names, `lengths` rows of each batch. */
void fc_dnn_paged_add(fc_dnn_graph *g, int container, int lengths, int table, int y);

/** Chooses an engine: heuristic A first, then the fallback list, the first
 *  whose plan can be built.  Exactly one of handle and device is given; device:
 *  a finalised CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, for machines without a GPU.
 *  @return 0, or 1 with the reason in g->why */
int fc_dnn_plan(fc_dnn_graph *g, cudnnHandle_t handle, cudnnBackendDescriptor_t device);

/** Where a tensor lies; before pack(). */
void fc_dnn_bind(fc_dnn_graph *g, int tensor, void *address);
/** Collects the bound addresses for execute(): one plan
 *  serves many.  The caller destroys `pack` before the graph.
 *  @return 0, or 1 with the reason in g->why */
int fc_dnn_pack(fc_dnn_graph *g, void *workspace, cudnnBackendDescriptor_t *pack);
/** Queues the plan on the stream.  @return 0 or a cudnnStatus_t */
int fc_dnn_execute(const fc_dnn_graph *g, cudnnBackendDescriptor_t pack, cudnnHandle_t handle,
                   fc_queue queue);

#endif
#endif
