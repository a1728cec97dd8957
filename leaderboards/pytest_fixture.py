"""The fixture `robust` of the pytest plugin: measures a model under every mark of a test, and fails what falls short.

Importing this imports pytest alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .. import UserError

if TYPE_CHECKING:
    from ..benchmark.api import Evaluation
    from .expectations import Expectation
    from .gate.policy import Policy
    from .holding import Held
    from .measurements import Measurement
    from .measuring import Measured

#: Under what name a report carries what a test measured.
KEY = "robustreid"


class Session:
    """What one process knows of the baseline and of what was measured."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        path = config.option.robust_baseline
        self.path = None if path is None else Path(path)
        self.compares = self.path is not None and self.path.exists() and not config.option.robust_update
        #: Cells for a baseline that is to be written.
        self.cells: tuple[Measurement, ...] = ()
        #: What became of the baseline, or why nothing did; for the summary.
        self.said = ""
        #: Cells that xdist's workers measured.
        self.handed: tuple[Measurement, ...] = ()
        self._baseline: tuple[Measurement, ...] | None = None
        self._policy: Policy | None = None

    @property
    def writes(self) -> bool:
        """Whether a baseline is written at the end, if nothing fails."""
        return self.path is not None and not self.compares

    @property
    def shown(self) -> str:
        """The baseline's place, from where pytest was started."""
        folder = self.config.invocation_params.dir
        is_below = self.path is not None and self.path.is_relative_to(folder)
        return str(self.path.relative_to(folder) if self.path is not None and is_below else self.path)

    def write(self) -> bool:
        """Write the baseline, and say so; whether it was written."""
        from .holding import write_baseline

        try:
            self.said = f"{self.shown} {write_baseline(self.path or Path(), (*self.cells, *self.handed))}"
        except UserError as error:
            self.said = f"The baseline was not written: {error}"
            return False
        return True

    def folder(self, scratch: Path) -> Path:
        """Where results are kept; `scratch` where pytest has no cache."""
        if self.config.option.robust_runs is not None:
            return Path(self.config.option.robust_runs)
        cache = getattr(self.config, "cache", None)
        return scratch if cache is None else Path(cache.mkdir("robustreid"))

    def hold(self, cell: Measurement, goals: Sequence[Sequence[str]]) -> Held | None:
        """What the baseline says of a cell; None where none is asked."""
        from .gate.baseline import read_side
        from .gate.policy import Policy, read_policy
        from .holding import comparisons_of, hold_up
        from .measuring import merge

        self.cells = merge(self.cells, cell)
        if not self.compares or self.path is None:
            return None
        if self._baseline is None:
            self._baseline = read_side(self.path)
        if self._policy is None:
            file = self.config.option.robust_policy
            self._policy = Policy() if file is None else read_policy(file)
        comparisons = comparisons_of(goals, self._policy)
        return hold_up(cell, self._baseline, self._policy, comparisons=comparisons)


def keywords_of(item: pytest.Item, changes: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The keywords of every mark of a test, the outermost first; `changes` count before them."""
    marks = list(item.iter_markers("robust"))[::-1]
    if not marks:
        raise UserError("the test has no mark; add @pytest.mark.robust(attack=..., epsilon=..., min_mAP=...).")
    for mark in marks:
        if mark.args:
            raise UserError(f"robust takes keywords only, got {mark.args[0]!r}; write robust(attack={mark.args[0]!r}).")
    return [{**mark.kwargs, **(changes or {})} for mark in marks]


class Robust:
    """What the fixture gives."""

    def __init__(self, item: pytest.Item, session: Session, scratch: pytest.TempPathFactory) -> None:
        self._item = item
        self._session = session
        self._scratch = scratch
        #: Whether anything was asked of it.
        self.is_called = False

    def __call__(self, model: Any, data: Any, *, name: str | None = None, **changes: Any) -> tuple[Evaluation, ...]:
        """Measure a model under every mark of the test; what falls short fails the test, all of it at once.

        Args:
            model: as `robustreid.evaluate` takes it: an ONNX file, a zoo name, an entry of a grid, or a module.
            data: as there: a folder in Market-1501's layout, "synthetic", or an entry of a grid.
            name: what the model is called in tables and in the baseline; its file's or class's name by default.
            **changes: keywords that hold for every mark, before what it says.

        Returns:
            One evaluation a mark, the outermost first.
        """
        from .expectations import make_expectation
        from .measuring import NotMeasuredError, measure, run_of

        self.is_called = True
        scratch = self._scratch.mktemp("robust")
        run = run_of(model, data, kept=self._session.folder(scratch), scratch=scratch / "run")
        found, wrong = [], []
        try:
            for expectation in [make_expectation(keywords) for keywords in keywords_of(self._item, changes)]:
                try:
                    measured = measure(model, data, expectation.options, run=run, name=name)
                except NotMeasuredError as error:
                    wrong.append(f"{error}\n  reproduce: {_call(model, data, expectation)}")
                    continue
                held = self._session.hold(measured.cell, _goals(self._item))
                problems = [*expectation.failures(measured.cell.row), *(held.wrong if held else ())]
                self._note(measured, expectation, held)
                if problems:
                    wrong.append(_message(measured, problems, _call(model, data, expectation)))
                found.append(measured.evaluation)
        except UserError as error:
            pytest.fail(f"robust: {error}", pytrace=False)
        if wrong:
            pytest.fail("\n".join(wrong), pytrace=False)
        return tuple(found)

    def _note(self, measured: Measured, expectation: Expectation, held: Held | None) -> None:
        """Put a line of the summary into the test's report; --junitxml shows it as a property."""
        row = measured.cell.row
        columns = ("target_mAP_clean", "target_mAP") if row["goal"] == "targeted" else ("mAP_clean", "mAP_attacked")
        record = {
            "cell": measured.cell.label,
            **dict(zip(("clean", "attacked"), (row[name] for name in columns), strict=True)),
            "chance": row["chance_mAP"],
            "bounds": [f"{keyword} {100 * limit:.2f}" for keyword, limit in expectation.bounds.items()],
            "baseline": list(held.words) if held else [],
            "remarks": list(held.remarks) if held else [],
            "flags": [str(flag) for flag in row["flags"] or ()],
        }
        self._item.user_properties.append((KEY, json.dumps(record)))


def _goals(item: pytest.Item) -> list[list[str]]:
    """The goals of every mark of every test of the session, a list a test: what shares its error probability."""
    marked = (list(other.iter_markers("robust")) for other in item.session.items)
    return [[str(mark.kwargs.get("goal", "untargeted")) for mark in marks] for marks in marked if marks]


def _call(model: Any, data: Any, expectation: Expectation) -> str:
    shown = repr(model if isinstance(model, Mapping) else str(model)) if isinstance(model, str | Path | Mapping) else ""
    options = "".join(f", {key}={value!r}" for key, value in expectation.options.items())
    place = repr(data if isinstance(data, Mapping) else str(data))
    return f"robustreid.evaluate({shown or 'model'}, {place}{options})"


def _message(measured: Measured, problems: Sequence[str], call: str) -> str:
    row = measured.cell.row
    chance = f"chance mAP {100 * row['chance_mAP']:.2f}, Rank-1 {100 * row['chance_rank1']:.2f}"
    return "\n".join(
        [
            str(measured.evaluation),
            *(f"  {problem}" for problem in problems),
            f"  {chance}; flags: {', '.join(row['flags'] or ()) or 'none'}",
            f"  reproduce: {call}",
            f"  kept in {measured.run}",
        ]
    )
