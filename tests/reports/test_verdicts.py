"""Verdicts as text, Markdown, JSON, JUnit XML and HTML: every word once, and no name gets out of its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from robustreid.leaderboards.gate.evidence import Evidence
from robustreid.leaderboards.gate.policy import Policy
from robustreid.leaderboards.gate.verdicts import Comparison, Verdict
from robustreid.reports.verdicts import FORMATS, as_json, as_junit, as_markdown, as_table, shown

#: What a stranger may call a model: HTML, Markdown, a mention, the end of a table's cell, of CDATA, of a line; a
#: character that is none in XML, and one that turns the direction.
HOSTILE = "<script>alert(1)</script>|*b*_i_`c`[l](http://x.y)@team ]]> &amp; \n# h \x1b[31m\x00\u202e\ufffe"

TABLE = """\
verdict         model              cell                               score          BASE    NEW  change  95% interval         p  why
--------------  -----------------  ---------------------------------  ------------  -----  -----  ------  --------------  ------  -------------------------------------------
failed          osnet              mini fna linf 4/255 gallery        -                 -      -  -       -                    -  failed in NEW: a feature is not finite
failed          osnet              mini square linf 4/255 gallery     -                 -      -  -       -                    -  skipped in NEW: has no gradient
missing         osnet              mini pgd linf 4/255 gallery        -                 -      -  -       -                    -  NEW does not have this cell
not comparable  osnet              mini odfa linf 4/255 gallery       -                 -      -  -       -                    -  engine version 1 in BASE, 2 in NEW
worse           osnet -> osnet-v2  mini ama-ifgsm linf 4/255 gallery  mAP_attacked  50.00  45.00  -5.00   -6.20 to -3.80  0.0021
cannot tell     osnet              mini noise linf 4/255 gallery      mAP_attacked  61.20  59.20  -2.00   -4.60 to +0.60  0.4100  the smallest detectable drop is 3.71 points
better          osnet              mini ama-fgsm linf 4/255 gallery   mAP_attacked  40.00  44.00  +4.00   +2.10 to +5.90  0.0300
same            osnet              mini clean                         mAP_clean     80.00  80.00  +0.00   +0.00 to +0.00  1.0000

