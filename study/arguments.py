"""The command line. Flags set where a study runs and how large it is; the study file sets what it compares.

Nothing here imports torch, Ray or timm, so wrong flags are refused at once.
"""

import argparse
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from study.completion import add_completion
from study.persistence.remote import is_uri, parse_place
from trainables.errors import InputError, did_you_mean

DEFAULT_SEED = 0
_DISTRIBUTION = "study-platform"  # as in pyproject.toml
_DESCRIPTION = "Run a hyperparameter study of transfer learning on images, from its question to its report."


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line instead of a page of usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        add_completion(self)

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InputError: argparse's message, and a suggestion for a misspelled flag or value.
        """
        raise InputError(f"{message[0].upper()}{message[1:]}; see {self.prog} --help.{self._suggestion(message)}")

    def _suggestion(self, message: str) -> str:
        """Suggest the flag or value that a misspelled one is closest to."""
        if match := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            return did_you_mean(match[1], [choice.strip("' ") for choice in match[2].split(",")])
        if message.startswith("unrecognized arguments: "):
            wrong = "".join(message.split()[2:3]).partition("=")[0]
            return did_you_mean(wrong, [flag for action in self._actions for flag in action.option_strings])
        return ""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The command line of `study.run`. None: the flag was left out, and its default depends on the study."""

    study: str  # a name or a file; empty with `list` or `new`
    list: bool
    new: tuple[str, str] | None
    data: Path | None
    out: Path | str | None  # a folder, or the address of a remote
    test: Path | None
    trials: int | None
    epochs: int | None
    refine: int | None
    seeds: int | None
    test_folds: int | None
    most_seeds: int | None
    hours: float | None
    price: float | None
    seed: int | None
    resume: bool
    address: str | None
    gpus_per_trial: float | None
    cpus_per_trial: int | None
    workers_per_trial: int | None
    concurrent: int | None
    weights: str | None  # a folder, or "none"
    download: bool
    cache: Path  # not used with `list` or `new`
    cache_gib: float | None
    no_sharing: bool
    published: bool
    mlflow: str | None
    wandb: str | None
    skip_preflight: bool
    dry_run: bool
    quiet: bool
    verbose: bool


def parser() -> Parser:
    """Return the parser of `python -m study.run`. Its default values are computed for this user and machine."""
    made = Parser(prog="python -m study.run", description=_DESCRIPTION, allow_abbrev=False)
    made.add_argument("study", nargs="?", metavar="NAME|FILE.py", help="the name of a study, or a study file")
    add = made.add_argument
    add("--list", action="store_true", help="list the studies and exit")
    add("--new", nargs=2, metavar=("NAME", "FILE.py"), help="copy the study NAME to FILE.py for editing and exit")
    add("--data", type=local, metavar="DIR", help="the dataset folder or its archives (default: data/NAME)")
    add("--out", type=_place, metavar="DIR|URI", help="output folder or address, s3://... (default: runs/NAME)")
    add("--test", type=Path, metavar="DIR", help="your own test images, one folder per class")
    add("--trials", type=positive_int, metavar="N", help="number of search trials")
    add("--epochs", type=positive_int, metavar="N", help="maximum epochs per trial")
    add("--refine", type=positive_int, metavar="N", help="refinement trials of each level")
    add("--seeds", type=positive_int, metavar="N", help="number of seeds of each setting in the confirmation")
    add("--most-seeds", type=positive_int, metavar="N", help="number of seeds of a setting that is still in doubt")
    add("--test-folds", type=_at_least_two, metavar="N", help="test on all images in N folds, for small datasets")
    add("--hours", type=_positive, metavar="H", help="choose trials, epochs and seeds to fit this time, and keep to it")
    add("--price", type=_not_negative, metavar="P", help="cost of a node per hour: print and report money beside time")
    add("--seed", type=natural, metavar="N", help=f"random seed of the study (default: {DEFAULT_SEED})")
    add("--resume", action="store_true", help="continue the study in --out, or start it if there is none")
    add("--address", metavar="ADDR", help="join a running Ray cluster: auto, or host:port")
    add("--gpus-per-trial", type=_not_negative, metavar="F", help="GPUs per trial; fractions are allowed")
    add("--cpus-per-trial", type=positive_int, metavar="N", help="CPUs, and threads, per trial")
    add("--workers-per-trial", type=positive_int, metavar="N", help="data-parallel processes per trial (Ray Train)")
    add("--concurrent", type=positive_int, metavar="N", help="trials that run at once (default: as many as fit)")
    add("--weights", metavar="DIR|none", help="a folder of pretrained weights, or none to train from scratch")
    add("--download", action="store_true", help="download the dataset first and verify its checksums")
    add("--cache", **cache_option("decoded images and activations of frozen layers"))
    add("--cache-gib", type=_positive, metavar="F", help="maximum size of the cache in GiB")
    add("--no-sharing", action="store_true", help="do not cache frozen layers: same results, slower")
    add("--published", action="store_true", help="run the published configurations instead of a search")
    add("--mlflow", metavar="URI", help="also log trials to MLflow: a server, or sqlite:///FILE")
    add("--wandb", metavar="PROJECT", help="also log trials to this Weights & Biases project")
    add("--skip-preflight", action="store_true", help="skip the checks before the search; study.json records it")
    add("--dry-run", action="store_true", help="print the plan, its resolution and its cost; run nothing")
    add("--quiet", action="store_true", help="print only errors, warnings and where the results are")
    add("--verbose", action="store_true", help="also print each step as it begins")
    add("--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")
    return made


