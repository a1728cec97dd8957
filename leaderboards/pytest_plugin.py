"""`@pytest.mark.robust(...)` and the fixture `robust`: the robustness of a model as a test (docs/ci.md).

Importing this imports pytest alone: whatever measures and compares is loaded by the first test that asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from .. import UserError
from .pytest_fixture import KEY, Robust, Session, keywords_of

_SESSION = pytest.StashKey[Session]()
_MARKER = (
    "robust(attack, epsilon, side, ..., min_mAP, min_rank1, ...): attack a model and hold its scores to bounds; the "
    "test takes the fixture `robust` and calls it as robust(model, data)."
)
_HEAD = ("test", "cell", "clean mAP", "attacked", "chance", "bounds", "baseline", "flags")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("robustreid", "robustness of re-identification models")
    group.addoption(
        "--robust-baseline",
        metavar="FILE",
        help="Hold what `robust` tests measure against this baseline: a worse score fails its test. Where there is "
        "none it is written at the end of a session without failures.",
    )
    group.addoption(
        "--robust-update",
        action="store_true",
        help="Compare nothing; put what was measured into the baseline at the end of a session without failures.",
    )
    group.addoption("--robust-policy", metavar="FILE", help="A policy for the comparison (YAML, docs/gate.md).")
    group.addoption("--robust-runs", metavar="DIR", help="Where results are kept. [default: in pytest's cache]")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and make paths absolute: xdist's workers are given these."""
    config.addinivalue_line("markers", _MARKER)
    for name in ("robust_baseline", "robust_policy", "robust_runs"):
        value = getattr(config.option, name)
        if value is not None:
            setattr(config.option, name, str(config.invocation_params.dir / value))
    if config.option.robust_update and not config.option.robust_baseline:
        raise pytest.UsageError("--robust-update has nothing to update; add --robust-baseline FILE.")
    config.stash[_SESSION] = Session(config)


def _refusal(item: pytest.Item) -> str:
    """What is wrong with a marked test, before it runs; empty where nothing is."""
    from .expectations import make_expectation

    try:
        for keywords in keywords_of(item):
            make_expectation(keywords)
    except UserError as error:
        return str(error)
    if "robust" not in getattr(item, "fixturenames", ()):
        return (
            "it is marked robust and measures nothing; let it take the fixture `robust` and call robust(model, data)."
        )
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Refuse a misspelt mark where its test is collected."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Item) and item.get_closest_marker("robust"):
            refusal = _refusal(item)
            if refusal:
                raise collector.CollectError(f"{item.nodeid}: {refusal}")
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that passed and measured nothing."""
    result = yield
    fixture = getattr(item, "funcargs", {}).get("robust")
    if isinstance(fixture, Robust) and not fixture.is_called:
        pytest.fail("robust was never called, so nothing was measured; call robust(model, data).", pytrace=False)
    return result


@pytest.fixture
def robust(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Robust:
    """Called with a model and data: measures under every `robust` mark of the test, and fails what falls short."""
    return Robust(request.node, request.config.stash[_SESSION], tmp_path_factory)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Hand over what a worker measured; write the baseline where nothing failed."""
    known = session.config.stash[_SESSION]
    if not known.writes or not (known.cells or known.handed):
        return
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        from .gate.stored import encode

        output[KEY] = encode(known.cells)
    elif exitstatus != pytest.ExitCode.OK:
        known.said = f"{known.shown} was not written: the session did not pass."
    elif not known.write():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what one of xdist's workers measured."""
    handed: bytes | None = getattr(node, "workeroutput", {}).get(KEY)
    if handed is not None:
        from .gate.stored import decode

        known: Session = node.config.stash[_SESSION]
        known.handed += decode(handed, Path(f"worker {node.gateway.id}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What was measured, what is too coarse to tell, and what became of the baseline."""
    records = list(_records(terminalreporter))
    said = config.stash[_SESSION].said
    if not records and not said:
        return
    from ..benchmark.config.reading import printable
    from ..benchmark.tables import text_table

    terminalreporter.section("robustness")
    if records:
        rows = [[test, *_cells(record)] for test, record in records]
        terminalreporter.write_line(text_table(_HEAD, [[printable(text) for text in row] for row in rows]))
    for remark in dict.fromkeys(remark for _, record in records for remark in record["remarks"]):
        terminalreporter.write_line(printable(f"{remark}."))
    if said:
        terminalreporter.write_line(printable(said))


def _records(terminalreporter: pytest.TerminalReporter) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the reports of this session carry, by test, in its order."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for report in sorted(
        (report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"),
        key=lambda report: report.nodeid,
    ):
        for name, value in report.user_properties:
            if name == KEY:
                yield report.nodeid, json.loads(str(value))


def _cells(record: dict[str, Any]) -> list[str]:
    points = [f"{100 * record[name]:.2f}" for name in ("clean", "attacked", "chance")]
    lists = [", ".join(record[name]) or "-" for name in ("bounds", "baseline", "flags")]
    return [record["cell"], *points, *lists]
