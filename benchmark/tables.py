"""What commands print: plain text tables that fit a terminal and survive a pipe. Those of a plan alone need torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .config.reading import printable

if TYPE_CHECKING:
    import pandas as pd

    from .costs import Cost
    from .planner import CleanKey, Group, Plan


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their content; those of numbers flush right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(len(value) for value in column) for column in columns]
    numeric = [all(_is_number(value) for value in column[1:]) and len(column) > 1 for column in columns]
    lines = [
        "  ".join(
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (head, *rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _is_number(value: str) -> bool:
    return (
        not value
        or value in {"-", "failed", "skipped"}
        or value.replace(",", "").replace(".", "").lstrip("-").isdigit()
    )


def _points(value: Any) -> str:
    return "-" if value is None or value != value else f"{100 * value:.2f}"  # noqa: PLR0124 (NaN)


def results_table(frame: pd.DataFrame) -> str:
    """Rows of a run: Rank-1 and mAP (step) before and after, in points."""
    if frame.empty:
        return "No rows yet."
    rows = []
    for row in frame.to_dict("records"):
        prefix = "target_" if row["goal"] == "targeted" else ""
        scores = [
            _points(row[name])
            for name in (
                (f"{prefix}rank1_clean", f"{prefix}rank1", f"{prefix}mAP_clean", f"{prefix}mAP")
                if prefix
                else ("rank1_clean", "rank1_attacked", "mAP_clean", "mAP_attacked")
            )
        ]
        if row["status"] != "done":
            scores = ["-", row["status"], "-", row["status"]]
        side = row["side"] if row["goal"] == "untargeted" else f"{row['side']}, targeted"
        surrogate = f" from {row['surrogate']}" if isinstance(row.get("surrogate"), str) else ""
        head = (row["model"], row["dataset"], side, f"{row['attack']}{surrogate}", row["epsilon_label"])
        rows.append([*map(str, head), *scores, _points(row["chance_mAP"])])
    titles = ("model", "data", "side", "attack", "epsilon", "Rank-1", "attacked", "mAP", "attacked", "chance mAP")
    return text_table(titles, rows)


def plan_table(plan: Plan, stands: Mapping[str, str], chosen: Collection[str]) -> str:
    """A line a group: cells, what stands, passes alone and shared; then the sums."""
    from .costs import Cost
    from .planner import clean_keys

    lines, alone, shared, n_pending = [], Cost(), Cost(), 0
    seen: set[CleanKey] = set()
    for group in plan.groups(chosen):
        pending = tuple(cell for cell in group.cells if cell.cell_id not in stands)
        n_pending += len(pending)
        costs = _costs(plan, group)
        lines.append([group.title, str(len(group.cells)), str(len(group.cells) - len(pending)), *_numbers(costs)])
        if not pending:
            continue
        rest = costs if len(pending) == len(group.cells) else _costs(plan, type(group)(cells=pending))
        alone += rest[0] or Cost()
        shared += rest[1] or Cost()
        shared += plan.clean_cost(group, seen)
        seen |= clean_keys(group)
    head = ("group", "cells", "stand", "gradients", "shared", "forwards", "shared")
    text = [text_table(head, lines)]
    text += [printable(f"{request.label}: not found: {request.root}") for request in plan.absent]
    text.append(
        f"{_cells(n_pending)} to run: {alone.gradients:,} gradients and {alone.forwards:,} forwards one by one, "
        f"{shared.gradients:,} and {shared.forwards:,} shared (image passes)."
    )
    return "\n".join(text)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def _costs(plan: Plan, group: Group) -> tuple[Cost | None, Cost | None]:
    return plan.cost(group, shared=False), plan.cost(group, shared=True)


def _numbers(costs: tuple[Cost | None, Cost | None]) -> list[str]:
    alone, shared = costs
    if alone is None or shared is None:
        return ["-"] * 4
    return [f"{n:,}" for n in (alone.gradients, shared.gradients, alone.forwards, shared.forwards)]


def status_text(records: Sequence[Mapping[str, str]], *, is_running: bool) -> str:
    """Counts by status, then every cell that failed or was skipped with its reason."""
    counts = Counter(record["status"] for record in records)
    parts = [f"{counts[name]} {name}" for name in ("done", "failed", "skipped", "to run") if counts[name]]
    lines = [f"{_cells(len(records))}: {', '.join(parts) or 'none'}{'; a process is writing this run' * is_running}."]
    lines += [f"{r['status']}: {r['name']}: {r['reason']}" for r in records if r["reason"]]
    return "\n".join(lines)


def listing(records: Sequence[Mapping[str, Any]]) -> str:
    """A line a record: its name and its one-line summary; below it, indented, a line a file: name, digest, address."""
    width = max((len(str(record["name"])) for record in records), default=0)
    lines = []
    for record in records:
        lines.append(f"{record['name']!s:<{width}}  {record.get('summary', '')}".rstrip())
        for file in record.get("files", ()):
            digest = f"{file['algorithm']} {file['digest']}" if file["digest"] else "no digest is known"
            lines.append(f"{'':<{width}}  {file['name']}  {digest}  {file['url'] or ''}".rstrip())
    return "\n".join(lines)
