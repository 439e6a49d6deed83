#!/usr/bin/env python3
"""Figures of results: python3 plot/plot.py RESULTS.jsonl [...] -o DIR --format png,svg,pdf"""

import argparse
import os
import sys

import comparing
import reading

FORMATS = ("png", "svg", "pdf")


def arguments():
    parser = argparse.ArgumentParser(
        prog="plot.py",
        description="Draws the figures that results of moe-a2a hold something for, and prints the names of the files. "
        "Files of conclusions (compare --json) may be among them; two files or more of results are compared too.",
        epilog="exit status: 0 done, 2 bad input or nothing to draw",
    )
    parser.add_argument("results", nargs="+", metavar="RESULTS.jsonl")
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help="folder, made where there is none (.)")
    parser.add_argument("--format", default="png", metavar="LIST", help="of " + ", ".join(FORMATS) + " (png)")
    parser.add_argument("--dpi", type=int, default=144, metavar="N", help="of png (144)")
    parser.add_argument("--only", metavar="LIST", help="only these figures (docs/report.md)")
    parser.add_argument("--program", metavar="PATH", help="of moe-a2a, for comparisons")
    return parser.parse_args()


def chosen(text, known, option):
    words = text.split(",")
    for word in words:
        if word not in known:
            raise reading.Refused(f"{option} {word}: there is {', '.join(known)}")
    return words


def save(pictures, folder, formats, dpi):
    try:
        os.makedirs(folder, exist_ok=True)
        for picture in pictures:
            for ending in formats:
                path = os.path.join(folder, f"{picture.name}.{ending}")
                metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending)
                picture.figure.savefig(path, dpi=dpi, metadata=metadata)
                print(path)
    except OSError as why:
        raise reading.Refused(f"cannot write to '{folder}': {why.strerror}") from why


def load():
    """The table of figures; slow, so after what can be refused without."""
    try:
        import look
        from figures import FIGURES
    except ImportError as why:
        raise reading.Refused(
            f"{why.name} is missing for {sys.executable} (Debian: apt-get install python3-matplotlib)"
        ) from why
    look.set_up()
    return FIGURES


def main():
    args = arguments()
    formats = chosen(args.format, FORMATS, "--format")
    results = reading.read(args.results)
    figures = load()
    known = [f.NAME for f in figures]
    wanted = chosen(args.only, known, "--only") if args.only else known
    measured = [f for f in args.results if any(r.file == f for r in results.records)]
    note = comparing.compare(args.program, measured, results) if "comparison" in wanted else None
    if note:
        print(f"plot.py: {note}", file=sys.stderr)
    pictures = [p for f in figures if f.NAME in wanted for p in f.draw(results)]
    if not pictures:
        raise reading.Refused(f"nothing to draw: {', '.join(args.results)} hold nothing for {', '.join(wanted)}")
    save(pictures, args.output, formats, args.dpi)


if __name__ == "__main__":
    try:
        main()
    except reading.Refused as why:
        print(f"plot.py: {why}", file=sys.stderr)
        sys.exit(2)
