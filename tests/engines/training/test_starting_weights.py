"""Starting a run from other weights: by name, and as the network of features."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from system_stubs import (
    FEW_LAYERS,
    NARROW,
    SMALL_GAN,
    SMALL_UNET,
    make_part,
    make_trainer,
    tiny,
)

from deocclude.engines.inference.networks import Inpainter, read_inpainter
from deocclude.engines.runs.config import ConfigError
from deocclude.engines.runs.recipes import starts
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.weights import (
    load_checkpoint,
    load_features,
    load_inpainter,
    load_release,
    save_release,
)
from deocclude.engines.training.initial_weights import start_from
from deocclude.engines.training.inpainting import build_trainer
from deocclude.engines.training.origins import settled
from deocclude.engines.training.run import dry_run, train
from deocclude.models import create_identity_network, create_inpainter


@pytest.fixture(scope="module")
def base_run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    train(tiny("facial_deocclusion", *NARROW), None, runs, device="cpu")
    return runs


def test_init_from_takes_the_base_weights_by_name(base_run):
    """Facial Deocclusion's third experiment: the shared part is the base run's, the rest is new."""
    config = tiny("facial_deocclusion_finetuned", *NARROW, "training.epochs=1")
    trainer = build_trainer(settled(config, base_run), start_runtime("no", "cpu", 1), 16)
    base, _ = load_inpainter(base_run / "facial_deocclusion" / "001" / "best.safetensors")
    mine = trainer.generator.state_dict()
    for key, value in base.state_dict().items():
        torch.testing.assert_close(mine[key], value, rtol=0, atol=0)
    new = sorted(mine.keys() - base.state_dict().keys())
    assert new
    said = trainer.origins()["init_from"]
    assert f"{len(base.state_dict())} tensors by name" in said
    assert "16 images, ended by epochs" in said
    assert f"{len(new)} missing there" in said
    for key, value in trainer.ema.module.state_dict().items():
        torch.testing.assert_close(value, mine[key], rtol=0, atol=0)


def test_init_from_reports_what_does_not_fit(base_run):
    wider = ["model.width=8", "discriminators.dcgan.widths=[4, 8]", "training.epochs=1"]
    with pytest.raises(ValueError, match="no tensor has a name"):
        build_trainer(
            settled(
                tiny("occlufix", *SMALL_UNET, *FEW_LAYERS, "init_from=facial_deocclusion"), base_run
            ),
            start_runtime("no", "cpu", 0), 16,
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"bottleneck.bias \(128,\), not \(256,\)"):
        build_trainer(
            settled(tiny("facial_deocclusion_finetuned", *wider), base_run),
            start_runtime("no", "cpu", 0), 16,
        )  # fmt: skip
    for missing in ("nobody", "nobody.safetensors"):
        gone = tiny("facial_deocclusion_finetuned", *NARROW, f"init_from={missing}")
        with pytest.raises(FileNotFoundError, match="nobody"):
            train(gone, None, base_run, device="cpu")
        with pytest.raises(FileNotFoundError, match="nobody"):
            dry_run(gone, None, base_run)
    assert not (base_run / "facial_deocclusion_finetuned").exists()


WIDTHS = {"coarse_widths": [4, 8], "coarse_residual": [], "widths": [4, 8], "fold": 2}


def test_each_part_of_a_network_may_start_from_a_run_of_its_own(tmp_path):
    pull_push = "model={name: student, start: pull_push, widths: [4, 8]}"
    for name in ("one", "two"):
        config = tiny("student_alone", pull_push, f"name={name}", "training.epochs=1")
        train(config, None, tmp_path, device="cpu")
    both = f"model={WIDTHS | {'name': 'coarse_to_fine'}}"
    config = tiny("student_alone", both, "init_from={coarse: one, fine: two}", "training.epochs=1")
    done = train(config, None, tmp_path, device="cpu")
    start = settled(config, tmp_path).init_from
    assert [Path(file).parts[-3] for file in start.values()] == ["one", "two"]
    trainer = build_trainer(settled(config, tmp_path), start_runtime("no", "cpu", 1), 16)
    for part, name in config.init_from.items():
        wanted, _ = load_inpainter(tmp_path / name / "001" / "best.safetensors")
        mine = getattr(trainer.generator, part).state_dict()
        for key, value in wanted.state_dict().items():
            torch.testing.assert_close(mine[key], value, rtol=0, atol=0)
    released = load_inpainter(done.folder.best)[1]["config"]["init_from"]
    assert released == {"coarse": "one/001", "fine": "two/001"}
    again = f"init_from={{coarse: one, fine: {done.folder.path}}}"  # of a whole network, that part
    config = tiny("student_alone", both, again)
    trainer = build_trainer(settled(config, tmp_path), start_runtime("no", "cpu", 1), 16)
    wanted = load_inpainter(done.folder.best)[0].fine.state_dict()
    for key, value in trainer.generator.fine.state_dict().items():
        torch.testing.assert_close(value, wanted[key], rtol=0, atol=0)
    wrong = tiny("student_alone", both, "init_from={corse: one}")
    with pytest.raises(ValueError, match="no part 'corse'; its parts are coarse, fine"):
        build_trainer(settled(wrong, tmp_path), start_runtime("no", "cpu", 1), 16)
    gone = tiny("student_alone", both, "init_from={coarse: one, fine: nobody}")
    with pytest.raises(FileNotFoundError, match="nobody"):
        dry_run(gone, None, tmp_path)


def test_a_network_may_start_from_the_mean_of_two_runs(tmp_path):
    """Equal tensors of both, in whole networks and in parts; of networks that differ, none."""
    student = "model={{name: student, start: pull_push, widths: [4, 8], residual: [0, {}]}}"
    ended = []
    for name, blocks in (("one", 1), ("two", 1), ("three", 2)):
        seed = f"training.seed={len(ended)}"
        config = tiny("student_alone", student.format(blocks), f"name={name}", seed)
        ended.append(train(config, None, tmp_path, device="cpu").folder.best)
    parts = WIDTHS | {"name": "coarse_to_fine", "coarse_residual": [0, 1]}
    for model, start in (
        (student.format(1), "[one, two]"),
        (f"model={parts}", "{coarse: [one, two]}"),
    ):
        config = tiny("student_alone", model, f"init_from={start}")
        assert [Path(f).parts[-3] for f in starts(settled(config, tmp_path).init_from)] == [
            "one",
            "two",
        ]
        trainer = build_trainer(settled(config, tmp_path), start_runtime("no", "cpu", 1), 16)
        mine = getattr(trainer.generator, "coarse", trainer.generator).state_dict()
        one, two = (load_release(file)[0] for file in ended[:2])
        assert any((one[key] != two[key]).any() for key in one)
        for key, value in mine.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, (one[key] + two[key]) / 2)
    network = trainer.generator.coarse
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"no mean of .*one.* and .*three.*only one of them has"):
        start_from(network, (str(ended[0]), str(ended[2])), "inpainting")
    for key, value in network.state_dict().items():  # nothing of either was copied
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    with pytest.raises(ConfigError, match="init_from"):
        tiny("student_alone", "init_from=[one]")


def test_a_run_does_not_start_from_an_ensemble_in_yaml(base_run):
    with pytest.raises(ValueError, match=r"best\.yaml: is an ensemble's YAML; a run or a weights"):
        settled(tiny("facial_deocclusion", *NARROW, "init_from=best.yaml"), base_run)


def test_a_start_from_an_unfinished_run_is_said(base_run, tmp_path, caplog):
    shutil.copytree(base_run / "facial_deocclusion", tmp_path / "facial_deocclusion")
    record = tmp_path / "facial_deocclusion" / "001" / "finished.json"
    facts = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(facts | {"reason": "max_minutes"}), encoding="utf-8")
    config = tiny("facial_deocclusion_finetuned", *NARROW)
    build_trainer(settled(config, tmp_path), start_runtime("no", "cpu", 0), 16)
    assert "was stopped (max_minutes) after 4 steps" in caplog.text


def test_a_start_from_weights_is_recorded_and_not_repeated(base_run):
    config = tiny("facial_deocclusion_finetuned", *NARROW)
    done = train(config, None, base_run, device="cpu", max_minutes=1e-4)
    record = json.loads((done.folder.path / "environment.json").read_text())[-1]
    assert "tensors by name" in record["weights"]["init_from"]
    stopped = load_checkpoint(done.folder.last)[0]
    again = train(config, None, base_run, resume="latest", device="cpu")
    assert again.steps > done.steps
    finished = load_checkpoint(again.folder.last)[0]
    assert any(
        not torch.equal(stopped["generator"][k], finished["generator"][k])
        for k in stopped["generator"]
    )
    record = json.loads((again.folder.path / "environment.json").read_text())[-1]
    assert "init_from" not in record["weights"]


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory):
    """A finished run of a generator that takes features, from a network with random weights."""
    runs = tmp_path_factory.mktemp("conditioned")
    config = tiny("attention_gan", *SMALL_GAN, "features.weights=random", "features.classes=3")
    return train(config, None, runs, device="cpu")


def test_the_weights_file_brings_its_features_network(conditioned):
    best = conditioned.folder.best
    with safe_open(best, framework="pt") as file:
        names = list(file.keys())
    assert any(name.startswith("features/") for name in names)
    inpainter = read_inpainter(best, "cpu")
    network = load_features(best)
    part = make_part(2)
    expected = inpainter.network(part.occluded, part.mask, network.embed(part.occluded))
    given = inpainter.restore(part.occluded, part.mask)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    elsewhere = inpainter.network(part.occluded, part.mask, torch.zeros(2, network.embedding))
    assert not torch.allclose(given, elsewhere, atol=1e-4), "the features change nothing"


def test_a_pipeline_without_the_features_network_is_refused():
    with pytest.raises(ValueError, match="features"):
        Inpainter(create_inpainter("attention_gan", width=4, grid=4), 32)
    with pytest.raises(ValueError, match="takes features"):
        make_trainer("attention_gan", *SMALL_GAN, "features=null")
    with pytest.raises(ValueError, match="takes no features"):
        make_trainer("occlufix", *SMALL_UNET, *FEW_LAYERS, "features={weights: random}")


@pytest.fixture
def identity_file(tmp_path) -> Path:
    """A weights file of an identity run."""
    torch.manual_seed(3)
    network = create_identity_network("efficientnet_b0", classes=3, pretrained=False)
    model = {"name": "efficientnet_b0", "classes": 3}
    folder = tmp_path / "EfficientNetB0" / "001"
    folder.mkdir(parents=True)
    metadata = {"config": {"name": "e", "task": "identity", "model": model, "data": {"size": 64}}}
    save_release(folder / "best.safetensors", network, metadata)
    return folder / "best.safetensors"


@pytest.mark.parametrize("fate", ["gone", "damaged"])
def test_a_run_with_features_continues_without_the_file_they_came_from(
    identity_file, tmp_path, fate
):
    """The features network lies in the checkpoint; whoever trained it is no longer needed."""
    config = tiny("attention_gan", *SMALL_GAN, f"features.weights={identity_file}")
    whole = train(config, None, tmp_path / "whole", device="cpu")
    stopped = train(config, None, tmp_path / "parts", device="cpu", max_minutes=1e-4)
    assert stopped.steps < whole.steps
    assert str(tmp_path) not in json.dumps(load_inpainter(whole.folder.best)[1])
    if fate == "gone":
        identity_file.unlink()
    else:
        identity_file.write_bytes(b"damaged")
    ended = train(config, None, tmp_path / "parts", resume="latest", device="cpu")
    mine, theirs = load_checkpoint(ended.folder.last)[0], load_checkpoint(whole.folder.last)[0]
    for network in ("features", "generator", "ema", "discriminator.patch"):
        for key, value in theirs[network].items():
            assert torch.equal(mine[network][key], value), f"{network} {key}"
