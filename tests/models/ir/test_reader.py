"""Reading an IR: what it says, what it becomes, and what is refused before a single operator runs."""

from __future__ import annotations

import contextlib
import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.models.program.ir import emitter, graph, reader
from robustreid.models.program.ir.reader import read_ir
from robustreid.models.program.network import OnnxNetwork
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DRAW = np.random.default_rng(0)
WEIGHT = DRAW.normal(size=(4, 3, 3, 3)).astype(np.float32)
BIAS = DRAW.normal(size=(1, 4, 1, 1)).astype(np.float32)
COLUMNS = DRAW.normal(size=(4, 5)).astype(np.float32)
WINDOW = {"strides": "1,1", "pads_begin": "1,1", "pads_end": "1,1", "dilations": "1,1"}
IMAGES = torch.rand((2, 3, 8, 6), generator=torch.Generator().manual_seed(0))


def small_network(draft: Any, dtype: str = "float32") -> Any:
    """Convolution, bias, PReLU, mean over positions, product: (N, 5)."""
    wave = draft.layer("Convolution", draft.x, draft.const(WEIGHT.astype(dtype)), shape=(-1, 4, 8, 6), **WINDOW)
    biased = draft.layer("Add", wave, draft.const(BIAS.astype(dtype)))
    bent = draft.layer("PReLU", biased, draft.const(np.full(4, 0.25, dtype=dtype)))
    pooled = draft.layer("ReduceMean", bent, draft.ints(2, 3), keep_dims="false", shape=(-1, 4))
    return draft.layer("MatMul", pooled, draft.const(COLUMNS.astype(dtype)), shape=(-1, 5))


def expected(images: torch.Tensor, dtype: str = "float32") -> torch.Tensor:
    weight, bias, columns = (torch.from_numpy(a.astype(dtype).astype(np.float32)) for a in (WEIGHT, BIAS, COLUMNS))
    return F.leaky_relu(F.conv2d(images, weight, padding=1) + bias, 0.25).mean((2, 3)) @ columns


@pytest.fixture
def written(draft: Any) -> Path:
    path: Path = draft.write(small_network(draft))
    return path


