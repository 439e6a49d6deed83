"""From whom to whom: bytes of a phase as heat maps, one a style, each on a scale of its own."""

from matplotlib import colormaps

import look

NAME = "matrix"
TITLE = "Bytes from rank to rank"
MOST = 6  # beside each other


def heat_map(axes, rows, label, scale, per_cell=1, text=None):
    """Draws a square; returns what a colour bar needs. scale: the largest value."""
    size = len(rows)
    image = axes.imshow(rows, cmap=colormaps[look.HEAT], vmin=0, vmax=scale or 1, origin="upper",
                        interpolation="nearest", aspect="equal")
    step = max(1, -(-size // 8))
    ticks = list(range(0, size, step))
    axes.set_xticks(ticks, [str(t * per_cell) for t in ticks])
    axes.set_yticks(ticks, [str(t * per_cell) for t in ticks])
    axes.set_title(label, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if text and size <= 8:
        for f, row in enumerate(rows):
            for t, value in enumerate(row):
                if value == value:  # no NaN
                    axes.text(t, f, text(value), ha="center", va="center", fontsize=6.5,
                              color="#ffffff" if value < 0.55 * (scale or 1) else "#000000")
    return image


def unit_of(most):
    for name, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if most >= size:
            return name, size
    return "B", 1


def colour_bar(fig, image, axes, label):
    bar = fig.colorbar(image, ax=axes, shrink=0.9, pad=0.03, aspect=24)
    bar.set_label(label)
    bar.outline.set_visible(False)


def short(value):
    """A number for a cell."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"


def first_of_each(records):
    """A style's matrix is the same for all algorithms and in all files of the same routing."""
    seen = {}
    for r in records:
        seen.setdefault((r.text("style"), r.text("phase"), r.text("matrix_hash")), r)
    return list(seen.values())


def drawn(records):
    """Combine is dispatch turned over but for its width: not drawn again."""
    return [r for r in first_of_each(records) if r.text("phase") != "combine"]


def _picture(group):
    rows = drawn(group)[:MOST]
    values = [r.matrix("bytes") for r in rows]
    columns = min(3, len(rows)) if len(rows) != 4 else 2
    lines = -(-len(rows) // columns)
    fig = look.figure_of_maps(max(5.2, 3.9 * columns), 0.8 + 3.2 * lines, "Bytes from rank to rank, padding included", rows)
    cells = fig.subplots(lines, columns, squeeze=False).ravel()
    for number, (axes, record, matrix) in enumerate(zip(cells, rows, values)):
        per_cell = record.count("ranks_per_cell") or 1
        label = record.text("phase") if record.text("style") == "raw" else f"{record.text('style')} {record.text('phase')}"
        if per_cell > 1:
            label += f", {per_cell} ranks a cell"
        unit, size = unit_of(max(v for row in matrix for v in row))
        matrix = [[v / size for v in row] for row in matrix]
        image = heat_map(axes, matrix, look.shortened(label), max(map(max, matrix)), per_cell, short)
        colour_bar(fig, image, axes, unit)
        axes.set_xlabel("to rank" if number + columns >= len(rows) else "")
        axes.set_ylabel("from rank" if number % columns == 0 else "")
    for axes in cells[len(rows):]:
        axes.set_visible(False)
    return look.Picture(NAME, fig, "Heat maps of bytes from rank to rank.")


def draw(results):
    return look.several(map(_picture, look.grouped(results.of("matrix"))))
