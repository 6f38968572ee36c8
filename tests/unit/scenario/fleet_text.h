/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_FLEET_TEXT_H
#define FC_TESTS_FLEET_TEXT_H

/** A scenario that uses every part of the language. */
static const char fleet[] =
    "kind: scenario\nname: all\nquestion: \"how much?\"\nscope: one lab\nstart: 2024-01-01\nend: 2025-01-01\n"
    "bucket: day\nresidual: unexplained\nseed: 7\nepoch: 2 h\n"
    "pools:\n"
    "  - name: a\n    device: alpha\n    lag: 30 d\n    life: 6 yr\n    mtbf: never\n    rent: 3 USD/h\n"
    "    deliveries:\n"
    "      - {date: 2024-01-01, count: {dist: lognormal, median: 1000 devices, p95: 2000 devices}}\n"
    "      - {date: 2024-04-01, over: 91.25 d, count: 500}\n"
    "  - {name: b, device: beta, deliveries: [{date: 2024-06, count: 10 k devices}]}\n"
    "services:\n"
    "  - name: chat\n    model: tiny\n    shape: day\n    scaling: peak\n    pools: [b, a]\n    priority: 1\n"
    "    demand: {interp: log, points: [{date: 2024-01, value: 1 T tokens/month}, {date: 2025-01, value: 3 T "
    "tokens/month}],\n"
    "             growth: {factor_per_year: 3}}\n"
    "    request: {input: 1155 tokens, output: 211 tokens, cache_hit: 36.6 %}\n"
    "    slo: {ttft: 1 s, tpot: 30 ms}\n"
    "    deployment: {disaggregated: true, speculative_tokens: 1.8, prefill: {tp: 4, ep: 4, gemm: fp8},\n"
    "                 decode: {devices: 8, tp: 1, attention_dp: 8, ep: 8, two_batch_overlap: true}}\n"
    "  - {name: api, model: tiny, demand: 20 T tokens/91.25 d, request: {input: 100, output: 10}}\n"
    "runs:\n"
    "  - {name: pre, model: tiny, start: 2024-02-01, tokens: 14.8 T tokens, devices: 64, priority: 0, "
    "preemptible: false,\n"
    "     plan: {pp: 2, schedule: dualpipe, gemm: fp8, zero: 1}, failure: {mtbf: 1000 h, checkpoint: 30 "
    "min}}\n"
    "  - {name: rl, category: post_training, model: tiny, start: 2024-05, flop: 1e22 FLOP, devices: 8,\n"
    "     rollout_tokens: 1 B tokens, rollout: {output: 8000}}\n"
    "streams:\n"
    "  - {name: exp, model: tiny, rate: 40 /day, work: {dist: lognormal, median: 100 GPU-h, p90: 500 "
    "GPU-h},\n"
    "     devices: {dist: lognormal, median: 16, p90: 64, min: 8, max: 256}, rollout_share: 0.2}\n"
    "  - {name: ft, category: fine_tuning, model: tiny, load: 50 devices, work: 10 GPU-h, devices: 8}\n"
    "other_ai:\n  - {name: rec, pools: [a], share: {dist: uniform, min: 5 %, max: 35 %}}\n"
    "policies:\n"
    "  - {name: ban, kind: redirect, pool: a, to: b, date: 2024-05-01, factor: 0.2}\n"
    "  - {name: shock, kind: scale_demand, service: api, date: 2024-06-01, until: 2024-09-01, factor: 1.5}\n";

#endif
