"""How often the answers are right: studies with a known truth, drawn many times over and answered.

    python -m tests.benchmarks.replay --replays 2000 --out calibration.md    # ten minutes on one core

Prints the tables of docs/calibration.md. Every number has its simulation error: 1.96 standard errors over replays.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.statistics.inference import compare, holm
from tests.benchmarks import replay_seeds, replay_studies
from tests.benchmarks.replay_model import Share, World, accuracy_found, draw, oracle, percent, share, world_of

SEEDS = (3, 5, 10)
ITEMS = (150, 1500, 8000)
RATIOS = {"seeds": 4.0, "images": 0.25}  # what dominates: the variance that seeds make, over that of images
ACCURACY = 0.85
ALPHA = 0.05


@dataclass(frozen=True)
class Cell:
    seeds: int
    items: int
    dominates: str
    world: World

    @property
    def name(self) -> str:
        return f"{self.seeds} | {self.items} | {self.dominates}"


@dataclass(frozen=True)
class Calibration:
    """What was measured in one cell; widths and powers are relative to an oracle's."""

    held: Share  # intervals that hold the truth, without an effect
    held_effect: Share  # and with one
    familywise: Share  # studies of three equal levels in which Holm leaves any difference
    width_split: Share
    width_known: Share
    power: Share
    power_split: Share
    power_known: Share


def cells() -> Iterator[Cell]:
    for dominates, ratio in RATIOS.items():
        for seeds in SEEDS:
            for items in ITEMS:
                yield Cell(seeds, items, dominates, world_of(seeds, items, ratio, ACCURACY))


def stories() -> dict[str, Cell]:
    """Worlds outside of the grid, at five seeds and 1,500 images."""
    heavy, even = world_of(5, 1500, 100.0, ACCURACY), world_of(5, 1500, 1.0, ACCURACY, tails=3.0)
    return {
        "heavy seed noise: 100 times that of images": Cell(5, 1500, "seeds", heavy),
        "runs that collapse: seeds' luck is t with 3 df, as large as that of images": Cell(5, 1500, "both", even),
    }


def measure(cell: Cell, replays: int, seed: int = 0) -> Calibration:
    """Replay a cell: three settings that are equally good, and a fourth that is worse."""
    rng = np.random.default_rng([seed, cell.seeds, cell.items])
    worse = accuracy_found(cell.world, ACCURACY, cell.seeds, cell.items)
    none = oracle(cell.world, ACCURACY, ACCURACY, cell.seeds, cell.items)
    some = oracle(cell.world, ACCURACY, worse, cell.seeds, cell.items)
    groups = np.arange(cell.items)
    held, held_effect, familywise, half, found = (np.empty(replays) for _ in range(5))
    for i in range(replays):
        right = draw(cell.world, [ACCURACY] * 3 + [worse], cell.seeds, cell.items, rng)
        nulls = [compare(right[a], right[b], groups) for a, b in ((0, 1), (0, 2), (1, 2))]
        p = [one.p_value for one in nulls]
        held[i] = np.mean([one >= ALPHA for one in p])
        familywise[i] = holm(p).min() < ALPHA
        half[i] = np.mean([one.interval()[1] - one.mean for one in nulls])
        effect = compare(right[0], right[3], groups)
        low, high = effect.interval()
        held_effect[i] = low <= some.difference <= high
        found[i] = effect.p_value < ALPHA
    return Calibration(
        held=share(held),
        held_effect=share(held_effect),
        familywise=share(familywise),
        width_split=share(half / none.half_width_split),
        width_known=share(half / none.half_width),
        power=share(found),
        power_split=share(found / some.power_split),
        power_known=share(found / some.power),
    )


def grid_table(measured: dict[str, Calibration]) -> str:
    head = [
        "| seeds | images | dominates | interval contains 0 | contains the effect | familywise error "
        "| width / split known | width / all known | power | / split known | / all known |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    return "\n".join(head + [f"| {name} | {_cells(one)} |" for name, one in measured.items()])


def _cells(one: Calibration) -> str:
    shares = [percent(value) for value in (one.held, one.held_effect, one.familywise)]
    widths = [f"{value[0]:.2f}" for value in (one.width_split, one.width_known)]
    powers = [f"{value[0]:.2f} ± {value[1]:.2f}" for value in (one.power, one.power_split, one.power_known)]
    return " | ".join([*shares, *widths, *powers])


def story_table(measured: dict[str, Calibration]) -> str:
    head = ["| world | interval contains 0 | contains the effect | familywise error |", "| --- | ---: | ---: | ---: |"]
    rows = [
        f"| {name} | {percent(one.held)} | {percent(one.held_effect)} | {percent(one.familywise)} |"
        for name, one in measured.items()
    ]
    return "\n".join(head + rows)


def study_table(measured: dict[str, dict[str, Share]]) -> str:
    rows = [
        f"| {story} | {what} | {percent(value)} |" for story, each in measured.items() for what, value in each.items()
    ]
    return "\n".join(["| study | measured | |", "| --- | --- | ---: |", *rows])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.replay", description="How well the answers of a study are calibrated."
    )
    parser.add_argument("--replays", type=int, default=1000, metavar="N", help="of each cell")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the tables there")
    chosen = parser.parse_args(arguments)
    grid = {cell.name: measure(cell, chosen.replays) for cell in cells()}
    worlds = {name: measure(cell, chosen.replays) for name, cell in stories().items()}
    added = replay_seeds.table(replay_seeds.measure_all(RATIOS, chosen.replays))
    with tempfile.TemporaryDirectory() as folder:
        studies = replay_studies.measure(Path(folder), chosen.replays)
    text = "\n\n".join([grid_table(grid), story_table(worlds), added, study_table(studies)]) + "\n"
    print(text, end="")
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
