import re
from functools import partial

import numpy as np
import pandas as pd
import pytest

from analysis.layout import figures
from analysis.statistics.confusion import arranged, block_table

NAMES = pd.Series([f"c{i}" for i in range(60)])


def families(k, each=3, right=80, within=8):
    """Class i belongs to family i % (k / each): its members are far apart, and confused with one another alone."""
    family = np.arange(k) % (k // each)
    counts = np.where(family[:, None] == family[None, :], within, 0)
    np.fill_diagonal(counts, right)
    return pd.DataFrame(counts)


def test_the_confused_come_to_lie_beside_one_another():
    matrix = families(12)
    shown, blocks = arranged(matrix)
    assert sorted(shown.index) == list(range(12))
    assert list(shown.index) == list(shown.columns)
    assert [list(block) for block in blocks] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    for block in blocks:
        assert len({shown.index[i] % 4 for i in block}) == 1, "one family"
    assert shown.loc[[3], [7]].equals(matrix.loc[[3], [7]])


def test_the_table_of_blocks_by_hand():
    matrix = families(12)
    matrix.loc[1, 5] = 20  # of the family of 1, 5 and 9
    matrix.loc[2, 0] = 4  # an error that leaves the family of 2, 6 and 10
    table = block_table(*arranged(matrix), NAMES)
    assert table["block"].tolist() == [1, 2, 3, 4]
    by_block = [set(one.split(", ")) for one in table["label"]]
    assert (by_block[0], by_block[3]) == ({"c1", "c5", "c9"}, {"c2", "c6", "c10"})
    assert table["inside"].tolist() == [20 + 5 * 8, 6 * 8, 6 * 8, 6 * 8]
    assert table["right"].tolist() == pytest.approx([240 / 300, 240 / 288, 240 / 288, 240 / 292])
    assert table["share"].tolist() == pytest.approx([1, 1, 1, 48 / 52])


@pytest.mark.parametrize("matrix", [pd.DataFrame(np.eye(5, dtype=int)), pd.DataFrame([[3, 2], [1, 4]]), pd.DataFrame()])
def test_without_confusion_it_stays_as_it_is(matrix):
    shown, blocks = arranged(matrix)
    assert shown.equals(matrix)
    assert blocks == []
    assert block_table(shown, blocks, NAMES).empty


def test_where_all_is_confused_with_all_nothing_stands_out():
    _, blocks = arranged(pd.DataFrame(np.full((20, 20), 5)))
    assert blocks == []


@pytest.mark.parametrize("k", [2, 26, 60])
def test_cells_say_their_numbers_when_pointed_at(k):
    matrix = families(k, each=2, within=8)
    names = ["<b>&\u202e", *NAMES[1:k]]
    titles = figures.confusion_titles(matrix, names)
    text = figures.svg(3.0, partial(figures.draw_confusion, confusion=matrix, names=names), titles=titles)
    said = re.findall(r"<title>(.*?)</title>", text)
    assert len(said) == 2 * k, "the diagonal, and the other one of each pair"
    assert said[0] == "&lt;b&gt;&amp;: 80 of 88 (90.9%) correct"
    assert f"{names[-1]} predicted as {names[k // 2 - 1] if k > 2 else '&lt;b&gt;&amp;'}: 8 of 88 (9.1%)" in said


def test_of_many_confusions_the_most_frequent_speak():
    rng = np.random.default_rng(0)
    matrix = pd.DataFrame(rng.integers(1, 9, (60, 60)))
    matrix.loc[5, 17] = 1000
    titles = figures.confusion_titles(matrix, NAMES.tolist())
    assert len(titles) == 60 + figures.MOST_TITLED
    assert "cell-5-17" in titles
