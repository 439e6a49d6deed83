"""Reads results: JSON Lines as docs/results.md describes them. Files are not trusted.

`moe-a2a` itself reads the same files more strictly; what is checked here is what the figures use.
"""

import json
import math
from dataclasses import dataclass, field

SCHEMA = 1
CONCLUSIONS = ("acceptance", "comparison", "reproduce")  # kinds of records that lead files of conclusions
FILE_BYTES = 256 << 20


class Refused(Exception):
    """A message for the user; the program ends with status 2."""


@dataclass
class Record:
    """One record, the run that it belongs to, and what hangs on it."""

    data: dict
    run: "Record | None"
    file: str
    line: int
    raw: "Record | None" = None  # its repetitions
    ranks: list = field(default_factory=list)  # its ranks, with --per-rank

    @property
    def kind(self):
        return self.data["record"]

    def refuse(self, path, why):
        raise Refused(f"{self.file}:{self.line}: {self.kind}: field '{path}': {why}")

    def at(self, path):
        """What stands at a path of names with dots between, or None: it was not measured."""
        value = self.data
        for name in path.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    def number(self, path):
        value = self.at(path)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(path, "a number is expected")
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            self.refuse(path, "a finite number is expected")
        return value

    def amount(self, path):
        """A number that is 0 or more."""
        value = self.number(path)
        if value is not None and value < 0:
            self.refuse(path, f"{value:g} is less than 0")
        return value

    def count(self, path):
        value = self.amount(path)
        if value is None:
            return None
        if value != int(value):
            self.refuse(path, "a whole number is expected")
        return int(value)

    def text(self, path):
        value = self.at(path)
        if value is not None and not isinstance(value, str):
            self.refuse(path, "text is expected")
        return value

    def flag(self, path):
        value = self.at(path)
        if value is not None and not isinstance(value, bool):
            self.refuse(path, "true or false is expected")
        return value

    def texts(self, path):
        value = self.at(path)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            self.refuse(path, "a list of texts is expected")
        return value

    def numbers(self, path):
        """A list of numbers that are 0 or more."""
        value = self.at(path)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(path, "a list of numbers is expected")
        for v in value:
            if isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v < math.inf:
                self.refuse(path, "a list of numbers, 0 or more, is expected")
        return [float(v) for v in value]

    def matrix(self, path):
        """A square of numbers, row by row."""
        rows = self.at(path)
        if not isinstance(rows, list) or not rows:
            self.refuse(path, "a matrix is expected")
        for row in rows:
            square = isinstance(row, list) and len(row) == len(rows)
            if not square or any(
                isinstance(v, bool) or not isinstance(v, (int, float)) or not 0 <= v < math.inf
                for v in row
            ):
                self.refuse(path, "a square of numbers, 0 or more, is expected")
        return [[float(v) for v in row] for row in rows]

    def interval(self, low, high):
        """Both ends, or None where there is no interval."""
        ends = (self.number(low), self.number(high))
        return None if None in ends else ends


@dataclass
class Results:
    files: list = field(default_factory=list)
    runs: list = field(default_factory=list)
    records: list = field(default_factory=list)  # of results, matrices and findings among them
    conclusions: list = field(default_factory=list)  # verdicts, ratios, reproductions and what leads them

    def of(self, *kinds):
        return [r for r in self.records if r.kind in kinds]

    def concluded(self, *kinds):
        return [r for r in self.conclusions if r.kind in kinds]


def _is_cut(line, why):
    """Is the line the beginning of a record, whole as far as it goes?"""
    if not line.startswith('{"record":') or not isinstance(why, json.JSONDecodeError):
        return False
    rest = line[why.pos :].rstrip()
    begun = any(word.startswith(rest) for word in ("true", "false", "null", "-"))
    return begun or why.msg.startswith("Unterminated string")


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


class _Reader:
    def __init__(self, path, results):
        self.path, self.results = path, results
        self.run, self.leader = None, None
        self.first = len(results.records)  # of the current run
        self.cut = 0  # line that was cut off, until a run follows
        self.conclusions = False

    def fail(self, line, why):
        raise Refused(f"{self.path}:{line}: {why}")

    def parse(self, number, line):
        try:
            data = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as why:
            if _is_cut(line, why):
                self.cut = self.cut or number
                return None
            self.fail(number, f"not JSON Lines of moe-a2a: {why}")
        if not isinstance(data, dict) or not isinstance(data.get("record"), str):
            self.fail(number, 'not a record of moe-a2a: an object with the field "record" is expected')
        return Record(data, self.run, self.path, number)

    def check_leader(self, record):
        schema = record.count("schema")
        if record.text("program") != "moe-a2a":
            self.fail(record.line, f"'{record.kind}' is of another program than moe-a2a")
        if schema != SCHEMA:
            self.fail(record.line, f"schema {schema}: this program reads schema {SCHEMA}")

    def take(self, record):
        results = self.results
        if record.kind == "run":
            self.check_leader(record)
            if not record.count("ranks"):
                record.refuse("ranks", "a run has at least one")
            self.run, self.cut, self.conclusions = record, 0, False
            record.run = record
            self.first = len(results.records)
            results.runs.append(record)
        elif self.cut:
            self.fail(self.cut, "the line is cut off, and no new run follows it")
        elif record.kind in CONCLUSIONS:
            self.check_leader(record)
            self.conclusions = True
            self.leader = record
            results.conclusions.append(record)
        elif self.conclusions:
            record.run = self.leader
            results.conclusions.append(record)
        elif self.run is None:
            self.fail(record.line, f"a record '{record.kind[:40]}' before any run: the beginning is missing")
        elif record.kind in ("raw", "rank"):
            self.attach(record)
        else:
            results.records.append(record)

    def attach(self, record):
        """Repetitions and ranks follow the record that they belong to."""
        names = ("style", "algorithm", "phase")
        for owner in reversed(self.results.records[self.first :]):
            if owner.kind not in ("exchange", "iteration"):
                continue
            used = names[:2] if owner.kind == "iteration" else names
            if any(record.text(n) not in (None, owner.text(n)) for n in used):
                continue
            if record.kind == "rank":
                owner.ranks.append(record)
            elif owner.raw is None:
                owner.raw = record
            return

    def read(self):
        try:
            with open(self.path, "rb") as file:
                text = file.read(FILE_BYTES + 1)
        except OSError as why:
            raise Refused(f"cannot read '{self.path}': {why.strerror}") from why
        if len(text) > FILE_BYTES:
            raise Refused(f"'{self.path}' is larger than {FILE_BYTES >> 20} MiB")
        try:
            lines = text.decode("utf-8").split("\n")
        except UnicodeDecodeError as why:
            raise Refused(f"'{self.path}' is no text (UTF-8): not JSON Lines of moe-a2a") from why
        taken = 0
        for number, line in enumerate(lines, 1):
            if line.strip():
                record = self.parse(number, line)
                taken += 1
                if record is not None:
                    self.take(record)
        if self.cut:
            self.fail(self.cut, "the last line is cut off: the run was killed, or the file was truncated")
        if taken == 0:
            raise Refused(f"'{self.path}' is empty: no results")


def read(paths):
    """All files; Refused with file and line for what is no result of moe-a2a."""
    results = Results()
    for path in paths:
        results.files.append(path)
        _Reader(path, results).read()
    return results
