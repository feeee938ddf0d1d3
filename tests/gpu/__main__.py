"""Check everything that needs a GPU, in at most eight minutes and without a network: make gpu-test

    python -m tests.gpu --out DIR                                 # every part, on the GPU
    python -m tests.gpu --out DIR --parts exact,speed             # some of them
    python -m tests.gpu --out DIR --device cpu                    # small, which only tries the check itself

Each part runs in a process of its own with a time limit, and writes each row to DIR/PART.jsonl as soon as it is
measured. DIR/gpu.md has the tables for docs/gpu.md. The status is 1 if a part failed or ran out of time.
"""

import argparse
import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.gpu.nets import SMALL, WHOLE

# Seconds that a part may take on a GPU, in the order in which they run.
PARTS = {"facts": 40, "exact": 90, "speed": 130, "pack": 50, "command_line": 110, "suites": 60}


def run_part(name: str, device: str, out: Path) -> None:
    """Run a part in this process."""
    scale = WHOLE if device == "cuda" else SMALL
    with TemporaryDirectory() as folder, (out / f"{name}.jsonl").open("w") as file:
        for row in import_module(f"tests.gpu.{name}").rows(scale, Path(folder)):
            print(json.dumps(row), file=file, flush=True)


def check(name: str, device: str, out: Path) -> str:
    """Run a part in a process of its own. Return what went wrong; empty if nothing did."""
    command = [sys.executable, "-m", "tests.gpu", "--out", str(out), "--device", device, "--run", name]
    try:
        limit = PARTS[name] if device == "cuda" else None
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes more than {PARTS[name]} s"
    return done.stderr.strip().rpartition("\n")[2][:500] or "it failed" if done.returncode else ""


def tables(rows: list[dict[str, Any]]) -> str:
    """Return rows as tables in Markdown, one for each run of rows with the same columns."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ["", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines.append(f"| {' | '.join(_cell(row[column]) for column in columns)} |")
    return "\n".join(lines).strip()


def _cell(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value).replace("|", "/")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="NAMES")
    parser.add_argument("--run", choices=tuple(PARTS), help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    flags.out.mkdir(parents=True, exist_ok=True)
    if flags.run:
        run_part(flags.run, flags.device, flags.out)
        return 0
    text, failed = "", False
    for name in flags.parts.split(","):
        began = time.monotonic()
        problem = check(name, flags.device, flags.out)
        failed = failed or bool(problem)
        file = flags.out / f"{name}.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        title = f"### {name}, {time.monotonic() - began:.0f} s{f': {problem}' if problem else ''}"
        section = f"{title}\n\n{tables(rows)}\n\n"
        print(section, flush=True)
        text += section
    (flags.out / "gpu.md").write_text(text)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
