"""The command `train`."""

from __future__ import annotations

from pathlib import Path

import click

from ..commands import FolderPath, print_json
from ..runtime import Settings


@click.command()
@click.argument("recipe")
@click.option("--out", type=FolderPath(), help="Folder of the training. [default: runs/train/NAME]")
@click.option("--again", is_flag=True, help="Forget what the folder holds and start from the beginning.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--workers", type=click.IntRange(1), help="Threads that decode images. [default: one a core, at most 8]")
@click.option("--half", is_flag=True, help="Store the weights in float16, as `store: float16` does.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def train(
    recipe: str, out: Path | None, again: bool, device: str, workers: int | None, half: bool, as_json: bool
) -> None:
    """Train a model by RECIPE: P x K batches, softmax and triplet losses, with an adversary where it names one.

    RECIPE is a YAML file (docs/training.md) or the name of a shipped one. The folder gets `weights.safetensors` (for
    `weights:` of a grid), `card.json`, `log.csv` and a checkpoint after every epoch, so an interrupted training goes
    on where it was: issue the same command. On a CPU the weights are then the same, bit for bit.

    \b
    Examples:
      robustreid train tiny
      robustreid train recipe.yml --out runs/train/mine --device cuda

    Exit codes: 0 done, 2 the request is wrong or the training diverged, 4 a data set or weights file is invalid,
    74 the file system failed, 130 interrupted.
    """  # noqa: D301
    from dataclasses import replace

    from ..progress import reporting
    from .recipe import load_recipe
    from .train import train_recipe

    loaded = load_recipe(recipe)
    if half:
        loaded = replace(loaded, store="float16")
    path = out or Path("runs") / "train" / loaded.name
    with reporting() as reporter:
        trained = train_recipe(loaded, path, Settings(device=device, workers=workers), reporter, again=again)
    if as_json:
        print_json(trained.card)
    else:
        click.echo(str(trained.directory.weights))
    said = "stands already; nothing to do" if trained.stood else f"trained for {loaded.plan.epochs} epochs"
    click.echo(f"{path}: {said}.", err=True)
