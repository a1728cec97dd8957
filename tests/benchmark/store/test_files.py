"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from robustreid import StorageError
from robustreid.benchmark.store.files import file_system_errors, write_bytes


class Crash(BaseException):
    """What no handler expects."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, BaseException], None]:
    """A function that makes one step of a write raise: `write`, `fsync` or `replace`."""

    def fail(step: str, error: BaseException) -> None:
        def raises(*arguments: Any, **named: Any) -> Any:
            raise error

        if step == "fsync":
            monkeypatch.setattr(os, "fsync", raises)
        elif step == "replace":
            monkeypatch.setattr(Path, "replace", raises)
        else:
            real = Path.open

            def open_short(self: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
                file = real(self, mode, *arguments, **named)
                if "w" not in mode:
                    return file

                class Short:
                    def __enter__(self) -> Self:
                        return self

                    def __exit__(self, *_: object) -> None:
                        file.close()

                    def write(self, content: bytes) -> None:
                        file.write(content[: len(content) // 2])
                        raise error

                return Short()

            monkeypatch.setattr(Path, "open", open_short)

    return fail


def test_folders_are_made_and_content_is_exact(tmp_path: Path) -> None:
    """All of the content, in folders that were not there; nothing beside it."""
    write_bytes(tmp_path / "a" / "b" / "file", b"\x00new", temporary=tmp_path / "tmp")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"\x00new"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a" / "b" / "file"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), Crash("pulled the plug")])
def test_a_crash_in_the_middle_leaves_the_old_file(
    step: str, error: BaseException, failing: Callable[[str, BaseException], None], tmp_path: Path
) -> None:
    """Whatever fails and wherever: the old content stands, and no part of the new one is left."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    failing(step, error)
    expected = StorageError if isinstance(error, OSError) else Crash
    with pytest.raises(expected):
        write_bytes(path, b"new content", temporary=tmp_path / "tmp")
    assert path.read_bytes() == b"old"
    assert not list((tmp_path / "tmp").iterdir())


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the content is synced, the path holds the old file and the new one lies elsewhere."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    real = os.fsync

    def look(descriptor: int) -> None:
        (part,) = (tmp_path / "tmp").iterdir()
        seen.append((path.read_bytes(), part.read_bytes()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_bytes(path, b"new", temporary=tmp_path / "tmp")
    assert (seen, path.read_bytes()) == ([(b"old", b"new")], b"new")


def test_a_long_name_is_no_longer_while_it_is_written(tmp_path: Path) -> None:
    """A name as long as file systems take can be written."""
    name = "n" * 255
    write_bytes(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk quota is used up; free some space"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "check the folder"),
    ],
)
def test_what_the_system_says_becomes_one_sentence(code: int, advice: str, tmp_path: Path) -> None:
    """The place, the reason, what to do, and that nothing finished is lost; exit 74."""
    with pytest.raises(StorageError) as caught, file_system_errors(tmp_path / "run"):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path / "run") in str(caught.value)
    assert advice in str(caught.value)
    assert str(caught.value).endswith("What was finished stands.")
    assert caught.value.exit_code == 74


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_a_storage_error(tmp_path: Path) -> None:
    """Read-only is said so."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(StorageError, match="permission is denied"):
            write_bytes(tmp_path / "file", b"content")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_is_a_storage_error() -> None:
    """Where no file can be made, by root either."""
    with pytest.raises(StorageError, match="could not be written"):
        write_bytes(Path("/proc/robustreid/file"), b"content")
