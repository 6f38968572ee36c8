/* SPDX-License-Identifier: Apache-2.0 */
#include "cudnn_graph.h"

#if defined(FC_HAVE_CUDNN)

#include <stdio.h>
#include <string.h>

/* --- descriptors --- */

static void fail(fc_dnn_graph *g, const char *what, cudnnStatus_t status) {
  if (g->failed || status == CUDNN_STATUS_SUCCESS) return;
  char detail[256] = "";
  g->lib->cudnnGetLastErrorString(detail, sizeof detail);
  g->failed = true;
  (void)snprintf(g->why, FC_WHY, "%s: %s%s%.90s", what, g->lib->cudnnGetErrorString(status),
                 detail[0] ? ": " : "", detail);
}

/* The graph owns it; NULL on failure. */
static cudnnBackendDescriptor_t make(fc_dnn_graph *g, cudnnBackendDescriptorType_t type, const char *what) {
  cudnnBackendDescriptor_t d = NULL;
  if (g->failed) return NULL;
  if (g->n_kept == FC_DNN_KEPT)
    fail(g, "graph too large", CUDNN_STATUS_INTERNAL_ERROR);
  else
    fail(g, what, g->lib->cudnnBackendCreateDescriptor(type, &d));
  if (g->failed) return NULL;
  g->kept[g->n_kept++] = d;
  return d;
}

static void set(fc_dnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *value) {
  if (g->failed) return;
  char what[48];
  (void)snprintf(what, sizeof what, "cuDNN attribute %d", (int)name);
  fail(g, what, g->lib->cudnnBackendSetAttribute(d, name, type, n, value));
}

static void set_descriptor(fc_dnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value) {
  set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalise(fc_dnn_graph *g, cudnnBackendDescriptor_t d, const char *what) {
  if (!g->failed) fail(g, what, g->lib->cudnnBackendFinalize(d));
}

void fc_dnn_init(fc_dnn_graph *g, const fc_cudnn *lib) {
  memset(g, 0, sizeof *g);
  g->lib = lib;
  g->n_tensors = 1; /* 0 is "none" */
}

void fc_dnn_fini(fc_dnn_graph *g) {
  while (g->n_kept > 0) g->lib->cudnnBackendDestroyDescriptor(g->kept[--g->n_kept]);
}

/* --- tensors --- */

fc_dnn_shape fc_dnn_packed(int64_t d0, int64_t d1, int64_t d2, int64_t d3) {
  return (fc_dnn_shape){{d0, d1, d2, d3}, {d1 * d2 * d3, d2 * d3, d3, 1}};
}

fc_dnn_shape fc_dnn_transposed(fc_dnn_shape s) {
  return (fc_dnn_shape){{s.dim[0], s.dim[1], s.dim[3], s.dim[2]},
                        {s.stride[0], s.stride[1], s.stride[3], s.stride[2]}};
}

static int add_tensor(fc_dnn_graph *g, cudnnDataType_t type, fc_dnn_shape shape, bool is_virtual,
                      bool by_value) {
  if (!g->failed && g->n_tensors == FC_DNN_TENSORS) fail(g, "graph too large", CUDNN_STATUS_INTERNAL_ERROR);
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "tensor");
  if (!d) return 0;
  size_t i = g->n_tensors++;
  int64_t id = (int64_t)i, alignment = 16;
  g->tensor[i] = d;
  g->shape[i] = shape;
  g->is_virtual[i] = is_virtual;
  set(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
  set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, shape.dim);
  set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, shape.stride);
  set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
  set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
  if (is_virtual) set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  if (by_value) set(g, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
  finalise(g, d, "tensor");
  return g->failed ? 0 : (int)i;
}

int fc_dnn_tensor(fc_dnn_graph *g, cudnnDataType_t type, fc_dnn_shape shape) {
  return add_tensor(g, type, shape, false, false);
}

int fc_dnn_virtual(fc_dnn_graph *g, cudnnDataType_t type, fc_dnn_shape shape) {
  return add_tensor(g, type, shape, true, false);
}

