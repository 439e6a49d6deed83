"""One TAP line a statement, for tests in Python: functions whose names are the statements."""

import sys
import traceback


def run(namespace):
    tests = [(n, f) for n, f in namespace.items() if n.startswith("test_")]
    for number, (name, test) in enumerate(tests, 1):
        statement = name.removeprefix("test_").replace("_", " ")
        try:
            test()
            print(f"ok {number} - {statement}")
        except Exception:  # whatever it is, the statement does not hold
            print(f"not ok {number} - {statement}")
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
    print(f"1..{len(tests)}")
    sys.stdout.flush()


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def holds(text, part):
    assert part in text, f"{part!r} is not in {text!r}"
