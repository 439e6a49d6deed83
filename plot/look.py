"""How figures look: colours that colour-blind readers can tell apart (Okabe and Ito, 2008), titles
that say what was run, and marks on what was not plainly measured."""

import os
from dataclasses import dataclass
from itertools import islice

import matplotlib
from matplotlib.figure import Figure

# Names are replaced by CSS variables in the report, which has a light and a dark theme: every colour
# that is not of a cell of a heat map stands here, once.
INK, MUTED, GRID, PAPER, FAINT = "#1b1f24", "#57606a", "#d0d7de", "#fefefe", "#e3e6ea"
BLUE, SKY, GREEN, YELLOW, ORANGE, RED, PURPLE = (
    "#0072b2", "#56b4e9", "#009e73", "#e0b800", "#e69f00", "#d55e00", "#cc79a7",
)
VARIABLES = {
    INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", FAINT: "faint",
    BLUE: "blue", SKY: "sky", GREEN: "green", YELLOW: "yellow", ORANGE: "orange", RED: "red",
    PURPLE: "purple",
}
SERIES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, INK, YELLOW)
MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":")
HEAT = "cividis"  # even in lightness, and the same to colour-blind readers

MAX_ROWS = 40  # of bars in one picture
MAX_LINES = 8  # of series
MAX_PICTURES = 12  # of one kind


def set_up():
    matplotlib.rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": MUTED, "xtick.color": INK,
        "ytick.color": INK, "axes.facecolor": "none", "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER, "legend.frameon": False, "axes.spines.top": False,
        "axes.spines.right": False, "grid.color": GRID, "grid.linewidth": 0.8,
        "svg.hashsalt": "moe-a2a", "hatch.linewidth": 0.6, "hatch.color": PAPER,
        "pdf.fonttype": 42, "text.parse_math": False,
    })


@dataclass
class Picture:
    name: str  # of the file, without its ending
    figure: Figure
    caption: str  # what it shows, for those who do not see it


# ---- What was run ----


def command_of(record):
    words = record.run.texts("command")
    return words[1] if len(words) > 1 else ""


def setting(record):
    """What makes results of one picture belong together."""
    run = record.run
    return (
        run.text("model.name"), run.count("ranks"), run.text("transport"), run.text("routing.hash"), run.count("step"),
        *origin(record),
    )


def origin(record):
    """Measured, predicted on a machine or simulated on a platform: one figure is never of two of them."""
    return is_predicted(record), is_simulated(record), record.run.text("machine"), record.run.text("platform")


def grouped(records, key=setting):
    groups = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


def shortened(text, most=48):
    return text if len(text) <= most else text[: most - 1] + "…"


def unique(values):
    return list(dict.fromkeys(v for v in values if v is not None))


def said_once(values, what):
    """The value, or how many there are."""
    values = unique(values)
    return None if not values else shortened(str(values[0])) if len(values) == 1 else f"{len(values)} {what}"


def subtitle(records):
    runs = [r.run for r in records]
    ranks = unique(r.count("ranks") for r in runs)
    parts = [
        said_once((r.text("model.name") for r in runs), "models"),
        f"{ranks[0]} rank{'s' * (ranks[0] != 1)}" if len(ranks) == 1 else f"{min(ranks)} to {max(ranks)} ranks",
        said_once((r.text("transport") for r in runs), "transports") or "not run: counted",
        said_once((r.text("routing.skew") for r in runs), "skews"),
    ]
    hashes = said_once((r.text("routing.hash") for r in runs), "routings")
    if hashes:
        parts.append(hashes if hashes.endswith("routings") else f"routing {hashes}")
    steps = said_once((r.count("step") for r in runs), "steps")
    if steps:
        parts.append(steps if steps.endswith("steps") else f"step {steps}")
    if is_predicted(records[0]):
        parts[2] = said_once((r.text("machine") for r in runs), "machines")
    return " · ".join(p for p in parts if p)


# ---- What was not plainly measured ----


PREDICTED = "PREDICTED by a cost model"


def is_predicted(record):
    return bool(
        record.flag("predicted") or record.run.flag("predicted") or command_of(record) == "predict"
    )


def is_simulated(record):
    return bool(record.flag("simulated") or record.run.flag("simulated"))


def unmeasured(record):
    """What it is instead of measured, in a word; or None."""
    return "predicted" if is_predicted(record) else "simulated" if is_simulated(record) else None


def median_of(record, interval=" [95 % interval as band]"):
    """What a picture's times are, for an axis. Predictions have no repetitions, and those of a simulation are equal."""
    return unmeasured(record) or "median" + interval


