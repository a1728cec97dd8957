"""Every check of a submission, in order; nothing of it is run, nothing is written, and no torch is imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from .container_rules import CONTAINER_RULES
from .content_rules import MANIFEST_RULES, WEIGHTS_RULES
from .contents import examine
from .description_rules import DESCRIPTION_RULES
from .findings import BundleError, Finding, Report
from .result_rules import RESULT_RULES
from .rules import Bundle, Rule, TrackProblems

#: All of them, in the order in which they are asked.
RULES: tuple[Rule, ...] = (*CONTAINER_RULES, *DESCRIPTION_RULES, *WEIGHTS_RULES, *MANIFEST_RULES, *RESULT_RULES)


def check_submission(
    path: Path,
    *,
    taken: Collection[str] = (),
    track_problems: TrackProblems | None = None,
    rules: Collection[Rule] = RULES,
) -> Report:
    """Everything that is wrong with a submission, and what is worth knowing of it.

    Args:
        path: a folder, or a zip, tar or tar.gz.
        taken: names of entries that stand on a board already; without the submission's own, where it replaces one.
        track_problems: given the description and the results, findings of whoever knows tracks (SUB501 and on).
        rules: those that are asked.

    Raises:
        UserError: there is nothing at `path`.
    """
    try:
        with examine(path) as examined:
            return Report(findings=tuple(_findings(Bundle(examined, taken=taken), rules, track_problems)))
    except BundleError as error:
        by_code = {rule.code: rule for rule in rules}
        faults = dict.fromkeys(error.faults)
        return Report(findings=tuple(by_code[f.code].finding(f) for f in faults if f.code in by_code))


def _findings(bundle: Bundle, rules: Collection[Rule], track_problems: TrackProblems | None) -> Iterator[Finding]:
    failed: set[str] = set()
    for rule in rules:
        if failed.intersection(rule.requires):
            failed.add(rule.code)
            continue
        found = list(rule.findings(bundle))
        if any(finding.level == "error" for finding in found):
            failed.add(rule.code)
        yield from found
    description = bundle.description
    if track_problems is not None and description is not None and not failed:
        yield from track_problems(description, bundle.results.measurements if bundle.results else ())
