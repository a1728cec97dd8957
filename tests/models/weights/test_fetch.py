"""Fetching weights from a real server: whole, cut, wrong, gone; never the internet."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from robustreid import InvalidFileError, StorageError, UserError
from robustreid.models.weights import fetch as module
from robustreid.models.weights.entry import ZooEntry, ZooFile
from robustreid.models.weights.fetch import ATTEMPTS, fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = bytes(range(256)) * 3000
SMALL = b"<net/>"
XML, BIN = "m.xml", "m.bin"


def file(site: Any, name: str, content: bytes, **changes: Any) -> ZooFile:
    digest = hashlib.sha384(content).hexdigest()
    made = ZooFile(name=name, digest=digest, algorithm="sha384", size=len(content), url=f"{site.address}/{name}")
    return replace(made, **changes)


@pytest.fixture
def entry(site: Any) -> ZooEntry:
    """A model of two files that the server has."""
    site.files = {f"/{XML}": SMALL, f"/{BIN}": CONTENT}
    return ZooEntry(
        name="m",
        architecture="ir",
        files=(file(site, XML, SMALL), file(site, BIN, CONTENT)),
        licence="none",
        source="here",
        trained_on=(),
        normalise="none",
        metric="cosine",
        note="a test",
    )


@pytest.fixture
def get(entry: ZooEntry, meters: Any, tmp_path: Path) -> Callable[..., Path]:
    """A function that fetches the model into an empty folder, without waiting between attempts."""

    def run(changed: ZooEntry = entry, pause: Callable[[float], object] = lambda _: None) -> Path:
        return fetch(changed, tmp_path / "weights", start=meters, pause=pause)

    return run


def left(folder: Path) -> list[str]:
    """What lies in a folder, apart from the lock."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_both_files_arrive_with_progress(get: Callable[..., Path], site: Any, meters: Any) -> None:
    """Whole, under their names, with nothing beside them; the bar ends at the size; the first one is what to load."""
    path = get()
    assert path.name == XML
    assert [path.read_bytes(), path.with_name(BIN).read_bytes()] == [SMALL, CONTENT]
    assert left(path.parent) == [BIN, XML]
    assert [(title, total, sum(steps)) for title, total, steps, _ in meters.shown] == [
        ("fetching m.xml", len(SMALL), len(SMALL)),
        ("fetching m.bin", len(CONTENT), len(CONTENT)),
    ]
    assert all(done for *_, done in meters.shown)
    assert site.asked == [("/m.xml", ""), ("/m.bin", "")]


def test_a_right_file_is_left_alone(get: Callable[..., Path], site: Any) -> None:
    """The second time nobody is asked, and the file keeps its time; a damaged one is fetched anew, alone."""
    path = get()
    before = path.stat().st_mtime_ns
    site.asked.clear()
    assert get() == path
    assert (site.asked, path.stat().st_mtime_ns) == ([], before)
    path.with_name(BIN).write_bytes(CONTENT[:-1])
    get()
    assert site.asked == [("/m.bin", "")]
    assert path.with_name(BIN).read_bytes() == CONTENT


def test_a_right_file_put_there_by_hand_needs_no_address(
    get: Callable[..., Path], entry: ZooEntry, tmp_path: Path
) -> None:
    """Without an address nothing can be fetched, and nothing has to be."""
    files = tuple(replace(one, url="") for one in entry.files)
    with pytest.raises(UserError, match="has no address of its own; put a copy of it into"):
        get(replace(entry, files=files))
    (tmp_path / "weights").mkdir(exist_ok=True)
    (tmp_path / "weights" / XML).write_bytes(SMALL)
    (tmp_path / "weights" / BIN).write_bytes(CONTENT)
    assert get(replace(entry, files=files)).name == XML


def test_a_cut_connection_goes_on_where_it_ended(get: Callable[..., Path], site: Any, meters: Any) -> None:
    """The next request asks for the rest alone; waits double; every byte is shown once."""
    site.script = ["", "131072", "196608"]
    waits: list[float] = []
    path = get(pause=waits.append)
    assert path.with_name(BIN).read_bytes() == CONTENT
    assert [asked for _, asked in site.asked] == ["", "", "bytes=131072-", "bytes=327680-"]
    assert waits == [module.FIRST_PAUSE, 2 * module.FIRST_PAUSE]
    assert [sum(steps) for _, _, steps, _ in meters.shown][1:] == [131_072, 327_680, len(CONTENT)]


def test_the_same_command_goes_on_the_next_time(get: Callable[..., Path], site: Any) -> None:
    """What arrived before the last attempt failed stays, under a name of its own, and is not fetched again."""
    site.script = ["", "131072", 503, 503, 503]
    with pytest.raises(UserError, match=f"the server answers 503 Service Unavailable, {ATTEMPTS} times") as caught:
        get()
    assert caught.value.exit_code == 2
    site.asked.clear()
    path = get()
    assert site.asked == [("/m.bin", "bytes=131072-")]
    assert path.with_name(BIN).read_bytes() == CONTENT
    assert left(path.parent) == [BIN, XML]


def test_a_stop_from_outside_keeps_what_arrived(get: Callable[..., Path], site: Any, tmp_path: Path) -> None:
    """Ctrl-C between two attempts: the part stays, no file has its name."""
    site.script = ["", "100000"]

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(pause=stop)
    assert left(tmp_path / "weights") == [f"{BIN}.part", XML]
    assert get().with_name(BIN).read_bytes() == CONTENT


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("knows_ranges", [True, False])
def test_servers_differ(get: Callable[..., Path], site: Any, *, knows_ranges: bool, says_length: bool) -> None:
    """One without ranges starts over, one that says no length is measured by the size that is known."""
    site.knows_ranges, site.says_length, site.script = knows_ranges, says_length, ["", "100000"]
    assert get().with_name(BIN).read_bytes() == CONTENT


