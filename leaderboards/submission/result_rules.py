"""What is asked of the results; whether they are those of a track is for whoever knows tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from ...benchmark.evaluation import METRIC_VERSION
from ...benchmark.store.reading import SCHEMA_VERSION
from ...benchmark.versions import ENGINE_VERSION
from ...models.defences.base import title
from ...models.defences.catalogue import DefenceError, parse_one
from ..measurements import Measurement
from .adapting import has_its_own_attack, needs_adaptive_attack
from .description import Description
from .findings import Fault
from .paths import DESCRIPTION, PLAN, RESULTS
from .plausibility import impossible, made_up
from .rules import Bundle, met, rule

_READ = ("SUB401", "SUB402", "SUB403", "SUB404")
#: Columns of versions, and the newest that this tool knows.
_VERSIONS = {"engine_version": ENGINE_VERSION, "metric_version": METRIC_VERSION, "schema_version": SCHEMA_VERSION}


@rule("SUB401")
def has_a_plan(bundle: Bundle) -> Iterable[Fault]:
    """Results have a `plan.json` that lists their cells, each once.

    Run `robustreid submit score DIR` again, which writes it anew.
    """
    return met(bundle, "SUB401")


@rule("SUB402")
def has_tables(bundle: Bundle) -> Iterable[Fault]:
    """Every table is a parquet file as `robustreid` writes it: no larger when unpacked than its rows can be.

    Remove the file, and run `robustreid submit score DIR` again.
    """
    return met(bundle, "SUB402")


@rule("SUB403")
def has_the_columns(bundle: Bundle) -> Iterable[Fault]:
    """Every table has the columns that docs/store.md lists, in their types.

    Remove the file, and run `robustreid submit score DIR` again.
    """
    return met(bundle, "SUB403")


@rule("SUB404")
def has_rows_of_their_cells(bundle: Bundle) -> Iterable[Fault]:
    """Every file holds the row, or the queries, of the cell that it is called after, with nothing missing in them.

    Remove the file, and run `robustreid submit score DIR` again.
    """
    return met(bundle, "SUB404")


@rule("SUB405", requires=["SUB401"], level="note")
def has_planned_rows_alone(bundle: Bundle) -> Iterable[Fault]:
    """The rows are those of the plan; others are not packed, and count for nothing.

    Remove them, if you like.
    """
    if bundle.results is not None:
        for name in bundle.results.stray:
            yield Fault(code="SUB405", place=name, problem=f"is of a cell that {PLAN} does not list")


@rule("SUB406", requires=_READ)
def has_possible_scores(bundle: Bundle) -> Iterable[Fault]:
    """Scores are fractions from 0 to 1 inside the bounds of their ties, and no change is larger than its radius.

    Scores are written by `robustreid submit score`, and are not to be edited.
    """
    for each in _done(bundle):
        for column, problem in impossible(each):
            yield Fault(code="SUB406", place=_place(each, column), problem=problem)


@rule("SUB407", requires=[*_READ, "SUB406"])
def has_scores_of_its_queries(bundle: Bundle) -> Iterable[Fault]:
    """Every score is the mean over its queries.

    Scores are written by `robustreid submit score`, and are not to be edited.
    """
    for each in _done(bundle):
        queries = bundle.results.queries.get(each.cell_id) if bundle.results else None
        for column, problem in made_up(each, queries) if queries is not None else ():
            yield Fault(code="SUB407", place=_place(each, column), problem=problem)


@rule("SUB408", requires=[*_READ, "SUB114", "SUB201"])
def has_rows_of_its_model(bundle: Bundle) -> Iterable[Fault]:
    """Every row is about the weights, the architecture, the defences and the metric of this submission.

    Run `robustreid submit score DIR` again after a change of weights or of `model`.
    """
    description = bundle.description
    digest = "" if description is None else bundle.sha256(description.weights)
    if description is None or bundle.results is None or not digest:
        return
    wanted = _identity(description, digest)
    for each in bundle.results.measurements:
        for column, allowed in wanted.items() if each.status != "missing" else ():
            if each.row.get(column) not in allowed:
                problem = f"is {each.row.get(column)!r}, the submission's is {allowed[0]!r}"
                yield Fault(code="SUB408", place=_place(each, column), problem=problem)


@rule("SUB409", requires=["SUB401"])
def has_known_versions(bundle: Bundle) -> Iterable[Fault]:
    """Rows are of versions of engine, metric and columns that this tool knows.

    Update robustreid, or score the submission with the version that the board uses.
    """
    yield from met(bundle, "SUB409")
    for each in bundle.results.measurements if bundle.results else ():
        for column, newest in _VERSIONS.items() if each.status != "missing" else ():
            version = each.row.get(column)
            if version is None or not 1 <= version <= newest:
                yield Fault(
                    code="SUB409", place=_place(each, column), problem=f"is {version}, this tool knows 1 to {newest}"
                )


@rule("SUB410", requires=_READ)
def has_queries(bundle: Bundle) -> Iterable[Fault]:
    """Every row with scores has its queries beside it.

    Run the cell again (`robustreid submit score DIR`), which stores them.
    """
    for each in _done(bundle):
        if bundle.results is not None and each.cell_id not in bundle.results.queries:
            place = f"{RESULTS}/queries/{each.cell_id}.parquet"
            yield Fault(code="SUB410", place=place, problem="is missing, and its row has scores")


@rule("SUB411", requires=_READ, level="note")
def has_no_failed_cells(bundle: Bundle) -> Iterable[Fault]:
    """Every planned cell came to a score: one that failed or was skipped counts as no robustness.

    Mend what its reason says, and run `robustreid submit score DIR` again.
    """
    counts = Counter(each.status for each in bundle.results.measurements) if bundle.results else Counter[str]()
    for status in ("failed", "skipped"):
        if counts[status]:
            yield Fault(code="SUB411", place=PLAN, problem=f"{counts[status]} of its cells {status}")


@rule("SUB412", requires=_READ, level="note")
def has_every_row(bundle: Bundle) -> Iterable[Fault]:
    """Every planned cell has a row.

    Run `robustreid submit score DIR` again: what stands is not run twice.
    """
    measurements = bundle.results.measurements if bundle.results else ()
    missing = sum(each.status == "missing" for each in measurements)
    if missing:
        yield Fault(code="SUB412", place=PLAN, problem=f"{missing} of {len(measurements)} cells have no row")


@rule("SUB413", level="note")
def has_been_scored(bundle: Bundle) -> Iterable[Fault]:
    """There are results.

    Run `robustreid submit score DIR`; whoever keeps the board may also do it for you.
    """
    if bundle.results is None and not bundle.faults():
        yield Fault(code="SUB413", place=RESULTS, problem="there are none yet")


@rule("SUB116", requires=["SUB107", *_READ], level="note")
def was_attacked_adaptively(bundle: Bundle) -> Iterable[Fault]:
    """What has random or non-differentiable stages, or a test-time defence, has a score under an attack of its own.

    Name an `adaptive_attack` that goes through them, and score it; else the board marks it as not adaptively evaluated.
    """
    description = bundle.description
    if description is None or not needs_adaptive_attack(description):
        return
    measurements = bundle.results.measurements if bundle.results else ()
    if not has_its_own_attack(description, measurements):
        problem = "it is not adaptively evaluated: no row of an adaptive attack of its own has a score"
        yield Fault(code="SUB116", place=f"{DESCRIPTION}: adaptive_attack", problem=problem)


def _done(bundle: Bundle) -> Iterator[Measurement]:
    return iter(()) if bundle.results is None else bundle.results.done()


def _place(each: Measurement, column: str) -> str:
    return f"{RESULTS}/cells/{each.cell_id}.parquet: {column}"


def _identity(description: Description, digest: str) -> dict[str, tuple[str | None, ...]]:
    """What columns of a row may be, the likeliest first. Without an architecture it was its authors' code that ran."""
    entry = description.model_entry
    architecture = "onnx" if description.is_program else entry.get("architecture", "plugin")
    found: dict[str, tuple[str | None, ...]] = {
        "model_sha256": (digest,),
        "architecture": (architecture,),
        "metric": (entry.get("metric", "cosine"),),
    }
    try:
        return found | {"defence": (title(tuple(parse_one(each) for each in entry.get("defence") or ())),)}
    except DefenceError:  # said by SUB114
        return found


RESULT_RULES = (
    *(has_a_plan, has_tables, has_the_columns, has_rows_of_their_cells, has_planned_rows_alone, has_possible_scores),
    *(has_scores_of_its_queries, has_rows_of_its_model, has_known_versions, has_queries, has_no_failed_cells),
    *(has_every_row, has_been_scored, was_attacked_adaptively),
)
