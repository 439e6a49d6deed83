"""What an iteration is made of, as stacked bars, with the share of the all-to-all written on them."""

from matplotlib.patches import Patch

import look

NAME = "breakdown"
TITLE = "What an iteration is made of"
PARTS = (
    ("compute", look.SKY), ("metadata", look.PURPLE), ("permute", look.YELLOW),
    ("dispatch", look.BLUE), ("combine", look.RED), ("allreduce", look.GREEN),
)


def _bars(axes, rows):
    for y, record in enumerate(rows):
        left = 0.0
        for part, colour in PARTS:
            width = record.amount(f"time_ms.{part}") or 0.0
            axes.barh(
                y, width, left=left, height=0.66, color=colour, edgecolor=look.PAPER, linewidth=0.6,
                hatch="////" if part == "compute" and "modelled" in (record.text("compute") or "")
                or look.is_predicted(record) else None,
            )
            left += width
        shares = look.share_text(record)
        axes.annotate(f"a2a {shares}" if shares else "", (left, y), xytext=(6, 0), textcoords="offset points",
                      va="center", ha="left", fontsize=9, fontweight="bold")


def _label(record, rows):
    passes = {r.text("pass") for r in rows}
    text = look.name(record, rows)
    return text if len(passes) < 2 else f"{text}, {record.text('pass')}"


def _picture(group):
    rows = group[: look.MAX_ROWS]
    passes = look.said_once((r.text("pass") for r in rows), "passes") or ""
    more = f" ({len(rows)} of {len(group)})" if len(rows) < len(group) else ""
    fig, top = look.figure(8.4, 1.65 + 0.4 * len(rows), f"Where the time of a {passes} iteration goes{more}", rows)
    axes = fig.add_subplot()
    _bars(axes, rows)
    used = [(p, c) for p, c in PARTS if any(r.amount(f"time_ms.{p}") for r in rows)]
    axes.set_yticks(range(len(rows)), [_label(r, rows) for r in rows])
    axes.invert_yaxis()
    most = max(sum(r.amount(f"time_ms.{p}") or 0.0 for p, _ in PARTS) for r in rows)
    axes.set_xlim(0, most * 1.36 or 1.0)
    axes.set_xlabel("ms, mean over ranks, " + look.median_of(rows[0], " over repetitions"))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    handles = [Patch(facecolor=c, edgecolor=look.PAPER, label=p) for p, c in used]
    look.finish(fig, top, look.legend_below(fig, handles))
    said = "; ".join(
        f"{_label(r, rows)}: a2a {look.share_text(r) or 'unknown'}" for r in rows[:12]
    )
    return look.Picture(NAME, fig, f"Stacked bars of an iteration's parts. {said}.")


def draw(results):
    return look.several(_picture(g) for g in look.grouped(results.of("iteration")))
