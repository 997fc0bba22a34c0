"""One line per check on standard output, and a status that says whether all of them passed."""
import sys
import time
import traceback


class Skip(Exception):
    """A check that cannot be made here; the message says why."""


def run(checks):
    """Calls every (name, function) and exits with 1 if one of them failed."""
    failed = False
    for name, check in checks:
        began = time.monotonic()
        try:
            note = check()
            line = f"ok    {name}" + (f": {note}" if note else "")
        except Skip as e:
            line = f"skip  {name}: {e}"
        except Exception as e:  # a check fails by any exception; all are reported alike
            failed = True
            where = traceback.extract_tb(e.__traceback__)[-1]
            line = f"FAIL  {name}: {type(e).__name__}: {e} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        print(f"{line} [{time.monotonic() - began:.1f} s]".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what} is {got!r}, must be {want!r}")
