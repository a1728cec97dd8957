"""Makes submissions, good ones and others, for the corpus; `test_corpus.py` hands an instance to every case."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from robustreid.benchmark.store.columns import QUERY_SCHEMA, ROW_SCHEMA
from robustreid.benchmark.versions import ENGINE_VERSION

__all__ = ["Case", "Maker", "Raw", "case", "content", "replace", "results", "text"]

Files = dict[str, bytes]

YAML = """\
schema: 1
name: mine
title: A defence, 4/255 < 8/255
authors: [First Author, Second Author]
contact: first@example.org
paper: https://arxiv.org/abs/1706.06083
code: https://github.com/somebody/mine
licence: MIT
track: market1501-query-4
model:
  architecture: tinynet
  weights: weights.safetensors
  normalise: imagenet
trained_on: [market1501]
training_epsilon: 8/255
random_stages: []
non_differentiable_stages: []
adaptive_attack: null
"""
GRID = "name: mine\nmodels: [{name: mine, weights: ../weights.safetensors}]\ndatasets: [{name: m, root: '${DATA}/m'}]\n"
CELL = "0123456789abcdef0123456789abcdef"
ROW, QUERIES = f"results/cells/{CELL}.parquet", f"results/queries/{CELL}.parquet"
TEXTS = (
    "status=done model=mine architecture=tinynet dataset=m protocol=market-v1 attack=fna attack_params={} norm=linf "
    "epsilon_label=4/255 side=query goal=untargeted knowledge=white-box perturb_at=native references=other-side "
    "attacker_data=self precision=exact metric=cosine tool_version=0.1.0"
)
METRICS = ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5", "rank10", "rank20")


@dataclass(frozen=True)
class Case:
    """A submission and what is to be said of it."""

    #: Puts it into an empty folder and gives its path.
    build: Callable[[Maker, Path], Path]
    #: The codes of its errors, or of its notes where there are none.
    codes: frozenset[str]


def case(build: Callable[[Maker, Path], Path], *codes: str) -> Case:
    """A case with its codes."""
    return Case(build, frozenset(codes))


def content(
    change: Callable[[Maker, Files], Any], *codes: str, pack: str = "folder", has_results: bool = False
) -> Case:
    """A valid submission with changed files, as a folder or, with a manifest, as an archive."""

    def build(make: Maker, folder: Path) -> Path:
        files = dict(make.files if has_results else make.plain)
        change(make, files)
        path: Path = getattr(make, pack)(folder, files)
        return path

    return case(build, *codes)


def results(change: Callable[[Maker, Files], Any], *codes: str) -> Case:
    """A valid folder with results, some of them changed."""
    return content(change, *codes, has_results=True)


def text(old: str, new: str, *codes: str) -> Case:
    """A valid folder with a changed `submission.yaml`."""

    def change(_make: Maker, files: Files) -> None:
        assert old in YAML
        files["submission.yaml"] = YAML.replace(old, new).encode()

    return content(change, *codes)


def deflated(data: bytes) -> bytes:
    """As it lies in a zip."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A member of a zip in which everything can be a lie; None is the truth."""

    name: str
    data: bytes = b""
    method: int = 0
    size: int | None = None
    crc: int | None = None
    local_name: str | None = None
    offset: int | None = None
    flags: int = 0
    mode: int = 0o100644
    #: In place of what `data` deflates to.
    packed: bytes | None = None


