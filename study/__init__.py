"""Hyperparameter studies of transfer learning on images: `from study import Study, run`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.run import run as run
    from study.spec import Study as Study


def __getattr__(name: str) -> Any:
    """Import `Study` on first use, so that importing a single module stays fast. `run` is a module.

    Raises:
        AttributeError: there is no such attribute.
    """
    if name == "Study":
        from study.spec import Study

        return Study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
