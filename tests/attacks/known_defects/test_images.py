"""Defects of public implementations: attacked images are written as JPEG, or cut off to 8 bit, before they are scored.

Each is written out as it stands there, with a check that it fails and ours passes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid.attacks.counts import quantise
from robustreid.attacks.optimisers import FGSM
from robustreid.attacks.threat import Threat
from torch import Tensor

Keeping = Callable[[Tensor, Tensor], Tensor]


def threat(counts: str) -> Threat:
    return Threat(norm="linf", epsilon=Fraction(counts) / 255)


def as_jpeg(images: Tensor, clean: Tensor) -> Tensor:
    """The defective form: an image library's JPEG, because the file kept its `.jpg` name."""
    del clean
    found = []
    for image in (images * 255).round().byte().permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG")
        found.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    return torch.stack(found).to(images) / 255


def cut_off(images: Tensor, clean: Tensor) -> Tensor:
    """The defective form: what `mul(255).byte()` does, for negative changes away from the clean pixel."""
    del clean
    return (images * 255).floor() / 255


def assert_scores_what_was_attacked(scene: Any, keep: Keeping) -> None:
    """The check: an 8-bit image survives as it is, and no other one is moved out of its ball, nor to one side."""
    whole = scene.run(FGSM(), threat("5"))
    assert torch.equal(whole, keep(whole, scene.images))
    for counts in ("3/2", "9/2"):
        found = scene.run(FGSM(), threat(counts))
        kept = keep(found, scene.images)
        assert (kept - scene.images).abs().max() <= float(threat(counts).epsilon) + 1e-6
        assert abs(float((kept - scene.images).mean())) < 0.1 / 255


def test_images_are_scored_without_loss(real32: Any) -> None:
    """Ours is exact for whole counts and rounds toward the clean pixel; JPEG and cutting off are told apart."""
    assert_scores_what_was_attacked(real32, quantise)
    for wrong in (as_jpeg, cut_off):
        with pytest.raises(AssertionError):
            assert_scores_what_was_attacked(real32, wrong)


def test_kept_images_are_lossless(real32: Any, tmp_path: Any) -> None:
    """Whatever the name of the original, an attacked image is kept as PNG with the very pixels that were scored."""
    from robustreid.benchmark.runner.images import image_file, write_image

    class Folder:
        def write(self, file: Any, content: bytes) -> None:
            file.write_bytes(content)

    (image,) = real32.run(FGSM(), threat("5"))[:1]
    file = image_file(tmp_path, "0002_c1s1_000451_03.jpg")
    write_image(Folder(), file, image)  # type: ignore[arg-type]
    with Image.open(file) as found:
        assert found.format == "PNG"
        assert np.array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(found))
