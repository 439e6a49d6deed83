"""What the figures show, told from what stands in them; and what they refuse."""

import io
import os
import sys
import xml.etree.ElementTree

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../plot"))

import look
import reading
from figures import FIGURES, breakdown, comparison, matrix, pairs, ranks, repetitions, reproduction, scale, size, skew, styles
from matplotlib.colors import to_hex
from matplotlib.text import Text

import records as r
from tap import equal, holds, run

look.set_up()


def read(*records):
    return reading.read([r.write(*records)])


def texts(picture):
    return [t.get_text() for t in picture.figure.findobj(Text) if t.get_text()]


def only(pictures):
    equal(len(pictures), 1)
    return pictures[0]


def refused(action):
    try:
        action()
    except reading.Refused as why:
        return str(why)
    raise AssertionError("it was not refused")


def test_the_bars_of_an_iteration_carry_the_share_of_the_a2a():
    picture = only(breakdown.draw(read(r.run(), r.iteration(), r.iteration("padded", 0.03))))
    equal([t.strip() for t in texts(picture) if "a2a" in t], ["a2a 47 % [45, 49]", "a2a 3.0 % [1.0, 5.0]"])
    holds(texts(picture), "exact native")
    widths = [round(p.get_width(), 6) for p in picture.figure.axes[0].patches[:6]]
    equal(widths, [50, 1, 3, 26, 20, 0])


def test_titles_say_model_ranks_transport_skew_and_hash():
    picture = only(breakdown.draw(read(r.run(), r.iteration())))
    holds(texts(picture), "mixtral-8x7b · 4 ranks · mpi · zipf:1.0 · routing 0123456789abcdef")


def test_what_was_not_plainly_measured_is_marked():
    cases = (
        (r.run(), r.iteration(extrapolated_from_layers=2), "EXTRAPOLATED from 2 MoE layers"),
        (r.run(), r.iteration(compute="modelled: H100"), "compute MODELLED"),
        (r.run(functional_only=True), r.iteration(), "FUNCTIONAL ONLY"),
        (r.run(transport="loopback"), r.iteration(), "THREADS"),
        (r.run(), r.iteration(converged=False), "NOT CONVERGED"),
        (r.run(binding={"warnings": ["too few cores"]}), r.iteration(), "BADLY BOUND"),
        (r.run(command=["moe-a2a", "predict"]), r.iteration(), "PREDICTED"),
        (r.run(), r.iteration(predicted=True), "PREDICTED"),
        (r.simulated(), r.iteration(), "SIMULATED on fat-tree-64"),
        (r.run(), r.iteration(simulated=True), "SIMULATED on a platform"),
    )
    for leader, record, mark in cases:
        holds(" ".join(texts(only(breakdown.draw(read(leader, record))))), mark)
    plain = " ".join(texts(only(breakdown.draw(read(r.run(), r.iteration())))))
    equal([w for w in plain.split() if w.isupper() and len(w) > 3], [])


def test_what_is_predicted_has_a_picture_of_its_own():
    pictures = breakdown.draw(read(r.run(), r.iteration(), r.iteration(predicted=True)))
    equal([p.name for p in pictures], ["breakdown-1", "breakdown-2"])


def test_styles_show_tokens_padding_metadata_and_what_stays():
    picture = only(styles.draw(read(
        r.run(),
        r.exchange(phase="metadata", us=5, **r.moved(0, 96, 96, 0)),
        r.exchange(phase="dispatch", us=400, **r.moved(500, 800, 600, 200)),
        r.exchange(phase="combine", us=500, **r.moved(500, 800, 600, 200)),
        r.exchange(phase="total"),
    )))
    equal([1024 * p.get_width() for p in picture.figure.axes[0].patches], [800, 400, 96, 400])
    holds(texts(picture), "KiB of all ranks, dispatch and combine")
    holds(texts(picture), "ms of a layer, median [95 % interval]")


def test_the_first_algorithm_alone_counts_bytes():
    rows = [r.exchange(algorithm=a, phase="dispatch", **r.moved(5, 8, 6, 2)) for a in ("native", "pairwise")]
    picture = only(styles.draw(read(r.run(), *rows)))
    equal([p.get_width() for p in picture.figure.axes[0].patches], [4, 2, 0, 2])


