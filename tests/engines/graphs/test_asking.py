"""Foreign inpainters in ONNX files: ranges, polarity, layout, sizes and batches."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from onnx_stubs import (
    COLOUR,
    GENERATOR,
    LAMA,
    MAKERS,
    PIPELINE,
    generator,
    lama,
    pipeline,
    save,
)

from deocclude.data.contract import compose, hide
from deocclude.engines.ensemble.opening import open_inpainter, weights_identity
from deocclude.engines.graphs.asking import OnnxInpainter, open_network
from deocclude.engines.graphs.description import read_description
from deocclude.engines.graphs.packages import OnnxError
from deocclude.engines.inference.networks import read_inpainter

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

FLOAT = 1  # onnx.TensorProto.FLOAT
every = pytest.mark.parametrize("name", MAKERS)


def pair(count: int = 3, height: int = 96, width: int = 80):
    """Smooth pictures, and a hole with straight edges."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 4, 4, generator=generator)
    picture = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    mask = torch.zeros(count, 1, height, width)
    mask[..., 20:60, 30:50] = 1
    return picture, mask


def inside(prediction: torch.Tensor, margin: int = 4) -> torch.Tensor:
    """The hole's pixels, its edge left out: (N, 3, ...)."""
    return prediction[..., 20 + margin : 60 - margin, 30 + margin : 50 - margin]


@every
def test_the_colour_is_drawn_in_the_hole_and_the_picture_around(name, tmp_path):
    network, _ = open_inpainter(MAKERS[name](tmp_path / "x.onnx"))
    picture, mask = pair()
    prediction = network(hide(picture, mask), mask)
    assert prediction.shape == picture.shape
    expected = torch.tensor(COLOUR).view(1, 3, 1, 1).expand_as(inside(prediction))
    torch.testing.assert_close(inside(prediction), expected, atol=1 / 255, rtol=0)
    far = torch.ones_like(mask)
    far[..., 12:68, 22:58] = 0
    apart = ((prediction - picture) * far).abs().max()
    assert apart < (0.02 if network.sides[0] else 1 / 255)  # resized there and back, or not


@every
def test_the_hole_is_hidden_however_the_caller_fills_it(name, tmp_path):
    network, _ = open_inpainter(MAKERS[name](tmp_path / "x.onnx"))
    picture, mask = pair(1)
    answers = [network(hide(picture, mask, fill), mask) for fill in (0.0, 1.0)]
    composed = [inside(compose(each, picture, mask)) for each in answers]
    torch.testing.assert_close(composed[0], composed[1], atol=1e-5, rtol=0)


def test_a_file_for_one_picture_is_asked_one_by_one(tmp_path):
    network = OnnxInpainter(lama(tmp_path / "x.onnx", 64, batch=1))
    assert network.batch == 1
    picture, mask = pair(3, 64, 64)
    whole = network(picture, mask)
    parts = [network(picture[i : i + 1], mask[i : i + 1]) for i in range(3)]
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole[0], whole[1])


def test_blue_first_and_channels_last(tmp_path):
    """Told of both, a network that draws its input's first channel is seen to draw blue."""
    nodes = [
        ("Gather", ["image", "first"], "plane", {"axis": 3}),
        ("Sub", ["image", "image"], "black"),
        ("Add", ["black", "plane"], "output"),
    ]
    path = save(
        tmp_path / "x.onnx",
        {"image": (FLOAT, ["n", "h", "w", 3]), "mask": (FLOAT, ["n", "h", "w", 1])},
        {"output": (FLOAT, ["n", "h", "w", 3])},
        nodes,
        {"first": np.array([0])},
    )
    path.with_suffix(".yaml").write_text(
        "layout: NHWC\ninputs:\n  image: {kind: picture, order: BGR}\n  mask: {kind: mask}\n"
        "output: {order: BGR}\n"
    )
    picture, mask = pair(2)
    found = OnnxInpainter(path)(picture, mask)
    torch.testing.assert_close(found, picture[:, 2:].expand_as(picture))


def test_networks_take_size_fill_and_template_from_it_and_the_cpu(tmp_path):
    path = lama(tmp_path / "x.onnx")
    text = LAMA + "fill: 0.25\ntemplate: utkface\nhides: false\n"
    path.with_suffix(".yaml").write_text(text)
    inpainter = read_inpainter(path, "auto")
    assert (inpainter.size, inpainter.fill, inpainter.template) == (512, 0.25, "utkface")
    assert inpainter.hides is False
    assert inpainter.device == torch.device("cpu")


