"""`python -m study.run NAME`: a study from its question to its report.

Exit status: 0 done, 1 no usable trial, or no model that is the tested one, 2 bad input (one line, nothing written),
130 interrupted.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from study.arguments import command, fail, parse, shown, shown_program
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
from study.persistence.output_dir import opened, withdraw
from study.persistence.unavailable import unavailable
from study.results import STUDY_FILE
from study.writing import in_shell
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
            print(f"{chosen.new[1]} is yours to edit; run it with {shown('study.run', chosen.new[1])} --data DIR")
            return 0
        return run(load(chosen.study), chosen, arguments)
    except InputError as problem:
        return fail(problem)


def show_list() -> int:
    for name in names():
        print(f"{name:14} {load(name).study.question}")
    return 0


def run(loaded: Loaded, chosen: argparse.Namespace, arguments: list[str]) -> int:
    """Run the study to its report; Ctrl-C and SIGTERM end it at any moment, and it can go on."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(loaded, chosen, arguments)
    except KeyboardInterrupt:
        return _interrupted("Interrupted; nothing is lost", arguments)


def _interrupted(why: str, arguments: list[str]) -> int:
    resume = arguments if "--resume" in arguments else [*arguments, "--resume"]
    print(f"{why}. Go on with: {shown('study.run', *resume)}", file=sys.stderr)
    return INTERRUPTED


def _run(loaded: Loaded, chosen: argparse.Namespace, arguments: list[str]) -> int:
    place = chosen.out or Path("runs") / (f"{loaded.name}-published" if chosen.published else loaded.name)
    if chosen.dry_run:  # whatever lies there is neither read nor touched
        return _run_in(Path(place), False, loaded, chosen, arguments)
    with opened(place, chosen.cache, chosen.resume) as (out, known):
        try:
            return _run_in(out, known, loaded, chosen, arguments)
        except Exception as problem:
            stops = unavailable(problem)
            if stops is None or type(problem) is InputError:
                raise
            if not (out / STUDY_FILE).exists():
                withdraw(out)
                raise stops from problem
            return _interrupted(f"{stops} Nothing is lost", arguments)


def _run_in(out: Path, known: bool, loaded: Loaded, chosen: argparse.Namespace, arguments: list[str]) -> int:
    if known:
        from study.persistence.ledger import sole_driver
        from study.setup.resume import as_before

        with sole_driver(out):  # another one is refused before Ray starts for it
            chosen = as_before(chosen, out)
    trackers = _trackers(chosen, loaded.name, out)
    if chosen.address is not None:
        from study.execution.cluster import cluster_size, joined, on_nodes, on_workers
        from study.persistence.nodes import check_nodes

        with joined(cluster_address(chosen.address)):
            resources = _resources(chosen, *cluster_size())
            if chosen.dry_run:
                return _dry_run(loaded, chosen, resources, out)
            check_nodes(storage.uri_of(out) or out, loaded.data(chosen.data), on_nodes)

            def has_bfloat16(device: str) -> bool:  # this machine may have another processor, and no GPU
                return next(on_workers(computes_bfloat16, [(device,)], resources))

            machines = Machines(resources, lambda: None, has_bfloat16)
            return _run_on(machines, loaded, chosen, out, known, arguments, trackers)
    if chosen.dry_run:
        return _dry_run(loaded, chosen, _resources(chosen, local_cpus(), local_gpus()), out)
    from study.execution.cluster import starting

    # Before anything else is imported: its workers import the same meanwhile.
    with starting(warm=_every_cpu_runs_a_trial(chosen)) as wait_for_ray:
        resources = _resources(chosen, local_cpus(), local_gpus())
        machines = Machines(resources, wait_for_ray, computes_bfloat16)
        return _run_on(machines, loaded, chosen, out, known, arguments, trackers)