def test_a_counted_pattern_has_bytes_and_no_time():
    record = {"record": "traffic", "style": "exact", "phase": "dispatch", "metadata_bytes": 100, **r.moved(500, 900, 700, 0)}
    leader = r.run()
    del leader["transport"]
    picture = only(styles.draw(read(leader, record)))
    equal(len(picture.figure.axes), 1)
    equal([p.get_width() for p in picture.figure.axes[0].patches], [600, 0, 100, 200])
    holds(" ".join(texts(picture)), "not run: counted")


def sweep(algorithm):
    return [r.exchange("raw", algorithm, "alltoallv", us, bytes_per_pair=b, busbw_GBps=b / us / 1e3)
            for b, us in ((1024, 10.0), (4096, 20.0), (16384, 40.0))]


def test_a_sweep_of_sizes_is_a_line_with_a_band_for_each_algorithm():
    picture = only(size.draw(read(r.run(), *sweep("native"), *sweep("pairwise"))))
    time = picture.figure.axes[0]
    equal([list(line.get_xdata()) for line in time.lines], [[1024, 4096, 16384]] * 2)
    equal([list(line.get_ydata()) for line in time.lines], [[10, 20, 40]] * 2)
    equal(len(time.collections), 2)
    holds(texts(picture), "4 KiB")


def test_one_size_is_no_line():
    equal(size.draw(read(r.run(), *sweep("native")[:1])), [])


def skewed(load, skewness, us):
    return [r.run(load={"rank_max_over_mean": load}, routing={"skew": skewness, "hash": f"{int(load * 10):016x}"}), r.exchange(us=us)]


def test_time_by_skew_joins_runs_that_differ_in_their_routing():
    picture = only(skew.draw(read(*skewed(1.0, "uniform", 1000.0), *skewed(2.0, "zipf:1.2", 3000.0))))
    line = picture.figure.axes[0].lines[0]
    equal((list(line.get_xdata()), list(line.get_ydata())), ([1.0, 2.0], [1.0, 3.0]))
    holds(texts(picture), "zipf:1.2")


def test_runs_of_different_ranks_are_not_joined():
    other = r.run(ranks=8, hosts=["a"] * 8, load={"rank_max_over_mean": 2.0})
    equal(skew.draw(read(*skewed(1.0, "uniform", 1000.0), other, r.exchange())), [])


def test_the_share_by_ranks_joins_runs_that_differ_in_their_ranks():
    rows = []
    for ranks, share in ((8, 0.2), (64, 0.4)):
        rows += [r.run(ranks=ranks, hosts=["a"] * ranks, predicted=True, machine="m"), r.iteration(a2a=share)]
    picture = only(scale.draw(read(*rows, r.run(), r.iteration())))
    line = picture.figure.axes[0].lines[0]
    equal((list(line.get_xdata()), [round(y) for y in line.get_ydata()]), ([8, 64], [20, 40]))
    holds(" ".join(texts(picture)), "8 to 64 ranks · m")
    holds(" ".join(texts(picture)), "PREDICTED")


def layers(leader, us, **more):
    return [leader, *(r.exchange(phase=p, us=us * k, **more) for p, k in (("dispatch", 1), ("combine", 2), ("total", 4), ("permute", 9)))]


def test_time_by_ranks_has_a_panel_for_each_phase_and_a_line_with_a_band_for_each_algorithm():
    rows = []
    for n in (8, 64, 16):
        rows += layers(r.on_ranks(n), 10.0 * n) + layers(r.on_ranks(n), 20.0 * n, algorithm="pairwise")
    picture = only(ranks.draw(read(*rows)))
    panels = picture.figure.axes
    equal([a.get_title() for a in panels], ["dispatch", "combine", "total: the whole layer"])
    equal([[list(line.get_xdata()) for line in a.lines] for a in panels], [[[8, 16, 64]] * 2] * 3)
    equal([list(line.get_ydata()) for line in panels[1].lines], [[0.16, 0.32, 1.28], [0.32, 0.64, 2.56]])
    equal([len(a.collections) for a in panels], [2, 2, 2])
    equal({(a.get_xscale(), a.get_yscale()) for a in panels}, {("log", "log")})
    holds(texts(picture), "ms, median [95 % interval as band]")
    holds(texts(picture), "exact pairwise")
    holds(texts(picture), "mixtral-8x7b · 8 to 64 ranks · mpi · zipf:1.0 · routing 0123456789abcdef · 64 tokens a rank")