def test_a_size_that_is_not_known(get: Callable[..., Path], entry: ZooEntry, site: Any, meters: Any) -> None:
    """The server's length serves for progress; a complete part that lost its name is fetched anew."""
    one = replace(entry, files=(replace(entry.files[1], size=None),))
    site.script = ["100000"]
    path = get(one)
    assert path.read_bytes() == CONTENT
    assert meters.shown[0][1] == len(CONTENT)
    path.rename(path.with_name(f"{BIN}.part"))
    assert get(one).read_bytes() == CONTENT


def test_a_complete_part_is_not_fetched_again(get: Callable[..., Path], site: Any) -> None:
    """Killed between the last byte and the name: the server has no more, and that is known to be all."""
    path = get().with_name(BIN)
    path.rename(path.with_name(f"{BIN}.part"))
    site.asked.clear()
    get()
    assert site.asked == [("/m.bin", f"bytes={len(CONTENT)}-")]
    assert path.read_bytes() == CONTENT


def test_a_wrong_digest_leaves_nothing(get: Callable[..., Path], entry: ZooEntry, site: Any, tmp_path: Path) -> None:
    """Exit code 4 with both digests and what to do by hand; not retried, since the file came whole."""
    site.files[f"/{BIN}"] = wrong = bytes(len(CONTENT))
    with pytest.raises(InvalidFileError) as caught:
        get()
    said = str(caught.value)
    for part in (hashlib.sha384(wrong).hexdigest(), entry.files[1].digest, entry.files[1].url, "by hand: get m.xml"):
        assert part in said
    assert caught.value.exit_code == 4
    assert left(tmp_path / "weights") == [XML]
    assert len(site.asked) == 2


def test_a_part_of_another_file_is_given_a_second_chance(get: Callable[..., Path], site: Any, tmp_path: Path) -> None:
    """Old bytes with new ones behind them have a wrong digest; then the whole file is fetched, once."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / f"{BIN}.part").write_bytes(bytes(1000))
    assert get().with_name(BIN).read_bytes() == CONTENT
    assert [asked for path, asked in site.asked if path == "/m.bin"] == ["bytes=1000-", ""]


def test_more_bytes_than_the_file_has_are_not_taken(get: Callable[..., Path], site: Any, tmp_path: Path) -> None:
    """A server cannot fill the disk."""
    site.files[f"/{BIN}"] = CONTENT * 2
    with pytest.raises(InvalidFileError, match=f"more than the {len(CONTENT)} bytes of {BIN}"):
        get()
    assert left(tmp_path / "weights") == [XML]


@pytest.mark.parametrize(("code", "n_requests"), [(404, 1), (403, 1), (500, ATTEMPTS), (429, ATTEMPTS)])
def test_an_address_that_does_not_answer(
    get: Callable[..., Path], entry: ZooEntry, site: Any, tmp_path: Path, code: int, n_requests: int
) -> None:
    """One sentence with address, file, digest and folder (2); tried again only where that may help."""
    site.script = [code] * 9
    with pytest.raises(UserError) as caught:
        get()
    for part in (
        f"the server answers {code}",
        entry.files[0].url,
        XML,
        entry.files[0].digest,
        str(tmp_path / "weights"),
    ):
        assert part in str(caught.value)
    assert (caught.value.exit_code, len(site.asked)) == (2, n_requests)


def test_a_closed_port(get: Callable[..., Path], entry: ZooEntry, site: Any) -> None:
    """No network: the same sentence, with the reason in the system's words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    gone = replace(entry, files=tuple(replace(one, url=f"{address}/{one.name}") for one in entry.files))
    with pytest.raises(UserError, match=rf"refused, {ATTEMPTS} times\); by hand: get m\.xml \(sha384 ") as caught:
        get(gone)
    assert caught.value.exit_code == 2
    assert site.asked == []


def test_a_full_disk(get: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 74, with what to do; the file has no name."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device\); make room and run the same command") as caught:
        get()
    assert caught.value.exit_code == 74
    assert XML not in left(tmp_path / "weights")


def test_a_folder_that_is_a_file(get: Callable[..., Path], tmp_path: Path) -> None:
    """What cannot be made into a folder is the file system's fault (74), not a bug."""
    (tmp_path / "weights").write_text("here")
    with pytest.raises(StorageError, match="could not be written"):
        get()


def test_without_a_digest_nothing_is_fetched(get: Callable[..., Path], entry: ZooEntry, site: Any) -> None:
    """Whatever the address gives cannot be checked, so nobody is asked."""
    with pytest.raises(UserError, match=r"no digest of m\.xml is known, so it cannot be checked"):
        get(replace(entry, files=tuple(replace(one, digest="") for one in entry.files)))
    assert site.asked == []


def test_a_downloader_that_trusts_the_server_is_caught(
    get: Callable[..., Path], site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: bytes appended without looking at what the server answered give a wrong digest, and no file."""
    monkeypatch.setattr(module.Resuming, "_judge", lambda self, answer, n_have: n_have)
    site.knows_ranges, site.script = False, ["", "100000"]
    with pytest.raises(InvalidFileError):
        get()
