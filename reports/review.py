"""A review of a submission as Markdown, for a pull request. Every text of the submission is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..leaderboards.standing import Estimate
from ..leaderboards.submission.adapting import needs_adaptive_attack
from ..leaderboards.submission.findings import Report
from ..leaderboards.submission.reviewing import Review, TrackReview
from .naming import upright

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&:@/\"'])")


def escaped(text: object) -> str:
    """Text on one line that Markdown and HTML show as it is: no markup, no link, no mention.

    >>> escaped("<b>|@me")
    '&lt;b&gt;&#124;&#64;me'
    """
    plain = upright(str(text), 300)
    return _SPECIAL.sub(lambda match: _entity(match[1]), plain)


def _entity(character: str) -> str:
    names = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return names.get(character) or (character if character in "-.()/:'+!\"" else f"&#{ord(character)};")


def markdown_review(review: Review) -> str:
    """The whole review."""
    about = review.description
    lines = [
        f"# Review of {escaped(about.name)}",
        "",
        *_table(
            ("", ""),
            [
                ("title", escaped(about.title)),
                ("authors", escaped(", ".join(about.authors))),
                ("licence", escaped(about.licence)),
                ("paper", escaped(about.paper or "-")),
                ("code", escaped(about.code or "-")),
                ("trained on", escaped(", ".join(about.trained_on) or "-")),
                ("model", escaped(", ".join(f"{k}: {v}" for k, v in about.model_entry.items()))),
                ("content", f"{review.n_files} files, sha256 `{review.content_sha256}`"),
                ("weights", f"sha256 `{review.weights_sha256}`"),
                ("adaptive attack", _adaptive(review)),
            ],
        ),
        "",
        "## Checks",
        "",
        *_checks(review.report),
        "",
        "## Recomputed",
        "",
        *_verification(review),
    ]
    for each in review.tracks:
        lines += ["", f"## Track {escaped(each.track.key)}", "", *_track(each)]
    lines += ["", "## To ask about", "", *([f"- {escaped(d.text)}" for d in review.doubts] or ["Nothing stands out."])]
    return "\n".join(lines) + "\n"


def _adaptive(review: Review) -> str:
    if not review.is_adaptively_evaluated:
        return "**not adaptively evaluated**"
    return "among its rows" if needs_adaptive_attack(review.description) else "nothing asks for one"


def markdown_refusal(report: Report) -> str:
    """What a submission that did not pass gets: every finding with its code, and no score."""
    lines = ["# Review: refused", "", *_checks(report)]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _checks(report: Report) -> list[str]:
    findings = (*report.errors, *report.notes)
    if not findings:
        return ["Every check passed: schema, digests, contents, rows."]
    verdict = "**refused**" if report.errors else "valid"
    counted = f"{len(report.errors)} errors, {len(report.notes)} notes: {verdict}."
    rows = [
        (finding.code, finding.level, escaped(finding.place), escaped(f"{finding.problem}. {finding.remedy}."))
        for finding in findings[:50]
    ]
    return [counted, "", *_table(("code", "level", "place", "what"), rows)]


def _verification(review: Review) -> list[str]:
    found = review.verification
    if found is None:
        return ["Nothing was recomputed: its rows are **self-reported**. `robustreid submit verify` draws a sample."]
    rows = [
        (
            escaped(cell.label),
            f"{100 * cell.claimed:.2f}",
            "-" if cell.attacked is None else f"{100 * cell.attacked:.2f}",
            escaped(cell.problem) or "agrees",
        )
        for cell in found.cells
    ]
    head = f"{len(found.cells)} of {found.n_cells} cells, drawn by seed {found.seed}: **{found.provenance}**."
    return [head, "", *_table(("cell", "claimed mAP", "recomputed", ""), rows)]


def _track(reviewed: TrackReview) -> list[str]:
    standing = reviewed.standing
    if standing is None:
        return ["No row of the submission belongs to this track."]
    n_models = sum(row.is_complete for row in reviewed.standings.rows)
    first, last = standing.places or (None, None)
    place = f"{first}" if first == last else f"{first} to {last}"
    where = f"Place {place} of {n_models}." if first else "No place: the grid is incomplete."
    rows = [
        ("clean", _number(standing.clean), "", ""),
        *(
            (escaped(score.attack), _number(score.mAP), escaped(score.status), escaped(", ".join(score.flags)))
            for score in standing.attacks
        ),
        ("**worst case**", _number(standing.worst), "" if standing.is_complete else "at most", ""),
    ]
    return [where, "", *_table(("attack", "mAP [95 %]", "", "flags"), rows)]


def _number(value: Estimate | None) -> str:
    return "-" if value is None else f"{100 * value.value:.2f} [{100 * value.low:.2f}, {100 * value.high:.2f}]"