def test_one_number_of_ranks_is_no_line():
    equal(ranks.draw(read(*layers(r.run(), 10.0))), [])
    rows = layers(r.on_ranks(8), 10.0) + layers(r.on_ranks(16), 20.0) + layers(r.on_ranks(16), 20.0, algorithm="bruck")
    equal(len(only(ranks.draw(read(*rows))).figure.axes[0].lines), 1)


def test_simulated_times_by_ranks_are_said_to_be_and_have_no_band():
    rows = []
    for n in (8, 16):
        rows += layers(r.simulated(ranks=n, hosts=["a"] * n), 10.0, ci_low_us=None, ci_high_us=None, converged=False)
    picture = only(ranks.draw(read(*rows)))
    equal(len(picture.figure.axes[0].collections), 0)
    holds(texts(picture), "us, simulated")
    holds(texts(picture), "SIMULATED on fat-tree-64")


def test_what_is_measured_simulated_and_predicted_is_never_in_one_picture():
    machines = (r.run, r.simulated, lambda **more: r.simulated(platform="torus-64", **more), lambda **more: r.run(predicted=True, machine="m", **more))
    sweeps = (sweep("native"), [r.exchange(), r.raw()], [r.iteration()], [r.matrix(4)], layers(r.run(), 5.0)[1:],
              [r.exchange(phase="dispatch", **r.moved(5, 8, 6, 2))])
    points = [{"ranks": n, "hosts": ["a"] * n, "load": {"rank_max_over_mean": n / 8}} for n in (8, 16)]
    points += [{"ranks": 16, "hosts": ["a"] * 16, "load": {"rank_max_over_mean": 3.0}, "routing": {"hash": "00", "skew": "zipf:9"}}]
    results = read(*(record for machine in machines for point in points for record in (machine(**point), *(x for s in sweeps for x in s))))
    nameless = read(r.simulated(platform=None), r.exchange(), r.run(), r.exchange()).records
    assert look.setting(nameless[0]) != look.setting(nameless[1])
    drawn = [f for f in FIGURES if f not in (pairs, comparison, reproduction)]
    for figure in drawn:
        pictures = figure.draw(results)
        said = [" ".join(m for m in ("SIMULATED on fat-tree-64", "SIMULATED on torus-64", "PREDICTED") if any(m in t for t in texts(p))) for p in pictures]
        assert len(set(said)) == 4 and set(said) <= {"", "SIMULATED on fat-tree-64", "SIMULATED on torus-64", "PREDICTED"}, (figure.NAME, said)
        axes = [" ".join(texts(p)) for p, mark in zip(pictures, said) if mark]
        equal([t for t in axes if "median" in t and figure is not repetitions], [])


def test_steps_of_a_sequence_have_pictures_or_lines_of_their_own():
    def steps(ranks_of):
        return [x for n in ranks_of for step in (0, 1) for x in layers(r.on_ranks(n, step=step), 100.0 * n * (1 + step), step=step)]

    picture = only(ranks.draw(read(*steps((8, 16)))))
    equal(sorted({t for t in texts(picture) if t.startswith("exact")}), ["exact native step 0", "exact native step 1"])
    moved = [r.exchange(phase="dispatch", **r.moved(5, 8, 6, 2)), r.exchange()]
    pictures = styles.draw(read(r.run(step=0), *moved, r.run(step=1), *moved))
    equal([p.name for p in pictures], ["styles-1", "styles-2"])
    holds(" ".join(texts(pictures[1])), "step 1")


def dots(axes):
    """Ratio, marker and colour of markers, in order from above."""
    found = [(line.get_ydata()[0], line.get_xdata()[0], line.get_marker(), to_hex(line.get_color())) for line in axes.lines
             if line.get_marker() not in (None, "None")]
    return [dot[1:] for dot in sorted(found)]


def test_published_figures_are_ratios_with_verdicts_told_apart():
    rows = [r.figure(ours=100.0), r.figure(quantity="share_percent", published="50", ours=60.0, verdict="within"),
            r.figure("lina", "4 GPUs", published="1.0", ours=3.0, verdict="OUTSIDE")]
    picture = only(reproduction.draw(read(*r.reproduce(*rows))))
    axes = picture.figure.axes[0]
    equal(dots(axes), [(0.5, "D", look.BLUE), (1.2, "o", look.GREEN), (3.0, "X", look.RED)])
    equal([line.get_color() for line in axes.lines if list(line.get_xdata()) == [1, 1]], [look.INK])
    for text in ("PREDICTED by a cost model", "tutel", "lina", "16 GPUs", "a2a share, %", "200", "100.0", "60.0", "3.00",
                 "not judged", "within what its entry allows", "OUTSIDE of what its entry allows"):
        holds(texts(picture), text)
    assert not any("SIMULATED" in t for t in texts(picture)), texts(picture)


