"""`python -m study.run NAME`: a study from its question to its report.

Exit status: 0 done, 1 no usable trial, 2 bad input (one line, nothing written), 130 interrupted.
"""

import argparse
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from study.arguments import command, fail, parse
from study.load import Loaded, copy, load, names
from study.resources import Resources, cluster_address, local_cpus, local_gpus, plan_resources
from trainables.errors import InputError

INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    try:
        chosen = parse(arguments)
        if chosen.list:
            return show_list()
        if chosen.new:
            copy(chosen.new[0], Path(chosen.new[1]))
            print(f"{chosen.new[1]} is yours to edit; run it with python -m study.run {chosen.new[1]} --data DIR")
            return 0
        return run(load(chosen.study), chosen, command(arguments))
    except InputError as problem:
        return fail(problem)


def show_list() -> int:
    for name in names():
        print(f"{name:14} {load(name).study.question}")
    return 0


def run(loaded: Loaded, chosen: argparse.Namespace, line: str) -> int:
    from study.setup import check_out, prepare

    out = chosen.out or Path("runs") / loaded.name
    known = not chosen.dry_run and check_out(out, chosen.resume)
    if chosen.address is None:
        resources = _resources(chosen, local_cpus(), local_gpus())
        if chosen.dry_run:
            return _dry_run(prepare(loaded, chosen, resources, out), resources)
        return _run_on(loaded, chosen, resources, out, known, None, line)
    from study.cluster import cluster_size, connected

    address = cluster_address(chosen.address)
    with connected(address, 0):
        resources = _resources(chosen, *cluster_size())
        if chosen.dry_run:
            return _dry_run(prepare(loaded, chosen, resources, out), resources)
        return _run_on(loaded, chosen, resources, out, known, address, line)


def _run_on(
    loaded: Loaded,
    chosen: argparse.Namespace,
    resources: Resources,
    out: Path,
    known: bool,
    address: str | None,
    line: str,
) -> int:
    from study.dry_run import fold_lines
    from study.identity import begin, go_on
    from study.phases import run_phases
    from study.setup import prepare

    if known:
        prepared, identity = go_on(loaded, chosen, resources, out)
    else:
        prepared = prepare(loaded, chosen, resources, out)
        print("\n".join(fold_lines(prepared.manifest, prepared.study)), file=sys.stderr)
        identity = begin(prepared, resources, line, chosen.hours)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        usable = run_phases(prepared, identity, resources, address)
    except KeyboardInterrupt:
        resume = line if "--resume" in line.split() else f"{line} --resume"
        print(f"Interrupted; nothing is lost. Go on with: {resume}", file=sys.stderr)
        return INTERRUPTED
    write_report(out)
    if not usable:
        print(f"The study ended without a usable trial; {out}/report.html says why.", file=sys.stderr)
        return 1
    print_end(out)
    return 0


def write_report(out: Path) -> None:
    """The report is made from the tables alone, by a process that loads neither torch nor Ray."""
    subprocess.run([sys.executable, "-m", "analysis.report", str(out)], check=True)


def print_end(out: Path) -> None:
    """Where the answers are, in commands that work as they stand."""
    tensorboard = Path(sys.executable).with_name("tensorboard")
    with suppress(ValueError):
        tensorboard = tensorboard.relative_to(Path.cwd())
    print(f"Report:      {out / 'report.html'}")
    print(f"Model:       {out / 'best'}")
    print(f"TensorBoard: {tensorboard} --logdir {out / 'tensorboard'}")


def _resources(chosen: argparse.Namespace, cpus: float, gpus: float) -> Resources:
    return plan_resources(chosen.cpus_per_trial, chosen.gpus_per_trial, chosen.concurrent, cpus, gpus)


def _dry_run(prepared: Any, resources: Resources) -> int:
    from study.dry_run import describe

    print(describe(prepared, resources))
    return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
