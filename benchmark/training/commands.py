"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import UserError
from ..commands import FolderPath, print_json
from ..runtime import Settings

if TYPE_CHECKING:
    from ..config.reading import Document
    from ..progress import Reporter


@click.command()
@click.argument("recipe")
@click.option("--out", type=FolderPath(), help="Folder of the training. [default: runs/train/NAME]")
@click.option("--again", is_flag=True, help="Forget what the folder holds and start from the beginning.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--workers", type=click.IntRange(1), help="Threads that decode images. [default: one a core, at most 8]")
@click.option("--compile", is_flag=True, help="Compile the network's passes: a minute at first, then faster on a GPU.")
@click.option("--half", is_flag=True, help="Store the weights in float16, as `store: float16` does.")
@click.option("--trust-code", is_flag=True, help="Run plug-in code named in the recipe, with your rights.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def train(recipe: str, out: Path | None, half: bool, as_json: bool, again: bool, **settings: Any) -> None:
    """Train a model by RECIPE: P x K batches, softmax and triplet losses, with an adversary where it names one.

    RECIPE is a YAML file (docs/training.md) or the name of a shipped one. The folder gets `weights.safetensors` (for
    `weights:` of a grid), `card.json`, `log.csv`, a figure of it (`training.svg`) and a checkpoint after every epoch,
    so an interrupted training goes on where it was: issue the same command. On a CPU the weights are then the same, bit
    for bit.

    A recipe of `kind: perturbation` (docs/universal.md) fits a universal perturbation to a model instead and leaves
    `perturbation.safetensors`, for `perturbation:` of an attack in a grid.

    \b
    Examples:
      robustreid train tiny
      robustreid train recipe.yml --out runs/train/mine --device cuda
      robustreid train tiny-muap

    Exit codes: 0 done, 2 the request is wrong or the training diverged, 4 a data set or weights file is invalid,
    74 the file system failed, 130 interrupted.
    """  # noqa: D301
    from ..progress import reporting
    from .recipe import is_perturbation, read_recipe

    document, how = read_recipe(recipe), Settings(**settings)
    work = _fitted if is_perturbation(document) else _trained
    with reporting() as reporter:
        card, file, said = work(document, out, half, again, how, reporter)
    if as_json:
        print_json(card)
    else:
        click.echo(str(file))
    click.echo(f"{file.parent}: {said}.", err=True)


def _trained(
    document: Document, out: Path | None, half: bool, again: bool, settings: Settings, reporter: Reporter
) -> tuple[dict[str, Any], Path, str]:
    from dataclasses import replace

    from ...models.registry import load_reference
    from .recipe import resolve
    from .train import train_recipe

    recipe = resolve(document)
    if half:
        recipe = replace(recipe, store="float16")
    # By its name: this floor knows no figure.
    draw = load_reference("robustreid.reports.training:plot_training")
    found = train_recipe(recipe, out or _folder(recipe.name), settings, reporter, again=again, draw=draw)
    return found.card, found.directory.weights, _said(found.stood, f"trained for {recipe.plan.epochs} epochs")


def _fitted(
    document: Document, out: Path | None, half: bool, again: bool, settings: Settings, reporter: Reporter
) -> tuple[dict[str, Any], Path, str]:
    from .universal import fit_recipe
    from .universal_recipe import resolve_perturbation

    if half or settings.compile:
        raise UserError("--half and --compile are for networks; leave them out where a perturbation is fitted.")
    recipe = resolve_perturbation(document)
    found = fit_recipe(recipe, out or _folder(recipe.name), settings, reporter, again=again)
    return found.card, found.directory.weights, _said(found.stood, f"fitted for {recipe.epochs} epochs")


def _folder(name: str) -> Path:
    return Path("runs") / "train" / name


def _said(stood: bool, done: str) -> str:
    return "stands already; nothing to do" if stood else done
