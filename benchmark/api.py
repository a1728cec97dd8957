"""RobustReID from Python: `run` a grid, `load` its rows, `evaluate` one model under one attack."""

from __future__ import annotations

import copy
import html
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import UserError
from ..models.registry import nearest
from .runtime import Settings, quiet_threads

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from .runner.run import Summary


def run(grid: str | Path, out: str | Path | None = None, **settings: Any) -> Summary:
    """Run a grid file (or a shipped grid by name) into a run directory; what stands there is not run again.

    Args:
        grid: path or name.
        out: the run directory; `runs/<name of the grid>` by default.
        **settings: fields of `robustreid.benchmark.runtime.Settings`, such as device="cuda" or batch_size=64.

    Raises:
        UserError: the request is wrong; its sentence says what to do.
    """
    quiet_threads()
    from .config.grid import load_grid
    from .progress import reporting
    from .runner.run import run_grid

    loaded = load_grid(grid)
    with reporting() as reporter:
        return run_grid(loaded, Path(out) if out else Path("runs") / loaded.name, Settings(**settings), reporter)


def load(path: str | Path, *, all: bool = False) -> pd.DataFrame:  # noqa: A002 (the word of the contract)
    """The rows of a run directory as a table: those of its current grid, or with `all` every row that stands."""
    from .store.directory import RunDirectory

    return RunDirectory(Path(path)).load(every=all)


@dataclass(frozen=True)
class Evaluation:
    """One cell's row; prints as a sentence, shows as a small table in a notebook."""

    #: The row, by column.
    row: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        """Any column: `result.mAP_attacked`."""
        if name == "row" or name not in self.row:  # `row` is asked for here only while a copy is being made
            raise AttributeError(f"an evaluation has no column {name!r}")
        return self.row[name]

    def __str__(self) -> str:
        """Clean and attacked scores in one line."""
        r = self.row
        head = f"{r['model']} on {r['dataset']}, {r['attack']} at {r['epsilon_label']} ({r['side']} side)"
        pairs = [(title, before, after) for title, before, after in self._pairs() if before is not None]
        scores = ", ".join(f"{title} {100 * before:.2f} -> {100 * after:.2f}" for title, before, after in pairs)
        return f"{head}: {scores} (chance mAP {100 * r['chance_mAP']:.2f})"

    def _pairs(self) -> list[tuple[str, Any, Any]]:
        r = self.row
        if r["goal"] == "targeted":
            return [
                ("target Rank-1", r["target_rank1_clean"], r["target_rank1"]),
                ("target mAP", r["target_mAP_clean"], r["target_mAP"]),
            ]
        return [("Rank-1", r["rank1_clean"], r["rank1_attacked"]), ("mAP", r["mAP_clean"], r["mAP_attacked"])]

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{title}</th><td>{100 * before:.2f}</td><td>{100 * after:.2f}</td></tr>"
            for title, before, after in self._pairs()
        )
        caption = html.escape(str(self).partition(":")[0])
        return f"<table><caption>{caption}</caption><tr><th></th><th>clean</th><th>attacked</th></tr>{cells}</table>"


