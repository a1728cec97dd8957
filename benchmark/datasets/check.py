"""What can be said of a data set on a disk: counts, people, cameras, files; one finding a fact, good ones included."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ... import InvalidFileError, UserError
from ...attacks.neighbours import NOBODY
from .about import notice
from .catalogue import CHOICES, DRAWN, OPTIONS, Option, open_dataset
from .counts import Count, Official, cameras_of, counted, numbers, official, parts_of
from .decoders import broken_image, default_workers, read_file
from .listing import noting
from .retrieval import Images, RetrievalSet
from .training import SPLIT, read_training

Severity = Literal["ok", "warning", "error"]
#: How many files a thread looks at in one go.
_PART = 64
#: Formats whose training and test people have numbers of their own, which say nothing about each other.
_NUMBERED_APART = frozenset({"msmt17"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fact about a data set, in one line."""

    severity: Severity
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Split:
    """What is learnt from and what is tested on, together: one, or one a trial."""

    name: str
    train: Images | None
    test: RetrievalSet


def check_dataset(
    layout: str,
    root: Path,
    options: Mapping[str, Option] | None = None,
    *,
    advance: Callable[[int], None] | None = None,
    workers: int | None = None,
) -> list[Finding]:
    """Everything that can be found out about the data set in a folder; every image is decoded, nothing is written.

    Args:
        layout: a name of `FORMATS`.
        root: its folder, or one around it.
        options: those of the format; with `verify: false`, counts that are not as published are warnings.
        advance: told how many images more are decoded.
        workers: threads that decode; as many as there are cores by default.

    Raises:
        UserError: a format that has no folder, or no such folder.
    """
    if layout in DRAWN:
        raise UserError(f"Format {layout!r} is drawn by this package, and there is nothing to check; choose another.")
    given = {**(options or {}), **({"verify": False} if "verify" in OPTIONS.get(layout, ()) else {})}
    findings = [Finding(severity="warning", text=text) for text in (notice(layout),) if text]
    with noting() as problems:
        try:
            data = open_dataset(layout, layout, root, given)
        except InvalidFileError as error:
            return [*findings, Finding(severity="error", text=str(error))]
        splits, about_training = _splits(layout, data, given, root)
    findings += [Finding(severity="error", text=text) for text in problems]
    findings += about_training
    published = official(layout, _variant(layout, given))
    is_whole = (options or {}).get("verify", True) is not False
    findings += [*_counts(data, splits, published, is_whole), *_cameras(data, published, is_whole)]
    findings += _people(layout, data, splits)
    digests, broken = _digests(data.root, _all_paths(data, splits), advance, workers)
    findings += broken or [Finding(severity="ok", text=f"files: all {len(digests):,} images decode")]
    findings += _same_files(splits, digests)
    return findings


def _variant(layout: str, options: Mapping[str, Option]) -> str | None:
    """Which of the counts of a format hold: those of its boxes or protocol."""
    choices = CHOICES.get(layout, {})
    return next((str(options.get(name, words[0])) for name, words in choices.items()), None)


def _splits(
    layout: str, data: RetrievalSet, options: Mapping[str, Option], root: Path
) -> tuple[list[_Split], list[Finding]]:
    if layout not in SPLIT:
        train, findings = _training(layout, data, options, root)
        return [_Split(name="", train=train, test=data)], findings
    splits, findings = [], []
    for number in range(1, len(data.trials) + 1):
        train, found = _training(layout, data, {**options, "trial": number}, root)
        splits.append(_Split(name=f" of trial {number}", train=train, test=data.of_trial(number - 1)))
        findings += found
    return splits, findings


def _training(
    layout: str, data: RetrievalSet, options: Mapping[str, Option], root: Path
) -> tuple[Images | None, list[Finding]]:
    if layout == "held-out":
        return None, []
    try:
        # A table is a file, and other files may lie beside it; everything else is read where the test images are.
        return read_training(layout, root if layout == "table" else data.root, options), []
    except InvalidFileError as error:
        return None, [Finding(severity="error", text=str(error))]
    except UserError as error:
        return None, [Finding(severity="warning", text=f"train: none can be read; {error}")]


def _counts(
    data: RetrievalSet, splits: Sequence[_Split], published: Official | None, is_whole: bool
) -> Iterator[Finding]:
    parts = parts_of(data)
    trains = [split.train for split in splits if split.train is not None]
    parts["train" if len(splits) == 1 else "train of a trial"] = trains
    if len(splits) == 1 and trains and len(set(trains[0].modalities.tolist())) > 1:
        for name, place in (("visible", 0), ("infrared", 1)):
            parts[f"train, {name}"] = [trains[0].part(np.flatnonzero(trains[0].modalities == place))]
    for name, found in parts.items():
        groups: dict[Count, list[int]] = defaultdict(list)
        for trial, images in enumerate(found, start=1):
            groups[counted(images)].append(trial)
        for count, trials in groups.items():
            where = f" ({_some(trials, len(found))})" if "trial" in name else ""
            yield _count(f"{name}{where}", count, published, name, is_whole=is_whole)


def _some(trials: Sequence[int], n_trials: int) -> str:
    return f"all {n_trials}" if len(trials) == n_trials else f"trial {', '.join(map(str, trials))}"


