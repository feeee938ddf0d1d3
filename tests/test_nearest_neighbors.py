"""Neighbors on points whose distances can be counted by hand."""

import numpy as np
import pytest

from trainables.frozen.embedding_metrics import KS, LabeledFeatures, knn_classification, retrieval, second_half
from trainables.frozen.nearest_neighbors import ExactSearch, vote


def line(*places: float) -> np.ndarray:
    """Points on a line, as features (n, 1)."""
    return np.array(places, dtype=np.float32)[:, None]


def angles(*degrees: float) -> np.ndarray:
    """Points on the unit circle, so that cosine distance grows with the angle between them."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_the_nearest_come_first_and_equally_near_ones_in_the_order_of_the_gallery() -> None:
    gallery = line(3, 1, -1, 1, 5)
    np.testing.assert_array_equal(ExactSearch(gallery, "euclidean").nearest(line(0), 4), [[1, 2, 3, 0]])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_of_more_equally_near_ones_than_asked_for_the_first_are_found(k: int) -> None:
    gallery = np.tile(np.array([[0.1, 0.7, 0.3]], dtype=np.float32), (40, 1))
    queries = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for metric in ("euclidean", "cosine"):
        np.testing.assert_array_equal(ExactSearch(gallery, metric).nearest(queries, k), np.tile(np.arange(k), (5, 1)))
    found = ExactSearch(gallery, "euclidean").nearest_others(np.array([0, 1, 39]), 2)
    np.testing.assert_array_equal(found, [[1, 2], [0, 2], [0, 1]])


def test_the_metric_decides() -> None:
    gallery = np.array([[10.0, 0.0], [0.0, 1.0]])  # one far away in the same direction, one near in another
    query = np.array([[1.0, 0.1]])
    assert ExactSearch(gallery, "euclidean").nearest(query, 1)[0, 0] == 1
    assert ExactSearch(gallery, "cosine").nearest(query, 1)[0, 0] == 0


def test_a_vector_of_zeros_is_no_error() -> None:
    assert ExactSearch(np.array([[0.0, 0.0], [1.0, 0.0]]), "cosine").nearest(np.array([[0.0, 0.0]]), 2).shape == (1, 2)


def test_a_vote_that_is_tied_goes_to_the_nearest() -> None:
    labels = np.array([[2, 1, 1], [2, 1, 0], [1, 2, 2], [3, 0, 0]])
    np.testing.assert_array_equal(vote(labels), [1, 2, 2, 0])
    np.testing.assert_array_equal(vote(labels[:, :2]), [2, 2, 1, 3])


def test_metric_and_k_are_chosen_on_validation_and_only_the_choice_sees_the_test_fold() -> None:
    # By length class 0 is short and class 1 long, whatever the direction; so only euclidean distance tells them apart.
    train = LabeledFeatures(np.vstack([angles(0, 90, 180, 270), 9 * angles(0, 90, 180, 270)]), np.repeat([0, 1], 4))
    queries = LabeledFeatures(np.vstack([1.1 * angles(1, 91), 8.9 * angles(1, 91)]), np.array([0, 0, 1, 1]))
    rows = knn_classification(train, queries, queries)
    chosen = [row for row in rows if row["chosen"]]
    assert [(row["fold"], row["metric"], row["k"], row["accuracy"]) for row in chosen] == [
        ("val", "euclidean", 1, 1.0),
        ("test", "euclidean", 1, 1.0),
    ]
    # Ten neighbors are more than there are images.
    assert [(row["metric"], row["k"]) for row in rows[:-1]] == [
        (metric, k) for metric in ("euclidean", "cosine") for k in KS if k <= 8
    ]
    assert all(row["n"] == 4 for row in rows)
    # Each direction has one of both classes at cosine distance 0: the first in the gallery is of class 0.
    assert next(row["accuracy"] for row in rows if (row["metric"], row["k"]) == ("cosine", 1)) == 0.5


def test_retrieval_by_hand() -> None:
    # Neighbors by angle, without themselves:
    #   0 (a): 10 b, 30 a, 60 a, 90 b   hits 0 1 1 0, R = 2
    #  10 (b):  0 a, 30 a, 60 a, 90 b   hits 0 0 0 1, R = 1
    #  30 (a): 10 b,  0 a and 60 a (equally near: the earlier item first), 90 b, R = 2
    #  60 (a): 30 a and 90 b (likewise), 10 b, 0 a   hits 1 0 0 1, R = 2
    #  90 (b): 60 a, 30 a, 10 b, 0 a   hits 0 0 1 0, R = 1
    pictures = LabeledFeatures(5 * angles(0, 10, 30, 60, 90), np.array([0, 1, 0, 0, 1]))
    scores = retrieval(pictures)
    assert scores["recall_at_1"] == pytest.approx(1 / 5)
    assert scores["recall_at_2"] == pytest.approx(3 / 5)
    assert scores["recall_at_4"] == 1
    assert scores["recall_at_8"] == 1  # fewer than eight others: all of them are looked at
    assert scores["r_precision"] == pytest.approx((1 / 2 + 0 + 1 / 2 + 1 / 2 + 0) / 5)
    # Precision at the second place is 1/2 for the first and the third query, at the first place 1 for the fourth.
    assert scores["map_at_r"] == pytest.approx((1 / 4 + 0 + 1 / 4 + 1 / 2 + 0) / 5)


def test_classes_that_lie_apart_are_retrieved_without_fault_and_an_image_alone_in_its_class_asks_for_nothing() -> None:
    pictures = LabeledFeatures(angles(0, 1, 2, 90, 91, 200), np.array([0, 0, 0, 1, 1, 2]))
    assert set(retrieval(pictures).values()) == {1.0}
    alone = retrieval(LabeledFeatures(angles(0, 90), np.array([0, 1])))
    assert all(np.isnan(value) for value in alone.values())


def test_the_second_half_of_the_classes() -> None:
    pictures = LabeledFeatures(line(0, 1, 2, 3, 4, 5), np.array([0, 1, 2, 3, 4, 0]))
    half = second_half(pictures, 5)
    np.testing.assert_array_equal(half.labels, [2, 3, 4])
    np.testing.assert_array_equal(half.features, line(2, 3, 4))
