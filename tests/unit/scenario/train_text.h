/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_TRAIN_TEXT_H
#define FC_TESTS_TRAIN_TEXT_H

/** A train file that uses every key. */
static const char training[] =
    "kind: train\nname: all\nquestion: \"how long?\"\nseed: 7\nmodel: tiny\ndevice: alpha\nprofile: alpha\n"
    "devices: 64\ndate: 2024-06\nreplications: 50\n"
    "plan: {tp: 2, pp: 2, cp: 1, ep: 1, micro_batch: 1, global_batch: 64, sequence: 4096, zero: 1,\n"
    "       schedule: 1f1b, recompute: full, gemm: fp8, expert_imbalance: 1.1, overlap: 0.7, serial_data: "
    "true}\n"
    "phases:\n"
    "  - {name: main, tokens: 1 T tokens, setup: 1 min, reported: 10 k GPU-h,\n"
    "     ramp: [{until: 1 B tokens, global_batch: 32}, {until: 2 B tokens, global_batch: 48}]}\n"
    "  - {name: long, tokens: 1 B tokens, plan: {sequence: 32768, global_batch: 8}}\n"
    "  - name: rl\n    tokens: 1 B tokens\n    plan: {tp: 4, gemm: bf16}\n"
    "    rollouts: {tokens: 2 B tokens, request: {input: 500 tokens, output: 2000 tokens, cache_hit: 0.1},\n"
    "               slo: {ttft: 5 s, tpot: 80 ms}, deployment: {decode: {tp: 2}, speculative_tokens: 1.5}, "
    "wait: 1.4}\n"
    "  - {name: stated, device_hours: 5 k GPU-h}\n"
    "failures:\n"
    "  - {name: fault, level: node, law: weibull, shape: 0.8, mtbf: {dist: loguniform, min: 1000 h, max: "
    "5000 h},\n"
    "     replaces: 50 %, systematic: 10 %, found: 40 %, recurs: 2 h, detect: 3 min, restart: 7 min}\n"
    "  - {name: slow, mtbf: 50000 h, slowdown: {dist: uniform, min: 1.1, max: 1.3}}\n"
    "  - {name: weekly, level: run, law: regular, mtbf: 7 d, planned: true}\n"
    "recovery: {checkpoint: 20 min, write: 5 s, flush: 1 min, detect: {dist: uniform, min: 1 min, max: 9 "
    "min},\n"
    "           restart: 6 min, repair: {dist: lognormal, median: 1 d, p90: 5 d}, spares: 2, without_spare: "
    "shrink}\n"
    "ledger:\n"
    "  rent: {dist: uniform, min: 1.5 USD/h, max: 3 USD/h}\n  chip: 25000 USD\n  server: 6000 USD\n"
    "  network: 12000 USD\n  life: 5 yr\n  residual: 5 %\n  utilisation: 75 %\n  interest: 0.08 /yr\n  pue: "
    "1.2\n"
    "  tariff: 0.1 USD/kWh\n  hosting: 120 USD/kW/month\n  staff: 1 M USD\n  data: 2 M USD\n  ablations: 2x\n"
    "  failed: 10 %\n"
    "  others: [{name: extra, covers: \"this and that\", amount: 3 M USD, share: 1 %, included: true}]\n"
    "reported: {device_hours: 1 M GPU-h, cost: 2 M USD, duration: 30 d, goodput: 95 %, mfu: 40 %,\n"
    "           interruptions: 10, unexpected: 8, window: 20 d, includes: \"this\", excludes: \"that\"}\n"
    "variants:\n"
    "  - {name: half, plan: {gemm: bf16}}\n"
    "  - {name: other, model: tiny, device: beta, profile: beta, devices: 32, plan: {tp: 1}}\n";

#endif
