"""What the report says, and that nothing which stands in a file becomes part of the page."""

import html.parser
import os
import re
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "../../plot"))

import answer
import facts
import reading
import report

import records as r
from tap import equal, holds, run


def read(*records):
    return reading.read([r.write(*records)])


def said(*records):
    return answer.of(read(*records))[0]


class Page(html.parser.HTMLParser):
    """Elements, their attributes, and the text outside of scripts and styles."""

    EMPTY = {"meta", "link", "br", "input", "image"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.open, self.crossed = [], [], [], []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in self.EMPTY:
            self.crossed.append(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag):
        return [a for t, a in self.elements if t == tag]


def page(*records):
    return Page(report.render(read(*records)))


def plain_row(us):
    """Of a phase that no figure shows: quick."""
    return r.exchange(phase="permute", us=us)


def rank(number, times, host="d"):
    return {"record": "rank", "style": "exact", "algorithm": "native", "phase": "iteration", "rank": number, "host": host,
            "median_us": 100.0 + number, "wait_us": 5.0, "slowest_count": times, "reps": 30}


SLOW = {"record": "finding", "evidence": "pairs", "kind": "receiver", "reach": "between", "ranks": [3], "hosts": ["d"],
        "direction": "receiving", "value_us": 200.0, "others_us": 100.0, "ratio": 2.0}
NONE = {"record": "finding", "evidence": "ranks", "kind": "none"}


def test_the_answer_names_share_and_interval_and_who_is_last():
    equal(said(r.run(), r.iteration(), rank(3, 17)),
          "On 4 ranks, exact (native) dispatch and combine take 47 % [45, 49] of a training iteration; "
          "the rank that comes last most often is 3 on d (17 of 30 times).")


def test_the_answer_names_the_slowest():
    holds(said(r.run(), r.iteration(), SLOW), "The slowest receiver: rank 3 on d, 2.00 times as long as the others.")


def test_what_is_predicted_is_no_measured_answer():
    holds(said(r.run(), r.iteration(predicted=True)), "would take (predicted) 47 %")
    sentence = said(r.run(), r.iteration(predicted=True), r.iteration("padded"))
    holds(sentence, "padded (native) dispatch and combine take")


def test_what_is_simulated_is_no_measured_answer():
    holds(said(r.simulated(), r.iteration()), "would take (simulated) 47 %")
    holds(said(r.simulated(), r.iteration(), r.run(), r.iteration("padded")), "padded (native) dispatch and combine take 47 %")
    holds(said(r.simulated(), r.exchange(us=5.0)), "would take (simulated) 5 us")
    holds(said(r.simulated(), r.exchange(us=5.0), r.run(), r.exchange("dedup", us=9000.0)), "take 9 ms [8.1 ms, 9.9 ms] in style dedup (native)")
    holds(said(r.simulated(), r.pair(0, 1, 9.0), r.run(), r.pair(0, 1, 2.5)), "reach 2.5 to 2.5 GB/s")
    equal(answer.of(read(r.simulated(), r.exchange(converged=False)))[2], ["SIMULATED on fat-tree-64"])


def test_tables_and_sentences_say_what_is_simulated():
    simulated = page(r.simulated(), r.exchange(phase="permute", converged=False))
    holds(simulated.text, "What is marked simulated was run in simulated time")
    assert "Every figure is the median" not in simulated.text and "not converged" not in simulated.text
    holds(page(r.simulated(), plain_row(1.0), SLOW).text, "(pairs between hosts, simulated)")
    holds(said(r.simulated(), r.exchange(), SLOW), "The slowest receiver (simulated): rank 3")
    columns = facts.result_table(read(r.simulated(), r.exchange(converged=False)))
    equal([row[-1]["text"] for row in columns["rows"]], ["simulated"])
    holds(simulated.text, "fat-tree-64, SimGrid 3.32.0")
    holds(page(r.simulated(), r.exchange(), r.run(), r.exchange()).text, "Every measured figure is the median of 30 repetitions")
    measured = page(r.run(), r.exchange()).text
    holds(measured, "Every figure is the median of 30 repetitions")
    assert "simulated" not in measured


def test_a_sequence_of_steps_is_answered_for_as_a_whole_and_its_rows_name_their_step():
    steps = {"record": "steps", "style": "exact", "algorithm": "native", "figure": "total_us", "steps": 2, "mean": 1500.0, "max": 2000.0, "max_step": 1}
    records = [r.run(step=0), r.exchange(us=1000.0, step=0), r.run(step=1), r.exchange(us=2000.0, step=1)]
    equal(said(*records, steps), "On 4 ranks, over 2 steps, dispatch and combine of one MoE layer take 1.5 ms on average and 2 ms at the most, at step 1, "
          "in style exact (native).")
    holds(said(*records), "in style exact (native) at step 0")
    found = facts.result_table(read(*records))
    equal(found["columns"][:2], ["run", "step"])
    equal([row[1]["text"] for row in found["rows"]], ["0", "1"])
    assert "step" not in facts.result_table(read(r.run(), r.exchange()))["columns"]


def test_without_an_iteration_the_quickest_layer_answers():
    holds(said(r.run(), r.exchange(us=5000.0), r.exchange("dedup", us=2000.0)), "2 ms [1.8 ms, 2.2 ms] in style dedup (native)")


def test_without_a_layer_the_largest_size_answers():
    rows = [r.exchange("raw", "native", "alltoallv", b, bytes_per_pair=b, busbw_GBps=1.5) for b in (1024, 4096)]
    holds(said(r.run(), *rows), "4 KiB from every rank to every rank takes 4.1 ms")


def test_pairs_and_patterns_answer_too():
    holds(said(r.run(), r.pair(0, 1, 2.5), r.pair(1, 0, 5.0)), "reach 2.5 to 5 GB/s")
    record = {"record": "traffic", "style": "exact", "phase": "dispatch", **r.moved(500, 900, 700, 0)}
    holds(said(r.run(), record), "by style: exact 700 B")


def test_wrong_data_is_said_first():
    equal(answer.of(read(r.run(), r.iteration(errors=7)))[2][0], "WRONG DATA: 7 wrong elements were found by the check")


def test_the_page_is_one_whole_file_that_loads_nothing():
    text = report.render(read(r.run(), r.iteration(), rank(3, 17), r.matrix(4), r.exchange(), r.pair(0, 1, 2.5)))
    found = Page(text)
    equal((found.crossed, found.open), ([], []))
    for tag, attributes in found.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), f"<{tag} {name}={value}>"
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text), "something of a network is in it"
    names = [a["id"] for _, a in found.elements if "id" in a]
    equal(len(names), len(set(names)))
    for a in found.all("a"):
        holds(names, a["href"][1:])


