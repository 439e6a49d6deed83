"""Published figures and ours beside them, as `moe-a2a reproduce` finds them: ratios, and shares within a published range."""

import math

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.transforms import blended_transform_factory

import look

NAME = "reproduction"
TITLE = "Published figures, and ours"
VERDICTS = {
    "within": (look.GREEN, "o", "within what its entry allows"), "OUTSIDE": (look.RED, "X", "OUTSIDE of what its entry allows"),
    None: (look.BLUE, "D", "not judged"),
}
SIMULATED = (look.PURPLE, "s", "simulated")
# Quantities in words; others stand as they are.
QUANTITIES = {
    "a2a_ms": "all-to-all, ms", "compute_ms": "compute, ms", "iteration_ms": "iteration, ms", "seconds": "iteration, s",
    "share_percent": "a2a share, %", "dispatch_GBps": "dispatch, GB/s", "combine_GBps": "combine, GB/s",
}
SMALL = 8  # points, of a row's text
ROW, GAP = 0.19, 0.4  # inches of a row; rows between entries
PANELS, COLUMNS = 12, 4  # of models


def _published(record):
    """A text, because its digits count."""
    text = record.text("published")
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        record.refuse("published", "a number as text is expected")
    return value


def _simulated(record):
    """A number beside ours; the mark of a simulated run is no number."""
    return None if isinstance(record.at("simulated"), bool) else record.number("simulated")


def _ratio(record, value):
    """To the published figure, where both can stand on a logarithmic axis."""
    published = _published(record)
    return value / published if value is not None and value > 0 and published > 0 else None


def _quantity(record):
    text = record.text("quantity") or "?"
    return QUANTITIES.get(text, look.shortened(text, 20))


def _case(record):
    return look.shortened(record.text("case") or "", 44)


def _number(record, value):
    """With one digit more than was published, as the program's table has it."""
    return "" if value is None else f"{value:.{len(record.text('published').partition('.')[2]) + 1}f}"


# ---- What goes into which picture ----


def _filled(groups, most):
    pictures = [[]]
    for group in groups:
        if pictures[-1] and sum(map(len, pictures[-1])) + len(group) > most:
            pictures.append([])
        pictures[-1].append(group)
    return pictures


def _shared_out(rows):
    """Entries in as few pictures as hold them, and these about as full as each other."""
    entries = {}
    for record in rows:
        entries.setdefault(record.text("name"), []).append(record)
    groups = [e[i : i + look.MAX_ROWS] for e in entries.values() for i in range(0, len(e), look.MAX_ROWS)]
    count = len(_filled(groups, look.MAX_ROWS))
    least = max(map(len, groups))
    return next(p for p in (_filled(groups, most) for most in range(least, look.MAX_ROWS + 1)) if len(p) == count)


# ---- Ratios ----


def _wide(texts, weight="normal"):
    """Inches."""
    return max((TextPath((0, 0), t, size=SMALL, prop={"weight": weight}).get_extents().width for t in texts if t.strip()), default=0) / 72


def _places(groups):
    """(y, record) of every row and (y, name) of every entry, in rows from the top; how many rows."""
    y, rows, names = 0.0, [], []
    for group in groups:
        names.append((y, group[0].text("name") or "?"))
        rows += [(y + 1 + i, record) for i, record in enumerate(group)]
        y += 1 + len(group) + GAP
    return rows, names, y - GAP


def _dots(axes, rows):
    used = []
    for y, record in rows:
        verdict = VERDICTS.get(record.text("verdict"), VERDICTS[None])
        for value, how in ((record.number("ours"), verdict), (_simulated(record), SIMULATED)):
            ratio = _ratio(record, value)
            if ratio is None:
                continue
            colour, marker, label = how
            hollow = how is SIMULATED
            if not hollow:
                axes.plot([1, ratio], [y, y], color=colour, linewidth=1.2, alpha=0.45, solid_capstyle="butt")
            axes.plot(ratio, y, marker, color=colour, markersize=5.5 + 2 * hollow, markerfacecolor="none" if hollow else colour,
                      zorder=3 + hollow)
            used.append(how)
    return [Line2D([], [], color=c, marker=m, linestyle="none", markersize=5.5, markerfacecolor="none" if h is SIMULATED else c, label=t)
            for h in (*VERDICTS.values(), SIMULATED) if h in used for c, m, t in (h,)]


