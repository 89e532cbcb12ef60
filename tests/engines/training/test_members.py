"""Training the gate of an ensemble: what trains, what is written down, and what is refused."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors import safe_open
from system_stubs import NARROW, SMALL_UNET, make_part, tiny

from deocclude.data.files import sha256
from deocclude.engines.cli.train import overrides, parse_arguments
from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.inference.networks import read_inpainter
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.recipes import members_of, write_recipe
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.tasks import TASKS
from deocclude.engines.runs.weights import load_checkpoint
from deocclude.engines.training.inpainting import build_trainer
from deocclude.engines.training.origins import as_released, settled
from deocclude.engines.training.run import dry_run, train

GATE = ["model.width=4", "data.fill=0.5"]
NAMES = ("occlufix_l1_only", "facial_deocclusion")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs that hide the hole with different grey levels."""
    folder = tmp_path_factory.mktemp("runs")
    for name, options in zip(NAMES, (SMALL_UNET, NARROW), strict=True):
        train(tiny(name, *options, "training.epochs=1"), None, folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def gated(runs):
    """A finished training of a gate over both, by their names."""
    return train(gate_config("training.epochs=1"), None, runs, device="cpu").folder.path


def gate_config(*assignments, members=NAMES):
    named = json.dumps([str(member) for member in members])
    return tiny("ensemble_gate", *GATE, f"model.members={named}", *assignments)


def file_of(runs, name=NAMES[0]):
    return runs / name / "001" / "best.safetensors"


def test_only_the_gate_trains(runs):
    config = settled(gate_config(), runs)
    trainer = build_trainer(config, start_runtime("no", "cpu", 0), 16)
    members = [member.network for member in trainer.generator.attached]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in members]
    gate = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    for _ in range(3):  # the last layer starts at 0, so the others move from the second step on
        trainer.train_step([make_part()])
    for member, state in zip(members, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in member.state_dict().items())
        assert all(p.grad is None for p in member.parameters())
    now = trainer.generator.state_dict()
    assert all(key.startswith("gate.") for key in gate)
    assert [key for key in gate if torch.equal(now[key], gate[key])] == []
    assert trainer.ema.module.attached is trainer.generator.attached


def test_it_starts_as_the_mean_of_its_members(runs):
    config = settled(gate_config(), runs)
    trainer = build_trainer(config, start_runtime("no", "cpu", 0), 16)
    part = make_part()
    answers = [
        read_inpainter(file_of(runs, name), "cpu").restore(
            read_inpainter(file_of(runs, name), "cpu").show(part.target, part.mask), part.mask
        )
        for name in NAMES
    ]
    found = trainer.generator.eval()(part.occluded, part.mask)
    torch.testing.assert_close(found, sum(answers) / 2)


def test_files_hold_the_gate_and_point_to_the_members(runs, gated):
    assert set(load_checkpoint(gated / "last")[0]) == {"generator", "ema"}
    with safe_open(gated / "best.safetensors", "pt") as file:
        metadata = {k: json.loads(v) for k, v in file.metadata().items()}
        assert all(key.startswith("gate.") for key in file.keys())  # noqa: SIM118
    entries = metadata["members"]
    assert [e["weights"] for e in entries] == [f"../../{n}/001/best.safetensors" for n in NAMES]
    assert [e["sha256"] for e in entries] == [sha256(file_of(runs, n)) for n in NAMES]
    released = metadata["config"]
    assert released["model"]["members"] == list(NAMES)
    assert [m["weights"] for m in released["members"]] == [f"{n}/001" for n in NAMES]
    assert str(runs) not in json.dumps(released)


def test_the_released_ensemble_answers_like_the_one_that_trained(runs, gated):
    part = make_part()
    network, metadata = open_inpainter(gated / "best.safetensors")
    state = load_checkpoint(gated / "last")[0]["ema"]
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, state[f"module.{key}"])
    assert network(part.occluded, part.mask).isfinite().all()
    assert metadata["config"]["data"]["size"] == 32


def test_a_continued_run_finds_its_members_or_says_what_became_of_them(runs, gated, tmp_path):
    shutil.copytree(gated, tmp_path / "ensemble_gate" / "001")
    path = tmp_path / "ensemble_gate" / "001" / "config.yaml"
    recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
    recorded["training"]["epochs"] = 2
    assert [m["name"] for m in recorded["members"]] == list(NAMES)

    def resume(**changes):
        first, second = recorded["members"]
        content = recorded | {"members": [first, second | changes]}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return train(gate_config(), None, tmp_path, resume="latest", device="cpu")

    with pytest.raises(FileNotFoundError, match=r"member 2 of this run: .*gone.* is not there"):
        resume(weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ValueError, match=r"member 2 of this run: .*recorded is 0123"):
        resume(sha256="0123456789abcdef")
    assert resume().steps == 4


