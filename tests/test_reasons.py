"""Why an image is asked, in words: true for each acquisition, and naming classes only where it says 'between'."""

import pytest

from labeler.reasons import why
from model import ACQUISITIONS

NAMES = {1: "Shirt", 2: "Coat", 3: "Bag", 4: "Boot", 5: "Dress"}
TORN = {1: 0.5, 2: 0.4, 3: 0.1, 4: 0.0, 5: 0.0}
SPREAD = {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.24, 5: 0.01}
SURE = {1: 0.97, 2: 0.01, 3: 0.01, 4: 0.01, 5: 0.0}


@pytest.mark.parametrize(
    ("acquisition", "torn", "spread", "sure"),
    [
        ("coverage", "between Shirt and Coat", "unlike anything labeled so far", "unlike anything labeled so far"),
        (
            "margin",
            "between Shirt and Coat",
            "not clearly of any class: the best guess has 25%",
            "the least certain of those that are left",
        ),
        (
            "least_confident",
            "between Shirt and Coat",
            "not clearly of any class: the best guess has 25%",
            "the least certain of those that are left",
        ),
        ("entropy", "between Shirt and Coat", "spread over about 4 classes", "spread over about 2 classes"),
        ("bald", "between Shirt and Coat", *["of a class that depends on what the model has yet to learn"] * 2),
        ("badge", "between Shirt and Coat", *["unsure, and unlike the others asked now"] * 2),
        ("typicality", *["the most typical of a group without a label"] * 3),
        ("random", *["drawn at random"] * 3),
        ("grid certain", *["on a grid of images that look alike to the model"] * 3),
    ],
)
def test_each_acquisition_says_what_it_did_measure(acquisition: str, torn: str, spread: str, sure: str) -> None:
    said = [why("learn", acquisition, 0.5, 20, probs, NAMES) for probs in (TORN, SPREAD, SURE)]
    assert said == [torn, spread, sure]


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_what_has_another_reason_than_the_acquisition_says_so(acquisition: str) -> None:
    assert why("measure", acquisition, 0.5, 20, TORN, NAMES) == "drawn at random to measure accuracy"
    assert why("learn", acquisition, None, None, None, NAMES) == "drawn at random"
    first = "drawn at random" if acquisition == "random" else "typical of a group nothing is labeled in yet"
    assert why("learn", acquisition, 0.5, 0, TORN, NAMES) == first


@pytest.mark.parametrize("acquisition", ["coverage", "bald", "badge", "typicality"])
def test_an_image_that_the_acquisition_had_no_wish_for_is_not_praised(acquisition: str) -> None:
    assert why("learn", acquisition, 0.0, 20, TORN, NAMES) == "one of those that are left"