def _count(title: str, count: Count, published: Official | None, part: str, *, is_whole: bool) -> Finding:
    said = f"{title}: {_told(count)}"
    expected = published.parts.get(part) if published else None
    reported = published.reported.get(part) if published else None
    if expected and not expected.fits(count):
        return Finding(severity=_severity(is_whole), text=f"{said}; published are {_told(expected)}")
    as_published = ", as published" if expected else ""
    if reported and not reported.fits(count):
        text = f"{said}{as_published}; others report {_told(reported)}, which is not verified"
        return Finding(severity="warning", text=text)
    if reported:
        as_published += f"{' and' if expected else ', as'} reported by others (not verified)"
    return Finding(severity="ok", text=f"{said}{as_published}")


def _told(count: Count) -> str:
    pairs = ((count.images, "image"), (count.identities, "identity"))
    nouns = {"image": "images", "identity": "identities"}
    return " of ".join(
        f"{number:,} {noun if number == 1 else nouns[noun]}" for number, noun in pairs if number is not None
    )


def _severity(is_whole: bool) -> Severity:
    return "error" if is_whole else "warning"


def _cameras(data: RetrievalSet, published: Official | None, is_whole: bool) -> Iterator[Finding]:
    found = cameras_of(data)
    if published is None:
        yield Finding(severity="ok", text=f"cameras: {numbers(found)}")
    elif found == published.cameras:
        yield Finding(severity="ok", text=f"cameras: {numbers(found)}, as published")
    else:
        text = f"cameras: {numbers(found)}; published are {numbers(published.cameras)}"
        yield Finding(severity=_severity(is_whole), text=text)


def _people(layout: str, data: RetrievalSet, splits: Sequence[_Split]) -> Iterator[Finding]:
    asked, held = data.query.identities, data.gallery.identities
    lost = int((~np.isin(asked, held) & ~np.isin(asked, NOBODY)).sum())
    if lost:
        yield Finding(severity="warning", text=f"query: {lost:,} images show someone who is not in the gallery")
    learnt = [(split, split.train) for split in splits if split.train is not None]
    if not learnt:
        return
    if layout in _NUMBERED_APART:
        yield Finding(severity="ok", text="people: those of train and test are numbered apart and cannot be compared")
        return
    seen = False
    for split, train in learnt:
        tested = np.concatenate([split.test.query.identities, split.test.gallery.identities])
        both = sorted(set(train.identities.tolist()) & set(tested.tolist()) - set(NOBODY))
        if both:
            seen = True
            text = f"people: {len(both):,} are both in train and in test{split.name}, the first is {both[0]}"
            yield Finding(severity="error", text=text)
    if not seen:
        yield Finding(severity="ok", text="people: nobody is both in train and in test")


def _all_paths(data: RetrievalSet, splits: Sequence[_Split]) -> list[str]:
    paths = dict.fromkeys(data.paths)
    for split in splits:
        if split.train is not None:
            paths |= dict.fromkeys(split.train.paths)
    return list(paths)


def _digests(
    root: Path, paths: Sequence[str], advance: Callable[[int], None] | None, workers: int | None
) -> tuple[dict[str, bytes], list[Finding]]:
    """The digest of each file that decodes, and what is wrong with the others."""
    from PIL import Image

    digests: dict[str, bytes] = {}
    broken: list[Finding] = []
    parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(max(1, workers or default_workers())) as pool,
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for part, found in zip(
            parts, pool.map(lambda part: [_digest(root / path) for path in part], parts), strict=True
        ):
            for path, digest in zip(part, found, strict=True):
                if isinstance(digest, bytes):
                    digests[path] = digest
                else:
                    broken.append(Finding(severity="error", text=digest))
            if advance:
                advance(len(part))
    return digests, broken


def _digest(file: Path) -> bytes | str:
    """The digest of an image's file; where it does not decode, why."""
    from PIL import Image

    try:
        content = read_file(file)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:  # noqa: BLE001 (whatever a decoder makes of a broken file)
        return str(broken_image(file, error))
    return hashlib.blake2b(content, digest_size=16).digest()


def _same_files(splits: Sequence[_Split], digests: Mapping[str, bytes]) -> Iterator[Finding]:
    """Files of one content on both sides of a line that keeps them apart."""
    found: list[Finding] = []
    for split in splits:
        sides = {"train": split.train.paths if split.train else (), "test": split.test.paths}
        found += _shared(sides, digests, "error", split.name)
        found += _shared(
            {"query": split.test.query.paths, "gallery": split.test.gallery.paths}, digests, "warning", split.name
        )
    yield from found or [Finding(severity="ok", text="files: none has the same content as one on another side")]


def _shared(
    sides: Mapping[str, Iterable[str]], digests: Mapping[str, bytes], severity: Severity, name: str
) -> Iterator[Finding]:
    (one, ones), (other, others) = ((title, list(paths)) for title, paths in sides.items())
    places = {digests[path]: path for path in ones if path in digests}
    pairs = [(places[digests[path]], path) for path in others if path in digests and digests[path] in places]
    if pairs:
        first, second = pairs[0]
        yield Finding(
            severity=severity,
            text=f"files: {len(pairs):,} of {other}{name} have the same content as one of {one}, the first is "
            f"{second!r} (as {first!r})",
        )
