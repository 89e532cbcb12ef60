"""Identity runs: the same engine as the other tasks, its own step, data, scores and tables."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from deocclude.data.builtin.faces import render_person
from deocclude.data.faces.identities import identity_of
from deocclude.data.sources.people import open_identity_sources
from deocclude.engines.cli import evaluate
from deocclude.engines.cli.train import list_runs, parse_arguments
from deocclude.engines.evaluation.compare import compare
from deocclude.engines.evaluation.identity import IDENTITIES
from deocclude.engines.inference.networks import Embedder
from deocclude.engines.measures.identity import name_swapped
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.metadata import CheckpointError
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.tasks import TASKS, open_any_sources
from deocclude.engines.runs.weights import load_checkpoint, load_identity_network, load_inpainter
from deocclude.engines.training import fit as fit_module
from deocclude.engines.training.identity import build_identity_trainer
from deocclude.engines.training.run import dry_run, train
from deocclude.engines.training.trainer import NonFiniteLossError

TINY = [
    "data.size=32",
    "data.builtin_people=3",
    "data.builtin_images=12",
    "data.validation_per_kind=1",
    "data.test_per_kind=2",
    "data.workers=0",
    "model.pretrained=false",
    "training.epochs=2",
    "training.epoch_images=12",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.log_steps=1",
]


def tiny(*overrides: str):
    return load_config("EfficientNetB0", "quick", [*TINY, *overrides], "identity")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def whole(runs):
    """An uninterrupted run of two epochs of three steps."""
    return train(tiny(), None, runs, device="cpu")


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Three people with ten pictures each, in a folder."""
    folder = tmp_path_factory.mktemp("people")
    for person in range(3):
        (folder / f"{person + 7}").mkdir()
        for picture in range(10):
            face = Image.fromarray(render_person(person, picture, 48))
            face.save(folder / f"{person + 7}" / f"{picture}.png")
    return folder


def make_trainer(*overrides: str):
    config = tiny(*overrides)
    sources = open_identity_sources(config.data, None)
    config = config.model_copy(update={"data": sources.data})
    trainer = build_identity_trainer(config, start_runtime("no", "cpu", 0), 12)
    pairs = sources.training_pairs(0, Path())
    return trainer, sources, pairs.collate([pairs[i] for i in range(8)])


def test_a_run_leaves_everything_behind(whole):
    path = whole.folder.path
    assert (whole.reason, whole.steps, whole.images) == ("epochs", 6, 24)
    for name in ("config.yaml", "metrics.csv", "best.safetensors", "figures/epoch_002.png"):
        assert (path / name).stat().st_size, name
    facts = json.loads((path / "environment.json").read_text())[0]
    assert facts["data"]["occluders"] == "drawn"
    assert facts["weights"] == {"identity": "random initialisation (asked for)"}
    best = json.loads((path / "finished.json").read_text())["best"]
    assert best["metric"] == "accuracy/occluded"
    assert 0 <= best["value"] <= 1


def test_the_weights_file_makes_the_network_and_names_the_people(whole):
    network, metadata = load_identity_network(whole.folder.best)
    config = metadata["config"]
    assert (config["task"], config["model"]["classes"]) == ("identity", 3)
    assert config["data"]["identities"] == ["person_000", "person_001", "person_002"]
    assert network(torch.rand(1, 3, 40, 40)).shape == (1, 3)
    assert network.embed(torch.rand(2, 3, 32, 32)).shape == (2, network.embedding)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(CheckpointError, match=r"identity.*inpainting is needed"):
        load_inpainter(whole.folder.best)


@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_stopped_and_continued_run_ends_with_the_same_weights(
    whole, tmp_path, monkeypatch, stop_at
):
    original = fit_module.Fit._stop_reason

    def stop(self):
        return "max_minutes" if self.trainer.step == stop_at else original(self)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.Fit, "_stop_reason", stop)
        first = train(tiny(), None, tmp_path, device="cpu")
    assert (first.reason, first.steps) == ("max_minutes", stop_at)
    second = train(tiny(), None, tmp_path, resume="latest", device="cpu")
    mine, theirs = (load_checkpoint(r.folder.last)[0] for r in (second, whole))
    assert mine.keys() == theirs.keys() == {"identity", "ema"}
    for network in mine:
        for name, value in mine[network].items():
            assert torch.equal(value, theirs[network][name]), f"{network} {name}"


