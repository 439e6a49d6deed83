"""What the page shows, as plain values for the template."""

import shlex

import answer
import inline
import look
import maps
from figures import FIGURES, matrix, pairs

PICTURES = 6  # of one kind
RUNS = 200  # whose environment is shown
RANK_ROWS, RESULT_ROWS, VERDICT_ROWS = 5000, 2000, 1000


def rounded(value, digits=4):
    return None if value is None else f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def cell(value, text=None):
    """A cell of a table: what is shown, and what it is sorted by (None: absent)."""
    if value is None:
        return {"text": "", "sort": "", "number": False}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    shown = text if text is not None else rounded(value) if number else str(value)
    return {"text": shown, "sort": repr(value) if number else "", "number": number}


def table(columns, rows, most):
    """Columns that are empty in all rows are left out."""
    used = [i for i in range(len(columns)) if any(row[i]["text"] for row in rows)]
    return {
        "columns": [columns[i] for i in used], "rows": [[row[i] for i in used] for row in rows[:most]],
        "left_out": max(0, len(rows) - most),
    }


def numbers_of(results):
    return {id(run): number for number, run in enumerate(results.runs, 1)}


# ---- Tables ----


def result_table(results):
    runs = numbers_of(results)
    columns = ["run", "step", "style", "algorithm", "phase", "pass", "a pair", "median us", "95 % interval", "min us", "p99 us",
               "busbw GB/s", "of bound %", "a2a %", "wire", "padding %", "last rank", "reps", "errors", ""]
    rows = []
    for r in results.of("exchange", "iteration"):
        whole = r.kind == "iteration"
        median = r.amount("max_ms.iteration") if whole else r.amount("median_us")
        median = median * 1e3 if whole and median is not None else median
        ends = r.interval("ci.iteration_ms_low", "ci.iteration_ms_high") if whole else r.interval("ci_low_us", "ci_high_us")
        ends = ends and [e * (1e3 if whole else 1) for e in ends]
        wire, padding, share = r.amount("bytes.wire"), r.amount("bytes.padding"), r.number("share.a2a")
        efficiency = r.number("efficiency")
        said = [w for w in (look.unmeasured(r),) if w] + ["extrapolated"] * (r.at("extrapolated_from_layers") is not None)
        said += ["not converged"] * look.is_open(r)
        rows.append([
            cell(runs[id(r.run)]), cell(r.run.count("step")), cell(r.text("style")), cell(r.text("algorithm")), cell("iteration" if whole else r.text("phase")),
            cell(r.text("pass")), cell(r.count("bytes_per_pair"), look.bytes_text(r.count("bytes_per_pair") or 0)),
            cell(median), cell(f"{rounded(ends[0])} to {rounded(ends[1])}" if ends else None), cell(r.number("min_us")),
            cell(r.number("p99_us")), cell(r.number("busbw_GBps")), cell(efficiency and 100 * efficiency),
            cell(share and 100 * share, look.share_text(r)), cell(wire, look.bytes_text(wire or 0)),
            cell(100 * padding / wire if wire and padding is not None else None), cell(r.count("slowest_rank")),
            cell(r.count("reps")), cell(r.count("errors")), cell(", ".join(said) or None),
        ])
    return table(columns, rows, RESULT_ROWS)


def rank_table(results):
    runs = numbers_of(results)
    rows = []
    for owner in results.of("exchange", "iteration"):
        for r in owner.ranks:
            often, reps = r.count("slowest_count"), r.count("reps") or owner.count("reps")
            rows.append([
                cell(runs[id(r.run)]), cell(r.run.count("step")), cell(owner.text("style")), cell(owner.text("algorithm")),
                cell(owner.text("phase") or "iteration"), cell(r.count("rank")), cell(r.text("host")), cell(r.amount("median_us")),
                cell(r.amount("wait_us")), cell(often), cell(100 * often / reps if often is not None and reps else None), cell(look.unmeasured(r)),
            ])
    columns = ["run", "step", "style", "algorithm", "phase", "rank", "host", "median us", "waits for the last, us", "last, times",
               "last, % of repetitions", ""]
    return table(columns, rows, RANK_ROWS)


