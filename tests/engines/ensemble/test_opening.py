"""Ensembles in files: YAML, pointing and packed weights files, what is checked, who takes them."""

import json
import shutil
import weakref

import numpy as np
import pytest
import torch
import yaml
from ensemble_stubs import SIZE, Conditioned, holes, write_member, write_members
from photo_stubs import Detector, call
from PIL import Image
from safetensors import safe_open

from deocclude import models
from deocclude.data.files import sha256
from deocclude.engines.cli import evaluate, photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.ensemble import opening
from deocclude.engines.ensemble.opening import (
    attach_members,
    open_inpainter,
    pack,
    weights_identity,
)
from deocclude.engines.inference.cost import model_parameters
from deocclude.engines.inference.networks import read_inpainter
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.recipes import (
    ensemble_config,
    home_of,
    members_of,
    pointer_records,
    read_recipe,
    write_recipe,
)
from deocclude.engines.runs.weights import load_inpainter, save_release
from deocclude.models.blocks import count_parameters
from deocclude.models.ensemble import Ensemble


def recipe(folder, files, combination="mean", weights=None, keep="memory"):
    path = folder / "ensembles" / "best.yaml"
    write_recipe(path, members_of(files), "best", combination, weights, keep)
    return path


def gate_run(root, files):
    """A weights file of a gate that is no longer the plain mean, pointing to its members."""
    members = members_of(files)
    torch.manual_seed(7)
    network = Ensemble([m.label for m in members], "gate", width=4)
    torch.nn.init.normal_(network.gate.head.weight)
    config = ensemble_config("gate", "gate", network.members, members[0].config["data"])
    config["model"]["width"] = 4
    path = root / "gate" / "001" / "best.safetensors"
    path.parent.mkdir(parents=True)
    records = pointer_records(members, path.parent)
    save_release(path, network, {"config": config, "contract": {}, "members": records})
    return path


def answers(path, **options):
    network, _ = open_inpainter(path, **options)
    with torch.no_grad():
        return network(*holes())


def test_a_yaml_file_opens_as_the_combination_it_states(tmp_path):
    files = write_members(tmp_path / "runs", "ab")
    path = recipe(tmp_path / "runs", files, "weights", [0.25, 0.75])
    network, metadata = open_inpainter(path)
    occluded, mask = holes()
    alone = [load_inpainter(file)[0](occluded, mask) for file in files]
    torch.testing.assert_close(network(occluded, mask), 0.25 * alone[0] + 0.75 * alone[1])
    assert not network.training
    assert metadata["config"]["data"]["size"] == SIZE
    assert metadata["config"]["name"] == "best"
    assert network.members == ("a", "b")
    assert model_parameters(network) == sum(
        count_parameters(load_inpainter(file)[0]) for file in files
    )


def test_a_yaml_by_hand_needs_no_digests(tmp_path):
    write_members(tmp_path, "ab")
    path = tmp_path / "hand.yml"
    members = [{"weights": f"{name}/001/best.safetensors"} for name in "ab"]
    path.write_text(yaml.safe_dump({"members": members}))
    network, metadata = open_inpainter(path)
    assert network.combination == "mean"
    assert metadata["config"]["name"] == "hand"


def test_members_are_told_relative_to_the_file(tmp_path):
    path = recipe(tmp_path / "runs", write_members(tmp_path / "runs", "ab"))
    first = yaml.safe_load(path.read_text())["members"][0]
    assert first["weights"] == "../a/001/best.safetensors"
    before = answers(path)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert torch.equal(answers(tmp_path / "moved" / "ensembles" / "best.yaml"), before)


def test_any_other_weights_file_opens_as_before(tmp_path):
    file = write_member(tmp_path, "a")
    network, metadata = open_inpainter(file)
    assert type(network).__name__ == "Occlufix"
    assert metadata["config"]["name"] == "a"
    assert weights_identity(file) == sha256(file)


def test_a_gate_opens_with_the_members_it_points_to(tmp_path):
    files = write_members(tmp_path, "ab")
    path = gate_run(tmp_path, files)
    occluded, mask = holes()
    plain = torch.stack([load_inpainter(file)[0](occluded, mask) for file in files]).mean(0)
    answer = answers(path)
    assert answer.shape == plain.shape
    assert not torch.allclose(answer, plain, atol=1e-4)
    (files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=r"member 2 of .*best.safetensors.*b.001"):
        open_inpainter(path)


@pytest.mark.parametrize("form", ["weights", "bins", "gate", "median"])
def test_a_packed_ensemble_needs_no_other_file(tmp_path, form):
    files = write_members(tmp_path / "runs", "ab", fill=0.5)
    given = {"weights": [0.3, 0.7], "bins": [[0.1, 0.9]] * 3 + [[1.0, 0.0]] * 3}.get(form)
    source = (
        gate_run(tmp_path / "runs", files)
        if form == "gate"
        else recipe(tmp_path / "runs", files, form, given)
    )
    before = answers(source)
    packed = pack(source, tmp_path / "packed.safetensors")
    shutil.rmtree(tmp_path / "runs")
    torch.testing.assert_close(answers(packed), before)
    assert read_trained(packed).data.size == SIZE
    with pytest.raises(ValueError, match="points to no members"):
        pack(packed, tmp_path / "again.safetensors")