@dataclass(kw_only=True)
class Maker:
    """What cases are built with."""

    #: A valid submission, and the same without results, which is checked faster.
    files: Files = field(default_factory=dict)
    plain: Files = field(default_factory=dict)
    row_file: str = ROW
    queries_file: str = QUERIES
    row_schema: pa.Schema = ROW_SCHEMA
    query_schema: pa.Schema = QUERY_SCHEMA

    def __post_init__(self) -> None:
        self.files = {
            "submission.yaml": YAML.encode(),
            "weights.safetensors": self.tensors({"a": ("F32", [4], struct.pack("<4f", 0.5, -1, 0, 3e38))}),
        }
        self.plain = dict(self.files)
        self.files |= {
            "results/grid.yml": GRID.encode(),
            "results/plan.json": self.plan(),
            ROW: self.table([self.row()], ROW_SCHEMA),
            QUERIES: self.table(self.queries(), QUERY_SCHEMA),
        }

    def folder(self, folder: Path, files: Files) -> Path:
        """The files in a folder."""
        for name, data in files.items():
            path = folder / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / "mine"

    def zip(self, folder: Path, files: Files) -> Path:
        """In a zip, with a manifest unless there is one."""
        members = [Raw(name=name, data=data, method=8) for name, data in self.with_manifest(files).items()]
        return self.raw_zip(folder, members)

    def tgz(self, folder: Path, files: Files) -> Path:
        """In a tar.gz, inside one folder, as `tar czf mine.tgz mine` makes it."""
        path = folder / "mine.tgz"
        with tarfile.open(path, "w:gz") as archive:
            for name, data in self.with_manifest(files).items():
                archive.addfile(self.info(f"mine/{name}", len(data), mtime=1.5), io.BytesIO(data))
        return path

    def tar(self, folder: Path, infos: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Path:
        """A plain tar of a valid submission and these beside it."""
        path = folder / "mine.tar"
        valid = [(self.info(name, len(data)), data) for name, data in self.with_manifest(self.plain).items()]
        with tarfile.open(path, "w") as archive:
            for info, data in (*valid, *infos):
                archive.addfile(info, io.BytesIO(data))
        return path

    def info(self, name: str, size: int = 0, **given: Any) -> tarfile.TarInfo:
        """A tar's header."""
        info = tarfile.TarInfo(name)
        info.size = size
        for key, value in given.items():
            setattr(info, key, value)
        return info

    def with_manifest(self, files: Files) -> Files:
        """The files, and `manifest.json` with their digests."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        return {"manifest.json": json.dumps({"version": 1, "files": digests}).encode(), **files}

    def valid_members(self) -> list[Raw]:
        """A valid submission for `raw_zip`."""
        return [Raw(name=name, data=data) for name, data in self.with_manifest(self.plain).items()]

    def raw_zip(
        self, folder: Path, members: Sequence[Raw], *, before_end: bytes = b"", count: int | None = None
    ) -> Path:
        """A zip written by hand."""
        body, directory = bytearray(), bytearray()
        for each in members:
            packed = each.packed if each.packed is not None else each.data
            if each.method == 8 and each.packed is None:
                packed = deflated(each.data)
            size = len(each.data) if each.size is None else each.size
            crc = zlib.crc32(each.data) if each.crc is None else each.crc
            name, local = each.name.encode(), (each.local_name or each.name).encode()
            offset = len(body) if each.offset is None else each.offset
            flags = each.flags | (0 if each.name.isascii() else 0x800)
            common = (20, flags, each.method, 0, 0x21, crc, len(packed), size)
            body += struct.pack("<4s5H3L2H", b"PK\x03\x04", *common, len(local), 0) + local + packed
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\x01\x02", 0x314, *common, len(name), 0, 0, 0, 0, each.mode << 16, offset
            )
            directory += name
        n = len(members) if count is None else count
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, n, n, len(directory), len(body), 0)
        path = folder / "mine.zip"
        path.write_bytes(bytes(body) + bytes(directory) + before_end + end)
        return path

    def tensors(self, tensors: Mapping[str, tuple[str, list[int], bytes]], **more: Any) -> bytes:
        """A safetensors file of names, types, shapes and bytes; `more` goes into its header."""
        header: dict[str, Any] = {}
        body = b""
        for name, (kind, shape, data) in tensors.items():
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
            body += data
        return self.safetensors(json.dumps(header | more).encode(), body)

    def safetensors(self, header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
        """The same from its parts; the length may be a lie."""
        return struct.pack("<Q", len(header) if length is None else length) + header + body

    def plan(self, **change: Any) -> bytes:
        """A plan of one cell."""
        names = ("cell_id", "model", "dataset", "attack", "norm", "epsilon", "epsilon_label", "side", "goal", "seed")
        row = self.row(label="mine m fna linf 4/255 query") | change
        return json.dumps({"schema_version": 1, "cells": [{name: row[name] for name in (*names, "label")}]}).encode()

    def queries(self) -> list[dict[str, Any]]:
        """Of four people; without ties."""
        firsts = {"clean": (1.0, 1.0, 3.0, 7.0), "attacked": (1.0, 4.0, 12.0, 30.0)}
        found = []
        for place in range(4):
            scores = {f"first_rank_{state}": ranks[place] for state, ranks in firsts.items()}
            for state, ranks in firsts.items():
                scores |= {f"{column}_{state}": 1 / ranks[place] for column in ("ap", "ap_trapezoid", "inp")}
            labels = {"cell_id": CELL, "trial": 0, "query_id": f"query/{place}.png", "identity": place, "camera": 1}
            found.append({**labels, **scores})
        return found

    def row(self, **change: Any) -> dict[str, Any]:
        """The row of the queries."""
        queries = self.queries()
        row: dict[str, Any] = {
            **dict(pair.split("=") for pair in TEXTS.split()),
            **dict.fromkeys(("trials", "attack_version", "metric_version", "schema_version"), 1),
            **dict.fromkeys(("n_query", "n_query_valid", "n_gallery", "n_identity", "n_attacked"), 4),
            **dict.fromkeys(("chance_mAP", "chance_rank1"), 0.1),
            **dict.fromkeys(("epsilon", "linf_max"), 4 / 255),
            "cell_id": CELL,
            "reason": "",
            "model_sha256": hashlib.sha256(self.files["weights.safetensors"]).hexdigest(),
            "dataset_sha256": "0" * 64,
            "seed": 0,
            "engine_version": ENGINE_VERSION,
            "flags": ["projected"],
        }
        for metric in METRICS:
            for state in ("clean", "attacked"):
                hits = [query[f"ap_{state}"] for query in queries]  # the same number as its other scores
                if metric.startswith("rank"):
                    hits = [query[f"first_rank_{state}"] <= int(metric[4:]) for query in queries]
                value = sum(hits) / len(hits)
                row |= {f"{metric}_{state}{bound}": value for bound in ("", "_optimistic", "_pessimistic")}
            row[f"{metric}_drop"] = row[f"{metric}_clean"] - row[f"{metric}_attacked"]
        return row | change

    def table(
        self, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, note: bytes | None = None, **how: Any
    ) -> bytes:
        """Parquet as the store writes it; `note` stands in for what it says of its version."""
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
        return self.parquet(table, note=note, **how)

    def parquet(self, table: pa.Table, *, note: bytes | None = None, **how: Any) -> bytes:
        """The same from a table."""
        said = json.dumps({"schema_version": 1}).encode() if note is None else note
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({b"robustreid": said}), buffer, **how)
        return buffer.getvalue()

    def scored(self, files: Files, **change: Any) -> None:
        """Change columns of the row."""
        files[ROW] = self.table([self.row(**change)], ROW_SCHEMA)
