"""A trial may train in two phases: the head alone at first, then as deep as its config says."""

from dataclasses import dataclass, replace

from trainables.config import TrialConfig


@dataclass(frozen=True)
class Phase:
    """Epochs after `first`, up to `last`, under `config`: its schedule counts the phase's own epochs."""

    first: int
    last: int
    config: TrialConfig


def phases_of(config: TrialConfig) -> list[Phase]:
    frozen = config.frozen_epochs
    if not frozen:
        return [Phase(0, config.epochs, config)]
    rate = config.frozen_learning_rate or config.learning_rate
    plain = {"frozen_epochs": 0, "frozen_learning_rate": None}
    head = replace(config, unfreeze="head", epochs=frozen, learning_rate=rate, **plain)
    deeper = replace(config, epochs=config.epochs - frozen, **plain)
    return [Phase(0, frozen, head), Phase(frozen, config.epochs, deeper)]
