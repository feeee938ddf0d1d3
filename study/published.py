"""Published results for the question of a study: configurations that can be run, and their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from study.declared import check_configuration, shortened
from study.hyperparameters import check_field, check_level
from study.study_record import PublishedFold
from trainables.errors import InputError, unknown

_FOLDS: tuple[PublishedFold, ...] = get_args(PublishedFold)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published configuration with its published result."""

    name: str
    config: Mapping[str, Any]  # what differs from the study's `fixed`; may contain `epochs`
    metric: str
    fold: PublishedFold
    value: float  # accuracies from 0 to 1
    n: int | None = None  # number of images it was measured on; None if unknown
    also: Mapping[str, float] = field(default_factory=dict)  # other metrics of the same model on the same images
    differs: Sequence[str] = ()  # how our run differs from the source


def at_most(published: Published, fixed: Mapping[str, Any], default: int, most: int | None) -> Published:
    """Return the configuration with explicit epochs, at most `most`. Resulting changes are added to `differs`.

    Args:
        default: the epochs of a configuration that names none.
    """
    whole = {"epochs": default, **fixed, **published.config}
    epochs = min(whole["epochs"], most or whole["epochs"])
    run = shortened(whole, epochs) | {"epochs": epochs}
    changed = {name: value for name, value in run.items() if whole[name] != value}
    sentences = tuple(f"{name} {value} instead of {whole[name]}, by --epochs" for name, value in changed.items())
    config = {**published.config, "epochs": epochs, **changed}
    return replace(published, config=config, differs=(*published.differs, *sentences))


def check_published(published: Published, fixed: Mapping[str, Any], epochs: int) -> None:
    """Refuse a published configuration that cannot run, or parts of it that would have no effect.

    Args:
        fixed: the fixed hyperparameters of the study.
        epochs: the epochs of a configuration that names none.

    Raises:
        InputError: a name or a value is wrong, something is missing, or a part has no effect.
    """
    if published.fold not in _FOLDS:
        raise unknown("fold of a published number", published.fold, _FOLDS)
    for name, value in published.config.items():
        if name != "epochs":
            check_field("hyperparameter of a published configuration", name)
        check_level(name, value)
    for name in ("backbone", "size"):
        if name not in published.config and name not in fixed:
            raise InputError(f"The published configuration {published.name!r} must name its `{name}`.")
    try:
        check_configuration(fixed, published.config, published.config.get("epochs", epochs))
    except InputError as problem:
        raise InputError(f"The published configuration {published.name!r}: {problem}") from None