def _words(fig, axes, rows, names, cases):
    """Left of the axes entry, case and quantity; right of them the figures themselves."""
    width, right = fig.get_figwidth(), axes.get_position().x1
    on_page = blended_transform_factory(fig.transFigure, axes.transData)
    how = {"transform": on_page, "fontsize": SMALL, "va": "center", "clip_on": False}
    for y, name in names:
        axes.text(0.09 / width, y, look.shortened(name, 60), fontweight="bold", **how)
    above = None
    for (y, record), case in zip(rows, cases):
        said = (record.text("name"), case)
        axes.text(0.2 / width, y, case if said != above else "", **how)
        above = said
    columns = [("published", lambda r: r.text("published")), ("ours", lambda r: _number(r, r.number("ours")))]
    columns += [("simulated", lambda r: _number(r, _simulated(r)))] * any(_simulated(r) is not None for _, r in rows)
    for i, (heading, text) in enumerate(columns):
        x = right + (0.72 + 0.66 * i) / width
        axes.text(x, -1, heading, ha="right", color=look.MUTED, **how)
        for y, record in rows:
            axes.text(x, y, look.shortened(text(record), 10), ha="right", **how)


def _ratio_picture(groups, count, limits, caption):
    rows, names, lines = _places(groups)
    records = [r for _, r in rows]
    simulated = any(_simulated(r) is not None for r in records)
    height = 1.75 + ROW * lines
    about = f"moe-a2a reproduce · {len(rows)} of {count} figures" if len(rows) < count else f"moe-a2a reproduce · {count} figures"
    fig, top = look.headed(8.4, height, "Measured by others, and what we find for the same: ours / published", about,
                           [look.PREDICTED] + ["SIMULATED where a second marker stands"] * simulated)
    cases, quantities = [_case(r) for r in records], [_quantity(r) for r in records]
    left = 0.2 + _wide(cases) + 0.2 + _wide(quantities) + 0.1
    bottom = 0.74
    right = 0.85 + 0.66 * (1 + simulated)
    axes = fig.add_axes((left / 8.4, bottom / height, 1 - (left + right) / 8.4, top - (bottom + 0.2) / height))
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(lines - 0.3, -0.7)
    handles = _dots(axes, rows)
    axes.axvline(1, color=look.INK, linewidth=1)
    axes.set_yticks([y for y, _ in rows], quantities, fontsize=SMALL, va="center")
    axes.tick_params(axis="y", length=0)
    _words(fig, axes, rows, names, cases)
    look.plain_log(axes.xaxis, *limits)
    axes.set_xlim(*limits)
    axes.set_xlabel("ours / published (logarithmic)")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    look.legend_below(fig, handles, columns=4)
    return look.Picture(NAME, fig, caption)


def _caption(rows, exact):
    verdicts = [r.text("verdict") for r in rows]
    judged = [v for v in verdicts if v in ("within", "OUTSIDE")]
    text = f"Dots of ours over published, one row a figure: {judged.count('within')} of {len(judged)} within what their entries allow, " \
           f"{len(verdicts) - len(judged)} shown beside."
    if exact:
        equal = sum(r.text("verdict") == "equal" for r in exact)
        near = sum(r.text("verdict") == "within" for r in exact)
        text += f" Of {len(exact)} exact figures, not drawn, {equal} are equal to the published digits"
        text += f", {near} within what is allowed." if near else "."
    return text


def _ratio_pictures(rows, exact):
    rows = [r for r in rows if _ratio(r, r.number("ours"))]
    if not rows:
        return []
    ratios = [v for r in rows for v in (_ratio(r, r.number("ours")), _ratio(r, _simulated(r))) if v]
    limits = (0.85 * min(*ratios, 0.8), 1.18 * max(*ratios, 1.25))
    caption = _caption(rows, exact)
    return [_ratio_picture(groups, len(rows), limits, caption) for groups in _shared_out(rows)]


# ---- Shares in a range ----


def _marker(factors, factor):
    return look.MARKERS[factors.index(factor) % len(look.MARKERS)]