def test_a_simulated_figure_is_a_second_marker_in_its_row():
    picture = only(reproduction.draw(read(*r.reproduce(r.figure(simulated=150.0), r.figure(quantity="seconds")))))
    equal(dots(picture.figure.axes[0]), [(0.5, "D", look.BLUE), (0.75, "s", look.PURPLE), (0.5, "D", look.BLUE)])
    holds(texts(picture), "simulated")
    holds(texts(picture), "150.0")
    holds(" ".join(texts(picture)), "PREDICTED by a cost model · SIMULATED where")


def test_exact_figures_are_counted_and_not_drawn():
    exact = [r.figure("capacity", kind="exact", verdict=v) for v in ("equal", "equal", "NOT EQUAL")]
    equal(reproduction.draw(read(*r.reproduce(*exact))), [])
    picture = only(reproduction.draw(read(*r.reproduce(*exact, r.figure()))))
    holds(picture.caption, "Of 3 exact figures, not drawn, 2 are equal")
    equal(len(dots(picture.figure.axes[0])), 1)


def test_many_figures_are_shared_out_by_entries():
    rows = [r.figure(f"entry-{e}", f"case {i}") for e, n in enumerate((8, 12, 12, 30, 1, 50)) for i in range(n)]
    pictures = reproduction.draw(read(*r.reproduce(*rows)))
    counts = [len(dots(p.figure.axes[0])) for p in pictures]
    equal((sum(counts), max(counts) <= look.MAX_ROWS), (len(rows), True))
    equal([p.name for p in pictures], [f"reproduction-{i}" for i in range(1, len(pictures) + 1)])
    equal(len({p.figure.axes[0].get_xlim() for p in pictures}), 1)
    for entry in range(5):
        equal(sum(f"entry-{entry}" in texts(p) for p in pictures), 1)
    holds(" ".join(texts(pictures[0])), f"{counts[0]} of {len(rows)} figures")


def test_shares_are_dots_beside_the_published_range_one_panel_a_model():
    rows = [r.share("mixtral", "a100", "1", 40.0), r.share("mixtral", "a100", "2", 50.0), r.share("mixtral", "b200", "1", 70.0),
            r.share("dbrx", "a100", "1", 60.0)]
    picture = only(reproduction.draw(read(*r.reproduce(*rows))))
    equal(picture.name, "reproduction-range")
    axes = picture.figure.axes
    equal([a.get_title() for a in axes], ["mixtral", "dbrx"])
    equal(dots(axes[0]), [(40.0, "o", look.MUTED), (50.0, "s", look.BLUE), (70.0, "o", look.MUTED)])
    band = axes[0].patches[0].get_extents().transformed(axes[0].transData.inverted())
    equal((round(band.x0, 3), round(band.x1, 3)), (44.4, 68.4))
    for text in ("published: 44.4 to 68.4 %", "PREDICTED by a cost model", "capacity factor 2", "b200"):
        holds(texts(picture), text)
    holds(" ".join(texts(picture)), "2 of 4 configurations are inside")


def test_figures_that_have_no_place_on_a_logarithmic_axis_are_passed_over():
    equal(len(dots(only(reproduction.draw(read(*r.reproduce(r.figure(published="0"), r.figure(ours=0.0), r.figure())))).figure.axes[0])), 1)
    equal(reproduction.draw(read(*r.reproduce(r.figure(published="-1")))), [])


def test_bytes_from_rank_to_rank_are_a_map_with_units():
    picture = only(matrix.draw(read(r.run(), r.matrix(4), r.exchange())))
    image = picture.figure.axes[0].images[0]
    equal(image.get_array()[1][2], 6.0)
    holds(texts(picture), "KiB")
    holds(texts(picture), "from rank")


def test_maps_of_64_ranks_name_every_eighth_and_write_no_numbers():
    leader = r.run(ranks=64, hosts=["a"] * 64)
    picture = only(matrix.draw(read(leader, r.matrix(64), r.exchange())))
    picture.figure.canvas.draw()
    labels = [t.get_text() for t in picture.figure.axes[0].get_xticklabels()]
    equal(labels, ["0", "8", "16", "24", "32", "40", "48", "56"])
    equal(len(picture.figure.axes[0].texts), 0)


