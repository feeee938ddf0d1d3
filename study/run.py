"""`python -m study.run NAME`: a study from its question to its report.

Exit status: 0 done, 1 no usable trial, or no model that is the tested one, 2 bad input (one line, nothing written),
130 interrupted.
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.arguments import command, fail, parse
from study.design.load import Loaded, copy, load, names
from study.estimates.resources import (
    Resources,
    cluster_address,
    has_gpu_devices,
    local_cpus,
    local_gpus,
    plan_resources,
)
from study.persistence import storage
from study.persistence.places import opened
from study.persistence.unavailable import unavailable
from study.results import STUDY_FILE
from trainables.errors import InputError
from trainables.nets.arithmetic import computes_bfloat16

INTERRUPTED = 130


@dataclass(frozen=True)
class Machines:
    """Where trials run: what each gets, what waits until Ray is there, and whether a device has bfloat16 there."""

    resources: Resources
    wait_for_ray: Callable[[], None]
    has_bfloat16: Callable[[str], bool]


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
    """Run the study to its report; Ctrl-C and SIGTERM end it at any moment, and it can go on."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(loaded, chosen, line)
    except KeyboardInterrupt:
        return _interrupted("Interrupted; nothing is lost", line)


def _interrupted(why: str, line: str) -> int:
    resume = line if "--resume" in shlex.split(line) else f"{line} --resume"
    print(f"{why}. Go on with: {resume}", file=sys.stderr)
    return INTERRUPTED


def _run(loaded: Loaded, chosen: argparse.Namespace, line: str) -> int:
    place = chosen.out or Path("runs") / (f"{loaded.name}-published" if chosen.published else loaded.name)
    if chosen.dry_run:  # whatever lies there is neither read nor touched
        return _run_in(Path(place), False, loaded, chosen, line)
    with opened(place, chosen.cache, chosen.resume) as (out, known):
        try:
            return _run_in(out, known, loaded, chosen, line)
        except Exception as problem:
            stops = unavailable(problem)
            if stops is None or not (out / STUDY_FILE).exists():
                raise
            return _interrupted(f"{stops} Nothing is lost", line)


def _run_in(out: Path, known: bool, loaded: Loaded, chosen: argparse.Namespace, line: str) -> int:
    if known:
        from study.beginning.resume import as_before

        chosen = as_before(chosen, out)
    trackers = _trackers(chosen, loaded.name, out)
    if chosen.address is not None:
        from study.execution.cluster import cluster_size, joined, on_nodes, on_workers
        from study.persistence.nodes import check_nodes

        with joined(cluster_address(chosen.address)):
            resources = _resources(chosen, *cluster_size())
            if chosen.dry_run:
                return _dry_run(loaded, chosen, resources, out)
            check_nodes(storage.uri_of(out) or out, chosen.data or Path("data") / loaded.name, on_nodes)

            def has_bfloat16(device: str) -> bool:  # this machine may have another processor, and no GPU
                return next(on_workers(computes_bfloat16, [(device,)], resources))

            machines = Machines(resources, lambda: None, has_bfloat16)
            return _run_on(machines, loaded, chosen, out, known, line, trackers)
    if chosen.dry_run:
        return _dry_run(loaded, chosen, _resources(chosen, local_cpus(), local_gpus()), out)
    from study.execution.cluster import starting

    # Before anything else is imported: its workers import the same meanwhile.
    with starting(warm=_every_cpu_runs_a_trial(chosen)) as wait_for_ray:
        resources = _resources(chosen, local_cpus(), local_gpus())
        machines = Machines(resources, wait_for_ray, computes_bfloat16)
        return _run_on(machines, loaded, chosen, out, known, line, trackers)