def edited(path: Path, old: str, new: str, count: int = 1) -> Path:
    """The file with a part of its XML changed."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")
    return path


def test_a_program_says_its_input_and_output(written: Path) -> None:
    """Size, open batch and features are those of the file; the bias is part of the convolution."""
    program = read_ir(written)
    assert (program.input_shape, program.input_size) == ((None, 3, 8, 6), (8, 6))
    assert [node.operator for node in program.nodes] == ["Conv", "Reshape", "PRelu", "ReduceMean", "MatMul"]
    torch.testing.assert_close(OnnxNetwork(program)(IMAGES), expected(IMAGES))


def test_half_precision_is_widened(draft: Any) -> None:
    """Constants of 16 bits are the same numbers in 32; those of 64 are rounded once."""
    program = read_ir(draft.write(small_network(draft, "float16")))
    assert {array.dtype for array in program.initialisers.values() if array.dtype.kind == "f"} == {np.dtype("float32")}
    torch.testing.assert_close(OnnxNetwork(program)(IMAGES), expected(IMAGES, "float16"))
    again = type(draft)(draft.folder)
    double = again.write(small_network(again, "float64"))
    torch.testing.assert_close(OnnxNetwork(read_ir(double))(IMAGES), expected(IMAGES))


def test_gradients_reach_the_images(written: Path) -> None:
    """They are those of finite differences in float64."""
    network = OnnxNetwork(read_ir(written, takes_bgr255=True)).double()
    images = IMAGES[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(network, images, eps=1e-6, atol=1e-5, fast_mode=True)


def test_a_fixed_batch_is_freed(draft: Any) -> None:
    """A file for one image takes any number, as the published ones must."""
    draft.shape = (1, 3, 8, 6)
    flat = draft.layer("Reshape", draft.x, draft.ints(1, 144), special_zero="false", shape=(1, 144))
    network = OnnxNetwork(read_ir(draft.write(flat)))
    assert torch.equal(network(IMAGES), IMAGES.flatten(1))


def test_bgr255_is_the_same_network_behind_a_turn(draft: Any, written: Path) -> None:
    """RGB in [0, 1] gives bit for bit what the file gives for BGR in 0..255; without the turn it is another feature."""
    bare, turned = (OnnxNetwork(read_ir(written, takes_bgr255=flag)) for flag in (False, True))
    assert torch.equal(turned(IMAGES), bare(IMAGES.flip(1) * 255))
    for wrong in (IMAGES * 255, IMAGES.flip(1), IMAGES):
        assert not torch.allclose(turned(IMAGES), bare(wrong), rtol=1e-2)


@pytest.mark.parametrize("why", ["used twice", "along the width", "the result"])
def test_a_bias_is_merged_only_where_it_is_one(draft: Any, why: str) -> None:
    """A convolution whose output goes elsewhere too keeps its own numbers; so does one with another addend."""
    wave = draft.layer("Convolution", draft.x, draft.const(WEIGHT), shape=(-1, 4, 8, 6), **WINDOW)
    addend = BIAS if why != "along the width" else np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6)
    biased = draft.layer("Add", wave, draft.const(addend))
    result = {"used twice": lambda: draft.layer("Multiply", wave, biased), "along the width": lambda: biased}.get(
        why, lambda: wave
    )()
    convolved = F.conv2d(IMAGES, torch.from_numpy(WEIGHT), padding=1)
    summed = convolved + torch.from_numpy(addend)
    wanted = {"used twice": convolved * summed, "along the width": summed}.get(why, convolved)
    torch.testing.assert_close(OnnxNetwork(read_ir(draft.write(result)))(IMAGES), wanted.flatten(1))


def test_a_type_may_stand_on_the_port_alone(draft: Any) -> None:
    """The first files of version 10 say the type of a constant there."""
    path = draft.write(draft.layer("Add", draft.x, draft.const(BIAS[:, :1], says_type=False)), version=10)
    assert torch.equal(OnnxNetwork(read_ir(path))(IMAGES), (IMAGES + torch.from_numpy(BIAS[:, :1])).flatten(1))


BOMB = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(written: Path, encoding: str) -> None:
    """Without one no entity can be declared; seen by the parser, so in every encoding."""
    text = edited(written, '<?xml version="1.0"?>\n', BOMB).read_text(encoding="utf-8")
    written.write_bytes(text.encode(encoding))
    with pytest.raises(InvalidFileError, match="declares a document type"):
        read_ir(written)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('<net name="n" version="11">', '<net name="n" version="7">', "is <net> of version 7, expected"),
        ('type="PReLU"', 'type="Sin"', r"layers that are not supported: Sin; supported are: Abs, Add"),
        ('type="PReLU" version="opset1"', 'type="PReLU" version="extension"', "expected an operation of a public set"),
        ("<layers>", "<layers>" + "<a>" * graph.MAX_DEPTH + "</a>" * graph.MAX_DEPTH, "elements inside each other"),
        ('id="1" name="Const 1"', 'id="2" name="Const 1"', "gives one id to two layers"),
        ('id="1" name="Const 1"', 'id="-1" name="Const 1"', "id '-1', expected a whole number"),
        ('from-layer="0" from-port="0"', 'from-layer="0" from-port="9"', "port 9, which does not exist"),
        ('from-layer="0" from-port="0"', 'from-layer="5" from-port="1"', "out of layer 5, port 1"),
        ('to-layer="2" to-port="1"', 'to-layer="2" to-port="0"', "feeds input 0 of layer 2 twice"),
        ('to-layer="2" to-port="1"', 'to-layer="77" to-port="0"', "into layer 77"),
        ('<edge from-layer="0" from-port="0" to-layer="2" to-port="0" />', "", "input 0 of layer 'Convolution 2'"),
        ('from-layer="0" from-port="0"', 'from-layer="4" from-port="2"', "goes in a circle"),
        ('offset="0"', 'offset="1000"', r"at 1000 \+ 432 of its \.bin, expected 108 entries of f32 inside"),
        ('size="432"', 'size="431"', "expected 108 entries"),
        ('offset="0"', 'offset="-4"', "no whole number"),
        ('shape="4, 3, 3, 3"', 'shape="4, 3, 3, 999999999999"', "expected 35999999999964 entries"),
        ('size="432" element_type="f32"', 'size="432" element_type="u4"', "of type 'u4', expected f32"),
        ('8,6" element_type="f32"', '8,6" element_type="u8"', "and type u8, expected float images"),
        ("<dim>3</dim><dim>8</dim>", "<dim>4</dim><dim>8</dim>", r"takes 'Parameter 0' of shape \(\?, 4, 8, 6\)"),
        ('type="Result"', 'type="Parameter"', "has 2 inputs, expected exactly one"),
        ("<dim>8</dim>", "<dim>huge</dim>", "a size of an axis 'huge'"),
        ("</net>", "", "is not an XML file or is cut off"),
        ("</net>", "</net><net/>", "is not an XML file"),
    ],
)
def test_what_is_refused_is_one_sentence(written: Path, old: str, new: str, said: str) -> None:
    """Each names the file and exits with 4."""
    with pytest.raises(InvalidFileError, match=said) as caught:
        read_ir(edited(written, old, new))
    assert str(written) in str(caught.value)
    assert caught.value.exit_code == 4


def test_files_that_are_not_there(written: Path) -> None:
    """A missing .bin or .xml is the user's to mend (2)."""
    written.with_suffix(".bin").unlink()
    with pytest.raises(UserError, match=r"'model\.bin', which is not beside it") as caught:
        read_ir(written)
    assert caught.value.exit_code == 2
    with pytest.raises(UserError, match="does not exist"):
        read_ir(written.with_name("other.xml"))


