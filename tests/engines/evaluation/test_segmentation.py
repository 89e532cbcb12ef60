"""`evaluate.py segmentation` and `evaluate.py end-to-end` from run folders to their tables."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.files import folder_faces
from deocclude.data.faces.splits import save_split, split_faces
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.set_writer import write_set
from deocclude.data.occluders.sets import open_set
from deocclude.data.pairs.occluded import freeze_set
from deocclude.data.settings import Data, SegmentationData
from deocclude.engines.cli import evaluate
from deocclude.engines.cli.summary import summarise_run
from deocclude.engines.evaluation import overlap
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.training.run import Outcome

SIZE = 32

NETWORKS = {"inpainting": "ifacenet", "segmentation": "soclnet"}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A finished run `Alpha` that inpaints, `Small` at another size, `UNet` that segments."""

    def make(name, task, data, size=SIZE):
        folder = tmp_path / "runs" / name / "001"
        folder.mkdir(parents=True)
        config = {"name": name, "task": task, "model": {"name": NETWORKS[task]}}
        drawn = data(faces="builtin", builtin_images=40, size=size)
        config["data"] = drawn.model_dump(mode="json")
        if data is Data:
            config["data"] |= {"masks": "builtin", "test_per_bin": 1}
        else:
            config["data"] |= {"occluders": "drawn", "test_per_kind": 1}
        metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
        value = {"value": torch.tensor([float(len(name))])}
        save_file(value, folder / "best.safetensors", metadata)
        facts = json.dumps({"reason": "epochs", "images": 1234, "minutes": 5.0})
        (folder / "finished.json").write_text(facts)

    make("Alpha", "inpainting", Data)
    make("Small", "inpainting", Data, size=48)
    make("UNet", "segmentation", SegmentationData)

    class Grey(torch.nn.Module):
        def forward(self, occluded, mask=None, features=None):
            grey = torch.full_like(occluded, 0.5)
            return grey if mask is not None else grey[:, :1] - occluded.mean(1, keepdim=True)

    def load(path, device="cpu"):
        return Grey(), {"config": {"data": {"size": SIZE, "fill": 1.0}}}

    monkeypatch.setattr("deocclude.engines.runs.weights.load_inpainter", load)
    monkeypatch.setattr("deocclude.engines.runs.weights.load_segmenter", load)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    return tmp_path / "runs"


def run_evaluate(runs, *arguments):
    return evaluate.main([*arguments, "--runs-folder", str(runs), "--device", "cpu"])


def test_evaluate_segmentation_takes_segmenters_only(runs, capsys):
    assert run_evaluate(runs, "segmentation") == 0
    text = capsys.readouterr().out
    table = text.split("## ")[1]
    assert [line.split("|")[1].strip() for line in table.splitlines() if "|" in line][2:] == [
        "UNet", "Nothing marked", "Everything marked",
    ]  # fmt: skip
    assert "Drawn occluders: 20 images" in text
    folder = next((runs / "evaluation").iterdir())
    assert (folder / "figures" / "kinds.png").is_file()


def test_evaluate_alone_takes_inpainters_only(runs, capsys):
    fixed = ["--lpips", "off", "--baselines", "occluded"]
    assert run_evaluate(runs, *fixed) == 0
    assert "UNet" not in capsys.readouterr().out
    assert run_evaluate(runs, "--runs", "UNet", *fixed) == 1
    assert "`python evaluate.py segmentation` measures segmenters" in capsys.readouterr().err
    assert run_evaluate(runs, "segmentation", "--runs", "Alpha") == 1
    assert "was trained for inpainting" in capsys.readouterr().err


