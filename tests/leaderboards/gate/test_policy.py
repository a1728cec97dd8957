"""Policy files: what they may say, what holds where, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from robustreid import UserError
from robustreid.leaderboards.gate.policy import DEFAULT_METRICS, Policy, Rule, overridden, read_policy

WHOLE = """\
metrics: [rank1_attacked, mAP_clean]
max_drop: 2
strict: true
rules:
  - {select: noise, gate: false}
  - {select: "square and not gallery", max_drop: 3.5}
  - {select: clean, max_drop: 0.25}
"""


def written(folder: Path, text: str) -> Path:
    """A policy file."""
    (folder / "gate.yml").write_text(text)
    return folder / "gate.yml"


def test_what_a_file_says_is_what_holds(tmp_path: Path) -> None:
    """Every key, and the rules by their labels."""
    found = read_policy(written(tmp_path, WHOLE))
    assert (found.metrics, found.max_drop, found.strict) == (("rank1_attacked", "mAP_clean"), 2, True)
    labels = ["osnet mini square linf 4/255 query", "osnet mini square linf 4/255 gallery", "osnet mini clean"]
    assert [found.max_drop_of(label) for label in labels] == [3.5, 2, 0.25]
    assert [found.gates(label) for label in ("osnet mini noise linf 4/255 query", "osnet mini clean")] == [False, True]


def test_what_a_file_leaves_out_is_the_default(tmp_path: Path) -> None:
    """An empty mapping is the policy that holds without a file."""
    assert read_policy(written(tmp_path, "{}")) == Policy()
    assert (Policy().metrics, Policy().max_drop, Policy().strict) == (DEFAULT_METRICS, 1.0, False)


def test_the_last_rule_that_matches_decides() -> None:
    """Key by key: one that says nothing of `gate` leaves that as it was."""
    rules = (
        Rule(select="pgd", max_drop=2, gate=False),
        Rule(select="osnet", max_drop=4),
        Rule(select="r50", gate=True),
    )
    policy = Policy(rules=rules)
    assert (policy.max_drop_of("osnet mini pgd"), policy.gates("osnet mini pgd")) == (4, False)
    assert (policy.max_drop_of("r50 mini pgd"), policy.gates("r50 mini pgd")) == (2, True)


def test_a_caller_has_the_last_word() -> None:
    """What is not given stays."""
    policy = Policy(metrics=("mAP_clean",), max_drop=3, strict=True)
    assert overridden(policy, max_drop=0) == Policy(metrics=("mAP_clean",), max_drop=0, strict=True)
    assert overridden(policy, strict=False, metrics=["mINP_clean"]) == Policy(metrics=("mINP_clean",), max_drop=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_dorp: 1", "gate.yml:1: max_dorp: unknown key 'max_dorp'. Did you mean 'max_drop'?"),
        ("max_drop: -1", "gate.yml:1: max_drop: expected points from 0 to 100, such as 1.0, got -1."),
        ("max_drop: .nan", "gate.yml:1: max_drop: expected points from 0 to 100, such as 1.0, got nan."),
        ("max_drop: all", "gate.yml:1: max_drop: expected points from 0 to 100, such as 1.0, got 'all'."),
        ("strict: 1", "gate.yml:1: strict: expected true or false, got 1."),
        ("metrics: [mAP_clean, mAP_drop]", "gate.yml:1: metrics: mAP_drop never gates: a model that loses clean score"),
        ("metrics: map", "gate.yml:1: metrics: 'map' is no score of single queries. Did you mean"),
        (
            "strict: true\nrules:\n  - {selct: a, gate: false}",
            "gate.yml:3: rules[0].selct: unknown key 'selct'. Did you",
        ),
        ("rules:\n  - {gate: false}", "gate.yml:2: rules[0]: the key 'select' is missing; add it."),
        ("rules:\n  - {select: 'a and', gate: false}", "gate.yml:2: rules[0].select: select 'a and' does not parse"),
        ("rules:\n  - {select: a}", "gate.yml:2: rules[0]: a rule without max_drop and gate does nothing; add one."),
        ("- 1", "gate.yml:1: expected a policy with the keys metrics, max_drop, strict, rules."),
        ("strict: true\nstrict: false", "gate.yml:2: the key 'strict' stands twice; remove one of the two."),
        ("max_drop: !!python/object:os.system 1", "gate.yml:1: YAML tags such as"),
    ],
)
def test_a_wrong_file_is_named_by_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """With the nearest key, and what was expected."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_policy("gate.yml")
    assert said in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
