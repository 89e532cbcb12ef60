"""Errors by place, hole ratio and kind of occluder: known errors come back where they were made."""

import argparse
import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from ensemble_stubs import write_member
from evaluation_stubs import Knows

from deocclude.data.faces.regions import REGIONS, region_labels, region_shares
from deocclude.data.masks.source import generate_mask
from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.data.seeding import keyed_rng
from deocclude.engines.analysis import error_figures, errors
from deocclude.engines.analysis.error_rows import (
    HOLE,
    PLACES,
    edge_of,
    evaluate_errors,
    hole_values,
    read_maps,
    sums_of,
)
from deocclude.engines.analysis.error_tables import (
    curve_frame,
    error_tables,
    kind_frame,
    kind_table,
    place_frame,
    ranked_rows,
)
from deocclude.engines.cli import analyses, evaluate
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.runs.finished import read_trained

SIZE, COUNT = 64, 12


def inside(region):
    """Where a region is the likeliest, (SIZE, SIZE)."""
    return np.equal(region_labels("ffhq", SIZE), REGIONS.index(region))


def read(index, flat=False):
    image = keyed_rng(3, index).integers(60, 190, (SIZE, SIZE, 3), np.uint8)
    mask = generate_mask(SIZE, index % 6, bool(index % 2), keyed_rng(4, index))
    return (np.full_like(image, 90) if flat else image), mask


def make_pairs(count=COUNT, flat=False, seed=0):
    listed = [
        Pair(f"{i // 2}.png", f"{seed} {i}", f"{i}", f"{i}", i % 6, bool(i % 2), read(i)[1].mean())
        for i in range(count)
    ]
    return FrozenPairs(listed, lambda i: read(i, flat), SIZE, "noise")


def errs(pairs, region=None, offset=0.1):
    """Answers the target and `offset` more in one region, everywhere without one."""
    where = np.ones((SIZE, SIZE)) if region is None else inside(region)
    added = offset * torch.from_numpy(where.astype(np.float32))
    return Knows(pairs, lambda target: target + added)


def row(name, pairs, *options, kind="model", opened=None):
    def make():
        restorer = errs(pairs, *options)
        if opened is not None:
            opened.append(name)
        return restorer

    return Row(name, kind, f"{options}", make)


@pytest.fixture
def pairs():
    return make_pairs()


@pytest.fixture
def results(pairs, tmp_path):
    rows = [row("even", pairs), row("lips", pairs, "mouth", 0.2)]
    return evaluate_errors(rows, pairs, "ffhq", tmp_path, batch=5)


def place(places, name, where, metric="l1"):
    chosen = places[places["row"].eq(name) & places["place"].eq(where)]
    return chosen[chosen["metric"] == metric].iloc[0]


def test_an_even_error_is_the_same_everywhere(results):
    places = place_frame(results, "even")
    for where in PLACES:
        assert place(places, "even", where)["mean"] == pytest.approx(0.1, abs=1e-6)
        assert place(places, "even", where, "rmse")["mean"] == pytest.approx(0.1, abs=1e-6)
        assert place(places, "even", where, "psnr")["mean"] == pytest.approx(20, abs=1e-4)
        line = place(places, "even", where)
        assert line["error_share"] == pytest.approx(line["pixel_share"], abs=1e-6)
        assert line["low"] == pytest.approx(line["high"], abs=1e-6)


def test_the_edge_of_a_hole_is_what_lies_beside_known_pixels():
    mask = torch.zeros(1, 1, 100, 100)
    mask[..., 20:60, 70:] = 1  # at the picture's border nothing is known
    edge = edge_of(mask)
    inner = torch.zeros_like(mask)
    inner[..., 22:58, 72:] = 1
    assert torch.equal(edge, mask - inner)


