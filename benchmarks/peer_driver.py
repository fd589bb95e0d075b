"""Runs one tool many times in one process, with the Python of the environment it is installed in.

    PEER/bin/python peer_driver.py SCRIPT < arguments.jsonl > answers.jsonl

Each input line is a list of arguments; each output line what the console script SCRIPT printed for it: the same as
calling the program anew, without importing torch anew each time.
"""

import contextlib
import importlib.metadata
import io
import json
import sys
import traceback


def main() -> None:
    """Answers every line of the standard input."""
    name = sys.argv[1]
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    program, answers = script.load(), sys.stdout
    for line in sys.stdin.read().splitlines():
        sys.argv = [name, *json.loads(line)]
        sys.stdin = io.StringIO()  # a tool that asks for something gets no answer
        printed, failure = io.StringIO(), None
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()) as complaints:
            try:
                program()
            except SystemExit as left:
                failure = f"exit {left.code}" if left.code else None
            except Exception:
                failure = traceback.format_exc().strip().splitlines()[-1]
        said = failure and f"{failure}: {complaints.getvalue()[-2000:]}"
        print(json.dumps({"printed": printed.getvalue(), "failure": said}), file=answers, flush=True)


if __name__ == "__main__":
    main()
