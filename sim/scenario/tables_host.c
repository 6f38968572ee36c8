/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <fleetcast/scenario/serve.h>

#include "input.h"
#include "tables_serve.h"

/* An engine by name and its overheads: kinds serve and plan. */

#define AT(member) .offset = offsetof(fc_serve_host, member)
#define HOST(name, at, words)                                                                                \
  {                                                                                                          \
    .key = (name), .kind = FC_FIELD_NUMBER, AT(at), .dim = DIM_SECONDS, .min = 0, .max = 10,                 \
    .example = "50 us", .help = words "; absent: the engine's."                                              \
  }
#define FACTOR(name, low, high, words)                                                                       \
  {                                                                                                          \
    .key = #name, .kind = FC_FIELD_NUMBER, AT(name), .min = (low), .max = (high), .example = "0.7",          \
    .help = words "; absent: the engine's."                                                                  \
  }

static const fc_field host_fields[] = {
    FACTOR(glue, 1e-3, 10, "Measured operators: factor on small kernels and on the gaps between kernels"),
    FACTOR(collective, 1e-3, 10, "Measured operators: factor on NCCL's times of tensor parallelism"),
    HOST("step", step_s,
         "An iteration; in place of the profile's where operators are measured, else beside it"),
    HOST("request", request_s, "A request of an attention group in an iteration: each group has a scheduler"),
    HOST("token", token_s, "A token that an iteration yields: detokenising"),
    HOST("eager_layer", eager_layer_s,
         "Measured operators: launching a layer of latent attention where prompts are in the iteration"),
    HOST("ingress", ingress_s, "A request on its way to the scheduler, beside front"),
    HOST("egress", egress_s, "From the end of an iteration until the client has the token"),
    HOST("front", front_s, "Before the scheduler sees a request: HTTP, tokeniser"),
    HOST("front_request", front_request_s, "Before the first token, for each request in the instance"),
    FACTOR(steps_ahead, 0, 100, "Iterations that are queued already when a request comes"),
};
const fc_schema fc_schema_host = {"host",
                                  "Overheads beside the kernels; fitted values: docs/validate.md#overheads.",
                                  sizeof(fc_serve_host),
                                  FC_COUNT_OF(host_fields),
                                  host_fields,
                                  NULL};

const char *const fc_engine_words[FC_ENGINES] = {"none", "vllm", "sglang", "trtllm"};
const char *const fc_operators_words[2] = {"measured", "forms"};

static fc_serve_host host_of(fc_engine_word engine) {
  fc_engine e;
  if (engine == FC_ENGINE_NONE || !fc_engine_named(&e, fc_engine_words[engine]))
    return (fc_serve_host){.glue = 1, .collective = 1};
  return (fc_serve_host){.glue = e.glue,
                         .collective = e.collective,
                         .step_s = e.step_s,
                         .request_s = e.request_s,
                         .eager_layer_s = e.eager_layer_s,
                         .ingress_s = e.way_s,
                         .egress_s = e.way_s,
                         .front_s = e.front_s,
                         .front_request_s = e.front_request_s,
                         .steps_ahead = e.steps_ahead};
}

void fc_fill_host(fc_serve_host *host, fc_engine_word engine, const fc_node *map) {
  fc_serve_host from = host_of(engine);
  for (size_t i = 0; i < FC_COUNT_OF(host_fields); i++)
    if (!map || !fc_node_find(map, host_fields[i].key))
      memcpy((char *)host + host_fields[i].offset, (const char *)&from + host_fields[i].offset,
             sizeof(double));
}

fc_engine fc_serve_host_engine(const fc_serve_host *h, fc_engine_word engine) {
  fc_engine e;
  if (engine == FC_ENGINE_NONE || !fc_engine_named(&e, fc_engine_words[engine]))
    e = (fc_engine){.name = "none", .gemm = "bf16", .experts = "bf16", .kv = "bf16"};
  e.glue = h->glue;
  e.collective = h->collective;
  e.step_s = h->step_s;
  e.request_s = h->request_s;
  e.eager_layer_s = h->eager_layer_s;
  e.way_s = h->egress_s;
  e.front_s = h->front_s + h->ingress_s - h->egress_s;
  e.front_request_s = h->front_request_s;
  e.steps_ahead = h->steps_ahead;
  return e;
}

void fc_default_profile(fc_reader *r, const fc_profile **profile, const fc_node *map) {
  const fc_node *device = fc_node_find(map, "device"), *stated = fc_node_find(map, "profile");
  if (!stated) {
    const void *found = NULL;
    fc_status status = fc_input_resolve(r->input, FC_INPUT_PROFILE, device->text, device, &found);
    if (status != FC_OK) (void)fc_reader_fail(r, status);
    *profile = found;
  }
  if (*profile && strcmp((*profile)->device_name, device->text) != 0)
    (void)fc_reader_error(r, stated ? stated : device, "profile '%.48s' is of device '%.48s', not '%.48s'",
                          (*profile)->name, (*profile)->device_name, device->text);
}
