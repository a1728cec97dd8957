"""Every name of the package's public list: resolved, constructed, listed, documented; no other name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchattacks
from robustreid import UserError
from robustreid.attacks.bridge.foreign import FLAG_UNTESTED, Foreign, constructor
from robustreid.attacks.bridge.names import FACTS, facts, list_foreign, public_names
from robustreid.attacks.catalogue import resolve_attack
from torch.utils.data import DataLoader, TensorDataset

SUPPORTED = {"FGSM", "BIM", "PGD", "MIFGSM", "NIFGSM", "DIFGSM", "TIFGSM", "VMIFGSM", "APGD", "Square", "CW"}
#: What release 3.5.1 has beside those of 3.3.0.
LATER = {"SPSA", "JSMA", "EADL1", "EADEN", "PIFGSM", "PIFGSMPP"}
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "torchattacks.md"


def test_the_public_list_is_the_packages_own() -> None:
    """Read without importing it, and every name on it is known; the further ones belong to a later release."""
    assert list(public_names()) == torchattacks.__all__
    assert set(FACTS) - LATER <= set(torchattacks.__all__) <= set(FACTS)
    assert {name for name, fact in FACTS.items() if fact.status == "supported"} == SUPPORTED


def test_listing_does_not_import_the_package() -> None:
    """`robustreid ls attacks` has nothing to wait for."""
    script = (
        "import sys\nfrom robustreid.attacks.commands import list_attacks\nnames = list_attacks()\n"
        "print('torchattacks' in sys.modules, any(each['name'] == 'torchattacks.PGD' for each in names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("name", torchattacks.__all__)
def test_every_name_is_constructed_once(name: str, real32: Any, classifier_of: Callable[..., Any], ball: Any) -> None:
    """By the bridge with every keyword of its own; impossible ones are refused with the reason, and built by hand."""
    classifier, _ = classifier_of(real32)
    fact = facts(name)
    if fact.status == "impossible":
        with pytest.raises(UserError, match=r"^torchattacks\.\w+ cannot run here: ") as refused:
            resolve_attack(f"torchattacks.{name}")
        assert fact.note in str(refused.value)
        loader = DataLoader(TensorDataset(torch.zeros(2, 3, 8, 8)))
        given = {
            "MultiAttack": ([torchattacks.FGSM(classifier), torchattacks.BIM(classifier)],),
            "LGV": (classifier, loader),
        }
        built = constructor(name)(*given.get(name, (classifier,)))
    else:
        optimiser = resolve_attack(f"torchattacks.{name}").optimiser
        assert isinstance(optimiser, Foreign)
        threat = ball(fact.norms[0])
        built = optimiser.build(classifier, threat, 7)
        takes = inspect.signature(constructor(name)).parameters
        if "eps" in takes:
            assert built.eps == float(threat.epsilon)
        if "n_classes" in takes:  # some keep how many others there are
            assert 2 in (getattr(built, "n_classes", 0), getattr(built, "n_target_classes", 0) + 1)
        assert (FLAG_UNTESTED in optimiser.flags(threat)) == (name not in SUPPORTED)
    assert isinstance(built, getattr(torchattacks, name))
    assert all(not module.training for module in classifier.modules())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchattacks.PDG", "torchattacks.PGD"),
        ("torchattacks.pgd", "torchattacks.PGD"),
        ("torchattacks.attack", ""),
        ("torchattacks.__version__", ""),
        ("torchattacks.attacks.pgd.PGD", ""),
        ("torchattacks.", ""),
    ],
)
def test_no_other_name_resolves(name: str, near: str) -> None:
    """Modules, dunders and dotted paths of the package are as unknown as a slip of the pen."""
    with pytest.raises(UserError, match=r"^Unknown attack 'torchattacks\.") as refused:
        resolve_attack(name)
    assert f"Did you mean {near!r}?" in str(refused.value) if near else True


def test_a_name_of_an_unknown_release_is_untested() -> None:
    """Nothing is promised of an attack that a later release adds."""
    assert facts("Tomorrow").status == "untested"
    assert facts("Tomorrow").norms == ("linf", "l2")


def test_the_list_is_in_order_of_trust() -> None:
    """Supported names first; the others say what they are and why."""
    records = list_foreign()
    states = [record["status"] for record in records]
    assert states == sorted(states, key=["supported", "untested", "impossible"].index)
    assert {record["name"].removeprefix("torchattacks.") for record in records} == set(torchattacks.__all__)
    assert all(
        record["summary"].startswith(f"{record['status']}: ") for record in records if record["status"] != "supported"
    )


def test_the_page_has_every_name_with_its_status_and_reason() -> None:
    """One row each, those of the later release too."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = {line.split("|")[1].strip().strip("`"): line for line in lines if line.startswith("| `")}
    assert set(FACTS) <= set(rows)
    for name, fact in FACTS.items():
        assert f"| {fact.status} |" in rows[name]
        assert fact.note in rows[name]
        assert ("3.5.1" in rows[name]) == (name in LATER)
