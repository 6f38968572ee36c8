/* SPDX-License-Identifier: Apache-2.0 */
#include "step_table_private.h"

#include <math.h>

#include <fleetcast/base/assert.h>

enum { CAPTURED = 512 };

/* Largest padded batch: capture sizes, see fc_step_table_def. */
int64_t fc_step_padded(const fc_step_table_def *def, int64_t b) {
  if (!def->graph_padding || b > CAPTURED) return b;
  if (b <= 2) return b;
  return b <= 4 ? 4 : (b + 7) / 8 * 8;
}

fc_serve_load fc_step_load(const fc_step_table_def *def, const fc_step_work *w) {
  double g = (double)def->groups;
  fc_serve_load load = {.decode_requests = g * w->decode, .query_tokens = def->query_tokens};
  if (w->decode > 0) load.decode_context = w->decode_context / w->decode;
  if (!(w->prefill > 0)) return load;
  double prompts = w->prompts > 0 ? w->prompts : 1;
  load.prefill_tokens = g * w->prefill;
  load.prefill_requests = g * prompts;
  load.prefill_context = fmax(0, w->pairs / w->prefill - 0.5 * (w->prefill / prompts + 1));
  return load;
}

/* --- reading --- */

static double head_more(const fc_step_table *t, double sequences) {
  double r = ceil(sequences);
  return t->head_ns[r >= t->heads ? t->heads : r < 1 ? 0 : (int)r];
}

fc_mixed_step fc_step_table_mixed(const fc_step_table *t, const fc_step_work *w) {
  bool mixed = w->decode > 0;
  double q = t->def.query_tokens, m = w->prefill + w->decode * q;
  fc_mixed_step s = {.table = mixed ? &t->mixed : &t->prefill};
  const fc_token_table *k = s.table;
  int64_t last = k->at[k->n - 1], whole = (int64_t)m;
  s.node = k->segment[whole < 1 ? 1 : whole > last ? last : whole];
  double dm = m - k->at[s.node];
  s.weight = dm / (double)(k->at[s.node + 1] - k->at[s.node]);
  s.cell = fc_cells_at(t, w->prefill, w->pairs / w->prefill);
  s.head = head_more(t, w->decode * q + w->prompts);
  if (mixed) {
    int64_t b = (int64_t)ceil(w->decode);
    if (b > t->def.max_batch) b = t->def.max_batch;
    int i = fc_log_grid_find(&t->x, w->decode_context);
    s.core = fc_rows_at(t->core, t->x.n, t->exact[b], i, w->decode_context - t->x.at[i]);
    s.head += (q - 1) * head_more(t, w->decode) - head_more(t, q + 1);
    s.cell *= t->cell_factor;
  }
  s.busy = k->busy[s.node].value + k->busy[s.node].slope * dm + s.core + s.cell + s.head;
  double hidden = k->hidden[s.node].value + k->hidden[s.node].slope * dm;
  s.exposed = hidden > s.busy ? hidden - s.busy : 0;
  s.ns = k->fixed[s.node].value + k->fixed[s.node].slope * dm + s.busy + s.exposed;
  return s;
}

/* A group's share; batches are whole there. */
static fc_step_work share(const fc_step_table *t, const fc_step_work *w) {
  double g = (double)t->def.groups;
  return (fc_step_work){ceil(w->decode / g), w->decode_context / g, w->prefill / g, w->prompts / g,
                        w->pairs / g};
}

double fc_step_group_seconds(const fc_step_table *t, const fc_step_work *s) {
  if (s->prefill > 0) return 1e-9 * fc_step_table_mixed(t, s).ns;
  int64_t b = (int64_t)s->decode;
  FC_ASSERT(b >= 1 && b <= t->def.max_batch);
  int i = fc_log_grid_find(&t->x, s->decode_context);
  return 1e-9 * fc_rows_at(t->decode, t->x.n, t->padded[b], i, s->decode_context - t->x.at[i]);
}

double fc_step_table_seconds(const fc_step_table *t, const fc_step_work *work) {
  fc_step_work s = share(t, work);
  return fc_step_group_seconds(t, &s);
}

/* What the table stands for: padded as an engine pads. */
fc_status fc_step_group_direct(const fc_step_table *t, fc_serve_iteration *out,
                               const fc_step_work *share_of) {
  fc_step_work s = *share_of;
  if (!(s.prefill > 0)) s.decode = (double)fc_step_padded(&t->def, (int64_t)s.decode);
  fc_serve_load load = fc_step_load(&t->def, &s);
  return t->def.step(t->def.context, out, &load);
}

fc_status fc_step_table_direct(const fc_step_table *t, fc_serve_iteration *out, const fc_step_work *work) {
  fc_step_work s = share(t, work);
  return fc_step_group_direct(t, out, &s);
}

/* --- functions --- */

static fc_status of_model(const void *context, fc_serve_iteration *out, const fc_serve_load *load) {
  const fc_step_model *m = context;
  const fc_step_source *s = &m->source;
  if (!m->experts) return fc_cost_serve_iteration(out, s->model, s->profile, &m->plan, load);
  fc_serve_plan plan = m->plan;
  double groups = (double)(plan.attention_dp * fc_serve_stages(&plan));
  double queries = load->query_tokens > 0 ? load->query_tokens : 1;
  plan.busiest =
      fc_expert_load_mean(m->experts, (load->decode_requests * queries + load->prefill_tokens) / groups);
  return fc_cost_serve_iteration(out, s->model, s->profile, &plan, load);
}

fc_status fc_step_table_of_model(fc_step_table **out, const fc_step_table_def *def,
                                 const fc_step_source *source) {
  *out = NULL;
  fc_status status = fc_serve_plan_check(source->model, source->plan, NULL);
  if (status != FC_OK) return status;
  fc_step_model model = {.source = *source, .plan = *source->plan, .experts = def->experts};
  fc_step_table_def d = *def;
  d.step = of_model;
  d.context = &model;
  d.devices = source->plan->devices;
  d.stages = fc_serve_stages(source->plan);
  d.groups = source->plan->attention_dp * d.stages;
  d.idle_w = source->profile->device->idle_w;
  status = fc_step_table_new(out, &d);
  if (status != FC_OK) return status;
  (*out)->model = model; /* the caller's may go */
  (*out)->def.context = &(*out)->model;
  return FC_OK;
}

fc_status fc_step_linear(const void *coefficients, fc_serve_iteration *out, const fc_serve_load *load) {
  const fc_step_coefficients *c = coefficients;
  *out = (fc_serve_iteration){.host_s = c->base_s};
  out->attention_s =
      load->decode_requests * (c->decode_request_s + load->decode_context * c->decode_context_s);
  if (load->prefill_tokens > 0) {
    double q =
        load->prefill_requests > 0 ? load->prefill_tokens / load->prefill_requests : load->prefill_tokens;
    double keys = load->prefill_context + 0.5 * (q + 1);
    out->attention_s += load->prefill_tokens * (c->prefill_token_s + keys * c->prefill_pair_s);
  }
  out->seconds = out->host_s + out->attention_s;
  return FC_OK;
}

fc_step_table_error fc_step_table_measured_error(const fc_step_table *t) {
  return t->error;
}
int64_t fc_step_table_groups(const fc_step_table *t) {
  return t->def.groups;
}
int64_t fc_step_table_devices(const fc_step_table *t) {
  return t->def.devices;
}
