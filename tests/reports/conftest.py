"""Sites of runs with made-up numbers, a track and its rows, and one browser for all tests that need it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from robustreid.reports.site import build_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

#: Makes a run directory: its path, then one dict a cell; what a cell leaves out is filled in.
MakeRun = Callable[..., Path]
ATTACKS = ("ama-ifgsm", "apgd")
RADII = (1, 2, 4, 8)
N_IDENTITIES = 24


@pytest.fixture(scope="session")
def sample_site(sample_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its site."""
    return build_site([sample_run], tmp_path_factory.mktemp("site") / "site").parent


@pytest.fixture(scope="session")
def ranked_run(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model attacked on its queries, with ranking lists of two queries."""
    run = make_run(tmp_path_factory.mktemp("ranked") / "run", [{"side": "query"}])
    cell_id = json.loads((run / "plan.json").read_text())["cells"][0]["cell_id"]
    write_images(run / "images" / cell_id, cell_id)
    return run


def write_images(folder: Path, cell_id: str) -> None:
    """A `rankings.json` of two queries and the images that it names, plain colours of 8 x 16 pixels."""

    def image(name: str, grey: int) -> str:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((16, 8, 3), grey, np.uint8)
        pixels[0, 0, 0] = len(name) + grey % 7
        Image.fromarray(pixels).save(folder / name)
        return name

    def entry(name: str, identity: int, *, is_match: bool) -> dict[str, Any]:
        return {
            "image_id": name,
            "identity": identity,
            "camera": 2,
            "is_match": is_match,
            "clean_file": image(f"clean/{name}", 90 + identity),
            "attacked_file": None,
        }

    queries = []
    for place in (1, 2):
        name = f"query/000{place}.png"
        after = [entry(f"gallery/{place}_{other}.png", other, is_match=other == 9) for other in range(10)]
        query = {"image_id": name, "identity": place, "camera": 1, "before": after[::-1], "after": after}
        query |= {"clean_file": image(f"clean/{name}", 100), "attacked_file": image(name, 104)}
        queries.append(query)
    content = {"version": 1, "cell_id": cell_id, "side": "query", "is_drawn": True, "queries": queries}
    (folder / "rankings.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[test]'"
    )
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium found: install chromium or google-chrome")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file; at the end no page said anything on its console or asked for anything outside its site."""
    said: list[str] = []
    contexts = []

    def opened(file: Path, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        site = (file.parent if file.name == "index.html" else file.parent.parent).resolve().as_uri()

        def requested(request: Request) -> None:
            if not request.url.startswith((site, "blob:")):
                said.append(f"asked: {request.url}")

        page.on("request", requested)
        page.goto(file.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def track_text(**changes: Any) -> str:
    """A track file about the rows that `cells_of` makes."""
    attacks = "\n".join(f"  - {{entry: {{name: {name}}}, version: 1, parameters: {{}}}}" for name in ATTACKS)
    values = {
        "name": "mini-gallery-4",
        "version": 1,
        "title": "Made-up people, gallery attacked at 4/255",
        "status": "available",
        "side": "gallery",
        "epsilon": "4/255",
        **changes,
    }
    return f"""name: {values["name"]}
version: {values["version"]}
title: "{values["title"]}"
dataset:
  entry: {{name: mini}}
  sha256: {hashlib.sha256(b"mini").hexdigest()}
  queries: 470
  gallery: 1494
  identities: {N_IDENTITIES}
  terms: research use
  source: https://example.org/mini
  status: {values["status"]}
protocol: market-v1
side: {values["side"]}
goal: untargeted
norm: linf
epsilon: {values["epsilon"]}
perturb_at: native
references: other-side
attacker_data: labelled query
precision: exact
average_precision: step
metric_version: 1
engine_version: 1
attacks:
{attacks}
curve: {{attack: apgd, epsilons: [1/255, 2/255, 4/255, 8/255]}}
"""


def cell(model: str, attack: str, k: int, kept: float, **given: Any) -> dict[str, Any]:
    """A cell whose scores are the means of its queries.

    Args:
        model: its label.
        attack: its name.
        k: epsilon in 1/255.
        kept: the share of every AP that is left at 4/255.
        given: other columns; `status` for one without a score.
    """
    if given.get("status", "done") != "done":
        return {"model": model, "attack": attack, "k": k, "n_identity": N_IDENTITIES, **given}
    queries = []
    before = 0.6 + 0.4 * np.random.default_rng([*model.encode()]).random(2 * N_IDENTITIES)
    weaker = 0.9 + 0.1 * np.random.default_rng([*model.encode(), *attack.encode()]).random(2 * N_IDENTITIES)
    for place, (clean, share) in enumerate(zip(before.tolist(), weaker.tolist(), strict=True)):
        attacked = clean * kept ** (k / 4) * share
        query: dict[str, Any] = {"query_id": f"query/{place}.png", "identity": place // 2, "camera": 1 + place % 3}
        for state, value in (("clean", clean), ("attacked", attacked)):
            query |= {f"ap_{state}": value, f"ap_trapezoid_{state}": 0.98 * value, f"inp_{state}": value / 2}
            query[f"first_rank_{state}"] = 1 if value > 0.5 else 7
        queries.append(query)
    scores = {}
    for metric, column in (("mAP", "ap"), ("mAP_trapezoid", "ap_trapezoid"), ("mINP", "inp")):
        for state in ("clean", "attacked"):
            scores[f"{metric}_{state}"] = sum(query[f"{column}_{state}"] for query in queries) / len(queries)
    for state in ("clean", "attacked"):
        scores[f"rank1_{state}"] = sum(query[f"first_rank_{state}"] == 1 for query in queries) / len(queries)
    about = {"model": model, "attack": attack, "k": k, "n_identity": N_IDENTITIES, "queries": queries}
    return {**about, **scores, **given}


def cells_of(model: str, kept: float, marked: Mapping[tuple[str, int], Mapping[str, Any]] | None = None) -> list[Any]:
    """All cells of the track for one model; `marked` by attack and k says what is otherwise."""
    found = []
    for attack, k in [(ATTACKS[0], 4), *((ATTACKS[1], k) for k in RADII)]:
        found.append(cell(model, attack, k, kept, **(marked or {}).get((attack, k), {})))
    return found


@pytest.fixture(scope="session")
def make_track(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a track file; what is given stands in place of what it says by itself."""

    def make(**changes: Any) -> Path:
        file = tmp_path_factory.mktemp("track") / f"{changes.get('name', 'mini-gallery-4')}.yml"
        file.write_text(track_text(**changes), encoding="utf-8")
        return file

    return make


@pytest.fixture(scope="session")
def track_cells() -> Callable[..., list[Any]]:
    """Gives the cells of a model on the track: label, the share that is left at 4/255, and what is otherwise."""
    return cells_of


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., dict[str, Any]]:
    """Gives one cell: label, attack, k, the share that is left at 4/255, and other columns."""
    return cell


@pytest.fixture(scope="session")
def track_run(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three complete models, one whose `ama-ifgsm` failed, and one of another engine version's place: precision."""
    cells = [*cells_of("goat", 0.7), *cells_of("metric-at", 0.67), *cells_of("plain", 0.05)]
    cells += cells_of("broken", 0.9, {("ama-ifgsm", 4): {"status": "failed", "reason": "a feature is not finite"}})
    return make_run(tmp_path_factory.mktemp("tracked") / "run", cells, name="tracked")


def write_board(folder: Path, make_run: MakeRun, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """A leaderboard directory; each entry has `cells`, and may have `card`, `provenance`, `adaptive` and `found`."""
    for name, entry in entries.items():
        place = folder / "entries" / name
        make_run(place / "results", entry["cells"], name="mini-gallery-4")
        note = {
            "provenance": entry.get("provenance", "self-reported"),
            "is_adaptively_evaluated": entry.get("adaptive", False),
            "card": entry.get("card", {}),
        }
        (place / "acceptance.json").write_text(json.dumps(note))
        for index, (finder, cells) in enumerate(entry.get("found", ())):
            digest = hashlib.sha256(f"{name} {index}".encode()).hexdigest()[:16]
            make_run(folder / "found" / digest, cells, name="found")
            (folder / "found" / digest / "found.json").write_text(json.dumps({"entry": name, "finder": finder}))
    return folder


@pytest.fixture(scope="session")
def make_board(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a leaderboard directory."""
    return lambda entries: write_board(tmp_path_factory.mktemp("board") / "board", make_run, entries)


@pytest.fixture(scope="session")
def track_board(make_board: Callable[..., Path]) -> Path:
    """Two submissions: one verified, against which somebody found an attack, and one that made none for itself."""
    card = {
        "title": "ReID-Shield: <b>smooth</b> features",
        "authors": "Ada Lovelace, \u202eGrace Hopper",
        "licence": "Apache-2.0",
        "paper": "https://example.org/papers/shield.pdf",
        "code": "javascript:alert(1)",
    }
    found = [cell("shield", "images", 4, 0.4, attack_params='{"kind": "images"}')]
    shield = {"cells": cells_of("shield", 0.75), "card": card, "provenance": "sampled and verified", "adaptive": True}
    return make_board(
        {
            "reid-shield": {**shield, "found": [("Charles Babbage", found)]},
            "second-try": {"cells": cells_of("second", 0.6)},
        }
    )


@pytest.fixture(scope="session")
def track_site(
    track_board: Path, track_run: Path, make_track: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The site of the leaderboard and the run."""
    out = tmp_path_factory.mktemp("tracks") / "site"
    return build_site([track_board, track_run], out, tracks=[make_track()]).parent
