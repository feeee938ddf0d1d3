"""The exceptions that mean: the user's input or machine, not our code."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input found before anything expensive starts; one line: the rule, the value, the way out.

    The command line prints it and exits with status 2.
    """


class Unavailable(InputError):
    """What every trial needs is not there any more, such as an image: no fault of one trial's setting.

    The study stops with this line, and goes on where it was once it is put right.
    """


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error of a name that nothing has, with the names there are."""
    known = list(known)
    return InputError(f"Unknown {kind} {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence with the closest of the known names, to end a message with; empty where none is close."""
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(str(name).casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
