/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_SERVE_TEXT_H
#define FC_TESTS_SERVE_TEXT_H

/** A serve file that uses every key. */
static const char everything[] =
    "kind: serve\nname: all\nquestion: \"how fast?\"\nseed: 7\nmodel: tiny\ndevice: alpha\nprofile: alpha\n"
    "plan: {devices: 2, tp: 1, attention_dp: 2, gemm: fp8, kv: fp8, memory_fraction: 80 %}\n"
    "engine:\n"
    "  scheduler: {policy: sglang, max_batch: 64, token_budget: 1024, mixed: false, chunked: true,\n"
    "              reserve: expected, watermark: 1 %, reserve_start: 0.6, reserve_floor: 0.1,\n"
    "              reserve_fall: 0.001, preempted_steps: 10, reserve_clip: 2048}\n"
    "  block_tokens: 64\n  kv_tokens: 100 k tokens\n  max_context: 8192\n  prefix_cache: true\n"
    "  acceptance: [0.8, 0.5]\n  sample_acceptance: true\n  imbalance_cv: 0.1\n  graph_padding: false\n"
    "  table_tolerance: 2 %\n"
    "  host: {step: 1 ms, request: 10 us, token: 2 us, ingress: 3 ms, egress: 4 ms}\n"
    "disaggregation:\n"
    "  plan: {tp: 2}\n  scheduler: {policy: trtllm}\n  kv_tokens: 50 k tokens\n  prefill_replicas: 2\n"
    "  decode_replicas: 3\n  link: 400 GB/s\n  link_latency: 1 ms\n  link_shared: false\n"
    "load:\n"
    "  trace: some.csv\n  arrive: gamma\n  cv: 2\n  rate_scale: 2x\n"
    "  demand: {rate: [{date: 2024-01-01, value: 1 /s}, {date: 2024-01-02, value: 3 /s}], shape: day,\n"
    "           burst: 0.2, burst_time: 5 min, start: 2024-01-01, epoch: 30 s}\n"
    "  requests: 1000\n  duration: 1 h\n  repeat: true\n  in_order: true\n  concurrency: 8\n  ramp: 1 s\n"
    "  pause: {dist: lognormal, median: 1 s, p90: 3 s}\n  from: 1 min\n  until: 1 h\n"
    "  input: {dist: lognormal, median: 1000 tokens, p90: 3000 tokens}\n"
    "  output: {dist: uniform, min: 10 tokens, max: 100 tokens}\n  correlation: 0.3\n  input_max: 4096\n"
    "  output_max: 512\n  context_max: 8192\n  block_tokens: 256\n"
    "  prefix: {share: 60 %, groups: 10, zipf: 1, tokens: 500, adds: true}\n"
    "  session: {turns: 5, think: 20 s, new_tokens: 50, tool_share: 50 %, tool: 2 s, tool_tokens: 500}\n"
    "classes:\n"
    "  - {name: chat, share: 80 %, ttft: 1 s, tpot: 50 ms, e2e: 1 min}\n  - {name: batch, share: 20 %}\n"
    "stop: {width: 2 %, warm_up: 20 %}\nprice: 2 USD/h\ndate: 2025-01-01\nrequests: true\ntimeline: true\n";

/** The same for a cluster, which excludes disaggregation. */
static const char several[] =
    "kind: serve\nmodel: tiny\ndevice: alpha\nload: {rate: 3 /s}\n"
    "cluster:\n"
    "  replicas: 3\n  route: length\n  prefix_share: 0.5\n  guard_ratio: 2\n  guard_requests: 10\n"
    "  length_below: [1000, 4000]\n  length_share: [1, 2, 1]\n  output_known: true\n"
    "  scaling: {on: memory, target: 60 %, min: 2, max: 9, interval: 30 s, tolerance: 5 %, up_wait: 1 min,\n"
    "            down_wait: 10 min, up_most: 2, down_most: 1,\n"
    "            provision: {dist: lognormal, median: 2 min, p90: 5 min}}\n"
    "  failures: {mtbf: 30 d, shape: 0.7, repair: 2 h, retries: 3, retry_after: 1 s}\n"
    "  load_rate: 10 GB/s\n  load_extra: 30 s\n  router_queue: 100\n  sample: 1 min\n";

#endif
