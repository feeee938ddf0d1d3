"""Match the classes of a data set to ImageNet classes by name."""

import re
from collections.abc import Collection, Mapping
from functools import cache

from timm.data.imagenet_info import ImageNetInfo

SYNSET = re.compile(r"n\d{8}")  # WordNet's ID of a class


def imagenet_classes(names: Mapping[int, Collection[str]]) -> dict[int, frozenset[int]]:
    """Return the ImageNet-1k classes of every label, matched by synset (n02085620) or by name.

    A name may match several classes: cardigan is a dog and a garment. The result is empty unless at least two labels
    and half of all labels match, because a single "kite" among toys is not a bird.
    """
    classes_of = {label: frozenset().union(*map(_classes_of, texts)) for label, texts in names.items()}
    matched = {label: classes for label, classes in classes_of.items() if classes}
    return matched if len(matched) >= max(2, len(names) / 2) else {}


def _classes_of(name: str) -> frozenset[int]:
    return _by_name().get(_plain(name), frozenset())


@cache
def _by_name() -> dict[str, frozenset[int]]:
    info = ImageNetInfo("imagenet-1k")
    by_name: dict[str, set[int]] = {}
    for index, synset in enumerate(info.label_names()):
        for name in (synset, *info.label_name_to_description(synset).split(", ")):
            by_name.setdefault(_plain(name), set()).add(index)
    return {name: frozenset(classes) for name, classes in by_name.items()}


def _plain(name: str) -> str:
    """Return a name in lower case with single spaces: German_short-haired_pointer is German short-haired pointer."""
    return " ".join(re.findall(r"[a-z0-9]+", name.lower()))
