"""What all tasks measure rows with: a toy task that has nothing of its own but its numbers."""

import json

import pytest
import torch
from evaluation_stubs import Shifted, fake_pairs

from deocclude.engines.measures.inpainting import ask
from deocclude.engines.measures.rows import HOLE_COLUMNS, Row, Sheet, measured


class Brightness:
    """The mean of each answer, and how many there were."""

    columns = ("mean",)

    def __init__(self, opened):
        self.count = 0

    def add(self, batch, answer):
        self.count += len(batch.names)
        return answer.mean((1, 2, 3))[:, None].tolist()

    def finish(self, path):
        path.with_suffix(".count").write_text(str(self.count))
        return {"counted": self.count}


@pytest.fixture
def pairs():
    return fake_pairs()


def sheet(pairs, name="toy", opened=None, start=Brightness, **told):
    def ready():
        if opened is not None:
            opened.append(name)
        return Shifted(pairs, 0.1)

    row = Row(name, "model", "toy 1", ready)
    return Sheet(row, {"table": "toy"}, start, beside=".count", priced=False, **told)


def test_a_toy_task_is_measured_once_and_found_again(pairs, tmp_path):
    opened = []
    (first,) = measured([sheet(pairs, opened=opened)], pairs, tmp_path, ask, 5)
    assert list(first.frame()) == [*HOLE_COLUMNS, "mean"]
    assert first.info["key"] == {
        "table": "toy", "pairs": pairs.hash, "size": pairs.size, "row": "toy 1",
    }  # fmt: skip
    again = sheet(pairs, "another name", opened, facts={"said": 1})
    (found,) = measured([again], pairs, tmp_path, ask, 5)
    assert (found.path, found.name, found.info["said"]) == (first.path, "another name", 1)
    assert (found.info["counted"], opened) == (len(pairs), ["toy"])
    first.path.with_suffix(".count").unlink()
    measured([again], pairs, tmp_path, ask, 5)
    assert opened == ["toy", "another name"]


def test_sheets_of_one_row_share_a_pass_and_equal_ones_are_one_file(pairs, tmp_path):
    opened = []
    one, same = (sheet(pairs, name, opened) for name in ("one", "same"))
    other = Sheet(one.row, {"table": "other"}, Brightness, "one other", describes=False)
    results = measured([one, same, other], pairs, tmp_path, ask, 5)
    assert len(opened) == 1
    assert results[0].path == results[1].path
    assert [result.name for result in results] == ["one", "same", "one"]
    assert list(results[2].frame()) == ["index", "mean"]
    assert results[2].info["cost"]["images_per_second"] > 0
    assert "cost" not in results[0].info
    assert len(list((tmp_path / "rows").glob("*.json"))) == 2


def test_sheets_that_ask_for_themselves_are_not_timed(pairs, tmp_path):
    class Asks(Brightness):
        def __init__(self, opened):
            super().__init__(opened)
            self.opened = opened

        def add(self, batch, answer):
            assert answer is None
            return super().add(batch, ask(self.opened, batch)())

    (own,) = measured([sheet(pairs, start=Asks)], pairs, tmp_path / "own", None, 5)
    (asked,) = measured([sheet(pairs)], pairs, tmp_path / "asked", ask, 5)
    assert own.path.read_bytes() == asked.path.read_bytes()
    assert json.loads(own.path.with_suffix(".json").read_text())["count"] == len(pairs)


def test_a_line_that_is_missing_is_an_error_and_leaves_no_file(pairs, tmp_path):
    class Short(Brightness):
        def add(self, batch, answer):
            return super().add(batch, answer)[1:]

    with pytest.raises(ValueError, match="shorter"):
        measured([sheet(pairs, start=Short)], pairs, tmp_path, ask, 5)
    assert list((tmp_path / "rows").iterdir()) == []
    with pytest.raises(ValueError, match="batch must be at least 1, found 0"):
        measured([sheet(pairs)], pairs, tmp_path, ask, 0)


def test_answers_are_recorded_where_it_is_said(pairs, tmp_path):
    class Where(Brightness):
        def add(self, batch, answer):
            assert batch.seen.device == answer.device == torch.device("meta")
            return [[0.0]] * len(batch.names)

    measured([sheet(pairs, start=Where)], pairs, tmp_path, ask, 5, "meta")
