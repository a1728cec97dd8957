"""`robustreid data`: what a benchmark needs from outside. The work is done elsewhere; here are flags and output."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Get what a benchmark needs and this package does not bring: weights of published models, by name and digest."""


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
