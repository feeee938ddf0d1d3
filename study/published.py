"""What somebody has published of a study's question: configurations that can be run, and their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from study.declared import check_configuration, shortened
from study.hyperparameters import check_field, check_level
from trainables.errors import InputError, unknown

_FOLDS = ("validation", "test", "unknown")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A configuration that somebody published, with the number they gave for it.

    `config` holds what differs from the study's `fixed`; `epochs` may be among it. `value` is a share of 1 for
    accuracies, `n` the images it was measured on, where that can be told. `differs` says what our run does otherwise;
    `also` are other metrics of the same model on the same images, in the words of analysis.metrics.
    """

    name: str
    config: Mapping[str, Any]
    metric: str
    fold: str  # one of _FOLDS
    value: float
    n: int | None = None
    also: Mapping[str, float] = field(default_factory=dict)
    differs: Sequence[str] = ()


def at_most(published: Published, fixed: Mapping[str, Any], default: int, most: int | None) -> Published:
    """The configuration with its epochs named and no more than `most`; what that changes is among what `differs`."""
    whole = {"epochs": default, **fixed, **published.config}
    epochs = min(whole["epochs"], most or whole["epochs"])
    run = shortened(whole, epochs) | {"epochs": epochs}
    changed = {name: value for name, value in run.items() if whole[name] != value}
    said = tuple(f"{name} {value} instead of {whole[name]}, by --epochs" for name, value in changed.items())
    config = {**published.config, "epochs": epochs, **changed}
    return replace(published, config=config, differs=(*published.differs, *said))


def check_published(published: Published, fixed: Mapping[str, Any], epochs: int) -> None:
    if published.fold not in _FOLDS:
        raise unknown("fold of a published number", published.fold, _FOLDS)
    for name, value in published.config.items():
        if name != "epochs":
            check_field("hyperparameter of a published configuration", name)
        check_level(name, value)
    for name in ("backbone", "size"):
        if name not in published.config and name not in fixed:
            raise InputError(f"The published configuration {published.name!r} must say its `{name}`.")
    try:
        check_configuration(fixed, published.config, published.config.get("epochs", epochs))
    except InputError as problem:
        raise InputError(f"The published configuration {published.name!r}: {problem}") from None