def test_cells_of_several_ranks_are_named_by_their_first():
    leader = r.run(ranks=16, hosts=["a"] * 16)
    picture = only(matrix.draw(read(leader, r.matrix(8, ranks_per_cell=2, ranks=16), r.exchange())))
    equal([t.get_text() for t in picture.figure.axes[0].get_xticklabels()][-1], "14")
    holds(" ".join(texts(picture)), "2 ranks a cell")


def test_pairs_are_a_map_of_rates_with_holes():
    picture = only(pairs.draw(read(r.run(), r.pair(0, 1, 2.5), r.pair(1, 0, 5.0))))
    image = picture.figure.axes[0].images[0].get_array()
    equal((float(image[0][1]), float(image[1][0]), bool(image.mask[0][0])), (2.5, 5.0, True))
    holds(" ".join(texts(picture)), "64 KiB a message")


def test_repetitions_mark_the_records_own_median():
    picture = only(repetitions.draw(read(r.run(), r.exchange(us=1000.0), r.raw())))
    lines = picture.figure.axes[0].lines
    equal(list(lines[0].get_xdata()), [900, 1000, 1100])
    equal((lines[1].get_xdata()[0], lines[1].get_ydata()[0]), (1000, 50))
    holds(texts(picture), "p99: fewer than 299 repetitions")


def test_ratios_are_drawn_as_compare_found_them():
    lead = {"record": "comparison", "schema": 1, "program": "moe-a2a", "version": "0", "command": [], "time": "", "a": "a.jsonl", "b": "b.jsonl"}
    rows = [{"record": "ratio", "a": "a.jsonl", "b": "b.jsonl", "style": "exact", "algorithm": "native", "phase": p,
             "ratio": v, "ratio_low": v * 0.9, "ratio_high": v * 1.1, "verdict": w, "model": "m", "ranks": 4}
            for p, v, w in (("dispatch", 2.0, "faster"), ("combine", 0.5, "slower"), ("permute", 1.0, "no difference shown"))]
    picture = only(comparison.draw(read(lead, *rows)))
    holds(" ".join(texts(picture)), "B (b) as A (a)")
    holds(texts(picture), "exact native dispatch")
    assert "exact native permute" not in texts(picture)
    assert not any("SIMULATED" in t for t in texts(picture)), texts(picture)


def test_ratios_say_which_side_was_not_measured():
    paths = [r.write(r.run(), r.exchange(), name="a.jsonl"), r.write(r.simulated(), r.exchange(), name="b.jsonl")]
    lead = {"record": "comparison", "schema": 1, "program": "moe-a2a", "version": "0", "command": [], "time": "", "a": paths[0], "b": paths[1]}
    row = {"record": "ratio", "a": paths[0], "b": paths[1], "style": "exact", "phase": "total", "ratio": 2.0, "verdict": "faster"}
    picture = only(comparison.draw(reading.read([*paths, r.write(lead, row, name="ratio.jsonl")])))
    holds(texts(picture), "B: SIMULATED on fat-tree-64")


def test_results_that_hold_nothing_for_a_figure_draw_nothing():
    for figure in FIGURES:
        equal(figure.draw(read(r.run(), r.exchange(phase="permute"))), [])


def test_text_of_files_is_no_formula_and_no_markup():
    bad = "$\\frac{<script>&"
    everything = read(r.run(model={"name": bad}), r.iteration(bad), r.exchange(bad, bad, "dispatch", **r.moved(1, 2, 2, 1)), r.matrix(2, style=bad),
                      r.simulated(platform=bad, ranks=8, hosts=["a"] * 8, model={"name": bad}), r.exchange(bad, bad),
                      r.simulated(platform=bad, model={"name": bad}), r.exchange(bad, bad),
                      *r.reproduce(r.figure(bad, bad, bad, verdict=bad), r.share(bad, bad, bad, 50.0)))
    pictures = [p for f in (breakdown, styles, matrix, ranks, reproduction) for p in f.draw(everything)]
    equal([f.split("-")[0] for f in look.unique(p.name for p in pictures)], ["breakdown", "styles", "matrix", "ranks", "reproduction", "reproduction"])
    for picture in pictures:
        svg = io.BytesIO()
        picture.figure.savefig(svg, format="svg")
        xml.etree.ElementTree.fromstring(svg.getvalue())


