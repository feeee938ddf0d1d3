"""The inputs of a cost estimate that come from the data and the machine."""

from dataclasses import dataclass, replace

import pandas as pd

from study.design.plan import examples
from study.design.settings import Base, resolve
from study.estimates.resources import Resources
from study.spec import Study
from trainables import rates
from trainables.config import TrialConfig
from trainables.frozen.store import store_limit
from trainables.nets.arithmetic import torch_threads
from trainables.place import Place
from trainables.rates import Rates


@dataclass(frozen=True)
class CostInputs:
    """Everything that the cost of a study depends on, except the study itself."""

    base: Base
    train: int  # images per training epoch
    val: int
    workers: int  # trials that run at once
    rates: dict[str, Rates]  # by backbone
    bytes_per_value: int  # of a stored activation of an augmented view
    store_bytes: float  # capacity of the store; 0 if nothing is shared


def cost_inputs(
    study: Study, manifest: pd.DataFrame, base: Base, resources: Resources, place: Place, sharing: bool
) -> CostInputs:
    """Return the inputs with rates that were measured on this machine earlier, or else from a table.

    Args:
        sharing: whether activations and views are stored and shared.
    """
    return CostInputs(
        base=base,
        train=base.largest_train,
        val=int((manifest["fold"] == "val").sum()),
        workers=resources.concurrent,
        rates={
            backbone: rates.stored(place.cache, config) or rates.table(backbone, config.device)
            for backbone, config in _examples(study, base).items()
        },
        bytes_per_value=2 if base.has_bfloat16 else 4,
        store_bytes=store_limit(place.cache, place.cache_gib) if sharing else 0.0,
    )


def measured(inputs: CostInputs, study: Study) -> CostInputs:
    """Return the inputs with all rates measured on this machine, which takes seconds per backbone."""
    with torch_threads():
        rates_by_backbone = {
            backbone: inputs.rates[backbone] if inputs.rates[backbone].measured else rates.measure(config)
            for backbone, config in _examples(study, inputs.base).items()
        }
    return replace(inputs, rates=rates_by_backbone)


def keep_rates(inputs: CostInputs, study: Study, place: Place) -> None:
    """Cache the measured rates for the next study on this machine."""
    for backbone, config in _examples(study, inputs.base).items():
        if inputs.rates[backbone].measured:
            rates.keep(place.cache, config, inputs.rates[backbone])


def _examples(study: Study, base: Base) -> dict[str, TrialConfig]:
    """Return one config per backbone."""
    configs = [resolve(study, planned, base) for planned in reversed(examples(study, "backbone"))]
    return {config.backbone: config for config in configs}
