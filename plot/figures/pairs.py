"""Rate that every pair of ranks reaches by itself."""

import look
from .matrix import colour_bar, heat_map, short

NAME = "pairs"
TITLE = "Rate of every pair of ranks"
NONE = float("nan")


def by_run(record):
    return (record.file, record.run.line)


def rates(pairs):
    """GB/s in a square; NaN where nothing was measured."""
    ranks = pairs[0].run.count("ranks")
    square = [[NONE] * ranks for _ in range(ranks)]
    for pair in pairs:
        source, to, rate = pair.count("from"), pair.count("to"), pair.amount("GBps")
        if source is None or to is None or source >= ranks or to >= ranks:
            pair.refuse("from" if source is None or source >= ranks else "to", f"there are {ranks} ranks")
        if rate is not None:
            square[source][to] = rate
    return square


def _picture(pairs):
    values = rates(pairs)
    measured = [v for row in values for v in row if v == v]
    if not measured:
        return None
    size = look.said_once((p.count("bytes") for p in pairs), "sizes")
    text = look.bytes_text(float(size)) if size and size.isdigit() else size
    side = 4.6 if len(values) <= 16 else 6.4
    fig = look.figure_of_maps(side + 1.2, side + 0.5, f"Rate of each pair of ranks by itself, {text} a message", pairs)
    axes = fig.add_subplot()
    image = heat_map(axes, values, "", max(measured), 1, short)
    axes.set_xlabel("to rank")
    axes.set_ylabel("from rank")
    colour_bar(fig, image, axes, "GB/s, from the median")
    caption = f"Heat map of rates, {min(measured):.3g} to {max(measured):.3g} GB/s."
    return look.Picture(NAME, fig, caption)


def draw(results):
    return look.several(p for p in map(_picture, look.grouped(results.of("pair"), by_run)) if p)
