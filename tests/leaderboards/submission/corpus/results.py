"""Results that are refused: plans and tables of a stranger, and scores that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

Cases = dict[str, Any]


def cases(of: Any) -> Cases:
    """All of them."""
    return {**plans(of), **tables(of), **rows(of), **scores(of), **states(of)}


def plans(of: Any) -> Cases:
    """Plans that are not read."""

    def plan(data: Any, *codes: str) -> Any:
        def change(make: Any, files: dict[str, bytes]) -> None:
            files["results/plan.json"] = data(make) if callable(data) else data

        return of.results(change, *codes)

    def gone(_make: Any, files: dict[str, bytes]) -> None:
        del files["results/plan.json"]

    def twice(make: Any) -> bytes:
        found = json.loads(make.plan())
        return json.dumps({**found, "cells": found["cells"] * 2}).encode()

    return {
        "plan: none": of.results(gone, "SUB401"),
        "plan: no JSON": plan(b"{", "SUB401"),
        "plan: deep": plan(b'{"cells":' + b"[" * 200_000, "SUB401"),
        "plan: deep and whole": plan(b'{"cells":' + b"[" * 500 + b"]" * 500 + b"}", "SUB401"),
        "plan: a list": plan(b"[]", "SUB401"),
        "plan: a key twice": plan(b'{"cells": [], "cells": []}', "SUB401"),
        "plan: many cells": plan(json.dumps({"cells": [1] * 3_000}).encode(), "SUB401"),
        "plan: large": plan(b" " * (5 << 20), "SUB005"),
        "plan: cells that are numbers": plan(b'{"cells": [1, 2]}', "SUB401"),
        "plan: a path for an id": plan(lambda make: make.plan(cell_id="../../etc"), "SUB401"),
        "plan: a cell twice": plan(twice, "SUB401"),
        "plan: an infinite radius": plan(
            lambda make: make.plan(epsilon=1e999).replace(b"Infinity", b"1e999"), "SUB401"
        ),
        "plan: a number that is long": plan(
            lambda make: make.plan(seed=0).replace(b'"seed": 0', b'"seed": ' + b"9" * 9000), "SUB401"
        ),
    }


def tables(of: Any) -> Cases:  # noqa: C901 (a table with what its cells need)
    """Parquet that is none, unpacks to too much, or has other columns."""

    def row(data: Any, *codes: str) -> Any:
        return of.results(lambda make, files: files.update({make.row_file: data(make)}), *codes)

    def queries(data: Any, *codes: str) -> Any:
        return of.results(lambda make, files: files.update({make.queries_file: data(make)}), *codes)

    def plain(make: Any, **how: Any) -> bytes:
        return bytes(make.table([make.row()], make.row_schema, **how))

    def schema(change: Any) -> Any:
        def made(make: Any) -> bytes:
            table = change(pa.Table.from_pylist([make.row()], schema=make.row_schema))
            return bytes(make.parquet(table))

        return made

    def cast(kind: Any, value: Any) -> Any:
        def change(table: pa.Table) -> pa.Table:
            place = table.column_names.index("reason")
            return table.set_column(place, "reason", pa.array([value], kind))

        return schema(change)

    def many_queries(make: Any) -> bytes:
        query = make.queries()[0]
        columns = {
            name: pa.array([query.get(name)], make.query_schema.field(name).type) for name in make.query_schema.names
        }
        table = pa.table(columns, schema=make.query_schema).take(pa.array([0] * 200_001))
        return bytes(make.parquet(table))

    def long_ids(make: Any) -> bytes:
        # A dictionary makes a file small that unpacks to a gigabyte.
        many = [{**make.queries()[0], "query_id": "x" * 20_000} for _ in range(1000)]
        return bytes(make.table(many, make.query_schema))

    def lying_page(make: Any) -> bytes:
        data = bytearray(plain(make))
        import io

        import pyarrow.parquet as pq

        column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
        end = start + column.total_compressed_size
        place = data.index(b"\x2c\x15\x02", start, end)  # DataPageHeader, its first field, one value
        data[place + 2] = 0x7E
        return bytes(data)

    def footer(length: int) -> Any:
        return lambda make: plain(make)[:-8] + length.to_bytes(4, "little") + b"PAR1"

    nested = pa.struct([("a", pa.list_(pa.string()))])
    return {
        "a row: empty": row(lambda _: b"", "SUB402"),
        "a row: a text": row(lambda _: b"a,b,c\n1,2,3\n", "SUB402"),
        "a row: cut off": row(lambda make: plain(make)[:-50], "SUB402"),
        "a row: no content": row(lambda make: b"PAR1" + plain(make)[-4000:], "SUB402"),
        "a row: a long footer": row(footer(2**31), "SUB402"),
        "a row: a wrong footer": row(footer(100), "SUB402"),
        "a row: a lying page": row(lying_page, "SUB402"),
        "a row: a million flags": row(
            lambda make: make.table([make.row(flags=["x"] * 1_000_000)], make.row_schema), "SUB402"
        ),
        "a row: a hundred flags": row(
            lambda make: make.table([make.row(flags=["x"] * 100)], make.row_schema), "SUB402"
        ),
        "a row: three rows": row(lambda make: make.table([make.row()] * 3, make.row_schema), "SUB402"),
        "a row: another packing": row(lambda make: plain(make, compression="zstd"), "SUB402"),
        "a row: a long text": row(lambda make: make.table([make.row(reason="x" * 900_000)], make.row_schema), "SUB402"),
        "queries: too many": queries(many_queries, "SUB402"),
        "queries: long ids": queries(long_ids, "SUB402"),
        "a row: a column less": row(schema(lambda table: table.drop_columns(["mAP_clean"])), "SUB403"),
        "a row: a column more": row(schema(lambda t: t.append_column("x", pa.array([1]))), "SUB403"),
        "a row: a column twice": row(schema(lambda t: t.append_column("reason", pa.array(["x"]))), "SUB403"),
        "a row: bytes for a text": row(cast(pa.binary(), b"x"), "SUB403"),
        "a row: a nested column": row(cast(nested, {"a": ["x"]}), "SUB403"),
        "a row: a deep column": row(cast(pa.list_(pa.list_(pa.string())), [["x"]]), "SUB403"),
        "a row: a dictionary": row(cast(pa.map_(pa.string(), pa.string()), [("a", "b")]), "SUB403"),
        "a row: that of queries": row(lambda make: make.files[make.queries_file], "SUB402"),
        "a row: no version": row(lambda make: plain(make, note=b"{}"), "SUB403"),
        "a row: a deep version": row(lambda make: plain(make, note=b"[" * 5_000), "SUB403"),
        "a row: a later version": row(lambda make: plain(make, note=b'{"schema_version": 99}'), "SUB409"),
        "a row: a true version": row(lambda make: plain(make, note=b'{"schema_version": true}'), "SUB409"),
    }


def rows(of: Any) -> Cases:
    """Rows that are not what their file, the plan or the submission say."""

    def row(*codes: str, **change: Any) -> Any:
        return of.results(lambda make, files: make.scored(files, **change), *codes)

    def queries(change: Any, *codes: str) -> Any:
        def changed(make: Any, files: dict[str, bytes]) -> None:
            found = make.queries()
            change(found)
            files[make.queries_file] = make.table(found, make.query_schema)

        return of.results(changed, *codes)

    def stray(make: Any, files: dict[str, bytes]) -> None:
        files[make.row_file.replace("0123", "4567")] = make.table([make.row(cell_id="4" * 32)], make.row_schema)

    def planned(make: Any, files: dict[str, bytes]) -> None:
        found = make.row_file.replace("0123", "4567")
        files[found] = make.table([make.row(cell_id=found[14:-8])], make.row_schema)

    return {
        "a row: of another cell": row("SUB404", cell_id="f" * 32),
        "a row: an unknown status": row("SUB404", status="great"),
        "a row: an unknown goal": row("SUB404", goal="none"),
        "a row: no attack": row("SUB404", attack=None),
        "a row: parameters that are no JSON": row("SUB404", attack_params="{"),
        "a row: parameters that are deep": row("SUB404", attack_params="[" * 4000),
        "a row: parameters that are a list": row("SUB404", attack_params="[]"),
        "a row: NaN": row("SUB404", mAP_attacked=float("nan")),
        "a row: infinite": row("SUB404", seconds=float("inf")),
        "queries: of another cell": queries(lambda found: found[0].update(cell_id="x"), "SUB404"),
        "queries: one twice": queries(lambda found: found[1].update(query_id="query/0.png"), "SUB404"),
        "queries: NaN": queries(lambda found: found[0].update(ap_clean=float("nan")), "SUB404"),
        "queries: without an id": queries(lambda found: found[0].update(query_id=None), "SUB404"),
        "queries: without an identity": queries(lambda found: found[0].update(identity=None), "SUB404"),
        "a row that is planned nowhere": of.results(planned, "SUB405"),
        "a row that is planned nowhere, and another's": of.results(stray, "SUB404"),
        "a row: other weights": row("SUB408", model_sha256="0" * 64),
        "a row: another architecture": row("SUB408", architecture="resnet50"),
        "a row: an undeclared defence": row("SUB408", defence="jpeg(quality=75)"),
        "a row: another metric": row("SUB408", metric="euclidean"),
        "a row: code": row("SUB408", architecture="plugin"),
        "a row: a later engine": row("SUB409", engine_version=99),
        "a row: no engine": row("SUB409", engine_version=None),
        "a row: a later metric": row("SUB409", metric_version=99),
        "a row: a later table": row("SUB409", schema_version=99),
    }


def scores(of: Any) -> Cases:
    """Scores that cannot be, and scores that were edited."""

    def row(*codes: str, **change: Any) -> Any:
        return of.results(lambda make, files: make.scored(files, **change), *codes)

    def all_of(metric: str, value: float) -> Any:
        def change(make: Any, files: dict[str, bytes]) -> None:
            before = make.row()[f"{metric}_clean"]
            bounds = {f"{metric}_attacked{bound}": value for bound in ("", "_optimistic", "_pessimistic")}
            make.scored(files, **bounds, **{f"{metric}_drop": before - value})

        return change

    def shorter(make: Any, files: dict[str, bytes]) -> None:
        files[make.queries_file] = make.table(make.queries()[:3], make.query_schema)

    def no_queries(make: Any, files: dict[str, bytes]) -> None:
        del files[make.queries_file]

    return {
        "scores: above 1": of.results(all_of("mAP", 1.5), "SUB406"),
        "scores: below 0": of.results(all_of("rank1", -0.5), "SUB406"),
        "scores: none": row("SUB406", mAP_attacked=None),
        "scores: no bounds": row("SUB406", mAP_attacked_optimistic=None),
        "scores: outside of its bounds": row("SUB406", mAP_attacked_optimistic=0.0),
        "scores: another drop": row("SUB406", mAP_drop=0.0),
        "scores: chance of 2": row("SUB406", chance_mAP=2.0),
        "scores: minus queries": row("SUB406", n_query=-1),
        "scores: a change above its radius": row("SUB406", linf_max=0.1),
        "scores: a negative radius": row("SUB406", epsilon=-1.0, linf_max=None),
        "scores: no targeted ones": row("SUB406", goal="targeted"),
        "scores: made up mAP": of.results(all_of("mAP", 0.9), "SUB407"),
        "scores: made up trapezoid": of.results(all_of("mAP_trapezoid", 0.9), "SUB407"),
        "scores: made up mINP": of.results(all_of("mINP", 0.9), "SUB407"),
        "scores: made up Rank-1": of.results(all_of("rank1", 0.75), "SUB407"),
        "scores: made up Rank-10": of.results(all_of("rank10", 1.0), "SUB407"),
        "scores: by a millionth": of.results(all_of("mAP", 0.3416677), "SUB407"),
        "scores: a query is missing": of.results(shorter, "SUB407"),
        "scores: no queries": of.results(no_queries, "SUB410"),
    }


def states(of: Any) -> Cases:
    """What is worth a note."""

    def failed(make: Any, files: dict[str, bytes]) -> None:
        kept = (
            "cell_id",
            "model",
            "model_sha256",
            "architecture",
            "dataset",
            "attack",
            "attack_params",
            "norm",
            "epsilon",
        )
        row = {name: value for name, value in make.row().items() if name in kept or name.endswith("version")}
        row |= {"status": "failed", "reason": "a feature is not finite", "goal": "untargeted", "side": "query"}
        files[make.row_file] = make.table([row | {"metric": "cosine", "seed": 0}], make.row_schema)
        del files[make.queries_file]

    def missing(make: Any, files: dict[str, bytes]) -> None:
        del files[make.queries_file], files[make.row_file]

    def none(make: Any, files: dict[str, bytes]) -> None:
        missing(make, files)
        del files["results/plan.json"], files["results/grid.yml"]

    return {
        "cells that failed": of.results(failed, "SUB411"),
        "cells that are missing": of.results(missing, "SUB412"),
        "no results": of.results(none, "SUB413"),
    }
