"""File size and the time for one image, of every net a study confirmed, in its trials' rows."""

from pathlib import Path

import pandas as pd
import torch

from study import results
from study.products.footprint import footprint
from study.products.outputs import write_tables
from tests.finished import Finished


def configs(*pairs: tuple[str, int]) -> list[dict[str, object]]:
    return [{"backbone": backbone, "size": size, "seed": seed} for backbone, size in pairs for seed in (1, 2)]


def test_one_row_for_each_net_and_size() -> None:
    nets = [("small_cnn", 16), ("test_resnet", 32), ("small_cnn", 32)]
    table = footprint(configs(*nets), classes=3)
    assert list(zip(table["backbone"], table["size"], strict=True)) == nets
    assert (table["latency_ms"] > 0).all()
    assert table["file_bytes"][0] == table["file_bytes"][2] != table["file_bytes"][1]


def test_a_class_more_costs_one_row_of_the_head() -> None:
    three, four, five = (footprint(configs(("test_resnet.r160_in1k", 32)), k)["file_bytes"][0] for k in (3, 4, 5))
    assert 4 < four - three == five - four < 4 * 3000


def test_the_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        footprint(configs(("small_cnn", 16)), classes=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_size_that_is_told_is_that_of_the_winners_file(finished: Finished) -> None:
    (told,) = footprint([finished.config.to_dict()], classes=3)["file_bytes"]
    file = finished.out / "best" / "model.safetensors"
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    assert told == file.stat().st_size - header


def test_trials_carry_what_their_net_costs(finished: Finished) -> None:
    write_tables(finished.course)
    file: Path = finished.out / results.TRIALS_FILE
    before = pd.read_parquet(file)
    assert not {"file_bytes", "latency_ms"} & set(before.columns)
    known = footprint([finished.config.to_dict()], classes=3)
    other = known.assign(backbone="another")
    write_tables(finished.course, pd.concat([other, known]))
    after = pd.read_parquet(file)
    pd.testing.assert_frame_equal(after[before.columns], before)
    assert (after["file_bytes"] == known["file_bytes"][0]).all()
    assert (after["latency_ms"] == known["latency_ms"][0]).all()
