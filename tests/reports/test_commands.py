"""The command line of reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from robustreid.benchmark.cli import main


def test_report_prints_where_the_page_is(ranked_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of standard output is the path of the front page; what it shows is said beside it."""
    out = tmp_path / "site"
    assert main(["report", str(ranked_run), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'index.html'}\n"
    assert "1 model on 1 board, 1 done." in said.err
    assert (out / "index.html").is_file()
    assert main(["report", str(ranked_run), "--out", str(out)]) == 0


@pytest.mark.parametrize("arguments", [["none"], [], ["run", "--out", "taken"]])
def test_wrong_requests_exit_2(
    ranked_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """A folder that is no run, no folder at all, a place that is taken: one sentence, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("")
    (tmp_path / "run").symlink_to(ranked_run)
    assert main(["report", *arguments]) == 2
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
