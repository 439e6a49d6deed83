"""Time of a raw exchange against its size, with 95 % intervals as bands, and the rate of the busiest port."""

from matplotlib.ticker import NullLocator

import look

NAME = "size"
TITLE = "Time against size"


def _lines(rows):
    lines = {}
    for record in rows:
        lines.setdefault(look.name(record, rows), []).append(record)
    for points in lines.values():
        points.sort(key=lambda r: r.count("bytes_per_pair"))
    return list(lines.items())[: look.MAX_LINES]


def _plot(axes, points, field, scale, how):
    xy = [(r.count("bytes_per_pair"), r.number(field)) for r in points]
    xy = [(x, y / scale) for x, y in xy if y is not None]
    axes.plot(*zip(*xy), **how) if xy else None


def _band(axes, points, scale, colour):
    ends = [(r.count("bytes_per_pair"), r.interval("ci_low_us", "ci_high_us")) for r in points]
    ends = [(x, low_high[0] / scale, low_high[1] / scale) for x, low_high in ends if low_high]
    if len(ends) > 1:
        axes.fill_between(*zip(*ends), color=colour, alpha=0.22, linewidth=0)


def _picture(rows):
    rows = [r for r in rows if r.number("median_us")]
    if len({r.count("bytes_per_pair") for r in rows}) < 2:
        return None
    fig, top = look.figure(8.4, 4.0, "Time of an exchange, and rate of the busiest port, by size", rows)
    time, rate = fig.subplots(1, 2)
    medians = [r.number("median_us") for r in rows]
    unit, scale = look.time_unit(max(medians))
    for i, (label, points) in enumerate(_lines(rows)):
        how = {"color": look.SERIES[i], "marker": look.MARKERS[i], "linestyle": look.DASHES[i % 4],
               "markersize": 4.5, "linewidth": 1.4, "label": label}
        _plot(time, points, "median_us", scale, how)
        _band(time, points, scale, how["color"])
        _plot(rate, points, "busbw_GBps", 1.0, how)
    bounds = sorted({(r.count("bytes_per_pair"), r.number("bound_us") / scale) for r in rows if r.number("bound_us")})
    if len(bounds) > 1:
        time.plot(*zip(*bounds), color=look.MUTED, linewidth=1, label="bound of the link")
    time.set_ylabel(f"{unit}, {look.median_of(rows[0])}")
    time.set_yscale("log")
    look.plain_log(time.yaxis, min(medians) / scale, max(medians) / scale)
    rate.set_ylabel("busbw, GB/s")
    rate.set_ylim(bottom=0)
    for axes in (time, rate):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("bytes from each rank to each rank")
        axes.grid(True)
        sizes = sorted({r.count("bytes_per_pair") for r in rows})
        ticks = sizes[:: max(1, -(-len(sizes) // 6))]
        axes.set_xticks(ticks, [look.bytes_text(s) for s in ticks], rotation=30, ha="right")
        axes.xaxis.set_minor_locator(NullLocator())
    time.legend(fontsize=8)
    return look.Picture(NAME, look.finish(fig, top), "Lines of time and rate by size, one an algorithm.")


def draw(results):
    rows = [r for r in results.of("exchange") if r.text("phase") == "alltoallv" and r.count("bytes_per_pair")]
    return look.several(p for p in map(_picture, look.grouped(rows)) if p)
