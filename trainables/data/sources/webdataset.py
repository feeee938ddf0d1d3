"""WebDataset shards: tar files with images KEY.jpg and their classes in KEY.cls, or as "label" in KEY.json."""

import json
import re
from pathlib import Path

from trainables.data.archives import extract
from trainables.data.manifest import Candidate, Source
from trainables.data.sources import class_names
from trainables.data.sources.folds import split_of
from trainables.data.sources.tree import IMAGE_ENDINGS, files_below, files_ending
from trainables.data.sources.unpacked import unpack
from trainables.errors import InputError

_LONGEST_LABEL = 2**20  # bytes; the metadata of an image usually take a few thousand


def shards(data: Path) -> list[Path]:
    return files_ending(data, ".tar")


def read(data: Path, shards: list[Path]) -> Source:
    """Unpack the samples of all shards; class numbers are named by classes.txt if it exists.

    Raises:
        InputError: A shard cannot be unpacked, or a sample is not one image with a label.
    """
    names = class_names.read(data)
    candidates = [candidate for shard in shards for candidate in _samples(shard, data, names)]
    labels = [candidate.label_name for candidate in candidates]
    if names is None:
        class_names.check_single(labels, str(data))
    layout = f"{len(shards)} WebDataset shard{'s' if len(shards) > 1 else ''}"
    return Source(candidates, class_names.in_order(labels, names), layout)


def _samples(shard: Path, data: Path, names: list[str] | None) -> list[Candidate]:
    folder = unpack(shard, data, lambda part: extract(shard, part))
    samples: dict[str, dict[str, str]] = {}  # key -> kind -> path
    for path in files_below(folder, data):
        parent, _, name = path.rpartition("/")
        key, _, kind = name.partition(".")  # split at the first dot: 7.seg.png is the field seg.png of sample 7
        samples.setdefault(f"{parent}/{key}", {})[kind.lower()] = path
    candidates = []
    for key, fields in samples.items():
        images = [path for kind, path in fields.items() if kind in IMAGE_ENDINGS]
        label = fields.get("cls") or fields.get("json")
        if not images and not label:
            continue
        if len(images) != 1 or not label:
            raise InputError(
                f"A sample of a shard must be one image with .cls or .json, but {key.rpartition('/')[2]!r} of {shard} "
                f"has {', '.join(f'.{kind}' for kind in sorted(fields))}: fix the shard."
            )
        name = class_names.name_of(_label(data / label), names, f"{label!r}")
        candidates.append(Candidate(images[0], name, split_of(shard, data)))
    if not candidates:
        raise InputError(f"A shard must have images KEY.jpg with KEY.cls or KEY.json, but {shard} has none: fix it.")
    return candidates


def _label(file: Path) -> object:
    try:
        if file.stat().st_size > _LONGEST_LABEL:
            raise ValueError(f"more than {_LONGEST_LABEL} bytes")
        text = file.read_text(encoding="utf-8-sig").strip()
        if file.suffix.lower() == ".json":
            content = json.loads(text)
            return content.get("label") if isinstance(content, dict) else None
        return int(text) if re.fullmatch(r"-?[0-9]+", text) else text
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} has no valid label ({reason}): fix the shard.") from error
