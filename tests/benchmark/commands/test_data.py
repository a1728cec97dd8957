"""`robustreid data weights`: lists, fetches from a server on this machine, and says what to do where it cannot."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import platformdirs
import pytest
from robustreid.models import zoo
from robustreid.models.weights.entry import ZooFile

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "osnet_x0_25_msmt17"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server on this machine gives out, with the one file of the model `NAME` in it."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "w.onnx").write_bytes(b"weights")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/w.onnx"
    file = ZooFile(name="w.onnx", digest=hashlib.sha256(b"weights").hexdigest(), url=url)
    monkeypatch.setitem(zoo.ZOO, NAME, replace(zoo.ZOO[NAME], files=(file,)))
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / name)
    try:
        yield folder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_a_name_all_are_listed(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    """Text and JSON name every model with its presence, files, digests and addresses; `ls models` has the same."""
    records = json.loads(call("data", "weights", "--json").stdout)
    assert [record["name"] for record in records] == list(zoo.ZOO)
    by_name = {record["name"]: record for record in records}
    assert [by_name[name]["presence"] for name in ("tiny", NAME)] == ["part of this package", "absent"]
    assert by_name["torchreid_osnet_x0_5_msmt17_all"]["files"][0]["digest"] is None
    assert by_name[NAME]["files"] == [vars(zoo.ZOO[NAME].files[0])]
    listed = json.loads(call("ls", "models", "--json").stdout)
    assert [record for record in listed if record["kind"] == "zoo"] == records
    text = call("data", "weights").stdout
    for entry in zoo.ZOO.values():
        assert all(part in text for file in entry.files for part in (file.name, file.digest, file.url))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "w.onnx").touch()
    (record,) = [r for r in json.loads(call("data", "weights", "--json").stdout) if r["name"] == NAME]
    assert record["presence"] == "present"


def test_a_fetched_model_is_found_by_its_name(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    """The path on standard output, progress on standard error; a second time nothing is said of fetching."""
    done = call("data", "weights", NAME)
    assert (done.returncode, done.stdout) == (0, f"{NAME}  {tmp_path / 'mine' / 'w.onnx'}\n")
    assert done.stderr.startswith("fetching w.onnx: ")
    assert zoo.find(NAME)[1] == tmp_path / "mine" / "w.onnx"
    again = call("data", "weights", NAME, "--json")
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads(again.stdout)[0]["path"] == str(tmp_path / "mine" / "w.onnx")


def test_another_folder_is_named(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    """Where names are not looked up, the command says what to set."""
    done = call("data", "weights", NAME, "--to", str(tmp_path / "there"))
    assert done.returncode == 0
    assert f"Set ROBUSTREID_WEIGHTS={tmp_path / 'there'} so that" in done.stderr
    assert (tmp_path / "there" / "w.onnx").read_bytes() == b"weights"


def test_another_content_is_refused(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path, tmp_path: Path
) -> None:
    """Exit code 4; nothing but the lock is left."""
    (published / "w.onnx").write_bytes(b"others!")
    done = call("data", "weights", NAME)
    assert (done.returncode, done.stdout) == (4, "")
    assert hashlib.sha256(b"others!").hexdigest() in done.stderr
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".lock"]


def test_a_file_that_is_gone(call: Callable[..., subprocess.CompletedProcess[str]], published: Path) -> None:
    """Exit code 2, one sentence, no traceback."""
    (published / "w.onnx").unlink()
    done = call("data", "weights", NAME)
    assert done.returncode == 2
    assert "the server answers 404" in done.stderr
    assert "by hand: get w.onnx" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_package_brings_needs_nothing(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path
) -> None:
    """A shipped model is where it is."""
    done = call("data", "weights", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["tiny", str(zoo.find("tiny")[1])]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tinny",), "Unknown zoo model 'tinny'. Did you mean 'tiny'?"),
        (("torchreid_osnet_x0_75_msmt17_all",), "cannot be fetched: no digest of torchreid_osnet_x0_75_msmt17_all.pth"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(
    call: Callable[..., subprocess.CompletedProcess[str]], published: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 2."""
    done = call("data", "weights", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_help_of_weights_teaches(call: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """It says what happens without a network, and shows a command a line."""
    text = call("data", "weights", "--help").stdout
    assert "Without a network" in text
    assert "\n    robustreid data weights person-reidentification-retail-0288\n" in text
