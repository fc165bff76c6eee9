"""The pictures of the documents: each has its line in the list they are made by, is shown, and can be made again."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from run_fixture import write_run

PROJECT = Path(__file__).parents[2]
MAKER = PROJECT / "deploy" / "release" / "make_pictures.py"
LISTED = re.findall(r'^    Picture\("([\w-]+)"', MAKER.read_text(), re.MULTILINE)


def make(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, MAKER, *map(str, words)], capture_output=True, text=True, check=False)


def test_every_picture_is_in_the_list_and_shown_on_a_page() -> None:
    assert sorted(LISTED) == sorted(path.stem for path in (PROJECT / "docs" / "pictures").iterdir())
    text = "".join(path.read_text() for path in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")))
    assert set(re.findall(r"\]\((?:docs/)?pictures/([\w-]+)\.png\)", text)) == set(LISTED)


def test_every_picture_has_words_for_those_who_do_not_see_it() -> None:
    for path in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")):
        assert all(len(words) > 20 for words in re.findall(r"!\[([^\]]*)\]\(", path.read_text())), path


def test_what_is_no_comparison_ends_in_one_sentence(tmp_path: Path) -> None:
    done = make("--comparison", tmp_path, "--out", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "give what `compare --out` wrote" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium, so no picture was made")
def test_pictures_are_made_of_a_run_and_the_others_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = make("--run", run, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "comparison.png stays as it is: its page was not given\n"
    for name in ("demo", "who-sees-what"):
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    assert not (run / "report.html").exists()  # the run is as it was
