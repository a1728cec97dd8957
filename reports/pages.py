"""Pages as text: templates with every value escaped, and what they ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from .. import __version__
from ..attacks.reliability.thresholds import words
from ..leaderboards.standing import Estimate
from . import standings
from .boards import Board
from .datasets import DataFacts
from .naming import printable, short, slug
from .published.loading import MARK
from .results import Result, outward, points
from .transfer import Transfers

#: Columns of a row that say what was measured and with what, and how the page calls them.
PROVENANCE: Mapping[str, str] = {
    "model_sha256": "weights, sha256",
    "architecture": "architecture",
    "defence": "defence",
    "metric": "compared by",
    "dataset": "data",
    "dataset_sha256": "data, sha256",
    "protocol": "protocol",
    "perturb_at": "perturbed at",
    "precision": "precision",
    "knowledge": "adversary's knowledge",
    "metric_version": "metric version",
    "engine_version": "engine version",
    "tool_version": "robustreid",
    "git_commit": "commit",
    "git_dirty": "uncommitted changes",
    "python": "Python",
    "torch": "PyTorch",
    "device": "device",
    "threads": "threads",
    "deterministic": "deterministic",
}


_OUTSIDE = re.compile(r"https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(/[A-Za-z0-9._~/?#=&%+-]*)?")

#: Of these, what the front page names: what all models share as a rule.
SHARED = tuple(
    column for column in PROVENANCE if not column.startswith("model") and column not in {"architecture", "defence"}
)


def board_address(board: Board) -> str:
    """Where its page lies in the site."""
    return f"boards/{slug(board.dataset, board.side, board.norm)}.html"


def model_address(model: str) -> str:
    """Where its page lies in the site."""
    return f"models/{slug(model)}.html"


def attack_address(preset: str) -> str:
    """Where the page of an attack lies in the site, by its name in grids."""
    return f"attacks/{slug(preset)}.html"


def transfer_address(transfers: Transfers) -> str:
    """Where its page lies in the site."""
    return f"transfer/{slug(transfers.dataset, transfers.side, transfers.norm)}.html"


def row_id(label: str) -> str:
    """The anchor of a model's row on a track's page."""
    return f"m-{slug(label)}"


def heat(value: float | None) -> str:
    """The class of a cell by its value, a fraction: `kept-0` ... `kept-10`."""
    return kept(value, 1.0)


def ends_text(estimate: Estimate) -> str:
    """`[35.1, 42.7]`."""
    return f"[{', '.join(outward(estimate.low, estimate.high))}]"


def is_outside_address(text: str) -> bool:
    """Whether a text is an address that a page may lead to: https, and nothing in it that could mean anything else."""
    return _OUTSIDE.fullmatch(text) is not None


def kept(attacked: float | None, clean: float | None) -> str:
    """The class of a table cell by how much of the clean score is kept: `kept-0` ... `kept-10`."""
    if attacked is None or not clean:
        return ""
    return f"kept-{round(10 * min(1.0, max(0.0, attacked / clean)))}"


def provenance(results: Sequence[Result], columns: Sequence[str] = tuple(PROVENANCE)) -> list[tuple[str, list[str]]]:
    """What the rows say of where they come from: a title and the different values, in order of appearance."""
    found = []
    rows = [result.row for result in results if result.row]
    for column in columns:
        texts = [_said(column, row[column]) for row in rows if row.get(column) not in {None, ""}]
        if texts:
            found.append((PROVENANCE[column], list(dict.fromkeys(texts))))
    times = sorted(_time(str(row["created_at"])) for row in rows if row.get("created_at"))
    if times:
        found.append(("made", list(dict.fromkeys([f"from {times[0]}", f"to {times[-1]}"]))))
    return found


def _said(column: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:12] if column == "git_commit" else str(value)


def _time(text: str) -> str:
    """`2026-11-22 12:00:00 UTC`, sorted as it reads."""
    return f"{text[:10]} {text[11:].replace('+00:00', ' UTC')}"


def counts(results: Sequence[Result]) -> list[tuple[str, int]]:
    """How many of each status, those that occur, done first."""
    found = Counter(result.status for result in results)
    return [(status, found[status]) for status in ("done", "failed", "skipped", "missing") if found[status]]


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


#: What templates may call.
_USED: tuple[Callable[..., Any], ...] = (
    *(kept, heat, ends_text, row_id, board_address, model_address, attack_address, transfer_address),
    *(standings.attacked, standings.critical_texts, standings.facts, standings.is_not_adaptive, standings.left_out),
    *(
        standings.lowers,
        standings.metric_title,
        standings.missing_text,
        standings.of_track,
        standings.place_text,
        standings.status_word,
    ),
)


class Pages:
    """Renders pages of one site."""

    def __init__(self, data_sets: Sequence[DataFacts] = ()) -> None:
        """Read the templates of the package; what is known of the site's data sets is known to all of them."""
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(_template),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "points": points,
            "short": short,
            "printable": printable,
            "capitalize_first": lambda text: text[:1].upper() + text[1:],
        }
        self._environment.tests["outside_address"] = is_outside_address
        self._environment.globals |= {"words": words, "version": __version__, "mark": MARK}
        self._environment.globals["data"] = {facts.name: facts for facts in data_sets}
        self._environment.globals |= {used.__name__: used for used in _USED}

    def render(self, template: str, *, root: str, **values: Any) -> bytes:
        """A page; `root` leads from it to the front page's folder, as `../`."""
        return self._environment.get_template(template).render(root=root, **values).encode()


def unescaped(text: str) -> Markup:
    """For what we made ourselves and escaped already: figures and JSON."""
    return Markup(text)  # noqa: S704