def test_a_member_with_features_is_packed_with_them_and_without_paths(tmp_path, monkeypatch):
    monkeypatch.setitem(models.INPAINTERS, "conditioned", Conditioned)
    conditioned = write_member(tmp_path, "b", model={"name": "conditioned"})
    files = [write_member(tmp_path, "a"), conditioned]
    source = recipe(tmp_path, files)
    before = answers(source)
    packed = pack(source, tmp_path / "out" / "packed.safetensors")
    with safe_open(packed, framework="pt") as file:
        assert "/somewhere" not in json.dumps(file.metadata())
        assert str(tmp_path) not in json.dumps(file.metadata())
    torch.testing.assert_close(answers(packed), before)


def test_packing_never_replaces_a_file_of_the_ensemble(tmp_path):
    files = write_members(tmp_path, "ab")
    with pytest.raises(ValueError, match="choose another name"):
        pack(recipe(tmp_path, files), files[0])
    with pytest.raises(ValueError, match=r"is a \.safetensors file"):
        pack(recipe(tmp_path, files), tmp_path / "packed.yaml")


def test_on_disk_one_member_at_a_time_is_in_memory(tmp_path, monkeypatch):
    files = write_members(tmp_path)
    in_memory = answers(recipe(tmp_path, files, "median"))
    alive, most = weakref.WeakSet(), []
    real = opening.open_member

    def watched(member, device):
        found = real(member, device)
        alive.add(found)
        most.append(len(alive))
        return found

    monkeypatch.setattr(opening, "open_member", watched)
    on_disk = answers(recipe(tmp_path, files, "median", keep="disk"))
    assert torch.equal(on_disk, in_memory)
    assert most == [1, 1, 1]
    network, _ = open_inpainter(recipe(tmp_path, files), keep="disk")
    parameters = sum(count_parameters(load_inpainter(file)[0]) for file in files)
    assert network.member_parameters() == parameters


def test_what_an_ensemble_refuses_names_the_member(tmp_path):
    files = write_members(tmp_path, "ab")
    other = {
        "size": write_member(tmp_path, "large", 5, size=48),
        "template": write_member(tmp_path, "celeba", 6, template="celeba"),
        "masks": write_member(tmp_path, "blind", 7, hidden_by="occluders"),
    }
    words = {
        "size": r"member 3.*large.*data\.size=48, member 1 \(a\) with 32",
        "template": r"member 3.*celeba.*data\.template=celeba.*with ffhq",
        "masks": r"member 3.*blind.*under occluders.*hidden_by=masks",
    }
    for key, file in other.items():
        with pytest.raises(ValueError, match=words[key]):
            members_of([*files, file])
    with pytest.raises(ValueError, match="trained for segmentation"):
        members_of([*files, write_member(tmp_path, "masks", 8, task="segmentation")])
    with pytest.raises(FileNotFoundError, match=r"member 3: .*gone\.safetensors is not there"):
        members_of([*files, tmp_path / "gone.safetensors"])
    with pytest.raises(ValueError, match="two or more, found 1"):
        members_of(files[:1])


def test_no_member_comes_twice_but_two_runs_of_a_name_may(tmp_path):
    files = write_members(tmp_path, "ab")
    with pytest.raises(ValueError, match=r"member 3.*same weights as an earlier one"):
        members_of([*files, files[0]])
    again = write_member(tmp_path, "a", 9, number="002")
    assert [m.label for m in members_of([*files, again])] == ["a/001", "b", "a/002"]


def test_an_ensemble_is_no_member(tmp_path):
    files = write_members(tmp_path, "abc")
    nested = recipe(tmp_path, files[:2])
    for inner in (nested, gate_run(tmp_path, files[:2])):
        with pytest.raises(ValueError, match="is an ensemble; name its members instead"):
            members_of([files[2], inner])


def test_a_member_that_was_trained_anew_is_an_error(tmp_path):
    files = write_members(tmp_path, "ab")
    path = recipe(tmp_path, files)
    known = weights_identity(path)
    write_member(tmp_path, "b", seed=11)
    with pytest.raises(ValueError, match=r"member 2 of .*b.001.*recorded is"):
        open_inpainter(path)
    assert weights_identity(path) != known
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match="member 2 of"):
        weights_identity(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wieghts": [1, 0]}, "'wieghts' is no key"),
        ({"members": []}, "must be a list"),
        ({"members": ["a.safetensors"]}, "a member must be {weights: FILE"),
        ({"members": [{"weights": "a.safetensors", "sha265": "12"}]}, "a member must be"),
        ({"members": [{"weights": "a.safetensors", "sha256": 12}]}, "a member must be"),
        ({"combination": "gate"}, "a gate lives in its own run"),
        ({"combination": "sum"}, "'sum' is not one of mean"),
        ({"combination": "weights"}, "needs its weights"),
        ({"keep": "cloud"}, "'cloud' is not one of memory, disk"),
        (
            {"combination": "weights", "weights": [0.5, 0.6]},
            "weights: must be 0 or more",
        ),
        ({"combination": "weights", "weights": [1]}, r"weights: shape must be \(2,\)"),
        ({"weights": [0.5, 0.5]}, "not for 'mean'"),
    ],
)
def test_a_wrong_yaml_names_the_file_and_what_is_valid(tmp_path, change, words):
    path = recipe(tmp_path, write_members(tmp_path, "ab"))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ValueError, match=words) as raised:
        open_inpainter(path)
    assert "best.yaml" in str(raised.value)


