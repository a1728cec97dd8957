"""What is wrong with a grid file: each problem in one line, with its line, its path and what was expected."""

# A row of a table of messages stays one line.
# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from robustreid import UserError
from robustreid.benchmark.config.grid import load_grid

if TYPE_CHECKING:
    from collections.abc import Callable

LIN = "{name: lin, weights: m.onnx"
LABEL = r"expected a name of 1 to 64 letters, digits, dots, dashes or underscores, got "

#: The part of the grid that is written in place of the right one, and the whole of what is said about it.
PROBLEMS = [
    # Keys that are not known, at each level.
    ("", "precison: exact", r":9: precison: unknown key 'precison'\. Did you mean 'precision'\?"),
    ("models", "models:\n  - {name: lin,\n     wieghts: m.onnx}", r":4: models\[0\]\.wieghts: unknown key 'wieghts'\. Did you mean 'weights'\?"),
    ("datasets", "datasets:\n  - {name: mini, format: folder, rot: x}", r":5: datasets\[0\]\.rot: unknown key 'rot'\. Did you mean 'root'\?"),
    ("", "exclude:\n  - {atack: noise}", r":10: exclude\[0\]\.atack: unknown key 'atack'\. Did you mean 'attack'\?"),
    ("", "zzz: 1", r":9: zzz: unknown key 'zzz'\. Known keys: name, models, datasets, attacks, .*, exclude\."),
    ("", "<script>: 1", r":9: <script>: unknown key '<script>'\. Known keys: .*"),
    ("", '"\\u202ecba": 1', r":9: \\u202ecba: unknown key '\\u202ecba'\. Known keys: .*"),
    ("attacks", "attacks:\n  - {name: ama-mifgsm, momentun: 1}", r":7: attacks\[0\]: Attack 'ama-mifgsm' takes no parameter 'momentun'\. Did you mean 'momentum'\?.*"),
    # Keys that are missing.
    ("name", None, r":1: the key 'name' is missing; add it\."),
    ("models", None, r":1: the key 'models' is missing; add it\."),
    ("datasets", None, r":1: the key 'datasets' is missing; add it\."),
    ("attacks", None, r":1: the key 'attacks' is missing; add it\."),
    ("epsilons", None, r":1: the key 'epsilons' is missing; add it\."),
    ("side", None, r":1: the key 'side' is missing; add it\."),
    ("models", "models:\n  - {weights: m.onnx}", r":3: models\[0\]: the key 'name' is missing; add it\."),
    # Names that are none.
    ("name", "name: <script>", rf":1: name: {LABEL}'<script>'\."),
    ("name", "name: ../../x", rf":1: name: {LABEL}'\.\./\.\./x'\."),
    ("name", "name: ..", r":1: name: expected a name that is more than dots, because folders are called so, got '\.\.'\."),
    ("models", "models: ['\u202eabc']", rf":2: models\[0\]: {LABEL}'\\u202eabc'\."),
    ("datasets", "datasets: ['a b']", rf":4: datasets\[0\]: {LABEL}'a b'\."),
    ("attacks", "attacks: ['']", rf":6: attacks\[0\]: {LABEL}''\."),
    ("models", f"models: [{'a' * 65}]", rf":2: models\[0\]: {LABEL}'{'a' * 65}'\."),
    # Values of a wrong type.
    ("name", "name: 5", r":1: name: expected text, got 5\."),
    ("models", "models: lin", r":2: models: expected a list, got 'lin'\."),
    ("models", "models: {name: lin}", r":2: models: expected a list, got \{'name': 'lin'\}\."),
    ("models", "models: [5]", r":2: models\[0\]: expected a mapping of keys, got 5\."),
    ("models", "models: []", r":2: models: expected at least one entry, got \[\]\."),
    ("models", "models:", r":2: models: expected a list, got None\."),
    ("models", f"models:\n  - {LIN}, weights2: 3}}", r":3: models\[0\]\.weights2: unknown key 'weights2'\. Did you mean 'weights'\?"),
    ("models", "models:\n  - {name: lin, weights: 3}", r":3: models\[0\]\.weights: expected text, got 3\."),
    ("", "seeds: [a]", r":9: seeds\[0\]: expected a whole number, got 'a'\."),
    ("", "seeds: [0, 1.5]", r":9: seeds\[1\]: expected a whole number, got 1\.5\."),
    ("", "seeds: -1", r":9: seeds: expected a whole number from 0, got -1\."),
    ("", "seeds: 9223372036854775808", r":9: seeds: expected a whole number below 2\^63, got 9223372036854775808\."),
    ("", "exclude: {side: query}", r":9: exclude: expected a list, got \{'side': 'query'\}\."),
    ("", "exclude:\n  - {seed: '0'}", r":10: exclude\[0\]\.seed: expected a whole number, got '0'\."),
    # Radii.
    ("epsilons", "epsilons: 8", r":7: epsilons\[0\]: epsilon '8' is ambiguous: expected a radius in \[0, 1\] pixel units; write 8/255\."),
    ("epsilons", "epsilons: [1/255, 2.0]", r":7: epsilons\[1\]: epsilon '2\.0' is larger than the pixel range: expected a radius in \[0, 1\], as 8/255\."),
    ("epsilons", "epsilons: [.nan]", r":7: epsilons\[0\]: epsilon 'nan' is not a radius: expected a fraction such as 8/255 .*\."),
    ("epsilons", "epsilons: [.inf]", r":7: epsilons\[0\]: epsilon 'inf' is not a radius: .*\."),
    ("epsilons", "epsilons: [-1/255]", r":7: epsilons\[0\]: epsilon '-1/255' is not a radius: .*\."),
    ("epsilons", "epsilons: [-0.1]", r":7: epsilons\[0\]: epsilon '-0\.1' is not a radius: .*\."),
    ("epsilons", "epsilons: [1/0]", r":7: epsilons\[0\]: epsilon '1/0' is not a radius: .*\."),
    ("epsilons", "epsilons: []", r":7: epsilons: expected at least one entry, got \[\]\."),
    ("epsilons", "epsilons: [true]", r":7: epsilons\[0\]: expected a radius such as 8/255 or 0\.03, got True\."),
    ("epsilons", "epsilons: {a: 1}", r":7: epsilons: expected a radius such as 8/255 or 0\.03, got \{'a': 1\}\."),
    ("", "exclude:\n  - {epsilon: true}", r":10: exclude\[0\]\.epsilon: expected a radius such as .*, got True\."),
    ("", "exclude:\n  - {epsilon: 8}", r":10: exclude\[0\]: epsilon '8' is ambiguous: .*\."),
    # One of a few words.
    ("side", "side: galery", r":8: side: expected one of query, gallery, both, got 'galery'\. Did you mean 'gallery'\?"),
    ("side", "side: [gallery, querry]", r":8: side\[1\]: expected one of query, gallery, both, got 'querry'\. Did you mean 'query'\?"),
    ("", "goal: targetted", r":9: goal: expected one of untargeted, targeted, got 'targetted'\. Did you mean 'targeted'\?"),
    ("", "norm: l1", r":9: norm: expected one of linf, l2, got 'l1'\. Did you mean 'l2'\?"),
    ("", "perturb_at: nativ", r":9: perturb_at: expected one of auto, native, input, got 'nativ'\. Did you mean 'native'\?"),
    ("", "precision: half", r":9: precision: expected one of exact, fast, got 'half'\."),
    ("", "folding: sometimes", r":9: folding: expected true or false, got 'sometimes'\."),
    ("", "exclude:\n  - {side: galery}", r":10: exclude\[0\]\.side: expected one of .*, got 'galery'\. Did you mean 'gallery'\?"),
    ("models", f"models:\n  - {LIN}, metric: cosin}}", r":3: models\[0\]\.metric: expected one of cosine, euclidean, got 'cosin'\. Did you mean 'cosine'\?"),
    ("models", f"models:\n  - {LIN}, normalise: imagnet}}", r":3: models\[0\]\.normalise: expected one of none, imagenet, got 'imagnet'\. Did you mean 'imagenet'\?"),
    # A fixed number of numbers.
    ("models", f"models:\n  - {LIN}, normalise: {{mean: [0, 0], std: [1, 1, 1]}}}}", r":3: models\[0\]\.normalise\.mean: expected three numbers, got \[0, 0\]\."),
    ("models", f"models:\n  - {LIN}, normalise: {{mean: [0, 0, 0], std: [0, 1, .inf]}}}}", r":3: models\[0\]\.normalise\.std: expected three numbers above 0, got \[0, 1, inf\]\."),
    ("models", f"models:\n  - {LIN}, normalise: {{mean: [0, 0, '0'], std: [1, 1, 1]}}}}", r":3: models\[0\]\.normalise\.mean: expected three numbers, got \[0, 0, '0'\]\."),
    ("models", f"models:\n  - {LIN}, normalise: {{mean: [0, 0, 0]}}}}", r":3: models\[0\]\.normalise: the key 'std' is missing; add it\."),
    ("models", f"models:\n  - {LIN}, input_size: [8]}}", r":3: models\[0\]\.input_size: expected two whole numbers above 0, \[height, width\], got \[8\]\."),
    ("models", f"models:\n  - {LIN}, input_size: [0, 4]}}", r":3: models\[0\]\.input_size: expected two whole numbers above 0, \[height, width\], got \[0, 4\]\."),
    ("models", f"models:\n  - {LIN}, input_size: 8}}", r":3: models\[0\]\.input_size: expected two whole numbers above 0, \[height, width\], got 8\."),
]  # fmt: skip