int fc_dnn_float(fc_dnn_graph *g, float value) {
  int i = add_tensor(g, CUDNN_DATA_FLOAT, fc_dnn_packed(1, 1, 1, 1), false, true);
  g->scalar[i].f = value;
  g->address[i] = &g->scalar[i];
  return i;
}

int fc_dnn_int(fc_dnn_graph *g, int32_t value) {
  int i = add_tensor(g, CUDNN_DATA_INT32, fc_dnn_packed(1, 1, 1, 1), false, true);
  g->scalar[i].i = value;
  g->address[i] = &g->scalar[i];
  return i;
}

/* --- operations --- */

/* A descriptor's tensor attribute; 0 leaves it out. */
static void set_tensor(fc_dnn_graph *g, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                       int tensor) {
  if (tensor > 0) set_descriptor(g, d, name, g->tensor[tensor]);
}

static void add_operation(fc_dnn_graph *g, cudnnBackendDescriptor_t d, const char *what) {
  finalise(g, d, what);
  if (!g->failed && g->n_operations == FC_DNN_OPERATIONS)
    fail(g, "graph too large", CUDNN_STATUS_INTERNAL_ERROR);
  if (!g->failed) g->operation[g->n_operations++] = d;
}

int fc_dnn_pointwise_add(fc_dnn_graph *g, fc_dnn_pointwise op) {
  if (!op.y) op.y = fc_dnn_virtual(g, op.out, g->shape[op.x]);
  cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "pointwise");
  set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &op.mode);
  set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &op.compute);
  if (op.mode == CUDNN_POINTWISE_GEN_INDEX)
    set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &op.axis);
  finalise(g, how, "pointwise");
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "pointwise");
  set_descriptor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, op.x);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, op.b);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, op.t);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, op.y);
  add_operation(g, d, "pointwise operation");
  return op.y;
}

void fc_dnn_matmul_add(fc_dnn_graph *g, int a, int b, int c, int m, int n, int k) {
  cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  double padding = 0;
  cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR, "matmul");
  set(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
  if (m || n || k) set(g, how, CUDNN_ATTR_MATMUL_PADDING_VALUE, CUDNN_TYPE_DOUBLE, 1, &padding);
  finalise(g, how, "matmul");
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "matmul");
  set_descriptor(g, d, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, m);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, n);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, k);
  add_operation(g, d, "matmul operation");
}

void fc_dnn_reduce_add(fc_dnn_graph *g, cudnnReduceTensorOp_t op, int x, int y) {
  cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  cudnnBackendDescriptor_t how = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "reduction");
  set(g, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &op);
  set(g, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &compute);
  finalise(g, how, "reduction");
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "reduction");
  set_descriptor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
  add_operation(g, d, "reduction operation");
}

void fc_dnn_reshape_add(fc_dnn_graph *g, int x, int y) {
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "reshape");
  set_tensor(g, d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
  add_operation(g, d, "reshape operation");
}

void fc_dnn_paged_add(fc_dnn_graph *g, int container, int lengths, int table, int y) {
  cudnnBackendDescriptor_t d = make(g, CUDNN_BACKEND_OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR, "paged cache");
  set_tensor(g, d, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC, container);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC, lengths);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC, table);
  set_tensor(g, d, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, y);
  add_operation(g, d, "paged cache operation");
}

/* --- plan --- */

enum { CONFIGS = 16 };

/* The engine configurations that a heuristic proposes, best first; the caller destroys them. */
static int64_t propose(fc_dnn_graph *g, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode,
                       cudnnBackendDescriptor_t device, cudnnBackendDescriptor_t *config) {
  cudnnBackendDescriptor_t h = make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristic");
  set_descriptor(g, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set(g, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (device) set_descriptor(g, h, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
  finalise(g, h, "heuristic");
  int64_t n = 0, made = 0;
  for (; !g->failed && made < CONFIGS; made++) {
    fail(g, "engine configuration",
         g->lib->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[made]));
    if (g->failed) break;
  }
  if (!g->failed)
    fail(g, "heuristic's results",
         g->lib->cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                          CONFIGS, &n, config));
  if (g->failed || n > CONFIGS) n = g->failed ? 0 : CONFIGS;
  for (int64_t i = n; i < made; i++) g->lib->cudnnBackendDestroyDescriptor(config[i]);
  return n;
}

static int64_t engine_of(const fc_dnn_graph *g, cudnnBackendDescriptor_t config) {
  cudnnBackendDescriptor_t engine = NULL;
  int64_t n = 0, index = -1;
  if (g->lib->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != CUDNN_STATUS_SUCCESS)
    return -1;
  if (g->lib->cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                       &n, &engine) == CUDNN_STATUS_SUCCESS)
    (void)g->lib->cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n,
                                           &index);
  g->lib->cudnnBackendDestroyDescriptor(engine);
  return index;
}

