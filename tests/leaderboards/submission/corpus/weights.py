"""Weights, programs and manifests that are refused."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

Cases = dict[str, Any]
PROGRAM = "  weights: model.onnx\n"


def cases(of: Any) -> Cases:
    """All of them."""
    return {**disguises(of), **tensors(of), **programs(of), **manifests(of)}


def weights(of: Any, data: Any, *codes: str) -> Any:
    """A submission with other weights."""

    def change(make: Any, files: dict[str, bytes]) -> None:
        files["weights.safetensors"] = data(make) if callable(data) else data

    return of.content(change, *codes)


def program(of: Any, data: Any, *codes: str) -> Any:
    """A submission that is a program, without results."""

    def change(_make: Any, files: dict[str, bytes]) -> None:
        del files["weights.safetensors"]
        files["model.onnx"] = data() if callable(data) else data
        text = of.YAML.replace("  architecture: tinynet\n", "").replace("  weights: weights.safetensors\n", PROGRAM)
        files["submission.yaml"] = text.encode()

    return of.content(change, *codes)


def disguises(of: Any) -> Cases:
    """Pickles, what holds pickles, and archives, under other names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    zipped = buffer.getvalue()
    pickles = {
        **{f"pickle protocol {number}": bytes([0x80, number]) + b"}q\x00." for number in range(2, 6)},
        "pickle protocol 0": b"(dp0\nS'a'\np1\nI1\ns.",
        "a pickled call": b"cos\nsystem\n(S'ls'\ntR.",
        "a torch file": zipped,
        "an object array": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 20,
    }
    archives = {
        "gzip": b"\x1f\x8b\x08" + b"\0" * 9,
        "tar": b"x" * 257 + b"ustar\x0000" + b"\0" * 248,
        "7z": b"7z\xbc\xaf\x27\x1c\0",
        "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 9,
    }
    found: Cases = {}
    for code, kinds in (("SUB013", pickles), ("SUB014", archives)):
        for name, data in kinds.items():
            found[f"weights: {name}"] = weights(of, data, code)
            found[f"program: {name}"] = program(of, data, code)
    found["a row: a pickle"] = of.results(
        lambda make, files: files.update({make.row_file: pickles["pickle protocol 4"]}), "SUB013", "SUB402"
    )
    return found


