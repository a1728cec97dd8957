"""The site: every page of some runs and leaderboard directories, from their rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..benchmark.progress import Reporter, Silent, staged
from ..leaderboards.entries import Entry, is_board, read_entries
from .attacks import AttackPage, make_attacks
from .boards import Board, make_boards
from .curves import attack_chart, board_charts, n_styles
from .datasets import make_data_facts
from .datatables import TARGETED, UNTARGETED, cells_table
from .drawing import Drawing, draw_chart
from .headline import draw_headline
from .merging import load_results
from .model_pages import cards, model_sections
from .naming import slug
from .pages import (
    SHARED,
    Pages,
    attack_address,
    board_address,
    counts,
    model_address,
    provenance,
    transfer_address,
    unescaped,
)
from .places import draw_places
from .protocols import base_name, protocol_facts
from .published.loading import published_for
from .ranking_pages import ranking_pages
from .rankings import ImageStore
from .reproduce import Selector
from .results import Results
from .track_pages import track_files, track_values
from .tracks import TrackBoard, entry_models, find_tracks, leading, make_track_boards, wanted_tracks
from .transfer import make_transfers
from .writing import check_target, put_in_place, static_files

#: How many cells without a score the front page lists.
_LISTED = 200
#: Entries of leaderboard directories, each with the name of its model on pages.
_Entries = Sequence[tuple[str, Entry]]


def build_site(
    directories: Sequence[Path],
    out: Path,
    reporter: Reporter | None = None,
    *,
    tracks: Sequence[Path | str] = (),
    show_faces: bool = False,
) -> Path:
    """Write the site of some run and leaderboard directories to `out`, whole or not at all.

    Args:
        directories: runs and leaderboards, in the order in which pages name them.
        out: the folder of the site.
        reporter: told how far it is.
        tracks: files of the user's own tracks, or names of such that ship; the others that ship have a page where
            rows belong to them.
        show_faces: whether ranking lists leave the heads of real people as they are: never to be published without
            the consent of everybody on them.

    Returns:
        The path of its front page.

    Raises:
        UserError: a directory is neither, a file is no track, or `out` holds something else.
        InvalidFileError: a file of a run does not read back.
        StorageError: the file system failed; what stood at `out` stands.
    """
    reporter = reporter or Silent()
    check_target(out, directories)
    asked = find_tracks(tracks)
    directories = list(dict.fromkeys(directories))
    with staged(reporter, "rows", 1):
        results = load_results(directories)
    with staged(reporter, "tracks", 1):
        wanted = wanted_tracks(results, asked)
        entries = read_entries(directories) if wanted or any(map(is_board, directories)) else ()
        models = entry_models(results, entries)
        boards = make_track_boards(wanted, entries, models)
    shown = [(models[entry.label], entry) for entry in entries if entry.label in models]
    site = _Site(results, boards, shown, show_faces=show_faces)
    with staged(reporter, "pages", site.n_pages) as stage:
        for _ in site.build():
            stage.advance(1)
    put_in_place(out, site.files)
    ranked = f" and {_several(len(boards), 'track')}" if boards else ""
    reporter.note(
        f"{_several(len(site.models), 'model')} on {_several(len(site.boards), 'board')}{ranked}, "
        f"{', '.join(f'{count} {status}' for status, count in counts(results.results)) or 'no rows'}."
    )
    return out / "index.html"


class _Site:
    """The files of a site while they are made."""

    def __init__(self, results: Results, tracks: Sequence[TrackBoard], entries: _Entries, *, show_faces: bool) -> None:
        self.results = results
        self.tracks = tuple(tracks)
        self.entries = tuple(entries)
        self.boards = make_boards(results.results)
        self.attacks = make_attacks(results.results)
        self.transfers = make_transfers(results.results)
        self.models = tuple(dict.fromkeys(result.model for result in results.results))
        self.data = make_data_facts(results, [board.track for board in self.tracks])
        self._show_faces = show_faces
        self.files: dict[str, bytes] = {}
        self._pages = Pages(self.data)
        self._images = ImageStore()
        self._selectors = [Selector(run.labels) for run in results.runs]
        self._presets = {result.attack: result.preset for result in results.results}
        self._rankings: dict[str, str] = {}

    @property
    def n_pages(self) -> int:
        """How many steps `build` has."""
        return 1 + sum(map(len, (self.tracks, self.boards, self.attacks, self.transfers, self.models)))

    def build(self) -> Iterator[None]:
        """Make every page, one a step."""
        for path, content in static_files():
            self.files[f"assets/{path}"] = content
        for index, run in enumerate(self.results.runs):
            if run.grid:
                self.files[f"grids/{index + 1}.yml"] = run.grid.encode()
        self._ranking_pages()
        for track in self.tracks:
            self._track_page(track)
            yield
        for board in self.boards:
            self._board_page(board)
            yield
        yield from self._attack_pages()
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
        found = self.results.results
        epsilons = sorted({(result.epsilon, result.epsilon_label) for result in found})
        self.files["index.html"] = self._pages.render(
            "index.html",
            root="",
            page="front",
            runs=self.results.runs,
            titles=tuple(dict.fromkeys(run.title for run in self.results.runs)),
            tracks=self.tracks,
            leading=leading(self.tracks, 2),
            boards=self.boards,
            attack_pages=self.attacks,
            transfers=self.transfers,
            models=self.models,
            results=found,
            attacks=tuple(dict.fromkeys(result.attack for result in found)),
            datasets=tuple(dict.fromkeys(result.dataset for result in found)),
            data_sets=self.data,
            protocols=protocol_facts(found),
            epsilons=tuple(label for _, label in epsilons),
            counts=counts(found),
            unplaced=self.results.unplaced,
            without_score=[result for result in found if result.status != "done"][:_LISTED],
            n_without_score=sum(result.status != "done" for result in found),
            provenance=provenance(found, SHARED),
            headline=self._headline(),
        )

    def _headline(self) -> tuple[dict[str, Any], str] | None:
        """The figure of the front page and what it shows: with intervals where there is a track."""
        for board in leading(self.tracks, 1):
            drawing = draw_places(board.standings, "headline")
            if drawing is not None:
                return self._figure(drawing, "headline"), f"{board.track.title}: scores with 95% intervals, by place"
        if not any(row.is_complete for board in self.boards for row in board.rows):
            return None
        caption = "mAP of each model before and under its worst attack, the most robust first"
        return self._figure(draw_headline(self.boards, "headline"), "headline"), caption

    def _track_page(self, board: TrackBoard) -> None:
        values = track_values(board)
        figures = [
            (self._figure(drawing, f"track-{board.stem}-{name}"), caption)
            for name, drawing, caption in values.pop("drawings")
        ]
        self.files |= track_files(board)
        self.files[board.address] = self._pages.render(
            "track.html",
            root="../",
            page="track",
            board=board,
            figures=figures,
            attacks=frozenset(self._presets.values()),
            **values,
        )

    def _board_page(self, board: Board) -> None:
        name = Path(board_address(board)).stem
        figures = [
            self._figure(draw_chart(chart, f"chart{place}"), f"{name}-{chart.panels[0].metric}")
            for place, chart in enumerate(board_charts(board))
            if chart.panels
        ]
        address = _one_up(model_address)
        everything = [*board.results, *board.targeted]
        place = (board.dataset, board.side, board.norm)
        protocols = protocol_facts(everything)
        self.files[board_address(board)] = self._pages.render(
            "board.html",
            root="../",
            page="board",
            board=board,
            protocols=protocols,
            published=published_for(base_name(facts.name) for facts in protocols),
            figures=figures,
            counts=counts(everything),
            attacks=tuple(dict.fromkeys(result.preset for result in everything)),
            transfers=[found for found in self.transfers if (found.dataset, found.side, found.norm) == place],
            cells=unescaped(cells_table(board.results, UNTARGETED, address)),
            targeted=unescaped(cells_table(board.targeted, TARGETED, address)),
            n_styles=n_styles(board),
        )

    def _attack_pages(self) -> Iterator[None]:
        for attack in self.attacks:
            self.files[attack_address(attack.name)] = self._pages.render(
                "attack.html",
                root="../",
                page="attack",
                attack=attack,
                figures=self._attack_figures(attack),
                tracks=[b for b in self.tracks if attack.name in b.standings.attacks],
                transfers=[t for t in self.transfers if attack.name in {matrix.attack for matrix in t.matrices}],
            )
            yield
        for found in self.transfers:
            self.files[transfer_address(found)] = self._pages.render(
                "transfer.html", root="../", page="transfer", transfers=found
            )
            yield

    def _attack_figures(self, attack: AttackPage) -> dict[tuple[str, tuple[str, ...]], dict[str, Any]]:
        """By variant and place, the curves of all models under it."""
        boards = {(board.dataset, board.side, board.norm): board for board in self.boards}
        drawn = [(variant.name, table) for variant in attack.variants for table in variant.tables if table.has_curve]
        found: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        for place, (name, table) in enumerate(drawn):
            drawing = draw_chart(attack_chart(boards[table.key[:3]], name), f"chart{place}")
            found[name, table.key] = self._figure(drawing, f"attack-{slug(name, *table.key)}")
        return found

    def _model_page(self, model: str) -> None:
        own = [result for result in self.results.results if result.model == model]
        sections = model_sections(model, self.boards, self.results.runs, self._rankings)
        for place, section in enumerate(sections):
            chart, name = section.pop("chart"), section.pop("figure_name")
            section["figure"] = self._figure(draw_chart(chart, f"chart{place}"), name)
        standings = [(board, row) for board in self.tracks if (row := board.standing_of(model))]
        self.files[model_address(model)] = self._pages.render(
            "model.html",
            root="../",
            page="model",
            model=model,
            cards=cards([entry for name, entry in self.entries if name == model]),
            standings=standings,
            sections=sections,
            presets=self._presets,
            counts=counts(own),
            cells=[(result, self._selectors[result.run].command(result.label)) for result in own],
            grids=sorted({result.run + 1 for result in own if self.results.runs[result.run].grid}),
            provenance=provenance(own),
        )

    def _ranking_pages(self) -> None:
        for page in ranking_pages(self.results, self._pages, self._images, show_faces=self._show_faces):
            self._rankings[page.cell_id] = page.path
            self.files[page.path] = page.content


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _one_up(address: Any) -> Any:
    return lambda name: f"../{address(name)}"