def test_other_files_than_ensembles_say_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such ensemble file"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("members: [")
    with pytest.raises(ValueError, match="not valid YAML"):
        open_inpainter(tmp_path / "broken.yaml")
    lost = tmp_path / "lost.safetensors"
    config = ensemble_config("lost", "mean", ["a", "b"], {"size": SIZE, "fill": 1.0})
    save_release(lost, Ensemble(["a", "b"], "weights"), {"config": config | {"model": {
        "name": "ensemble", "members": ["a", "b"], "combination": "weights"}}})  # fmt: skip
    with pytest.raises(ValueError, match="neither holds nor names its members"):
        open_inpainter(lost)


def test_the_faces_and_the_split_are_the_first_members(tmp_path):
    files = write_members(tmp_path, "ab")
    path, gate = recipe(tmp_path, files), gate_run(tmp_path, files)
    assert home_of(path) == home_of(gate) == files[0].parent
    (gate.parent / "environment.json").write_text("[]")
    assert home_of(gate) == gate.parent
    assert read_trained(path).split == files[0].parent / "split.json"
    trained = read_trained(path)
    assert (trained.name, trained.task, trained.training) == ("best", "inpainting", None)
    assert trained.data.validation_pairs == 12


def test_members_of_different_splits_are_not_compared(tmp_path):
    files = write_members(tmp_path, "ab")
    for file, text in zip(files, ("{}", '{"rule": "other"}'), strict=True):
        (file.parent / "split.json").write_text(text)
    with pytest.raises(ValueError, match=r"best\.yaml: .*different splits"):
        read_trained(recipe(tmp_path, files))


def test_a_gate_is_given_its_members(tmp_path):
    ensemble = Ensemble(["one", "two"], "gate", width=4)
    members = members_of(write_members(tmp_path, "ab"))
    attach_members(ensemble, members)
    assert [member.sha256 for member in members] == [sha256(member.path) for member in members]
    assert [member.name for member in ensemble.attached] == ["a", "b"]
    with pytest.raises(ValueError, match="3 networks for 2 members"):
        attach_members(ensemble, members_of(write_members(tmp_path, "cde")))


def test_evaluate_takes_an_ensemble_as_a_row(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    runs = tmp_path / "runs"
    files = write_members(runs, "ab", test_per_bin=2)
    path = recipe(runs, files, "weights", [0.5, 0.5], keep="disk")
    fixed = ["--lpips", "off", "--workers", "0", "--device", "cpu", "--baselines", "none"]
    chosen = ["--runs", "a", "b", "--checkpoint", str(path), "--runs-folder", str(runs)]
    assert evaluate.main([*chosen, *fixed]) == 0
    text = capsys.readouterr().out
    assert text.count("| best") >= 3
    assert len(list((runs / "evaluation").iterdir())) == 1  # one set of pairs for all of them


def test_deocclude_takes_an_ensemble(tmp_path, monkeypatch, capsys):
    path = recipe(tmp_path, write_members(tmp_path, "ab"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photos, "FaceDetector", lambda *_, **__: Detector())
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:20, 15:30] = 255
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(mask).save("mask.png")
    words = ["photo.png", "--mask", "mask.png", "-o", "out.png", "--device", "cpu"]
    code, text = call(restore_command.main, capsys, *words, "--checkpoint", str(path))
    assert code == 0, text
    restored = np.asarray(Image.open("out.png"))
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    assert (restored[mask > 0] != photo[mask > 0]).any()
    (tmp_path / "b" / "001" / "best.safetensors").unlink()
    code, text = call(
        restore_command.main, capsys, *words, "--overwrite", "--checkpoint", str(path)
    )
    assert code == 1
    assert "member 2 of" in text


def test_photos_are_restored_by_an_ensemble(tmp_path):
    path = recipe(tmp_path, write_members(tmp_path, "ab", fill=0.0))
    inpainter = read_inpainter(path, "cpu")
    assert (inpainter.size, inpainter.fill, inpainter.template) == (SIZE, 0.0, "ffhq")
    occluded, mask = holes()
    prediction = inpainter.restore(occluded, mask)
    torch.testing.assert_close(prediction, answers(path))
