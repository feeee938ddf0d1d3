"""`python -m study.cache`: what studies left in the cache folder of this machine, and how to get the room back.

Everything there can be made again: a study that lacks an entry decodes, scans or computes once more, with the same
results. --kind and --older-than narrow the list, and --clear removes what is listed. Nothing is removed while a study
uses the folder. Exit status: 0 done, 2 bad input or a cache in use.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path

from study.arguments import Parser, cache_option, check_cache, fail
from study.persistence.cache import KINDS, Entry, clear, entries
from study.writing import in_shell, printable
from trainables.errors import InputError

_DAY = 24 * 60 * 60  # seconds
_LINE_EACH = {"images", "scans", "mirrors"}  # of other kinds there are hundreds, which one line sums up
_LONGEST = 200  # characters


def main(arguments: list[str]) -> int:
    try:
        chosen = parse(arguments)
        listed = chosen_entries(chosen.cache, chosen.kind, chosen.older_than)
        if not listed:
            print(f"{chosen.cache} holds nothing{' of that' if chosen.kind or chosen.older_than else ''}.")
            return 0
        print("\n".join(lines(listed)))
        if chosen.clear:
            print(f"Removed {size(clear(chosen.cache, listed))} from {chosen.cache}.")
        else:
            print(f"{size(sum(entry.size for entry in listed))} in {chosen.cache}; --clear removes what is listed.")
    except InputError as problem:
        return fail(problem)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the flags.

    Raises:
        InputError: a flag is unknown, lacks its value, or its value makes no sense.
    """
    parser = Parser(prog="python -m study.cache", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--cache", **cache_option("decoded images and activations"))
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    add("--kind", choices=list(KINDS), help=f"only entries of this kind ({kinds})")
    add("--older-than", type=float, metavar="DAYS", help="only entries that were last used more than this long ago")
    add("--clear", action="store_true", help="remove the entries that are listed")
    chosen = parser.parse_args(arguments)
    check_cache(chosen.cache)
    if chosen.older_than is not None and not chosen.older_than >= 0:
        raise InputError(f"--older-than must be a number of days of at least 0, but got {chosen.older_than}.")
    return chosen


def chosen_entries(cache: Path, kind: str | None, older_than: float | None) -> list[Entry]:
    before = float("inf") if older_than is None else time.time() - older_than * _DAY
    return [entry for entry in entries(cache) if kind in (None, entry.kind) and entry.used < before]


def lines(listed: list[Entry]) -> Iterator[str]:
    """A table: kind, size, day of the last use, and the data set, backbone or number of entries."""
    yield f"{'kind':8} {'size':>9}  {'last used':10}  about"
    for kind, of_kind in groupby(listed, lambda entry: entry.kind):
        group = list(of_kind)
        if kind in _LINE_EACH:
            yield from (_line(kind, entry.size, entry.used, entry.about or KINDS[kind]) for entry in group)
        else:
            names = sorted({entry.about for entry in group} - {""})
            about = ", ".join(names) if names else KINDS[kind]
            used = max(entry.used for entry in group)
            yield _line(kind, sum(entry.size for entry in group), used, f"{len(group)} of: {about}")


def _line(kind: str, total: int, used: float, about: str) -> str:
    text = printable(about)
    shortened = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{kind:8} {size(total):>9}  {datetime.fromtimestamp(used):%Y-%m-%d}  {shortened}"


def size(count: int) -> str:
    """Bytes in the unit a reader would choose: 512 bytes, 38.2 MB, 1.4 GB."""
    if count < 1e3:
        return f"{count} bytes"
    unit, factor = next((unit, factor) for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if count >= factor)
    return f"{count / factor:.1f} {unit}"


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
