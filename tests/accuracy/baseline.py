#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generic predictor to beat: a crude roofline and extremely randomised trees on its residual.

usage: baseline.py DATA_DIR OUT.csv [--systems a,b] [--kernel PREFIX] [--seed 1] [--jobs 2]

For every family (kernel, impl, dtype, kv_dtype) of every system: fit on the training rows of split.h, score
|predicted/measured - 1| on the rest.  Needs numpy, scipy and scikit-learn; no test runs it, baseline.csv is
its output.  Features: logarithms of the shape, of FLOP, bytes and the fitted form, and for matrix products the
waves of twelve tiles; no alignment.  Model and figures: docs/calibrate.md#accuracy.
"""
import argparse
import csv
import gzip
import multiprocessing
import os
import sys

import numpy as np
from scipy.optimize import least_squares
from sklearn.ensemble import ExtraTreesRegressor

SYSTEMS = ["a100_sxm", "b200_sxm", "gb200", "h100_sxm", "h200_sxm"]
UNITS = {"a100_sxm": 108, "b200_sxm": 148, "gb200": 148, "h100_sxm": 132, "h200_sxm": 132}
TEXT = ("kernel", "impl", "dtype", "kv_dtype")
TILES = [(16, 128), (32, 128), (64, 64), (64, 128), (64, 256), (128, 64), (128, 128), (128, 192), (128, 256),
         (256, 64), (256, 128), (256, 256)]
LEAST_ROWS, MOST_TRAINING, TRAINING_SHARE = 30, 400, 0.7
# bytes of an activation and of a weight
WIDTH = {"bf16": (2, 2), "fp16": (2, 2), "fp8": (1, 1), "fp8_block": (1, 1), "int8": (1, 1), "sq": (1, 1),
         "nvfp4": (.5625, .5625), "int4_wo": (2, .5156), "int8_wo": (2, 1), "w4a16_mxfp4": (2, .53),
         "w4a8_mxfp4_mxfp8": (1, .53)}


def fnv1a(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001b3) & 0xffffffffffffffff
    return h


def training_size(n):
    """The split of split.h: so many rows, first by hash, are fitted."""
    return min(MOST_TRAINING, int(n * TRAINING_SHARE))


def read(path, seed, kernel):
    """Rows of each family with the hash of their line."""
    families = {}
    with gzip.open(path, "rt", newline="") as file:
        lines = [line.rstrip("\r\n") for line in file]
    header = lines[0].split(",")
    for line, row in zip(lines[1:], csv.reader(lines[1:])):
        if not line.startswith(kernel):
            continue
        row = dict(zip(header, row))
        row["hash"] = fnv1a(("%d:%s" % (seed, line)).encode())
        families.setdefault(tuple(row[t] for t in TEXT), []).append(row)
    return families


def ln(x):
    return np.log(np.maximum(x, 1e-9))


def imbalance(tokens, topk, experts, ep, skew):
    """Busiest over mean rank under power-law loads (README of the data, generator of aiconfigurator)."""
    out = np.ones(len(tokens))
    for i, (t, k, e, p, s) in enumerate(zip(tokens, topk, experts, ep, skew)):
        if s == 0 or p <= 1:
            continue
        e, group = int(e), max(1, int(e / p))
        low, high = (1, max(t * .8, 2)) if t * k > e else (.01, 2)
        u = (np.arange(e) + .5) / e
        x = ((high ** (1 - s) - low ** (1 - s)) * u + low ** (1 - s)) ** (1 / (1 - s))
        rest = (x.sum() - x[-1]) / (e - 1)
        out[i] = max(1, (x[-1] + (group - 1) * rest) / (group * x.mean()))
    return out


def gemm(c, a, w, units):
    m, n, k = c("m", "n", "k")
    flop, size = 2 * m * n * k, a * m * k + w * n * k + 2 * m * n
    waves = [np.ceil(np.ceil(m / i) * np.ceil(n / j) / units) * i * j * units * k * 2 for i, j in TILES]
    return [m, n, k], flop, size, waves


def absorb(c, a, w, units):
    t, h = c("tokens", "heads")
    return [t, h], 2 * t * h * 128 * 512, a * (t * h * 128 + h * 128 * 512) + 2 * t * h * 512, []


def moe(c, a, w, units):
    t, wide, inner, experts, topk, ep, tp, skew = c("tokens", "hidden", "inter", "experts", "topk", "ep", "tp",
                                                    "skew")
    inner = inner / tp
    group = np.maximum(experts / ep, 1)
    rows = np.maximum(t * topk / ep * imbalance(t, topk, experts, ep, skew), 1e-3)
    hit = np.maximum(np.minimum(group * (1 - np.exp(-t * topk / experts)), rows), 1)
    size = 3 * hit * wide * inner * w + rows * (2 * wide * a + wide * 2) + rows * inner * 6
    return [t, wide, inner, group, topk, ep, np.exp(2 * skew), rows / hit, rows, hit], 6 * rows * wide * inner, \
        size, []


def prefill(c, a, w, units):
    b, h, g, d, q, s = c("batch", "heads", "kv_heads", "head_dim", "q_len", "kv_len")
    latent = np.isnan(d)
    dk, dv, g = np.where(latent, 192, d), np.where(latent, 128, d), np.where(latent, h, g)
    pairs = q * (s - q) + q * q / 2
    return [b, h, q, s, h / g, dk], 2 * b * h * pairs * (dk + dv), 2 * b * (h * q + g * s) * (dk + dv), []


def decode(c, a, w, units):
    b, h, g, d, s = c("batch", "heads", "kv_heads", "head_dim", "kv_len")
    latent = np.isnan(d)
    g = np.where(latent, 1, g)
    flop = np.where(latent, 2 * b * h * s * 1088, 4 * b * h * s * d)
    size = np.where(latent, b * s * 576 * w + 2 * b * h * 1088, 2 * b * g * s * d * w + 4 * b * h * d)
    return [b, h, s, h / g, np.where(latent, 576, d)], flop, size, []


def expert_parallel(c, a, w, units):
    t, wide, experts, topk, n, nodes = c("tokens", "hidden", "experts", "topk", "gpus", "nodes")
    size = t * wide * (1.03 if a == 1 else 2) * n * (1 - (1 - 1 / n) ** topk)
    far = t * wide * nodes * (1 - (1 - 1 / np.maximum(nodes, 1)) ** topk) * (nodes > 1) + 1e-3
    return [t, wide, experts, topk, n], far, size, []


def collective(c, a, w, units):
    z, n = c("bytes", "gpus")
    return [z, n], np.full(len(z), 1e-3), z * (n - 1) / n + 1e-3, []


MODEL = {"gemm": gemm, "mla_absorb_k": absorb, "mla_absorb_v": absorb, "moe_ffn": moe, "mla_prefill": prefill,
         "attention_prefill": prefill, "mla_decode": decode, "attention_decode": decode,
         "ep_dispatch": expert_parallel, "ep_combine": expert_parallel}


def form(theta, flop, size, waves):
    """ln t: fixed time and the smooth maximum of compute (over the best tile, where there are tiles) and traffic."""
    t0, rate, band, q = np.exp(theta)
    work = (waves.min(1) if waves.shape[1] else flop) / rate
    move = size / band
    high, low = np.maximum(work, move), np.minimum(work, move)
    return np.log(t0 + high * (1 + (low / high) ** (1 + q)) ** (1 / (1 + q)))


def fit_form(flop, size, waves, y):
    t = np.exp(y)
    best = None
    starts = [(np.quantile(t, .05) * .8, np.median(flop / t) * 3, np.median(size / t) * 3),
              (np.quantile(t, .01) * .8, np.quantile(flop / t, .95), np.quantile(size / t, .95))]
    for start in starts:
        start = np.log(np.maximum(start + (1.,), 1e-12))
        fit = least_squares(lambda p: np.r_[form(p, flop, size, waves) - y, (p - start) * .02], start,
                            loss="soft_l1", f_scale=.1)
        if best is None or fit.cost < best.cost:
            best = fit
    return best.x


def shapes(rows):
    """Rows of identical shape: lists of their indices."""
    by = {}
    for i, row in enumerate(rows):
        by.setdefault(tuple(v for k, v in row.items() if k not in ("hash", "latency_us")), []).append(i)
    return list(by.values())


def repeats(groups, y, test, seed):
    """Share of rows whose shape comes again; median |ln ratio| of random pairs; error of the median of the others."""
    again = [g for g in groups if len(g) > 1]
    share = sum(len(g) for g in again) / len(y)
    if not again:
        return share, np.nan, np.nan
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(g, 2, replace=False) for g in again for _ in range(len(g) // 2)]
    noise = np.median([abs(y[i] - y[j]) for i, j in pairs])
    test = set(test)
    best = [abs(np.expm1(np.median([y[j] for j in g if j != i]) - y[i])) for g in again for i in g if i in test]
    return share, noise, np.median(best) if best else np.nan


def score(job):
    system, family, rows, seed = job
    kernel, _, dtype, kv = family
    y = np.log([float(r["latency_us"]) for r in rows])

    def column(*names):
        return [np.array([float(r[n]) if r[n] else np.nan for r in rows]) for n in names]

    a, w = WIDTH[dtype][0], WIDTH[kv if kernel.endswith("_decode") and kv else dtype][1]
    dims, flop, size, waves = MODEL.get(kernel, collective)(column, a, w, UNITS[system])
    waves = np.array(waves).T if waves else np.zeros((len(y), 0))
    order = sorted(range(len(rows)), key=lambda i: rows[i]["hash"])
    n = training_size(len(rows))
    train, test = np.array(order[:n]), np.array(order[n:])
    theta = fit_form(flop[train], size[train], waves[train], y[train])
    base = form(theta, flop, size, waves)
    x = np.c_[ln(np.array(dims).T), np.log(flop), np.log(size), np.log(waves), base]
    trees = ExtraTreesRegressor(300, random_state=0).fit(x[train], (y - base)[train])
    error = np.abs(np.expm1((base + trees.predict(x) - y)[test]))
    alone = np.abs(np.expm1((base - y)[test]))
    return (system,) + family + (n, len(test), np.median(error), np.quantile(error, .9), np.median(alone)) \
        + repeats(shapes(rows), y, test, seed)


def group(kernel):
    if kernel.startswith("gemm"):
        return "gemm"
    if kernel == "moe_ffn":
        return "moe_ffn"
    return "attention+mla" if kernel.startswith(("attention", "mla")) else "collectives"


def summary(results):
    for name in ("gemm", "attention+mla", "moe_ffn", "collectives"):
        own = [r for r in results if group(r[1]) == name]
        if own:
            m, p, f = (np.array([r[i] for r in own]) for i in (7, 8, 9))
            print("%-14s families %3d  median of medians %.4f  worst %.4f  median of p90 %.4f  form alone %.4f"
                  % (name, len(own), np.median(m), m.max(), np.median(p), np.median(f)))


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("data")
    parse.add_argument("out")
    parse.add_argument("--systems", default=",".join(SYSTEMS))
    parse.add_argument("--kernel", default="")
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--jobs", type=int, default=2)
    args = parse.parse_args()
    results = []
    with multiprocessing.Pool(args.jobs) as pool:
        for system in args.systems.split(","):
            families = read(os.path.join(args.data, system + ".csv.gz"), args.seed, args.kernel)
            jobs = [(system, f, rows, args.seed) for f, rows in sorted(families.items()) if len(rows) >= LEAST_ROWS]
            for r in pool.imap_unordered(score, jobs):
                results.append(r)
                print("%s %s %s" % (" ".join(r[:5]), r[5:7], " ".join("%.4f" % v for v in r[7:])), flush=True)
    results.sort(key=lambda r: r[:5])
    with open(args.out, "w", newline="\n") as file:
        file.write("system,kernel,impl,dtype,kv_dtype,train,test,median,p90,form_median,repeats_share,"
                   "repeat_noise,repeat_best\n")
        for r in results:
            numbers = ["" if np.isnan(v) else "%.4g" % v for v in r[7:]]
            file.write(",".join([*r[:5], "%d" % r[5], "%d" % r[6], *numbers]) + "\n")
    summary(results)


if __name__ == "__main__":
    sys.exit(main())
