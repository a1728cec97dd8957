"""`defence` and `zoo` in a grid's models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from robustreid import UserError
from robustreid.benchmark.config.grid import load_grid
from robustreid.models.defences.parameters import Blur, Jpeg


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("{name: m, weights: m.onnx}", ()),
        ("{name: m, weights: m.onnx, defence: []}", ()),
        ("{name: m, weights: m.onnx, defence: jpeg}", (Jpeg(),)),
        ("{name: m, weights: m.onnx, defence: {name: jpeg, quality: 30}}", (Jpeg(quality=30),)),
        ("{name: m, weights: m.onnx, defence: [{name: blur, sigma: 2}, jpeg]}", (Blur(sigma=2.0), Jpeg())),
        ("{name: tiny-jpeg, zoo: tiny, defence: jpeg}", (Jpeg(),)),
        ("{name: tiny, defence: jpeg}", (Jpeg(),)),
        ("{name: another, zoo: tiny}", ()),
        ("tiny", ()),
    ],
)
def test_a_model_names_its_defences(write_grid: Callable[..., Path], entry: str, wanted: tuple[object, ...]) -> None:
    """A name, a name with parameters, or several in their order; for any model, those of the zoo too."""
    (model,) = load_grid(write_grid(models=f"models:\n  - {entry}")).models
    assert model.defence == wanted
    assert ("defence" in model.identity()) == bool(wanted)
    assert model.label in entry


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: m, weights: m.onnx, defence: jpg}", "models[0].defence: Unknown defence 'jpg'. Did you mean 'jpeg'?"),
        (
            "{name: m, weights: m.onnx, defence: {name: jpeg, qualty: 3}}",
            "models[0].defence.qualty: The defence jpeg has no parameter 'qualty'. Did you mean 'quality'?",
        ),
        (
            "{name: m, weights: m.onnx, defence: [blur, {name: jpeg, quality: 101}]}",
            "models[0].defence[1].quality: The defence jpeg: quality: expected a whole number from 1 to 100, got 101.",
        ),
        ("{name: m, weights: m.onnx, defence: 3}", "models[0].defence: expected a defence such as jpeg or"),
        ("{name: m, weights: m.onnx, defence: {quality: 3}}", "models[0].defence: expected a defence such as jpeg or"),
        ("{name: m, weights: m.onnx, defense: jpeg}", "unknown key 'defense'. Did you mean 'defence'?"),
        ("{name: m, zoo: tinny, defence: jpeg}", "Unknown zoo model 'tinny'. Did you mean 'tiny'?"),
        ("{name: m, zoo: tiny, weights: m.onnx}", "models[0].zoo: The model 'm' is 'tiny' of the zoo, which brings"),
    ],
)
def test_what_means_nothing_is_refused(write_grid: Callable[..., Path], entry: str, said: str) -> None:
    """In one sentence, with the line, the key and the nearest name."""
    with pytest.raises(UserError) as caught:
        load_grid(write_grid(models=f"models:\n  - {entry}"))
    assert said in str(caught.value)
    assert "grid.yml:3: models[0]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_defended_model_is_another_model(write_grid: Callable[..., Path]) -> None:
    """Beside the undefended one, and beside another strength; the same one twice is refused, however it is said."""
    two = "models:\n  - {name: plain, weights: m.onnx}\n  - {name: front, weights: m.onnx, defence: jpeg}"
    assert len(load_grid(write_grid(models=two)).models) == 2
    again = write_grid(models=f"{two}\n  - {{name: twin, weights: m.onnx, defence: {{name: jpeg, quality: 75}}}}")
    with pytest.raises(UserError, match="has the weights and settings of 'front'"):
        load_grid(again)


def test_a_zoo_model_may_bring_its_defence(write_grid: Callable[..., Path]) -> None:
    """`tiny-bit-depth` is `tiny` behind that defence, the same cell; a grid's own defence stands before it."""
    (entry,) = load_grid(write_grid(models="models: [tiny-bit-depth]")).models
    (same,) = load_grid(write_grid(models="models: [{name: same, zoo: tiny, defence: bit-depth}]")).models
    (more,) = load_grid(write_grid(models="models: [{name: more, zoo: tiny-bit-depth, defence: jpeg}]")).models
    assert entry.identity() == same.identity()
    assert [str(defence) for defence in more.defence] == ["jpeg(quality=75)", "bit-depth(bits=4)"]