def evaluate(
    model: str | Path | Mapping[str, Any] | torch.nn.Module,
    data: str | Path | Mapping[str, Any],
    attack: str | Mapping[str, Any] = "ama-ifgsm",
    epsilon: str | float = "5/255",
    side: str = "gallery",
    *,
    out: str | Path | None = None,
    **options: Any,
) -> Evaluation:
    """Attack one model on one data set and score it.

    Args:
        model: an ONNX file, a zoo name, or an entry of a grid's `models`, such as
            {"name": "r50", "architecture": "resnet50", "weights": "r50.safetensors"}; or a module in memory that maps
            RGB images (B, 3, H, W) in [0, 1] to features (B, D), resizing and normalising included.
        data: a folder in Market-1501's layout; "synthetic", drawn people; or an entry of a grid's `datasets`.
        attack: a preset, or an entry of a grid's `attacks`.
        epsilon: the radius, such as "5/255".
        side: `query`, `gallery` or `both`.
        out: a run directory to keep and reuse; a temporary one by default. A module is known there by its printed form
            and its weights, not by its code.
        **options: other keys of a grid (goal, norm, seeds, perturb_at) or fields of `Settings` (device, batch_size).

    Raises:
        UserError: the request is wrong; its sentence says what to do.
    """
    quiet_threads()
    import torch

    from .config.grid import resolve
    from .config.reading import Document
    from .progress import Silent
    from .runner.run import run_grid

    _refuse_unknown(options)
    settings = Settings(**{key: options.pop(key) for key in list(options) if key in Settings.__dataclass_fields__})
    asked = {
        "name": "evaluate",
        "models": [{"name": "m", "plugin": _IN_MEMORY} if isinstance(model, torch.nn.Module) else _model_entry(model)],
        "datasets": [_data_entry(data)],
        "attacks": [attack],
        "epsilons": [epsilon],
        "side": side,
        **options,
    }
    import json

    document = Document(name="evaluate", text=json.dumps(asked, default=str), folder=Path.cwd(), data=asked, lines={})
    grid = resolve(document)
    for key, values in (("side", grid.sides), ("goal", grid.goals), ("seeds", grid.seeds)):
        if len(values) > 1:
            raise UserError(f"evaluate takes one cell, got {key} {list(values)}; give one, or use robustreid.run.")
    modules = {}
    if isinstance(model, torch.nn.Module):
        spec = replace(grid.models[0], label=type(model).__name__[:64], sha256=_state_sha256(model))
        # A copy: the caller's own keeps its mode and its gradients.
        grid, modules = replace(grid, models=(spec,)), {spec.label: copy.deepcopy(model)}
    with tempfile.TemporaryDirectory(prefix="robustreid-") as temporary:
        path = Path(out) if out else Path(temporary)
        run_grid(grid, path, settings, Silent(), modules)
        row = {str(column): _plain(value) for column, value in load(path).iloc[0].to_dict().items()}
    if row["status"] != "done":
        raise RuntimeError(f"the evaluation {row['status']}: {row['reason']}")
    return Evaluation(row)


#: Stands for a module that is in memory; never imported.
_IN_MEMORY = "in:memory"


def _state_sha256(module: torch.nn.Module) -> str:
    """Digest of a module's class, its parameters and its buffers."""
    import hashlib

    found = hashlib.sha256(repr(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    from .config.schema import GridFile

    taken = {"name", "models", "datasets", "attacks", "epsilons", "side"}
    known = [*(key for key in GridFile.model_fields if key not in taken), *Settings.__dataclass_fields__]
    for key in options:
        if key not in known:
            raise UserError(f"evaluate takes no option {key!r}.{nearest(key, known)} It takes: {', '.join(known)}.")


def _plain(value: Any) -> Any:
    """A list of a row as a tuple, so that results compare like any other values."""
    import numpy as np

    return tuple(value.tolist()) if isinstance(value, np.ndarray) else value


def _model_entry(model: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(model, Mapping):
        return {"name": "model", **model}
    path = Path(model)
    if path.suffix.lower() == ".onnx" or path.exists():
        return {"name": _label(path), "weights": str(path.resolve())}
    return {"name": str(model)}


def _data_entry(data: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    from .datasets.catalogue import DRAWN, FORMATS

    if isinstance(data, Mapping):
        layout = {} if data.get("name") in FORMATS else {"format": "folder"}
        return {"name": "data", **layout, **data}
    if data in DRAWN:
        return {"name": data}
    path = Path(data)
    if not path.is_dir():
        raise UserError(
            f"There is no folder {str(data)!r}; give the folder that holds query/ and bounding_box_test/, "
            f"or one of {', '.join(sorted(DRAWN))}."
        )
    return {"name": _label(path.resolve()), "format": "folder", "root": str(path.resolve())}


def _label(path: Path) -> str:
    """A file's name as a label."""
    import re

    return re.sub(r"[^A-Za-z0-9._-]", "-", path.stem)[:64] or "unnamed"
