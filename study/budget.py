"""The budget of a study: trials, epochs, seeds and folds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from trainables.errors import InputError

_FOLDS = ("folds", "test_folds")
_SEEDS_FOR_A_CLAIM = 5  # as in the analysis: a default study of fewer is one to try out, and gets no more
_MORE = 3  # times as many seeds at most


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a study. The flags --trials, --epochs, --refine, --seeds and --most-seeds replace its numbers.

    Every confirmed setting gets `seeds`. Those that more seeds could decide get up to `most_seeds` (see
    schedule/more_seeds.py). With `folds` or `test_folds`, all settings have the same number of seeds.

    `folds` and `test_folds` ask for cross-validation. With `test_folds`, for small datasets, a seed is a round of that
    many models. They share one partition of all images, and each model is tested on one part, so every image is tested
    once per seed. Nuisances are refined separately for each test fold, by models that have not seen its images.

    Raises:
        InputError: a number is too small, or `most_seeds` or `folds` does not fit the other numbers.
    """

    trials: int  # search trials
    epochs: int  # maximum per trial
    refine: int = 8  # nuisance points for each level around the winner's setting
    seeds: int = 5  # repeats of each level's best setting in the confirmation
    most_seeds: int | None = None  # of a setting in doubt; None: three times `seeds`, or `seeds` if below five
    folds: int | None = None  # this many repeats share a partition for validation; None: each draws its own
    test_folds: int | None = None  # this many repeats, together one seed, share a partition for testing; None: one fold
    grace: int = 1  # epochs before ASHA's first verdict
    reduction: int = 3  # ASHA keeps one in this many trials at a rung

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("most_seeds", *_FOLDS) and value is None:
                continue
            least = 2 if field.name in ("reduction", *_FOLDS) else 1
            if type(value) is not int or value < least:
                flag = field.name.replace("_", "-")
                raise InputError(f"--{flag} must be a whole number of at least {least}, but got {value!r}.")
        if self.most_seeds is not None and self.most_seeds < self.seeds:
            raise InputError(f"--most-seeds must be at least --seeds, but got {self.most_seeds} and {self.seeds}.")
        if self.most_seeds is not None and self.most_seeds > self.seeds and (self.folds or self.test_folds):
            raise InputError(
                f"With `folds` or `test_folds` every setting gets {self.seeds} seeds: leave --most-seeds "
                f"{self.most_seeds} out, or raise --seeds."
            )
        if self.folds and self.seeds % self.folds:
            raise InputError(f"--seeds must be a multiple of the {self.folds} folds, but got {self.seeds}.")
        if self.folds and self.test_folds:
            raise InputError(
                "A study cannot have both `folds` (cross-validation beside one test fold) and `test_folds` (cross-"
                "validation over all images): leave one out."
            )

    @property
    def seeds_at_most(self) -> int:
        """The number of seeds that a setting in doubt can get."""
        if self.most_seeds is not None:
            return self.most_seeds
        fixed = self.folds or self.test_folds or self.seeds < _SEEDS_FOR_A_CLAIM
        return self.seeds if fixed else _MORE * self.seeds

    @property
    def repeats(self) -> int:
        """The number of models that confirm a setting. They are numbered from 1; with test folds round by round."""
        return self.seeds * (self.test_folds or 1)

    @property
    def refined_on(self) -> Sequence[int]:
        """The repeats whose validation fold selects nuisances: 0, as in the search; with test folds each repeat."""
        return range(1, self.repeats + 1) if self.test_folds else [0]
