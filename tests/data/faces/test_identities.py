"""Known people: found, split by picture, drawn where there are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deocclude.data.builtin.faces import person_traits
from deocclude.data.faces.alignment import template_points
from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import Faces, folder_faces
from deocclude.data.faces.identities import (
    builtin_people,
    find_identities,
    identity_of,
    label_names,
    people_of,
    split_people,
)
from deocclude.data.faces.layout import SPLITS
from deocclude.data.faces.surroundings import swap_surroundings
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.pairs.training import IdentityPictures, PositionSampler, training_loader


def write_people(folder: Path, counts: dict[str, int]) -> Path:
    for person, count in counts.items():
        (folder / person).mkdir(parents=True)
        for i in range(count):
            grey = np.full((40, 40, 3), 40 * len(person) + i, np.uint8)
            Image.fromarray(grey).save(folder / person / f"{i}.png")
    return folder


def names_of(split, folder: Path) -> dict[str, set[str]]:
    return {
        name: {path.relative_to(folder).as_posix() for path in files}
        for name, files in split.files.items()
    }


def test_every_person_is_in_every_split_and_no_picture_in_two(tmp_path):
    folder = write_people(tmp_path, {"ann": 30, "bob": 7, "cleo": 3})
    split = split_people(people_of(folder), 42, 0.13, 0.13)
    names = names_of(split, folder)
    assert sum(map(len, names.values())) == len(set().union(*names.values())) == 40
    for part in SPLITS:
        assert {identity_of(name) for name in names[part]} == {"ann", "bob", "cleo"}
    counts = [sum(identity_of(n) == "ann" for n in names[part]) for part in SPLITS]
    assert counts == [22, 4, 4]


def test_within_a_split_the_people_take_turns(tmp_path):
    folder = write_people(tmp_path, {"ann": 30, "bob": 30, "cleo": 9})
    files = split_people(people_of(folder), 42, 0.1, 0.1).files["train"]
    assert [path.parent.name for path in files[:6]] == ["ann", "bob", "cleo"] * 2


def test_a_split_is_seeded_and_that_of_a_person_whoever_else_is_there(tmp_path):
    folder = write_people(tmp_path, {"ann": 12, "bob": 12, "cleo": 12})
    whole, again = (split_people(people_of(folder), 42, 0.2, 0.2) for _ in range(2))
    assert whole == again
    fewer = split_people(people_of(folder, ["cleo", "ann"]), 42, 0.2, 0.2)
    other = split_people(people_of(folder), 43, 0.2, 0.2)
    for part in SPLITS:
        assert names_of(fewer, folder)[part] < names_of(whole, folder)[part]
    assert names_of(other, folder) != names_of(whole, folder)


def test_what_is_not_people_is_refused_with_the_layout(tmp_path, caplog):
    with pytest.raises(FileNotFoundError, match="one sub-folder a person"):
        people_of(write_people(tmp_path / "one", {"ann": 4}))
    with pytest.raises(FileNotFoundError, match="no known people"):
        people_of(write_people(tmp_path / "splits", {"train": 4, "val": 4, "test": 4}))
    folder = write_people(tmp_path / "few", {"ann": 4, "bob": 2, "cleo": 4, "masks": 5})
    assert list(people_of(folder)) == ["ann", "cleo"]
    assert "bob" in caplog.text
    with pytest.raises(FileNotFoundError, match="bob"):
        people_of(folder, ["ann", "bob"])


def test_the_folder_of_people_is_found(tmp_path):
    assert find_identities(None, "auto") is None
    assert find_identities(tmp_path, "builtin") is None
    assert find_identities(tmp_path, "auto") == tmp_path
    (tmp_path / "identities256").mkdir()
    assert find_identities(tmp_path, "auto") == tmp_path / "identities256"
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        find_identities(tmp_path, "elsewhere")


def test_labels_are_places_among_the_people():
    assert label_names(["b/1.png", "a/2.png"], ("a", "b")).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"1 people.*zoe"):
        label_names(["zoe/1.png"], ("a", "b"))


def test_builtin_people_keep_their_looks_and_share_no_picture():
    faces = {part: builtin_people(part, 3, 6, 32) for part in SPLITS}
    pictures = [faces[part][i].tobytes() for part in SPLITS for i in range(6)]
    assert len(set(pictures)) == 18
    assert [identity_of(n) for n in faces["val"].names[:4]] == [
        "person_000", "person_001", "person_002", "person_000"
    ]  # fmt: skip
    one, two, other = person_traits(0, 0), person_traits(0, 5), person_traits(1, 0)
    assert (one.tone, one.style, one.jaw) == (two.tone, two.style, two.jaw)
    assert one.yaw != two.yaw
    assert one.jaw != other.jaw


def test_training_pictures_are_a_function_of_their_position(tmp_path):
    folder = write_people(tmp_path, {"ann": 6, "bob": 6})
    files = split_people(people_of(folder), 42, 0.2, 0.2).files["train"]
    faces = cache_faces(folder_faces(files, folder, 32), "none", 1, tmp_path)
    labels = label_names(faces.names, ("ann", "bob"))

    def pictures(share: float) -> IdentityPictures:
        return IdentityPictures(faces, labels, Occluders(32, preset="drawn"), 3, share, flip=True)

    some = pictures(0.5)
    kinds = [some[p][2].partition(" (")[2] for p in range(60)]
    assert 15 < sum(kind == "none)" for kind in kinds) < 45
    assert all(pictures(0.0)[p][2].endswith("(none)") for p in range(20))
    assert not any(pictures(1.0)[p][2].endswith("(none)") for p in range(20))
    batch = next(iter(training_loader(some, PositionSampler(4, 2, 3, 1, 0, 1), 0)))
    assert batch.image.shape == (4, 3, 32, 32)
    for place in range(4):
        image, label, name = some[8 + place]
        assert (batch.image[place] == image).all()
        assert (int(batch.label[place]), batch.names[place]) == (label, name)
        assert identity_of(name) == ("ann", "bob")[label]


def test_swapped_surroundings_keep_the_face_and_replace_the_rest():
    face, other = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 10, np.uint8)
    made = swap_surroundings(face, other, "ffhq")
    points = template_points("ffhq", 64)
    for name in ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth"):
        x, y = (round(value) for value in points[name])
        assert made[y, x, 0] == 200, name
    assert (made[[0, 0, -1, -1], [0, -1, 0, -1]] == 10).all()
    assert 0.2 < (made[..., 0] > 100).mean() < 0.5
    moved = {name: (x + 6, y) for name, (x, y) in points.items()}
    shifted = swap_surroundings(face, other, "ffhq", moved)
    assert np.array_equal(shifted[:, 12:-2], made[:, 6:-8])
    with pytest.raises(ValueError, match="shape"):
        swap_surroundings(face, other[:32], "ffhq")


def test_training_faces_are_set_into_other_peoples_pictures():
    grey = {name: i * 20 for i, name in enumerate(["a/0", "a/1", "b/0", "b/1"])}
    faces = Faces(list(grey), 32, lambda i: np.full((32, 32, 3), i * 20, np.uint8))
    labels = np.array([0, 0, 1, 1])
    made = IdentityPictures(
        faces, labels, Occluders(32, preset="drawn"), 3, share=0.0, swap_share=0.5
    )
    swapped = 0
    for position in range(40):
        image, label, name = made[position]
        own, corner = int(image[0, 17, 16]), int(image[0, 0, 0])
        assert own == grey[name.removesuffix(" (none)")]
        assert corner == own or corner // 40 != label
        swapped += corner != own
    assert 10 < swapped < 30


def test_shares_that_leave_nothing_to_train_on_are_refused():
    people = {name: [Path(f"{name}/{i}.png") for i in range(4)] for name in "ab"}
    with pytest.raises(ValueError, match="none of the 4 pictures of a"):
        split_people(people, 42, 0.49, 0.49)
