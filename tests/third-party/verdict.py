"""How a judge tells of its tests: one line each, read by scripts/third-party."""
import os
import subprocess

CACHE = os.environ.get("JUDGE_CACHE", "")
LONG = bool(os.environ.get("JUDGE_LONG"))


class Wrong(Exception):
    """A test's result is not what it should be."""


def tell(outcome, test, reason=""):
    reason = " ".join(str(reason).split())[:300]
    print(f"{outcome} {test} # {reason}" if reason else f"{outcome} {test}", flush=True)


def check(test, work, *arguments):
    """Run one test: it returns, or raises."""
    try:
        note = work(*arguments)
    except Exception as error:  # whatever a program's Python side raises is its test's failure
        tell("failed", test, f"{type(error).__name__}: {error}" if not isinstance(error, Wrong) else error)
    else:
        tell("passed", test, note or "")


def run(*command, environment=None, limit=600):
    """A program's standard output; Wrong with the end of what it says if it fails."""
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, **(environment or {})}, capture_output=True, timeout=limit,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise Wrong(f"ended with {done.returncode}: {' | '.join(said[:4])}")
    return done.stdout