def test_evaluate_end_to_end_combines_what_fits(runs, capsys):
    assert run_evaluate(runs, "end-to-end", "--limit", "6", "--dilate", "0", "2") == 0
    text = capsys.readouterr().out
    assert "Alpha, mask of UNet" in text
    for name in ("Telea", "Probabilistic PCA"):
        assert f"| {name}, true mask" in text
        assert f"| {name}, mask of UNet" in text
    assert "of 40 training faces and their mirror images" in text
    assert "2 px (6.2%)" in text
    assert "Small is left out: trained at 48 px, these pairs have 32." in text
    less = ["--baselines", "telea"]
    assert run_evaluate(runs, "end-to-end", "--limit", "6", "--dilate", "0", *less) == 0
    assert "Probabilistic" not in capsys.readouterr().out
    assert run_evaluate(runs, "end-to-end", "--baselines", "cubic") == 1
    assert "unknown baseline 'cubic'" in capsys.readouterr().err
    assert run_evaluate(runs, "end-to-end", "--runs", "Small", "--limit", "6") == 1
    assert "no inpainter fits a segmenter: Small is left out" in capsys.readouterr().err


def test_a_segmenter_looks_at_its_own_size_whatever_the_pairs_have(runs, capsys, monkeypatch):
    sides = []
    probability = Segmenter.probability

    def seen(self, pictures):
        sides.append((pictures.shape[-1], self.size))
        return probability(self, pictures)

    monkeypatch.setattr(Segmenter, "probability", seen)
    small = ["end-to-end", "--runs", "Small", "--limit", "6", "--dilate", "0", "--size", "48"]
    assert run_evaluate(runs, *small) == 0
    text = capsys.readouterr().out
    assert "at 48 px" in text
    assert "UNet looks at 32 px: pictures are resized to that" in text
    assert set(sides) == {(48, 32)}


