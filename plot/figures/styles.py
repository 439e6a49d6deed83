"""Dispatch styles beside each other: what each puts on the wire, and how long it takes."""

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import look
from .matrix import unit_of

NAME = "styles"
TITLE = "Dispatch styles in bytes and in time"
KINDS = (("tokens", look.BLUE), ("padding", look.YELLOW), ("metadata", look.PURPLE), ("stays on its rank", look.FAINT))


def _bytes_of(parts):
    """Both directions of one style: by kind, and what the routing asked for."""
    sums = dict.fromkeys((k for k, _ in KINDS), 0.0)
    useful = 0.0
    for record in parts:
        wire, padding = record.amount("bytes.wire") or 0.0, record.amount("bytes.padding") or 0.0
        metadata = wire if record.text("phase") == "metadata" else record.amount("metadata_bytes") or 0.0
        sums["tokens"] += max(0.0, wire - padding - metadata)
        sums["padding"] += padding
        sums["metadata"] += metadata
        sums["stays on its rank"] += max(0.0, (record.amount("bytes.logical") or 0.0) - wire)
        useful += record.amount("bytes.useful") or 0.0
    return sums, useful


def _collect(group):
    """Styles in their order: (records of bytes, the first algorithm's; records of the whole layer)."""
    styles = {}
    for record in group:
        style = record.text("style")
        moved, totals = styles.setdefault(style, ({}, []))
        phase = record.text("phase")
        if phase in ("metadata", "dispatch", "combine") and record.at("bytes") is not None:
            moved.setdefault(phase, record)
        if phase == "total" and record.amount("median_us") is not None:
            totals.append(record)
    return {s: v for s, v in styles.items() if v[0] and s}


def _bytes(axes, styles):
    sums = [_bytes_of(moved.values()) for moved, _ in styles.values()]
    unit, size = unit_of(max(sum(s.values()) for s, _ in sums))
    for y, (kinds, useful) in enumerate(sums):
        left = 0.0
        for kind, colour in KINDS:
            axes.barh(y, kinds[kind] / size, left=left, height=0.62, color=colour, edgecolor=look.PAPER, linewidth=0.6)
            left += kinds[kind] / size
        axes.plot([useful / size] * 2, [y - 0.42, y + 0.42], color=look.INK, linewidth=1.6)
    axes.set_yticks(range(len(styles)), [look.shortened(s, 20) for s in styles])
    axes.set_xlabel(f"{unit} of all ranks, dispatch and combine")


def _times(axes, styles):
    algorithms = look.unique(r.text("algorithm") for _, totals in styles.values() for r in totals)[: look.MAX_LINES]
    for y, (_, totals) in enumerate(styles.values()):
        for record in totals:
            if record.text("algorithm") not in algorithms:
                continue
            i = algorithms.index(record.text("algorithm"))
            at = y + (i - (len(algorithms) - 1) / 2) * 0.62 / max(1, len(algorithms))
            median, ends = record.amount("median_us") / 1e3, record.interval("ci_low_us", "ci_high_us")
            axes.plot(median, at, look.MARKERS[i], color=look.SERIES[i], markersize=5.5)
            if ends:
                axes.plot([ends[0] / 1e3, ends[1] / 1e3], [at, at], color=look.SERIES[i], linewidth=1.6)
    axes.set_yticks(range(len(styles)), [""] * len(styles))
    first = next(r for _, totals in styles.values() for r in totals)
    axes.set_xlabel(f"ms of a layer, {look.median_of(first, ' [95 % interval]')}")
    axes.set_xlim(left=0)
    return [Line2D([], [], color=look.SERIES[i], marker=look.MARKERS[i], linestyle="none", label=look.shortened(a, 20))
            for i, a in enumerate(algorithms)]


def _picture(group, named):
    styles = dict(list(_collect(group).items())[: look.MAX_ROWS])
    if not styles:
        return None
    timed = any(totals for _, totals in styles.values())
    height = 1.75 + 0.25 * timed + 0.42 * len(styles)
    fig, top = look.figure(8.4, height, _title(group, timed, named), group)
    axes = fig.subplots(1, 2 if timed else 1, squeeze=False)[0]
    _bytes(axes[0], styles)
    handles = [Patch(facecolor=c, edgecolor=look.PAPER, label=k) for k, c in KINDS]
    handles.append(Line2D([], [], color=look.INK, linewidth=1.6, label="what the routing asked for"))
    bottom = look.legend_below(fig, handles)
    if timed:
        bottom = look.legend_below(fig, _times(axes[1], styles), row=1)
    for a in axes:
        a.set_ylim(len(styles) - 0.4, -0.6)
        a.grid(axis="x")
        a.set_axisbelow(True)
    caption = "Bars of bytes by kind, one a style" + ("; medians of a layer's time beside." if timed else ".")
    return look.Picture(NAME, look.finish(fig, top, bottom), caption)


def _title(group, timed, named):
    file = f" ({look.file_name(group[0])})" if named else ""
    return "Dispatch styles: bytes moved" + (", and time" if timed else "") + file


def _by_file(record):
    return (*look.setting(record), record.file, record.kind)


def draw(results):
    rows = [r for r in results.of("exchange", "traffic") if r.text("style") not in (None, "raw")]
    named = len({r.file for r in rows}) > 1
    return look.several(p for p in (_picture(g, named) for g in look.grouped(rows, _by_file)) if p)
