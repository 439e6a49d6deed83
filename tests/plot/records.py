"""Small results for tests: what the program would write, with figures that are easily checked."""

import json
import os
import tempfile


def run(**more):
    return {
        "record": "run", "schema": 1, "program": "moe-a2a", "version": "0", "time": "2026-01-01T00:00:00Z",
        "command": ["moe-a2a", "layer"], "ranks": 4, "nodes": 1, "hosts": ["a", "b", "c", "d"], "transport": "mpi",
        "device": "host memory", "check": "full", "model": {"name": "mixtral-8x7b", "tokens": 64, "moe_layers": 32},
        "layout": {"ep": 4, "dp": 1, "ranks_per_node": 4},
        "routing": {"spec": "softmax/zipf:1.0/block", "skew": "zipf:1.0", "seed": 1, "hash": "0123456789abcdef"},
        "load": {"rank_max_over_mean": 1.5}, **more,
    }


def iteration(style="exact", a2a=0.47, **more):
    return {
        "record": "iteration", "style": style, "algorithm": "native", "pass": "training", "layers": 32, "reps": 30,
        "warmup": 5, "converged": True, "slowest_rank": 3, "compute": "fp32 GEMMs",
        "time_ms": {"iteration": 100.0, "compute": 50.0, "metadata": 1.0, "permute": 3.0, "dispatch": 26.0, "combine": 20.0},
        "max_ms": {"iteration": 110.0, "compute": 60.0}, "share": {"a2a": a2a, "serial": a2a, "exposed": 0.4},
        "ci": {"iteration_ms_low": 105.0, "iteration_ms_high": 115.0, "a2a_low": a2a - 0.02, "a2a_high": a2a + 0.02},
        "errors": 0, **more,
    }


def exchange(style="exact", algorithm="native", phase="total", us=1000.0, **more):
    return {
        "record": "exchange", "style": style, "algorithm": algorithm, "phase": phase, "layer": 0, "reps": 30, "warmup": 5,
        "converged": True, "slowest_rank": 1, "median_us": us, "ci_low_us": us * 0.9, "ci_high_us": us * 1.1,
        "min_us": us * 0.8, **more,
    }


def moved(useful, logical, wire, padding):
    return {"bytes": {"useful": useful, "logical": logical, "wire": wire, "padding": padding}}


def raw(style="exact", algorithm="native", phase="total", times=(900.0, 1000.0, 1100.0)):
    return {"record": "raw", "style": style, "algorithm": algorithm, "phase": phase, "warmup_us": [], "times_us": list(times)}


def matrix(size, style="exact", phase="dispatch", **more):
    return {
        "record": "matrix", "style": style, "phase": phase, "ranks": size, "ranks_per_cell": 1,
        "matrix_hash": "00000000000000ff", "bytes": [[1024 * (f * size + t) for t in range(size)] for f in range(size)], **more,
    }


def pair(source, to, rate):
    return {"record": "pair", "from": source, "to": to, "bytes": 65536, "reps": 9, "converged": True, "median_us": 1.0, "GBps": rate}


def simulated(**more):
    """A run on a simulated network; its records say so too."""
    return run(**{"simulated": True, "platform": "fat-tree-64", "simgrid": "3.32.0", **more})


def on_ranks(ranks, **more):
    return run(ranks=ranks, hosts=["a"] * ranks, **more)


def reproduce(*figures):
    """What `reproduce --json` writes."""
    lead = {"record": "reproduce", "schema": 1, "program": "moe-a2a", "version": "0", "command": ["moe-a2a", "reproduce", "all"], "time": ""}
    return [lead, *figures]


def figure(name="tutel", case="16 GPUs", quantity="a2a_ms", published="200", ours=100.0, kind="measured", **more):
    return {"record": "reproduction", "name": name, "kind": kind, "case": case, "quantity": quantity, "published": published, "ours": ours,
            "deviation": 0.0, **more}


def share(model, machine, factor, percent, **more):
    return {"record": "reproduction", "name": "lecture", "kind": "range", "model": model, "machine": machine, "capacity_factor": factor,
            "share_percent": percent, "low": 44.4, "high": 68.4, "inside": 44.4 <= percent <= 68.4, **more}


folder = tempfile.TemporaryDirectory()


def write(*records, name="results.jsonl"):
    """A file of these records; text stands as it is."""
    path = os.path.join(folder.name, name)
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            file.write(record if isinstance(record, str) else json.dumps(record) + "\n")
    return path
