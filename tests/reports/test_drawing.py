"""Figures: the same bytes each time, nothing that a strict policy forbids, and numbers for who cannot see them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from robustreid.reports.boards import Board, make_boards
from robustreid.reports.curves import N_STYLES, board_charts
from robustreid.reports.drawing import draw_chart
from robustreid.reports.headline import draw_headline
from robustreid.reports.merging import load_results


def parsed(svg: str) -> ET.Element:
    """The figure's elements."""
    return ET.fromstring(svg)  # noqa: S314 (our own drawing)


@pytest.fixture(scope="module")
def boards(sample_run: Path) -> tuple[Board, ...]:
    """Those of the sample."""
    return make_boards(load_results([sample_run]).results)


def test_the_same_bytes(boards: tuple[Board, ...]) -> None:
    """Drawn twice, and with another style set by somebody else, every byte is the same."""
    chart = board_charts(boards[0])[0]
    first = draw_chart(chart, "a")
    with mpl.rc_context({"font.size": 22, "lines.linewidth": 9, "svg.hashsalt": None, "axes.facecolor": "red"}):
        assert draw_chart(chart, "a") == first
        assert draw_headline(boards, "h") == draw_headline(boards, "h")


def test_nothing_that_a_policy_forbids(boards: tuple[Board, ...]) -> None:
    """No style attribute or element, no script, no address but references into the figure itself."""
    for drawing in (draw_chart(board_charts(boards[0])[0], "a"), draw_headline(boards, "h")):
        root = parsed(drawing.svg)
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        for element in root.iter():
            assert element.tag.rpartition("}")[2] not in {"style", "script", "metadata", "foreignObject", "a", "image"}
            assert "style" not in element.attrib
            for key, value in element.attrib.items():
                if key.endswith("href"):
                    assert value.removeprefix("#") in ids
                assert not key.startswith("on")


def test_every_mark_says_its_numbers(boards: tuple[Board, ...]) -> None:
    """Model, attack, epsilon and both scores; a failed cell says that it failed."""
    root = parsed(draw_chart(board_charts(boards[0])[0], "a").svg)
    said = [element.get("aria-label") for element in root.iter() if element.get("class") == "mark"]
    assert len(said) == 4 * 4 * 5
    assert "tiny, fna, epsilon 4/255, failed" in said
    assert "vit.small, ama-fgsm, epsilon 4/255, skipped" in said
    assert sum("mAP" in text and "Rank-1" in text for text in said if text) == len(said) - 2


@pytest.mark.parametrize(("n_models", "n_attacks"), [(100, 1), (1, 40)])
def test_many_lines_and_many_panels(
    make_run: Callable[..., Path], tmp_path: Path, n_models: int, n_attacks: int
) -> None:
    """A hundred models: the best stand out, the legend counts the rest. Forty attacks: forty panels."""
    cells = [
        {"model": f"m{m}", "attack": f"a{a}", "k": k} for m in range(n_models) for a in range(n_attacks) for k in (2, 4)
    ]
    (board,) = make_boards(load_results([make_run(tmp_path / "run", cells)]).results)
    svg = draw_chart(board_charts(board)[0], "a").svg
    assert svg.count('class="mark"') == min(n_models, N_STYLES) * n_attacks * 3
    assert (f"{n_models - N_STYLES} more" in svg) == (n_models > N_STYLES)
    assert all(f">a{attack}</text>" in svg for attack in range(n_attacks))


def test_names_are_letters_only(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Formulas, tags, turns of direction and characters that XML lacks are drawn as text, cut where they are long."""
    names = ["$\\frac{1}{2}$", "<script>alert(1)</script>", "x" * 10_000, "\u202eabc", "a\x00b\x1b", "汉字"]
    (board,) = make_boards(load_results([make_run(tmp_path / "run", [{"model": n, "k": 4} for n in names])]).results)
    root = parsed(draw_chart(board_charts(board)[0], "a").svg)
    texts = {element.text for element in root.iter() if element.tag.endswith("}text")}
    assert {"$\\frac{1}{2}$", "<script>alert(1)</script>", "\ufffdabc", "a\ufffdb\ufffd", "汉字"} <= texts
    assert max(len(text or "") for text in texts) < 40