def test_the_edge_counts_within_the_hole(results, pairs):
    frame = results[0].frame()
    mask = torch.from_numpy(read(4)[1]).float()[None, None]
    assert sums_of(frame, "pixels")[4, 1] == pytest.approx(edge_of(mask).sum().item())
    assert (sums_of(frame, "pixels")[:, 1] <= sums_of(frame, "pixels")[:, 0]).all()


def test_an_error_of_the_mouth_is_found_there(results):
    places = place_frame(results, "even")
    found = {where: place(places, "lips", where)["mean"] for where in REGIONS}
    assert max(found, key=found.get) == "mouth"
    assert found["mouth"] > 5 * max(v for k, v in found.items() if k != "mouth")
    assert place(places, "lips", "mouth")["error_share"] > 0.6
    better, worse = (place(places, "lips", where, "psnr") for where in ("skin", "mouth"))
    assert better["difference_low"] > 0 > worse["difference_high"]


def test_sums_are_those_of_hole_pixels_by_share(results, pairs):
    frame = results[1].frame()
    shares = region_shares("ffhq", SIZE)
    mask = read(4)[1]
    wanted = (shares * mask).sum((1, 2))
    assert sums_of(frame, "pixels")[4, 2:] == pytest.approx(wanted, rel=1e-5)
    assert sums_of(frame, "pixels")[:, 2:].sum(1) == pytest.approx(
        sums_of(frame, "pixels")[:, 0], rel=1e-5
    )
    hole = (inside("mouth") & (mask == 1)).sum()
    assert sums_of(frame, "l1")[4, 0] == pytest.approx(0.2 * hole, abs=1e-3)


def test_psnr_of_the_composed_picture_follows_from_the_hole(results):
    values = hole_values(results[0].frame())
    ratio = np.array([read(i)[1].mean() for i in range(COUNT)])
    assert values["psnr_hole"].to_numpy() == pytest.approx(np.full(COUNT, 20), abs=1e-4)
    assert values["psnr_composed"].to_numpy() == pytest.approx(20 - 10 * np.log10(ratio), abs=1e-3)


def test_the_map_shows_the_mouth_and_where_no_hole_was(results, pairs):
    maps = read_maps(results[1])
    counted = np.sum([read(i)[1] for i in range(COUNT)], axis=0)
    assert (maps.count == counted).all()
    mean = maps.mean("l1")
    assert np.isnan(mean[counted == 0]).all()
    seen = counted > 0
    assert mean[inside("mouth") & seen] == pytest.approx(0.2, abs=1e-6)
    assert mean[~inside("mouth") & seen] == pytest.approx(0, abs=1e-6)


def test_batches_change_nothing_and_files_are_used_again(pairs, results, tmp_path):
    opened = []
    rows = [row("another name", pairs, opened=opened)]
    (again,) = evaluate_errors(rows, pairs, "ffhq", tmp_path, batch=1)
    assert (opened, again.path) == ([], results[0].path)
    assert again.name == "another name"
    (fresh,) = evaluate_errors(rows, pairs, "ffhq", tmp_path / "other", batch=1)
    pd.testing.assert_frame_equal(fresh.frame(), results[0].frame(), rtol=1e-5)
    again.path.with_suffix(".maps.npz").unlink()
    evaluate_errors(rows, pairs, "ffhq", tmp_path)
    evaluate_errors(rows, pairs, "celeba", tmp_path)  # other regions are other values
    assert len(opened) == 3


def test_a_prediction_that_is_not_finite_is_named_and_leaves_no_file(pairs, tmp_path):
    with pytest.raises(ValueError, match=r"broken: .*not finite"):
        evaluate_errors([row("broken", pairs, None, math.nan)], pairs, "ffhq", tmp_path)
    assert not list((tmp_path / "rows").iterdir())


def test_bad_rows_and_pairs_are_refused(pairs, tmp_path):
    with pytest.raises(ValueError, match="no pairs"):
        evaluate_errors([row("a", pairs)], make_pairs(0), "ffhq", tmp_path)
    with pytest.raises(ValueError, match="names of their own: a, a"):
        evaluate_errors([row("a", pairs), row("a", pairs)], pairs, "ffhq", tmp_path)
    with pytest.raises(ValueError, match="valid: ffhq, celeba"):
        evaluate_errors([row("a", pairs)], pairs, "lfw", tmp_path)