def _run_on(
    machines: Machines,
    loaded: Loaded,
    chosen: argparse.Namespace,
    out: Path,
    known: bool,
    arguments: list[str],
    trackers: list[Any],
) -> int:
    from study.design.settings import shipped_configs
    from study.driver import drive
    from study.persistence.ledger import sole_driver
    from study.products.roundtrip import check_exports
    from study.setup.dry_run import fold_lines
    from study.setup.preflight import preflight
    from study.setup.prepare import prepare
    from study.setup.resume import go_on
    from study.setup.study_json import begin
    from trainables.data.known_files import unless_refused
    from trainables.data.manifest import data_folder

    resources, wait_for_ray = machines.resources, machines.wait_for_ray
    if known:
        with sole_driver(out):
            prepared, identity = go_on(loaded, chosen, resources, out, before_writing=wait_for_ray)
            return _to_the_end(drive(prepared, identity, resources, wait_for_ray, trackers), out)
    with unless_refused(chosen.cache, data_folder(loaded.data(chosen.data))):
        prepared = prepare(loaded, chosen, resources, out, machines.has_bfloat16)
        configs, classes = shipped_configs(prepared.study, prepared.base), prepared.base.classes
        check_exports(configs, classes, prepared.place.cache, with_onnx=not chosen.skip_preflight)
    print("\n".join(fold_lines(prepared.manifest, prepared.study, prepared.found)), file=sys.stderr)
    gates = preflight(prepared, resources, wait_for_ray, chosen.skip_preflight)
    wait_for_ray()  # before anything is written: gates that are left out do not
    out.mkdir(parents=True, exist_ok=True)
    with sole_driver(out):
        identity = begin(prepared, resources, command(arguments), chosen.hours, gates)
        return _to_the_end(drive(prepared, identity, resources, wait_for_ray, trackers), out)


def _to_the_end(wrong: str, out: Path) -> int:
    made = write_report(out)
    storage.push(out)
    if not made:
        again = shown("analysis.report", str(out))
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
    return subprocess.run(command, start_new_session=True, check=False, stdout=subprocess.DEVNULL).returncode == 0


def print_end(out: Path) -> None:
    """Where the answers are, in commands that work as they stand."""
    if uri := storage.uri_of(out):
        print(f"Report:      {uri.partition('?')[0]}/report.html")
        print(f"All of it:   {shown('study.fetch', uri, 'FOLDER')}")
        return
    print(f"Report:      {out / 'report.html'}")
    print(f"Model:       {out / 'best'}")
    print(f"TensorBoard: {shown_program('tensorboard', '--logdir', str(out / 'tensorboard'))}")


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
    """What is asked is said also where the images or weights are not there yet."""
    from study.design.settings import shipped_configs
    from study.products.roundtrip import check_exports
    from study.setup.dry_run import asked, describe
    from study.setup.prepare import as_asked, prepare
    from trainables.data.known_files import unless_refused
    from trainables.data.manifest import data_folder

    print(asked(as_asked(loaded.study, chosen)), flush=True)
    with _data(loaded, chosen) as data, unless_refused(chosen.cache, data_folder(data), keep=False):
        chosen = argparse.Namespace(**vars(chosen) | {"data": data})
        prepared = prepare(loaded, chosen, resources, out)
        configs = shipped_configs(prepared.study, prepared.base)
        check_exports(configs, prepared.base.classes, prepared.place.cache, keep=False)
        print(describe(prepared, resources))
    return 0


@contextmanager
def _data(loaded: Loaded, chosen: argparse.Namespace) -> Iterator[Path]:
    """Where a dry run looks for the data; what would be written there for the study is written elsewhere, and goes."""
    from trainables.data.datasets import DATASETS

    data = loaded.data(chosen.data)
    is_there = data.exists() and not (data.is_dir() and not any(data.iterdir()))
    if is_there or not DATASETS[loaded.study.dataset].comes_along:
        yield data
        return
    with TemporaryDirectory() as elsewhere:
        yield Path(elsewhere) / loaded.name


def _interrupt(*_: Any) -> None:
    signal.alarm(0)  # of Ray's handler, which aborts three seconds later: it may have been the first to hear
    raise KeyboardInterrupt


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
