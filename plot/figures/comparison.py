"""Two systems as ratios of times with their intervals, as `moe-a2a compare` finds them."""

from matplotlib.ticker import FuncFormatter, NullFormatter

import look

NAME = "comparison"
TITLE = "How many times as fast"
VERDICTS = {"faster": (look.GREEN, "^"), "slower": (look.RED, "v"), "no difference shown": (look.MUTED, "o")}
# Of ratios that differ by much, and by little.
TICKS = (
    (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100),
    (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6, 1.8),
)


def _label(row):
    parts = [row.text(n) for n in ("style", "algorithm", "phase", "pass") if row.text(n) and row.text(n) != "raw"]
    if row.count("bytes_per_pair") is not None:
        parts.append(look.bytes_text(row.count("bytes_per_pair")))
    if row.count("step") is not None:
        parts.append(f"step {row.count('step')}")
    if row.count("from") is not None:
        parts.append(f"{row.count('from')} to {row.count('to')}")
    return look.shortened(" ".join(parts), 44)


def _telling(rows):
    """Whole layers, exchanges and iterations first: phases are parts of them."""
    whole = [r for r in rows if r.text("phase") not in ("permute", "unpermute", "metadata", "schedule")]
    return whole or rows


def _subtitle(rows):
    models = look.said_once((r.text("model") for r in rows), "models")
    ranks = look.said_once((r.count("ranks") for r in rows), "numbers of ranks")
    hashes = look.said_once((r.text("routing_hash") for r in rows), "routings")
    parts = [models, ranks and f"{ranks} ranks" if ranks and ranks.isdigit() else ranks,
             f"routing {hashes}" if hashes and not hashes.endswith("routings") else hashes]
    return " · ".join(p for p in parts if p)


def _marks(rows, runs):
    """What was not measured of A and B, where their runs are here (ratios do not say), and what did not converge."""
    said, is_open = [], False
    for side in ("a", "b"):
        unmeasured = [r for r in runs if r.file == rows[0].text(side) and look.unmeasured(r)]
        said += [f"{side.upper()}: {mark}" for mark in look.marks_of(unmeasured)]
        is_open |= not any(map(look.is_simulated, unmeasured)) and any(r.flag(f"{side}_converged") is False for r in rows)
    return said + ["NOT CONVERGED, some or all"] * is_open


def _picture(rows, runs):
    names = [look.shortened((rows[0].text(s) or "?").split("/")[-1].removesuffix(".jsonl"), 28) for s in ("a", "b")]
    telling = [r for r in _telling(rows) if r.number("ratio")]
    shown = telling[: look.MAX_ROWS]
    if not shown:
        return None
    fig, top = look.headed(8.4, 1.7 + 0.24 * len(shown), f"How many times as fast is B ({names[1]}) as A ({names[0]})", _subtitle(shown),
                           _marks(shown, runs))
    axes = fig.add_subplot()
    axes.set_xscale("log")
    used = set()
    for y, row in enumerate(shown):
        verdict = row.text("verdict") or "no difference shown"
        colour, marker = VERDICTS.get(verdict, VERDICTS["no difference shown"])
        ends = row.interval("ratio_low", "ratio_high")
        if ends and ends[0] > 0:
            axes.plot(ends, [y, y], color=colour, linewidth=1.8)
        axes.plot(row.number("ratio"), y, marker, color=colour, markersize=6,
                  label=None if verdict in used else verdict)
        used.add(verdict)
    axes.axvline(1, color=look.INK, linewidth=1)
    axes.set_yticks(range(len(shown)), [_label(r) for r in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("time of A / time of B, with its interval (logarithmic); right of 1: B is faster")
    low, high = axes.get_xlim()
    low, high = min(low, 0.95), max(high, 1.05)
    axes.set_xlim(low, high)
    axes.set_xticks([t for t in TICKS[high / low < 2] if low <= t <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x")
    count = {v: sum(1 for r in rows if r.text("verdict") == v) for v in VERDICTS}
    caption = "Ratios with intervals. " + ", ".join(f"{v}: {n}" for v, n in count.items()) + f", of {len(rows)} rows."
    bottom = look.legend_below(fig, axes.get_legend_handles_labels()[0])
    return look.Picture(NAME, look.finish(fig, top, bottom), caption)


def draw(results):
    groups = look.grouped(results.concluded("ratio"), lambda r: (r.text("a"), r.text("b")))
    return look.several(p for p in (_picture(g, results.runs) for g in groups) if p)