def test_rows_of_different_pairs_share_no_table(pairs, results, tmp_path):
    other = make_pairs(seed=1)
    (stranger,) = evaluate_errors([row("stranger", other)], other, "ffhq", tmp_path)
    for build in (lambda r: place_frame(r, "even"), lambda r: curve_frame(r, 0.1)):
        with pytest.raises(ValueError, match="different pairs"):
            build([results[0], stranger])


def test_one_pair_and_exact_restorations_give_tables_without_intervals(tmp_path):
    one = make_pairs(1, flat=True)
    rows = [row("exact", one, None, 0.0), row("even", one)]
    results = evaluate_errors(rows, one, "ffhq", tmp_path)
    places, curves = place_frame(results, "even"), curve_frame(results, 0.1)
    line = place(places, "exact", HOLE, "psnr")
    assert math.isinf(line["mean"])
    assert np.isnan([line["low"], line["high"]]).all()
    assert curves["mean"].isna().all()
    tables = error_tables({"ratio": curves, "places": places}, "even")
    assert [cell.text for cell in tables[0].rows[0]][1] == "∞"
    assert "–" in [cell.text for row in tables[4].rows for cell in row]
    kinds = {"exact": "model", "even": "model"}
    error_figures.curves_figure(curves, list(kinds), kinds)
    error_figures.places_figure(places, list(kinds), kinds)
    maps = {result.name: read_maps(result) for result in results}
    error_figures.maps_figure(maps, kinds, "ffhq")
    error_figures.maps_figure(maps, kinds, "ffhq", "even")


def test_the_curve_of_an_even_error_is_flat_in_the_hole(results):
    curves = curve_frame(results[:1], 0.1)
    flat = curves[curves["metric"] == "l1_hole"]
    assert flat["mean"].to_numpy() == pytest.approx(np.full(len(flat), 0.1), abs=1e-5)
    falling = curves.loc[curves["metric"] == "psnr_composed", "mean"].to_numpy()
    assert (np.diff(falling) < 0).all()


def covered_result(name, tmp_path, shift):
    """A case of the end-to-end table: twelve faces under two kinds, and one bare face."""
    kinds = ["scarf", "text"] * 6 + ["none"]
    frame = pd.DataFrame({"index": range(13), "image": [f"{i // 2}" for i in range(13)]})
    frame["kind"], frame["hole_ratio"] = kinds, [0.2, 0.1] * 6 + [0.0]
    noise = np.arange(12) / 10
    frame["hole/psnr"] = [*(np.array([20.0, 30.0] * 6) + noise + shift), math.nan]
    frame["hole/l1"] = frame["hole/ssim"] = [*([0.1, 0.05] * 6), math.nan]
    path = tmp_path / f"{name}.csv"
    frame.to_csv(path, index=False)
    info = {"name": f"{name}, true mask", "inpainter": name, "count": 13}
    return RowResult(path, info | {"key": {"pairs": "hash"}})


def test_kinds_have_groups_differences_and_no_bare_faces(tmp_path):
    results = [covered_result("base", tmp_path, 0.0), covered_result("better", tmp_path, 1.5)]
    kinds = kind_frame(results, "base")
    assert set(kinds["kind"]) == {"all", "scarf", "text"}
    lines = kinds[kinds["metric"].eq("psnr") & kinds["row"].eq("better")].set_index("kind")
    assert lines.loc["scarf", "group"] == "real"
    assert lines.loc["text", "group"] == "drawn"
    assert lines.loc["scarf", "hole_ratio"] == pytest.approx(0.2)
    both = kinds[kinds["metric"].eq("psnr") & kinds["kind"].eq("scarf")].set_index("row")
    assert both.loc["better", "mean"] - both.loc["base", "mean"] == pytest.approx(1.5)
    for end in ("difference", "difference_low", "difference_high"):
        assert lines.loc["scarf", end] == pytest.approx(1.5)
    assert lines.loc["scarf", "low"] < lines.loc["scarf", "mean"] < lines.loc["scarf", "high"]
    figure = error_figures.kinds_figure(
        kinds, ["base", "better"], {"base": "model"} | {"better": "model"}
    )
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["scarf (20%)", "text (10%)"]