1 cell not gated: a rule of the policy says so.
Without a score in BASE: osnet mini soft-ap linf 4/255 gallery.
Changes are in points, paired query by query; p is adjusted over 4 comparisons; a drop of at most 1 points is allowed where no rule says otherwise.
2 failed, 1 missing, 1 not comparable, 1 worse, 1 cannot tell, 1 better, 1 same. BASE and NEW could not be compared in full."""  # noqa: E501


def evidence() -> Evidence:
    """Six queries of three people and two cameras; the second person lost most, before the second camera."""
    base = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    new = np.array([0.5, 0.48, 0.4, 0.32, 0.5, 0.5])
    people = np.array([7, 7, 40, 40, 41, 41])
    cameras = np.array([1, 2, 1, 2, 1, 2])
    return Evidence(base=base, new=new, identities=people, cameras=cameras, dataset="mini", attack="ama-ifgsm")


def settled(word: Any, attack: str, reason: str, **given: Any) -> Verdict:
    """A cell without scores."""
    cell = f"mini {attack} linf 4/255 gallery"
    return Verdict(
        **{"word": word, "base_model": "osnet", "new_model": "osnet", "cell": cell, "reason": reason, **given}
    )


def scored(word: Any, cell: str, numbers: Sequence[float], **given: Any) -> Verdict:
    """A comparison: base, new, low, high in points, and p."""
    base, new, low, high = (number / 100 for number in numbers[:4])
    found = {"base": base, "new": new, "difference": new - base, "low": low, "high": high, "p_value": numbers[4]}
    names = {"word": word, "base_model": "osnet", "new_model": "osnet", "cell": cell, "metric": "mAP_attacked"}
    return Verdict(**{**names, **found, "max_drop": 1.0, "n_queries": 6, "n_identities": 3, **given})


@pytest.fixture
def comparison() -> Comparison:
    """Every word, in no order."""
    coarse = "the smallest detectable drop is 3.71 points"
    return Comparison(
        verdicts=(
            scored("same", "mini clean", (80, 80, 0, 0, 1), metric="mAP_clean"),
            settled("failed", "fna", "failed in NEW: a feature is not finite"),
            scored("better", "mini ama-fgsm linf 4/255 gallery", (40, 44, 2.1, 5.9, 0.03)),
            settled("missing", "pgd", "NEW does not have this cell", new_model=""),
            scored(
                "worse",
                "mini ama-ifgsm linf 4/255 gallery",
                (50, 45, -6.2, -3.8, 0.0021),
                evidence=evidence(),
                new_model="osnet-v2",
            ),
            scored("cannot tell", "mini noise linf 4/255 gallery", (61.2, 59.2, -4.6, 0.6, 0.41), reason=coarse),
            settled("failed", "square", "skipped in NEW: has no gradient"),
            settled("not comparable", "odfa", "engine version 1 in BASE, 2 in NEW"),
        ),
        policy=Policy(),
        added=("osnet mini soft-ap linf 4/255 gallery",),
        notes=("1 cell not gated: a rule of the policy says so.",),
    )


def hostile() -> Comparison:
    """A name, a cell and a reason of somebody who means harm."""
    verdicts = (
        settled("failed", HOSTILE, HOSTILE, base_model=HOSTILE, new_model=HOSTILE),
        scored("worse", HOSTILE, (50, 45, -6, -4, 0.002), evidence=evidence(), base_model=HOSTILE, new_model="x"),
    )
    return Comparison(verdicts=verdicts, policy=Policy(), added=(HOSTILE,), notes=(HOSTILE,))


def test_the_table_is_this(comparison: Comparison) -> None:
    """Failed, skipped and missing cells come first; scores are in points."""
    assert as_table(comparison) == TABLE
    assert str(shown(comparison)) == repr(shown(comparison)) == TABLE


def test_who_is_behind_a_drop_is_named(comparison: Comparison) -> None:
    """Those who lost most first: identities, cameras, attacks."""
    text = as_table(comparison, with_explanation=True)
    assert (
        "Behind mAP_attacked of osnet -> osnet-v2 on mini, -5.00 points in 1 comparison:\n"
        "  identities: 40 -14.00 (93%), 7 -1.00 (7%)\n"
        "  cameras: 2 -6.67 (67%), 1 -3.33 (33%)\n"
        "  attacks: ama-ifgsm -5.00 (100%)\n"
    ) in text
    found = json.loads(as_json(comparison, with_explanation=True))["explanations"]
    assert [share["label"] for share in found[0]["identities"]] == ["40", "7"]
    assert "identities: 40 -14.00" in as_junit(comparison, with_explanation=True)
    assert "40 -14.00" in as_markdown(comparison, with_explanation=True)


def check_junit(text: str, comparison: Comparison) -> None:
    """It is XML whose counts are those of its elements, which say of every verdict what it is."""
    root = ET.fromstring(text)  # noqa: S314 (our own output)
    cases = list(root.iter("testcase"))
    expected = {"worse": "failure", "cannot tell": "skipped", "better": None, "same": None}
    kinds = sorted(str(expected.get(verdict.word, "error")) for verdict in comparison.verdicts)
    tags = ("failure", "error", "skipped")
    found = sorted(str(next((child.tag for child in case if child.tag in tags), None)) for case in cases)
    assert found == kinds
    for element in (root, root[0]):
        assert element.get("tests") == str(len(cases))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(attribute) == str(found.count(tag))


def test_junit_fails_what_is_worse(comparison: Comparison) -> None:
    """Failed, missing and not comparable are errors, cannot tell is skipped, or an error for a strict gate."""
    check_junit(as_junit(comparison), comparison)
    strict = Comparison(verdicts=comparison.verdicts, policy=Policy(strict=True))
    assert as_junit(strict).count("<error") == as_junit(comparison).count("<error") + 1


def test_junit_that_swallows_a_failure_is_found(comparison: Comparison) -> None:
    """A report that calls a failed cell skipped does not pass the same check."""
    swallowed = as_junit(comparison).replace("<error", "<skipped").replace("</error", "</skipped")
    with pytest.raises(AssertionError):
        check_junit(swallowed, comparison)


def test_json_holds_every_verdict(comparison: Comparison) -> None:
    """Scores as fractions, and what follows."""
    found = json.loads(as_json(comparison))
    assert (found["exit_code"], found["counts"]["failed"], len(found["verdicts"])) == (6, 2, 8)
    worse = next(verdict for verdict in found["verdicts"] if verdict["word"] == "worse")
    assert (worse["base"], worse["new"], worse["drop"]) == pytest.approx((0.5, 0.45, 0.05))
    assert found["policy"] == {"metrics": list(Policy().metrics), "max_drop": 1.0, "strict": False, "rules": []}


class _Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_hostile_name_stays_text() -> None:
    """No format lets it be an element, a column, a line, a mention, a link or a command to a terminal."""
    page = _Elements()
    page.feed(shown(hostile())._repr_html_())
    assert page.tags == {"table", "tr", "th", "td", "p"}
    assert "<script>alert(1)</script>" in page.text
    markdown = as_markdown(hostile(), with_explanation=True)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert (len(rows), {row.count("|") for row in rows}) == (4, {11})
    assert [part for part in ("<script", "*b*", "`c`", "[l]", "@team", "\n# h") if part in markdown] == []
    check_junit(as_junit(hostile(), with_explanation=True), hostile())
    json.loads(as_json(hostile(), with_explanation=True))
    for name, write in FORMATS.items():
        text = write(hostile(), with_explanation=True)
        assert not {"\x1b", "\x00", "\u202e", "\ufffe"} & set(text), name
    assert len(as_table(hostile()).splitlines()) == 9


def test_a_first_run_says_what_it_wrote() -> None:
    """In every format, with exit code 0."""
    first = Comparison(verdicts=(), policy=Policy(), added=("a", "b"), wrote=Path("base.parquet"))
    assert as_table(first) == "There was no baseline: 'base.parquet' holds 2 cells of NEW now."
    assert first.exit_code() == 0
    for name, write in FORMATS.items():
        assert "base.parquet" in write(first) or name == "junit"
    check_junit(as_junit(first), first)


def test_nothing_compared_is_an_error() -> None:
    """Two sides that share nothing do not pass, in JUnit neither."""
    empty = Comparison(verdicts=(), policy=Policy(), notes=("Nothing was compared.",))
    assert empty.exit_code() == 6
    assert ET.fromstring(as_junit(empty)).get("errors") == "1"  # noqa: S314 (our own output)
    assert as_table(empty).startswith("Nothing was compared.")
