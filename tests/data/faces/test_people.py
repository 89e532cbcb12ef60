"""Groups of people as file names label them."""

import pytest

from deocclude.data.faces.people import GROUPINGS, person_of


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("utk_00000_26_0_0.jpg", ("20–39", "male", "White")),
        ("test/utk_00007_9_1_3.png", ("0–9", "female", "Indian")),
        ("utk_1_10_1_4.jpg", ("10–19", "female", "other")),
        ("utk_1_59_1_1.jpg", ("40–59", "female", "Black")),
        ("utk_1_116_0_2.jpg", ("60+", "male", "Asian")),
    ],
)
def test_a_name_tells_age_gender_and_origin(name, person):
    assert person_of(name) == person
    assert all(group in GROUPINGS[by] for by, group in person_of(name)._asdict().items())


@pytest.mark.parametrize(
    "name", ["ffhq_00012.jpg", "utk_00000_26_0.jpg", "utk_00000_26_2_0.jpg", "utk_0_26_0_5.jpg"]
)
def test_other_names_say_nothing(name):
    assert person_of(name) is None
