"""RobustReID from Python: one call, one result."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import robustreid
import torch
from robustreid import UserError
from robustreid.benchmark.api import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable


def test_names_are_handed_out_late() -> None:
    """The package imports nothing slow; its names are there, and a wrong one is told in Python's own words."""
    script = (
        "import sys, robustreid\n"
        "print([m for m in ('torch', 'pandas', 'numpy', 'click', 'robustreid.benchmark') if m in sys.modules])\n"
        "print(sorted(name for name in dir(robustreid) if not name.startswith('_')))\n"
        "print(robustreid.load.__name__, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    names = sorted(name for name in robustreid.__all__ if not name.startswith("_"))
    assert done.stdout.splitlines() == ["[]", str(names), "load False"]
    assert set(dir(robustreid)) >= {"evaluate", "run", "load", "UserError"}
    with pytest.raises(AttributeError, match=r"^module 'robustreid' has no attribute 'evalute'$"):
        _ = robustreid.evalute
    assert all(getattr(robustreid, name) is not None for name in robustreid.__all__)


def test_one_call_one_result(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints as a sentence, shows as a table, has every column, and says nothing by itself."""
    result = robustreid.evaluate("m.onnx", "mini", attack="ama-fgsm", epsilon="4/255", side="query")
    assert capsys.readouterr() == ("", "")
    assert (result.status, result.model, result.dataset, result.attack) == ("done", "m", "mini", "ama-fgsm")
    assert (result.side, result.epsilon_label, result.n_attacked) == ("query", "4/255", 3)
    assert str(result) == (
        f"m on mini, ama-fgsm at 4/255 (query side): Rank-1 {100 * result.rank1_clean:.2f} -> "
        f"{100 * result.rank1_attacked:.2f}, mAP {100 * result.mAP_clean:.2f} -> {100 * result.mAP_attacked:.2f} "
        f"(chance mAP {100 * result.chance_mAP:.2f})"
    )
    assert result._repr_html_() == (
        "<table><caption>m on mini, ama-fgsm at 4/255 (query side)</caption>"
        "<tr><th></th><th>clean</th><th>attacked</th></tr>"
        f"<tr><th>Rank-1</th><td>{100 * result.rank1_clean:.2f}</td><td>{100 * result.rank1_attacked:.2f}</td></tr>"
        f"<tr><th>mAP</th><td>{100 * result.mAP_clean:.2f}</td><td>{100 * result.mAP_attacked:.2f}</td></tr></table>"
    )
    with pytest.raises(AttributeError, match=r"^an evaluation has no column 'mAP_atacked'$"):
        _ = result.mAP_atacked
    assert copy.deepcopy(result) == copy.copy(result) == result
    assert list(bench.iterdir()) != []
    assert not (bench / "runs").exists()


def test_a_targeted_result(bench: Path) -> None:
    """It shows the scores of the relabelled problem, and never those of the untargeted one."""
    result = robustreid.evaluate("m.onnx", "mini", attack="noise", goal="targeted", seeds=[3])
    assert result.seed == 3
    assert str(result).startswith(
        f"m on mini, noise at 5/255 (gallery side): target Rank-1 {100 * result.target_rank1_clean:.2f}"
    )
    assert "target mAP" in result._repr_html_()


def test_labels_are_escaped() -> None:
    """Names come from files of others, and a notebook runs what it is shown."""
    scores = dict.fromkeys(["rank1_clean", "rank1_attacked", "mAP_clean", "mAP_attacked", "chance_mAP"], 0.5)
    words = {"model": "<script>alert(1)</script>", "dataset": '"&', "attack": "<b>", "epsilon_label": "1/255"}
    page = Evaluation({**scores, **words, "side": "query", "goal": "untargeted"})._repr_html_()
    assert (
        "<caption>&lt;script&gt;alert(1)&lt;/script&gt; on &quot;&amp;, &lt;b&gt; at 1/255 (query side)</caption>"
        in page
    )
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 3}, r"^evaluate takes no option 'stepz'\. It takes: goal, norm, .*, seeds, precision, .*, limit\.$"),
        ({"batchsize": 3}, r"^evaluate takes no option 'batchsize'\. Did you mean 'batch_size'\? It takes: "),
        ({"attack": "ama-ifgms"}, r"attacks\[0\]: Unknown attack 'ama-ifgms'\. Did you mean 'ama-ifgsm'\?"),
        ({"epsilon": 8}, r"epsilons\[0\]: epsilon '8' is ambiguous"),
        (
            {"side": "galery"},
            r"^evaluate: side: expected one of query, gallery, both, got 'galery'\. Did you mean 'gallery'\?",
        ),
        ({"model": "nobody"}, r"^evaluate: models\[0\]: Unknown zoo model 'nobody'"),
        (
            {"model": "nix.onnx"},
            r"^evaluate: models\[0\]: The weights file '.*nix\.onnx' does not exist; check the path\.",
        ),
        (
            {"data": "nix"},
            r"^There is no folder 'nix'; give the folder that holds query/ and bounding_box_test/, or one of synt.*\.$",
        ),
        ({"exclude": [{"sde": "query"}]}, r"^evaluate: exclude\[0\]\.sde: unknown key 'sde'\. Did you mean 'side'\?"),
        ({"device": "gpu"}, r"^Unknown device 'gpu'; expected auto"),
        (
            {"goal": ["targeted", "untargeted"]},
            r"^evaluate takes one cell, got goal \['targeted', 'untargeted'\]; give one, or",
        ),
        ({"side": ["query", "gallery"]}, r"^evaluate takes one cell, got side \['query', 'gallery'\]"),
        ({"seeds": [0, 1]}, r"^evaluate takes one cell, got seeds \[0, 1\]"),
    ],
)
def test_a_wrong_request(bench: Path, options: dict[str, object], message: str) -> None:
    """The same sentences as on the command line, raised."""
    with pytest.raises(UserError, match=message):
        robustreid.evaluate(**{"model": "m.onnx", "data": "mini", "attack": "ama-fgsm", **options})  # type: ignore[arg-type]


def test_entries_of_a_grid_are_taken(bench: Path) -> None:
    """Models, data and attacks with settings of their own, kept in a folder and used again."""
    model = {"name": "raw", "weights": "m.onnx", "metric": "euclidean"}
    data = {"root": "mini"}
    attack = {"name": "mine", "objective": "push", "optimiser": "pgd", "steps": 2}
    result = robustreid.evaluate(model, data, attack, "2/255", out="kept", batch_size=4, perturb_at="input")
    assert (result.model, result.dataset, result.attack, result.metric) == ("raw", "data", "mine", "euclidean")
    assert (result.batch_size, result.perturb_at) == (4, "input")
    again = robustreid.evaluate(model, data, attack, "2/255", out="kept", batch_size=8, perturb_at="input")
    assert again.created_at == result.created_at
    other = robustreid.evaluate(model, data, attack, "3/255", out="kept", perturb_at="input")
    assert (other.epsilon_label, len(robustreid.load("kept")), len(robustreid.load("kept", all=True))) == (
        "3/255",
        1,
        2,
    )


def test_a_cell_that_fails_raises(bench: Path) -> None:
    """No result is no result: the reason is in the error."""
    with pytest.raises(RuntimeError, match=r"^the evaluation failed: "):
        robustreid.evaluate({"name": "wrong", "weights": "m.onnx", "input_size": [9, 4]}, "mini", "ama-fgsm")


def test_a_grid_is_run_and_loaded(
    bench: Path, write_grid: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` gives a summary, `load` the rows of the current grid, and a second run is a no-op."""
    path = write_grid(attacks="attacks: [ama-fgsm, noise]")
    first = robustreid.run(path)
    assert (first.path, first.n_cells, first.n_stood, first.n_done) == (Path("runs/tiny"), 2, 0, 2)
    frame = robustreid.load(first.path)
    assert frame["attack"].tolist() == ["ama-fgsm", "noise"]
    second = robustreid.run(str(path), batch_size=2, out="runs/tiny")
    assert (second.n_stood, second.n_done, second.n_failed) == (2, 0, 0)
    assert capsys.readouterr().out == ""
    write_grid(attacks="attacks: [noise]")
    robustreid.run(path)
    assert robustreid.load("runs/tiny")["attack"].tolist() == ["noise"]
    assert sorted(robustreid.load("runs/tiny", all=True)["attack"]) == ["ama-fgsm", "noise"]
    with pytest.raises(TypeError, match="batchsize"):
        robustreid.run(path, batchsize=3)
    with pytest.raises(UserError, match=r"is no run directory; give a folder that `robustreid run` wrote"):
        robustreid.load("nowhere")


def test_the_real_model(bench: Path, real_data: Path, write_people: Callable[..., Path]) -> None:
    """A real network on images of another size than its own."""
    people = write_people(bench / "few people", people=range(1, 5), size=(32, 16))
    result = robustreid.evaluate(
        real_data / "weights/person-reidentification-retail-0031.onnx", people, "ama-fgsm", batch_size=8
    )
    assert (result.dataset, result.n_query, result.n_attacked, result.forwards) == ("few-people", 4, 8, 12 + 8 + 8)
    assert result.linf_max == pytest.approx(5 / 255, abs=1e-6)


def test_a_module_in_memory_is_evaluated_and_left_as_it_was(bench: Path) -> None:
    """A module gives the scores of the file it was loaded from, and keeps its own mode and gradients."""
    from robustreid.models.load import build, resolve

    module = torch.nn.Sequential(build(resolve(label="m", weights=bench / "m.onnx")))
    module.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    module.training = True
    given = robustreid.evaluate(module, "mini", attack="ama-fgsm", epsilon="4/255")
    loaded = robustreid.evaluate("m.onnx", "mini", attack="ama-fgsm", epsilon="4/255")
    assert (given.mAP_clean, given.mAP_attacked) == (loaded.mAP_clean, loaded.mAP_attacked)
    assert (module.training, module.extra.requires_grad) == (True, True)
    assert given.model == "Sequential"


def test_drawn_people_need_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, or as an entry that says how many; a model of the package by its name."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    few = {"name": "synthetic", "identities": 3, "distractors": 1}
    result = robustreid.evaluate("tiny", few, attack="ama-fgsm", epsilon="4/255")
    assert (result.model, result.dataset, result.n_query, result.n_gallery) == ("tiny", "synthetic", 12, 13)
    assert result.mAP_attacked < result.mAP_clean


def test_the_five_lines_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first Python block, to the letter."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    block = readme.split("```python\n")[1].split("```")[0]
    lines = [line for line in block.splitlines() if line]
    assert len(lines) <= 5
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    exec(block, {})  # noqa: S102 (our own page)
    assert "Sequential on synthetic, ama-ifgsm at 4/255 (gallery side): Rank-1 " in capsys.readouterr().out
