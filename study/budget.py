"""The budget of a study: trials, epochs, seeds and folds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from trainables.errors import InputError

_FOLDS = ("folds", "test_folds")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a study. The flags --trials, --epochs and --seeds replace its numbers.

    `folds` and `test_folds` ask for cross-validation. With `test_folds`, for small datasets, a seed is a round of that
    many models. They share one partition of all images, and each model is tested on one part, so every image is tested
    once per seed. Nuisances are refined separately for each test fold, by models that have not seen its images.

    Raises:
        InputError: a number is too small, or `folds` does not fit the other numbers.
    """

    trials: int  # search trials
    epochs: int  # maximum per trial
    refine: int = 8  # nuisance points for each level around the winner's setting
    seeds: int = 5  # repeats of each level's best setting in the confirmation
    folds: int | None = None  # this many repeats share a partition for validation; None: each draws its own
    test_folds: int | None = None  # this many repeats, together one seed, share a partition for testing; None: one fold
    grace: int = 1  # epochs before ASHA's first verdict
    reduction: int = 3  # ASHA keeps one in this many trials at a rung

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _FOLDS and value is None:
                continue
            least = 2 if field.name in ("reduction", *_FOLDS) else 1
            if type(value) is not int or value < least:
                raise InputError(f"--{field.name} must be a whole number of at least {least}, but got {value!r}.")
        if self.folds and self.seeds % self.folds:
            raise InputError(f"--seeds must be a multiple of the {self.folds} folds, but got {self.seeds}.")
        if self.folds and self.test_folds:
            raise InputError(
                "A study cannot have both `folds` (cross-validation beside one test fold) and `test_folds` (cross-"
                "validation over all images): leave one out."
            )

    @property
    def repeats(self) -> int:
        """The number of models that confirm a setting. They are numbered from 1; with test folds round by round."""
        return self.seeds * (self.test_folds or 1)

    @property
    def refined_on(self) -> Sequence[int]:
        """The repeats whose validation fold selects nuisances: 0, as in the search; with test folds each repeat."""
        return range(1, self.repeats + 1) if self.test_folds else [0]