def _interval(record, value, low, high):
    number, ends = record.number(value), record.interval(low, high)
    if number is None:
        return None
    exact = ends is None or ends[0] == ends[1]
    return rounded(number) if exact else f"{rounded(number)} [{rounded(ends[0])}, {rounded(ends[1])}]"


def _about(record):
    parts = [record.text(n) for n in ("style", "algorithm", "phase", "pass") if record.text(n) not in (None, "raw")]
    size = record.count("bytes_per_pair")
    parts += [look.bytes_text(size)] if size is not None else []
    parts += [f"step {record.count('step')}"] if record.count("step") is not None else []
    parts += [f"{record.count('from')} to {record.count('to')}"] if record.count("from") is not None else []
    return " ".join(parts) or record.text("of") or ""


def verdicts(results):
    """One block for each set of rules: how it ended, and every verdict, what did not pass first."""
    blocks = []
    order = {"FAIL": 0, "INCONCLUSIVE": 1}
    for leader in results.concluded("acceptance"):
        mine = [r for r in results.concluded("verdict") if r.run is leader]
        mine.sort(key=lambda r: order.get(r.text("verdict"), 2))
        rows = [[
            cell(r.text("verdict")), cell(r.text("rule")), cell(_about(r)), cell(f"{r.text('metric')} {r.text('condition')}"),
            cell(_interval(r, "value", "value_low", "value_high")), cell(_interval(r, "ratio", "ratio_low", "ratio_high")),
            cell(r.text("why")),
        ] for r in mine]
        blocks.append({
            "verdict": leader.text("verdict") or "?", "rules": leader.text("rules") or "?",
            "counts": [(n, leader.count(n) or 0) for n in ("pass", "fail", "inconclusive")],
            "table": table(["verdict", "rule", "of", "asks", "measured", "of baseline", "why"], rows, VERDICT_ROWS),
        })
    return blocks


def comparisons(results):
    return [{
        "a": r.text("a"), "b": r.text("b"), "rows": r.count("rows"), "faster": r.count("faster"),
        "slower": r.count("slower"), "same": r.count("no_difference"), "unmatched": r.count("unmatched"),
    } for r in results.concluded("comparison") if r.count("rows")]


# ---- Who is slow ----


def _finding(record):
    ranks = [f"{r:.0f}" for r in record.numbers("ranks")]
    where = ", ".join(look.unique(record.texts("hosts"))[:8])
    parts = [f"{record.text('kind')}:" if record.text("kind") != "rank" else "", f"rank{'s' * (len(ranks) != 1)} {', '.join(ranks[:16])}" if ranks else ""]
    parts.append(f"on {where}" if where else "")
    if record.count("from") is not None:
        parts.append(f"from {record.count('from')} to {record.count('to')}")
    ratio, value, others = record.number("ratio"), record.number("value_us"), record.number("others_us")
    if ratio and value and others:
        parts.append(f"took {look.time_text(value)}, {ratio:.2f} times as long as the others ({look.time_text(others)})")
    direction = record.text("direction")
    parts.append(f"when {direction}" if direction in ("sending", "receiving") else "")
    return " ".join(p for p in parts if p)


def _of_finding(record):
    how = look.unmeasured(record)
    return (_about(record) or f"pairs {record.text('reach') or ''} hosts") + (f", {how}" if how else "")


def findings(results):
    """Who stands out; how many were looked at and did not; whether anyone looked."""
    records = results.of("finding")
    slow = [r for r in records if r.text("kind") not in ("none", "unknown")]
    return {
        "slow": [{"text": _finding(r), "about": _of_finding(r)} for r in slow[:200]],
        "none": sum(r.text("kind") == "none" for r in records),
        "unknown": sum(r.text("kind") == "unknown" for r in records), "looked": bool(records),
    }


