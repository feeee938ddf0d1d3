"""study.json, key by key."""

from typing import Any, Literal, NotRequired, Required, TypedDict

Goal = Literal["factors", "best", "published"]
SKIPPED = "skipped"  # the value of `preflight` in study.json after --skip-preflight


class NuisanceRecord(TypedDict):
    """A range in study.json; `when` names the factor levels under which it exists."""

    low: float
    high: float
    log: bool
    when: dict[str, Any]
    sets: NotRequired[str]  # the config field that it sets, where that has another name
    natural: NotRequired[list[float]]  # ends of the range that no value can exceed


class ConditionRecord(TypedDict):
    """When a conditional factor exists, and the value of its field where it does not."""

    when: dict[str, Any]
    otherwise: Any


class BudgetRecord(TypedDict):
    """The fields of budget.Budget."""

    trials: int
    epochs: int
    refine: int
    seeds: int
    grace: int
    reduction: int
    folds: int | None
    test_folds: int | None


class PublishedRecord(TypedDict):
    """One published number of one published configuration."""

    name: str
    config: dict[str, Any]
    metric: str
    fold: str
    value: float
    n: int | None
    differs: list[str]


class ResolutionRecord(TypedDict):
    """The smallest difference in accuracy that the planned seeds and test images can resolve, with its assumptions."""

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
    """What the gates found for one net; `chance` is the share of the most frequent class."""

    probe_accuracy: float | None
    chance: float
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


class PlaceRecord(TypedDict):
    """The absolute folders a study was started with; None where none was named."""

    data: str
    test: str | None
    weights: str | None


class DefinitionRecord(TypedDict, total=False):
    """What study.json has from the study file alone: no flag changes it."""

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
    """study.json. Only the required keys are sure to exist: other programs may leave the others out."""

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
    preflight: PreflightRecords
    hours: float | None
    base: BaseRecord
    place: PlaceRecord
