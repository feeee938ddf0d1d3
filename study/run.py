"""`python -m study.run NAME`, or `study.run(NAME)` in a notebook: run a study from its question to its report.

Exit status: 0 done; 1 no usable trial, or the exported model is not the tested one; 2 bad input (one line, nothing
written); 130 interrupted.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType, ModuleType

from study import results
from study.arguments import Flags, fail, parse, shown, shown_program
from study.design.load import Loaded, copy, load, names
from study.execution.machines import connected
from study.messages import is_quiet, log, set_verbosity
from study.persistence import storage
from study.persistence.output_dir import opened, read_only, withdraw
from study.persistence.unavailable import unavailable
from study.price import Price
from study.results import STUDY_FILE, SUMMARY_FILE, Results
from study.spec import Study
from study.tracking.trackers import Background, check_installed, connect
from study.writing import in_shell, printable, wrapped
from trainables.errors import InputError

INTERRUPTED = 130


class Interrupted(InputError):
    """A study that had to stop. --resume continues it."""


@dataclass(frozen=True)
class Outcome:
    """The folder of a study that ran to its end, and what went wrong."""

    out: Path
    problem: str = ""  # empty if nothing went wrong


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        flags = parse(arguments)
        set_verbosity(flags.quiet, flags.verbose)
        if flags.list:
            return show_list()
        if flags.new:
            return new_study(*flags.new)
        loaded = load(flags.study)
        if flags.dry_run:
            dry_run(loaded, flags)
            return 0
        return _print_outcome(run_study(loaded, flags, arguments))
    except KeyboardInterrupt:
        return _print_interrupted("Interrupted; nothing is lost", arguments)
    except Interrupted as problem:
        return _print_interrupted(f"{problem} Nothing is lost", arguments)
    except InputError as problem:
        return fail(problem)


def run(study: str | Path | Study, *, name: str | None = None, **flags: object) -> Results | None:
    """Run a study from Python, for example in a notebook, exactly as the command line does.

    Args:
        study: the name of a study, a study file, or a Study.
        name: the name of a Study, which determines its default folders; by default the name of its dataset.
        flags: the flags of the command line by name, such as `data="images"`, `trials=16`, `resume=True`.

    Returns:
        The tables of the finished study; None after `dry_run=True`.

    Raises:
        InputError: a flag, the study or its data is wrong, or the study had to stop and `resume=True` continues it.
        RuntimeError: the study ended without a usable model. The message says why.
    """
    title = name or study.dataset if isinstance(study, Study) else str(study)
    arguments = [title, *_as_arguments(flags)]
    try:
        parsed = parse(arguments)
    except SystemExit:
        raise InputError("--help and --version belong to the command line: leave them out.") from None
    if parsed.list or parsed.new:
        raise InputError("--list and --new belong to the command line: leave them out.")
    set_verbosity(parsed.quiet, parsed.verbose)
    loaded = Loaded(title, study) if isinstance(study, Study) else load(title)
    if parsed.dry_run:
        dry_run(loaded, parsed)
        return None
    outcome = run_study(loaded, parsed, arguments)
    if outcome.problem:
        raise RuntimeError(outcome.problem)
    return results.read(outcome.out)


def _as_arguments(flags: dict[str, object]) -> Iterator[str]:
    for name, value in flags.items():
        if value is None or value is False:
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield str(value)


def show_list() -> int:
    for name in names():
        print(f"{name:14} {load(name).study.question}")
    return 0


def new_study(name: str, file: str) -> int:
    copy(name, Path(file))
    print(f"Edit {file}, then run it with {shown('study.run', file)} --data DIR")
    return 0


def run_study(loaded: Loaded, flags: Flags, arguments: Sequence[str]) -> Outcome:
    """Open the output, connect to Ray, begin or resume the study, run its phases, and write the report.

    Raises:
        Interrupted: storage or images that every trial needs are gone.
        InputError: the user has to fix something else. Nothing is written.
        KeyboardInterrupt: Ctrl-C or SIGTERM. The study can be resumed.
    """
    began, target = time.monotonic(), output_dir(loaded, flags)
    with _interruptible(), opened(target, flags.cache, flags.resume) as (out, resumes), _stopping(out):
        _announce(loaded, flags, target, resumes)
        if resumes:
            flags = _as_before(flags, out)
        trackers = _trackers(flags, loaded.name, out)
        with connected(flags, loaded.data(flags.data), out) as machines:
            # Imported here, because this imports torch, which takes as long as Ray takes to start.
            from study.driver import begun, drive, resumed

            enter = resumed if resumes else begun
            with enter(loaded, flags, machines, out, arguments) as (prepared, study_json):
                return report(drive(prepared, study_json, machines, trackers, began), out)


def _announce(loaded: Loaded, flags: Flags, target: Path | str, resumes: bool) -> None:
    """Print what is started, because the imports of the next step take seconds.

    Outside of a terminal it goes to standard output: bad input that is found later is one line on standard error.
    """
    if is_quiet():
        return
    place = str(target).partition("?")[0]
    images = "" if resumes else f" with the images in {loaded.data(flags.data)}"
    line = f"{'Resuming' if resumes else 'Starting'} study {loaded.name}{images}; results go to {place}"
    print(printable(line), file=sys.stderr if sys.stderr.isatty() else sys.stdout, flush=True)


def output_dir(loaded: Loaded, flags: Flags) -> Path | str:
    return flags.out or Path("runs") / (f"{loaded.name}-published" if flags.published else loaded.name)


def report(problem: str, out: Path) -> Outcome:
    """Write the report and upload everything to a remote --out.

    Args:
        problem: what went wrong before; empty if nothing did.
    """
    log.debug("Writing the report")
    is_written = write_report(out)
    storage.push(out)
    if not is_written:
        again = shown("analysis.report", str(out))
        problem = f"The report could not be written, but the tables are complete. Write it again: {again}"
    return Outcome(out, problem)


def write_report(out: Path) -> bool:
    """Write the report from the tables alone, in a process that loads neither torch nor Ray.

    It runs in its own session, so that Ctrl-C reaches only this process, which then ends the other one.
    """
    command = [sys.executable, "-m", "analysis.report", str(out)]
    return subprocess.run(command, start_new_session=True, check=False, stdout=subprocess.DEVNULL).returncode == 0


def dry_run(loaded: Loaded, flags: Flags) -> None:
    """Print what a study would do and cost; with --resume what is left of the study in `out`.

    The study file's part comes first, even if images or weights are missing.

    Raises:
        InputError: a flag, the study, its data or its weights are wrong.
    """
    from study.design.settings import shipped_configs
    from study.products.roundtrip import check_exports
    from study.setup.asked import as_asked
    from study.setup.dry_run import asked, describe
    from study.setup.prepare import prepare_study
    from trainables.data.known_files import unless_refused
    from trainables.data.manifest import data_folder

    target = output_dir(loaded, flags)
    out = Path(target)  # never written
    _trackers(flags, loaded.name, out)
    if flags.resume:
        with read_only(target) as begun:
            if begun is not None:
                return _dry_resume(loaded, flags, begun)
    with connected(flags, loaded.data(flags.data), out) as machines:
        print(asked(as_asked(loaded.study, flags)), flush=True)
        with _dry_data(loaded, flags) as data, unless_refused(flags.cache, data_folder(data), keep=False):
            prepared = prepare_study(loaded, replace(flags, data=data), machines.resources, out)
            configs = shipped_configs(prepared.study, prepared.base)
            check_exports(configs, prepared.base.classes, prepared.place.cache, keep=False)
            print(describe(prepared, machines.resources, Price(flags.price, machines.count_nodes())))


def _dry_resume(loaded: Loaded, flags: Flags, out: Path) -> None:
    from study.setup.dry_run import asked, describe_left
    from study.setup.resume import as_before, begun_study

    flags = as_before(flags, out)
    with connected(flags, loaded.data(flags.data), out) as machines:
        prepared, study_json = begun_study(loaded, flags, machines.resources, out)
        print(asked(prepared.study), flush=True)
        print(describe_left(prepared, study_json, machines.resources, Price(flags.price, machines.count_nodes())))


@contextmanager
def _dry_data(loaded: Loaded, flags: Flags) -> Iterator[Path]:
    """Yield the dataset folder for a dry run. A dataset that a study would write goes to a temporary folder instead."""
    from trainables.data.datasets import DATASETS

    data = loaded.data(flags.data)
    is_there = data.exists() and not (data.is_dir() and not any(data.iterdir()))
    if is_there or not DATASETS[loaded.study.dataset].comes_along:
        yield data
        return
    with TemporaryDirectory() as elsewhere:
        yield Path(elsewhere) / loaded.name


def _as_before(flags: Flags, out: Path) -> Flags:
    """Return the flags with the resources that the study began with. A second driver is refused before Ray starts."""
    from study.persistence.lock import sole_driver
    from study.setup.resume import as_before

    with sole_driver(out):
        return as_before(flags, out)


def _trackers(flags: Flags, name: str, out: Path) -> list[Background]:
    """Connect to MLflow and W&B if the flags ask for it. A missing package is refused before Ray starts."""
    check_installed(flags.mlflow, flags.wandb)
    return [] if flags.dry_run else connect(flags.mlflow, flags.wandb, name, out)


@contextmanager
def _stopping(out: Path) -> Iterator[None]:
    """Turn `Unavailable` into `Interrupted`. A study that has no study.json yet is removed instead."""
    try:
        yield
    except Exception as problem:
        lost = unavailable(problem)
        if lost is None or type(problem) is InputError:
            raise
        if (out / STUDY_FILE).exists():
            raise Interrupted(str(lost)) from problem
        withdraw(out)
        raise lost from problem


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a study like Ctrl-C. Python allows that in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.alarm(0)  # cancels the alarm of Ray's handler, which would abort the process after three seconds
    raise KeyboardInterrupt


def _print_interrupted(why: str, arguments: list[str]) -> int:
    resume = arguments if "--resume" in arguments else [*arguments, "--resume"]
    print(f"{why}. Resume with: {shown('study.run', *resume)}", file=sys.stderr)
    return INTERRUPTED


def _print_outcome(outcome: Outcome) -> int:
    """Print what went wrong, or the answers and where the results are, in commands that can be pasted."""
    out = outcome.out
    if outcome.problem:
        print(outcome.problem, file=sys.stderr)
        return 1
    if not is_quiet():
        print(wrapped((out / SUMMARY_FILE).read_text(encoding="utf-8")))
    if uri := storage.uri_of(out):
        print(f"Report:      {uri.partition('?')[0]}/report.html")
        print(f"Download:    {shown('study.fetch', uri, 'FOLDER')}")
        return 0
    print(f"Report:      {out / 'report.html'}")
    print(f"Model:       {out / 'best'}")
    print(f"TensorBoard: {shown_program('tensorboard', '--logdir', str(out / 'tensorboard'))}")
    return 0


class _Callable(ModuleType):
    """This module as `from study import run` gives it. A function of that name would be hidden by the module."""

    def __call__(self, study: str | Path | Study, *, name: str | None = None, **flags: object) -> Results | None:
        return run(study, name=name, **flags)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    console()
