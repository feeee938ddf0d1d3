"""Which classes bear the names of ImageNet's."""

from trainables.screening.imagenet import imagenet_classes

LEVEL = "60-20-20"


def test_classes_that_bear_imagenets_names() -> None:
    known = imagenet_classes({0: {"Shih-Tzu", "n02086240"}, 1: {"German_short-haired_pointer"}, 2: {"my dog"}})
    assert known == {0: {155}, 1: {210}}  # the places in ImageNet's own list
    assert imagenet_classes({0: {"cardigan"}, 1: {"beagle"}})[0] == {264, 474}  # the dog and the garment
    assert imagenet_classes({0: {"kite"}, 1: {"ball"}, 2: {"doll"}}) == {}
    assert imagenet_classes({i: {str(i)} for i in range(10)}) == {}
    assert imagenet_classes({0: {"cat"}, 1: {"dog"}}) == {}
