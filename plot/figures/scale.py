"""The share of an iteration that is dispatch and combine, against the number of ranks, with intervals as bands."""

from matplotlib.ticker import NullLocator

import look

NAME = "scale"
TITLE = "Share against ranks"


def _same_but_ranks(record):
    run = record.run
    return (
        run.text("model.name"), record.text("pass"), run.count("model.tokens"), run.text("transport"),
        run.text("routing.skew"), run.number("capacity.factor"), *look.origin(record),
    )


def _lines(rows):
    """Series of two numbers of ranks or more; one alone is no line."""
    lines = {}
    for record in rows:
        lines.setdefault(look.name(record, rows), []).append(record)
    return {k: v for k, v in lines.items() if len({r.run.count("ranks") for r in v}) > 1}


def _picture(rows):
    lines = _lines(rows)
    rows = [r for points in lines.values() for r in points]
    if not rows:
        return None
    which = rows[0].text("pass") or ""
    fig, top = look.figure(8.4, 4.2, f"Dispatch and combine as a share of a {which} iteration, by ranks", rows)
    axes = fig.add_subplot()
    for i, (label, points) in enumerate(list(lines.items())[: look.MAX_LINES]):
        points.sort(key=lambda r: r.run.count("ranks"))
        axes.plot([r.run.count("ranks") for r in points], [100 * r.number("share.a2a") for r in points], color=look.SERIES[i],
                  marker=look.MARKERS[i], linestyle=look.DASHES[i % 4], markersize=4.5, linewidth=1.4, label=label)
        ends = [(r.run.count("ranks"), r.interval("ci.a2a_low", "ci.a2a_high")) for r in points]
        ends = [(x, 100 * e[0], 100 * e[1]) for x, e in ends if e]
        if len(ends) > 1:
            axes.fill_between(*zip(*ends), color=look.SERIES[i], alpha=0.22, linewidth=0)
    ranks = sorted({r.run.count("ranks") for r in rows})
    axes.set_xscale("log", base=2)
    ticks = ranks[:: max(1, -(-len(ranks) // 12))]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("ranks")
    axes.set_ylabel(f"% of an iteration, {look.median_of(rows[0])}")
    axes.set_ylim(0, 100)
    axes.grid(True)
    bottom = look.legend_below(fig, axes.get_legend_handles_labels()[0], columns=4)
    return look.Picture(NAME, look.finish(fig, top, bottom), "Lines of the a2a share by ranks, one a style and algorithm.")


def draw(results):
    rows = [r for r in results.of("iteration") if r.number("share.a2a") is not None]
    return look.several(p for p in map(_picture, look.grouped(rows, _same_but_ranks)) if p)