def test_nan_is_refused(draft: Any) -> None:
    """Weights of a training that diverged are no model."""
    with pytest.raises(InvalidFileError, match="has NaN in the constant"):
        read_ir(draft.write(draft.layer("Add", draft.x, draft.const(np.array([[np.nan]], dtype=np.float32)))))


@pytest.mark.parametrize(("module", "name", "limit", "said"), [
    (graph, "MAX_XML", 100, "at most 100 are read"),
    (graph, "MAX_LAYERS", 5, "expected 1 to 5"),
    (reader, "MAX_BYTES", 100, "at most 100 are read"),
    (emitter, "MAX_BYTES", 800, "constants of more than 800 bytes"),
])  # fmt: skip
def test_limits(written: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, limit: int, said: str) -> None:
    """On bytes of both files, on layers, and on constants, many of which may lie on the same bytes."""
    if module is emitter:
        text = re.sub(
            r'shape="4" offset="\d+" size="16"', 'shape="4, 3, 3, 3" offset="0" size="432"', written.read_text()
        )
        written.write_text(text)
    monkeypatch.setattr(module, name, limit)
    with pytest.raises(InvalidFileError, match=said):
        read_ir(written)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_changed_is_read_or_refused(draft: Any, seed: int) -> None:
    """No attribute taken away, doubled or replaced by rubbish ends in anything but features or a sentence."""
    path = draft.write(small_network(draft))
    draws = random.Random(seed)  # noqa: S311 (reproducible changes, not secrets)
    text = path.read_text(encoding="utf-8")
    rubbish: list[Callable[[str], str]] = [
        lambda _: "",
        lambda found: re.sub(r'"[^"]*"', '"-7"', found),
        lambda found: re.sub(r'"[^"]*"', '"1,,nan"', found),
        lambda found: re.sub(r'"([^"]*)"', r'"\g<1>0"', found),
    ]
    for _ in range(15):
        found = draws.choice(re.findall(r' [a-z_\-]+="[^"]*"|<port.*?</port>|<data[^>]*>', text))
        path.write_text(text.replace(found, draws.choice(rubbish)(found), 1), encoding="utf-8")
        with contextlib.suppress(UserError):
            OnnxNetwork(read_ir(path))(IMAGES)
