"""The YAML beside an ONNX file, and what is said of a wrong one."""

import json

import pytest
from onnx_stubs import GENERATOR, LAMA, lama

from deocclude.engines.graphs.description import KEY, config_of, read_description
from deocclude.engines.graphs.packages import OnnxError

onnx = pytest.importorskip("onnx")


def described(text: str, folder):
    path = lama(folder / "x.onnx", 64)
    path.with_suffix(".yaml").write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAMA + "sise: 64\n", "unknown key 'sise'; valid are task, name, inputs,"),
        (LAMA + "sise: 64\n", "did you mean size?"),
        (LAMA.replace("range: [0, 1]", "rang: [0, 1]"), "valid are kind, range, hole, order"),
        (LAMA.replace("kind: mask", "kind: hole"), "needs kind: picture or kind: mask"),
        (LAMA.replace("[0, 1]", "[1, 1]"), "must be two different numbers"),
        (LAMA.replace("[0, 255]", "[0]"), "output.range"),
        (LAMA.replace("512", "8"), "size = 8"),
        (LAMA + "layout: CHWN\n", "'NCHW' or 'NHWC'"),
        (LAMA + "template: mine\n", "is not one of ffhq"),
        (LAMA + "fill: 3\n", "fill = 3"),
        ("size: 64\n", "'inputs' is missing"),
        ("inputs: {image: []}\n", "inputs.image"),
    ],
)
def test_a_wrong_yaml_names_file_key_and_what_is_valid(text, said, tmp_path):
    path = described(text, tmp_path)
    with pytest.raises(OnnxError) as error:
        read_description(path)
    assert said in str(error.value)
    assert "x.yaml" in str(error.value)


def test_several_things_in_one_input_are_a_list_in_their_order(tmp_path):
    told = read_description(described(GENERATOR, tmp_path))
    assert [part.kind for part in told.inputs["input"]] == ["mask", "picture"]


def test_the_yaml_comes_before_the_metadata_which_do_without_it(tmp_path):
    path = described(LAMA, tmp_path)
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps({"inputs": {"i": {"kind": "picture"}}, "size": 99})
    onnx.save(model, path)
    assert read_description(path).size == 512
    path.with_suffix(".yaml").unlink()
    assert read_description(path).size == 99


def test_without_either_it_is_said_what_is_missing(tmp_path):
    path = described(LAMA, tmp_path)
    path.with_suffix(".yaml").unlink()
    with pytest.raises(OnnxError, match=r"does not say how it is asked; x\.yaml beside it can"):
        read_description(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.onnx: no such ONNX file"):
        read_description(tmp_path / "no.onnx")


def test_its_configuration_goes_by_the_files_name(tmp_path):
    config = config_of(described(LAMA + "hides: false\n", tmp_path))
    assert (config["name"], config["task"], config["data"]["size"]) == ("x", "inpainting", 512)
    assert config["data"]["hidden_by"] == "occluders"
