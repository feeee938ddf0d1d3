"""The command line: flags say where and how big, never what. Checked without torch, Ray or timm."""

import argparse
import math
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

from study.completion import add_completion
from study.persistence.remote import is_uri, parse_place
from trainables.errors import InputError, did_you_mean

DEFAULT_SEED = 0


class Parser(argparse.ArgumentParser):
    """One line on standard error instead of a page of usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        add_completion(self)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[0].upper()}{message[1:]}; see {self.prog} --help.{self._suggestion(message)}")

    def _suggestion(self, message: str) -> str:
        """The flag or the value that a wrong one is close to."""
        if match := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            return did_you_mean(match[1], [each.strip("' ") for each in match[2].split(",")])
        if message.startswith("unrecognized arguments: "):
            wrong = "".join(message.split()[2:3]).partition("=")[0]
            return did_you_mean(wrong, [flag for action in self._actions for flag in action.option_strings])
        return ""


def parse(arguments: list[str]) -> argparse.Namespace:
    """The parsed flags.

    Raises:
        InputError: a flag is unknown, lacks its value, or its value makes no sense.
    """
    parser = Parser(prog="python -m study.run", description=__doc__, allow_abbrev=False)
    parser.add_argument("study", nargs="?", metavar="NAME|FILE.py", help="a study's name or its file")
    add = parser.add_argument
    add("--list", action="store_true", help="the studies, one line each")
    add("--new", nargs=2, metavar=("NAME", "FILE.py"), help="copy a study to edit")
    add("--data", type=_local, metavar="DIR", help="the dataset's folder or archives (default: data/NAME)")
    add("--out", type=_place, metavar="DIR|URI", help="where the study is written, or s3://… (default: runs/NAME)")
    add("--test", type=Path, metavar="DIR", help="your own test images, in class folders")
    add("--trials", type=_positive_int, metavar="N", help="search trials")
    add("--epochs", type=_positive_int, metavar="N", help="epochs at most, per trial")
    add("--seeds", type=_positive_int, metavar="N", help="confirmation repeats")
    add("--hours", type=_positive, metavar="H", help="fit trials, epochs and seeds to this time")
    add("--seed", type=_natural, metavar="N", help=f"the study seed (default: {DEFAULT_SEED})")
    add("--resume", action="store_true", help="go on with the study in --out, or start it where there is none")
    add("--address", metavar="ADDR", help="a running Ray cluster: auto, or host:port")
    add("--gpus-per-trial", type=_not_negative, metavar="F", help="a fraction is allowed")
    add("--cpus-per-trial", type=_positive_int, metavar="N", help="threads of a trial, too")
    add("--workers-per-trial", type=_positive_int, metavar="N", help="processes that train one trial (Ray Train)")
    add("--concurrent", type=_positive_int, metavar="N", help="trials at once (default: as many as fit)")
    add("--weights", metavar="DIR|none", help="a folder of pretrained weights, or none for random numbers")
    add("--download", action="store_true", help="fetch the dataset first, hashes checked")
    add("--cache", **cache_option("decoded images and what is frozen"))
    add("--cache-gib", type=_positive, metavar="F", help="how much of both it may keep")
    add("--no-sharing", action="store_true", help="compute what is frozen anew in every trial: same results, slower")
    add("--published", action="store_true", help="run what the study's source has published instead of a search")
    add("--mlflow", metavar="URI", help="log trials there, too: an MLflow server, or sqlite:///FILE")
    add("--wandb", metavar="PROJECT", help="log trials to this project of Weights & Biases, too")
    add("--skip-preflight", action="store_true", help="leave out the gates before the sweep; study.json says so")
    add("--dry-run", action="store_true", help="print the plan, its resolution and its cost; run nothing")
    chosen = parser.parse_args(arguments)
    if not (chosen.study or chosen.list or chosen.new):
        raise InputError("Name a study or a study file; python -m study.run --list shows what there is.")
    if chosen.study:
        check_cache(chosen.cache)
        _check_names([*arguments, os.getcwd()])
    if chosen.hours is not None and (chosen.trials or chosen.epochs or chosen.seeds):
        raise InputError("--hours fits the trials, epochs and seeds: leave --trials, --epochs and --seeds out.")
    if chosen.published and (chosen.hours or chosen.trials):
        raise InputError("--published runs every published configuration as it is: leave --trials and --hours out.")
    return chosen


def _check_names(names: list[str]) -> None:
    """Ray, Parquet and JSON hold text."""
    for name in names:
        if any("\udc80" <= sign <= "\udcff" for sign in name):
            raise InputError(f"Files and folders of a study must be named in UTF-8, but got {name!r}: rename it.")


def cache_option(what: str) -> dict[str, Any]:
    """How a parser adds --cache, the folder for `what`."""
    default = _user_cache()
    said = str(default).replace("%", "%%") if default else "none, as neither HOME nor XDG_CACHE_HOME is set"
    return {"type": Path, "metavar": "DIR", "default": default, "help": f"for {what} (default: {said})"}


def check_cache(cache: Path | None) -> None:
    if cache is None:
        raise InputError("--cache must name a folder where no home is known: give it, or set HOME or XDG_CACHE_HOME.")


def _user_cache() -> Path | None:
    """None for a user without a home, as in a container or a batch job."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return None if caches.startswith("~") else Path(caches) / "study"