@pytest.mark.parametrize(("part", "text", "message"), PROBLEMS)
def test_one_problem_is_one_line(write_grid: Callable[..., Path], part: str, text: str | None, message: str) -> None:
    """Where it is, what came, what was expected, what to do; and nothing about anything else."""
    path = write_grid(**{part: text}) if part else write_grid(text)
    with pytest.raises(UserError, match=rf"^\S*grid\.yml{message}$") as caught:
        load_grid(path)
    assert caught.value.exit_code == 2


def test_the_grid_that_is_changed_is_right(write_grid: Callable[..., Path]) -> None:
    """What all of these start from has no problem, so each problem is the one that was put in."""
    assert load_grid(write_grid()).name == "tiny"


def test_all_problems_are_told_at_once(write_grid: Callable[..., Path]) -> None:
    """A file with several mistakes is corrected in one go: first those of its keys, then those of what they name."""
    path = write_grid("seeds: [a]\nfoo: 1", name=None, side="side: galery", epsilons="epsilons: [1/255]")
    with pytest.raises(UserError) as caught:
        load_grid(path)
    lines = [line.removeprefix(str(path)) for line in str(caught.value).splitlines()]
    starts = [":1: the key 'name'", ":7: side: ", ":8: seeds[0]: ", ":9: foo: unknown key"]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 4
    path = write_grid(models="models: [nobody]", attacks="attacks: [ama, nois]", epsilons="epsilons: [8, 1/255, nan]")
    with pytest.raises(UserError) as caught:
        load_grid(path)
    places = [line.removeprefix(str(path)).split(": ")[1] for line in str(caught.value).splitlines()]
    assert places == ["models[0]", "attacks[0]", "attacks[1]", "epsilons[0]", "epsilons[2]"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "hello\n", "5\n"])
def test_what_is_no_mapping_is_told_the_keys(tmp_path: Path, text: str) -> None:
    """An empty file, a list and a word are no grid."""
    path = tmp_path / "grid.yml"
    path.write_text(text)
    with pytest.raises(
        UserError, match=r"^\S*grid\.yml:1: expected a grid file with the keys name, models, [a-z_, ]*\.$"
    ):
        load_grid(path)


@pytest.mark.parametrize("name", ["../evil", "x" * 300, "a\0b"])
def test_a_wrong_shipped_name_is_told_the_shipped_ones(name: str) -> None:
    """What is no path and no name of a grid of ours."""
    with pytest.raises(
        UserError, match=r"^Unknown grid .*\. Available: .*ama-real.*\. Or give the path of a \.yml file\.$"
    ):
        load_grid(name)