def test_steps_on_one_batch_lower_the_loss_until_its_people_are_told_apart():
    constant = "training.learning_rate={schedule: constant, warmup_steps: 0}"
    trainer, _, batch = make_trainer("training.optimizer.lr=0.003", constant)
    trainer.network.train()
    part = trainer.to_part(batch)
    totals = [float(trainer.train_step([part])["total"]) for _ in range(30)]
    assert totals[-1] < 0.7 * totals[0]
    with torch.no_grad():
        named = trainer.network(part.image).argmax(1)
    assert (named == part.label).float().mean() > 0.8


def test_validation_counts_right_answers_by_kind(monkeypatch):
    trainer, sources, _ = make_trainer("data.validation_per_kind=3")
    pairs = sources.frozen("val")
    labels = trainer.labels(pairs)
    place = iter(range(len(pairs)))

    def answer(self, image):
        """Right but for pictures of person 1, and never right under a patch."""
        named = torch.zeros(len(image), dtype=torch.int64)
        for row, i in zip(range(len(image)), place, strict=False):
            wrong = labels[i] == 1 or pairs.pairs[i].kind == "patch"
            named[row] = (labels[i] + 1) % 3 if wrong else labels[i]
        return named

    monkeypatch.setattr(Embedder, "name", answer)
    scores = trainer.validate(pairs)
    assert scores["accuracy/patch"] == 0
    assert scores["accuracy/clean"] == pytest.approx(2 / 3)
    kinds = {pair.kind for pair in pairs.pairs} - {"none"}
    expected = (len(kinds) - 1) * (2 / 3) / len(kinds)
    assert scores["accuracy/occluded"] == pytest.approx(expected)
    assert len(kinds) > 15


def test_a_non_finite_loss_names_the_batch():
    trainer, _, batch = make_trainer()
    part = trainer.to_part(batch)
    part.image[:] = float("nan")
    with pytest.raises(NonFiniteLossError, match=r"step 0.*person_000/train"):
        trainer.train_step([part])


def test_held_out_pictures_are_of_known_people_and_new(people):
    config = load_config("EfficientNetB0", "quick", ["data.faces=auto", "data.size=32"], "identity")
    sources = open_any_sources(config, people)
    assert sources.data.identities == ("7", "8", "9")
    trained = set(sources.faces("train").names)
    for split in ("val", "test"):
        images = {pair.image for pair in sources.frozen(split).pairs}
        assert {identity_of(name) for name in images} == {"7", "8", "9"}
        assert not images & trained
    assert sources.describe()["images"] == {"train": 24, "val": 3, "test": 3}


def test_some_of_the_people_can_be_chosen_and_the_split_is_written_down(people, tmp_path):
    data = ["data.faces=auto", "data.identities=[9, 7]", "data.test_per_kind=1"]
    outcome = train(tiny(*data), people, tmp_path, device="cpu")
    network, metadata = load_identity_network(outcome.folder.best)
    assert metadata["config"]["data"]["identities"] == ["9", "7"]
    assert network.output.out_features == 2
    split = json.loads((outcome.folder.path / "split.json").read_text())
    assert {identity_of(name) for name in split["train"]} == {"9", "7"}
    (people / "8" / "late.png").write_bytes((people / "8" / "0.png").read_bytes())
    asked = {"runs": ["EfficientNetB0"], "runs_folder": tmp_path, "device": "cpu"}
    (report,) = compare(IDENTITIES, **asked)
    frame = json.loads(report.files["pairs.json"].read_text())
    assert {pair[0] for pair in frame["pairs"]} <= set(split["test"])


def test_the_tables_have_clean_occluded_and_every_kind(whole, runs):
    asked = {"runs_folder": runs, "device": "cpu", "export": runs / "all.npz"}
    (report,) = compare(IDENTITIES, **asked)
    text = report.markdown
    for words in ("EfficientNetB0", "edge only", "99.11", "Chance is 33", "Bare faces in another"):
        assert words in text
    for kind in ("patch (drawn)", "noise (drawn)"):
        assert kind in text
    summary = report.files["summary.csv"].read_text()
    assert "EfficientNetB0,clean,2,2," in summary
    assert all(Path(path).exists() for path in report.files.values())