# ---- Where and how ----


def _counted(words):
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{w} ({n})" if len(words) > 1 else w for w, n in list(counts.items())[:64])


def _topology(run):
    parts = [run.text("topology.cpu")]
    for name, what in (("packages", "package"), ("cores", "core"), ("pus", "hardware thread"), ("numa_nodes", "NUMA node")):
        count = run.count(f"topology.{name}")
        parts.append(f"{count} {what}{'s' * (count != 1)}" if count is not None else None)
    memory = run.amount("topology.memory_bytes")
    parts.append(look.bytes_text(memory) if memory else None)
    return ", ".join(p for p in parts if p)


def _platform(run):
    parts = [run.text("platform"), run.text("platform_file"), run.text("simgrid") and f"SimGrid {run.text('simgrid')}"]
    return ", ".join(p for p in parts if p)


def _environment(run):
    gpus = run.at("gpus")
    names = [g.get("name") for g in gpus if isinstance(g, dict)] if isinstance(gpus, list) else []
    env = run.at("env")
    env = [f"{k}={v}" for k, v in env.items()] if isinstance(env, dict) else []
    rows = [
        ("ranks", f"{run.count('ranks')}" + (f" on {run.count('nodes')} node{'s' * (run.count('nodes') != 1)}" if run.count("nodes") else "")),
        ("hosts (ranks)", _counted(run.texts("hosts"))), ("machine", run.text("machine")),
        ("simulated on", _platform(run)), ("transport", run.text("transport")), ("device", run.text("device")),
        ("GPUs", _counted([str(n) for n in names])), ("MPI", run.text("mpi")), ("NCCL", run.text("nccl")), ("CUDA", run.text("cuda")),
        ("host of rank 0", _topology(run)), ("ranks bound to", _counted(run.texts("binding.cpus"))),
        ("variables", "\n".join(env)), ("program", f"{run.text('program')} {run.text('version')}"),
    ]
    return tuple((k, v) for k, v in rows if v)


def environments(results):
    """Runs in the same environment are told together."""
    groups = {}
    for number, run in enumerate(results.runs[:RUNS], 1):
        groups.setdefault((_environment(run), tuple(run.texts("binding.warnings"))), []).append(number)
    return [{"runs": spans(numbers), "rows": rows, "warnings": warnings} for (rows, warnings), numbers in groups.items()]


def spans(numbers):
    """1, 2, 3, 7 -> "1 to 3, 7"."""
    parts = []
    for n in numbers:
        if parts and parts[-1][1] == n - 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in parts)


def _command(run):
    words = run.texts("command")
    if words:
        words = [words[0].rsplit("/", 1)[-1], *words[1:]]
    transport = run.text("transport")
    launcher = [] if transport in (None, "loopback") else ["mpirun", "-np", str(run.count("ranks"))]
    return shlex.join(launcher + words)


def runs(results):
    told = []
    for number, run in enumerate(results.runs[:RUNS], 1):
        model, load, capacity = run.text("model.name"), run.number("load.rank_max_over_mean"), run.number("capacity.factor")
        rows = [
            ("file", run.file), ("began", run.text("time")),
            ("model", model and f"{model}, {run.count('model.tokens')} tokens a rank, {run.text('model.dtype') or '?'}"),
            ("layout", run.count("layout.ep") and f"ep {run.count('layout.ep')}, dp {run.count('layout.dp')}, {run.count('layout.ranks_per_node')} ranks a node"),
            ("routing", run.text("routing.spec") and f"{run.text('routing.spec')}, seed {run.at('routing.seed')}, hash {run.text('routing.hash')}"),
            ("load", load and f"busiest rank {load:.3g} times the mean; experts: max/mean {run.number('load.max_over_mean') or 0:.3g}, CV {run.number('load.cv') or 0:.3g}"),
            ("capacity", capacity and f"factor {capacity:g}, {100 * (run.number('capacity.drop_share') or 0):.3g} % of selections dropped"),
        ]
        told.append({"number": number, "command": _command(run), "rows": [(k, v) for k, v in rows if v]})
    return told


