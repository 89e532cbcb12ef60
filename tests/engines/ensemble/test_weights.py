"""Fitting weights on validation pairs, and the command line of ensembles."""

import itertools

import numpy as np
import pytest
import torch
import yaml
from ensemble_stubs import SIZE, write_member, write_members

from deocclude.data.contract import compose
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.ensemble import __main__ as ensemble
from deocclude.engines.ensemble import weights as ensemble_weights
from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.ensemble.weights import PairErrors, fit, measure, solve, validation_pairs
from deocclude.engines.runs.recipes import members_of
from deocclude.metrics.image import psnr


def gram(*residuals) -> np.ndarray:
    stacked = np.stack([np.asarray(r, float).ravel() for r in residuals])
    return stacked @ stacked.T


def test_the_better_of_opposite_members_gets_the_larger_weight():
    # residuals e and -e/2: w e - (1 - w) e / 2 is 0 at w = 1/3
    error = np.random.default_rng(0).normal(size=500)
    np.testing.assert_allclose(solve(gram(error, -error / 2)), [1 / 3, 2 / 3], atol=1e-4)


def test_independent_members_are_weighed_by_inverse_variance():
    rng = np.random.default_rng(1)
    residuals = [scale * rng.normal(size=200_000) for scale in (1.0, 2.0, 3.0)]
    inverse = np.array([1, 1 / 4, 1 / 9])
    np.testing.assert_allclose(solve(gram(*residuals)), inverse / inverse.sum(), atol=0.01)


def test_a_member_that_only_harms_gets_nothing():
    rng = np.random.default_rng(2)
    good = rng.normal(size=1000)
    weights = solve(gram(good, 3 * good))
    np.testing.assert_array_equal(weights, [1, 0])


def test_the_constrained_least_squares_are_the_best_of_a_fine_grid():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=400)
    matrix = gram(*(a * shared + rng.normal(size=400) for a in (0.5, 1.0, 1.5)))
    found = solve(matrix)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    steps = np.linspace(0, 1, 101)
    grid = [(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1]
    best = min(np.array(w) @ matrix @ np.array(w) for w in grid)
    assert found @ matrix @ found <= best * (1 + 1e-9)


def test_equal_members_share_and_perfect_ones_too():
    error = np.ones(10)
    np.testing.assert_allclose(solve(gram(error, error, error)), [1 / 3] * 3, atol=1e-6)
    np.testing.assert_array_equal(solve(np.zeros((2, 2))), [0.5, 0.5])


def test_one_pass_gives_the_psnr_of_every_weighted_mean(tmp_path):
    members = members_of(write_members(tmp_path, "abc"))
    pairs = validation_pairs(members, 12)
    measured = measure(members, pairs, batch=5)
    weights = [0.2, 0.3, 0.5]
    target, mask, occluded = load_pairs(pairs, range(len(pairs)), 1.0)
    with torch.no_grad():
        answers = [open_inpainter(m.path)[0](occluded, mask) for m in members]
        mixed = sum(w * answer for w, answer in zip(weights, answers, strict=True))
        median = torch.stack(answers).median(0).values
    expected = psnr(compose(mixed, target, mask), target).mean().item()
    assert measured.psnr(np.array(weights)) == pytest.approx(expected, abs=1e-4)
    expected = psnr(compose(median, target, mask), target).mean().item()
    assert fit(members, "median", pairs).result == pytest.approx(expected, abs=1e-4)
    assert fit(members, "mean", pairs, keep="disk").weights is None


def test_the_fit_is_never_worse_than_the_mean_or_a_member(tmp_path):
    """In what it minimises: the squared error over all holes."""
    members = members_of(write_members(tmp_path, "abc"))
    measured = measure(members, validation_pairs(members, 24))
    total = measured.grams.sum(axis=0)
    weights = fit(members, "weights", validation_pairs(members, 24)).weights
    others = [np.full(3, 1 / 3), *np.eye(3)]
    assert all(weights @ total @ weights <= w @ total @ w * (1 + 1e-6) for w in others)


def test_bins_are_fitted_each_to_their_own_pairs(tmp_path):
    members = members_of(write_members(tmp_path, "ab"))
    pairs = validation_pairs(members, 12)
    measured = measure(members, pairs)
    fitted = fit(members, "bins", pairs)
    assert fitted.weights.shape == (6, 2)
    for row in range(6):
        own = measured.grams[measured.bins == row].sum(axis=0)
        np.testing.assert_allclose(fitted.weights[row], solve(own))
    assert fitted.result == pytest.approx(measured.psnr(fitted.weights))


def test_a_second_combination_of_the_same_members_asks_no_network(tmp_path, monkeypatch):
    files = write_members(tmp_path, "abc")
    members, asked = members_of(files), []
    pairs = validation_pairs(members, 12)
    fresh = {name: fit(members, name, pairs) for name in ("mean", "median", "weights", "bins")}

    def counted(*given):
        asked.append(given)
        return measure(*given)

    monkeypatch.setattr(ensemble_weights, "measure", counted)
    for name, expected in fresh.items():
        found = fit(members, name, pairs, cache=tmp_path / "kept")
        assert (found.alone, found.result) == (expected.alone, expected.result)
        assert np.array_equal(found.weights, expected.weights)
    assert len(asked) == 1
    fit(members[::-1], "mean", pairs, cache=tmp_path / "kept")
    fit(members, "mean", pairs.limited(6), cache=tmp_path / "kept")
    files[0].write_bytes(files[1].read_bytes())  # other weights under the same name
    fit(members, "mean", pairs, cache=tmp_path / "kept")
    assert len(asked) == 4


def test_one_pair_is_enough_for_weights_but_not_for_bins(tmp_path):
    members = members_of(write_members(tmp_path, "ab"))
    one = validation_pairs(members, 12).limited(1)
    assert fit(members, "weights", one).weights.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"hole ratio in \(0\.1, 0\.2\].*--pairs"):
        fit(members, "bins", one)


