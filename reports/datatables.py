"""Tables that a page hands to its script as data, so that ten thousand rows open at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .naming import printable, short
from .results import METRICS, Result

#: The stored columns that the table of all cells shows, in points; `drop` is a difference.
UNTARGETED = (
    "rank1_clean",
    "rank1_attacked",
    "mAP_clean",
    "mAP_attacked",
    "mAP_drop",
    "mAP_trapezoid_attacked",
    "mINP_attacked",
)
TARGETED = ("target_rank1_clean", "target_rank1", "target_mAP_clean", "target_mAP")

#: The columns by whose values the table can be filtered.
_FILTERS = {"model", "attack", "epsilon_label", "status"}

#: How the table says which state a score is of.
_STATES: Mapping[str, str] = {"clean": "clean", "attacked": "", "drop": "drop"}


def column_title(column: str) -> str:
    """How pages call a stored score.

    >>> column_title("mAP_clean"), column_title("rank1_attacked"), column_title("target_mAP")
    ('mAP clean', 'Rank-1', 'target mAP')
    >>> column_title("mAP_attacked_std")
    'mAP SD'
    """
    if column in METRICS:
        return METRICS[column].title
    if column.endswith("_std"):
        return f"{column_title(column.removesuffix('_std'))} SD"
    metric, _, state = column.rpartition("_")
    return f"{METRICS[metric].title} {_STATES[state]}".strip()


def cells_table(results: Sequence[Result], columns: Sequence[str], address: Callable[[str], str]) -> str:
    """A row a result as JSON text that is harmless inside a page's script element.

    Args:
        results: what becomes rows, in this order.
        columns: the stored scores that are shown; where scores are means over trials, their number and the standard
            deviation of each score over them follow.
        address: where a model's page is, relative to the page.
    """
    has_trials = any(result.trials > 1 for result in results)
    spreads = [
        f"{name}_std" for name in columns if name.endswith(("_clean", "_attacked")) and not name.startswith("target")
    ]
    shown = [*columns, *(spreads if has_trials else ())]
    links = {model: address(model) for model in {result.model for result in results}}
    radii = {result.epsilon_label: result.epsilon for result in results}
    seeds = {str(result.seed): result.seed for result in results}
    made = [
        _texts("model", "Model", [result.model for result in results], href=links),
        _texts("attack", "Attack", [result.attack for result in results]),
        _texts("epsilon_label", "Epsilon", [result.epsilon_label for result in results], order=radii),
    ]
    if len(seeds) > 1:
        made.append(_texts("seed", "Seed", [str(result.seed) for result in results], order=seeds))
    made.append(_texts("status", "Status", [result.status for result in results]))
    if has_trials:
        trials = {str(result.trials): result.trials for result in results}
        made.append(_texts("trials", "Trials", [str(result.trials) for result in results], order=trials))
    made += [
        (
            {"name": column, "title": column_title(column), "kind": "points"},
            [result.score(column) for result in results],
        )
        for column in shown
    ]
    for name, title, texts in (
        ("flags", "Flags", [", ".join(result.flags) for result in results]),
        ("reason", "Why", [result.reason for result in results]),
    ):
        if any(texts):
            made.append(_texts(name, title, texts))
    rows = list(map(list, zip(*(cells for _, cells in made), strict=True)))
    return script_json({"columns": [column for column, _ in made], "rows": rows})


def _texts(
    name: str, title: str, texts: Sequence[str], **extras: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """A column of texts, each kept once, and a place among them for each row."""
    places: dict[str, int] = {}
    cells = [places.setdefault(text, len(places)) for text in texts]
    entries = []
    for text in places:
        entry: dict[str, Any] = {"full": printable(text), **{key: extra[text] for key, extra in extras.items()}}
        if short(text) != entry["full"]:
            entry["short"] = short(text)
        entries.append(entry)
    is_filter = name in _FILTERS and len(places) > 1
    return {"name": name, "title": title, "kind": "text", "values": entries, "filter": is_filter}, cells


def script_json(value: Any) -> str:
    r"""JSON in which nothing ends a script element or a line of a script.

    >>> script_json(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
