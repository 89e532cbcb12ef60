"""Fixtures that more than one test file uses."""

import gc
import os
from collections import Counter
from pathlib import Path

import pytest

# Before PyTorch is imported, for the processes that tests start too: networks this small gain
# nothing from threads, and those of several test processes on the same cores wait for each other.
# UMAP's Numba would give all of a process two threads again.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

from deocclude.engines.runs import places
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.settings import RunConfig

# PyTorch and what else is imported are half a million objects that live as long as the process. To
# look through them again and again for garbage takes a fifth of the tests' time.
gc.set_threshold(50_000)

TINY = [
    "data.size=32",
    "data.builtin_images=24",
    "data.validation_pairs=6",
    "data.test_per_bin=1",
    "data.workers=0",
    "training.epochs=2",
    "training.epoch_images=12",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.mixed_precision=no",
    "training.features_weights=random",
    "training.feature_terms=true",
    "training.log_steps=1",
    "losses.perceptual.layers=[relu1_1]",
    "losses.style.layers=[relu2_1]",
]
# Files that share what takes seconds to start: a page, a page and a browser.
WITH = {
    "tests/engines/app/test_security.py": "tests/engines/app/test_http.py",
    "tests/engines/app/test_page_tasks.py": "tests/engines/app/test_page.py",
}


def pytest_collection_finish():
    keep_what_is_there()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    if nextitem is None or nextitem.path != item.path:
        keep_what_is_there()


def keep_what_is_there():
    """Garbage goes; nobody looks at the rest again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Files of slow tests first, then those of many, so that both processes end together."""
    cost = Counter()
    for item in items:
        cost[item.path] += 1000 if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -cost[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """As `--dist loadfile`, but files that stand in WITH are one process's."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return WITH.get(file, file)

    return Scheduling(config, log)


@pytest.fixture(scope="module")
def tiny_config():
    """A factory: the named run, shrunk until an epoch takes half a second on built-in faces. Until
    the module ends IFACENET has an eighth of its channels, and figures have few pixels: such tests
    only want them to be there.
    """
    from deocclude.engines.report import figures
    from deocclude.models import ifacenet

    def make(name: str = "ablationv1", *overrides: str) -> RunConfig:
        return load_config(name, "quick", [*TINY, *overrides])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ifacenet, "FEATURES", 64)
        patch.setattr(figures, "DPI", 25)
        yield make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip with the reason."""
    root = os.environ.get("DEOCCLUDE_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("DEOCCLUDE_DATA does not name a data folder")
    return Path(root)


@pytest.fixture(autouse=True)
def no_own_runs(monkeypatch, tmp_path_factory):
    """What lies in runs/ of this checkout is no part of any test."""
    monkeypatch.setattr(places, "OWN", tmp_path_factory.getbasetemp() / "no runs")


@pytest.fixture
def own_threads():
    """The threads of this process as they were, after a test in which somebody sets them: a cell of
    the timing, and UMAP, whose OpenMP is PyTorch's."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
