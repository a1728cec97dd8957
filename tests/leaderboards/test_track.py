"""Tracks that ship say what they are literally, and a wrong file is refused with its place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from robustreid import UserError
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.references import data_needed
from robustreid.benchmark.evaluation import METRIC_VERSION
from robustreid.benchmark.versions import ENGINE_VERSION
from robustreid.leaderboards.track import Track, list_tracks, load_track, track_names
from robustreid.leaderboards.track_grid import grid_values, make_grid, pairs_of

SHIPPED = track_names()


def unpinned(track: Track) -> list[str]:
    """Attacks whose version or parameters are not those that the catalogue gives today."""
    wrong = []
    for attack in track.attacks:
        options = {key: value for key, value in attack.entry.items() if key != "name"}
        found = resolve_attack(attack.name, options)
        pinned = (attack.version, attack.parameters)
        if pinned != (found.version, json.dumps(found.parameters(), sort_keys=True)):
            wrong.append(attack.name)
    return wrong


def needs_of(track: Track) -> set[str]:
    """What the adversaries of a track must own."""
    found = set()
    for attack in track.attacks:
        spec = resolve_attack(attack.name, {key: value for key, value in attack.entry.items() if key != "name"})
        peers = spec.uses_references and track.side in spec.objective.peers_on
        found.add(data_needed(spec.references, track.side, uses_references=spec.uses_references, uses_peers=peers))
    return found


def is_converged(attack_name: str, parameters: str) -> bool:
    """Whether an attack belongs to those that more steps do not help."""
    return attack_name == "auto" or json.loads(parameters).get("steps", 0) in range(50, 10**6)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_track_means_what_it_says(name: str) -> None:
    """Its attacks resolve to the pinned parameters, its versions are today's, its data are what they must be."""
    track = load_track(name)
    assert unpinned(track) == []
    assert (track.metric_version, track.engine_version) == (METRIC_VERSION, ENGINE_VERSION)
    assert needs_of(track) == {track.attacker_data}
    assert any(is_converged(attack.name, attack.parameters) for attack in track.attacks)
    assert track.side != "query" or "auto" in {attack.name for attack in track.attacks}
    assert track.name == f"{track.data.name}-{track.side}-{track.threat.label.removesuffix('/255')}"


def test_another_version_would_be_noticed(tmp_path: Path) -> None:
    """The planted bug: a track that pins steps which its entry does not ask for."""
    text = (Path(load_track.__code__.co_filename).parent / "tracks" / "synthetic-query-4.yml").read_text()
    file = tmp_path / "t.yml"
    file.write_text(text.replace("rho: 0.75, steps: 50}", "rho: 0.75, steps: 20}"))
    assert unpinned(load_track(file)) == ["apgd"]


def test_three_radii_for_each_data_set_and_side() -> None:
    """2, 4 and 8 over 255, queries and galleries."""
    tracks = [load_track(name) for name in SHIPPED]
    kinds = {(track.data.name, track.side) for track in tracks}
    assert {"synthetic", "market1501"} <= {data for data, _ in kinds}
    for kind in kinds:
        radii = {track.threat.label for track in tracks if (track.data.name, track.side) == kind}
        assert radii >= {"2/255", "4/255", "8/255"}
    assert [record["name"] for record in list_tracks()] == list(SHIPPED)


def test_reading_tracks_needs_no_torch() -> None:
    """A check of a submission reads them."""
    script = (
        "import sys; from robustreid.leaderboards.track import list_tracks as ls; ls(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "a misspelt key": (lambda text: text.replace("side:", "sides:"), "unknown key 'sides'"),
    "an attack without a name": (lambda text: text.replace("{name: fna}", "{steps: 3}"), "the key 'name' is missing"),
    "a bare radius": (lambda text: text.replace("epsilon: 4/255", "epsilon: 4"), "write 4/255"),
    "a curve of a stranger": (
        lambda text: text.replace("{attack: apgd,", "{attack: pgd,"),
        "expected one of the track's",
    ),
    "an attack twice": (lambda text: text.replace("entry: {name: fna}", "entry: {name: auto}"), "share a name"),
    "a list": (lambda _: "- 1\n", "expected a track file with the keys"),
    "another AP": (lambda text: text.replace("precision: step", "precision: both"), "step, trapezoid"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_file_is_refused(case: str, tmp_path: Path) -> None:
    """With the line and the key."""
    change, words = REFUSED[case]
    text = (Path(load_track.__code__.co_filename).parent / "tracks" / "synthetic-query-4.yml").read_text()
    file = tmp_path / "track.yml"
    file.write_text(change(text))
    with pytest.raises(UserError, match=re.escape(words)) as found:
        load_track(file)
    assert "track.yml:" in str(found.value)


def test_an_unknown_name_names_the_nearest() -> None:
    """And what there is."""
    with pytest.raises(UserError, match="Did you mean 'synthetic-query-4'"):
        load_track("synthetic-querry-4")


def test_the_grid_of_a_track_runs_its_cells() -> None:
    """Every attack at the radius, the curve's attack at every radius, and nothing else."""
    from robustreid.benchmark.datasets.opening import open_sets
    from robustreid.benchmark.planner import make_plan
    from robustreid.benchmark.progress import Silent

    track = load_track("market1501-query-4")
    grid = make_grid(grid_values([track], {"name": "tiny"}, root="/nowhere"), Path())
    sets, absent = open_sets(grid.datasets, workers=None, reporter=Silent(), allow_absent=True)
    cells = make_plan(grid, sets, absent).cells
    assert {(cell.attack.name, cell.threat.label) for cell in cells} == set(pairs_of([track]))
    assert {json.dumps(cell.attack_parameters, sort_keys=True) for cell in cells} == {
        a.parameters for a in track.attacks
    }
    assert "name: market1501-query-4" in grid.text


def test_tracks_of_one_threat_share_a_grid() -> None:
    """Three radii are one run; two sides are not."""
    tracks = [load_track(f"synthetic-query-{k}") for k in (2, 4, 8)]
    values = grid_values(tracks, {"name": "m"})
    assert set(values["epsilons"]) == {"1/255", "2/255", "4/255", "8/255"}
    assert {(entry["attack"], entry["epsilon"]) for entry in values["exclude"]} == {
        (name, "1/255") for name in ("ama-ifgsm", "fna", "auto")
    }
    with pytest.raises(UserError, match="differ in side"):
        grid_values([tracks[0], load_track("synthetic-gallery-2")], {"name": "m"})