def marks(record):
    """What a reader must know before believing the times of a record."""
    said = []
    if is_predicted(record):
        said.append(PREDICTED)
    if is_simulated(record):
        said.append(f"SIMULATED on {shortened(record.run.text('platform') or 'a platform')}")
    layers = record.count("extrapolated_from_layers") if record.kind == "iteration" else None
    if layers is not None:
        said.append(f"EXTRAPOLATED from {layers} MoE layer{'s' * (layers != 1)}")
    if record.kind == "iteration" and "modelled" in (record.text("compute") or ""):
        said.append("compute MODELLED")
    if record.run.flag("functional_only"):
        said.append("ranks shared a GPU: FUNCTIONAL ONLY, times mean nothing")
    if record.run.text("transport") == "loopback":
        said.append("ranks were THREADS of one process")
    if record.run.at("binding.warnings"):
        said.append("ranks BADLY BOUND: they disturbed each other")
    if is_open(record):
        said.append("NOT CONVERGED, some or all")
    return said


def is_open(record):
    """Did a cap come before the interval was narrow? A simulation's repetitions are equal: one is enough."""
    return record.flag("converged") is False and not is_simulated(record)


def marks_of(records):
    return unique(mark for record in records for mark in marks(record))


# ---- Making pictures ----


def figure(width, height, title, records):
    """A figure, and what it must leave free above: title, what was run, marks."""
    return headed(width, height, title, subtitle(records), marks_of(records))


def headed(width, height, title, about, said):
    """The same of texts; said: the marks."""
    fig = Figure(figsize=(width, height))
    lines = [(title, {"fontsize": 11, "fontweight": "bold"}), (about, {"color": MUTED, "fontsize": 8})]
    if said:
        lines.append((" · ".join(said), {"color": RED, "fontsize": 8, "fontweight": "bold"}))
    y = 1 - 0.08 / height
    for text, how in lines:
        fig.text(0.09 / width, y, text, va="top", ha="left", **how)
        y -= (how["fontsize"] + 6) / 72 / height
    return fig, y - 0.04 / height


def figure_of_maps(width, height, title, records):
    """The same for heat maps, beside which colour bars take room; needs no finish()."""
    fig, top = figure(width, height, title, records)
    fig.set_layout_engine("constrained", rect=(0.01, 0.01, 0.98, top - 0.01), hspace=0.04, wspace=0.04)
    return fig


def legend_below(fig, handles, row=0, columns=6):
    """At the lower left; returns how much room the rows so far take, for finish()."""
    height = fig.get_figheight()
    fig.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0.24 * row / height), ncols=columns, fontsize=8,
               handlelength=1.6, columnspacing=1.4)
    return (0.06 + 0.24 * (row - (-len(handles) // columns))) / height


def finish(fig, top, bottom=0.0):
    fig.tight_layout(rect=(0, bottom, 1, top), pad=0.6)
    return fig


def name(record, beside=()):
    """Of a row: style and algorithm, and step and file where rows of several are beside each other."""
    style = record.text("style") or "?"
    parts = [] if style == "raw" else [shortened(style, 20)]
    parts.append(shortened(record.text("algorithm") or "?", 20))
    if len({r.run.count("step") for r in beside}) > 1:
        step = record.run.count("step")
        parts.append("without steps" if step is None else f"step {step}")
    if len({r.file for r in beside}) > 1:
        parts.append(f"({file_name(record)})")
    return " ".join(parts)


def file_name(record):
    return shortened(os.path.basename(record.file).removesuffix(".jsonl"), 24)


def several(pictures):
    """The first pictures of one kind; their names are numbered where there are several."""
    pictures = list(islice(pictures, MAX_PICTURES))
    if len(pictures) > 1:
        for number, picture in enumerate(pictures, 1):
            picture.name += f"-{number}"
    return pictures


def bytes_text(value):
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g} B"


def time_unit(most_us):
    """Unit for an axis, and how many microseconds it is."""
    return ("s", 1e6) if most_us >= 2e6 else ("ms", 1e3) if most_us >= 2e3 else ("us", 1.0)


def plain_log(axis, low, high):
    """Numbers as they are, 1-2-5 where decades are few: exponents are hard to read."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    steps = (1, 2, 5) if high < 200 * low else (1,)
    ticks = [m * 10.0**e for e in range(-9, 13) for m in steps]
    axis.set_major_locator(FixedLocator([t for t in ticks if low / 2 <= t <= high * 2]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.12g}".replace(",", " ")))
    axis.set_minor_formatter(NullFormatter())


def time_text(us):
    return f"{us / 1e6:.3g} s" if us >= 1e6 else f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} us"


def share_text(record, field="a2a"):
    """ "47 % [45, 49]" """
    share, ends = record.number(f"share.{field}"), record.interval(f"ci.{field}_low", f"ci.{field}_high")
    if share is None:
        return None
    narrow = ends is not None and ends[1] - ends[0] < 0.02
    digits = 1 if share < 0.1 or narrow else 0
    text = f"{100 * share:.{digits}f} %"
    return text if ends is None else text + f" [{100 * ends[0]:.{digits}f}, {100 * ends[1]:.{digits}f}]"
