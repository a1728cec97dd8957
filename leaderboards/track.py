"""Tracks: one data set, one threat model, one set of attacks, written down and versioned. No torch.

A row belongs to a track where it agrees with everything that the file says; what a file says is never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .. import UserError
from ..attacks.threat import Goal, NormName, Side, Threat, parse_epsilon
from ..benchmark.config.problems import validate
from ..benchmark.config.reading import Document, parse_document, read_document
from ..models.registry import nearest

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_Version = Annotated[int, Field(strict=True, ge=1)]
_Count = Annotated[int, Field(strict=True, ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Attack(_Part):
    entry: dict[str, Any]
    version: _Version
    parameters: dict[str, Any]


class _Data(_Part):
    entry: dict[str, Any]
    sha256: str | None = None
    queries: _Count
    gallery: _Count
    identities: _Count
    terms: str
    source: str = ""
    status: Literal["available", "on request", "withdrawn"] = "available"


class _Curve(_Part):
    attack: str
    epsilons: list[str]


class _File(_Part):
    name: Annotated[str, Field(pattern=_NAME)]
    version: _Version
    title: str
    dataset: _Data
    protocol: str
    side: Side
    goal: Goal
    norm: NormName
    epsilon: Annotated[str, BeforeValidator(str)]
    perturb_at: Literal["native", "input"]
    references: str
    attacker_data: str
    precision: Literal["exact", "fast"]
    average_precision: Literal["step", "trapezoid"]
    metric_version: _Version
    engine_version: _Version
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    attacks: Annotated[list[_Attack], Field(min_length=1)]
    curve: _Curve


_KEYS: Mapping[str, tuple[str, ...]] = {
    "": tuple(_File.model_fields),
    "dataset": tuple(_Data.model_fields),
    "attacks": tuple(_Attack.model_fields),
    "curve": tuple(_Curve.model_fields),
}


@dataclass(frozen=True, kw_only=True)
class TrackAttack:
    """One attack of a track, pinned."""

    name: str
    #: As a grid asks for it: the name, and what differs from the preset.
    entry: Mapping[str, Any]
    version: int
    #: Canonical JSON of the resolved parameters: the column `attack_params`.
    parameters: str


@dataclass(frozen=True, kw_only=True)
class TrackData:
    """The data set of a track."""

    #: As a grid asks for it; a set that is read lacks its `root`.
    entry: Mapping[str, Any]
    #: Digest of its manifest; None where nobody could publish one, and the counts speak for it.
    sha256: str | None
    queries: int
    gallery: int
    identities: int
    #: What its owners allow, where it comes from, and whether they still give it out.
    terms: str
    source: str
    status: Literal["available", "on request", "withdrawn"]

    @property
    def name(self) -> str:
        """What the grid calls it."""
        return str(self.entry["name"])


@dataclass(frozen=True, kw_only=True)
class Track:
    """A fixed, versioned threat model, data set and set of attacks that a leaderboard is about."""

    name: str
    version: int
    title: str
    data: TrackData
    protocol: str
    side: Side
    goal: Goal
    threat: Threat
    perturb_at: str
    references: str
    attacker_data: str
    precision: str
    #: `mAP` (step) or `mAP_trapezoid`.
    metric: str
    metric_version: int
    engine_version: int
    seed: int
    attacks: tuple[TrackAttack, ...]
    #: The attack of the curve, and its radii, ascending.
    curve_attack: TrackAttack
    curve: tuple[Threat, ...]

    @property
    def key(self) -> str:
        """Name and version: what two tables must share."""
        return f"{self.name}-v{self.version}"

    @property
    def columns(self) -> Mapping[str, Any]:
        """What every row of the track has in these columns, whatever its attack and radius."""
        pinned = {"dataset_sha256": self.data.sha256} if self.data.sha256 else {}
        return {
            **pinned,
            "n_query": self.data.queries,
            "n_gallery": self.data.gallery,
            "n_identity": self.data.identities,
            "protocol": self.protocol,
            "side": self.side,
            "goal": self.goal,
            "norm": self.threat.norm,
            "perturb_at": self.perturb_at,
            "precision": self.precision,
            "metric_version": self.metric_version,
            "engine_version": self.engine_version,
            "seed": self.seed,
        }


def load_track(name: str | Path) -> Track:
    """The track that ships under a name, or the one in a file of the user's (`.yml`).

    Raises:
        UserError: there is none of that name, or the file is not one, a line a problem.
    """
    given = Path(name)
    if given.suffix in {".yml", ".yaml"}:
        return _track(read_document(given))
    known = track_names()
    if str(name) not in known:
        raise UserError(
            f"Unknown track {str(name)!r}.{nearest(str(name), known)} Available: {', '.join(known)}; or give the path "
            f"of a .yml file."
        )
    text = (resources.files("robustreid.leaderboards.tracks") / f"{name}.yml").read_text(encoding="utf-8")
    return _track(parse_document(text, name=f"{name}.yml", folder=Path.cwd()))


def track_names() -> tuple[str, ...]:
    """The tracks that ship with the package."""
    entries = resources.files("robustreid.leaderboards.tracks").iterdir()
    return tuple(sorted(entry.name.removesuffix(".yml") for entry in entries if entry.name.endswith(".yml")))


def list_tracks() -> list[dict[str, Any]]:
    """One record a track, each with `name`: `robustreid ls tracks`."""
    tracks = map(load_track, track_names())
    return [{"name": track.name, "version": track.version, "summary": track.title} for track in tracks]


def _track(document: Document) -> Track:
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a track file with the keys {', '.join(_KEYS[''])}.")
    file = validate(document, _File, keys=_KEYS, fixed={})
    attacks = tuple(_attack(document, index, found) for index, found in enumerate(file.attacks))
    by_name = {attack.name: attack for attack in attacks}
    if len(by_name) < len(attacks):
        raise UserError(f"{document.where(('attacks',))}: two attacks share a name; give each another.")
    if file.curve.attack not in by_name:
        raise UserError(
            f"{document.where(('curve', 'attack'))}: expected one of the track's attacks "
            f"({', '.join(by_name)}), got {file.curve.attack!r}."
        )
    if "name" not in file.dataset.entry:
        raise UserError(f"{document.where(('dataset', 'entry'))}: the key 'name' is missing; add it.")
    radii = {_radius(document, ("curve", "epsilons"), value, file.norm) for value in file.curve.epsilons}
    threat = _radius(document, ("epsilon",), file.epsilon, file.norm)
    return Track(
        name=file.name,
        version=file.version,
        title=file.title,
        data=TrackData(**file.dataset.model_dump()),
        protocol=file.protocol,
        side=file.side,
        goal=file.goal,
        threat=Threat(norm=file.norm, epsilon=threat),
        perturb_at=file.perturb_at,
        references=file.references,
        attacker_data=file.attacker_data,
        precision=file.precision,
        metric="mAP" if file.average_precision == "step" else "mAP_trapezoid",
        metric_version=file.metric_version,
        engine_version=file.engine_version,
        seed=file.seed,
        attacks=attacks,
        curve_attack=by_name[file.curve.attack],
        curve=tuple(Threat(norm=file.norm, epsilon=radius) for radius in sorted(radii)),
    )


def _attack(document: Document, index: int, found: _Attack) -> TrackAttack:
    if "name" not in found.entry:
        raise UserError(f"{document.where(('attacks', index, 'entry'))}: the key 'name' is missing; add it.")
    parameters = json.dumps(found.parameters, sort_keys=True)
    name = str(found.entry["name"])
    return TrackAttack(name=name, entry=found.entry, version=found.version, parameters=parameters)


def _radius(document: Document, place: tuple[str | int, ...], value: str, norm: NormName) -> Fraction:
    try:
        return parse_epsilon(value, norm)
    except UserError as error:
        raise document.refusal(place, error) from None
