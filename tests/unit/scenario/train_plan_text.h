/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_TESTS_TRAIN_PLAN_TEXT_H
#define FC_TESTS_TRAIN_PLAN_TEXT_H

/** A train_plan file that uses every key. */
static const char training_plan[] =
    "kind: train_plan\nname: all\nquestion: \"on what?\"\nseed: 7\nmodel: tiny\ndate: 2024-06\n"
    "tokens: 2 T tokens\nsequence: 8192 tokens\nbatch_tokens: 8 M tokens\nobjective: fastest\nmargin: 10 %\n"
    "devices:\n"
    "  - {device: alpha, profile: alpha, price: 2 USD/h, counts: [64, 128]}\n"
    "  - {device: beta, devices_max: 256}\n"
    "plan: {tp: [1, 2], pp: [1, 4], cp: [1], ep: [1, 8], virtual_stages: [2], micro_batch: [1, 2],\n"
    "       global_batch: [512, 1024], zero: [0, 1], schedule: [1f1b, dualpipev], recompute: [none, full],\n"
    "       gemm: [bf16, fp8], expert_imbalance: 1.1, overlap: 0.7, launch: eager, tensor_scales: true,\n"
    "       bf16_dispatch: true, bf16_gradients: true, serial_data: true, unfused_attention: true,\n"
    "       moments: bf16, narrow_weights: true, async_tp: true, dropout: true}\n"
    "limits: {devices: 512, days: 30 d, cost: 3 M USD, memory: 90 %}\n"
    "failure: {mtbf: 50000 h, restart: 5 min, checkpoint: 20 min, checkpoint_write: 4 s}\n";

#endif
