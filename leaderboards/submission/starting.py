"""A `submission.yaml` to begin with: every key, and what it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ... import UserError
from ...benchmark.store.files import write_bytes
from .licences import LICENCES
from .paths import DESCRIPTION

DEFAULT_TRACK = "market1501-query-4"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What `submit init` asks, in its order; the defaults stand where nobody is asked."""

    name: str = "my-defence"
    title: str = "What it is, in a line"
    #: Separated by commas.
    authors: str = "First Author, Second Author"
    licence: str = "MIT"
    track: str = DEFAULT_TRACK
    architecture: str = "resnet50"


#: What is said before each question.
QUESTIONS = {
    "name": "Name on the board: 1 to 64 letters, digits, dots, dashes or underscores",
    "title": "What it is, in a line",
    "authors": "Authors, separated by commas",
    "licence": "Licence of the weights: an SPDX identifier, or proprietary",
    "track": "Track (`robustreid ls tracks`)",
    "architecture": "Architecture of weights.safetensors (`robustreid ls models`)",
}

_TEXT = """\
# A submission to a leaderboard of robustreid; docs/submitting.md explains every key.
# Then: robustreid submit check {folder}
schema: 1

# On the board: 1 to 64 letters, digits, dots, dashes or underscores, unlike any name that stands there.
name: {name}
title: {title}
authors: {authors}
# contact: you@example.org
# paper: https://arxiv.org/abs/...
# code: https://github.com/...
# Of the weights: an identifier of https://spdx.org/licenses, or proprietary.
licence: {licence}

# One track, or a list of them: robustreid ls tracks
track: {track}

# As in a grid (docs/grid.md), without plugin: weights.safetensors with its architecture, or model.onnx alone.
model:
  architecture: {architecture}
  weights: weights.safetensors
  # normalise: imagenet           # or none, or {{mean: [r, g, b], std: [r, g, b]}}
  # metric: cosine                # or euclidean
  # input_size: [256, 128]        # height, width
  # defence: {{name: jpeg, quality: 75}}   # what stands before the resize at test time: robustreid ls defences

# Every data set that a weight has seen, pretraining too.
trained_on: [imagenet, market1501]
# training_epsilon: 8/255         # the radius of adversarial training, if there was any

# Stages of the model that draw random numbers, and stages without a useful gradient (rounding, JPEG, a purifier);
# [] says that there are none. Who names one also names an attack that knows of it.
random_stages: []
non_differentiable_stages: []

# Your own attack on your own model, as in a grid; the strongest that you know. null: there is none.
adaptive_attack: null
# adaptive_attack: {{name: {name}-adaptive, objective: push, optimiser: apgd, steps: 100, eot: 20}}
"""


def start(folder: Path, answers: Answers) -> Path:
    """Write a `submission.yaml` into a folder, and give its path.

    Raises:
        UserError: there is one already.
        StorageError: the file system failed.
    """
    path = folder / DESCRIPTION
    if path.exists() or path.is_symlink():
        raise UserError(f"{str(path)!r} is there already and stays as it is; edit it, or give another folder.")
    write_bytes(path, text_of(answers, folder).encode())
    return path


def text_of(answers: Answers, folder: Path) -> str:
    """What is written."""
    authors = [author.strip() for author in answers.authors.split(",") if author.strip()]
    quoted = {field.name: _quoted(getattr(answers, field.name)) for field in fields(answers)}
    return _TEXT.format(**{**quoted, "authors": json.dumps(authors, ensure_ascii=False), "folder": _comment(folder)})


def ask(answers: Answers, prompt: Callable[[str, str], str]) -> Answers:
    """The answers of somebody at a terminal; what is empty stays as it was.

    Args:
        answers: what is proposed.
        prompt: given a question and what is proposed, the answer.
    """
    given = {name: prompt(question, getattr(answers, name)).strip() for name, question in QUESTIONS.items()}
    return replace(answers, **{name: answer for name, answer in given.items() if answer})


def proposed(folder: Path, name: str | None, track: str | None) -> Answers:
    """What is proposed for a folder: its own name where that can be one."""
    own = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip(".-")[:64]
    answers = Answers()
    return replace(answers, name=name or own or answers.name, track=track or answers.track)


def _quoted(text: str) -> str:
    """As YAML has it: bare where that is the same text, else as JSON."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", text) and text.lower() not in {"null", "true", "false", "yes", "no"}
    return text if plain or text in LICENCES else json.dumps(text, ensure_ascii=False)


def _comment(folder: Path) -> str:
    return re.sub(r"[^\w./ -]", "?", str(folder))
