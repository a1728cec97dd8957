"""RobustReID: how robust is a person re-identification model, measured.

`robustreid.evaluate`, `run`, `load` and `compare` are handed out lazily, so importing the package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .benchmark.api import evaluate, load, run
    from .reports.comparing import compare

__version__ = "0.1.0"

__all__ = ["InvalidFileError", "StorageError", "UserError", "__version__", "compare", "evaluate", "load", "run"]

_LAZY = {
    "compare": "reports.comparing",
    "evaluate": "benchmark.api",
    "load": "benchmark.api",
    "run": "benchmark.api",
}


class UserError(Exception):
    """What the user can mend: one sentence saying what was wrong, what was expected and what to do."""

    #: What the command line exits with (docs/exit-codes.md).
    exit_code: ClassVar[int] = 2


class InvalidFileError(UserError):
    """A submission, result file, data set or weights file that is not what it should be."""

    exit_code = 4


class StorageError(UserError):
    """The file system failed (disk full, read-only); what was finished stands."""

    exit_code = 74


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
