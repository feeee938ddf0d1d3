"""Parameters, file size and the time for one picture, of every net a study confirmed."""

import torch

from study.footprint import footprint


def configs(*pairs):
    return [{"backbone": backbone, "size": size, "seed": seed} for backbone, size in pairs for seed in (1, 2)]


def test_one_row_for_each_net_and_size():
    rows = footprint(configs(("small_cnn", 16), ("test_resnet", 32), ("small_cnn", 32)), classes=3)
    assert [(row["backbone"], row["size"]) for row in rows] == [
        ("small_cnn", 16),
        ("test_resnet", 32),
        ("small_cnn", 32),
    ]
    assert all(row["latency_ms"] > 0 for row in rows)
    assert rows[0]["file_bytes"] == rows[2]["file_bytes"] >= 4 * rows[0]["parameters"]


def test_a_class_more_costs_one_row_of_the_head():
    three, four = (footprint(configs(("test_resnet.r160_in1k", 32)), classes)[0] for classes in (3, 4))
    more = four["parameters"] - three["parameters"]
    assert 1 < more < 3000
    assert four["file_bytes"] - three["file_bytes"] == 4 * more


def test_the_threads_are_given_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        footprint(configs(("small_cnn", 16)), classes=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
