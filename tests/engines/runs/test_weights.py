import errno

import pytest
import torch
from safetensors.torch import save_file

from deocclude.engines.runs import weights
from deocclude.engines.runs.metadata import CheckpointError
from deocclude.engines.runs.weights import (
    load_checkpoint,
    load_inpainter,
    load_release,
    load_strictly,
    save_checkpoint,
    save_release,
    saved_step,
    to_float,
    to_int8,
)
from deocclude.models import create_inpainter

CONFIG = {
    "config": {
        "name": "light",
        "model": {"name": "ifacenet", "branches": ["light"]},
        "data": {"size": 32, "fill": 1.0},
    }
}


def tensors(value: float) -> dict:
    return {"generator": {"a.weight": torch.full((3, 2), value)}, "ema": {"n": torch.tensor(4)}}


def test_checkpoint_comes_back_whole(tmp_path):
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 7, "random": torch.get_rng_state()})
    networks, state = load_checkpoint(tmp_path / "last")
    torch.testing.assert_close(networks["generator"]["a.weight"], torch.ones(3, 2))
    assert networks["ema"]["n"].item() == 4
    assert state["step"] == 7
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("writer", ["save_file", "_flush"])
def test_no_space_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, writer):
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 1})
    monkeypatch.setattr(weights, writer, no_space)
    with pytest.raises(CheckpointError, match=r"No space left.*kept"):
        save_checkpoint(tmp_path / "last", tensors(2.0), {"step": 2})
    networks, state = load_checkpoint(tmp_path / "last")
    assert state["step"] == 1
    assert networks["generator"]["a.weight"][0, 0] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_no_space_leaves_the_last_good_weights(tmp_path, monkeypatch):
    path, network = tmp_path / "best.safetensors", torch.nn.Linear(2, 2)
    save_release(path, network, CONFIG)
    before = path.read_bytes()
    monkeypatch.setattr(weights, "save_file", no_space)
    with pytest.raises(CheckpointError, match="kept"):
        save_release(path, torch.nn.Linear(2, 2), CONFIG)
    assert path.read_bytes() == before


def test_a_stop_between_the_renames_loses_nothing(tmp_path):
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 3})
    (tmp_path / "last").rename(tmp_path / ".last.old")
    assert load_checkpoint(tmp_path / "last")[1]["step"] == 3


@pytest.mark.parametrize("name", [weights.NETWORKS, weights.STATE])
def test_truncated_checkpoint_is_named(tmp_path, name):
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 3})
    path = tmp_path / "last" / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "last")


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path / "last")


def test_released_weights_rebuild_the_model(tmp_path):
    path = tmp_path / "best.safetensors"
    model = create_inpainter("ifacenet", branches=["light"]).eval()
    save_release(path, model, CONFIG | {"metrics": {"psnr": 20.5}})
    loaded, metadata = load_inpainter(path)
    assert metadata["metrics"] == {"psnr": 20.5}
    assert not loaded.training
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)


def test_truncated_weights_are_named(tmp_path):
    path = tmp_path / "best.safetensors"
    save_release(path, torch.nn.Linear(2, 2), CONFIG)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"best\.safetensors.*truncated"):
        load_inpainter(path)
    with pytest.raises(CheckpointError, match="no such"):
        load_inpainter(tmp_path / "other.safetensors")


def test_weights_of_another_architecture_give_a_readable_difference(tmp_path):
    path = tmp_path / "best.safetensors"
    save_release(path, create_inpainter("ifacenet", branches=["light"], attention=False), CONFIG)
    with pytest.raises(CheckpointError) as caught:
        load_inpainter(path)
    assert "another architecture" in str(caught.value)
    assert "7 tensors missing (attention.gamma" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"weight: \(3, 2\) in the file, \(2, 2\) expected"):
        load_strictly(
            torch.nn.Linear(2, 2), {"weight": torch.ones(3, 2), "bias": torch.ones(2)}, "x"
        )


def test_a_second_stop_between_the_renames_keeps_the_only_checkpoint(tmp_path, monkeypatch):
    """The first left `.last.old` alone; the next save is cut off before it is in place."""
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 3})
    (tmp_path / "last").rename(tmp_path / ".last.old")
    original = type(tmp_path).rename

    def killed(path, target):
        if target == tmp_path / "last":
            raise KeyboardInterrupt
        return original(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "last", tensors(2.0), {"step": 4})
    assert load_checkpoint(tmp_path / "last")[1]["step"] == 3


def test_the_step_of_a_checkpoint_is_read_without_its_weights(tmp_path):
    assert saved_step(tmp_path) == 0
    save_checkpoint(tmp_path / "last", tensors(1.0), {"step": 3})
    assert saved_step(tmp_path) == 3
    (tmp_path / "last" / "state.pt").write_bytes(b"PK cut off")
    assert saved_step(tmp_path) == 0


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (5, 40), (3, 1, 5, 5)])
def test_int8_is_off_by_half_a_step_of_its_row_at_most(shape):
    tensor = torch.stack([torch.randn(shape[1:]) * 10.0**row for row in range(shape[0])])
    tensor[1] = 0
    rows, scale = to_int8(tensor)
    assert (rows.dtype, rows.shape, scale.shape) == (torch.int8, shape, shape[:1])
    again = to_float({"w": rows, "w.scale": scale}, "a file")
    assert list(again) == ["w"]
    off = (again["w"] - tensor).flatten(1).abs().amax(1)
    assert (off <= tensor.flatten(1).abs().amax(1) / 254 * 1.0001).all()
    assert rows[1].count_nonzero() == 0
    assert (rows.flatten(1).abs().amax(1) == 127).sum() == shape[0] - 1


def test_wider_tensors_come_back_as_they_were_stored(tmp_path):
    stored = {
        "a.weight": torch.randn(4, 3), "a.bias": torch.tensor([1e-30, 3e38]), "n": torch.tensor(7),
        "gain.scale": torch.randn(4), "half": torch.randn(2, 3).half(),
    }  # fmt: skip
    save_file(stored, tmp_path / "old.safetensors", {"config": "{}"})
    state, metadata = load_release(tmp_path / "old.safetensors")
    assert metadata == {"config": {}}
    assert state["half"].dtype == torch.float32
    for key, tensor in stored.items():
        assert torch.equal(state[key], tensor.float() if key == "half" else tensor)


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (None, r"one.safetensors, left: b.weight is stored in int8, its b.weight.scale is missing"),
        (torch.ones(3), r"b.weight.scale has shape \(3,\); needed are 4 finite numbers, one for"),
        (torch.full((4,), torch.nan), r"b.weight.scale has shape \(4,\); needed are 4 finite"),
    ],
)
def test_int8_without_its_scales_names_the_tensor(tmp_path, scale, said):
    stored = {"left/b.weight": torch.ones(4, 2, dtype=torch.int8), "a.weight": torch.ones(2, 2)}
    more = {} if scale is None else {"left/b.weight.scale": scale}
    save_file(stored | more, tmp_path / "one.safetensors")
    assert list(load_release(tmp_path / "one.safetensors")[0]) == ["a.weight"]
    with pytest.raises(CheckpointError, match=said):
        load_release(tmp_path / "one.safetensors", "left")