def command(arguments: list[str]) -> str:
    """The command as it was given, for any machine."""
    return _for_shell(["python", "-m", "study.run", *arguments])


def shown(module: str, *arguments: str) -> str:
    """A command that works as it stands in a shell that stands here: by the Python that runs this."""
    return _for_shell([_program("python", sys.executable), "-m", module, *arguments])


def shown_program(name: str, *arguments: str) -> str:
    """The same of a program that was installed beside Python."""
    return _for_shell([_program(name, str(Path(sys.executable).with_name(name))), *arguments])


def _program(name: str, file: str) -> str:
    """How a shell finds a file: by its name alone, or by the shorter of its paths."""
    found = shutil.which(name)
    # A link to another folder's is another Python: that is what a virtual environment is made of.
    if found and os.path.dirname(found) == os.path.dirname(file) and os.path.samefile(found, file):
        return name
    near = os.path.relpath(file)
    return min(file, near if os.sep in near else os.path.join(os.curdir, near), key=len)


def _for_shell(words: list[str]) -> str:
    """Quoted; what cannot be printed, such as a name that is no UTF-8, as bash, zsh and ksh read it."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _escaped(word: str) -> str:
    plain = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in os.fsencode(word)
    )
    return f"$'{''.join(plain)}'"


def fail(problem: Exception) -> int:
    """One line on standard error, and the exit status of bad input."""
    print(" ".join(str(problem).split()), file=sys.stderr)
    return 2


def _local(text: str) -> Path:
    if is_uri(text):
        raise argparse.ArgumentTypeError(f"must be a folder, but got {text.partition(':')[0]}://…: mount or copy it")
    return Path(text)


def _place(text: str) -> Path | str:
    try:
        return parse_place(text)
    except InputError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _number(text: str, kind: type, rule: str, holds) -> float:
    try:
        value = kind(text)
        if math.isfinite(value) and holds(value):
            return value
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"must be {rule}, but got {text!r}")


def _positive_int(text: str) -> int:
    return int(_number(text, int, "a whole number of at least 1", lambda value: value >= 1))


def _natural(text: str) -> int:
    return int(_number(text, int, "a whole number of at least 0", lambda value: value >= 0))


def _positive(text: str) -> float:
    return _number(text, float, "a number above 0", lambda value: value > 0)


def _not_negative(text: str) -> float:
    return _number(text, float, "a number of at least 0", lambda value: value >= 0)
