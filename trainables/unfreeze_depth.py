"""How deep a backbone trains: the grammar of `unfreeze` and its default."""

import re
from dataclasses import dataclass
from typing import Literal, cast

from trainables.errors import InputError

Part = Literal["stage", "block", "layer"]

DEFAULT = "head"

_LAST = re.compile(r"last (?:(stage|block|layer)|([1-9]\d*) (stage|block|layer)s)")


@dataclass(frozen=True)
class LastParts:
    """The last `count` stages, blocks or layers of a backbone, and the head."""

    count: int
    part: Part


def default(weights: str) -> str:
    """Return the default depth of a study: the head alone, or everything if the backbone has random weights."""
    return "all" if weights == "none" else DEFAULT


def parse(depth: str) -> Literal["head", "all"] | LastParts:
    """Parse a level of `unfreeze`.

    Raises:
        InputError: `depth` is not one of "head", "all", "last stage" or "last N stages" (likewise blocks, layers).
    """
    if depth == "head" or depth == "all":
        return depth
    match = _LAST.fullmatch(depth)
    if match is None:
        raise InputError(
            f"Unknown unfreeze depth {depth!r}: use 'head', 'all', 'last stage', 'last 2 stages', 'last 3 blocks' or "
            "'last 20 layers'."
        )
    return LastParts(int(match[2] or 1), cast(Part, match[1] or match[3]))