def test_only_the_pages_own_script_may_run():
    found = page(r.run(), r.iteration())
    policy = next(a["content"] for a in found.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    holds(policy, "default-src 'none'")
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy), policy
    equal(len(found.all("script")), 1)


EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>\'{{7*7}}${7}]]>--></style>'


def test_text_of_files_never_becomes_part_of_the_page():
    lead = {"record": "acceptance", "schema": 1, "program": "moe-a2a", "version": EVIL, "command": [EVIL], "time": EVIL,
            "rules": EVIL, "verdict": EVIL, "pass": 1, "fail": 0, "inconclusive": 0}
    verdict = {"record": "verdict", "rule": EVIL, "verdict": EVIL, "metric": EVIL, "condition": EVIL, "why": EVIL, "style": EVIL}
    leader = r.run(
        hosts=[EVIL] * 4, transport=EVIL, device=EVIL, mpi=EVIL, version=EVIL, time=EVIL, command=[EVIL, EVIL], env={EVIL: EVIL},
        model={"name": EVIL, "tokens": 1}, routing={"skew": EVIL, "hash": EVIL, "spec": EVIL}, sync=EVIL, check=EVIL,
        binding={"warnings": [EVIL], "cpus": [EVIL]}, gpus=[{"name": EVIL}], topology={"cpu": EVIL},
    )
    every = [
        leader, r.iteration(EVIL, algorithm=EVIL, compute=EVIL), {**rank(3, 1, EVIL), "style": EVIL, "algorithm": EVIL},
        r.exchange(EVIL, EVIL, "dispatch", **r.moved(1, 2, 2, 1)), r.exchange(EVIL, EVIL), r.raw(EVIL, EVIL),
        r.matrix(4, EVIL, EVIL), r.pair(0, 1, 1.0), {**SLOW, "hosts": [EVIL], "kind": EVIL, "direction": EVIL, "style": EVIL},
        r.simulated(platform=EVIL, platform_file=EVIL, simgrid=EVIL), r.exchange(EVIL, EVIL),
        lead, verdict, *r.reproduce(r.figure(EVIL, EVIL, EVIL, verdict=EVIL), r.share(EVIL, EVIL, EVIL, 50.0)),
    ]
    found = page(*every)
    equal(len(found.all("script")), 1)
    equal(len(found.all("style")), 1)
    equal(found.all("img"), [])
    equal([a for _, a in found.elements for n in a if n.startswith("on")], [])
    equal(found.crossed, [])
    holds(found.text, "<script>alert(1)</script>")
    holds(found.text, "{{7*7}}")


