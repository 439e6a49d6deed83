#!/usr/bin/env python3
"""Draws results/sim-scaling.jsonl: dispatch of exact rows by ranks, one line an algorithm.   sim_scaling.py RESULTS.jsonl PICTURE.png"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import NullLocator

import look

points, ranks = {}, None
for line in open(sys.argv[1], encoding="utf-8"):
    record = json.loads(line)
    if record["record"] == "run":
        ranks = record["ranks"]
    elif record["record"] == "exchange" and record["phase"] == "dispatch" and record["style"] == "exact":
        points.setdefault(record["algorithm"], []).append((ranks, record["median_us"]))
if not points:
    sys.exit(f"{sys.argv[1]}: no dispatch of exact rows in it")
figure, axes = pyplot.subplots(figsize=(7.2, 4))
for i, (name, line) in enumerate(points.items()):
    axes.plot(*zip(*sorted(line)), color=look.SERIES[i], marker=look.MARKERS[i], linestyle=look.DASHES[i % 4], label=name)
ticks = sorted({n for line in points.values() for n, _ in line})
axes.set_xscale("log", base=2)
axes.set_yscale("log")
axes.set_xticks(ticks, [str(n) for n in ticks])
axes.xaxis.set_minor_locator(NullLocator())
axes.set_xlabel("ranks, 8 a host")
axes.set_ylabel("us, SIMULATED")
axes.set_title("Dispatch of 4 tokens a rank, 512 B a row, on a simulated fat tree", fontsize=10)
axes.grid(True, alpha=0.4)
axes.legend()
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=108)