def test_its_parameters_are_those_of_its_initialisers(tmp_path):
    assert OnnxInpainter(lama(tmp_path / "x.onnx", 64)).parameter_count == 1 + 1 + 3
    assert OnnxInpainter(generator(tmp_path / "y.onnx", 64)).parameter_count == 1 + 3


def test_the_digest_is_of_the_file_and_of_the_yaml(tmp_path):
    path = lama(tmp_path / "x.onnx", 64)
    first = weights_identity(path)
    path.with_suffix(".yaml").write_text(LAMA + "fill: 0.5\n")
    second = weights_identity(path)
    lama(tmp_path / "x.onnx", 96)
    path.with_suffix(".yaml").write_text(LAMA + "fill: 0.5\n")
    assert len({first, second, weights_identity(path)}) == 3


def test_tensors_in_a_file_of_their_own_count(tmp_path):
    path = lama(tmp_path / "x.onnx", 64)
    model = onnx.load(path)
    options = {"save_as_external_data": True, "location": "x.data", "size_threshold": 0}
    onnx.save(model, path, **options)
    picture, mask = pair(1, 64, 64)
    inner = inside(OnnxInpainter(path)(picture, mask))
    assert inner[0, 2].mean() == pytest.approx(COLOUR[2], abs=1e-3)
    before = weights_identity(path)
    (tmp_path / "x.data").write_bytes((tmp_path / "x.data").read_bytes()[::-1])
    assert weights_identity(path) != before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAMA.replace("image:", "picture:"), "has the inputs image, mask; described are picture"),
        (LAMA.replace("name: output", "name: restored"), "no output 'restored'; valid: output"),
        (
            LAMA.replace("{kind: mask, known: 0, hole: 1}", "[{kind: mask}, {kind: picture}]"),
            "input mask has 1 channels; described are 4 (mask, picture)",
        ),
    ],
)
def test_what_does_not_fit_the_file_is_named(text, said, tmp_path):
    path = lama(tmp_path / "x.onnx", 64)
    path.with_suffix(".yaml").write_text(text)
    with pytest.raises(OnnxError) as error:
        OnnxInpainter(path)
    assert said in str(error.value)


def test_an_operator_that_nobody_knows_is_named(tmp_path):
    path = lama(tmp_path / "x.onnx", 64)
    model = onnx.load(path)
    model.graph.node[0].op_type = "Conjure"
    onnx.save(model, path)
    with pytest.raises(OnnxError, match=r"ONNX Runtime cannot run it: .*Conjure"):
        OnnxInpainter(path)


def test_a_fixed_batch_above_one_is_refused(tmp_path):
    with pytest.raises(OnnxError, match="batches of 4 alone"):
        OnnxInpainter(lama(tmp_path / "x.onnx", 64, batch=4))


def test_a_wrong_output_shape_is_refused(tmp_path):
    path = save(
        tmp_path / "x.onnx",
        {"image": (FLOAT, ["n", 3, "h", "w"]), "mask": (FLOAT, ["n", 1, "h", "w"])},
        {"output": (FLOAT, ["n", 1, "h", "w"])},
        [("Add", ["mask", "mask"], "output")],
        {},
    )
    path.with_suffix(".yaml").write_text(LAMA)
    with pytest.raises(OnnxError, match=r"answered with shape \(1, 1, 64, 64\)"):
        OnnxInpainter(path)(*pair(1, 64, 64))


def test_an_inpainter_is_no_segmenter(tmp_path):
    with pytest.raises(OnnxError, match="for inpainting, one for segmentation is needed"):
        open_network(pipeline(tmp_path / "x.onnx"), "segmentation")


def test_a_segmenter_takes_no_mask(tmp_path):
    path = pipeline(tmp_path / "x.onnx")
    text = path.with_suffix(".yaml").read_text()
    path.with_suffix(".yaml").write_text(text + "task: segmentation\n")
    with pytest.raises(OnnxError, match="input mask is a mask, which only inpainters take"):
        open_network(path, "segmentation")


def test_half_a_file_is_no_onnx_file(tmp_path):
    path = generator(tmp_path / "x.onnx", 64)
    path.with_suffix(".yaml").unlink()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(OnnxError, match="is no ONNX file, or only a part"):
        read_description(path)


def test_the_page_has_these_three_interfaces():
    page = Path(__file__).resolve().parents[3] / "docs" / "onnx.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    shown = [yaml.safe_load(block) for block in blocks]
    for text in (LAMA, PIPELINE, GENERATOR):
        known = yaml.safe_load(text)
        assert any(known | {"size": each.get("size")} == each for each in shown)
