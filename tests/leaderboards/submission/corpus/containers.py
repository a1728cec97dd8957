"""Submissions that are put together badly, as folders, zips and tars."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

#: By name: the case; made by `cases`, which is given the module that makes submissions.
Cases = dict[str, Any]


def cases(of: Any) -> Cases:
    """All of them."""
    return {**folders(of), **zips(of), **tars(of)}


def folders(of: Any) -> Cases:  # noqa: C901 (a table with what its cells need)
    """What only a folder can hold, and what any can."""

    def added(*names: str, data: bytes = b"x") -> Any:
        return lambda _make, files: files.update(dict.fromkeys(names, data))

    def spoiled(spoil: Any, *, has_results: bool = False) -> Any:
        def build(make: Any, folder: Path) -> Any:
            path = make.folder(folder, make.files if has_results else make.plain)
            spoil(path)
            return path

        return build

    def link(path: Path) -> None:
        (path / "weights.safetensors").rename(path.parent / "elsewhere")
        (path / "weights.safetensors").symlink_to(path.parent / "elsewhere")

    def linked_folder(path: Path) -> None:
        (path / "results").rename(path.parent / "elsewhere")
        (path / "results").symlink_to(path.parent / "elsewhere")

    def crowd(path: Path) -> None:
        folder = path / "results" / "cells"
        folder.mkdir(parents=True)
        for number in range(2_001):
            os.link(path / "submission.yaml", folder / f"{number}.parquet")

    def deep(path: Path) -> None:
        (path / "results" / "cells" / "a" / "b" / "c").mkdir(parents=True)

    def file(name: str, data: bytes) -> Any:
        def build(_make: Any, folder: Path) -> Any:
            (folder / name).write_bytes(data)
            return folder / name

        return build

    suffixes = {f"a file {name}": of.content(added(name), "SUB013") for name in ("w.pt", "w.pkl", "w.pt2", "w.npy")}
    return {
        "a link to a file": of.case(spoiled(link), "SUB003"),
        "a link to a folder": of.case(spoiled(linked_folder, has_results=True), "SUB003"),
        "a pipe": of.case(spoiled(lambda path: os.mkfifo(path / "pipe.onnx")), "SUB003"),
        "too many files": of.case(spoiled(crowd), "SUB004"),
        "too deep a folder": of.case(spoiled(deep), "SUB009"),
        "a large text": of.content(added("submission.yaml", data=b"#" * 40_000), "SUB005"),
        "a file of no use": of.content(added("notes.txt"), "SUB012"),
        "code": of.content(added("model.py"), "SUB012"),
        "other weights": of.content(added("more.onnx", data=b"\x08\x07"), "SUB012"),
        "an archive inside": of.content(added("old.zip", "old.tar.gz"), "SUB014"),
        "cases apart by case alone": of.content(added("Weights.safetensors"), "SUB011", "SUB012"),
        "a cache of a run": of.content(added("results/features/a.safetensors", ".git/config"), "SUB015"),
        "neither": of.case(file("mine.bin", b"\x80\x04K\x01."), "SUB001"),
        "an empty file": of.case(file("mine.zip", b""), "SUB001"),
        "7z": of.case(file("mine.7z", b"7z\xbc\xaf\x27\x1c"), "SUB001"),
        **suffixes,
    }


def zips(of: Any) -> Cases:
    """What only a zip can hold."""
    Raw = of.Raw

    def also(*members: Any, **how: Any) -> Any:
        return lambda make, folder: make.raw_zip(folder, [*make.valid_members(), *members], **how)

    def patched(old: bytes, new: bytes) -> Any:
        def build(make: Any, folder: Path) -> Any:
            path = make.raw_zip(folder, make.valid_members())
            path.write_bytes(path.read_bytes().replace(old, new))
            return path

        return build

    def lying(**lie: Any) -> Any:
        def build(make: Any, folder: Path) -> Any:
            members = make.valid_members()
            weights = next(each for each in members if each.name == "weights.safetensors")
            members[members.index(weights)] = of.replace(weights, **lie)
            return make.raw_zip(folder, members)

        return build

    def cut(make: Any, folder: Path) -> Any:
        path = make.raw_zip(folder, make.valid_members())
        path.write_bytes(path.read_bytes()[:-30])
        return path

    def overlapping(make: Any, folder: Path) -> Any:
        members = make.valid_members()
        return make.raw_zip(folder, [*members, Raw(name="manifest.json", data=members[0].data, offset=0)])

    def hidden(make: Any, folder: Path) -> Any:
        # More comes out of the packed bytes than is said, though the first bytes and their CRC are right.
        data = make.files["weights.safetensors"]
        whole = of.deflated(data + b"\0" * 5_000_000)
        return lying(method=8, packed=whole)(make, folder)

    def quine(make: Any, folder: Path) -> Any:
        path = make.raw_zip(folder, make.valid_members())
        path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
        return path

    names = {
        "../evil.onnx": "SUB002",
        "/etc/evil.onnx": "SUB002",
        "C:/evil.onnx": "SUB002",
        "a\\evil.onnx": "SUB002",
        "results/../../evil": "SUB002",
        "./evil.onnx": "SUB002",
        "e\x1b[31m.onnx": "SUB002",
        "\u0435.onnx": "SUB002",
        "con.onnx ": "SUB002",
        "~/evil//x": "SUB002",
        "a\0b.onnx": "SUB002",
    }
    paths = {f"zip: the path {name!r}": of.case(also(Raw(name=name)), code, "SUB012") for name, code in names.items()}
    zeros = b"\0" * (4 << 20)
    return {
        **paths,
        "zip: a link": of.case(also(Raw(name="model.onnx", data=b"/etc/passwd", mode=0o120777)), "SUB003"),
        "zip: a device": of.case(also(Raw(name="model.onnx", mode=0o020666)), "SUB003"),
        "zip: a long path": of.case(also(Raw(name="a/" * 5 + "b" * 250)), "SUB009", "SUB012"),
        "zip: a path twice": of.case(also(Raw(name="submission.yaml", data=b"name: other")), "SUB010"),
        "zip: a file and a folder": of.case(also(Raw(name="submission.yaml/x")), "SUB010", "SUB012"),
        "zip: a bomb": of.case(also(Raw(name="bomb.onnx", data=zeros, method=8)), "SUB006"),
        "zip: weights that are a bomb": of.case(lying(data=zeros, method=8), "SUB006"),
        "zip: says 3 GB": of.case(lying(size=3 << 30, method=8), "SUB006", "SUB005"),
        "zip: too many files": of.case(also(count=20_000), "SUB004"),
        "zip: one body, two files": of.case(overlapping, "SUB007", "SUB010"),
        "zip: another name inside": of.case(lying(local_name="../../evil"), "SUB007"),
        "zip: a file behind the end": of.case(lying(offset=10**9), "SUB007"),
        "zip: a wrong CRC": of.case(lying(crc=1), "SUB008"),
        "zip: smaller than said": of.case(lying(method=8, size=1000), "SUB008", "SUB203"),
        "zip: larger than said": of.case(lying(method=8, size=10), "SUB008", "SUB202"),
        "zip: two sizes": of.case(lying(size=10), "SUB008"),
        "zip: hidden bytes": of.case(hidden, "SUB008"),
        "zip: broken deflate": of.case(lying(method=8, packed=b"\xff\xff\xff"), "SUB008"),
        "zip: encrypted": of.case(lying(flags=1), "SUB001"),
        "zip: packed by lzma": of.case(lying(method=14), "SUB001"),
        "zip: cut off": of.case(cut, "SUB001"),
        "zip: something before it": of.case(quine, "SUB001"),
        "zip: something before its end": of.case(also(before_end=b"PK\x06\x07" + b"\0" * 16), "SUB001"),
        "zip: a damaged list": of.case(patched(b"PK\x01\x02", b"PK\x01\x03"), "SUB001"),
    }


def tars(of: Any) -> Cases:  # noqa: C901 (a table with what its cells need)
    """What only a tar can hold."""

    def also(name: str, size: int = 0, **given: Any) -> Any:
        return lambda make, folder: make.tar(folder, [(make.info(name, size, **given), b"\0" * size)])

    def packed(data: bytes, name: str = "mine.tgz") -> Any:
        def build(_make: Any, folder: Path) -> Any:
            (folder / name).write_bytes(gzip.compress(data))
            return folder / name

        return build

    def spoiled(spoil: Any) -> Any:
        def build(make: Any, folder: Path) -> Any:
            path = make.tgz(folder, make.plain)
            path.write_bytes(spoil(path.read_bytes()))
            return path

        return build

    def extended(kind: bytes, content: bytes) -> Any:
        def build(make: Any, folder: Path) -> Any:
            info = make.info("x", len(content), type=kind)
            return make.tar(folder, [(info, content), (make.info("more.onnx"), b"")])

        return build

    def headers(count: int) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for number in range(count):
                archive.addfile(tarfile.TarInfo(f"{number}.onnx"))
        return buffer.getvalue()

    def endless(kind: bytes) -> bytes:
        info = tarfile.TarInfo("x")
        info.type = kind
        return info.tobuf(tarfile.USTAR_FORMAT) * 25_000

    def huge() -> bytes:
        info = tarfile.TarInfo("weights.safetensors")
        info.size = 1 << 32
        return info.tobuf(tarfile.GNU_FORMAT)

    def bomb() -> bytes:
        info = tarfile.TarInfo("more.onnx")
        info.size = 64 << 20
        return info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * info.size

    def plain(data: bytes) -> Any:
        def build(_make: Any, folder: Path) -> Any:
            (folder / "mine.tar").write_bytes(data)
            return folder / "mine.tar"

        return build

    return {
        "tar: a symlink": of.case(also("model.onnx", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "SUB003"),
        "tar: a hard link": of.case(also("model.onnx", type=tarfile.LNKTYPE, linkname="../x"), "SUB003"),
        "tar: a device": of.case(also("model.onnx", type=tarfile.CHRTYPE), "SUB003"),
        "tar: a pipe": of.case(also("model.onnx", type=tarfile.FIFOTYPE), "SUB003"),
        "tar: a way out": of.case(also("../model.onnx"), "SUB002", "SUB012"),
        "tar: an absolute path": of.case(also("/model.onnx"), "SUB002", "SUB012"),
        "tar: a path twice": of.case(also("submission.yaml"), "SUB010"),
        "tar: a bomb": of.case(packed(bomb()), "SUB006"),
        "tar: too many files": of.case(plain(headers(2_001)), "SUB004"),
        "tar: extended headers without end": of.case(plain(endless(b"x")), "SUB001"),
        "tar: extended headers that are a bomb": of.case(packed(endless(b"x")), "SUB006"),
        "tar: a huge file": of.case(packed(huge()), "SUB005"),
        "tar: a long extended header": of.case(extended(b"x", b"9" * 20_000), "SUB001"),
        "tar: a lying extended header": of.case(extended(b"x", b"99 size=5\n"), "SUB001"),
        "tar: a size in an extended header": of.case(extended(b"x", b"13 size=9999\n"), "SUB001"),
        "tar: a way out in an extended header": of.case(extended(b"x", b"21 path=../evil.onnx\n"), "SUB002", "SUB012"),
        "tar: a long name": of.case(extended(b"L", b"../" + b"e" * 300), "SUB002", "SUB009", "SUB012"),
        "tar: a way out for all": of.case(extended(b"g", b"21 path=../evil.onnx\n"), "SUB001"),
        "tar: cut off": of.case(spoiled(lambda data: data[:-200]), "SUB008"),
        "tar: damaged": of.case(spoiled(lambda data: data[:40] + b"\0" * 9 + data[49:]), "SUB008"),
        "tar: something behind it": of.case(spoiled(lambda data: data + b"PK\x03\x04"), "SUB008"),
        "tar: something behind its end": of.case(packed(headers(1) + b"x" * 10), "SUB001"),
        "tar: no headers": of.case(packed(struct.pack("<1024B", *range(256), *[7] * 768)), "SUB001"),
    }
