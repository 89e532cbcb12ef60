"""Distillation: whom a student asks, what is written down, and what is refused."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors import safe_open
from system_stubs import NARROW, TINY, make_part, tiny

from deocclude.data.contract import hide
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference.networks import read_inpainter
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.tasks import open_any_sources
from deocclude.engines.runs.weights import load_checkpoint
from deocclude.engines.training.gan_steps import generator_step
from deocclude.engines.training.inpainting import build_trainer
from deocclude.engines.training.origins import settled, tell_teacher
from deocclude.engines.training.run import dry_run, train

SMALL = ["model.width=4", "model.depth=2", "data.template=auto"]
BASE = "facial_deocclusion"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that can teach, with another grey level in the hole than the student's."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny(BASE, *NARROW, "data.fill=0.3", "training.epochs=1"), None, folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def taught(runs):
    """A finished distillation by the name of its teacher."""
    config = tiny("distill", *SMALL, f"teacher={BASE}", "training.epochs=1")
    return train(config, None, runs, device="cpu").folder.path


def weights_of(runs):
    return runs / BASE / "001" / "best.safetensors"


def student_config(runs, *overrides):
    return settled(tiny("distill", *SMALL, f"teacher={BASE}", *overrides), runs)


def student(runs, *overrides):
    return build_trainer(student_config(runs, *overrides), start_runtime("no", "cpu", 0), 16)


def test_the_answer_is_the_teachers_own_at_its_own_grey_level(runs):
    trainer, part = student(runs), make_part()
    alone = read_inpainter(weights_of(runs), "cpu")
    expected = alone.restore(hide(part.target, part.mask, 0.3), part.mask)
    torch.testing.assert_close(trainer.teach(part.occluded, part.mask), expected)


def test_the_term_sees_that_answer_in_training_and_validation(runs):
    trainer = student(runs)
    part = make_part()
    part = part._replace(teacher=trainer.teach(part.occluded, part.mask))
    with torch.no_grad():
        prediction = trainer.generator.train()(part.occluded, part.mask)
    difference = ((prediction - part.teacher).abs() * part.mask).sum(dim=(1, 2, 3))
    expected = (difference / (3 * part.mask.sum(dim=(1, 2, 3)))).mean()
    _, terms = generator_step(trainer, [part])
    torch.testing.assert_close(terms["imitation"], expected)
    pairs = open_any_sources(trainer.config, None).frozen("val")
    assert 0 < trainer.validate(pairs)["loss/imitation"] < 1


def test_no_gradient_and_no_change_reach_the_teacher(runs):
    trainer, part = student(runs), make_part()
    network = trainer.teacher.network
    before = {k: v.clone() for k, v in network.state_dict().items()}
    generator_step(trainer, [part._replace(teacher=trainer.teach(part.occluded, part.mask))])
    assert not network.training
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_it_is_written_down_by_what_it_is_and_kept_out_of_the_checkpoint(runs, taught):
    recorded = yaml.safe_load((taught / "config.yaml").read_text(encoding="utf-8"))["teacher"]
    assert recorded == {
        "weights": str(weights_of(runs).resolve()), "sha256": weights_identity(weights_of(runs))
    }  # fmt: skip
    assert set(load_checkpoint(taught / "last")[0]) == {"generator", "ema"}
    with safe_open(taught / "best.safetensors", "pt") as file:
        released = json.loads(file.metadata()["config"])["teacher"]
        assert all(key.startswith("network.") for key in file.keys())  # noqa: SIM118
    assert released == recorded | {"weights": f"{BASE}/001"}
    facts = json.loads((taught / "environment.json").read_text(encoding="utf-8"))[0]
    assert recorded["sha256"] in facts["weights"]["teacher"]


def test_a_continued_run_finds_its_teacher_or_says_what_became_of_it(runs, taught, tmp_path):
    shutil.copytree(taught, tmp_path / "distill" / "001")
    path = tmp_path / "distill" / "001" / "config.yaml"
    recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    recorded["training"]["epochs"] = 2

    def resume(**teacher):
        content = recorded | {"teacher": recorded["teacher"] | teacher}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return train(tiny("distill", *SMALL), None, tmp_path, resume="latest", device="cpu")

    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors is not there"):
        resume(weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ValueError, match=r"0123.*trained anew or replaced"):
        resume(sha256="0123456789abcdef")
    assert resume().steps == 4


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.size=64"], r"data\.size=32, this run has 64"),
        (["data.template=celeba"], r"data\.template=\w+, this run has celeba"),
    ],
)
def test_a_teacher_of_other_faces_is_refused(runs, overrides, words):
    with pytest.raises(ValueError, match=words):
        student(runs, *overrides)


def test_a_teacher_that_was_not_told_where_the_hole_is_is_refused(runs, tmp_path):
    blind = tiny(BASE, *NARROW, "data.hidden_by=occluders", "data.occluders=drawn",
                 "training.epochs=1")  # fmt: skip
    file = train(blind, None, tmp_path, device="cpu").folder.best
    with pytest.raises(ValueError, match="under occluders"):
        student(runs, f"teacher={file}")


@pytest.mark.parametrize("named", ["nobody", "nobody.safetensors", "nobody.yaml"])
def test_a_teacher_that_is_not_there_is_named_before_anything_starts(runs, named):
    config = tiny("distill", *SMALL, f"teacher={named}")
    for start in (lambda: train(config, None, runs, device="cpu"), lambda: dry_run(config, None)):
        with pytest.raises(FileNotFoundError, match=named):
            start()


def test_a_term_without_a_teacher_and_a_teacher_without_a_term_are_refused():
    with pytest.raises(ConfigError, match=r"losses\.imitation: needs a teacher.*--teacher"):
        tiny("distill", "teacher=null")
    with pytest.raises(ConfigError, match="no loss term listens to it"):
        tiny("distill", "losses.imitation=null")
    alone = tiny("student_alone")
    assert alone.teacher is None
    assert alone.model == tiny("distill").model
    assert alone.training == tiny("distill").training


def test_the_small_profile_trains_on_built_in_faces_too(runs, tmp_path):
    builtin = ["data.faces=builtin", "data.masks=builtin", f"teacher={weights_of(runs)}"]
    config = load_config("distill", "small", [*TINY, *SMALL, *builtin, "training.epochs=1"])
    assert train(config, None, tmp_path, device="cpu").images == 8


def test_nothing_to_settle_without_a_teacher(tmp_path):
    assert tell_teacher(tiny("student_alone"), tmp_path) == {}
    with pytest.raises(FileNotFoundError):
        tell_teacher(tiny("distill", "teacher=nobody"), tmp_path)
