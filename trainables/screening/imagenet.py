"""Matching the classes of a data set to ImageNet classes by name."""

import re
from collections.abc import Collection, Mapping
from functools import cache

from timm.data.imagenet_info import ImageNetInfo

SYNSET = re.compile(r"n\d{8}")  # WordNet's number of a class


def imagenet_classes(names: Mapping[int, Collection[str]]) -> dict[int, frozenset[int]]:
    """Return the ImageNet-1k classes of every label, matched by synset (n02085620) or by name.

    A name may match several classes: Cardigan the dog, cardigan the garment. The result is empty unless at least two
    labels and half of all labels match, because a single "kite" among toys is no bird.
    """
    found = {label: frozenset().union(*map(_classes_of, texts)) for label, texts in names.items()}
    known = {label: classes for label, classes in found.items() if classes}
    return known if len(known) >= max(2, len(names) / 2) else {}


def _classes_of(name: str) -> frozenset[int]:
    return _by_name().get(_plain(name), frozenset())


@cache
def _by_name() -> dict[str, frozenset[int]]:
    info = ImageNetInfo("imagenet-1k")
    found: dict[str, set[int]] = {}
    for index, synset in enumerate(info.label_names()):
        for name in (synset, *info.label_name_to_description(synset).split(", ")):
            found.setdefault(_plain(name), set()).add(index)
    return {name: frozenset(classes) for name, classes in found.items()}


def _plain(name: str) -> str:
    """German_short-haired_pointer and German short-haired pointer are one name."""
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))
