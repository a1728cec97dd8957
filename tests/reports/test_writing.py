"""A site is put in place whole, and nothing else is ever removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from robustreid import StorageError, UserError
from robustreid.reports.writing import check_target, put_in_place


def test_a_site_replaces_a_site(tmp_path: Path) -> None:
    """The new files stand, the old ones are gone, and nothing lies beside them."""
    out = tmp_path / "site"
    put_in_place(out, {"index.html": b"1", "old.html": b"1"})
    check_target(out, [])
    put_in_place(out, {"index.html": b"2", "a/b.html": b"2"})
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        ".robustreid-site.json",
        "a/b.html",
        "index.html",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """A file, a folder with other things, a site to which somebody added something, a folder that holds the run."""
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        check_target(out, [])
    out.unlink()
    out.mkdir()
    check_target(out, [])
    (out / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty and is no site"):
        check_target(out, [])
    site = tmp_path / "site"
    put_in_place(site, {"index.html": b""})
    (site / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'mine.txt', which `robustreid report` did not write"):
        check_target(site, [])
    with pytest.raises(UserError, match="which the site would replace"):
        check_target(tmp_path, [tmp_path / "run"])


def test_a_failure_leaves_the_old_site(tmp_path: Path) -> None:
    """Where the new one cannot be written whole, the old one stands and no rest is left."""
    out = tmp_path / "site"
    put_in_place(out, {"index.html": b"old"})
    with pytest.raises(StorageError):
        put_in_place(out, {"index.html": b"new", "index.html/under-a-file": b"x"})
    assert (out / "index.html").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """One that somebody made beforehand."""
    out = tmp_path / "site"
    out.mkdir()
    put_in_place(out, {"index.html": b"x"})
    assert (out / "index.html").read_bytes() == b"x"
