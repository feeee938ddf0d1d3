"""The published table, by hand: on dogs, the better crop changes with the momentum."""

import pytest

from tests import li_et_al
from tests.li_et_al import accuracy, contrasts, one_at_a_time, table


def crop_by_momentum(dataset):
    found = contrasts(table(), dataset)
    (row,) = found[(found["factor_a"] == "crop") & (found["factor_b"] == "momentum")].to_dict("records")
    return row


def test_the_sign_change_on_dogs():
    """Plain over random-resized: 17.20 - 11.99 with momentum 0.9, 11.00 - 11.35 with 0."""
    row = crop_by_momentum("dogs")
    assert row["held"] == "learning_rate 0.01"
    assert (row["level_a1"], row["level_a2"], row["level_b1"], row["level_b2"]) == (
        "random-resized",
        "plain",
        "0.9",
        "0",
    )
    assert row["effect_b1"] == pytest.approx(5.21)
    assert row["effect_b2"] == pytest.approx(-0.35)
    assert row["contrast"] == pytest.approx(-5.56)
    assert row["reverses"]


def test_no_sign_change_on_cars():
    row = crop_by_momentum("cars")
    assert [row["effect_b1"], row["effect_b2"], row["contrast"]] == pytest.approx([-8.67, -12.80, -4.13])
    assert not row["reverses"]


def test_momentum_by_learning_rate_under_the_strong_crop():
    """0 over 0.9: 17.20 - 11.00 at 0.01, 14.14 - 10.12 at 0.005."""
    found = contrasts(table(), "dogs")
    (row,) = found[found["factor_b"] == "learning_rate"].to_dict("records")
    assert [row["effect_b1"], row["effect_b2"], row["contrast"]] == pytest.approx([6.20, 4.02, -2.18])
    assert len(found) == 2  # no other two-by-two table is complete


def test_one_factor_at_a_time_concludes_wrongly_on_dogs():
    """Each alone, plain gains 5.21 and no momentum 6.20 over 82.80; together they reach 88.65, not 94.21, and lose

    to the crop that was discarded."""
    runs = table()
    naive = one_at_a_time(runs, "dogs", ["crop", "momentum"])
    assert naive == {"crop": "plain", "momentum": "0", "learning_rate": "0.01"}
    assert accuracy(runs, "dogs", naive) == pytest.approx(88.65)
    assert accuracy(runs, "dogs", naive | {"crop": "random-resized"}) == pytest.approx(89.00)


def test_the_command_says_so_and_gives_no_p_value(capsys):
    li_et_al.main()
    said = capsys.readouterr().out
    assert "contrast -5.56, the sign changes" in said
    assert said.count("the sign changes") == 1
    assert "no interval and no p value" in said
