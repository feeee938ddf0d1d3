import numpy as np
import pandas as pd
import pytest

from study.products.examples import EACH, select
from study.products.explain import in_view, overlay


def test_a_box_in_the_coordinates_of_the_view() -> None:
    # The view is the center square of half the shorter side, 20 of 40: columns 20 to 40 of 60, rows 10 to 30.
    assert in_view((20, 10, 40, 30), height=40, width=60, crop=0.5, size=10) == (0, 0, 10, 10)
    assert in_view((25, 20, 60, 30), height=40, width=60, crop=0.5, size=10) == (2.5, 5, 20, 10)


def test_heat_is_colored_where_it_is_and_what_was_not_seen_is_faded() -> None:
    picture = np.full((40, 60, 3), (200, 100, 50), dtype=np.uint8)
    heat = np.zeros((10, 10))
    heat[:5] = 1
    drawn = np.asarray(overlay(picture, heat, 0.5)).astype(int)
    assert drawn.shape == (40, 60, 3)
    gray = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert drawn[28, 30].tolist() == [gray] * 3  # seen, without heat
    red, green, blue = drawn[12, 30]
    assert red > green > blue  # the warm end of the scale
    outside = drawn[20, 5]
    assert len(set(outside)) == 1
    assert abs(outside[0] - 128) < abs(gray - 128)


@pytest.mark.parametrize("crop", [0.001, 1.0])
def test_an_image_of_one_pixel_is_drawn(crop: float) -> None:
    assert overlay(np.zeros((1, 1, 3), dtype=np.uint8), np.ones((4, 4)), crop).size == (1, 1)


def predictions(rows: list[tuple[int, int, int, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["item", "label", "predicted", "confidence"])
    return frame.assign(fold="test")


def test_examples_are_drawn_then_the_most_confident_errors_then_the_most_confused_classes() -> None:
    right = [(i, 0, 0, 0.9) for i in range(100)]
    # Classes 1 and 2 are confused most often, with low confidence; then 3 and 4, in one direction.
    confused = [(200 + i, 1, 2, 0.30 + i / 1000) for i in range(9)] + [(300 + i, 2, 1, 0.2) for i in range(9)]
    confused += [(400 + i, 3, 4, 0.31 + i / 1000) for i in range(8)]
    errors = [(500 + i, 5 + i, 0, 0.99 - i / 1000) for i in range(7)]
    table = predictions(right + confused + errors)
    chosen = select(pd.concat([table, table.assign(fold="val", item=table["item"] + 1000)]), seed=3)
    kinds = chosen.groupby("kind", sort=False)["item"].apply(list)
    assert list(kinds.index) == ["drawn", "error", "confused"]
    assert len(kinds["drawn"]) == EACH
    assert chosen["item"].is_unique
    shown = set(kinds["drawn"])
    assert kinds["error"] == [i for i in range(500, 507) if i not in shown][:EACH]
    expected = [max(set(range(200, 209)) - shown), min(set(range(300, 309)) - shown), max(set(range(400, 408)) - shown)]
    assert kinds["confused"][:3] == expected
    pd.testing.assert_frame_equal(select(table.sample(frac=1, random_state=0), seed=3)[["item"]], chosen[["item"]])


def test_a_winner_without_errors_has_only_drawn_examples() -> None:
    chosen = select(predictions([(i, i % 2, i % 2, 0.9) for i in range(20)]), seed=0)
    assert chosen["kind"].tolist() == ["drawn"] * EACH