# ---- Files that are not trusted ----


def test_bad_files_are_refused_with_file_and_line():
    run_, more = r.run(), r.iteration()
    cases = (
        ((), "is empty"),
        (("\n\n",), "is empty"),
        (("hello\n",), ":1: not JSON Lines"),
        (("[1]\n",), ':1: not a record'),
        (("[" * 100000,), ":1: not JSON Lines"),
        ((more,), ":1: a record 'iteration' before any run"),
        (({**run_, "schema": 2},), ":1: schema 2"),
        (({**run_, "program": "other"},), "another program"),
        (({**run_, "ranks": 0},), "'ranks'"),
        ((run_, '{"record":"exch'), ":2: the last line is cut off"),
        ((run_, '{"record":"exch\n', more), ":2: the line is cut off"),
        ((run_, '{"record":"x","v":NaN}\n', run_), ":2"),
    )
    for lines, why in cases:
        holds(refused(lambda lines=lines: read(*lines)), why)


def test_a_cut_line_before_a_new_run_is_passed_over():
    equal(len(read(r.run(), '{"record":"exch\n', r.run(), r.iteration()).runs), 2)


def test_unknown_kinds_and_fields_are_passed_over():
    equal(len(breakdown.draw(read(r.run(new=[1]), {"record": "new"}, r.iteration(new={"a": 1})))), 1)


def test_fields_of_a_wrong_kind_are_refused_by_name():
    cases = (
        (breakdown, r.iteration(time_ms={"dispatch": "much"}), "'time_ms.dispatch'"),
        (breakdown, r.iteration(time_ms={"dispatch": -1}), "'time_ms.dispatch'"),
        (breakdown, r.iteration(share={"a2a": [1]}), "'share.a2a'"),
        (breakdown, r.iteration(style=7), "'style'"),
        (breakdown, r.iteration(time_ms={"dispatch": 10**400}), "'time_ms.dispatch'"),
        (matrix, r.matrix(2, bytes=[[1, 2], [3]]), "'bytes'"),
        (matrix, r.matrix(2, bytes=[]), "'bytes'"),
        (matrix, r.matrix(2, bytes=[[1, -2], [3, 4]]), "'bytes'"),
        (pairs, r.pair(0, 9, 1.0), "'to'"),
        (size, r.exchange("raw", phase="alltoallv", bytes_per_pair=1.5), "'bytes_per_pair'"),
    )
    for figure, record, field in cases:
        holds(refused(lambda f=figure, x=record: f.draw(read(r.run(), x))), field)
    cases = (
        (r.figure(published=153), "'published'"), (r.figure(published="much"), "'published'"), (r.figure(published="nan"), "'published'"),
        (r.figure(ours="100"), "'ours'"), (r.figure(simulated="100"), "'simulated'"), (r.figure(simulated=[1]), "'simulated'"),
        (r.figure(name=7), "'name'"), (r.figure(case=[]), "'case'"), (r.figure(quantity={}), "'quantity'"), (r.figure(kind=1), "'kind'"),
        (r.figure(verdict=True), "'verdict'"), (r.share("m", "a", "1", 50.0, share_percent="50"), "'share_percent'"),
        (r.share("m", "a", "1", 50.0, inside=1), "'inside'"), (r.share("m", "a", "1", 50.0, low="44.4"), "'low'"),
        (r.share(1, "a", "1", 50.0), "'model'"), (r.share("m", [], "1", 50.0), "'machine'"), (r.share("m", "a", 1.25, 50.0), "'capacity_factor'"),
    )
    for record, field in cases:
        holds(refused(lambda x=record: reproduction.draw(read(*r.reproduce(r.figure(), x)))), field)


def test_absent_fields_of_reproductions_are_no_fault():
    for record in (r.figure(), r.share("m", "a", "1", 50.0)):
        for name in [n for n in record if n not in ("record", "kind", "published")]:
            less = {k: v for k, v in record.items() if k != name}
            for picture in reproduction.draw(read(*r.reproduce(record, less))):
                picture.figure.canvas.draw()


def test_many_rows_are_cut_and_said_so():
    rows = [r.iteration(f"style-{i}") for i in range(60)]
    holds(" ".join(texts(only(breakdown.draw(read(r.run(), *rows))))), "(40 of 60)")


if __name__ == "__main__":
    run(globals())
