"""Time of a MoE layer's exchanges against the number of ranks, with 95 % intervals as bands."""

from matplotlib.ticker import NullLocator

import look

NAME = "ranks"
TITLE = "Time against ranks"
PHASES = (("dispatch", "dispatch"), ("combine", "combine"), ("total", "total: the whole layer"))


def _same_but_ranks(record):
    run = record.run
    return (
        run.text("model.name"), run.count("model.tokens"), run.count("model.row_bytes"), run.count("model.combine_row_bytes"),
        run.count("layout.ranks_per_node"), run.text("transport"), run.text("routing.spec") or run.text("routing.skew"),
        run.number("capacity.factor"), *look.origin(record),
    )


def _is_line(points):
    return len({r.run.count("ranks") for r in points}) > 1


def _panels(rows):
    """Names of series in their order; points of each phase that has a line, by name."""
    phases = {phase: {} for phase, _ in PHASES}
    for record in rows:
        phases[record.text("phase")].setdefault(look.name(record, rows), []).append(record)
    panels = {p: {n: sorted(v, key=lambda r: r.run.count("ranks")) for n, v in series.items() if _is_line(v)}
              for p, series in phases.items()}
    panels = {p: series for p, series in panels.items() if series}
    return look.unique(name for series in panels.values() for name in series), panels


def _line(axes, points, i, label, scale):
    axes.plot([r.run.count("ranks") for r in points], [r.amount("median_us") / scale for r in points], color=look.SERIES[i],
              marker=look.MARKERS[i], linestyle=look.DASHES[i % 4], markersize=4.5, linewidth=1.4, label=label)
    ends = [(r.run.count("ranks"), r.interval("ci_low_us", "ci_high_us")) for r in points]
    ends = [(x, e[0] / scale, e[1] / scale) for x, e in ends if e and 0 < e[0] < e[1]]
    if len(ends) > 1:
        axes.fill_between(*zip(*ends), color=look.SERIES[i], alpha=0.22, linewidth=0)


def _about(rows):
    """With how much there is to send: the same for all."""
    tokens, row = (rows[0].run.count(f"model.{name}") for name in ("tokens", "row_bytes"))
    parts = [look.subtitle(rows), tokens and f"{tokens} token{'s' * (tokens != 1)} a rank", row and f"{look.bytes_text(row)} a row"]
    return " · ".join(p for p in parts if p)


def _axis(axes, ranks, most):
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = ranks[:: max(1, -(-len(ranks) // most))]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("ranks")
    axes.grid(True)


def _picture(rows):
    names, panels = _panels(rows)
    shown = names[: look.MAX_LINES]
    rows = [r for series in panels.values() for n, points in series.items() if n in shown for r in points]
    if not rows:
        return None
    times = [r.amount("median_us") for r in rows]
    unit, scale = look.time_unit(max(times))
    more = f" ({len(shown)} of {len(names)} lines)" if len(shown) < len(names) else ""
    fig, top = look.headed(8.4, 4.4, f"Time of an MoE layer's exchanges, by ranks{more}", _about(rows), look.marks_of(rows))
    cells = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (phase, title) in zip(cells, ((p, t) for p, t in PHASES if p in panels)):
        for i, name in enumerate(shown):
            if name in panels[phase]:
                _line(axes, panels[phase][name], i, name, scale)
        axes.set_title(title, fontsize=9)
        _axis(axes, sorted({r.run.count("ranks") for r in rows}), 12 // len(panels) + 2)
    look.plain_log(cells[0].yaxis, min(times) / scale, max(times) / scale)
    cells[0].set_ylabel(f"{unit}, {look.median_of(rows[0])}")
    handles = {h.get_label(): h for axes in cells for h in axes.get_legend_handles_labels()[0]}
    bottom = look.legend_below(fig, [handles[n] for n in shown], columns=4)
    return look.Picture(NAME, look.finish(fig, top, bottom), "Lines of time by ranks, one a style and algorithm; one panel a phase.")


def draw(results):
    phases = [p for p, _ in PHASES]
    rows = [r for r in results.of("exchange")
            if r.text("phase") in phases and r.text("style") not in (None, "raw") and r.amount("median_us")]
    return look.several(p for p in map(_picture, look.grouped(rows, _same_but_ranks)) if p)
