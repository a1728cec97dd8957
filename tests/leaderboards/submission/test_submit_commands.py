"""`robustreid submit init | check | pack`: what they print, what they write, and what they exit with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from robustreid.benchmark import cli
from robustreid.leaderboards.submission import commands
from robustreid.leaderboards.submission.checking import check_submission
from robustreid.leaderboards.submission.description import read_description, read_folder
from robustreid.leaderboards.submission.findings import Finding, Report
from robustreid.leaderboards.submission.packing import pack
from robustreid.leaderboards.submission.schema import KEYS
from robustreid.leaderboards.submission.starting import QUESTIONS, Answers, ask, text_of
from robustreid.models.registry import load_reference
from robustreid.models.zoo import embedded_folder

Call = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that runs `robustreid submit ...` in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        code = cli.main(["submit", *arguments])
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("name", list(commands.SUBMIT_COMMANDS))
def test_every_command_is_where_the_table_says(name: str) -> None:
    """The reference resolves to a command of that name, its line is a sentence, its help names exit codes."""
    reference, summary = commands.SUBMIT_COMMANDS[name]
    found = load_reference(reference)
    assert isinstance(found, click.Command)
    assert (found.name, summary[-1]) == (name, ".")
    assert "Exit codes: 0" in str(found.help)


def test_the_group_teaches_and_names_the_nearest(call: Any) -> None:
    """Its help lists the table in its order; a misspelt command is met with the nearest one."""
    done = call("--help")
    places = [done.stdout.index(f"\n  {name} ") for name in commands.SUBMIT_COMMANDS]
    assert (done.returncode, places) == (0, sorted(places))
    assert "Did you mean 'check'?" in call("chekc").stderr


def test_what_init_writes_is_valid(call: Any, tmp_path: Path) -> None:
    """With weights beside it; the only findings are notes. Every key of the schema stands in it, used or explained."""
    done = call("init", "mine", "--yes", "--name", "osnet.new", "--track", "market1501-query-8")
    assert (done.returncode, done.stdout) == (0, "mine/submission.yaml\n")
    (tmp_path / "mine" / "weights.safetensors").write_bytes((embedded_folder() / "tiny.safetensors").read_bytes())
    assert check_submission(tmp_path / "mine").codes() == {"SUB413"}
    description = read_folder(tmp_path / "mine")
    assert (description.name, description.tracks) == ("osnet.new", ("market1501-query-8",))
    text = (tmp_path / "mine" / "submission.yaml").read_text()
    assert [key for keys in (KEYS[""], KEYS["model"]) for key in keys if f"{key}:" not in text] == []


def test_init_overwrites_nothing(call: Any, tmp_path: Path) -> None:
    """A second time is refused with exit code 2, and the file stays as it was."""
    call("init", "mine", "--yes")
    before = (tmp_path / "mine" / "submission.yaml").read_bytes()
    done = call("init", "mine", "--yes", "--name", "other")
    assert done.returncode == 2
    assert "is there already and stays as it is" in done.stderr
    assert (tmp_path / "mine" / "submission.yaml").read_bytes() == before


def test_init_asks_for_what_only_its_author_knows() -> None:
    """Each question once, with what is proposed; an empty answer keeps that, and any text comes back as it was."""
    asked = []

    def prompt(question: str, default: str) -> str:
        asked.append(default)
        return {"my-defence": "mine", "MIT": ""}.get(default, 'A "quoted": [text] #1, no')

    answers = ask(Answers(), prompt)
    assert len(asked) == len(QUESTIONS)
    assert (answers.name, answers.licence) == ("mine", "MIT")
    plain = Answers(name="mine", title='A "quoted": [text] #1', authors="A: B, {C}, no", architecture="yes")
    found = read_description(text_of(plain, Path("x")))
    assert (found.title, found.authors) == ('A "quoted": [text] #1', ("A: B", "{C}", "no"))
    assert found.model_entry["architecture"] == "yes"


def test_check_says_everything_at_once(call: Any, make: Any, making: Any, tmp_path: Path) -> None:
    """A line each with code, place and remedy, exit code 4; as JSON the same; nothing is wrong with a good one."""
    files = dict(make.files) | {"notes.txt": b"x"}
    text = making.YAML.replace("MIT", "mitt").replace("name: mine", "name: t1ny").replace("title: A", "title: <b>A")
    files["submission.yaml"] = text.replace("random_stages: []\n", "", 1).encode()
    make.folder(tmp_path, files)
    done = call("check", "mine")
    wanted = ["SUB012", "SUB107", "SUB109", "SUB110", "SUB112"]
    assert done.returncode == 4
    assert [line.split()[0] for line in done.stdout.splitlines()] == wanted
    assert (
        "SUB109 submission.yaml:8: licence: the licence 'mitt' is not known. Did you mean 'MIT'? Write" in done.stdout
    )
    assert done.stderr == "mine: not valid, 5 errors, 0 notes.\n"
    records = json.loads(call("check", "mine", "--json").stdout)
    assert [record["code"] for record in records] == wanted
    assert set(records[0]) == {"code", "level", "place", "problem", "remedy"}
    assert call("check", "nowhere").returncode == 2


def test_pack_gives_the_same_bytes_for_the_same_content(call: Any, make: Any, making: Any, tmp_path: Path) -> None:
    """Whatever the times, rights and caches of the folder; what is packed is valid, and its digest is said."""
    files = {name: data for name, data in make.files.items() if not name.startswith("results/")}
    make.folder(tmp_path, files)
    done = call("pack", "mine", "--out", "first.zip")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["manifest.json", *sorted(files)]
    digest = hashlib.sha256((tmp_path / "first.zip").read_bytes()).hexdigest()
    assert f"first.zip: 3 files, {(tmp_path / 'first.zip').stat().st_size:,} bytes, sha256 {digest}" in done.stderr
    for path in (tmp_path / "mine").iterdir():
        path.chmod(0o600)
        path.touch()
    make.folder(tmp_path, {".cache/x": b"x"})
    assert call("pack", "mine").returncode == 0
    assert (tmp_path / "mine.zip").read_bytes() == (tmp_path / "first.zip").read_bytes()
    assert check_submission(tmp_path / "mine.zip").codes() == {"SUB413"}
    (tmp_path / "mine" / "weights.safetensors").write_bytes(make.tensors({"a": ("F32", [1], b"\0" * 4)}))
    assert call("pack", "mine").returncode == 0
    assert (tmp_path / "mine.zip").read_bytes() != (tmp_path / "first.zip").read_bytes()


def test_pack_leaves_out_rows_that_no_plan_lists(make: Any, making: Any, tmp_path: Path) -> None:
    """A row of an earlier grid stays behind, and is not in the manifest."""
    files = dict(make.files)
    stray = make.row_file.replace("0123", "4567")
    files[stray] = make.table([make.row(cell_id=stray[14:-8])], make.row_schema)
    files["submission.yaml"] = making.YAML.replace("market1501-query-4", "somebody-else").encode()
    _, packed = pack(make.folder(tmp_path, files))
    assert packed is not None
    assert set(packed.names) == {"manifest.json", *files} - {stray}
    assert "SUB405" not in check_submission(packed.path).codes()


def test_pack_refuses_what_is_wrong(call: Any, make: Any, tmp_path: Path) -> None:
    """Errors are said and nothing is written: exit code 4; an archive inside the folder would pack itself: 2."""
    make.folder(tmp_path, make.files | {"w.pt": b"x"})
    done = call("pack", "mine", "--out", "out.zip")
    assert (done.returncode, (tmp_path / "out.zip").exists()) == (4, False)
    assert "SUB013 w.pt" in done.stderr
    (tmp_path / "mine" / "w.pt").unlink()
    (tmp_path / "mine" / "results").rename(tmp_path / "results")
    done = call("pack", "mine", "--out", "mine/out.zip")
    assert (done.returncode, (tmp_path / "mine" / "out.zip").exists()) == (2, False)
    assert call("pack", "nowhere").returncode == 2


def test_no_torch_is_imported(make: Any, tmp_path: Path) -> None:
    """Neither to check a folder and an archive, with results and weights, nor to pack."""
    files = {name: data for name, data in make.files.items() if not name.startswith("results/")}
    made = [make.folder(tmp_path, files), make.zip(tmp_path, make.files)]
    script = (
        f"import sys; from robustreid.benchmark import cli; made = {[str(path) for path in made]!r}; "
        "codes = [cli.main(['submit', 'check', path]) for path in made]; "
        "codes.append(cli.main(['submit', 'pack', made[0], '--out', made[1] + '.new'])); "
        "print(codes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 4, 0] False"


def test_a_finding_steers_no_terminal() -> None:
    """What a submission brings along is quoted with its escapes spelled out, and errors stand before notes."""
    hostile = "a\x1b[31m\u202e\nb"
    error = Finding(code="SUB999", level="error", place=hostile, problem=hostile * 400, remedy="stop")
    note = Finding(code="SUB998", level="note", place="x", problem="y", remedy="z")
    report = Report(findings=(note, error))
    assert all(line.isprintable() and len(line) < 3000 for line in report.lines)
    assert [line.split()[0] for line in report.lines] == ["SUB999", "SUB998"]
    assert (report.is_valid, Report(findings=(note,)).is_valid) == (False, True)
