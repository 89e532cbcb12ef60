import copy
import functools
import runpy
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import training
from benchmarks.loader import measure_loader
from benchmarks.public_loop import LOOPS, PublicLoop, gradient_difference, weight_difference
from benchmarks.steps import PARTS, Laps, marked
from deocclude.data.contract import hide
from deocclude.data.faces.files import Faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.training.gan_steps import Part
from deocclude.engines.training.inpainting import build_trainer

TINY = [
    "data.builtin_images=8",
    "losses.perceptual.layers=[relu1_1]",
    "losses.style.layers=[relu2_1]",
]


@pytest.fixture
def part() -> Part:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(4, 3, 32, 32, generator=generator)
    mask = (torch.rand(4, 1, 32, 32, generator=generator) > 0.6).float()
    return Part(target, mask, hide(target, mask), list("abcd"))


def tiny_trainer(config):
    trainer = build_trainer(config, start_runtime("no", "cpu", 0), 24)
    trainer.generator.train()
    return trainer


@pytest.fixture(scope="module")
def used_trainer(tiny_config):
    """One that tests may step on."""
    return tiny_trainer(tiny_config("ablationv1"))


def test_public_order_gives_our_gradients_and_weights(tiny_config, part):
    trainer = tiny_trainer(tiny_config("ablationv1"))
    before = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    public = {loop: PublicLoop(trainer, loop) for loop in LOOPS}
    terms = trainer.train_step([part])
    for loop in public.values():
        logged = loop.step(part)
        assert logged["total"] == pytest.approx(float(terms["total"]), rel=1e-6)
        assert logged["discriminator"] == pytest.approx(float(terms["discriminator"]), rel=1e-6)
        assert set(logged) >= {"l1", "psnr", "ssim"}
        for name in ("generator", "discriminator"):
            ours, theirs = trainer.trained()[name], getattr(loop, name)
            assert gradient_difference(ours, theirs) < 1e-4
            assert weight_difference(ours, theirs) < 1e-5
        assert weight_difference(start_of(before, trainer.generator), loop.generator) > 1e-4


def start_of(weights: dict, network: torch.nn.Module) -> torch.nn.Module:
    start = copy.deepcopy(network)
    start.load_state_dict(weights)
    return start


def test_a_wrong_update_is_seen(used_trainer, part):
    """The comparison finds the public code's first defect, a discriminator that is not cleared."""
    trainer = used_trainer
    public = PublicLoop(trainer, "frozen")
    trainer.train_step([part])
    public.discriminator_optimizer.zero_grad = lambda **_: None
    public.step(part)
    assert gradient_difference(trainer.discriminators[public.role], public.discriminator) > 0.1


def test_marks_take_the_whole_step_apart_and_change_nothing(used_trainer, part):
    trainer = used_trainer
    laps = Laps(torch.device("cpu"))
    with marked(trainer, laps):
        laps.start()
        trainer.train_step([part])
        laps.mark("EMA")
        split = laps.stop()
    assert list(split) == [name for name in PARTS if name != "data"]
    assert all(seconds > 0 for seconds in split.values())
    trainer.train_step([part])
    assert laps.parts == split


@pytest.mark.parametrize(
    "part", ["steps", "loader", "program", "public_loop", "systems_cell", "systems_tables"]
)
def test_a_part_of_a_benchmark_says_which_program_it_is_of(part):
    with pytest.raises(SystemExit, match=r"a part of `python benchmarks/\w+\.py`"):
        runpy.run_path(str(Path(training.__file__).with_name(f"{part}.py")), run_name="__main__")


def test_script_prints_a_row_for_every_variant(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("second.yaml").write_text("extends: ablationv1\nname: second\ndescription: the same\n")
    runs = ["ablationv1", "second"]
    arguments = [
        "--sizes",
        "32",
        "--runs",
        "ablationv1",
        "second.yaml",
        "--batch",
        "2",
        "--steps",
        "1",
    ]
    arguments += ["--device", "cpu", "--no-memory", "--public", "frozen", "--csv", "numbers.csv"]
    for assignment in TINY:
        arguments += ["--set", assignment]
    assert training.main(arguments) == 0
    printed = capsys.readouterr().out
    numbers = pd.read_csv("numbers.csv")
    for run in runs:
        assert f"{run} |" in printed
        rows = numbers[numbers["run"] == run]
        assert list(rows["loop"]) == ["ours", "frozen"]
        assert (rows["images_per_second"] > 0).all()
        assert rows["ratio"].iloc[1] > 0
    assert numbers["difference_weights"].max() < 1e-3


def test_any_run_is_taken_apart_where_nothing_is_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    arguments = ["--sizes", "64", "--runs", "student_alone", "--batch", "2", "--steps", "1"]
    arguments += ["--device", "cpu", "--no-memory", "--public", "--csv", "numbers.csv"]
    arguments += ["--set", "data.builtin_images=8", "--set", "model.width=4"]
    arguments += ["--set", "init_from=nobody"]  # speed does not depend on weights: none are read
    assert training.main(arguments) == 0
    assert "student_alone" in capsys.readouterr().out
    (row,) = pd.read_csv("numbers.csv").to_dict("records")
    assert row["loop"] == "ours"
    spent = sum(row[f"{part} s"] for part in PARTS)
    assert row["optimizers s"] > 0
    assert 2 / row["images_per_second"] == pytest.approx(spent, rel=0.01)


def test_script_names_a_wrong_run(capsys):
    assert training.main(["--runs", "ablationv9", "--no-memory"]) == 1
    assert "ablationv9" in capsys.readouterr().err


def test_workers_do_not_copy_the_cache(tiny_config):
    """A worker that copied what it reads would hold the cache's 48 MiB itself."""
    read = functools.partial(np.full, (256, 256, 3), dtype=np.uint8)  # image i is all i
    faces = Faces([str(i) for i in range(256)], 256, read)
    sources = types.SimpleNamespace(faces=lambda split: faces, masks=MaskGenerator(256))
    config = tiny_config("ablationv1", "data.size=256", "data.cache_gib=1")
    without, cached = measure_loader(config, sources, 256, workers=(1,))
    assert (without.cache, cached.cache) == ("none", "ram")
    assert without.rate > 0
    assert cached.rate > 0
    assert cached.cache_mib == 48
    assert cached.own_mib[0] < without.own_mib[0] + 24
