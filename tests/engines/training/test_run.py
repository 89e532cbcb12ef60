"""Whole runs, small: what is left behind, and that continuing changes nothing."""

import json
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY
from PIL import Image
from process_stubs import start
from safetensors.torch import load_file

from deocclude.data.builtin.faces import render_face
from deocclude.engines.cli import summary
from deocclude.engines.cli.train import train_command
from deocclude.engines.runs.folder import LOCK, OWNER, RunFolder, RunFolderError
from deocclude.engines.runs.metadata import CheckpointError
from deocclude.engines.runs.weights import load_checkpoint, load_inpainter
from deocclude.engines.training import fit as fit_module
from deocclude.engines.training import gan_steps
from deocclude.engines.training.inpainting import Trainer
from deocclude.engines.training.run import dry_run, train
from deocclude.engines.training.trainer import NonFiniteLossError


def weights(folder: RunFolder) -> dict:
    return load_checkpoint(folder.last)[0]


def assert_same_weights(one: RunFolder, other: RunFolder) -> None:
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys() == {"generator", "discriminator", "ema"}
    for network in mine:
        for name, value in mine[network].items():
            assert torch.equal(value, theirs[network][name]), f"{network} {name}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_config):
    """An uninterrupted run of two epochs of three steps."""
    return train(tiny_config(), None, tmp_path_factory.mktemp("whole"), device="cpu")


def test_a_run_leaves_everything_behind(whole):
    path = whole.folder.path
    assert (whole.reason, whole.steps, whole.images) == ("epochs", 6, 24)
    names = {p.name for p in path.iterdir()}
    assert names >= {
        "config.yaml", "command.txt", "environment.json", "log.jsonl", "metrics.csv", "figures",
        "last", "best.safetensors", "finished.json", "tensorboard", "validation_pairs.json",
    }  # fmt: skip
    assert not {LOCK, OWNER} & names
    assert {p.name for p in (path / "figures").iterdir()} == {
        "epoch_001.png", "epoch_002.png", "losses.png"
    }  # fmt: skip
    (start,) = json.loads((path / "environment.json").read_text())
    assert start["weights"]["vgg19"] == "losses: random initialisation (asked for)"
    assert start["data"]["faces"] == "builtin"
    assert start["seed"] == 42
    log = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert {"train/hole_l1", "train/total", "train/discriminator"} <= log[0].keys()
    rows = whole.folder.read_metrics()
    assert [row["step"] for row in rows] == ["3", "6"]
    assert float(rows[1]["val/composed/psnr"]) > 5


def test_a_dry_run_shows_the_configuration_that_the_run_starts_with(whole, tiny_config, tmp_path):
    recorded = (whole.folder.path / "config.yaml").read_text()
    assert "template: ffhq" in recorded  # told, as all is that was auto
    assert dry_run(tiny_config(), None, tmp_path).startswith(recorded)


def test_released_weights_are_the_ema_and_say_what_they_are(whole):
    model, metadata = load_inpainter(whole.folder.best)
    assert metadata["config"]["name"] == "ablationv1"
    assert "1 = hole" in metadata["contract"]["mask"]
    assert metadata["metrics"]["composed/psnr"] > 5
    if metadata["training"]["step"] == 6:
        state = weights(whole.folder)["ema"]
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[f"module.{name}"])


@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_stopped_and_continued_run_equals_an_uninterrupted_one(
    whole, tmp_path, tiny_config, monkeypatch, stop_at
):
    """Bit for bit, stopped inside an epoch or at its end; the log has no gap and no repetition."""
    original = fit_module.Fit._stop_reason

    def stop(self):
        return "max_minutes" if self.trainer.step == stop_at else original(self)

    monkeypatch.setattr(fit_module.Fit, "_stop_reason", stop)
    stopped = train(tiny_config("ablationv1"), None, tmp_path, device="cpu")
    assert (stopped.reason, stopped.steps) == ("max_minutes", stop_at)
    monkeypatch.setattr(fit_module.Fit, "_stop_reason", original)
    shown = dry_run(tiny_config("ablationv1", "data.size=64"), None, tmp_path, "latest")
    assert f"continues {stopped.folder.path}" in shown
    assert "\n  size: 32\n" in shown  # as recorded, not as asked
    assert "data: images: train 24, val" in shown
    continued = train(tiny_config("ablationv1"), None, tmp_path, resume="latest", device="cpu")
    assert continued.folder.path == stopped.folder.path
    assert_same_weights(continued.folder, whole.folder)
    best, expected = load_file(continued.folder.best), load_file(whole.folder.best)
    assert all(torch.equal(best[name], value) for name, value in expected.items())
    rows = continued.folder.read_metrics()
    assert [row["step"] for row in rows] == ["3", "6"]
    scores = [
        [r["val/composed/psnr"] for r in f.read_metrics()] for f in (continued.folder, whole.folder)
    ]
    assert scores[0] == scores[1]
    means = [
        [{k: v for k, v in r.items() if k.startswith("train/")} for r in f.read_metrics()]
        for f in (continued.folder, whole.folder)
    ]
    assert means[0] == means[1]  # of whole epochs, also of the one that was stopped
    lines = (continued.folder.path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert len(json.loads((continued.folder.path / "environment.json").read_text())) == 2


@pytest.fixture
def signalled(monkeypatch):
    """A function that has Ctrl-C come within a step, `times` times."""
    original = Trainer.train_step

    def install(step, times=1):
        def train_step(trainer, parts):
            if trainer.step == step:
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)
            return original(trainer, parts)

        monkeypatch.setattr(Trainer, "train_step", train_step)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield install
    signal.signal(signal.SIGINT, before)


