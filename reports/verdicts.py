"""A comparison as text, Markdown, JSON, JUnit XML and HTML; names come from files of others and are escaped in each."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ..benchmark.config.reading import printable
from ..benchmark.tables import text_table
from ..leaderboards.gate.baseline import Change
from ..leaderboards.gate.explaining import Explanation, explain
from ..leaderboards.gate.joining import tail
from ..leaderboards.gate.verdicts import NOT_COMPARABLE, PASSED, REGRESSION, UNABLE, WORDS, Comparison, Verdict
from ..leaderboards.measurements import Measurement

_HEAD = ("verdict", "model", "cell", "score", "BASE", "NEW", "change", "95% interval", "p", "why")
#: How many labels of cells that only NEW has are listed.
_MOST_ADDED = 5
#: Characters of a column.
_WIDEST = 200
_MARKUP = re.compile(r"[^A-Za-z0-9 .,:;/%=+\-]")


class ShownComparison(Comparison):
    """A comparison that prints as a table, and shows as one in a notebook."""

    def __str__(self) -> str:
        """As `robustreid compare` prints it."""
        return as_table(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in _HEAD)
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(printable(text))}</td>' for text in _cells(verdict))}</tr>"
            for verdict in _ordered(self)
        )
        lines = "".join(f"<p>{html.escape(printable(line))}</p>" for line in _remarks(self))
        return f"<table><tr>{head}</tr>{rows}</table>{lines}"


def shown(comparison: Comparison) -> ShownComparison:
    """The same, able to show itself."""
    return ShownComparison(**{field.name: getattr(comparison, field.name) for field in fields(comparison)})


def _ordered(comparison: Comparison) -> list[Verdict]:
    """The worst news first; among equals as they were found."""
    return sorted(comparison.verdicts, key=lambda verdict: WORDS.index(verdict.word))


def _cells(verdict: Verdict) -> tuple[str, ...]:
    interval = "-"
    if verdict.low is not None and verdict.high is not None:
        interval = f"{100 * verdict.low:+.2f} to {100 * verdict.high:+.2f}"
    return (
        verdict.word,
        _cut(verdict.model),
        _cut(verdict.cell),
        verdict.metric or "-",
        _points(verdict.base),
        _points(verdict.new),
        _points(verdict.difference, "+"),
        interval,
        "-" if verdict.p_value is None else _p_value(verdict.p_value),
        _cut(verdict.reason),
    )


def _cut(text: str) -> str:
    """No wider than a column can be: names come from files of others."""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST // 2]}...{text[-_WIDEST // 2 :]}"


def _points(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{100 * value:{sign}.2f}"


def _p_value(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def summary(comparison: Comparison, *, strict: bool | None = None) -> str:
    """How many verdicts there are of each word, and what follows."""
    counts = [f"{n} {word}" for word, n in comparison.counts.items()]
    code = comparison.exit_code(strict)
    if comparison.wrote is not None:
        return f"There was no baseline: {str(comparison.wrote)!r} holds {len(comparison.added)} cells of NEW now."
    said = {
        PASSED: "No regression was found.",
        REGRESSION: "A regression was found.",
        NOT_COMPARABLE: "BASE and NEW could not be compared in full."
        if UNABLE & comparison.counts.keys() or not counts
        else "Some comparisons are too coarse to tell, and the gate is strict.",
    }[code]
    return f"{', '.join(counts) or 'no verdict'}. {said}"


def _remarks(comparison: Comparison) -> list[str]:
    """What stands below the verdicts, a sentence each; the summary last."""
    lines = list(comparison.notes)
    if comparison.added and comparison.wrote is None:
        listed = ", ".join(comparison.added[:_MOST_ADDED]) + (", ..." if len(comparison.added) > _MOST_ADDED else "")
        lines.append(f"Without a score in BASE: {listed}.")
    if comparison.family:
        lines.append(
            f"Changes are in points, paired query by query; p is adjusted over {comparison.family} "
            f"comparison{'s' * (comparison.family != 1)}; a drop of at most {comparison.policy.max_drop:g} points is "
            f"allowed where no rule says otherwise."
        )
    return [*lines, summary(comparison)]


def as_table(comparison: Comparison, *, with_explanation: bool = False) -> str:
    """Plain text for a terminal."""
    rows = [[printable(text) for text in _cells(verdict)] for verdict in _ordered(comparison)]
    parts = [text_table(_HEAD, rows)] if rows else []
    if with_explanation:
        parts += ["\n".join(map(printable, _explained(found))) for found in explain(comparison)]
    return "\n\n".join([*parts, "\n".join(map(printable, _remarks(comparison)))])


def _explained(found: Explanation) -> list[str]:
    where = f"{found.n_comparisons} comparison{'s' * (found.n_comparisons != 1)}"
    change = f"{100 * found.change:+.2f} points in {where}"
    lines = [f"Behind {found.metric} of {found.model} on {found.dataset}, {change}:"]
    for title, shares in (("identities", found.identities), ("cameras", found.cameras), ("attacks", found.attacks)):
        if shares:
            listed = [f"{share.label} {100 * share.change:+.2f} ({round(100 * share.part)}%)" for share in shares]
            lines.append(f"  {title}: {', '.join(listed)}")
    return lines


def as_markdown(comparison: Comparison, *, with_explanation: bool = False) -> str:
    """A heading, a table and what else to know, for a summary of a job or a comment."""
    marks = {PASSED: "passed", REGRESSION: "regression", NOT_COMPARABLE: "not comparable"}
    lines = [f"### Robustness gate: {marks[comparison.exit_code()]}", "", _marked(summary(comparison)), ""]
    if comparison.verdicts:
        lines += [f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
        lines += [f"| {' | '.join(_columns(verdict))} |" for verdict in _ordered(comparison)] + [""]
    for found in explain(comparison) if with_explanation else ():
        head, *rest = _explained(found)
        lines += [_code(head), "", *(f"- {_code(line.strip())}" for line in rest), ""]
    lines += [f"- {_code(line)}" for line in _remarks(comparison)[:-1]]
    return "\n".join(lines).rstrip() + "\n"


def _columns(verdict: Verdict) -> list[str]:
    """Markdown of a verdict's columns; what others named stands as code."""
    word, model, cell, *numbers, reason = _cells(verdict)
    return [word, _code(model), _code(cell), *map(_marked, numbers), _code(reason)]