def measuring(results):
    """How it was measured, in sentences; only what the records say."""
    timed = [r for r in results.of("exchange", "iteration", "pair") if not look.unmeasured(r)]
    reps = [r.count("reps") for r in timed if r.count("reps") is not None]
    said = []
    if reps:
        often = f"{min(reps)} to {max(reps)}" if min(reps) < max(reps) else f"{min(reps)}"
        others = any(look.unmeasured(r) for r in results.of("exchange", "iteration", "pair"))
        said.append(f"Every {'measured ' if others else ''}figure is the median of {often} repetitions, after a warm-up that does not count; "
                    "a repetition's time is the maximum over ranks. Intervals are the 95 % intervals of the median by order "
                    "statistics, which assume no shape of the distribution; no outlier is dropped.")
    sync = look.unique(r.text("sync") for r in results.runs if not look.unmeasured(r))
    starts = {"barrier": "at a barrier", "round-time": "at one time of a common clock", "none": "freely, without a common start"}
    if reps and sync:
        said.append(f"Repetitions started {' or '.join(starts.get(s, s) for s in sync)}.")
    checks = look.unique(r.text("check") for r in results.runs)
    words = {"full": "every byte that arrived was checked", "sample": "every 16th row was checked", "off": "nothing was checked"}
    if checks:
        said.append("Before they were timed, " + "; or ".join(words.get(c, c) for c in checks) + ".")
    open_rows = sum(r.flag("converged") is False for r in timed)
    if open_rows:
        said.append(f"{open_rows} of {len(timed)} rows did not converge: a cap of count or time came first, and their intervals are wide.")
    if results.of("traffic"):
        said.append("Bytes of patterns were counted: nothing was sent.")
    if any(look.is_predicted(r) for r in results.records):
        said.append("What is marked predicted comes from a cost model: nothing of it was measured.")
    if any(look.is_simulated(r) for r in results.records):
        said.append("What is marked simulated was run in simulated time: messages take what a description of a network says, packing and summing "
                    "rows take none, all repetitions are equal, and nothing of it was measured.")
    return said


# ---- The page ----


def pictures(results):
    """Inline figures, but maps (which have values to hover over)."""
    look.set_up()
    made, number, left_out = [], 0, 0
    for module in FIGURES:
        drawn = [] if module in (matrix, pairs) else module.draw(results)
        left_out += len(drawn[PICTURES:])
        for picture in drawn[:PICTURES]:
            number += 1
            made.append({"title": module.TITLE, "svg": inline.svg(picture, number), "caption": picture.caption, "kind": module.NAME})
    return made, left_out


def of(results):
    sentence, further, doubts = answer.of(results)
    drawn, drawn_out = pictures(results)
    heat, heat_out = maps.of(results)
    return {
        "sentence": sentence, "further": further, "doubts": doubts, "files": results.files, "verdicts": verdicts(results),
        "comparisons": comparisons(results), "pictures": drawn, "pictures_left_out": drawn_out, "maps": heat,
        "maps_left_out": heat_out, "findings": findings(results), "results": result_table(results), "ranks": rank_table(results),
        "environments": environments(results), "runs": runs(results), "runs_left_out": max(0, len(results.runs) - RUNS),
        "measuring": measuring(results), "version": results.runs[-1].text("version") or "?", "heat": heat_stops(),
        "time": look.unique(r.text("time") for r in results.runs),
    }


def heat_stops():
    """Of the colour bar under maps."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(to_hex(colormaps[look.HEAT](i / 8)) for i in range(9))
