"""Shell completion: `study-run --print-completion bash` prints a script that completes flags without running Python."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainables.errors import InputError

SHELLS = ("bash", "zsh")
_FOLDERS, _FILES, _STUDY = ("DIR", "DIR|URI", "DIR|none", "OUT"), ("FILE", "PICTURE"), "NAME|FILE.py"
_DEFINITIONS = Path(__file__).parent / "definitions"


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add --print-completion to a command's parser, before or after its other flags."""
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=_PrintCompletion,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="print a script that completes this command's flags in your shell",
    )


class _PrintCompletion(argparse.Action):
    """Print the script and exit, as --help does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(script(parser, str(values)))
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script of the installed command: study-run for `python -m study.run`.

    Raises:
        InputError: the package shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise InputError("--print-completion needs the package shtab: install it, or run make setup.") from None
    completions = dict.fromkeys(_FOLDERS, shtab.DIRECTORY) | dict.fromkeys(_FILES, shtab.FILE) | {_STUDY: _studies()}
    for action in parser._actions:
        if isinstance(action.metavar, str) and action.metavar in completions:
            vars(action)["complete"] = completions[action.metavar]  # the attribute that shtab reads
    parser.prog = f"study-{parser.prog.rpartition('.')[2].replace('_', '-')}"
    return shtab.complete(parser, shell)


def _studies() -> dict[str, Any]:
    """Return the code that completes names of studies and study files, by shell."""
    names = " ".join(sorted(path.stem for path in _DEFINITIONS.glob("[!_]*.py")))
    in_bash = f'_study_names() {{ compgen -W "{names}" -- "$1"; compgen -f -X "!*.py" -- "$1"; compgen -d -- "$1"; }}'
    return {
        "bash": "_study_names",
        "zsh": f"{{_values study {names}; _files -g '*.py'}}",
        "preamble": {"bash": in_bash},
    }  # fmt: skip
