"""The site: every page of some runs, from their rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ..benchmark.progress import Reporter, Silent, staged
from .boards import Board, BoardRow, combine, make_boards
from .cameras import camera_rows
from .curves import board_charts, model_chart, n_styles
from .datatables import TARGETED, UNTARGETED, cells_table
from .drawing import Drawing, draw_chart
from .headline import draw_headline
from .merging import load_results
from .naming import slug
from .pages import SHARED, Pages, board_address, counts, model_address, provenance, unescaped
from .rankings import MAGNIFIED, ImageStore, read_rankings
from .reproduce import Selector
from .results import Result, Results
from .writing import check_target, put_in_place

#: How many cells without a score the front page lists.
_LISTED = 200


def build_site(directories: Sequence[Path], out: Path, reporter: Reporter | None = None) -> Path:
    """Write the site of some run directories to `out`, whole or not at all.

    Returns:
        The path of its front page.

    Raises:
        UserError: a directory is no run, or `out` holds something else.
        InvalidFileError: a file of a run does not read back.
        StorageError: the file system failed; what stood at `out` stands.
    """
    reporter = reporter or Silent()
    check_target(out, directories)
    with staged(reporter, "rows", 1):
        results = load_results(list(dict.fromkeys(directories)))
    site = _Site(results)
    with staged(reporter, "pages", 1 + len(site.boards) + len(site.models)) as stage:
        for _ in site.build():
            stage.advance(1)
    put_in_place(out, site.files)
    reporter.note(
        f"{_several(len(site.models), 'model')} on {_several(len(site.boards), 'board')}, "
        f"{', '.join(f'{count} {status}' for status, count in counts(results.results)) or 'no rows'}."
    )
    return out / "index.html"


class _Site:
    """The files of a site while they are made."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.boards = make_boards(results.results)
        self.models = tuple(dict.fromkeys(result.model for result in results.results))
        self.files: dict[str, bytes] = {}
        self._pages = Pages()
        self._images = ImageStore()
        self._selectors = [Selector(run.labels) for run in results.runs]
        self._rankings: dict[str, str] = {}

    def build(self) -> Iterator[None]:
        """Make every page, one a step."""
        for path, content in _assets():
            self.files[f"assets/{path}"] = content
        for index, run in enumerate(self.results.runs):
            if run.grid:
                self.files[f"grids/{index + 1}.yml"] = run.grid.encode()
        self._ranking_pages()
        for board in self.boards:
            self._board_page(board)
            yield
        for model in self.models:
            self._model_page(model)
            yield
        self._front_page()
        yield
        self.files |= self._images.files

    def _figure(self, drawing: Drawing, name: str) -> dict[str, Any]:
        path = f"figures/{name}.svg"
        self.files[path] = f'<?xml version="1.0" encoding="UTF-8"?>\n{drawing.svg}\n'.encode()
        return {"svg": unescaped(drawing.svg), "path": path, "n_columns": drawing.n_columns}

    def _front_page(self) -> None:
        has_headline = any(row.is_complete for board in self.boards for row in board.rows)
        self.files["index.html"] = self._pages.render(
            "index.html",
            root="",
            page="front",
            runs=self.results.runs,
            boards=self.boards,
            models=self.models,
            results=self.results.results,
            attacks=tuple(dict.fromkeys(result.attack for result in self.results.results)),
            datasets=tuple(dict.fromkeys(result.dataset for result in self.results.results)),
            epsilons=tuple(
                label
                for _, label in sorted({(result.epsilon, result.epsilon_label) for result in self.results.results})
            ),
            counts=counts(self.results.results),
            unplaced=self.results.unplaced,
            without_score=[result for result in self.results.results if result.status != "done"][:_LISTED],
            n_without_score=sum(result.status != "done" for result in self.results.results),
            provenance=provenance(self.results.results, SHARED),
            headline=self._figure(draw_headline(self.boards, "headline"), "headline") if has_headline else None,
        )

    def _board_page(self, board: Board) -> None:
        name = Path(board_address(board)).stem
        figures = [
            self._figure(draw_chart(chart, f"chart{place}"), f"{name}-{chart.panels[0].metric}")
            for place, chart in enumerate(board_charts(board))
            if chart.panels
        ]
        address = _one_up(model_address)
        self.files[board_address(board)] = self._pages.render(
            "board.html",
            root="../",
            page="board",
            board=board,
            figures=figures,
            counts=counts([*board.results, *board.targeted]),
            cells=unescaped(cells_table(board.results, UNTARGETED, address)),
            targeted=unescaped(cells_table(board.targeted, TARGETED, address)),
            n_styles=n_styles(board),
        )

    def _model_page(self, model: str) -> None:
        own = [result for result in self.results.results if result.model == model]
        sections = []
        for place, board in enumerate(self.boards):
            found = [result for result in board.results if result.model == model]
            if not found:
                continue
            row = next((row for row in board.rows if row.model == model), None)
            chart = draw_chart(model_chart(board, model), f"chart{place}")
            name = f"{Path(model_address(model)).stem}-{Path(board_address(board)).stem[:40]}-{place}"
            sections.append(
                {
                    "board": board,
                    "row": row,
                    "place": 1 + board.rows.index(row) if row and row.is_complete else None,
                    "matrix": _matrix(found),
                    "figure": self._figure(chart, name),
                    "cameras": self._cameras(row),
                    "rankings": [(r, self._rankings[r.cell_id]) for r in found if r.cell_id in self._rankings],
                }
            )
        self.files[model_address(model)] = self._pages.render(
            "model.html",
            root="../",
            page="model",
            model=model,
            sections=sections,
            counts=counts(own),
            cells=[(result, self._selectors[result.run].command(result.label)) for result in own],
            grids=sorted({result.run + 1 for result in own if self.results.runs[result.run].grid}),
            provenance=provenance(own),
        )

    def _cameras(self, row: BoardRow | None) -> dict[str, Any] | None:
        if row is None or row.worst is None:
            return None
        result = row.worst.results[0]
        rows = camera_rows(self.results.runs[result.run].path, result.cell_id)
        return (
            {"attack": row.worst_attack, "seed": result.seed, "n_seeds": row.worst.n_seeds, "rows": rows}
            if rows
            else None
        )

    def _ranking_pages(self) -> None:
        for result in self.results.results:
            folder = self.results.runs[result.run].path / "images" / result.cell_id
            queries = read_rankings(folder, result.cell_id, self._images) if result.status == "done" else ()
            if not queries:
                continue
            parts = (result.model, result.dataset, result.attack, result.epsilon_label, result.side, result.cell_id)
            path = f"rankings/{slug(*parts)}.html"
            self._rankings[result.cell_id] = path
            self.files[path] = self._pages.render(
                "ranking.html", root="../", page="ranking", result=result, queries=queries, magnified=MAGNIFIED
            )


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _one_up(address: Any) -> Any:
    return lambda name: f"../{address(name)}"


def _matrix(results: Sequence[Result]) -> dict[str, Any]:
    """Attacks x epsilons of one model on one board."""
    by_pair: dict[tuple[str, float], list[Result]] = defaultdict(list)
    for result in results:
        by_pair[result.attack, result.epsilon].append(result)
    epsilons = sorted({(result.epsilon, result.epsilon_label) for result in results})
    attacks = tuple(dict.fromkeys(result.attack for result in results))
    return {
        "epsilons": [label for _, label in epsilons],
        "rows": [
            (attack, [combine(by_pair.get((attack, epsilon), [])) for epsilon, _ in epsilons]) for attack in attacks
        ],
        "clean": next((result for result in results if result.score("mAP_clean") is not None), None),
    }


def _assets() -> Iterator[tuple[str, bytes]]:
    """Path and content of every static file."""

    def walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from walk(entry, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.read_bytes()

    yield from walk(resources.files(__package__) / "static", "")