def tensors(of: Any) -> Cases:
    """Files of tensors that are none, or lie."""

    def header(value: Any, body: bytes = b"", length: int | None = None) -> Any:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return lambda make: make.safetensors(text, body, length)

    def one(**change: Any) -> dict[str, Any]:
        return {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | change}

    four = b"\0" * 4

    def numbers(kind: str, data: bytes, size: int) -> Any:
        return lambda make: make.tensors({"a": (kind, [len(data) // size], data)})

    bad = {
        "F64": struct.pack("<2d", 0, float("nan")),
        "F32": struct.pack("<2f", 0, float("inf")),
        "F16": struct.pack("<2H", 0, 0xFC00),
        "BF16": struct.pack("<2H", 0, 0x7F80),
        "F8_E5M2": b"\0\x7d",
        "F8_E4M3": b"\0\xff",
    }
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E5M2": 1, "F8_E4M3": 1}
    twice = (
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    two = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    return {
        "weights: empty": weights(of, b"", "SUB202"),
        "weights: seven bytes": weights(of, b"\0" * 7, "SUB202"),
        "weights: a header of 10 GB": weights(of, header(one(), four, 10 << 30), "SUB202"),
        "weights: a header of 2^64 bytes": weights(of, header(one(), four, 2**64 - 1), "SUB202"),
        "weights: a header that is cut off": weights(of, header(one(), b"", 200), "SUB202"),
        "weights: a header that is no JSON": weights(of, header(b"{'a': 1}"), "SUB202"),
        "weights: a header that is a list": weights(of, header([]), "SUB202"),
        "weights: a deep header": weights(of, header(b"{" + b'"a":[' * 90_000), "SUB202"),
        "weights: a deep header that is whole": weights(
            of, header(b'{"a":' + b"[" * 400 + b"]" * 400 + b"}"), "SUB202"
        ),
        "weights: no tensor": weights(of, header({}), "SUB202"),
        "weights: a tensor twice": weights(of, header(twice, four), "SUB202"),
        "weights: a negative shape": weights(of, header(one(shape=[-1]), four), "SUB202"),
        "weights: a shape of floats": weights(of, header(one(shape=[1.0]), four), "SUB202"),
        "weights: a shape of truths": weights(of, header(one(shape=[True]), four), "SUB202"),
        "weights: a shape without end": weights(of, header(one(shape=[1] * 1000), four), "SUB202"),
        "weights: NaN in a shape": weights(of, header(b'{"a":{"dtype":"F32","shape":[NaN]}}'), "SUB202"),
        "weights: three offsets": weights(of, header(one(data_offsets=[0, 4, 8]), four), "SUB202"),
        "weights: another key": weights(of, header(one(code="os.system"), four), "SUB202"),
        "weights: metadata that is no text": weights(of, header({"__metadata__": {"a": [1]}, **one()}, four), "SUB202"),
        "weights: beyond the file": weights(
            of, header(one(shape=[1 << 40], data_offsets=[0, 1 << 42]), four), "SUB203"
        ),
        "weights: another size": weights(of, header(one(shape=[3]), four), "SUB203"),
        "weights: backwards": weights(of, header(one(data_offsets=[4, 0]), four), "SUB203"),
        "weights: overlapping": weights(
            of, header({**two, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, four * 3), "SUB203"
        ),
        "weights: a gap": weights(of, header(one(data_offsets=[4, 8]), four * 2), "SUB203"),
        "weights: something behind": weights(of, header(one(), four + b"PK\x03\x04"), "SUB203"),
        "weights: an unknown type": weights(of, header(one(dtype="PYOBJECT"), four), "SUB204"),
        "weights: a type that is a list": weights(of, header(one(dtype=["F32"]), four), "SUB202"),
        **{
            f"weights: not finite in {kind}": weights(of, numbers(kind, data, sizes[kind]), "SUB205")
            for kind, data in bad.items()
        },
        "weights: another file": of.text(
            "weights: weights.safetensors", "weights: other.safetensors", "SUB201", "SUB012"
        ),
    }


def programs(of: Any) -> Cases:
    """ONNX files that are none, or ask for more than a flat graph of known operators."""
    from onnx import AttributeProto, TensorProto, helper, numpy_helper

    def graph(nodes: Any, weight: Any = None, name: str = "g") -> Any:
        import numpy as np

        values = np.ones((4, 3, 1, 1), np.float32) if weight is None else weight
        return helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 6])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 8, 6])],
            [numpy_helper.from_array(values, "w")],
        )

    def model(*nodes: Any, spoil: Any = None, weight: Any = None, **given: Any) -> Any:
        def build() -> bytes:
            made = list(nodes) or [helper.make_node("Conv", ["x", "w"], ["y"])]
            found = helper.make_model(graph(made, weight), opset_imports=[helper.make_opsetid("", 17)], **given)
            if spoil:
                spoil(found)
            return bytes(found.SerializeToString())

        return build

    def external(found: Any) -> None:
        tensor = found.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../etc/passwd"

    def function(found: Any) -> None:
        inner = helper.make_node("Relu", ["a"], ["b"])
        found.functions.append(helper.make_function("mine", "F", ["a"], ["b"], [inner], [helper.make_opsetid("", 17)]))

    def subgraph(found: Any) -> None:
        attribute = found.graph.node[0].attribute.add()
        attribute.name, attribute.type = "body", AttributeProto.GRAPH
        attribute.g.CopyFrom(graph([helper.make_node("Relu", ["x"], ["y"])], name="inner"))

    def many() -> bytes:
        chain = [helper.make_node("Relu", ["x" if n == 0 else f"v{n}"], [f"v{n + 1}"]) for n in range(20_001)]
        return model(*chain)()  # type: ignore[no-any-return]

    def diverged() -> bytes:
        import numpy as np

        return model(weight=np.full((4, 3, 1, 1), np.nan, np.float32))()  # type: ignore[no-any-return]

    zipped = b"PK\x05\x06" + b"\0" * 18
    loop = helper.make_node("Loop", ["x", "w"], ["y"])
    return {
        "program: a good one": program(of, model(), "SUB413"),
        "program: empty": program(of, b"", "SUB206"),
        "program: a text": program(of, b"hello, this is no program", "SUB206"),
        "program: cut off": program(of, lambda: model()()[:-30], "SUB206"),
        "program: a zip behind it": program(of, lambda: model()() + zipped, "SUB206"),
        "program: takes no images": program(
            of, model(spoil=lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop()), "SUB206"
        ),
        "program: NaN": program(of, diverged, "SUB205"),
        "program: external data": program(of, model(spoil=external), "SUB207"),
        "program: a foreign operator": program(
            of, model(helper.make_node("Evil", ["x"], ["y"], domain="evil")), "SUB208"
        ),
        "program: an unknown operator": program(
            of, model(helper.make_node("StringNormalizer", ["x"], ["y"])), "SUB208"
        ),
        "program: a loop": program(of, model(loop), "SUB208"),
        "program: a function": program(of, model(spoil=function), "SUB209"),
        "program: a subgraph": program(of, model(spoil=subgraph), "SUB209"),
        "program: too many nodes": program(of, many, "SUB210"),
        "program: beside an architecture": of.text(
            "  weights: weights.safetensors", "  weights: model.onnx", "SUB012", "SUB114", "SUB201"
        ),
    }