def test_a_row_without_a_finite_value_of_a_kind_keeps_its_column(tmp_path):
    results = [covered_result("base", tmp_path, 0.0), covered_result("exact", tmp_path, math.inf)]
    table = kind_table(kind_frame(results, "base"))
    assert table.columns[-2:] == ["base", "exact"]
    assert {row[-1].text for row in table.rows} == {"–"}
    assert all(row[-2].best for row in table.rows)


def test_a_figure_of_many_rows_shows_the_reference_and_the_best_models():
    ranked = [f"run {i}" for i in range(200)]
    kinds = {name: "model" for name in ranked} | {"run 0": "baseline"}
    drawn = error_figures.drawn_rows(ranked, "run 150", kinds)
    assert drawn == ["run 150", *(f"run {i}" for i in range(1, 12))]
    assert error_figures.drawn_rows(["b", "m"], "b", {"b": "baseline", "m": "model"}) == ["b", "m"]


def test_rows_are_ranked_by_their_squared_error(results):
    assert ranked_rows(place_frame(results, "even")) == ["lips", "even"]


def test_the_command_writes_every_file_on_built_in_faces(tmp_path, capsys):
    file = write_member(tmp_path / "runs", "tiny", size=64)
    out = tmp_path / "out"
    words = ["analyse", "errors", "--checkpoint", str(file), "--device", "cpu", "--limit", "12"]
    words += ["--per-kind", "1", "--baselines", "mean_colour", "--output", str(out)]
    assert evaluate.main(words) == 0
    text = (out / "table.md").read_text(encoding="utf-8")
    assert "template ffhq" in text
    assert "| Mean colour" in text
    assert "drawn, all" in text
    assert {path.name for path in out.glob("*.csv")} == {"ratio.csv", "places.csv", "kinds.csv"}
    names = ["kinds", "map_differences", "maps", "places", "ratio", "regions"]
    assert sorted(path.stem for path in (out / "figures").glob("*.png")) == names
    capsys.readouterr()
    assert evaluate.main([*words[:-2], "--per-kind", "0", "--output", str(tmp_path / "no")]) == 0
    assert "by kind of occluder" not in capsys.readouterr().out
    assert evaluate.main([*words, "--reference", "nobody"]) == 1
    assert "rows: tiny, Mean colour" in capsys.readouterr().err


def test_members_of_different_templates_are_named(tmp_path):
    files = [
        write_member(tmp_path, name, template=template)
        for name, template in (("alpha", "ffhq"), ("beta", "celeba"))
    ]
    members = [read_trained(file) for file in files]
    options = argparse.Namespace(template=None, data=None, per_kind=None)
    with pytest.raises(ValueError, match=r"ffhq: alpha; celeba: beta.*--template"):
        errors.aligned_as(options, members)
    assert errors.aligned_as(options, members[1:]) == "celeba"
    options.template = "ffhq"
    assert errors.aligned_as(options, members) == "ffhq"


def test_a_template_that_is_not_told_is_that_of_the_pictures(tmp_path):
    member = read_trained(write_member(tmp_path, "alpha"))
    told = dataclasses.replace(member, data=member.data.model_copy(update={"template": "auto"}))
    options = argparse.Namespace(template=None, data=None, per_kind=None)
    assert errors.aligned_as(options, [told]) == "ffhq"


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "nan"])
def test_a_bandwidth_out_of_range_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="above 0 and below 1"):
        analyses.bandwidth(text)