def _shares(axes, records, machines, factors):
    for y, machine in enumerate(machines):
        mine = [r for r in records if r.text("machine") == machine]
        shares = [r.number("share_percent") for r in mine]
        if shares:
            axes.plot([min(shares), max(shares)], [y, y], color=look.MUTED, linewidth=0.8, zorder=2)
        for record, share in zip(mine, shares):
            inside = record.flag("inside")
            axes.plot(share, y, _marker(factors, record.text("capacity_factor")), color=look.BLUE if inside else look.MUTED,
                      markerfacecolor=look.BLUE if inside else look.PAPER, markeredgewidth=0.9, markersize=4.5, zorder=3)
    axes.set_ylim(len(machines) - 0.4, -0.6)
    axes.set_yticks(range(len(machines)), [look.shortened(m or "?", 16) for m in machines], fontsize=SMALL)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _range_handles(factors, band):
    handles = [Patch(facecolor=look.YELLOW, alpha=0.3, label=f"published: {band[0]:g} to {band[1]:g} %")] if band else []
    how = {"linestyle": "none", "markersize": 4.5}
    handles += [Line2D([], [], color=look.MUTED, marker=_marker(factors, f), markerfacecolor=look.PAPER, label=f"capacity factor {f}", **how)
                for f in factors]
    return handles + [Line2D([], [], color=look.BLUE, marker="o", label="inside", **how)]


def _range_picture(rows):
    rows = [r for r in rows if r.number("share_percent") is not None]
    if not rows:
        return None
    models = look.unique(r.text("model") for r in rows)
    shown = models[:PANELS]
    machines = look.unique(r.text("machine") for r in rows)[: look.MAX_ROWS]
    factors = look.unique(r.text("capacity_factor") for r in rows)
    rows = [r for r in rows if r.text("model") in shown and r.text("machine") in machines and r.text("capacity_factor") in factors]
    band = rows[0].interval("low", "high")
    inside = sum(bool(r.flag("inside")) for r in rows)
    columns = min(COLUMNS, len(shown))
    lines = -(-len(shown) // columns)
    more = f" ({len(shown)} of {len(models)} models)" if len(shown) < len(models) else ""
    about = f"{look.shortened(rows[0].text('name') or '?')} · {inside} of {len(rows)} configurations are inside of what was published"
    fig, top = look.headed(8.4, 1.7 + lines * (0.5 + ROW * len(machines)), f"All-to-all share of an iteration, by model and machine{more}", about,
                           [look.PREDICTED] + ["SIMULATED"] * (rows[0].flag("simulated") is True))
    cells = fig.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for number, (axes, model) in enumerate(zip(cells, shown)):
        if band:
            axes.axvspan(*band, color=look.YELLOW, alpha=0.3, linewidth=0, zorder=0)
        _shares(axes, [r for r in rows if r.text("model") == model], machines, factors)
        axes.set_title(look.shortened(model or "?", 24), fontsize=9)
        axes.set_xlim(0, 100)
        axes.set_xticks(range(0, 100, 25))
        if number + columns >= len(shown):
            axes.set_xlabel("a2a share, %")
            axes.tick_params(labelbottom=True)
    for axes in cells[len(shown):]:
        axes.set_visible(False)
    bottom = look.legend_below(fig, _range_handles(factors, band), columns=4)
    said = f", the published range being {band[0]:g} to {band[1]:g} %" if band else ""
    caption = f"Dots of shares by model, machine and capacity factor{said}; {inside} of {len(rows)} are inside."
    return look.Picture(f"{NAME}-range", look.finish(fig, top, bottom), caption)


def _by_command(record):
    return record.file, record.run.line


def draw(results):
    ratios, ranges = [], []
    for rows in look.grouped(results.concluded("reproduction"), _by_command):
        kinds = {kind: [r for r in rows if r.text("kind") == kind] for kind in ("exact", "measured")}
        ratios += _ratio_pictures(kinds["measured"], kinds["exact"])
        named = look.grouped([r for r in rows if r.text("kind") == "range"], lambda r: r.text("name"))
        ranges += [p for p in map(_range_picture, named) if p]
    return look.several(ratios) + look.several(ranges)
