"""Sites of runs with made-up numbers, and one browser for all tests that need it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
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
    content = {"version": 1, "cell_id": cell_id, "side": "query", "queries": queries}
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
