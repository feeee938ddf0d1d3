import pandas as pd
import pytest

from trainables.data.unseen import set_aside
from trainables.errors import InputError

MANIFEST = pd.DataFrame(
    {
        "item": range(8),
        "label": [0, 1, 2, 3, 0, 3, 2, 4],
        "group": [0, 1, 2, 3, 4, 4, 6, 7],  # item 5 repeats item 4
        "keep": [True, True, True, True, True, True, False, True],
    }
)


def test_the_last_classes_go_without_copies_of_the_first_and_without_what_was_dropped() -> None:
    seen, unseen = set_aside(MANIFEST, 0.6)
    assert seen["item"].tolist() == [0, 1, 4]
    assert unseen["item"].tolist() == [2, 3, 7]


def test_no_share_sets_nothing_aside() -> None:
    seen, unseen = set_aside(MANIFEST, 0.0)
    pd.testing.assert_frame_equal(seen, MANIFEST)
    assert unseen.empty


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_both_sides_need_two_classes(share: float) -> None:
    with pytest.raises(InputError, match=r"must leave at least 2 of the 5 classes in each part"):
        set_aside(MANIFEST, share)
