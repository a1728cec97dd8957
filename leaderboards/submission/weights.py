"""The weights or the program of a submission, looked at without loading either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from .contents import Contents
from .findings import Fault, shown
from .limits import MAX_PROGRAM
from .tensors import check_tensors

#: Codes by what `models.program.reader` says is wrong.
_KINDS: Mapping[str, str] = {
    "damaged": "SUB206",
    "nan": "SUB205",
    "external": "SUB207",
    "operator": "SUB208",
    "function": "SUB209",
    "large": "SUB210",
}
#: What ends a zip: a program with one at its end is two files in one.
_ZIP_END, _ZIP_END_BYTES = b"PK\x05\x06", 22


def check_weights(contents: Contents, name: str) -> Iterator[Fault]:
    """All that is wrong with safetensors, or the first thing that is with a program."""
    if not name.endswith(".onnx"):
        yield from check_tensors(contents.open(name), name, contents.size(name))
        return
    n_bytes = contents.size(name)
    if n_bytes > MAX_PROGRAM:
        problem = f"has {n_bytes:,} bytes, at most {MAX_PROGRAM:,} are read of a program"
        yield Fault(code="SUB210", place=name, problem=problem)
        return
    yield from _program(contents.read(name), name)


def _program(content: bytes, name: str) -> Iterator[Fault]:
    from ...models.program.reader import ProgramError, parse_program

    if content[-_ZIP_END_BYTES:].startswith(_ZIP_END):
        yield Fault(code="SUB206", place=name, problem="has a zip at its end")
        return
    try:
        parse_program(content, Path(name))
    except ProgramError as error:
        said = str(error).removeprefix(f"The program {name!r} ")
        yield Fault(code=_KINDS[error.kind], place=name, problem=shown(said, 600))
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        # Whatever its reader stumbles over in a stranger's file is the file's fault.
        yield Fault(code="SUB206", place=name, problem=f"does not read back ({type(error).__name__})")