def test_what_was_written_down_can_be_started_again(runs, gated, tmp_path):
    """From a run's own config.yaml, whose labels name nothing below another folder of runs."""
    again = settled(load_config(gated / "config.yaml"), tmp_path)
    assert [m.weights for m in again.members] == [str(file_of(runs, n).resolve()) for n in NAMES]
    other = load_config(gated / "config.yaml", overrides=["model.members=[a, b]"])
    with pytest.raises(FileNotFoundError, match="a: no finished run"):
        settled(other, tmp_path)


@pytest.mark.parametrize("form", ["gate", "YAML"])
def test_an_ensemble_of_either_form_teaches(runs, gated, tmp_path, form):
    file = gated / "best.safetensors"
    if form == "YAML":
        file = tmp_path / "both.yaml"
        write_recipe(file, members_of([file_of(runs, name) for name in NAMES]), "both", "mean")
    student = tiny("distill", *SMALL_UNET, "data.template=auto", f"teacher={file}")
    config = settled(student, tmp_path)
    trainer, part = build_trainer(config, start_runtime("no", "cpu", 0), 16), make_part()
    network, _ = open_inpainter(file)
    torch.testing.assert_close(
        trainer.teach(part.occluded, part.mask), network(part.occluded, part.mask)
    )
    assert set(trainer.networks()) == {"generator", "ema"}


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["data.size=64"], r"data\.size: 64, but the members were trained with 32"),
        (["data.template=celeba"], r"data\.template: celeba, but .* set data\.template="),
        (["data.hidden_by=occluders", "data.occluders=drawn"], r"set data\.hidden_by=masks"),
        (["model.combination=mean"], r"'mean' has nothing to train"),
        (["model.members=occlufix"], r"members = 'occlufix': must be a list"),
        (["model.members=[facial_deocclusion]"], r"needs two or more, found 1"),
        (["model.members=[facial_deocclusion, facial_deocclusion]"], "same weights"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_made(runs, assignments, words):
    with pytest.raises(ValueError, match=words):
        settled(gate_config(*assignments), runs)
    assert not [folder for folder in runs.glob("ensemble_gate/*") if folder.name != "001"]


def test_members_of_different_splits_train_no_gate(runs, tmp_path):
    files = []
    for name in NAMES:
        shutil.copytree(runs / name, tmp_path / name)
        files.append(file_of(tmp_path, name))
        files[-1].with_name("split.json").write_text(json.dumps({"rule": name}))
    with pytest.raises(ValueError, match=r"model\.members: .*different splits"):
        settled(gate_config(members=files), tmp_path)


def test_an_ensemble_is_no_member_of_a_gate(runs, tmp_path):
    path = tmp_path / "both.yaml"
    write_recipe(path, members_of([file_of(runs, name) for name in NAMES]), "both", "mean")
    with pytest.raises(ValueError, match="is an ensemble; name its members instead"):
        settled(gate_config(members=(path, NAMES[0])), runs)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("/somewhere/runs/occlufix/002/best.safetensors", "occlufix/002"),
        ("/somewhere/other.safetensors", "other.safetensors"),
        ("occlufix", "occlufix"),
        ("runs/occlufix/002", "runs/occlufix/002"),
        (None, None),
    ],
)
def test_a_weights_file_does_not_say_where_its_start_lay(start, told):
    config = tiny("occlufix_l1_only").model_copy(update={"init_from": start})
    assert as_released(config)["init_from"] == told


@pytest.mark.parametrize("missing", ["nobody", "nobody.safetensors"])
def test_a_missing_member_is_named_before_anything_starts(runs, missing):
    config = gate_config(members=(NAMES[0], missing))
    for start in (train, dry_run):
        with pytest.raises(FileNotFoundError, match=missing):
            start(config, None, runs)


def test_members_recorded_for_another_model_are_refused(runs):
    config = settled(gate_config(), runs)
    wrong = tiny("student_alone").model_copy(update={"members": config.members})
    with pytest.raises(ValueError, match="members: are for the model ensemble, not for student"):
        settled(wrong, runs)


def test_the_options_stand_for_settings():
    words = ["ensemble_gate", "--members", "a", "b/002", "c"]
    arguments = parse_arguments(TASKS["inpainting"], "", words)
    assert overrides(arguments) == ['model.members=["a", "b/002", "c"]']
    arguments = parse_arguments(TASKS["inpainting"], "", ["distill", "--teacher", "x/y.yaml"])
    assert overrides(arguments) == ['teacher="x/y.yaml"']


@pytest.mark.parametrize("option", [("--members", "a", "b"), ("--teacher", "a")])
def test_a_continued_run_takes_neither_anew(option, capsys):
    with pytest.raises(SystemExit):
        parse_arguments(TASKS["inpainting"], "", ["distill", "--resume", "latest", *option])
    assert "members or a teacher" in capsys.readouterr().err