def manifests(of: Any) -> Cases:
    """Digests that do not agree."""

    def manifest(change: Any, *codes: str, pack: str = "zip") -> Any:
        def changed(make: Any, files: dict[str, bytes]) -> None:
            found = json.loads(make.with_manifest(files)["manifest.json"])
            data = change(found)
            files["manifest.json"] = data if isinstance(data, bytes) else json.dumps(found).encode()

        return of.content(changed, *codes, pack=pack)

    def without(make: Any, folder: Any) -> Any:
        return make.raw_zip(folder, [of.Raw(name=name, data=data) for name, data in make.plain.items()])

    def wrong(found: Any) -> None:
        found["files"]["weights.safetensors"] = "0" * 64

    return {
        "manifest: none": of.case(without, "SUB301"),
        "manifest: no JSON": manifest(lambda _: b"{", "SUB302"),
        "manifest: a JSON bomb": manifest(lambda _: b"[" * 100_000, "SUB302"),
        "manifest: a list": manifest(lambda _: b"[]", "SUB302"),
        "manifest: a key twice": manifest(lambda _: b'{"version": 1, "version": 1, "files": {}}', "SUB302"),
        "manifest: another version": manifest(lambda found: found.update(version=2), "SUB302"),
        "manifest: too many files": manifest(
            lambda f: f["files"].update({str(number): "0" * 64 for number in range(2_001)}), "SUB302"
        ),
        "manifest: no digest": manifest(lambda found: found["files"].update({"submission.yaml": "x"}), "SUB302"),
        "manifest: a wrong digest": manifest(wrong, "SUB303"),
        "manifest: a wrong digest in a tar": manifest(wrong, "SUB303", pack="tgz"),
        "manifest: a wrong digest in a folder": manifest(wrong, "SUB303", pack="folder"),
        "manifest: a file that is not listed": manifest(lambda f: f["files"].pop("submission.yaml") and None, "SUB304"),
        "manifest: a file that is not there": manifest(lambda f: f["files"].update({"../x": "0" * 64}), "SUB305"),
    }