def test_who_is_slow_is_told_or_that_nobody_is_or_that_nobody_looked():
    holds(page(r.run(), plain_row(1.0), SLOW).text, "receiver: rank 3 on d took 200 us, 2.00 times as long as the others")
    holds(page(r.run(), plain_row(1.0), NONE).text, "Nothing stands out, in 1 comparison of")
    holds(page(r.run(), plain_row(1.0)).text, "Nobody looked")


def test_verdicts_stand_before_figures_and_failures_before_passes():
    lead = {"record": "acceptance", "schema": 1, "program": "moe-a2a", "version": "0", "command": [], "time": "", "rules": "mine",
            "verdict": "FAIL", "pass": 1, "fail": 1, "inconclusive": 0}
    rows = [{"record": "verdict", "rule": n, "verdict": v, "metric": "errors", "condition": "== 0", "value": 1.0}
            for n, v in (("good", "PASS"), ("poor", "FAIL"))]
    text = page(r.run(), r.iteration(), lead, *rows).text
    order = [text.index(w) for w in ("FAIL by mine", "poor", "good", "Where the time of a training iteration goes")]
    equal(order, sorted(order))


def test_commands_can_be_given_to_a_shell_as_they_are():
    found = page(r.run(command=["/opt/x/moe-a2a", "layer", "--skew", "a b;rm"]), plain_row(1.0))
    holds(found.text, "mpirun -np 4 moe-a2a layer --skew 'a b;rm'")


def test_runs_in_one_environment_are_told_together():
    results = read(r.run(), r.iteration(), r.run(), r.iteration(), r.run(device="cuda"), r.iteration())
    equal([e["runs"] for e in facts.environments(results)], ["1 to 2", "3"])


def test_numbers_sort_as_numbers():
    found = page(r.run(), plain_row(12345678.0), plain_row(900.0))
    values = [float(a["data-v"]) for a in found.all("td") if "data-v" in a]
    holds(values, 12345678.0)
    holds(values, 900.0)


def test_maps_have_their_values_beside_them():
    found = page(r.run(), r.matrix(4), plain_row(1.0))
    cells = next(a["data-cells"] for a in found.all("svg") if a.get("class") == "heat")
    holds(cells, '"values": [[0.0, 1.0, 2.0, 3.0], [4.0')
    holds(cells, '"unit": "KiB"')


def test_figures_follow_the_theme():
    text = report.render(read(r.run(), r.iteration()))
    svg = text[text.index("<svg"):text.index("</svg>")]
    holds(svg, "var(--ink)")
    equal(re.findall(r"#(?:1b1f24|57606a|0072b2|fefefe)", svg), [])


def test_a_thousand_records_stay_one_page():
    lines = []
    for i in range(100):
        lines.append(r.run(routing={"hash": f"{i:016x}", "skew": f"zipf:{i}"}))
        lines += [r.exchange(phase=p, us=100.0 + i, **r.moved(5, 8, 6, 2)) for p in ("dispatch", "combine", "total")] * 3
    text = report.render(read(*lines))
    assert len(text) < 2_000_000, f"{len(text)} bytes"
    equal(text.count("<tr>"), 900 + 1)


if __name__ == "__main__":
    run(globals())
