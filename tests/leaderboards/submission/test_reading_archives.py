"""Archives that honest tools make are read; their bytes are those that were packed, a piece at a time or at once."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.leaderboards.submission.checking import check_submission
from robustreid.leaderboards.submission.contents import open_contents
from robustreid.leaderboards.submission.lookalikes import lookalike, skeleton
from robustreid.leaderboards.submission.paths import part_of
from robustreid.leaderboards.submission.streams import read_exactly
from robustreid.leaderboards.submission.texts import hostility
from robustreid.models.catalogue import ARCHITECTURES
from robustreid.models.zoo import ZOO


def _folder(make: Any, tmp_path: Path) -> Path:
    """A folder that holds its manifest, ready for any packer."""
    found: Path = make.folder(tmp_path, make.with_manifest(make.files))
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("inside", ["mine", "."])
def test_tars_of_python_pass(make: Any, tmp_path: Path, form: int, mode: Any, inside: str) -> None:
    """In every format, packed or not, with the folder or as its content."""
    path = tmp_path / "mine.tar"
    with tarfile.open(path, mode, format=form) as archive:
        archive.add(_folder(make, tmp_path), arcname=inside)
    assert check_submission(path).lines == ()


@pytest.mark.parametrize("command", [["tar", "czf"], ["tar", "cf"], ["zip", "-qr"]])
def test_archives_of_common_tools_pass(make: Any, tmp_path: Path, command: list[str]) -> None:
    """GNU tar and Info-ZIP, from the folder's parent, as people do."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    _folder(make, tmp_path)
    subprocess.run([*command, "mine.packed", "mine"], cwd=tmp_path, check=True, timeout=60)
    packed = next(path for path in tmp_path.iterdir() if path.name.startswith("mine.packed"))
    assert check_submission(packed).lines == ()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_python_pass(make: Any, tmp_path: Path, method: int) -> None:
    """With folders in the list, and written to a pipe, which puts sizes behind the content."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        archive.mkdir("mine")
        for name, data in make.with_manifest(make.files).items():
            archive.writestr(f"mine/{name}", data)
    (tmp_path / "mine.zip").write_bytes(bytes(pipe.data))
    assert check_submission(tmp_path / "mine.zip").lines == ()


@pytest.mark.parametrize("pack", ["folder", "zip", "tgz"])
def test_files_are_read_in_any_order_and_in_pieces(make: Any, tmp_path: Path, pack: str) -> None:
    """Twice, backwards, three bytes at a time; sizes and digests are those of the bytes."""
    with open_contents(getattr(make, pack)(tmp_path, make.files)) as contents:
        assert set(make.files) <= set(contents.names())
        for name in [*contents.names(), *reversed(contents.names())]:
            stream, pieces = contents.open(name), []
            while piece := stream.read(3):
                assert len(piece) <= 3
                pieces.append(piece)
            data = contents.read(name)
            assert b"".join(pieces) == data
            assert make.files.get(name, data) == data
            assert contents.size(name) == len(data)
            assert contents.sha256(name) == hashlib.sha256(data).hexdigest()
        assert read_exactly(contents.open("submission.yaml"), 10**9) == make.files["submission.yaml"]
        with pytest.raises(KeyError):
            contents.open("nothing")


def test_what_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    """Exit code 2, not 4."""
    with pytest.raises(UserError, match="There is no submission at") as caught:
        check_submission(tmp_path / "nothing")
    assert caught.value.exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_file_that_becomes_a_link_is_not_followed(make: Any, tmp_path: Path) -> None:
    """Between listing and reading somebody may put a link in a file's place."""
    path = make.folder(tmp_path, make.plain)
    (tmp_path / "secret").write_bytes(b"secret" * 100)
    with open_contents(path) as contents:
        (path / "weights.safetensors").unlink()
        (path / "weights.safetensors").symlink_to(tmp_path / "secret")
        with pytest.raises(UserError, match="SUB001"):
            contents.read("weights.safetensors")


@pytest.mark.parametrize(
    "name",
    ["submission.yaml", "weights.safetensors", "model-v1.onnx", "results/cells/a1_-.parquet", "results/grid.yml"],
)
def test_parts_are_known_by_their_paths(name: str) -> None:
    """In their place and nowhere else."""
    assert part_of(name) is not None
    assert part_of(f"other/{name}") is None
    assert part_of(f"{name}.bak") is None
    assert part_of(f".{name}") is None


def test_names_of_the_field_are_told_apart() -> None:
    """No two names of models and architectures at hand look alike, nor do those that people give."""
    given = ["resnet50", "resnet18", "osnet", "osnet-ain", "vit-s", "vit-b", "vit-s16", "vit-s8", "pcb", "mgn", "agw"]
    given += ["bagtricks", "transreid", "transreid-ssl", "clip-reid", "fastreid-r50", "fastreid-r101", "abd-net"]
    given += [f"mine-v{number}" for number in range(1, 5)] + [f"at-{k}-255" for k in (2, 4, 8, 16)]
    names = sorted({*ZOO, *ARCHITECTURES.table, *given} - {"osnet_x0_25"})
    shapes: dict[str, list[str]] = {}
    for name in names:
        shapes.setdefault(skeleton(name), []).append(name)
    assert [group for group in shapes.values() if len(group) > 1 and not {*group} & {*ARCHITECTURES.table}] == []
    assert lookalike("brand-new", ["brand-old"]) is None
    assert lookalike("Brand_New", ["brand-new"]) == "brand-new"


@pytest.mark.parametrize(
    "text",
    [
        "Müller, Łukasz; 北京大学; Nguyễn Văn",
        "ε < 4/255 & τ > 0.1",
        "a <= b, c << d, 3<4",
        "AT&T; R&D",
        "mAP: 50%, $5, #1, @home, [a, b] (c)",
        "\u03b5-robust \u2013 \u201cquoted\u201d",
        "data: Market-1501",
    ],
)
def test_honest_text_passes(text: str) -> None:
    """Names of people in any script, formulas, punctuation."""
    assert hostility(text) is None
