"""Mirroring, shifting and erasing: what changes, how often, and that nothing else decides it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from robustreid.models.training.augment import Augment, augment

NOTHING = Augment(flip=False, crop=0, erase=0.0)


def _images(n: int = 64, height: int = 16, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (n, 3, height, width), dtype=np.uint8)


def test_nothing_asked_for_changes_nothing() -> None:
    """The copy is equal, and it is a copy."""
    images = _images()
    changed = augment(images, NOTHING, seed=0, step=0)
    assert (images == changed).all()
    assert not np.shares_memory(images, changed)


def test_about_half_are_mirrored() -> None:
    """Every image is itself or its mirror image."""
    images = _images(200)
    changed = augment(images, Augment(crop=0), seed=0, step=3)
    same = (changed == images).all(axis=(1, 2, 3))
    mirrored = (changed == images[:, :, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_crops_are_windows_of_the_padded_image() -> None:
    """Every image is one of the 25 windows of the image with two black pixels around it, and all of them occur."""
    images = _images(400)
    changed = augment(images, Augment(flip=False, crop=2), seed=0, step=0)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    windows = [padded[:, :, top : top + 16, left : left + 8] for top in range(5) for left in range(5)]
    found = np.array([(changed == window).all(axis=(1, 2, 3)) for window in windows])
    assert (found.sum(0) == 1).all()
    assert (found.sum(1) > 0).all()


def test_erased_rectangles_have_the_asked_size() -> None:
    """About the asked share of images has one filled rectangle of 2 to 40 percent of the area."""
    images = _images(300, 64, 32)
    changed = augment(images, Augment(flip=False, crop=0, erase=0.5), seed=0, step=0)
    different = (changed != images).any(axis=1)
    erased = different.any(axis=(1, 2))
    assert 110 < erased.sum() < 190
    for mask, image in zip(different[erased], changed[erased], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (box == np.array([124, 116, 104]).reshape(3, 1, 1)).all()
        assert 0.015 < box[0].size / mask.size < 0.42


def test_bent_tones_are_one_channel_in_place_of_three() -> None:
    """About the asked share of images; what was one level stays one level within an image."""
    grays = np.repeat(_images(300)[:, :1], 3, axis=1)
    changed = augment(grays, Augment(flip=False, crop=0, tone=0.6), seed=0, step=2)
    bent = (changed != grays).any(axis=(1, 2, 3))
    assert 150 < bent.sum() < 210
    for before, after in zip(grays[bent], changed[bent], strict=True):
        assert (after == after[:1]).all()
        steps = np.diff(after[0].ravel()[np.argsort(before[0].ravel())].astype(int))
        assert (steps[np.diff(np.sort(before[0].ravel())) == 0] == 0).all()
    order = np.argsort(grays[:, 0].reshape(300, -1), axis=1)
    falls = [
        np.diff(one.ravel()[places].astype(int)).min() < 0 for one, places in zip(changed[:, 0], order, strict=True)
    ]
    assert 100 < np.sum(falls) <= bent.sum(), "curves that only rise leave the order of levels"
    colours = augment(_images(300), Augment(flip=False, crop=0, tone=1.0), seed=0, step=2)
    assert (colours == colours[:, :1]).all()


def test_changes_are_a_pure_function() -> None:
    """Seed and step decide; a change that is switched off leaves the others as they were."""
    images = _images()
    how = Augment(crop=3, erase=0.5)
    first = augment(images, how, seed=1, step=7)
    assert (first == augment(images, how, seed=1, step=7)).all()
    assert (first != augment(images, how, seed=1, step=8)).any()
    assert (first != augment(images, how, seed=2, step=7)).any()
    toned = augment(images, Augment(crop=3, erase=0.5, tone=0.5), seed=1, step=7)
    assert 10 < (first == toned).all(axis=(1, 2, 3)).sum() < 54
    without = augment(images, Augment(crop=3, erase=0.0), seed=1, step=7)
    untouched = (first == without).all(axis=(1, 2, 3))
    assert 10 < untouched.sum() < 54


def test_senseless_settings_are_refused() -> None:
    """A negative crop, a probability above 1."""
    with pytest.raises(ValueError, match="crop"):
        Augment(crop=-1)
    with pytest.raises(ValueError, match="erase"):
        Augment(erase=1.5)
