"""The answer in one sentence, of what was measured; and what makes it doubtful."""

import look

LAYER = "dispatch and combine of one MoE layer"


def _ranks(record):
    ranks = record.run.count("ranks")
    return f"{ranks} rank{'s' * (ranks != 1)}"


def _name(record):
    style, algorithm = record.text("style"), record.text("algorithm")
    return look.shortened(algorithm or "?") if style == "raw" else f"{look.shortened(style or '?')} ({look.shortened(algorithm or '?')})"


def _host(record, rank):
    hosts = record.run.texts("hosts")
    return f" on {look.shortened(hosts[rank])}" if rank is not None and rank < len(hosts) else ""


def _last(record):
    """Who is last most often: of one rank that says nothing."""
    rank = record.count("slowest_rank")
    if rank is None or record.run.count("ranks") < 2:
        return ""
    if look.unmeasured(record):
        return f"; the slowest rank is {rank}"
    times = next((r.count("slowest_count") for r in record.ranks
                  if r.count("rank") == rank and r.text("phase") in (None, "iteration", record.text("phase"))), None)
    reps = record.count("reps")
    often = f" ({times} of {reps} times)" if times is not None and reps else ""
    return f"; the rank that comes last most often is {rank}{_host(record, rank)}{often}"


def _slow(results):
    found = [f for f in results.of("finding") if f.text("kind") not in (None, "none", "unknown")]
    if not found:
        return ""
    worst = max(found, key=lambda f: (look.unmeasured(f) is None, f.number("ratio") or 0))
    ranks = worst.numbers("ranks")
    who = "rank" + "s" * (len(ranks) != 1) + " " + ", ".join(f"{r:.0f}" for r in ranks[:8]) if ranks else worst.text("kind")
    hosts = look.unique(look.shortened(h) for h in worst.texts("hosts"))
    where = f" on {', '.join(hosts[:4])}" if hosts else ""
    ratio = worst.number("ratio")
    slower = f", {ratio:.2f} times as long as the others" if ratio else ""
    how = f" ({look.unmeasured(worst)})" if look.unmeasured(worst) else ""
    return f" The slowest {worst.text('kind')}{how}: {who}{where}{slower}."


def _does(record, verb, one=False):
    """The verb of several, or of one; of what was not measured that too."""
    how = look.unmeasured(record)
    return f"would {verb} ({how})" if how else verb + "s" * one


def _at(record):
    """Of one step of a sequence, which."""
    step = record.run.count("step")
    return f" at step {step}" if step is not None else ""


def _iteration(record, named):
    """named: its skew too, where results have several."""
    share = look.share_text(record)
    verb = _does(record, "take")
    skew = f" with skew {look.shortened(record.run.text('routing.skew') or '?')}" if named else ""
    if share is None:
        total = record.number("max_ms.iteration")
        takes = f"{_does(record, 'take', one=True)} {look.time_text(1e3 * (total or 0))}"
        return f"On {_ranks(record)}, a {record.text('pass')} iteration in style {_name(record)} {takes}{_at(record)}"
    return f"On {_ranks(record)}{skew}, {_name(record)} dispatch and combine {verb} {share} of a {record.text('pass')} iteration{_at(record)}"


def _median(record):
    ends = record.interval("ci_low_us", "ci_high_us")
    text = look.time_text(record.amount("median_us"))
    return text if ends is None else f"{text} [{look.time_text(ends[0])}, {look.time_text(ends[1])}]"


def _layer(record):
    return f"On {_ranks(record)}, {LAYER} {_does(record, 'take')} {_median(record)} in style {_name(record)}{_at(record)}"


def _exchange(record):
    per_pair, rate = record.count("bytes_per_pair"), record.number("busbw_GBps")
    what = f"{look.bytes_text(per_pair)} from every rank to every rank" if per_pair else "the exchange"
    port = f", {rate:.3g} GB/s at the busiest port" if rate else ""
    return f"On {_ranks(record)}, {what} {_does(record, 'take', one=True)} {_median(record)} by {_name(record)}{port}"


