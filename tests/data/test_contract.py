"""The contract: what is refused at the borders, and the two places where image and mask meet."""

import numpy as np
import pytest
import torch

from deocclude.data.contract import (
    binarise,
    check_image,
    check_mask,
    check_pair,
    compose,
    hide,
    hole_ratio,
    mask_warning,
)


def test_contract_keeping_tensors_pass_unchanged():
    image, mask = torch.rand(2, 3, 4, 5), torch.ones(2, 1, 4, 5)
    assert check_image(image) is image
    assert check_mask(mask) is mask
    check_pair(image, mask)
    check_image(torch.tensor([0.0, 1.0, 0.5]).view(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((1, 3, 2, 2), 255.0), "255"),
        (torch.full((1, 3, 2, 2), -0.1), "-0.1"),
        (torch.full((1, 3, 2, 2), torch.nan), "nan"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 2, 2, dtype=torch.float64), "float64"),
        (torch.zeros(3, 2, 2), r"\(3, 2, 2\)"),
        (torch.zeros(1, 4, 2, 2), r"\(1, 4, 2, 2\)"),
        (torch.zeros(1, 2, 2, 3), r"\(1, 2, 2, 3\)"),
        (torch.zeros(0, 3, 2, 2), "empty"),
    ],
)
def test_bad_image_is_named(image, message):
    with pytest.raises(ValueError, match=f"portrait.*{message}"):
        check_image(image, "portrait")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.full((1, 1, 2, 2), 0.5), "0.5"),
        (torch.full((1, 1, 2, 2), 255.0), "255"),
        (torch.full((1, 1, 2, 2), torch.nan), "binarise"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.bool), "bool"),
        (torch.zeros(1, 3, 2, 2), r"\(1, 3, 2, 2\)"),
    ],
)
def test_bad_mask_is_named(mask, message):
    with pytest.raises(ValueError, match=message):
        check_mask(mask)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (1, 1, 4, 5)])
def test_image_and_mask_must_fit(shape):
    with pytest.raises(ValueError, match="share N, H and W"):
        check_pair(torch.zeros(1, 3, 4, 4), torch.zeros(shape))


def test_compose_keeps_known_pixels_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    occluded = torch.rand(3, 3, 16, 16, generator=generator) * 1e-3 + torch.finfo().tiny
    prediction = torch.rand(3, 3, 16, 16, generator=generator)
    prediction[:, :, 0] = torch.nan
    mask = (torch.rand(3, 1, 16, 16, generator=generator) > 0.5).float()
    mask[:, :, 0] = 0
    restored = compose(prediction, occluded, mask)
    hole = mask.bool().expand_as(restored)
    assert torch.equal(restored[~hole], occluded[~hole])
    assert torch.equal(restored[hole], prediction[hole])


def test_hide_covers_exactly_the_hole():
    image = torch.rand(1, 3, 8, 8) * 0.9
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 3:6] = 1
    for fill in (0.0, 0.5, 1.0):
        hidden = hide(image, mask, fill)
        assert (hidden[..., 2:5, 3:6] == fill).all()
        assert torch.equal(compose(image, hidden, mask), image)
    assert (hide(image, mask)[..., 2:5, 3:6] == 1).all()  # white by default


def test_hole_ratio_of_each_mask():
    mask = torch.zeros(2, 1, 4, 4)
    mask[1, :, :2] = 1
    assert hole_ratio(mask).tolist() == [0, 0.5]


def test_binarise_threshold_polarity_and_type():
    grey = np.array([[0, 1, 127, 128, 254, 255]], np.uint8)
    assert binarise(grey).tolist() == [[0, 0, 0, 1, 1, 1]]
    assert binarise(grey, invert=True).tolist() == [[1, 1, 1, 0, 0, 0]]
    assert binarise(grey).dtype == np.uint8


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_binarise_resizes_by_nearest_neighbour(factor):
    small = np.random.default_rng(0).integers(0, 2, (6, 9), dtype=np.uint8) * 255
    large = small.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_array_equal(binarise(small, large.shape), large // 255)
    np.testing.assert_array_equal(binarise(large, small.shape), small // 255)


def test_binarise_keeps_the_hole_centred():
    mask = np.zeros((90, 90), np.uint8)
    mask[30:60, 30:60] = 255
    resized = binarise(mask, (64, 41))
    np.testing.assert_array_equal(resized, resized[::-1, ::-1])


def test_binarise_refuses_colour():
    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        binarise(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("ratio", "part"), [(0, "all zero"), (1, "all one"), (0.75, "75%"), (0.61, "--invert-mask")]
)
def test_suspicious_ratios_are_reported(ratio, part):
    assert part in mask_warning(ratio)


@pytest.mark.parametrize("ratio", [0.001, 0.3, 0.6])
def test_usual_ratios_are_not(ratio):
    assert mask_warning(ratio) is None
