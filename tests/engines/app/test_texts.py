"""Every language has the same texts, all are used, and a browser gets the one it prefers."""

import re
from pathlib import Path
from string import Formatter

import pytest

from deocclude.engines.app import texts
from deocclude.engines.app.editor import BRUSH
from deocclude.engines.app.texts import TEXTS, language_of, percent, words

APP = Path(texts.__file__).parent
USED = (r'\btext\("(\w+)"\)', r'\bsay\["(\w+)"', r'TEXTS\["en"\]\["(\w+)"\]',
        r'\bpart\(\s*gr\.\w+, "(\w+)"', r'\btexts\.([a-z]\w*)', r'\bbutton\("(\w+)"')  # fmt: skip


def used():
    """Keys that the page's code asks for, with the two of `say["a" if ... else "b"]`."""
    code = [(APP / name).read_text() for name in ("page.py", "handlers.py")]
    code.append((BRUSH / "brush.js").read_text())
    found = {key for each in code for pattern in USED for key in re.findall(pattern, each)}
    return found | set(re.findall(r'say\[[^\]]* else "(\w+)"\]', code[1]))


def test_every_text_that_is_asked_for_is_there_and_none_is_left_over():
    assert used() == set(TEXTS["en"])


def test_every_language_has_the_same_texts_with_the_same_blanks():
    def blanks(text):
        return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)

    for language, table in TEXTS.items():
        assert table.keys() == TEXTS["en"].keys(), language
        for key, text in table.items():
            assert text.strip() == text != "", (language, key)
            assert blanks(text) == blanks(TEXTS["en"][key]), (language, key)


@pytest.fixture
def languages(monkeypatch):
    for name in ("de", "fr"):
        monkeypatch.setitem(TEXTS, name, dict(TEXTS["en"], title=name))


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"), ("", "en"), ("de", "de"), ("DE-at", "de"), ("da", "en"),
        ("da, en-gb;q=0.8, en;q=0.7", "en"), ("da, de;q=0.8, en;q=0.7", "de"),
        ("en;q=0.7, de;q=0.8", "de"), ("en;q=0.7,de; q=0.8", "de"), ("en;q=0.7,de ;Q=0.8", "de"),
        ("de, fr", "de"), ("fr, de", "fr"), ("de-CH;q=0.2, fr;q=0.3, de;q=0.9", "de"),
        ("de;q=0", "en"), ("de;q=0.000, fr;q=0.001", "fr"), ("*", "en"), ("*;q=0.5, fr", "fr"),
        ("en;q=0, *", "de"), ("en;q=0.1, *;q=0.5", "de"), ("*;q=0", "en"),
        ("de;q=nan", "en"), ("de;q=2, fr;q=0.1", "fr"), ("de;q=-1", "en"), ("de;q=x, fr", "fr"),
        (";;;,,,q=1", "en"), ("../../etc/passwd", "en"), ("de" * 9000, "en"), ("zh-Hant-TW", "en"),
        ("{title}", "en"), ("en_US, de", "de"),
    ],
)  # fmt: skip
def test_a_browser_gets_the_language_it_prefers(languages, accepted, language):
    assert language_of(accepted) == language
    assert words(accepted) is TEXTS[language]


def test_shares_are_whole_percents_and_little_is_not_nothing():
    assert [percent(x) for x in (0, 0.004, 0.0099, 0.01, 0.256, 1)] == [
        "0%", "less than 1%", "less than 1%", "1%", "26%", "100%",
    ]  # fmt: skip
