"""Drive a study: begin or resume it, run its phases on Ray, and write everything except the report."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from study.arguments import Flags, command
from study.design.load import Loaded
from study.design.settings import shipped_configs
from study.estimates.costs import Run, Shared, added_seconds, estimate
from study.estimates.left import seconds_spent
from study.execution.deviations import deviations
from study.execution.machines import Machines
from study.messages import is_quiet, log
from study.persistence import ledger, storage
from study.persistence.ledger import Event, Record
from study.persistence.lock import sole_driver
from study.persistence.trial_files import predictions_file
from study.products.examples import write_examples
from study.products.export import export_best, shipped
from study.products.footprint import footprint
from study.products.local_dir import NotTheSame
from study.products.outputs import compute_seconds, write_predictions, write_tables
from study.products.retrieval import write_retrieval
from study.products.roundtrip import check_exports
from study.products.suspects import write_suspects
from study.results import Phase
from study.schedule.state import Sampler, Step, StudyState
from study.setup.data_lines import fold_lines
from study.setup.preflight import preflight
from study.setup.prepare import Prepared, prepare_study
from study.setup.promises import budget_line, claims_line
from study.setup.resume import resume_study
from study.setup.study_json import StudyJson, begin_study, save
from study.tracking.display import Display
from study.tracking.eta import TimeLimit
from study.tracking.progress import Progress
from study.tracking.tensorboard import EventFiles
from study.tracking.trackers import Tracker
from trainables.config import from_dict
from trainables.data.known_files import unless_refused
from trainables.data.manifest import data_folder, label_names

# Tables are updated while a study runs, so that a report can be made from them. At least this many seconds pass between
# two updates, and they take at most this share of the driver's time.
_SECONDS_BETWEEN_TABLES = 30
_SHARE_FOR_TABLES = 0.02


@contextmanager
def begun(
    loaded: Loaded, flags: Flags, machines: Machines, out: Path, arguments: Sequence[str]
) -> Iterator[tuple[Prepared, StudyJson]]:
    """Prepare a study, run the checks before its search, and begin it. No other process drives it within the block.

    Raises:
        InputError: a flag, the data or the weights are wrong, or a check failed. Nothing is written.
    """
    with unless_refused(flags.cache, data_folder(loaded.data(flags.data))):
        prepared = prepare_study(loaded, flags, machines.resources, out, machines.has_bfloat16)
        configs, classes = shipped_configs(prepared.study, prepared.base), prepared.base.classes
        log.debug("Checking that every net can be exported and loaded again")
        check_exports(configs, classes, prepared.place.cache, with_onnx=not flags.skip_preflight)
    for line in fold_lines(prepared.manifest, prepared.study, prepared.layout):
        log.info(line)
    if flags.hours is not None:
        log.info("--hours %g: %s", flags.hours, budget_line(prepared.study))
    if claims := claims_line(prepared.study):
        log.log(logging.INFO if flags.hours is None else logging.WARNING, claims)
    gates = preflight(prepared, machines.resources, machines.run_each, flags.skip_preflight)
    machines.wait_for_ray()  # before anything is written, also if the checks are skipped
    out.mkdir(parents=True, exist_ok=True)
    with sole_driver(out):
        yield (
            prepared,
            begin_study(
                prepared,
                machines.resources,
                command([*arguments]),
                flags.hours,
                gates,
                price=flags.price,
                nodes=machines.count_nodes(),
            ),
        )


@contextmanager
def resumed(
    loaded: Loaded, flags: Flags, machines: Machines, out: Path, arguments: Sequence[str]
) -> Iterator[tuple[Prepared, StudyJson]]:
    """Resume the study in `out`. No other process drives it within the block; study.json keeps its first `arguments`.

    Raises:
        InputError: it cannot be resumed with these flags and data, or another process drives it.
    """
    with sole_driver(out):
        yield resume_study(loaded, flags, machines.resources, out, before_writing=machines.wait_for_ray)


def drive(
    prepared: Prepared,
    study_json: StudyJson,
    machines: Machines,
    trackers: Sequence[Tracker] = (),
    began: float | None = None,
) -> str:
    """Run every phase and write the output. Return what went wrong, empty if nothing did.

    Args:
        began: when the command began, by time.monotonic(), which counts for --hours; None: now.
    """
    state = run_phases(prepared, study_json, machines, trackers, time.monotonic() if began is None else began)
    log.info("Exporting the best model and writing the report")
    return write_products(state, prepared)


def run_phases(
    prepared: Prepared, study_json: StudyJson, machines: Machines, trackers: Sequence[Tracker], command_began: float
) -> StudyState:
    """Run every phase on Ray. Tables, event files and study.json are up to date afterwards, even if interrupted."""
    study, out = prepared.study, prepared.out
    began = time.monotonic()
    events = EventFiles(out, study, prepared.base.metric)
    due = began  # write the tables with the first row
    step: Step = ""

    def hear(event: Event, record: Record) -> None:
        nonlocal due, step
        if state.phase != step:
            step = state.phase
            log.debug("Phase %s", step)
        display.hear(event, record)
        for listener in (events, *trackers):
            listener.hear(event, record)
        if event != "start" and (now := time.monotonic()) > due:
            write_tables(state)
            storage.push(out)
            took = time.monotonic() - now
            due = now + max(_SECONDS_BETWEEN_TABLES, took / _SHARE_FOR_TABLES)

    machines.wait_for_ray()
    # Imported here, because this imports Ray, whose environment variables must be set before.
    from study.execution.tuning import run_on_ray

    def out_of_time(phase: Phase, together: int) -> bool:
        return limit is not None and limit.must_end(phase, together)

    state = StudyState(out, study, prepared.base, _sampler(prepared), hear, out_of_time=out_of_time)
    progress = _progress(state, prepared, machines)
    limit = _time_limit(prepared, study_json, progress, time.monotonic() - command_began)
    silent = Console(stderr=True, quiet=True) if is_quiet() else None
    display = Display(f"study {prepared.name}", prepared.base.metric, progress, silent)
    try:
        with display:
            run_on_ray(state, prepared.place, machines.resources)
    finally:
        events.close()
        write_tables(state)
        wall, openings = time.monotonic() - began, len(ledger.read_openings(out))
        study_json.nodes = max(study_json.nodes, machines.count_nodes())
        study_json.deviations += [new for new in deviations(state) if new not in study_json.deviations]
        save(out, study_json, wall, compute_seconds(state), openings, state.decisions)
        storage.push(out)
        for tracker in trackers:
            tracker.close()
    return state


def write_products(state: StudyState, prepared: Prepared) -> str:
    """Write predictions, the winner's model and examples. Return what went wrong, empty if nothing did."""
    out, problem = prepared.out, ""
    storage.pull(out, storage.MODELS)
    write_predictions(state)
    untested = [record for record in state.shown() if not predictions_file(out, record.planned.trial).exists()]
    if untested:
        log.warning("%d models could not be evaluated on the test fold; try again with --resume.", len(untested))
    winner = shipped(state)
    if winner is None:
        return f"The study ended without a usable trial. {out}/report.html says why."
    log.debug("Exporting the winner, %s", winner.planned.trial)
    try:
        export_best(state, winner, prepared.place, prepared.manifest)
    except NotTheSame as difference:
        problem = (
            f"best/ was removed, because it was not the tested model ({difference}). "
            "The tables and the report are complete."
        )
    nets = (record.config for record in state.shown())
    write_tables(state, footprint(nets, len(label_names(prepared.manifest))))
    if winner not in untested and not problem:
        log.debug("Drawing examples")
        write_examples(state, winner, prepared.place, prepared.manifest)
        write_suspects(state, winner, prepared.place)
        if prepared.study.unseen:
            write_retrieval(out, prepared.place)
    return problem


def _progress(state: StudyState, prepared: Prepared, machines: Machines) -> Progress:
    shared: Shared = {}

    def work_of(record: Record) -> float:
        config = from_dict(record.config)
        run = Run(config, config.epochs, config.seed)
        return added_seconds(run, prepared.inputs, prepared.place.stored, shared)

    return Progress(
        state,
        estimate(prepared.study, prepared.inputs),
        machines.resources.concurrent,
        work_of,
        sum(predictions_file(prepared.out, trial).exists() for trial in state.records),
        time.monotonic,
    )


def _time_limit(prepared: Prepared, study_json: StudyJson, progress: Progress, passed: float) -> TimeLimit | None:
    """Return the limit of a study with --hours.

    Args:
        passed: seconds since the command began.
    """
    if study_json.hours is None:
        return None
    records = progress.course.records.values()
    earlier = seconds_spent(records, study_json.wall_seconds, study_json.resources.concurrent)
    return TimeLimit(progress, study_json.hours * 3600 - earlier - passed)


def _sampler(prepared: Prepared) -> Sampler | None:
    if prepared.study.goal != "best":
        return None
    from study.schedule.sampling import OptunaSampler

    return OptunaSampler(prepared.study, prepared.base.study_seed, prepared.out)
