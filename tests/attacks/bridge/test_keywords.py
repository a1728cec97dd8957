"""Keywords of foreign constructors in a grid: their types, their ranges, what they make of a cell's id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from robustreid import UserError
from robustreid.attacks.bridge.names import release
from robustreid.attacks.catalogue import resolve_attack


def test_resolved_parameters_are_complete() -> None:
    """The release, every keyword of the constructor and s, as JSON; nothing that the cell has elsewhere."""
    found = resolve_attack("torchattacks.PGD", {"steps": 7}).parameters()
    assert found == {
        "objective": "own-identity",
        "optimiser": "torchattacks.PGD",
        "torchattacks": release(),
        "alpha": "1/4 epsilon",
        "steps": 7,
        "random_start": True,
        "logit_scale": 10.0,
    }
    json.dumps(found, allow_nan=False)


def test_one_meaning_is_one_attack() -> None:
    """However it is written: defaults given or left out, whole numbers as floats, fractions."""
    plain = resolve_attack("torchattacks.APGD")
    assert plain == resolve_attack("torchattacks.APGD", {"steps": 10.0, "rho": 0.75, "loss": "ce", "logit_scale": 10})
    one, other = (resolve_attack("torchattacks.BIM", {"alpha": text}) for text in ("2/510", "1/255"))
    assert (one, one.parameters()["alpha"]) == (other, "1/255")
    assert resolve_attack("torchattacks.CW", {"c": 1}).parameters()["c"] == 1.0


def test_labels_tell_settings_apart() -> None:
    """As with presets: only what differs from the defaults."""
    assert resolve_attack("torchattacks.PGD").label == "torchattacks.PGD"
    assert resolve_attack("torchattacks.PGD", {"steps": 5}).label == "torchattacks.PGD(steps=5)"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("PGD", {"step": 3}, r"takes no parameter 'step'\. Did you mean 'steps'\? It takes: alpha, steps"),
        ("PGD", {"eps": 0.1}, r"no parameter 'eps'.*epsilon, norm and seed come from the cell\.$"),
        ("APGD", {"seed": 3}, r"no parameter 'seed'"),
        ("APGD", {"norm": "L2"}, r"no parameter 'norm'"),
        ("FAB", {"n_classes": 3}, r"no parameter 'n_classes'"),
        ("PGD", {"model": "x"}, r"no parameter 'model'"),
        ("PGD", {"references": "self"}, r"no parameter 'references'"),
        ("PGD", {"steps": 2.5}, r"steps: expected a whole number from 1 to 100000, got 2\.5\.$"),
        ("PGD", {"steps": 0}, r"steps: expected a whole number from 1"),
        ("PGD", {"steps": 10**9}, r"steps: expected a whole number from 1"),
        ("PGD", {"steps": True}, r"steps: expected a number, got True"),
        ("PGD", {"random_start": 1}, r"random_start: expected true or false, got 1"),
        ("PGD", {"alpha": 1}, r"alpha: expected a fraction such as 1/255, got 1"),
        ("PGD", {"alpha": "0"}, r"alpha: expected more than 0"),
        ("APGD", {"loss": "cw"}, r"loss: expected ce or dlr, got 'cw'"),
        ("APGD", {"rho": float("nan")}, r"rho: expected a number, got nan"),
        ("TIFGSM", {"kernel_name": "box"}, r"kernel_name: expected gaussian or linear or uniform"),
        ("PGD", {"logit_scale": 0}, r"logit_scale: expected more than 0, got 0\.0\.$"),
        ("PGD", {"logit_scale": "big"}, r"logit_scale: expected a number, got 'big'\.$"),
        ("Pixle", {}, r"cannot run here: .*square images\. docs/torchattacks\.md lists"),
    ],
)
def test_bad_values_get_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    """What was wrong, what was expected, what to do."""
    with pytest.raises(UserError, match=message) as refused:
        resolve_attack(f"torchattacks.{name}", options)
    assert f"torchattacks.{name}" in str(refused.value)