def test_perfect_members_give_an_infinite_psnr_not_an_error():
    nothing = PairErrors(np.zeros((3, 2, 2)), np.zeros(3, int), 3 * SIZE**2, np.full(3, np.inf))
    assert nothing.psnr(np.array([0.5, 0.5])) == np.inf


def test_an_answer_that_is_not_finite_names_its_member(tmp_path, monkeypatch):
    members = members_of(write_members(tmp_path, "ab"))
    real = ensemble_weights.attach_members

    def broken(network, *arguments):
        real(network, *arguments)
        network.attached[1].network.network.head.bias.data.fill_(float("nan"))

    monkeypatch.setattr(ensemble_weights, "attach_members", broken)
    with pytest.raises(ValueError, match="b: its answers hold values that are not finite"):
        measure(members, validation_pairs(members, 6))


def test_members_of_different_splits_are_refused(tmp_path):
    members = members_of(write_members(tmp_path, "ab"))
    for member, text in zip(members, ("{}", '{"seed": 1}'), strict=True):
        (member.path.parent / "split.json").write_text(text)
    with pytest.raises(ValueError, match=r"different splits.*a.001.split\.json"):
        validation_pairs(members, 12)


def command(root, *words) -> int:
    folders = ["--runs-folder", str(root)] if words[0] == "fit" else []
    return ensemble.main([*words, *folders])


def test_fit_writes_a_file_that_opens_and_prints_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    write_members(tmp_path, "ab")
    words = ["fit", "--members", "a", "b", "--pairs", "12", "--name", "pair", "--device", "cpu"]
    assert command(tmp_path, *words) == 0
    file = tmp_path / "ensembles" / "pair.yaml"
    text = capsys.readouterr().out
    assert "| all, weights" in text
    assert str(file) in text
    content = yaml.safe_load(file.read_text())
    assert sum(content["weights"]) == pytest.approx(1, abs=1e-5)
    assert content["fitted"]["hash"] in text
    network, _ = open_inpainter(file)
    torch.testing.assert_close(network.weights, torch.tensor(content["weights"]))
    assert command(tmp_path, *words) == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert command(tmp_path, *words, "--overwrite", "--keep", "disk") == 0
    assert yaml.safe_load(file.read_text())["keep"] == "disk"


@pytest.mark.parametrize("combination", ["mean", "median", "bins"])
def test_show_and_pack(tmp_path, capsys, combination):
    write_members(tmp_path, "ab")
    file, packed = tmp_path / "ensembles" / "e.yaml", tmp_path / "one.safetensors"
    fixed = ["--members", "a", "b", "--pairs", "12", "--name", "e", "--device", "cpu"]
    assert command(tmp_path, "fit", *fixed, "--combination", combination) == 0
    assert command(tmp_path, "pack", str(file), "-o", str(packed)) == 0
    assert command(tmp_path, "show", str(file)) == 0
    text = capsys.readouterr().out
    assert f"e: 2 trained members, combined by {combination}" in text
    assert str(tmp_path / "b" / "001") in text
    assert command(tmp_path, "show", str(packed)) == 0
    assert "packed" in capsys.readouterr().out
    assert command(tmp_path, "pack", str(file), "-o", str(packed)) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    write_members(tmp_path, "ab")
    write_member(tmp_path, "large", 5, size=48)
    for words, found in (
        (["--members", "a", "missing"], "missing: no finished run"),
        (["--members", "a", "large"], "data.size=48"),
        (["--members", "a", "a"], "same weights"),
        (["--members", "a", "b", "--output", str(tmp_path / "e.txt")], "is a .yaml file"),
    ):
        assert command(tmp_path, "fit", *words) == 1
        assert found in capsys.readouterr().err
    assert command(tmp_path, "show", str(tmp_path / "a" / "001" / "best.safetensors")) == 1
    assert "is no ensemble but Occlufix" in capsys.readouterr().err
