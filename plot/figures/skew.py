"""Time against skew: runs that differ in their routing alone, with 95 % intervals as bands."""

import look

NAME = "skew"
TITLE = "Time against skew"
LOAD = "load.rank_max_over_mean"


def _same_but_routing(record):
    run = record.run
    return (
        record.kind, run.text("model.name"), run.count("ranks"), run.text("transport"),
        run.count("model.tokens"), run.count("layout.ep"), run.number("capacity.factor"), *look.origin(record),
    )


def _time(record):
    """Median and interval in ms, and what it is of."""
    if record.kind == "iteration":
        return record.amount("max_ms.iteration"), record.interval("ci.iteration_ms_low", "ci.iteration_ms_high")
    ends = record.interval("ci_low_us", "ci_high_us")
    return record.amount("median_us") / 1e3, ends and (ends[0] / 1e3, ends[1] / 1e3)


def _lines(rows):
    """Series of two loads or more; one alone is no line."""
    lines = {}
    for record in rows:
        lines.setdefault(look.name(record, rows), []).append(record)
    return {k: v for k, v in lines.items() if len({r.run.number(LOAD) for r in v}) > 1}


def _picture(rows):
    rows = [r for points in _lines(rows).values() for r in points]
    loads = {r.run.number(LOAD): r.run.text("routing.skew") for r in rows}
    if len(loads) < 2:
        return None
    whole = "an iteration" if rows[0].kind == "iteration" else "dispatch and combine, whole layer"
    fig, top = look.figure(8.4, 4.2, f"Time of {whole}, by how uneven the ranks' loads are", rows)
    axes = fig.add_subplot()
    for i, (label, points) in enumerate(list(_lines(rows).items())[: look.MAX_LINES]):
        points.sort(key=lambda r: r.run.number(LOAD))
        x = [r.run.number(LOAD) for r in points]
        axes.plot(x, [_time(r)[0] for r in points], color=look.SERIES[i], marker=look.MARKERS[i],
                  linestyle=look.DASHES[i % 4], markersize=4.5, linewidth=1.4, label=label)
        ends = [(r.run.number(LOAD), *_time(r)[1]) for r in points if _time(r)[1]]
        if len(ends) > 1:
            at, lows, highs = zip(*ends)
            axes.fill_between(at, lows, highs, color=look.SERIES[i], alpha=0.22, linewidth=0)
    axes.set_xlabel("load of the busiest rank / mean load")
    axes.set_ylabel(f"ms, {look.median_of(rows[0])}")
    axes.set_ylim(bottom=0)
    axes.grid(True)
    bottom = look.legend_below(fig, axes.get_legend_handles_labels()[0], columns=4)
    _name_skews(axes, loads)
    return look.Picture(NAME, look.finish(fig, top, bottom), "Lines of time by skew, one a style and algorithm.")


def _name_skews(axes, loads):
    """The names above, where there is room beside the one before."""
    last, (low, high) = None, axes.get_xlim()
    for load, skew in sorted(loads.items()):
        if skew and (last is None or load - last > 0.09 * (high - low)):
            axes.annotate(look.shortened(skew, 16), (load, 1.0), xycoords=("data", "axes fraction"),
                          xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7, color=look.MUTED)
            axes.axvline(load, color=look.GRID, linewidth=0.8, zorder=0)
            last = load


def draw(results):
    rows = [
        r for r in results.of("exchange", "iteration")
        if (r.kind == "iteration" or r.text("phase") == "total" and r.amount("median_us") is not None)
        and r.run.number(LOAD) is not None
    ]
    return look.several(p for p in map(_picture, look.grouped(rows, _same_but_routing)) if p)
