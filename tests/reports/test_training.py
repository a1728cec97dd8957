"""The figure of a training: what was computed is drawn where it belongs, and a half-written folder is no bug."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from robustreid import InvalidFileError
from robustreid.benchmark.cli import main
from robustreid.reports.training import draw_log, read_log

HEAD = "epoch,loss,softmax_clean,triplet_clean,accuracy_clean,softmax_perturbed,mAP_clean,mAP_attacked"
LINES = [
    "1,5.5,5.1,0.4,0.02,,,",
    "2,3.5,3.2,0.3,0.31,,0.705,0.0831",
    "3,2.5,2.3,0.2,0.66,,,",
    "4,2.1,2,0.1,0.8,,0.75,0.05",
]


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """The folder of a training without an adversary, scored every second epoch."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join([HEAD, *LINES]) + "\n")
    return folder


def said(svg: str) -> dict[str, list[str]]:
    """By line and panel, what its marks say."""
    found: dict[str, list[str]] = {}
    for group in ET.fromstring(svg).iter():  # noqa: S314 (our own drawing)
        label = group.get("aria-label", "")
        if group.get("class") == "mark":
            name, context, where, value = label.split(", ", 1)[0], *label.rsplit(", ", 3)[1:]
            found.setdefault(f"{context}: {name}", []).append(f"{where} {value}")
    return found


def check_numbers(svg: str) -> None:
    """Every number of the log stands at its epoch, scores in points, and nothing that was not computed."""
    marks = {key.replace(", clean", ""): values for key, values in said(svg).items()}
    kept_out = "mAP of people who are kept out"
    assert marks[f"{kept_out}: clean"] == ["epoch 2 70.50", "epoch 4 75.00"]
    assert marks[f"{kept_out}: attacked"] == ["epoch 2 8.31", "epoch 4 5.00"]
    assert [key for key in marks if "perturbed" in key or "moved" in key] == []
    assert sum(map(len, marks.values())) == 2 + 2 + 4 + 4 + 4


def test_every_number_is_drawn(training: Path) -> None:
    """As a mark that says it; a log with attacked and clean exchanged is another figure."""
    check_numbers(draw_log(read_log(training / "log.csv"), "mine"))
    other = (training / "log.csv").read_text().replace("mAP_clean,mAP_attacked", "mAP_attacked,mAP_clean")
    (training / "log.csv").write_text(other)
    with pytest.raises(AssertionError):
        check_numbers(draw_log(read_log(training / "log.csv"), "mine"))


def test_the_epoch_that_is_handed_out_is_marked(training: Path) -> None:
    """Where it is not the last one."""
    log = read_log(training / "log.csv")
    assert "handed out" in draw_log(log, "mine", 2)
    assert "handed out" not in draw_log(log, "mine", 4)
    assert draw_log(log, "mine", 2) == draw_log(log, "mine", 2)


def test_the_command_draws_into_the_folder(training: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is printed; the name on the card is escaped."""
    (training / "card.json").write_text(json.dumps({"name": "<script>alert(1)</script>", "epoch": 2}))
    assert main(["plot", str(training)]) == 0
    assert capsys.readouterr().out.strip() == str(training / "training.svg")
    text = (training / "training.svg").read_text()
    assert "handed out" in text
    assert not re.search("<script", text)


@pytest.mark.parametrize("text", ["", HEAD + "\n", "epoch,loss\n1,five\n", "loss\n5\n", HEAD + "\n1,2,3,4,5,6,7,8,9\n"])
def test_a_broken_log_is_refused(training: Path, text: str) -> None:
    """In one sentence, exit code 4."""
    (training / "log.csv").write_text(text)
    with pytest.raises(InvalidFileError, match="is not the log of a training"):
        read_log(training / "log.csv")
    assert main(["plot", str(training)]) == 4


def test_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main(["plot", str(tmp_path)]) == 2
    assert "there is no log.csv" in capsys.readouterr().err