def _marked(text: str) -> str:
    """Text in which nothing is Markdown or HTML: whatever could be is a character reference."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def _code(text: str) -> str:
    """The same where nobody is mentioned and nothing is linked either."""
    return f"<code>{_marked(text)}</code>" if text else ""


def as_json(comparison: Comparison, *, with_explanation: bool = False) -> str:
    """One object: `exit_code`, `counts`, `policy`, `verdicts`, `added`, `notes`; scores are fractions."""
    policy = comparison.policy
    value: dict[str, Any] = {
        "exit_code": comparison.exit_code(),
        "summary": summary(comparison),
        "counts": comparison.counts,
        "policy": {
            "metrics": list(policy.metrics),
            "max_drop": policy.max_drop,
            "strict": policy.strict,
            "rules": [{"select": rule.select, "max_drop": rule.max_drop, "gate": rule.gate} for rule in policy.rules],
        },
        "wrote": None if comparison.wrote is None else str(comparison.wrote),
        "verdicts": [_record(verdict) for verdict in _ordered(comparison)],
        "added": list(comparison.added),
        "notes": list(comparison.notes),
    }
    if with_explanation:
        value["explanations"] = [asdict(found) for found in explain(comparison)]
    return json.dumps(value, indent=2, allow_nan=False)


def _record(verdict: Verdict) -> dict[str, Any]:
    return {field.name: getattr(verdict, field.name) for field in fields(verdict) if field.name != "evidence"} | {
        "drop": verdict.drop
    }


def as_junit(comparison: Comparison, *, with_explanation: bool = False) -> str:
    """A test case a verdict: worse fails; failed, missing and not comparable are errors; cannot tell is skipped.

    For a strict gate what cannot be told is an error.
    """
    kinds: Mapping[str, str] = {
        "worse": "failure",
        "cannot tell": "error" if comparison.policy.strict else "skipped",
        **dict.fromkeys(UNABLE, "error"),
    }
    found = [kinds.get(verdict.word, "") for verdict in _ordered(comparison)]
    empty = comparison.exit_code() == NOT_COMPARABLE and not comparison.verdicts
    totals = {
        "tests": str(len(found) + empty),
        "failures": str(found.count("failure")),
        "errors": str(found.count("error") + empty),
        "skipped": str(found.count("skipped")),
        "time": "0",
    }
    root = ET.Element("testsuites", {"name": "robustreid compare", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": "robustreid compare", **totals})
    for verdict, kind in zip(_ordered(comparison), found, strict=True):
        name = f"{verdict.cell} {verdict.metric}".strip()
        case = _case(suite, verdict.model, name)
        lines = [str(verdict), verdict.reason if verdict.difference is not None else ""]
        text = printable_lines(lines)
        if kind:
            attributes = {"message": printable(str(verdict))}
            element = ET.SubElement(
                case, kind, attributes if kind == "skipped" else {**attributes, "type": verdict.word}
            )
            element.text = text
        else:
            ET.SubElement(case, "system-out").text = text
    if empty:
        case = _case(suite, "robustreid", "compare")
        ET.SubElement(case, "error", {"message": printable(_remarks(comparison)[0]), "type": "not comparable"})
    lines = [line for found in explain(comparison) for line in _explained(found)] if with_explanation else []
    if lines:
        ET.SubElement(suite, "system-out").text = printable_lines(lines)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, classname: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": printable(classname), "name": printable(name), "time": "0"})


def printable_lines(lines: Sequence[str]) -> str:
    """Those that say something, one below the other."""
    return "\n".join(printable(line) for line in lines if line)


#: By the word that `--format` takes.
FORMATS: Mapping[str, Callable[..., str]] = {
    "table": as_table,
    "md": as_markdown,
    "json": as_json,
    "junit": as_junit,
}


def baseline_table(cells: Sequence[Measurement]) -> str:
    """A line a cell of a baseline."""
    rows = []
    for cell in cells:
        row, state = cell.row, "target_mAP" if cell.row["goal"] == "targeted" else "mAP_attacked"
        identities = "-" if cell.queries is None else str(len(set(cell.queries.identities.tolist())))
        made = (
            str(row.get("created_at") or "-")[:10],
            str(row.get("tool_version") or "-"),
            str(row.get("engine_version")),
        )
        scores = (_points(cell.score("mAP_clean")), state, _points(cell.score(state)))
        rows.append([printable(text) for text in (cell.model, tail(cell), *scores, identities, *made)])
    head = ("model", "cell", "mAP_clean", "score", "value", "identities", "made", "tool", "engine")
    return text_table(head, rows)


def change_text(file: Path, change: Change) -> str:
    """What became of a baseline, a line a cell that is another now."""
    lines = [f"added: {label}" for label in change.added]
    lines += [f"replaced: {label}: {what}" for label, what in change.replaced]
    lines += [f"left out: {label}: {why}" for label, why in change.left_out]
    counts = [len(change.added), len(change.replaced), change.n_kept, len(change.left_out)]
    said = zip(counts, ("added", "replaced", "kept", "left out: without a score"), strict=True)
    lines.append(f"{file}: {', '.join(f'{n} {what}' for n, what in said)}.")
    return "\n".join(map(printable, lines))
