"""`compare`, `baseline` and `robustreid.compare`: what they print, what they load, what they leave alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import robustreid
from robustreid import UserError
from robustreid.benchmark import cli
from robustreid.benchmark.store.columns import QUERY_METRICS
from robustreid.leaderboards.gate.policy import Policy

Answer = Callable[..., tuple[int, str, str]]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Runs a command line in a folder of its own: exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(arguments)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def runs(tmp_path: Path, make_run: Callable[..., Path]) -> None:
    """`before` and `after`, in which people lost 8 points under attack, some more than others."""
    for name, lost in {"before": 0.0, "after": 0.08}.items():
        queries = []
        for place in range(24):
            scores = {"clean": 0.9, "attacked": 0.6 - lost * (1 + (place % 3 - 1) / 4) - 0.002 * (place % 7)}
            query: dict[str, Any] = {"query_id": f"{place}.png", "identity": place // 2, "camera": 1 + place % 2}
            query |= {f"{metric}_{state}": score for metric in QUERY_METRICS for state, score in scores.items()}
            queries.append(query)
        means = {f"mAP_{state}": sum(q[f"ap_{state}"] for q in queries) / 24 for state in ("clean", "attacked")}
        make_run(tmp_path / name, [{"queries": queries, **means}, {"attack": "fna", "queries": queries, **means}])


@pytest.mark.usefixtures("runs")
def test_a_team_walks_from_the_first_run_to_a_new_baseline(answer: Answer) -> None:
    """Save, compare, explain, accept the change, compare again."""
    code, out, _ = answer("baseline", "save", "before")
    assert (code, out.splitlines()[-1]) == (
        0,
        "robustreid-baseline.parquet: 2 added, 0 replaced, 0 kept, 0 left out: without a score.",
    )
    code, out, _ = answer("compare", "robustreid-baseline.parquet", "before")
    assert (code, out.splitlines()[-1]) == (0, "3 same. No regression was found.")
    code, out, _ = answer("compare", "robustreid-baseline.parquet", "after", "--explain")
    assert (code, out.splitlines()[-1]) == (1, "2 worse, 1 same. A regression was found.")
    assert "Behind mAP_attacked of osnet on mini, -8.00 points in 2 comparisons:\n  identities: " in out
    assert "  cameras: 1 -8.00 (50%), 2 -8.00 (50%)\n  attacks: ama-ifgsm linf 4/255 gallery -8.00 (50%), fna" in out
    code, out, _ = answer("baseline", "update", "robustreid-baseline.parquet", "after")
    assert code == 0
    assert out.count("replaced: osnet mini ") == 2
    assert answer("compare", "robustreid-baseline.parquet", "after", "--strict")[0] == 0


@pytest.mark.usefixtures("runs")
def test_a_baseline_shows_its_cells(answer: Answer) -> None:
    """As a table, and as an array of objects with their rows."""
    answer("baseline", "save", "before", "--out", "base.parquet")
    code, out, _ = answer("baseline", "show", "base.parquet")
    assert code == 0
    assert out.splitlines()[2].split() == [
        *("osnet", "mini", "ama-ifgsm", "linf", "4/255", "gallery", "90.00", "mAP_attacked", "59.45", "12"),
        *("2026-11-22", "0.1.0", "1"),
    ]
    found = json.loads(answer("baseline", "show", "base.parquet", "--json")[1])
    assert [record["name"] for record in found] == [f"osnet mini {a} linf 4/255 gallery" for a in ("ama-ifgsm", "fna")]
    assert found[0]["mAP_clean"] == pytest.approx(0.9)
    code, out, err = answer("baseline", "show", "none.parquet")
    assert (code, out) == (2, "")
    assert err == "'none.parquet' cannot be read: No such file or directory; give a run directory or a baseline.\n"


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("form", ["table", "md", "json", "junit"])
def test_every_format_is_printed_with_the_same_code(answer: Answer, form: str) -> None:
    """One regression in each, on standard output alone."""
    code, out, err = answer("compare", "before", "after", "--format", form, "--explain")
    assert (code, err, "worse" in out) == (1, "", True)


@pytest.mark.usefixtures("runs")
def test_a_notebook_compares_by_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints as the command does, shows as a table, and takes a policy by keyword, file or value."""
    monkeypatch.chdir(tmp_path)
    found = robustreid.compare("before", "after")
    assert str(found).endswith("2 worse, 1 same. A regression was found.")
    assert found._repr_html_().count("<tr>") == 4
    assert (found.exit_code(), found.counts) == (1, {"worse": 2, "same": 1})
    Path("gate.yml").write_text("max_drop: 20")
    lenient: list[dict[str, Any]] = [
        {"max_drop": 20},
        {"policy": "gate.yml"},
        {"policy": Policy(max_drop=20)},
        {"rules": [{"select": "osnet", "max_drop": 20}]},
        {"metrics": "mAP_clean"},
    ]
    for given in lenient:
        assert robustreid.compare("before", "after", **given).exit_code() == 0
    assert robustreid.compare("before", "after", policy="gate.yml", max_drop=1).exit_code() == 1
    with pytest.raises(UserError, match="There is no 'gone'"):
        robustreid.compare("gone", "after")
    with pytest.raises(TypeError, match="max_dorp"):
        robustreid.compare("before", "after", max_dorp=1)  # type: ignore[call-arg]


@pytest.mark.usefixtures("runs")
def test_no_torch(tmp_path: Path) -> None:
    """Neither a comparison nor a baseline imports torch, whatever is printed."""
    script = (
        "import sys; from robustreid.benchmark.cli import main; main(['compare', 'base.parquet', 'before']); "
        "print(main(['compare', 'base.parquet', 'after', '--explain']), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "1 False"
