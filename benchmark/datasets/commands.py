"""`robustreid data`: data sets and weights from outside. The work is done elsewhere; here are flags and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ... import InvalidFileError, UserError
from .asking import asked_for, of_one_set

#: What a record of `data ls` says below its first line, in this order; whatever else it says follows.
_FACTS = ("protocol", "protocols", "options", "layout", "terms", "status", "source")
_AVAILABLE = "available"


@click.group()
def data() -> None:
    """Look at data sets, and get what a benchmark needs from outside: weights of published models, by digest."""


@data.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print one array of objects, each with `name`.")
def list_sets(as_json: bool) -> None:
    """List the data sets that can be read: protocols, the layout on disk, terms of use, where to ask for them.

    Nothing is downloaded: each set comes from its authors, under their terms. A set that they have withdrawn says so.

    \b
    Examples:
      robustreid data ls
      robustreid data ls --json

    Exit codes: 0 done.
    """  # noqa: D301 (in a raw one click does not find its \b, which leaves the lines after it as they are)
    from ..commands import list_datasets, print_json

    records: list[dict[str, Any]] = [
        {**record, "status": record.get("status") or _AVAILABLE} for record in list_datasets()
    ]
    if as_json:
        print_json(records)
        return
    for record in records:
        click.echo(f"{record['name']}  {record['summary']}")
        known = [name for name in _FACTS if record.get(name)]
        others = [name for name in record if name not in {*_FACTS, "name", "summary"} and record[name]]
        for name in (*known, *others):
            value = record[name]
            text = value if isinstance(value, str) else ", ".join(map(str, value))
            click.echo(f"    {name + ':':<10} {text}")


@data.command()
@of_one_set
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def check(name: str, as_json: bool, **which: Any) -> int:
    """Check that the data set NAME is whole: counts as published, people, cameras, splits, and every image readable.

    One line a finding: ok, warning or error. Every image is decoded, training images too, and nothing is written. What
    is checked of each set: docs/datasets.md.

    \b
    Examples:
      robustreid data check market1501 --root ~/data/Market-1501-v15.09.15
      robustreid data check sysu --root ~/data/SYSU-MM01 --protocol sysu-indoor
      robustreid data check mine --format folder --root ./mine

    Exit codes: 0 no errors, 2 the request is wrong or the data is not there, 4 the set is invalid.
    """  # noqa: D301
    from ..commands import print_json
    from ..progress import reporting, staged
    from .check import check_dataset

    request, layout = asked_for(name, **which)
    if request.root is None:
        raise UserError(f"Data set {name!r} is drawn by this package, so there is nothing to check; see `data stats`.")
    with reporting() as reporter, staged(reporter, f"checking {name}", _n_files(request.root)) as stage:
        findings = check_dataset(layout, request.root, request.options, advance=stage.advance)
    if as_json:
        print_json([{"name": name, "severity": found.severity, "text": found.text} for found in findings])
    else:
        for found in findings:
            click.echo(f"{found.severity:<7}  {found.text}")
    _say_terms(layout, err=as_json)
    return InvalidFileError.exit_code if any(found.severity == "error" for found in findings) else 0


@data.command()
@of_one_set
@click.option("--json", "as_json", is_flag=True, help="Print one array with one object.")
def stats(name: str, as_json: bool, **which: Any) -> None:
    """Count what the data set NAME consists of: images, people, cameras, modalities, sizes, trials.

    People are identities other than -1 (junk) and 0 (distractors). Images a trial are what one trial of the protocol
    looks for, and among what; a protocol without trials has one, of everything.

    \b
    Examples:
      robustreid data stats synthetic
      robustreid data stats synthetic --protocol llcm-v2i -o identities=12
      robustreid data stats mine --format folder --root ./mine --json

    Exit codes: 0 done, 2 the request is wrong or the data is not there, 4 the set is invalid.
    """  # noqa: D301
    from ..commands import print_json
    from ..progress import reporting
    from .opening import open_sets
    from .statistics import statistics_of, statistics_text

    request, layout = asked_for(name, **which)
    with reporting() as reporter:
        sets, _ = open_sets([request], workers=None, reporter=reporter)
    found = statistics_of(sets[name].data, sets[name].manifest)
    if as_json:
        print_json([found])
    else:
        click.echo(statistics_text(found))
    _say_withdrawn(layout)


@data.command()
@of_one_set
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="PNG. [default: NAME-sample.png]")
@click.option("--people", type=click.IntRange(1, 200), default=8, show_default=True, help="Rows, one a person.")
@click.option("--show-faces", is_flag=True, help="Leave the heads of real people as they are.")
def sample(name: str, out: Path | None, people: int, show_faces: bool, **which: Any) -> None:
    """Draw a contact sheet of the data set NAME: a row a person, queries and then gallery, with cameras and modality.

    Always the same people. Heads of real people are blurred past recovery, unless --show-faces is given: mind the
    terms of the set, which are printed, before you show the sheet to anybody. A file that is there already is never
    overwritten.

    \b
    Examples:
      robustreid data sample synthetic --protocol sysu-all
      robustreid data sample market1501 --root ~/data/Market-1501-v15.09.15 --people 4 --out market.png

    Exit codes: 0 done, 2 the request is wrong or the data is not there, 4 the set is invalid, 74 the file system
    failed.
    """  # noqa: D301
    from ..progress import reporting, staged
    from ..store.files import write_bytes
    from .catalogue import DRAWN, open_dataset
    from .contact_sheet import contact_sheet, number_of_images

    request, layout = asked_for(name, **which)
    path = out or Path(f"{name}-sample.png")
    if path.exists():
        raise UserError(f"{str(path)!r} is there already and stays as it is; give another file with --out.")
    with reporting() as reporter:
        found = open_dataset(name, layout, request.root, request.options, reporter)
        if not (count := number_of_images(found, people)):
            raise UserError(
                f"Nobody in data set {name!r} is on both sides, so there is no row to show; check its root."
            )
        with staged(reporter, f"drawing a sheet of {name}", count) as stage:
            sheet = contact_sheet(found, people, show_faces=show_faces or layout in DRAWN, advance=stage.advance)
    write_bytes(path, sheet)
    click.echo(str(path))
    _say_terms(layout, err=True)
    _say_withdrawn(layout)


@data.command()
@click.argument("name", required=False)
@click.option(
    "--to",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to put the files; default: $ROBUSTREID_WEIGHTS, or the platform's data folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one array of objects, each with `name`.")
def weights(name: str | None, folder: Path | None, as_json: bool) -> None:
    """Fetch the published weights called NAME; without NAME, list what there is.

    A file is kept only if its digest is the published one. A download that was cut goes on where it stopped when the
    same command runs again; a right file that is there already is left alone. Without a network the message says what
    to get, from where, and where to put it.

    \b
    Examples:
      robustreid data weights
      robustreid data weights person-reidentification-retail-0288
    """  # noqa: D301 (in a raw one click does not find its \b, which leaves the lines after it as they are)
    from ...models.commands import list_zoo
    from ..commands import print_json
    from ..progress import reporting
    from ..tables import listing

    if name is None:
        records = list_zoo()
        if as_json:
            print_json(records)
        else:
            click.echo(listing(records))
        return
    from ...models.registry import unknown
    from ...models.weights.fetch import fetch
    from ...models.zoo import FOLDER_VARIABLE, ZOO, embedded_folder, folders

    if name not in ZOO:
        raise unknown("zoo model", name, ZOO)
    entry = ZOO[name]
    chosen = folders()[0] if folder is None else folder
    if entry.is_embedded:
        path = embedded_folder() / entry.file
    else:
        with reporting() as reporter:
            path = fetch(entry, chosen, start=reporter.start)
            if chosen.resolve() not in {known.resolve() for known in folders()}:
                reporter.note(f"Set {FOLDER_VARIABLE}={chosen} so that the name {name} is found there.")
    if as_json:
        print_json([{"name": name, "path": str(path), "architecture": entry.architecture}])
    else:
        click.echo(f"{name}  {path}")


def _n_files(root: Path) -> int:
    """How many images lie below a folder or beside a table, more or less: for the length of a bar."""
    import os

    from .listing import SUFFIXES

    folder = root.parent if root.is_file() else root
    return sum(name.rpartition(".")[2].lower() in SUFFIXES for _, _, names in os.walk(folder) for name in names)


def _say_terms(layout: str, *, err: bool) -> None:
    """Terms, source and status of a set, a line each."""
    from .about import ABOUT

    facts = {"status": _AVAILABLE, **ABOUT.get(layout, {})}
    for fact in ("terms", "source", "status"):
        if facts.get(fact):
            click.echo(f"{fact}: {facts[fact]}", err=err)


def _say_withdrawn(layout: str) -> None:
    """On standard error, that a set was taken back by its authors."""
    from .about import notice

    if text := notice(layout):
        click.echo(text, err=True)