def _run_on(
    machines: Machines,
    loaded: Loaded,
    chosen: argparse.Namespace,
    out: Path,
    known: bool,
    line: str,
    trackers: list[Any],
) -> int:
    from study.beginning.dry_run import fold_lines
    from study.beginning.identity import begin
    from study.beginning.preflight import preflight
    from study.beginning.resume import go_on
    from study.beginning.setup import prepare
    from study.design.settings import planned_configs
    from study.persistence.ledger import sole_driver
    from study.phases import run_phases
    from study.products.roundtrip import check_exports

    resources, wait_for_ray = machines.resources, machines.wait_for_ray
    if known:
        with sole_driver(out):
            prepared, identity = go_on(loaded, chosen, resources, out)
            return _to_the_end(run_phases(prepared, identity, resources, wait_for_ray, trackers), out)
    prepared = prepare(loaded, chosen, resources, out, machines.has_bfloat16)
    check_exports(planned_configs(prepared.study, prepared.base), prepared.base.classes, prepared.place.cache)
    print("\n".join(fold_lines(prepared.manifest, prepared.study)), file=sys.stderr)
    gates = preflight(prepared, resources, wait_for_ray, chosen.skip_preflight)
    out.mkdir(parents=True, exist_ok=True)
    with sole_driver(out):
        identity = begin(prepared, resources, line, chosen.hours, gates)
        return _to_the_end(run_phases(prepared, identity, resources, wait_for_ray, trackers), out)


def _to_the_end(wrong: str, out: Path) -> int:
    made = write_report(out)
    storage.push(out)
    if not made:
        again = shlex.join(["python", "-m", "analysis.report", str(out)])
        print(f"The report could not be made; the tables are whole. Make it again: {again}", file=sys.stderr)
        return 1
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    print_end(out)
    return 0


def write_report(out: Path) -> bool:
    """The report is made from the tables alone, by a process that loads neither torch nor Ray.

    In a session of its own, so that Ctrl-C reaches this process only, which ends the other.
    """
    command = [sys.executable, "-m", "analysis.report", str(out)]
    return subprocess.run(command, start_new_session=True, check=False).returncode == 0


def print_end(out: Path) -> None:
    """Where the answers are, in commands that work as they stand."""
    if uri := storage.uri_of(out):
        print(f"Report:      {uri.partition('?')[0]}/report.html")
        print(f"All of it:   {shlex.join(['python', '-m', 'study.fetch', uri, 'FOLDER'])}")
        return
    tensorboard = Path(sys.executable).with_name("tensorboard")
    with suppress(ValueError):
        tensorboard = tensorboard.relative_to(Path.cwd())
    print(f"Report:      {out / 'report.html'}")
    print(f"Model:       {out / 'best'}")
    print(f"TensorBoard: {shlex.join([str(tensorboard), '--logdir', str(out / 'tensorboard')])}")


def _trackers(chosen: argparse.Namespace, name: str, out: Path) -> list[Any]:
    """Other people's trackers that were asked for; their packages are looked for first, and reached before Ray is."""
    if chosen.mlflow is None and chosen.wandb is None:
        return []
    from study.tracking.trackers import check_installed, connect

    check_installed(chosen.mlflow, chosen.wandb)
    return [] if chosen.dry_run else connect(chosen.mlflow, chosen.wandb, name, out)


def _resources(chosen: argparse.Namespace, cpus: float, gpus: float) -> Resources:
    asked = chosen.cpus_per_trial, chosen.gpus_per_trial, chosen.concurrent
    workers, is_cluster = chosen.workers_per_trial or 1, chosen.address is not None
    return plan_resources(*asked, cpus, gpus, workers, is_cluster)


def _every_cpu_runs_a_trial(chosen: argparse.Namespace) -> bool:
    """Where trials take several CPUs each, a warm worker for every CPU would be too many."""
    on_gpu = chosen.gpus_per_trial != 0 and has_gpu_devices()
    alone = chosen.workers_per_trial in (None, 1)
    return alone and not on_gpu and chosen.cpus_per_trial in (None, 1) and chosen.concurrent in (None, local_cpus())


def _dry_run(loaded: Loaded, chosen: argparse.Namespace, resources: Resources, out: Path) -> int:
    """What is asked is said also where the pictures or weights are not there yet."""
    from study.beginning.dry_run import asked, describe
    from study.beginning.setup import prepare
    from study.design.settings import planned_configs
    from study.products.roundtrip import check_exports

    print(asked(loaded.study.as_published(chosen.epochs) if chosen.published else loaded.study), flush=True)
    prepared = prepare(loaded, chosen, resources, out)
    configs = planned_configs(prepared.study, prepared.base)
    check_exports(configs, prepared.base.classes, prepared.place.cache, keep=False)
    print(describe(prepared, resources))
    return 0


def _interrupt(*_: Any) -> None:
    signal.alarm(0)  # of Ray's handler, which aborts three seconds later: it may have been the first to hear
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