def tiny_command(folder: Path) -> list[str]:
    """The words of a training as `tiny_config` has it."""
    sets = [word for text in TINY for word in ("--set", text)]
    named = ["ablationv1", "--profile", "quick", "--device", "cpu"]
    return [*named, *sets, "--output", str(folder / "runs")]


def test_ctrl_c_ends_after_the_step_with_the_command_that_goes_on(
    whole, tmp_path, monkeypatch, capsys, signalled
):
    """Inside the first epoch, without tables or a validation; the line's own words go on."""
    monkeypatch.setattr(summary, "summarise_run", lambda *_: "the tables")
    monkeypatch.setattr("sys.argv", ["elsewhere/train_inpainting.py"])
    signalled(step=1)
    with monkeypatch.context() as inside:
        inside.setattr(Trainer, "validate", None)
        assert train_command("inpainting", "", tiny_command(tmp_path)) == 130
    said = capsys.readouterr()
    assert "the tables" not in said.out
    line = said.err.splitlines()[-1]
    folder = tmp_path / "runs" / "ablationv1" / "001"
    assert line.startswith(
        f"stopped; continue with: python elsewhere/train_inpainting.py --resume {folder} "
    )
    assert sorted(p.name for p in folder.iterdir()) == [
        "command.txt", "config.yaml", "environment.json", "figures", "finished.json", "last",
        "log.jsonl", "tensorboard", "validation_pairs.json",
    ]  # fmt: skip
    signalled(step=99)
    again = shlex.split(line.partition("train_inpainting.py ")[2])
    assert train_command("inpainting", "", again) == 0
    assert "the tables" in capsys.readouterr().out
    assert_same_weights(RunFolder(folder), whole.folder)


def test_a_second_ctrl_c_ends_at_once_without_damage(tmp_path, monkeypatch, capsys, signalled):
    signalled(step=4, times=2)
    assert train_command("inpainting", "", tiny_command(tmp_path)) == 130
    folder = tmp_path / "runs" / "ablationv1" / "001"
    assert f"--resume {folder}" in capsys.readouterr().err.splitlines()[-1]
    assert load_checkpoint(folder / "last")[1]["step"] == 3  # of the first epoch's end
    assert not [p for p in folder.iterdir() if p.name.startswith((".", "in_use"))]


def test_a_killed_run_can_be_continued(whole, tmp_path, tiny_config):
    """SIGKILL at any moment: what is on the disk continues to the same weights."""
    often = tiny_config("ablationv1", "training.checkpoint_minutes=0.0001")
    process = start(train, often, None, tmp_path / "runs", None, None, "cpu")
    last = tmp_path / "runs" / "ablationv1" / "001" / "last"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    assert last.exists() or last.with_name(".last.old").exists()
    continued = train(
        tiny_config("ablationv1"), None, tmp_path / "runs", resume="latest", device="cpu"
    )
    assert continued.reason == "epochs"
    assert_same_weights(continued.folder, whole.folder)


