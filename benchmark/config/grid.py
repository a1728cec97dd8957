"""A grid as it was asked for: names resolved, numbers exact, nothing of it run yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from ... import UserError
from ...attacks.catalogue import AttackSpec
from ...attacks.threat import Goal, NormName, Side, Threat, parse_epsilon
from ...models.base import ModelSpec
from ...models.registry import unknown
from ...models.stages import AUTO, OFF, Adaptive
from ..datasets.opening import DatasetRequest
from ..perturbations import attack_of
from ..records import Checks, Knowledge, Precision
from .models import PlacedError, model_of
from .problems import existing
from .reading import Document, Place, parse_document, read_document
from .schema import KEYS, AdaptiveEntry, DatasetEntry, ExcludeEntry, GridFile, ModelEntry, check

#: Folders of shipped grids that belong together.
_FAMILIES = ("cross-modality",)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Cells to leave out: those that equal every field that is not None."""

    model: str | None
    dataset: str | None
    attack: str | None
    epsilon: Threat | None
    side: Side | None
    goal: Goal | None
    seed: int | None
    knowledge: Knowledge | None
    surrogate: str | None

    def __str__(self) -> str:
        """As the file has it: `model: osnet, side: query`."""
        given = {key: value for key, value in vars(self).items() if value is not None}
        return ", ".join(f"{k}: {v.label if isinstance(v, Threat) else v}" for k, v in given.items())


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A checked grid file."""

    name: str
    #: The file as it was written.
    text: str
    models: tuple[ModelSpec, ...]
    datasets: tuple[DatasetRequest, ...]
    attacks: tuple[AttackSpec, ...]
    threats: tuple[Threat, ...]
    sides: tuple[Side, ...]
    goals: tuple[Goal, ...]
    seeds: tuple[int, ...]
    perturb_at: Literal["auto", "native", "input"]
    precision: Precision
    knowledge: tuple[Knowledge, ...]
    #: The models whose gradients are followed to mislead others.
    surrogates: tuple[ModelSpec, ...]
    exclusions: tuple[Exclusion, ...]
    adaptive: Adaptive = AUTO
    checks: Checks = "full"


def load_grid(path: str | Path, changes: Sequence[str] = ()) -> Grid:
    """The grid behind a path, or behind the name of a grid that the package ships.

    Args:
        path: or name.
        changes: top-level keys to set, as `precision=fast`; a variable that stood in one of them need not be set.

    Raises:
        UserError: anything wrong in it, a line a problem, with the line and path of the key.
    """
    given = Path(path)
    if given.suffix in {".yml", ".yaml"} or _is_file(given):
        return resolve(read_document(given, changes))
    return resolve(_shipped(str(path), changes))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def shipped_grids() -> list[str]:
    """The names of the grids that the package ships; those of a family as `family/name`."""
    recipes = files("robustreid.benchmark.recipes")
    folders = [("", recipes), *((f"{family}/", recipes / family) for family in _FAMILIES)]
    found = [f"{family}{item.name}" for family, folder in folders for item in folder.iterdir()]
    return sorted(name.removesuffix(".yml") for name in found if name.endswith(".yml"))


def _shipped(name: str, changes: Sequence[str] = ()) -> Document:
    recipes = files("robustreid.benchmark.recipes")
    names = shipped_grids()
    if name not in names:
        raise UserError(f"{unknown('grid', name, names)} Or give the path of a .yml file.")
    text = (recipes / f"{name}.yml").read_text(encoding="utf-8")
    return parse_document(text, name=f"{name}.yml", folder=Path.cwd(), changes=changes)


def resolve(document: Document) -> Grid:
    """A document as a grid. UserError with every problem at once."""
    return _Resolver(document, check(document)).grid()


class _Resolver:
    """Resolves entry by entry and keeps the problems, so that a user sees all of them."""

    def __init__(self, document: Document, file: GridFile) -> None:
        self.document = document
        self.file = file
        self.problems: list[UserError] = []
        #: Models that resolved, by their place in the file.
        self.models: dict[int, ModelSpec] = {}

    def grid(self) -> Grid:
        file = self.file
        norm: NormName = file.norm
        self._each("models", list(enumerate(file.models)), self._add_model)
        datasets = self._each("datasets", file.datasets, self._dataset)
        attacks = self._each("attacks", file.attacks, lambda entry: attack_of(entry, self._path))
        threats = self._each("epsilons", file.epsilons, lambda value: _threat(value, norm))
        for section, entries in (("models", file.models), ("datasets", file.datasets)):
            self._unique(section, [entry.name for entry in entries])
        self._same_models()
        labelled = {file.models[index].name: model for index, model in self.models.items()}
        broken = {entry.name for entry in file.models} - labelled.keys()  # what is wrong with those is said already
        asked = [name for name in file.surrogates or labelled if name not in broken]
        surrogates = self._each("surrogates", asked, lambda name: _surrogate(name, file, labelled))
        known = {
            "model": [entry.name for entry in file.models],
            "surrogate": [entry.name for entry in file.models],
            "dataset": [entry.name for entry in file.datasets],
            "attack": [entry.name for entry in file.attacks],
        }
        exclusions = self._each("exclude", file.exclude, lambda entry: _exclusion(entry, known, norm))
        self._finish()
        return Grid(
            name=file.name,
            text=self.document.text,
            models=tuple(self.models.values()),
            datasets=tuple(datasets),
            attacks=tuple(attacks),
            threats=tuple(dict.fromkeys(threats)),
            sides=tuple(dict.fromkeys(file.side)),
            goals=tuple(dict.fromkeys(file.goal)),
            seeds=tuple(dict.fromkeys(file.seeds)),
            perturb_at=file.perturb_at,
            precision=file.precision,
            knowledge=tuple(dict.fromkeys(file.knowledge)),
            surrogates=tuple(surrogates),
            exclusions=tuple(exclusions),
            adaptive=_adaptive(file.adaptive),
            checks=file.checks,
        )

    def _each(self, section: str, entries: Sequence[Any], make: Callable[[Any], Any]) -> list[Any]:
        made = []
        for index, entry in enumerate(entries):
            try:
                made.append(make(entry))
            except UserError as error:
                place: Place = (section, index)
                if isinstance(error, PlacedError):
                    place = existing(self.document, (*place, *error.place))
                self._note(place, error)
        return made

    def _note(self, place: Place, error: UserError) -> None:
        self.problems.append(type(error)(f"{self.document.where(place)}: {error}"))

    def _finish(self) -> None:
        if self.problems:
            kind = min((type(problem) for problem in self.problems), key=lambda kind: kind.exit_code)
            raise kind("\n".join(str(problem) for problem in self.problems))

    def _path(self, value: str | None) -> Path | None:
        if value is None:
            return None
        try:
            path = self.document.folder / Path(value).expanduser()
            path.exists()
        except (OSError, RuntimeError) as error:
            why = error.strerror if isinstance(error, OSError) else "there is no such user"
            raise UserError(f"the path {value!r} cannot be looked at: {why}; give another.") from None
        return path

    def _dataset(self, entry: DatasetEntry) -> DatasetRequest:
        from ..datasets.catalogue import DRAWN, FORMATS, refuse_contradictions

        layout = entry.format or entry.name
        if layout not in FORMATS:
            if entry.format is None:
                raise UserError(
                    f"{unknown('data set', entry.name, FORMATS.names())} Or say which `format` its `root` has."
                )
            raise unknown("data set format", layout, FORMATS.names())
        refuse_contradictions(entry.name, layout, has_root=entry.root is not None, options=entry.options)
        if layout in DRAWN:
            from ..datasets.synthetic.crowd import Crowd

            who: dict[str, Any] = entry.options
            Crowd(**who)
        return DatasetRequest(
            label=entry.name,
            format=layout,
            root=self._path(entry.root),
            options=entry.options,
            queries=entry.queries,
        )

    def _add_model(self, numbered: tuple[int, ModelEntry]) -> None:
        index, entry = numbered
        self.models[index] = replace(model_of(entry, self._path), folding=self.file.folding)

    def _unique(self, section: str, names: list[str]) -> None:
        for index, name in enumerate(names):
            if name in names[:index]:
                self._note((section, index), UserError(f"the name {name!r} is taken above; give one of them another."))

    def _same_models(self) -> None:
        for index, model in self.models.items():
            for other in (self.models[before] for before in self.models if before < index):
                if model.identity() == other.identity() and model.label != other.label:
                    twin = UserError(
                        f"{model.label!r} has the weights and settings of {other.label!r}; remove one of the two."
                    )
                    self._note(("models", index), twin)


def _threat(value: str | float, norm: NormName) -> Threat:
    return Threat(norm=norm, epsilon=parse_epsilon(value, norm))


def _adaptive(asked: str | AdaptiveEntry) -> Adaptive:
    if isinstance(asked, str):
        return OFF if asked == "off" else AUTO
    bpda = None if asked.bpda is None else tuple(dict.fromkeys(asked.bpda))
    return Adaptive(bpda=bpda, eot=asked.eot)


def _surrogate(name: str, file: GridFile, models: Mapping[str, ModelSpec]) -> ModelSpec:
    if file.surrogates and "transfer" not in file.knowledge:
        raise UserError(
            "surrogates are followed under `knowledge: transfer` only; add `knowledge: [white-box, transfer]`."
        )
    if name not in models:
        raise unknown("surrogate", name, [entry.name for entry in file.models])
    return models[name]


def _exclusion(entry: ExcludeEntry, known: Mapping[str, list[str]], norm: NormName) -> Exclusion:
    if entry == ExcludeEntry():
        raise UserError(
            f"an exclusion without keys would leave no cell; give at least one of {', '.join(KEYS['exclude'])}."
        )
    for key, names in known.items():
        value = getattr(entry, key)
        if value is not None and value not in names:
            raise unknown(key, value, names)
    return Exclusion(
        model=entry.model,
        dataset=entry.dataset,
        attack=entry.attack,
        epsilon=None if entry.epsilon is None else _threat(entry.epsilon, norm),
        side=entry.side,
        goal=entry.goal,
        seed=entry.seed,
        knowledge=entry.knowledge,
        surrogate=entry.surrogate,
    )
