#!/usr/bin/env python3
"""Results as one HTML page. Called by `moe-a2a report`, which has checked the files and this Python."""

import argparse
import base64
import hashlib
import os
import sys
import tempfile

import comparing
import reading

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "page")


def arguments():
    parser = argparse.ArgumentParser(prog="report.py", description="Called by `moe-a2a report`.")
    parser.add_argument("results", nargs="+", metavar="RESULTS.jsonl")
    parser.add_argument("--output", default="report.html", metavar="FILE")
    parser.add_argument("--program", metavar="PATH", help="of moe-a2a, for comparisons")
    return parser.parse_args()


def page_file(name):
    with open(os.path.join(PAGE, name), encoding="utf-8") as file:
        return file.read()


def render(results):
    """The whole page. All text of files is escaped by Jinja2; nothing is loaded, and of scripts only the
    page's own runs (by its hash in the page's policy)."""
    import jinja2

    import facts

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    script = page_file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    safe = {"script": jinja2.utils.markupsafe.Markup(script), "style": jinja2.utils.markupsafe.Markup(page_file("page.css"))}
    return environment.get_template("page.html.j2").render(script_hash=digest, **safe, **facts.of(results))


def write(text, path):
    """Whole or not at all."""
    if path == "-":
        sys.stdout.buffer.write(text.encode())
        return
    try:
        folder = os.path.dirname(os.path.abspath(path))
        with tempfile.NamedTemporaryFile("wb", dir=folder, prefix=".report-", delete=False) as file:
            file.write(text.encode())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(file.name, 0o666 & ~umask)
        os.replace(file.name, path)
    except OSError as why:
        raise reading.Refused(f"cannot write '{path}': {why.strerror}") from why


def main():
    args = arguments()
    results = reading.read(args.results)
    measured = [f for f in args.results if any(r.file == f for r in results.records)]
    if not measured:
        raise reading.Refused(f"{', '.join(args.results)}: no results, nothing to report")
    if not results.concluded("ratio") and len(measured) > 1:
        comparing.compare(args.program, measured, results)  # files of different work are no fault here
    write(render(results), args.output)


if __name__ == "__main__":
    try:
        main()
    except reading.Refused as why:
        print(f"moe-a2a report: {why}", file=sys.stderr)
        sys.exit(2)
