"""The keys of study.json and their types."""

from typing import Any, Literal, NotRequired, Required, TypedDict

Goal = Literal["factors", "best", "published"]
PublishedFold = Literal["validation", "test", "unknown"]  # of a published number
SKIPPED = "skipped"  # the value of `preflight` in study.json after --skip-preflight


class NuisanceRecord(TypedDict):
    """A range in study.json."""

    low: float
    high: float
    log: bool
    when: dict[str, Any]  # the factor levels under which it exists
    sets: NotRequired[str]  # the config field that it sets, if the field has a different name
    natural: NotRequired[list[float]]  # ends of the range beyond which no value exists


class ConditionRecord(TypedDict):
    """The condition of a conditional factor, and the value of its field if the condition does not hold."""

    when: dict[str, Any]
    otherwise: Any


class BudgetRecord(TypedDict):
    """The fields of budget.Budget, with the number that `most_seeds` stands for if it is None."""

    trials: int
    epochs: int
    refine: int
    seeds: int
    most_seeds: int
    grace: int
    reduction: int
    folds: int | None
    test_folds: int | None


class PublishedRecord(TypedDict):
    """One published number of a published configuration."""

    name: str
    config: dict[str, Any]
    metric: str
    fold: PublishedFold
    value: float
    n: int | None
    differs: list[str]


class ResolutionRecord(TypedDict):
    """The smallest difference in accuracy that the planned seeds and test images resolve, and its assumptions."""

    difference: float
    seeds: int
    items: int
    disagreement: float
    seed_spread: float


class GateRecord(TypedDict):
    name: str
    passed: bool
    said: str


class PreflightRecord(TypedDict):
    """The outcome of the preflight checks for one net."""

    probe_accuracy: float | None
    chance: float  # share of the most frequent class
    pictures: int
    gates: list[GateRecord]


PreflightRecords = dict[str, PreflightRecord] | Literal["skipped"]  # by net


class HardwareRecord(TypedDict):
    cpus: int | None
    cpu: str
    gpus: list[str]
    system: str


class ResourcesRecord(TypedDict):
    """The fields of estimates.resources.Resources."""

    cpus: int
    gpus: float
    concurrent: int
    workers: int


class BaseRecord(TypedDict):
    """The fields of design.settings.Base."""

    manifest: str
    study_seed: int
    largest_train: int
    classes: int
    stored_side: int
    device: Literal["cpu", "cuda"]
    threads: int
    has_bfloat16: bool
    weights: str
    weights_hashes: dict[str, str]
    metric: str
    workers: int
    validation_images: int
    test_images: int


End = Literal["low", "high"]  # of a range


class BaseDecision(TypedDict):
    """Comparisons begin around the setting of the search's best trial."""

    kind: Literal["base"]
    levels: dict[str, Any]
    trial: str


class EdgeDecision(TypedDict):
    """The setting `levels` did best at `value`, at or near the end of a range, which stays as it is.

    flat: the response is flat there. behind: another level is so far ahead that a wider range would not change who
    leads. at end: neither, but the range cannot be widened again.
    """

    kind: Literal["flat", "behind", "at end"]
    levels: dict[str, Any]
    nuisance: str
    end: End
    value: float


class WidenDecision(TypedDict):
    """The setting `levels` did best at `value`, so the range of `nuisance` ends at `after` instead of `before`."""

    kind: Literal["widen"]
    levels: dict[str, Any]
    nuisance: str
    end: End
    value: float
    before: float
    after: float


class MoveDecision(TypedDict):
    """The base moves to `levels`, whose best score on validation is better by `gain`."""

    kind: Literal["move"]
    levels: dict[str, Any]
    gain: float | None  # None if the base has no completed trial


class CombineDecision(TypedDict):
    """The cheapest levels that do as well as the winner's are confirmed together."""

    kind: Literal["combine"]
    levels: dict[str, Any]


class SeedsDecision(TypedDict):
    """Some settings are confirmed with more seeds."""

    kind: Literal["seeds"]
    seeds: int
    arms: list[str]


class RecommendDecision(TypedDict):
    """The setting that is recommended and shipped: the trials of `arm`, or with test folds those of `levels`."""

    kind: Literal["recommend"]
    levels: dict[str, Any]
    arm: str


DecisionRecord = (
    BaseDecision | EdgeDecision | WidenDecision | MoveDecision | CombineDecision | SeedsDecision | RecommendDecision
)


class PlaceRecord(TypedDict):
    """The absolute folders that a study was started with; None if the flag was left out."""

    data: str
    test: str | None
    weights: str | None


class DefinitionRecord(TypedDict, total=False):
    """The part of study.json that comes from the study file alone. No flag changes it."""

    dataset: str
    question: Required[str]
    goal: Goal
    margin: float
    retrain: bool
    official_split: bool
    factors: Required[dict[str, list[Any]]]
    conditional: dict[str, ConditionRecord]
    nuisances: dict[str, NuisanceRecord]
    fixed: dict[str, Any]
    unseen: float
    control: bool
    published: list[PublishedRecord]


class StudyRecord(DefinitionRecord, total=False):
    """study.json. Only the required keys always exist, because another program may leave out the others."""

    name: Required[str]
    budget: BudgetRecord
    declared_budget: BudgetRecord | None
    metric: str
    pretraining_overlap: str
    seed: int
    command: str
    versions: dict[str, str]
    revision: str
    hardware: HardwareRecord
    resources: ResourcesRecord
    manifest: str
    plan_hash: str
    resolution: ResolutionRecord
    test_openings: int
    wall_seconds: float
    compute_seconds: float
    repeated_epochs: int
    deviations: list[str]
    decisions: list[DecisionRecord]
    preflight: PreflightRecords
    hours: float | None
    price: float | None
    nodes: int
    base: BaseRecord
    place: PlaceRecord
