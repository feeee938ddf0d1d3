"""Exceptions that blame the user's input or machine, not our code."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, found before anything expensive starts. The message is one line: the rule, the value, the fix.

    The command line prints it and exits with status 2.
    """


class Unavailable(InputError):
    """Something that every trial needs has vanished, such as an image. No setting is at fault.

    The study stops with this message, and can be resumed once the problem is fixed.
    """


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name; it lists the known ones and suggests the closest."""
    known = list(known)
    return InputError(f"Unknown {kind} {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the closest known name, to end a message; empty if no name is close."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(str(name).casefold(), folded, n=1)
    return f" Did you mean {folded[close[0]]!r}?" if close else ""