/* Tries one configuration; a refusal is noted for the next to overwrite. */
static bool build(fc_dnn_graph *g, cudnnBackendDescriptor_t config, cudnnHandle_t handle,
                  cudnnBackendDescriptor_t device) {
  cudnnBackendDescriptor_t plan = make(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "plan");
  set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  if (device)
    set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
  else
    set(g, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  finalise(g, plan, "plan");
  int64_t n = 0;
  if (!g->failed)
    fail(g, "work space of the plan",
         g->lib->cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                          &n, &g->workspace_bytes));
  if (g->failed) return false;
  g->plan = plan;
  g->engine = engine_of(g, config);
  return true;
}

static bool try_mode(fc_dnn_graph *g, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode,
                     cudnnHandle_t handle, cudnnBackendDescriptor_t device) {
  cudnnBackendDescriptor_t config[CONFIGS];
  int64_t n = propose(g, graph, mode, device, config);
  bool built = false;
  for (int64_t i = 0; i < n; i++) {
    if (!built) {
      g->failed = false;
      built = build(g, config[i], handle, device);
    }
    g->lib->cudnnBackendDestroyDescriptor(config[i]);
  }
  if (!built && !g->failed) fail(g, "no engine for this graph", CUDNN_STATUS_NOT_SUPPORTED);
  return built;
}

int fc_dnn_plan(fc_dnn_graph *g, cudnnHandle_t handle, cudnnBackendDescriptor_t device) {
  cudnnBackendDescriptor_t graph = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operation graph");
  set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, (int64_t)g->n_operations,
      g->operation);
  if (!device) set(g, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  finalise(g, graph, "operation graph");
  if (g->failed) return 1;
  if (try_mode(g, graph, CUDNN_HEUR_MODE_A, handle, device)) return 0;
  g->failed = false;
  return try_mode(g, graph, CUDNN_HEUR_MODE_FALLBACK, handle, device) ? 0 : 1;
}

/* --- execution --- */

void fc_dnn_bind(fc_dnn_graph *g, int tensor, void *address) {
  g->address[tensor] = address;
}

int fc_dnn_pack(fc_dnn_graph *g, void *workspace, cudnnBackendDescriptor_t *pack) {
  int64_t id[FC_DNN_TENSORS], n = 0;
  void *address[FC_DNN_TENSORS];
  for (size_t i = 1; i < g->n_tensors; i++) {
    if (g->is_virtual[i]) continue;
    id[n] = (int64_t)i;
    address[n++] = g->address[i];
  }
  cudnnBackendDescriptor_t d = NULL;
  *pack = NULL;
  g->failed = false;
  fail(g, "variant pack", g->lib->cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &d));
  set(g, d, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, id);
  set(g, d, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, address);
  set(g, d, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  finalise(g, d, "variant pack");
  if (g->failed && d)
    g->lib->cudnnBackendDestroyDescriptor(d);
  else
    *pack = d;
  return g->failed ? 1 : 0;
}

int fc_dnn_execute(const fc_dnn_graph *g, cudnnBackendDescriptor_t pack, cudnnHandle_t handle,
                   fc_queue queue) {
  cudnnStatus_t status = g->lib->cudnnSetStream(handle, queue);
  if (status == CUDNN_STATUS_SUCCESS) status = g->lib->cudnnBackendExecute(handle, g->plan, pack);
  return (int)status;
}

#else

/* built without cudnn_backend.h; ISO C wants a translation unit to declare something */
typedef int fc_dnn_graph_absent;

#endif