def write_faces(folder: Path, count: int, start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.fromarray(render_face(i, 40)).save(folder / f"{i:03d}.png")


def test_continuing_uses_the_recorded_data_and_split(tmp_path, tiny_config):
    """No --data needed, and images that came since change nothing."""
    faces = tmp_path / "data" / "faces"
    write_faces(faces, 30)
    config = tiny_config("ablationv1", "data.faces=auto", "training.epochs=3")
    first = train(config, tmp_path / "data", tmp_path / "runs", None, 1e-6, "cpu")
    assert first.reason == "max_minutes"
    assert "Infinity" not in (first.folder.path / "finished.json").read_text()
    split = (first.folder.path / "split.json").read_text()
    write_faces(faces, 7, start=30)
    continued = train(config, None, tmp_path / "runs", "latest", device="cpu")
    starts = json.loads((continued.folder.path / "environment.json").read_text())
    assert {start["data"]["faces"] for start in starts} == {str(faces.resolve())}
    assert starts[0]["data"]["images"] == starts[1]["data"]["images"]
    assert (continued.folder.path / "split.json").read_text() == split
    assert continued.reason == "epochs"


def test_continuing_on_other_validation_pairs_is_refused(tmp_path, tiny_config):
    write_faces(tmp_path / "one" / "faces", 30)
    write_faces(tmp_path / "other" / "faces", 30)
    for i in range(30):  # whichever images are validated
        Image.fromarray(render_face(200 + i, 40)).save(
            tmp_path / "other" / "faces" / f"{i:03d}.png"
        )
    config = tiny_config("ablationv1", "data.faces=auto")
    train(config, tmp_path / "one", tmp_path / "runs", None, 1e-6, "cpu")
    with pytest.raises(ValueError, match=r"validation_pairs\.json: pair 0"):
        train(config, tmp_path / "other", tmp_path / "runs", "latest", device="cpu")


def test_a_start_that_fails_leaves_no_run(tmp_path, tiny_config):
    config = tiny_config("ablationv1", "training.features_weights=nowhere.pth")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(config, None, tmp_path / "runs", device="cpu")
    assert not list((tmp_path / "runs").glob("*/*"))


def test_workers_do_not_change_the_result(whole, tmp_path, tiny_config):
    config = tiny_config("ablationv1", "data.workers=2", "data.cache=disk")
    assert_same_weights(train(config, None, tmp_path, device="cpu").folder, whole.folder)


def test_a_run_in_use_is_refused(whole, tiny_config):
    whole.folder.lock()
    try:
        with pytest.raises(RunFolderError, match="in use"):
            train(tiny_config(), None, whole.folder.path.parents[1], resume="latest", device="cpu")
    finally:
        whole.folder.unlock()


def test_a_non_finite_loss_leaves_the_last_good_checkpoint(tmp_path, tiny_config, monkeypatch):
    original = gan_steps.generator_step

    def poisoned(trainer, parts):
        if trainer.step == 4:
            parts[0].target[:] = float("nan")
        return original(trainer, parts)

    monkeypatch.setattr(gan_steps, "generator_step", poisoned)
    with pytest.raises(NonFiniteLossError, match="builtin/train"):
        train(tiny_config("ablationv1"), None, tmp_path, device="cpu")
    folder = RunFolder.open(tmp_path, "ablationv1", "latest")
    networks, state = load_checkpoint(folder.last)
    assert state["step"] == 3
    assert all(t.isfinite().all() for t in networks["generator"].values())
    assert not (folder.path / "finished.json").exists()
    assert not list(folder.path.glob("in_use*"))


def test_early_stop_counts_epochs_without_gain(tmp_path, tiny_config, monkeypatch):
    monkeypatch.setattr(
        Trainer, "validate", lambda *_: {"composed/psnr": 10.0, "composed/ssim": 0.5}
    )
    config = tiny_config("ablationv1", "training.early_stop_epochs=2", "training.epochs=9")
    outcome = train(config, None, tmp_path, device="cpu")
    assert (outcome.reason, outcome.steps) == ("early_stop", 9)


def test_the_last_weights_are_released_where_the_score_does_not_tell(tmp_path, tiny_config):
    config = tiny_config("ablationv1", "training.release=last", "training.epochs=2")
    folder = train(config, None, tmp_path, device="cpu").folder
    released, _ = load_inpainter(folder.best)
    last = load_checkpoint(folder.last)[0]["ema"]
    for name, value in released.state_dict().items():
        assert torch.equal(value, last[f"module.{name}"]), name
    assert json.loads((folder.path / "finished.json").read_text())["best"]["step"] == 6


def test_a_run_that_is_given_up_ends_after_that_epoch(tmp_path, tiny_config):
    """The question comes once the epoch's metrics are written, and not after the last epoch."""
    asked = []

    def prune(folder):
        asked.append([row["epoch"] for row in folder.read_metrics()])
        return len(asked) == 2

    config = tiny_config("ablationv1", "training.epochs=3")
    outcome = train(config, None, tmp_path, device="cpu", prune=prune)
    assert (outcome.reason, outcome.steps) == ("pruned", 6)
    assert asked == [["1.0"], ["1.0", "2.0"]]
    kept = train(tiny_config("ablationv1"), None, tmp_path, device="cpu", prune=prune)
    assert (kept.reason, len(asked)) == ("epochs", 3)


def test_a_checkpoint_of_another_architecture_is_refused(whole, tmp_path, tiny_config):
    copy = tmp_path / "ablationv1" / "001"
    copy.mkdir(parents=True)
    config = tiny_config("ablationv1", "model.attention=false").model_dump(mode="json")
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(whole.folder.last, copy / "last")
    shutil.copy(whole.folder.path / "validation_pairs.json", copy)
    with pytest.raises(CheckpointError, match="another architecture"):
        train(tiny_config("ablationv1"), None, tmp_path, resume="latest", device="cpu")


def test_best_weights_load_as_plain_safetensors(whole):
    assert all(t.isfinite().all() for t in load_file(whole.folder.best).values())
