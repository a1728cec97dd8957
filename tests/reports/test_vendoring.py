"""What others wrote is here as they published it, with its licence."""

from __future__ import annotations

import shutil
from pathlib import Path

from robustreid.reports import vendoring
from robustreid.reports.vendoring import differences, read_manifest


def test_the_files_are_those_that_were_pinned() -> None:
    """Nothing added, nothing lost, every digest as listed."""
    assert differences() == []


def test_every_package_has_its_licence_and_no_jquery() -> None:
    """MIT, its text beside it, and no script that needs jQuery to be there."""
    for package in read_manifest():
        assert package.licence == "MIT"
        assert package.integrity.startswith("sha512-")
        licence = next(file for file in package.files if file.source == "License.txt")
        assert "Permission is hereby granted" in (vendoring.FOLDER / licence.path).read_text()
    assert not any("jquery" in file.path.lower() for package in read_manifest() for file in package.files)


def test_a_change_is_found(tmp_path: Path) -> None:
    """Planted: one byte more, one file more, one file less."""
    folder = tmp_path / "vendor"
    shutil.copytree(vendoring.FOLDER, folder)
    script = folder / "datatables.net" / "dataTables.min.js"
    script.write_bytes(script.read_bytes() + b" ")
    (folder / "new.js").write_text("")
    (folder / "datatables.net" / "License.txt").unlink()
    assert differences(folder) == [
        "new.js: not listed",
        "datatables.net/License.txt: not there",
        "datatables.net/dataTables.min.js: another digest",
    ]
