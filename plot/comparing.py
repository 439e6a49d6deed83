"""Ratios of two files, by `moe-a2a compare`: statistics are its business."""

import os
import shutil
import subprocess
import tempfile

import reading

HERE = os.path.dirname(os.path.abspath(__file__))
# Beside the tree that this was built in, or installed in share/moe-a2a/plot.
BESIDE = ("../build/moe-a2a", "../../../bin/moe-a2a")


def find_program():
    for path in BESIDE:
        path = os.path.normpath(os.path.join(HERE, path))
        if os.access(path, os.X_OK):
            return path
    return shutil.which("moe-a2a")


def compare(program, paths, results):
    """Adds to the conclusions what files have in common with the first that has a counterpart among the
    later ones; says why where none has."""
    if len(paths) < 2:
        return None
    program = program or find_program()
    if program is None:
        return "no comparison: moe-a2a is not found; name it with --program"
    why = None
    for first in range(len(paths) - 1):
        why = _compare(program, paths[first:], results)
        if why is None:
            break
    return why


def _compare(program, paths, results):
    """The others with the first; None, or why not."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "comparison.jsonl")
        command = [program, "compare", "--quiet", "--json", out, "--", *paths]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as why:
            return f"no comparison: '{program}': {why.strerror}"
        if done.returncode != 0:
            return f"no comparison: {done.stderr.strip()}"
        results.conclusions += reading.read([out]).conclusions
    return None
