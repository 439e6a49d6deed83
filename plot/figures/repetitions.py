"""How repetitions are distributed (--raw): the share that took at most so long, median and p99 marked."""

import look

NAME = "repetitions"
TITLE = "Distribution of repetitions"


def _median(record):
    return record.amount("max_ms.iteration") * 1e3 if record.kind == "iteration" else record.amount("median_us")


def _line(axes, i, record, rows, scale):
    """Draws one; returns whether it has a p99."""
    times = sorted(t / scale for t in record.raw.numbers("times_us"))
    how = {"color": look.SERIES[i], "linestyle": look.DASHES[i % 4], "linewidth": 1.4}
    label = look.name(record, rows)
    if record.count("bytes_per_pair"):
        label += f", {look.bytes_text(record.count('bytes_per_pair'))} a pair"
    axes.step(times, [100 * (k + 1) / len(times) for k in range(len(times))], where="post", label=label, **how)
    median, p99 = _median(record), record.amount("p99_us")
    if median is not None:
        axes.plot(median / scale, 50, "o", color=look.SERIES[i], markersize=6, markeredgecolor=look.PAPER)
    if p99 is not None:
        axes.plot(p99 / scale, 99, "D", color=look.SERIES[i], markersize=6, markeredgecolor=look.PAPER)
    return p99 is not None


def _key(record):
    return (*look.setting(record), record.kind)


def _picture(group):
    rows = group[: look.MAX_LINES]
    what = {"iteration": "iterations", "total": "whole layers (dispatch and combine)"}.get(
        rows[0].text("phase") or rows[0].kind, "exchanges")
    more = f" ({len(rows)} of {len(group)})" if len(rows) < len(group) else ""
    fig, top = look.figure(8.4, 4.2, f"How long repetitions took: {what}{more}", rows)
    axes = fig.add_subplot()
    times = [t for r in rows for t in r.raw.numbers("times_us")]
    unit, scale = look.time_unit(max(times))
    has_p99 = any([_line(axes, i, r, rows, scale) for i, r in enumerate(rows)])
    logarithmic = min(times) > 0 and max(times) > 20 * min(times)
    if logarithmic:
        axes.set_xscale("log")
        look.plain_log(axes.xaxis, min(times) / scale, max(times) / scale)
    axes.set_xlabel(f"{unit}, maximum over ranks" + logarithmic * " (logarithmic)")
    axes.set_ylabel("% of repetitions that took at most so long")
    axes.set_ylim(0, 102)
    axes.grid(True)
    axes.plot([], [], "o", color=look.MUTED, label="median")
    axes.plot([], [], "D" if has_p99 else " ", color=look.MUTED,
              label="p99" if has_p99 else "p99: fewer than 299 repetitions")
    axes.legend(fontsize=7.5, loc="lower right")
    return look.Picture(NAME, look.finish(fig, top), "Cumulative distributions of repetitions.")


def _one_size(records):
    """Of a sweep of sizes the middle one: all of them together say nothing."""
    sizes = sorted({r.count("bytes_per_pair") for r in records if r.count("bytes_per_pair")})
    wanted = sizes[len(sizes) // 2] if sizes else None
    return [r for r in records if r.count("bytes_per_pair") in (None, wanted)]


def draw(results):
    rows = [
        r for r in results.of("exchange", "iteration")
        if r.raw is not None and (r.kind == "iteration" or r.text("phase") in ("total", "alltoallv"))
        and r.raw.numbers("times_us")
    ]
    return look.several(_picture(_one_size(g)) for g in look.grouped(rows, _key))
