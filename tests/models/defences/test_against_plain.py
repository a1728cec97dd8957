"""Each defence does what a plain loop, NumPy or Pillow does."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid.models.defences.catalogue import parse_one
from robustreid.models.defences.draws import content, keys, normal, split, uniform
from robustreid.models.defences.stage import Stage, Stages
from torch import Tensor, nn
from torch.nn import functional as F


def stage(name: str, **parameters: object) -> Stage:
    (found,) = Stages((parse_one({"name": name, **parameters}),)).values()
    assert isinstance(found, Stage)
    return found


def seen_behind(name: str, images: Tensor, **parameters: object) -> Tensor:
    """What a model sees behind a defence."""
    flat: Tensor = Stages((parse_one({"name": name, **parameters}),))(lambda pixels: pixels.flatten(1), images)
    return flat.view(images.shape)


@pytest.mark.parametrize("quality", [10, 75, 95])
def test_jpeg_is_pillow_s(images: Tensor, quality: int) -> None:
    """Encoded and decoded once, image by image, with 4:2:0 colours."""
    found = stage("jpeg", quality=quality)(images)
    for image, one in zip(images, found, strict=True):
        buffer = io.BytesIO()
        levels = (image * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        wanted = torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)
        assert torch.equal((one * 255).round().byte(), wanted)
    assert torch.equal((found * 255).round() / 255, found)
    assert not torch.equal(found, images)


def test_jpeg_takes_what_lies_between_grey_levels(images: Tensor) -> None:
    """It is rounded first, and what lies outside [0, 1] is cut off; in float64 it is the same image."""
    jpeg = stage("jpeg")
    assert torch.equal(jpeg(images + 0.4 / 255), jpeg(images))
    assert torch.equal(jpeg(images * 3 - 1), jpeg((images * 3 - 1).clamp(0, 1)))
    assert torch.allclose(jpeg(images.double()), jpeg(images).double(), atol=1e-7)


@pytest.mark.parametrize("bits", [1, 4, 7])
def test_bit_depth_is_rounding(images: Tensor, bits: int) -> None:
    """2^bits levels; no grey level lies halfway between two."""
    steps = 2**bits - 1
    wanted = np.rint(images.double().numpy() * steps) / steps
    assert np.allclose(stage("bit-depth", bits=bits)(images).numpy(), wanted, atol=1e-6)
    every = torch.arange(256).double() / 255 * steps
    assert float((every - every.floor() - 0.5).abs().min()) > 1e-3


def test_blur_is_the_weighted_mean_of_a_window(images: Tensor) -> None:
    """As a plain loop over pixels has it, the border repeated."""
    size, sigma = 5, 0.8
    found = stage("blur", size=size, sigma=sigma)(images)
    half = size // 2
    weights = {
        (row, column): math.exp(-(row**2 + column**2) / (2 * sigma**2))
        for row in range(-half, half + 1)
        for column in range(-half, half + 1)
    }
    total = sum(weights.values())
    height, width = images.shape[-2:]
    for row, column in ((0, 0), (3, 5), (19, 11), (10, 0)):
        parts = [
            weight * images[:, :, min(max(row + r, 0), height - 1), min(max(column + c, 0), width - 1)].double()
            for (r, c), weight in weights.items()
        ]
        wanted = torch.stack(parts).sum(0)
        assert torch.allclose(found[:, :, row, column].double(), wanted / total, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_median_is_numpy_s(images: Tensor, size: int) -> None:
    """Of each window, the border repeated."""
    half = size // 2
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (half, half), (half, half)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    assert np.array_equal(stage("median", size=size)(images).numpy(), np.median(windows, axis=(4, 5)))


def test_resize_pad_is_a_resize_and_a_pad(images: Tensor) -> None:
    """Each image by itself, from the numbers that are drawn for it."""
    share, seed = 0.5, 3
    found = seen_behind("resize-pad", images, share=share, seed=seed)
    height, width = images.shape[-2:]
    sizes = set()
    for image, lots, one in zip(images, uniform(keys(content(images), "resize-pad", seed), 3), found, strict=True):
        part = share + (1 - share) * float(lots[0])
        rows, columns = round(part * height), round(part * width)
        top, left = int(float(lots[1]) * (height - rows + 1)), int(float(lots[2]) * (width - columns + 1))
        small = F.interpolate(image[None], size=(rows, columns), mode="bilinear", align_corners=False)
        wanted = F.pad(small, (left, width - columns - left, top, height - rows - top))
        assert torch.allclose(one, wanted[0], atol=1e-6)
        sizes.add((rows, columns))
    assert len(sizes) > 1
    assert torch.equal(seen_behind("resize-pad", images, share=1.0), images)


def test_smoothing_is_the_mean_of_noisy_copies(images: Tensor) -> None:
    """With the very noise that is drawn; nothing is cut off at 0 and 1."""
    sigma, copies = 0.2, 3
    network = nn.Sequential(nn.Flatten(), nn.Tanh())
    found = Stages((parse_one({"name": "smoothing", "sigma": sigma, "copies": copies}),))(network, images)
    own = keys(content(images), "smoothing", 0)
    wanted = [network(images + sigma * normal(split(own, copy), images.shape[1:])) for copy in range(copies)]
    assert torch.allclose(found, torch.stack(wanted).mean(0), atol=1e-6)


def test_draws_are_uniform_and_normal() -> None:
    """Moments of many numbers, and no likeness between images, copies or neighbours."""
    different = torch.arange(8).view(8, 1, 1, 1) / 255 * torch.ones(1, 3, 2, 2)
    of = content(different)
    own = keys(of, "a", 0)
    assert len({*own.tolist(), *keys(of, "b", 0).tolist(), *keys(of, "a", 1).tolist()}) == 24
    flat = uniform(own, 20_000)
    assert 0 <= float(flat.min()) < 1e-3
    assert 0.999 < float(flat.max()) < 1
    assert abs(float(flat.mean()) - 0.5) < 0.005
    assert abs(float(flat.var()) - 1 / 12) < 0.002
    drawn = torch.cat([normal(own, (3, 64, 64)), normal(split(own, 0), (3, 64, 64))]).flatten(1).double()
    assert abs(float(drawn.mean())) < 0.01
    assert abs(float(drawn.var()) - 1) < 0.02
    assert abs(float((drawn**4).mean()) - 3) < 0.1
    assert float((torch.corrcoef(drawn) - torch.eye(16)).abs().max()) < 0.05
    assert abs(float((drawn[:, 1:] * drawn[:, :-1]).mean())) < 0.01


def test_splitmix_is_the_published_generator() -> None:
    """The first numbers of SplitMix64 from state 0, as everybody has them; 64 bits do not overflow into signs."""
    from robustreid.models.defences import draws

    words = draws._mixed(draws._counter(3, torch.device("cpu")))
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(word) % 2**64 for word in words] == wanted
