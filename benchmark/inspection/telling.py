"""An inspection as plain text for a terminal, and as plain values for a pipe. No torch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..config.reading import printable
from ..progress import duration
from ..tables import text_table
from .findings import Finding, Inspection

#: How a verdict is shown: what is wrong catches the eye.
_SHOWN = {"fine": "fine", "note": "note", "flag": "FLAG", "fails": "FAILS"}


def inspection_text(found: Inspection) -> str:
    """A line a check, then what to do about those that are not fine, then the verdict in one sentence."""
    where = f"{found.device}, {found.threads} thread{'s' * (found.threads != 1)}, torch {found.torch}"
    weights = f", sha256 {found.sha256[:12]}" if found.sha256 else ""
    people = f"{found.n_query} queries and {found.n_gallery} gallery images of {found.dataset}"
    lines = [
        f"{found.label} ({found.architecture}{weights}) on {people}; {where}",
        "",
        text_table(("check", "result", "measured"), [_row(finding) for finding in found.findings]),
    ]
    todo = [finding for finding in found.findings if finding.remedy]
    if todo:
        lines += ["", "What to do:", *(f"  {_about(finding)}: {finding.remedy}" for finding in todo)]
    lines += ["", f"{_verdict(found)} ({duration(found.seconds)})"]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def _row(finding: Finding) -> tuple[str, str, str]:
    return finding.name, _SHOWN[finding.verdict], " ".join(finding.measured.split())


def _about(finding: Finding) -> str:
    return finding.name if finding.flag is None else f"{finding.name} ({finding.flag})"


def _verdict(found: Inspection) -> str:
    failing = [finding.name for finding in found.findings if finding.verdict == "fails"]
    if failing:
        return f"{found.label} cannot be scored: {', '.join(failing)}."
    if found.flags:
        return f"{found.label} can be scored; its numbers will be doubted: {', '.join(found.flags)} (docs/flags.md)."
    return f"{found.label} keeps the contract."


def inspection_record(found: Inspection) -> dict[str, Any]:
    """All fields, and what follows from them, as JSON takes them."""
    return {"name": found.label, **asdict(found), "can_be_scored": found.can_be_scored, "flags": list(found.flags)}
