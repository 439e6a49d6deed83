"""Heat maps of the report: a picture of the cells, and their values beside it, for hovering."""

import base64
import io
import json

import numpy
from matplotlib import colormaps, image

import look
from figures import matrix, pairs

SIDE = 512  # pixels of a map, about
MOST = 24  # of maps in a page
TEXT_CELLS = 8  # numbers are written on maps of so many cells on a side


def _png(rows, scale):
    values = numpy.array(rows, dtype=float)
    times = max(1, SIDE // len(rows))  # whole pixels: a cell has sharp edges in print too
    large = numpy.ma.masked_invalid(values.repeat(times, 0).repeat(times, 1))
    buffer = io.BytesIO()
    image.imsave(buffer, large, cmap=colormaps[look.HEAT], vmin=0, vmax=scale or 1, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _cells(rows, scale):
    """Small maps say their numbers, in a colour that can be read on the cell."""
    if len(rows) > TEXT_CELLS:
        return []
    return [
        {"x": t + 0.5, "y": f + 0.5, "text": matrix.short(v), "light": v < 0.55 * (scale or 1)}
        for f, row in enumerate(rows) for t, v in enumerate(row) if v == v
    ]


def _map(title, about, rows, unit, per_cell, hosts):
    scale = max((v for row in rows for v in row if v == v), default=0)
    step = max(1, -(-len(rows) // 8))
    return {
        "title": title, "about": about, "unit": unit, "size": len(rows), "png": _png(rows, scale),
        "low": matrix.short(min((v for row in rows for v in row if v == v), default=0)), "high": matrix.short(scale),
        "cells": _cells(rows, scale), "ticks": [{"at": i + 0.5, "text": i * per_cell} for i in range(0, len(rows), step)],
        "data": json.dumps({
            "values": [[None if v != v else float(f"{v:.4g}") for v in row] for row in rows],
            "unit": unit, "per": per_cell, "hosts": hosts,
        }),
    }


def _of_bytes(record):
    unit, size = matrix.unit_of(max(v for row in record.matrix("bytes") for v in row))
    rows = [[v / size for v in row] for row in record.matrix("bytes")]
    per_cell = record.count("ranks_per_cell") or 1
    style = record.text("style") or "?"
    title = record.text("phase") or "?"
    title = title if style == "raw" else f"{style}, {title}"
    title += f", {per_cell} ranks a cell" if per_cell > 1 else ""
    return _map(title, look.subtitle([record]), rows, unit, per_cell, record.run.texts("hosts"))


def _of_rates(group):
    rows = pairs.rates(group)
    size = look.said_once((p.count("bytes") for p in group), "sizes")
    text = look.bytes_text(float(size)) if size and size.isdigit() else size
    return _map(f"each pair by itself, {text} a message", look.subtitle(group), rows, "GB/s", 1, group[0].run.texts("hosts"))


def of(results):
    """Maps of bytes and of rates, and how many were left out."""
    records = matrix.first_of_each(results.of("matrix"))
    groups = {}
    for pair in results.of("pair"):
        groups.setdefault(pairs.by_run(pair), []).append(pair)
    made = [_of_rates(g) for g in list(groups.values())[:MOST]]
    made += [_of_bytes(r) for r in records[: MOST - len(made)]]
    return made, len(groups) + len(records) - len(made)