def test_no_segmenter_says_which_command_makes_one(tmp_path, runs, capsys):
    for command in ("segmentation", "end-to-end"):
        assert run_evaluate(tmp_path / "none", command) == 1
        assert "python train_segmentation.py SOCLNET" in capsys.readouterr().err
    weights = runs / "UNet" / "001" / "best.safetensors"
    given = ["end-to-end", "--checkpoint", str(weights)]
    assert run_evaluate(tmp_path / "none", *given) == 1
    assert "python train_inpainting.py Reconstruction" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["end-to-end", "--dilate", "-1"], "argument --dilate: must be at least 0"),
        (["segmentation", "--dilate", "3"], "unrecognized arguments: --dilate 3"),
        (["segmentation", "--limit", "0"], "argument --limit: must be at least 1"),
        (["end-to-end", "--runs", "a", "--suite", "s.yaml"], "not both"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(runs, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_an_inpainter_that_saw_a_face_is_left_out(runs, tmp_path):
    names = ["1.png", "2.png", "1.png"]
    pairs = SimpleNamespace(size=SIZE, pairs=[SimpleNamespace(image=name) for name in names])
    weights = runs / "Alpha" / "001" / "best.safetensors"
    split = {"rule": "of the run", "train": ["x.png"], "val": ["1.png"], "test": []}
    (weights.parent / "split.json").write_text(json.dumps(split))
    trained = finished.read_trained(weights)
    own = trained.data.model_copy(update={"faces": str(tmp_path)})
    trained = dataclasses.replace(trained, data=own)
    group = runs_pairs.Group(pairs, [], tmp_path)
    fit, remarks = overlap.fitting_inpainters([trained], group)
    assert fit == []
    assert "2 of these pairs show faces of its training" in remarks[0]
    unseen = SimpleNamespace(size=SIZE, pairs=[SimpleNamespace(image="3.png")])
    group = runs_pairs.Group(unseen, [], tmp_path)
    assert overlap.fitting_inpainters([trained], group) == ([trained], [])


def test_a_report_says_where_nobody_can_tell_what_an_inpainter_saw(runs, tmp_path):
    pairs = SimpleNamespace(size=SIZE, pairs=[SimpleNamespace(image="1.png")])
    alpha = finished.read_trained(runs / "Alpha" / "001" / "best.safetensors")
    trained = dataclasses.replace(
        alpha, data=alpha.data.model_copy(update={"faces": str(tmp_path)})
    )
    group = runs_pairs.Group(pairs, [], tmp_path)
    fit, remarks = overlap.fitting_inpainters([trained], group)
    assert fit == [trained]
    assert "apart from its run's split.json" in remarks[0]
    split = {"rule": "of the run", "train": ["x.png"], "val": [], "test": ["1.png"]}
    (trained.checkpoint.parent / "split.json").write_text(json.dumps(split))
    assert overlap.fitting_inpainters([trained], group) == ([trained], [])
    elsewhere = runs_pairs.Group(pairs, [], tmp_path / "set")
    fit, remarks = overlap.fitting_inpainters([trained], elsewhere)
    assert fit == [trained]
    assert "from another folder than its own faces" in remarks[0]
    builtin = runs_pairs.Group(pairs, [], None)
    assert overlap.fitting_inpainters([alpha], builtin) == ([alpha], [])
    pairs.pairs[0].image = "builtin/train/000001"
    assert "built-in faces" in overlap.fitting_inpainters([alpha], elsewhere)[1][0]


def test_faces_of_a_set_are_known_by_what_they_show(runs, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(render_face(index, 40)).save(folder / f"{index}.png")
    split = split_faces(folder, 42)
    shown = split.files["train"][:4] + split.files["test"][:1]
    occluders = Occluders(SIZE, None, "drawn")
    write_set(folder_faces(shown, folder, SIZE), occluders, tmp_path / "set", 2)
    made = open_set(tmp_path / "set")
    pairs = freeze_set(made, range(len(made)), SIZE, "a set")
    alpha = finished.read_trained(runs / "Alpha" / "001" / "best.safetensors")
    save_split(split, folder, alpha.checkpoint.parent / "split.json")
    trained = dataclasses.replace(alpha, data=alpha.data.model_copy(update={"faces": str(folder)}))
    group = runs_pairs.Group(pairs, [], tmp_path / "set")
    fit, remarks = overlap.fitting_inpainters([trained], group)
    assert fit == []
    assert "8 of these pairs show faces of its training" in remarks[0]


def test_an_inpainter_of_faces_that_lie_otherwise_is_left_out(runs, tmp_path):
    pairs = SimpleNamespace(size=SIZE, pairs=[SimpleNamespace(image="1.png")])
    alpha = finished.read_trained(runs / "Alpha" / "001" / "best.safetensors")
    group = runs_pairs.Group(pairs, [], tmp_path, "celeba")
    fit, remarks = overlap.fitting_inpainters([alpha], group)
    assert fit == []
    assert "trained on faces aligned as ffhq, these are aligned as celeba" in remarks[0]
    told = {**alpha.config, "data": {**alpha.config["data"], "template": "celeba"}}
    other = dataclasses.replace(alpha, config=told)
    assert overlap.fitting_inpainters([other], group)[0] == [other]


def test_other_faces_are_measured_as_they_lie(runs, tmp_path):
    for name, shape in (("wide", (64, 64)), ("tall", (89, 109))):
        folder = tmp_path / name / "faces"
        folder.mkdir(parents=True)
        for index in range(8):
            Image.fromarray(render_face(index, 128)).resize(shape).save(folder / f"{index}.png")
    trained = finished.read_trained(runs / "UNet" / "001" / "best.safetensors")
    own = str(tmp_path / "tall" / "faces")
    config = {**trained.config, "data": {**trained.config["data"], "faces": "faces"}}
    data = trained.data.model_copy(update={"faces": own, "template": "celeba", "test_per_kind": 1})
    trained = dataclasses.replace(trained, config=config, data=data)
    found = {}
    for name in ("wide", "tall"):
        (group,) = runs_pairs.group_by_occluded([trained], tmp_path / name)
        found[name] = group.template
    assert found == {"wide": "ffhq", "tall": "celeba"}


def test_a_finished_segmenter_is_summed_up_in_its_own_folder(runs):
    folder = RunFolder(runs / "UNet" / "001")
    text = summarise_run(Outcome(folder, "epochs", 5, 40, 0.1, True), runs, "cpu")
    assert "Δ IoU to UNet" in text
    assert str(folder.path / "evaluation" / "figures" / "masks.png") in text
    assert text.endswith("python evaluate.py segmentation")
    assert not (folder.path / "evaluation" / "rows").exists()