def parse(arguments: Sequence[str]) -> Flags:
    """Parse and check the flags, without importing torch, Ray or timm.

    Raises:
        InputError: a flag is unknown, has no value, has a wrong value, or contradicts another one.
    """
    values = vars(parser().parse_args(arguments))
    if not (values["study"] or values["list"] or values["new"]):
        raise InputError("Name a study or a study file. `python -m study.run --list` lists the studies.")
    if values["study"]:
        check_cache(values["cache"])
        _check_names([*arguments, os.getcwd()])
    new = tuple(values["new"]) if values["new"] else None
    flags = Flags(**values | {"study": values["study"] or "", "new": new, "cache": values["cache"] or Path()})
    if flags.hours is not None and (flags.trials or flags.epochs or flags.seeds):
        raise InputError("--hours chooses the trials, epochs and seeds: leave --trials, --epochs and --seeds out.")
    if flags.published and (flags.hours or flags.trials or flags.refine or flags.test_folds):
        raise InputError(
            "--published runs every published configuration as it is: leave --trials, --refine, --test-folds and "
            "--hours out."
        )
    if flags.quiet and flags.verbose:
        raise InputError("--quiet and --verbose contradict each other: leave one of them out.")
    return flags


class _Version(argparse.Action):
    """Print the installed version. It is looked up only on request."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        try:
            installed = version(_DISTRIBUTION)
        except PackageNotFoundError:
            installed = "not installed: a source tree"
        print(f"{_DISTRIBUTION} {installed}")
        parser.exit()


def _check_names(names: list[str]) -> None:
    """Refuse names that are not UTF-8, because Ray, Parquet and JSON can only store text."""
    for name in names:
        if any("\udc80" <= character <= "\udcff" for character in name):
            raise InputError(f"Names of files and folders must be UTF-8, but got {name!r}: rename it.")


def cache_option(what: str) -> dict[str, Any]:
    """Return the arguments with which a parser adds --cache, the folder for `what`."""
    default = _user_cache()
    shown = str(default).replace("%", "%%") if default else "none, because neither HOME nor XDG_CACHE_HOME is set"
    return {"type": Path, "metavar": "DIR", "default": default, "help": f"folder for {what} (default: {shown})"}


def check_cache(cache: Path | None) -> None:
    """Check that there is a cache folder.

    Raises:
        InputError: --cache is missing and the user has no home folder.
    """
    if cache is None:
        raise InputError(
            "--cache must name a folder, because there is no home folder: pass it, or set HOME or XDG_CACHE_HOME."
        )


def _user_cache() -> Path | None:
    """Return the user's cache folder; None without a home folder, as in some containers and batch jobs."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return None if caches.startswith("~") else Path(caches) / "study"


def command(arguments: list[str]) -> str:
    """Return this command line in a form that works on any machine."""
    return _for_shell(["python", "-m", "study.run", *arguments])


def shown(module: str, *arguments: str) -> str:
    """Return a command that can be pasted into a shell in the current folder. It uses the Python that runs now."""
    return _for_shell([_program("python", sys.executable), "-m", module, *arguments])


def shown_program(name: str, *arguments: str) -> str:
    """Return a command like `shown`, for a program that is installed beside Python."""
    return _for_shell([_program(name, str(Path(sys.executable).with_name(name))), *arguments])


def _program(name: str, file: str) -> str:
    """Return how a shell finds a file: its name alone, or the shorter of its paths."""
    on_path = shutil.which(name)
    # The folders must be equal too: virtual environments link to the same Python, but with other packages.
    if on_path and os.path.dirname(on_path) == os.path.dirname(file) and os.path.samefile(on_path, file):
        return name
    relative = os.path.relpath(file)
    return min(file, relative if os.sep in relative else os.path.join(os.curdir, relative), key=len)


def _for_shell(words: list[str]) -> str:
    """Quote words for bash, zsh and ksh, also unprintable ones such as names that are not UTF-8."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in os.fsencode(word)
    )
    return f"$'{''.join(plain)}'"


def fail(problem: Exception) -> int:
    """Print one line to standard error and return the exit status of bad input."""
    print(" ".join(str(problem).split()), file=sys.stderr)
    return 2


def local(text: str) -> Path:
    if is_uri(text):
        scheme = text.partition(":")[0]
        raise argparse.ArgumentTypeError(f"must be a local folder, but got {scheme}://…: mount it or copy it")
    return Path(text)


def _place(text: str) -> Path | str:
    try:
        return parse_place(text)
    except InputError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _number(text: str, kind: type[int] | type[float], rule: str, holds: Callable[[float], bool]) -> float:
    try:
        value = kind(text)
        if math.isfinite(value) and holds(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"must be {rule}, but got {text!r}")


def positive_int(text: str) -> int:
    return int(_number(text, int, "a whole number of at least 1", lambda value: value >= 1))


def _at_least_two(text: str) -> int:
    return int(_number(text, int, "a whole number of at least 2", lambda value: value >= 2))


def natural(text: str) -> int:
    return int(_number(text, int, "a whole number of at least 0", lambda value: value >= 0))


def _positive(text: str) -> float:
    return _number(text, float, "a number above 0", lambda value: value > 0)


def _not_negative(text: str) -> float:
    return _number(text, float, "a number of at least 0", lambda value: value >= 0)
