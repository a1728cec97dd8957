"""Fitted perturbations as files: one tensor as safetensors, what it was fitted on as JSON in the same file's header."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import InvalidFileError, UserError
from ..attacks.catalogue import AttackSpec, resolve_attack
from ..attacks.presets import FITTED
from ..attacks.threat import parse_epsilon
from ..attacks.universal import PROCEDURES, Perturbation
from ..models.splits import is_by_trial, paths_by_trial
from ..models.training.checkpoint import pack, unpack
from ..models.weights.files import file_sha256

if TYPE_CHECKING:
    from .config.schema import AttackEntry

_TENSOR = "perturbation"
#: More bytes than a perturbation of any image takes.
MAX_BYTES = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


def perturbation_bytes(delta: torch.Tensor, facts: Mapping[str, Any]) -> bytes:
    """The bytes of a perturbation's file; equal arguments, equal bytes.

    Args:
        delta: (3, H, W), in [0, 1] pixel units.
        facts: procedure, epsilon, model, model_sha256, data_sha256, `model_defence` where there was one; what else
            JSON can hold.
    """
    return pack({_TENSOR: delta.to(torch.float32)}, facts)


def read_perturbation(path: Path) -> Perturbation:
    """The perturbation of a file.

    Raises:
        UserError: there is no such file, or it cannot be read.
        InvalidFileError: it is not what `robustreid train` writes for a perturbation.
    """
    if not path.is_file():
        raise UserError(
            f"There is no file {str(path)!r}; give the perturbation.safetensors of a training (`robustreid train`)."
        )
    try:
        size, sha256 = path.stat().st_size, file_sha256(path)
        tensors, facts = unpack(path) if size <= MAX_BYTES else ({}, {})
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror or error}; check its permissions.") from None
    except InvalidFileError:
        raise _invalid(path, "it is no safetensors file with a header of facts") from None
    if size > MAX_BYTES:
        raise _invalid(path, f"it has {size:,} bytes, expected at most {MAX_BYTES:,}")
    try:
        return _perturbation(tensors, facts, sha256)
    except KeyError as error:
        raise _invalid(path, f"it lacks {error.args[0]!r}") from None
    except (ValueError, TypeError, UserError) as error:
        raise _invalid(path, str(error).rstrip(".")) from None


def attack_of(entry: AttackEntry, locate: Callable[[str], Path | None]) -> AttackSpec:
    """The attack of a grid's entry, the file that its `perturbation` names read, or a file a split (`p_{trial}`).

    Args:
        entry: one of a grid's `attacks`.
        locate: the path that the grid's text means.

    Raises:
        UserError: an unknown name or parameter, a missing file, or splits that do not belong together.
        InvalidFileError: a file that is no perturbation.
    """
    options = dict(entry.model_extra or {})
    if entry.name in FITTED and isinstance(options.get("perturbation"), str):
        path = locate(options["perturbation"])
        options["perturbation"] = path and _read(path)
    return resolve_attack(entry.name, options)


def _read(path: Path) -> Perturbation | tuple[Perturbation, ...]:
    if not is_by_trial(path):
        return read_perturbation(path)
    return tuple(read_perturbation(each) for each in paths_by_trial(path))


def _invalid(path: Path, why: str) -> InvalidFileError:
    return InvalidFileError(
        f"{str(path)!r} is not a fitted perturbation: {why}; give the perturbation.safetensors of a training."
    )


def _perturbation(tensors: Mapping[str, torch.Tensor], facts: Any, sha256: str) -> Perturbation:
    if not isinstance(facts, dict):
        raise TypeError("its header holds no facts")
    delta = tensors[_TENSOR]
    if set(tensors) != {_TENSOR} or delta.dtype != torch.float32:
        raise ValueError(f"expected one float32 tensor, {_TENSOR!r}, got {', '.join(sorted(tensors))} ({delta.dtype})")
    texts = {key: facts[key] for key in ("procedure", "epsilon", "model", "model_sha256", "data_sha256")}
    defence = facts.get("model_defence")
    for key, text in (*texts.items(), ("model_defence", defence or "")):
        if not isinstance(text, str):
            raise TypeError(f"{key} is {text!r}, expected text")
        if key.endswith("sha256") and not _SHA256.fullmatch(text):
            raise ValueError(f"{key} is {text!r}, expected 64 hexadecimal digits")
    if texts["procedure"] not in PROCEDURES:
        raise ValueError(f"it was fitted by {texts['procedure']!r}, expected one of {', '.join(PROCEDURES)}")
    return Perturbation(
        sha256=sha256,
        delta=delta,
        epsilon=parse_epsilon(texts["epsilon"]),
        procedure=texts["procedure"],
        model=texts["model"],
        model_sha256=texts["model_sha256"],
        data_sha256=texts["data_sha256"],
        model_defence=defence,
    )
