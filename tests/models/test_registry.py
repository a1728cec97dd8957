"""Names that load late, and the entry points that widen a catalogue."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from robustreid import UserError
from robustreid.models.catalogue import ARCHITECTURES, INPUT_SIZES
from robustreid.models.registry import Registry

TABLE = {"flat": ".catalogue:ARCHITECTURES"}


def registry(*points: EntryPoint) -> Registry:
    discover = lambda group: [point for point in points if point.group == group]  # noqa: E731
    return Registry("thing", TABLE, "robustreid.models", "things", discover)


@pytest.mark.parametrize("name", list(ARCHITECTURES.table))
def test_every_architecture_loads(name: str) -> None:
    """Each name of the catalogue is a callable and has an input size."""
    assert callable(ARCHITECTURES.load(name))
    assert name in INPUT_SIZES


def test_names_come_from_the_table_and_from_entry_points() -> None:
    """Built-in names first; others load from their distribution; relative references start at the package."""
    known = registry(EntryPoint("deep", "collections:OrderedDict", "things"), EntryPoint("no", "a:b", "other"))
    assert known.names() == ["flat", "deep"]
    assert known.load("flat") is ARCHITECTURES
    assert known.load("deep").__name__ == "OrderedDict"
    assert "deep" in known
    assert "no" not in known


@pytest.mark.parametrize(
    "points",
    [
        [EntryPoint("flat", "a:b", "things")],
        [EntryPoint("deep", "a:b", "things"), EntryPoint("deep", "c:d", "things")],
    ],
)
def test_a_second_owner_of_a_name_is_refused(points: list[EntryPoint]) -> None:
    """Which of two wins must never depend on the order of installation."""
    with pytest.raises(UserError, match="already taken"):
        registry(*points).names()


def test_an_unknown_name_has_the_nearest_and_all() -> None:
    """The message says what was meant and what there is."""
    with pytest.raises(UserError, match=r"Unknown thing 'flatt'\. Did you mean 'flat'\? Available: flat\."):
        registry().load("flatt")


def test_an_entry_point_that_does_not_load_names_itself() -> None:
    """Its own fault is shown with its value."""
    with pytest.raises(UserError, match=r"'deep' of distribution no_such:thing does not load: ModuleNotFoundError"):
        registry(EntryPoint("deep", "no_such:thing", "things")).load("deep")