def _pairs(rows):
    rates = [r.amount("GBps") for r in rows if r.amount("GBps") is not None]
    if not rates:
        return None
    return f"On {_ranks(rows[0])}, pairs of ranks by themselves {_does(rows[0], 'reach')} {min(rates):.3g} to {max(rates):.3g} GB/s"


def _traffic(rows):
    parts = []
    for record in rows:
        if record.run.count("step") != rows[0].run.count("step"):
            continue
        if record.text("phase") == "dispatch" and record.amount("bytes.wire") is not None:
            parts.append(f"{look.shortened(record.text('style') or '?')} {look.bytes_text(record.amount('bytes.wire'))}")
    said = ", ".join(parts[:12])
    return f"On {_ranks(rows[0])}, dispatch of one MoE layer puts on the wire, by style: {said}{_at(rows[0])}" if parts else None


# What is summed up over steps: what it is of, what that does, and how an amount of it is written.
OF_STEPS = {
    "iteration_ms": ("an iteration", ("take", True), lambda ms: look.time_text(1e3 * ms)),
    "total_us": (LAYER, ("take", False), look.time_text),
    "wire_bytes": (LAYER, ("put on the wire", False), look.bytes_text),
}


def _steps(record):
    """A sequence of steps as a whole."""
    mean, most, step = record.amount("mean"), record.amount("max"), record.count("max_step")
    if record.text("figure") not in OF_STEPS or None in (mean, most, step):
        return None
    what, verb, text = OF_STEPS[record.text("figure")]
    style = _name(record) if record.text("algorithm") else look.shortened(record.text("style") or "?")
    return (f"On {_ranks(record)}, over {record.count('steps')} steps, {what} {_does(record, *verb)} {text(mean)} on average and "
            f"{text(most)} at the most, at step {step}, in style {style}")


def _best_steps(results):
    """Of the most telling figure; what was measured before what was not; the least mean."""
    def order(record):
        return list(OF_STEPS).index(record.text("figure")), look.unmeasured(record) is not None, record.amount("mean")

    return min((r for r in results.of("steps") if _steps(r)), key=order, default=None)


def _quickest(rows):
    """Of what was measured, where anything was."""
    return min(rows, key=lambda r: (look.unmeasured(r) is not None, r.amount("median_us")))


def _candidates(results):
    """(sentence, record that it is of), the most telling kind of result first."""
    timed = [r for r in results.of("exchange") if r.amount("median_us") is not None]
    totals = [r for r in timed if r.text("phase") == "total"]
    raw = [r for r in timed if r.text("phase") == "alltoallv"]
    largest = max((r.count("bytes_per_pair") or 0 for r in raw), default=0)
    raw = [r for r in raw if (r.count("bytes_per_pair") or 0) == largest]
    named = len({r.run.text("routing.skew") for r in results.of("iteration")}) > 1
    whole = _best_steps(results)
    if whole:
        yield _steps(whole), whole
    for record in sorted(results.of("iteration"), key=lambda r: look.unmeasured(r) is not None):
        yield _iteration(record, named), record
    if totals:
        yield _layer(_quickest(totals)), _quickest(totals)
    if raw:
        yield _exchange(_quickest(raw)), _quickest(raw)
    pairs = [r for r in results.of("pair") if not look.unmeasured(r)] or results.of("pair")
    for rows, say in ((pairs, _pairs), (results.of("traffic"), _traffic)):
        if rows and say(rows):
            yield say(rows), rows[0]
    for record in [] if totals or raw or results.of("iteration") else timed[:1]:
        takes = f"{_does(record, 'take', one=True)} {_median(record)}"
        yield f"On {_ranks(record)}, {record.text('phase')} {takes} in style {_name(record)}{_at(record)}", record


def of(results):
    """The sentence, further ones, and doubts."""
    found = list(_candidates(results))
    if not found:
        return "Nothing here has a time or a size.", [], []
    sentence, record = found[0]
    errors = sum(r.count("errors") or 0 for r in results.of("exchange", "iteration"))
    doubts = look.marks(record)
    if errors:
        doubts.insert(0, f"WRONG DATA: {errors} wrong elements were found by the check")
    return sentence + _last(record) + "." + _slow(results), [s + "." for s, _ in found[1:7]], doubts
