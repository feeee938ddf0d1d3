"""How much a study may spend, and into how many models that goes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from trainables.errors import InputError

_FOLDS = ("folds", "test_folds")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a study may spend. The flags --trials, --epochs and --seeds replace its numbers.

    `test_folds` is for small data sets, whose single test fold would resolve nothing: a seed is then a round of so many
    models, which share one partition of all images and each test on their part of it, so that with every seed each
    image tests once. Nuisances are refined for each test fold anew, by models that have not seen its images.
    """

    trials: int  # search trials
    epochs: int  # at most, per trial
    refine: int = 8  # nuisance points for each level around the winner's setting
    seeds: int = 5  # repeats of each level's best setting in the confirmation
    folds: int | None = None  # so many repeats share a partition: each image validates once; None: one each
    test_folds: int | None = None  # each image tests once in so many repeats, which are one seed; None: one test fold
    grace: int = 1  # epochs before ASHA's first verdict
    reduction: int = 3  # ASHA keeps one in this many at a rung

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in _FOLDS and value is None:
                continue
            least = 2 if each.name in ("reduction", *_FOLDS) else 1
            if type(value) is not int or value < least:
                raise InputError(f"--{each.name} must be a whole number of at least {least}, but got {value!r}.")
        if self.folds and self.seeds % self.folds:
            raise InputError(f"--seeds must be a multiple of the {self.folds} folds, but got {self.seeds}.")
        if self.folds and self.test_folds:
            raise InputError("`folds` divides what one test fold leaves, `test_folds` all images: choose one of them.")

    @property
    def repeats(self) -> int:
        """How many models confirm a setting; they are numbered from 1, those of a round one after the other."""
        return self.seeds * (self.test_folds or 1)

    @property
    def refined_on(self) -> Sequence[int]:
        """The repeats whose validation chooses nuisances: the search's, 0; with test folds every repeat for itself."""
        return range(1, self.repeats + 1) if self.test_folds else [0]
