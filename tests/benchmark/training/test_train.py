"""`robustreid train`, as a user meets it: what it writes, what stands, what is refused, and a kill at any time."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from robustreid.benchmark.cli import main
from robustreid.models.load import build, resolve

Write = Callable[..., Path]
PERTURB = "perturb: {epsilon: 4/255, steps: 1, step_size: 4/255}\naverage: 0.9"
FILES = ["card.json", "checkpoint", "log.csv", "training.svg", "weights.safetensors"]

COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from robustreid.benchmark.cli import main
sys.exit(main(sys.argv[1:]))
"""


def train(*words: str) -> int:
    """The exit code of `robustreid train`."""
    return main(["train", "recipe.yml", "--device", "cpu", *words])


def written(out: Path) -> list[str]:
    """What lies in a training's folder, but for its lock."""
    return sorted(path.name for path in out.iterdir() if path.name != ".lock")


def log_of(out: Path) -> list[dict[str, str]]:
    """The log without times."""
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in {"seconds", "images_per_second"}} for row in rows]


def test_it_writes_weights_card_and_log(write_recipe: Write, workshop: Path) -> None:
    """The weights load as a model of the harness, the card says what they are, the log has a line an epoch."""
    recipe = write_recipe(PERTURB)
    assert train() == 0
    out = workshop / "runs" / "train" / "small"
    assert written(out) == FILES
    card = json.loads((out / "card.json").read_text())
    weights = out / "weights.safetensors"
    assert card["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card["recipe"] == recipe.read_text()
    assert (card["architecture"], card["epochs"], card["seed"], card["scores"]) == ("tinynet", 3, 0, [])
    assert card["data"] == "mini: 20 images of 5 identities from 2 cameras"
    assert len(card["data_sha256"]) == len(card["recipe_sha256"]) == 64
    assert card["final"]["softmax_perturbed"] > 0
    lines = log_of(out)
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert lines[0]["softmax_clean"] == ""
    embedder = build(resolve(label="mine", architecture="tinynet", weights=weights))
    features = embedder(torch.rand(2, 3, 128, 64))
    assert features.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_what_is_finished_stands(write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command does nothing; another recipe is refused until `--again`; comments change nothing."""
    write_recipe()
    out = workshop / "out"
    assert train("--out", "out") == 0
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    write_recipe("# a comment")
    assert train("--out", "out") == 0
    assert "stands already" in capsys.readouterr().err
    assert times == {path: path.stat().st_mtime_ns for path in times}
    write_recipe("seed: 5")
    assert train("--out", "out") == 2
    assert (
        "holds a training with another recipe; choose another --out, or start it from the beginning with --again"
        in (capsys.readouterr().err)
    )
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert train("--out", "out", "--again", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5


def test_a_lost_figure_is_drawn_again(write_recipe: Write, workshop: Path) -> None:
    """Also where the card stands: a kill may come between the two."""
    write_recipe()
    assert train("--out", "out") == 0
    card = (workshop / "out" / "card.json").read_bytes()
    (workshop / "out" / "training.svg").unlink()
    assert train("--out", "out") == 0
    assert written(workshop / "out") == FILES
    assert (workshop / "out" / "card.json").read_bytes() == card


def test_other_images_are_refused(write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint of other training images is not gone on from."""
    write_recipe()
    assert train("--out", "out") == 0
    (workshop / "out" / "card.json").unlink()
    next((workshop / "people" / "bounding_box_train").iterdir()).unlink()
    assert train("--out", "out") == 2
    assert "other training images" in capsys.readouterr().err


def test_lost_weights_come_from_the_checkpoint(write_recipe: Write, workshop: Path) -> None:
    """Removed or changed weights are written again, the same; `--half` asked for later needs no training."""
    write_recipe()
    assert train("--out", "out") == 0
    weights = workshop / "out" / "weights.safetensors"
    before, log = weights.read_bytes(), (workshop / "out" / "log.csv").read_bytes()
    weights.write_bytes(b"torn")
    assert train("--out", "out") == 0
    assert before == weights.read_bytes()
    assert train("--out", "out", "--half") == 0
    assert len(weights.read_bytes()) < 0.52 * len(before)
    assert log == (workshop / "out" / "log.csv").read_bytes()


def test_a_broken_checkpoint_is_said(write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 and one sentence."""
    write_recipe()
    (workshop / "out" / "checkpoint").mkdir(parents=True)
    (workshop / "out" / "checkpoint" / "state.safetensors").write_bytes(b"torn")
    assert train("--out", "out") == 4
    assert "is not a checkpoint of a training" in capsys.readouterr().err


def test_a_training_can_start_from_weights(write_recipe: Write, workshop: Path) -> None:
    """Other weights to start from give another training, and the card says which."""
    write_recipe()
    assert train("--out", "first") == 0
    write_recipe("weights: first/weights.safetensors")
    assert train("--out", "second") == 0
    first, second = (json.loads((workshop / name / "card.json").read_text()) for name in ("first", "second"))
    assert first["started_from_sha256"] is None
    assert first["weights_sha256"] == second["started_from_sha256"]
    assert first["recipe_sha256"] != second["recipe_sha256"]


def test_a_diverging_training_keeps_its_checkpoint(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, a sentence, no weights; what stood stands."""
    write_recipe("optimiser: {learning_rate: 1.0e+30, warmup_epochs: 0}", epochs="epochs: 9")
    assert train("--out", "out") == 2
    assert "lower the learning rate" in capsys.readouterr().err
    assert not (workshop / "out" / "weights.safetensors").exists()
    assert not list(workshop.rglob("*.part"))


def test_a_wrong_request_leaves_nothing_behind(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 before the folder is made: too few people, a file where the folder should be, no such device."""
    write_recipe(batch="batch: {identities: 6}")
    assert train("--out", "out") == 2
    assert "5 identities, too few for batches of 6" in capsys.readouterr().err
    write_recipe("input_size: [40, 24]", architecture="architecture: vit_s16")
    assert train("--out", "out") == 2
    assert "multiples of 16" in capsys.readouterr().err
    write_recipe("input_size: [1, 1]", architecture="architecture: densenet121")
    assert train("--out", "out") == 2
    assert "densenet121 takes no images of 1 x 1" in capsys.readouterr().err
    write_recipe()
    assert main(["train", "recipe.yml", "--out", "out", "--device", "gpu"]) == 2
    (workshop / "taken").write_text("")
    assert train("--out", "taken") == 2
    assert not (workshop / "out").exists()


def test_one_process_trains_into_a_folder(
    write_recipe: Write, workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one is refused."""
    write_recipe()
    (workshop / "out").mkdir()
    with FileLock(workshop / "out" / ".lock"):
        assert train("--out", "out") == 2
    assert "Another process trains into" in capsys.readouterr().err


def test_help_teaches_and_is_quick(workshop: Path) -> None:
    """`--help` shows examples and imports no torch."""
    script = (
        "from robustreid.benchmark.cli import main; main(['train', '--help']); "
        "import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "robustreid train tiny" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def start(out: Path) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    words = ["train", "recipe.yml", "--out", str(out), "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(out: Path) -> None:
    """The command until it ends well."""
    process = start(out)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def check_equal(whole: Path, out: Path) -> None:
    """The same weights, card and log (but for times), and nothing left lying about."""
    assert written(out) == written(whole) == FILES
    assert (out / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert log_of(out) == log_of(whole)
    mine, theirs = (json.loads((folder / "card.json").read_text()) for folder in (out, whole))
    assert {k: v for k, v in mine.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}
    assert not list(out.rglob("*.part"))


def wait_for_epochs(process: subprocess.Popen[str], out: Path, n_epochs: int) -> None:
    """Until the log has so many lines."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (out / "log.csv").exists() and len(log_of(out)) >= n_epochs:
            return
        time.sleep(0.002)
    pytest.fail("the moment never came")


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit(write_recipe: Write, workshop: Path) -> None:
    """Killed by -9 after the first epoch, Ctrl-C after a later one, then to the end: the weights of a whole run."""
    write_recipe(PERTURB, epochs="epochs: 14")
    finish(workshop / "whole")
    out = workshop / "out"
    for how, code, n_epochs in ((signal.SIGKILL, -signal.SIGKILL, 1), (signal.SIGINT, 130, 5)):
        process = start(out)
        wait_for_epochs(process, out, n_epochs)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert n_epochs <= len(log_of(out)) < 14
        assert not (out / "weights.safetensors").exists()
    finish(out)
    check_equal(workshop / "whole", out)


@pytest.mark.slow
def test_kill_after_random_delays(write_recipe: Write, workshop: Path) -> None:
    """Killed again and again, each time after a delay from a seeded stream, until it is through."""
    delays = random.Random(4)  # noqa: S311 (not a secret)
    write_recipe(PERTURB, epochs="epochs: 25")
    started = time.monotonic()
    finish(workshop / "whole")
    span = time.monotonic() - started
    for _ in range(8):
        process = start(workshop / "out")
        time.sleep(delays.uniform(0.4, 1.0) * span)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    finish(workshop / "out")
    check_equal(workshop / "whole", workshop / "out")
