"""`python -m study.cache`: list and clear the cache folder of this machine.

Everything in the cache can be made again with the same results: a study decodes, scans or computes missing entries
again. --kind and --older-than select entries, and --clear removes them, but never while a study uses the cache. Exit
status: 0 done, 2 bad input or a cache in use.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

from study.arguments import Parser, cache_option, check_cache, fail
from study.persistence.cache import KINDS, Entry, clear, entries
from study.writing import in_shell, printable
from trainables.errors import InputError

_DAY = 24 * 60 * 60  # seconds
_ONE_LINE_EACH = {"images", "scans", "mirrors"}  # the other kinds have hundreds of entries and get one line together
_LONGEST = 200  # characters


@dataclass(frozen=True, kw_only=True)
class CacheFlags:
    """The command line of `study.cache`."""

    cache: Path
    kind: str | None
    older_than: float | None  # days
    clear: bool


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    try:
        flags = parse(arguments)
        selected = select(flags)
        if not selected:
            print(f"{flags.cache} has no{' such' if flags.kind or flags.older_than else ''} entries.")
            return 0
        print("\n".join(lines(selected)))
        if flags.clear:
            print(f"Removed {size(clear(flags.cache, selected))} from {flags.cache}.")
        else:
            print(f"{size(sum(entry.size for entry in selected))} in {flags.cache}; --clear removes these entries.")
    except InputError as problem:
        return fail(problem)
    return 0


def parse(arguments: list[str]) -> CacheFlags:
    """Parse and check the flags.

    Raises:
        InputError: a flag is unknown, has no value or has a wrong value.
    """
    parser = Parser(prog="python -m study.cache", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--cache", **cache_option("decoded images and activations"))
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    add("--kind", choices=list(KINDS), help=f"only entries of this kind ({kinds})")
    add("--older-than", type=float, metavar="DAYS", help="only entries last used more than DAYS days ago")
    add("--clear", action="store_true", help="remove the listed entries")
    values = vars(parser.parse_args(arguments))
    check_cache(values["cache"])
    flags = CacheFlags(**values)
    if flags.older_than is not None and not flags.older_than >= 0:
        raise InputError(f"--older-than must be at least 0 days, but got {flags.older_than}.")
    return flags


def select(flags: CacheFlags) -> list[Entry]:
    """Return the entries of the cache that --kind and --older-than select."""
    before = float("inf") if flags.older_than is None else time.time() - flags.older_than * _DAY
    return [entry for entry in entries(flags.cache) if flags.kind in (None, entry.kind) and entry.used < before]


def lines(selected: list[Entry]) -> Iterator[str]:
    """Yield the lines of a table: kind, size, day of the last use, and the dataset, backbone or number of entries."""
    yield f"{'kind':8} {'size':>9}  {'last used':10}  about"
    for kind, of_kind in groupby(selected, lambda entry: entry.kind):
        group = list(of_kind)
        if kind in _ONE_LINE_EACH:
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
    """Return a number of bytes in a readable unit: 512 bytes, 38.2 MB, 1.4 GB."""
    if count < 1e3:
        return f"{count} bytes"
    unit, factor = next((unit, factor) for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if count >= factor)
    return f"{count / factor:.1f} {unit}"


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
