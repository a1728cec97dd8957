"""Pages of ranking lists, one a cell whose images the run kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..benchmark.datasets.faces import HEAD
from .naming import slug
from .pages import Pages
from .rankings import MAGNIFIED, ImageStore, read_rankings
from .results import Results


@dataclass(frozen=True, kw_only=True)
class RankingPage:
    """One of them."""

    cell_id: str
    #: Relative to the site.
    path: str
    content: bytes


def ranking_pages(results: Results, pages: Pages, images: ImageStore, *, show_faces: bool) -> Iterator[RankingPage]:
    """The pages of all cells that have lists, their images put into `images`.

    Args:
        results: all of the site.
        pages: renders them.
        images: of the site.
        show_faces: whether heads of real people stay as they are.

    Raises:
        InvalidFileError: a file of lists is not what it should be.
    """
    for result in results.results:
        if result.status != "done":
            continue
        folder = results.runs[result.run].path / "images" / result.cell_id
        rankings = read_rankings(folder, result.cell_id, images, show_faces=show_faces)
        if rankings is None:
            continue
        parts = (result.model, result.dataset, result.attack, result.epsilon_label, result.side, result.cell_id)
        content = pages.render(
            "ranking.html",
            root="../",
            page="ranking",
            result=result,
            queries=rankings.queries,
            faces=rankings.faces,
            magnified=MAGNIFIED,
            head=round(100 * HEAD),
        )
        yield RankingPage(cell_id=result.cell_id, path=f"rankings/{slug(*parts)}.html", content=content)