def test_title_and_remarks_of_a_suite_stand_above_the_tables(whole, runs, tmp_path):
    told = {"title": "Suite: x", "remarks": ("It is small.",)}
    (report,) = compare(IDENTITIES, runs_folder=runs, device="cpu", output=tmp_path, **told)
    text = report.files["table.md"].read_text()
    assert text.startswith("# Suite: x\n")
    assert "- It is small.\n\n## Pictures" in text


@pytest.mark.parametrize(("place", "face", "surroundings"), [(20, 1, 0), (0, 0, 1)])
def test_who_is_named_by_the_face_and_who_by_the_place(place, face, surroundings):
    """A namer that looks at one pixel, in the face or in the corner, on flat grey people."""
    kinds = ["none", "patch", "none", "none", "none"]
    labels = [0, 2, 0, 1, 2]
    pairs = SimpleNamespace(
        pairs=[SimpleNamespace(kind=kind) for kind in kinds],
        load=lambda i: (np.full((32, 32, 3), 100 * labels[i], np.uint8), None, None),
    )
    namer = SimpleNamespace(name=lambda image: (image[:, 0, place, 16] * 2.55).round().long())
    found = name_swapped(namer, pairs, labels, "ffhq", batch=3)
    assert found == {"count": 4, "face": face, "surroundings": surroundings}


def test_embeddings_of_all_pictures_are_exported(whole, runs):
    path = runs / "embeddings.npz"
    compare(IDENTITIES, runs_folder=runs, device="cpu", export=path)
    with np.load(path, allow_pickle=False) as found:
        names, labels, split = found["names"], found["labels"], found["split"]
        embeddings, identities = found["embeddings"], found["identities"]
    assert embeddings.shape == (12 + 2 * 60, 256)
    assert embeddings.dtype == np.float32
    assert [identities[i] for i in labels] == [identity_of(name) for name in names]
    assert {part: int((split == part).sum()) for part in ("train", "val", "test")} == {
        "train": 12, "val": 60, "test": 60
    }  # fmt: skip


def test_evaluate_names_the_right_command(whole, runs, capsys):
    assert evaluate.main(["--runs", "EfficientNetB0", "--runs-folder", str(runs)]) == 1
    assert "`python evaluate.py identity`" in capsys.readouterr().err
    assert evaluate.main(["identity", "--runs-folder", str(runs / "none")]) == 1
    assert "train_identity.py EfficientNetB0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.identities=[a]", "at least two"),
        ("data.occluded_share=1.5", "less than or equal to 1"),
        ("data.preset=heavy", "mixed"),
        ("data.pairs=x", "unknown key"),
        ("model.classes=9", "comes from the data"),
        ("model.name=resnet", "efficientnet_b0"),
        ("losses.dice={weight: 1}", "cross_entropy"),
        ("training.batch_size=1", "at least 2"),
    ],
)
def test_wrong_settings_are_named(override, words):
    with pytest.raises(ConfigError, match=words):
        tiny(override)


def test_the_command_lists_runs_and_a_dry_run_tells_everything(capsys):
    assert "EfficientNet-B0" in list_runs(TASKS["identity"])
    text = dry_run(tiny(), None)
    assert "identity network: 5.93 M parameters" in text
    assert "data: identities: 3" in text
    with pytest.raises(SystemExit):
        parse_arguments(TASKS["identity"], "", ["--pairs", "x"])
    with pytest.raises(ConfigError, match=r"train_identity\.py"):
        load_config("efficientnetb0", "quick", [], "inpainting")


def test_a_folder_without_people_is_refused(tmp_path):
    config = load_config("EfficientNetB0", "quick", ["data.faces=auto"], "identity")
    with pytest.raises(FileNotFoundError, match="one sub-folder a person"):
        open_any_sources(config, tmp_path)


def test_real_people_are_found(real_data):
    config = load_config("EfficientNetB0", "small", ["data.occluders=drawn"], "identity")
    sources = open_any_sources(config, real_data)
    counts = sources.describe()["images"]
    assert len(sources.data.identities) >= 10
    assert min(counts.values()) >= len(sources.data.identities)
