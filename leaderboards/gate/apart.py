"""A baseline of unknown origin is opened in a process of its own, so that no file can end this one. No torch.

A crafted parquet file can make the library that reads it abort, or ask for all memory there is. So another process
reads it first, with limits on time and memory; what that one lived through is read here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from ... import InvalidFileError
from ..measurements import Measurement
from .stored import decode

#: Seconds, and bytes beyond what the process has when it starts (where the system knows such a limit).
MAX_SECONDS = 120
MAX_MEMORY = 4 * 2**30

_CODE = f"from {__name__} import serve; serve()"
_REFUSED = InvalidFileError.exit_code


def decode_apart(
    content: bytes, source: Path, *, code: str = _CODE, seconds: float = MAX_SECONDS
) -> tuple[Measurement, ...]:
    """The cells of a file, as `decode` gives them, whatever the file does to its reader.

    Args:
        content: the file.
        source: what messages call it.
        code: what the process runs.
        seconds: how long it may.

    Raises:
        InvalidFileError: it is no baseline, or its reader did not survive it.
    """
    command = [sys.executable, "-P", "-c", code, str(source)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(  # noqa: S603 (our own code; the file is data on its standard input)
            command, input=content, capture_output=True, timeout=seconds, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise _fatal(source, f"reading took more than {seconds:g} s") from None
    if done.returncode == _REFUSED:
        raise InvalidFileError(done.stderr.decode("utf-8", "replace").strip())
    if done.returncode:
        raise _fatal(source, f"reading it ended with code {done.returncode}")
    return decode(content, source)


def _fatal(source: Path, what: str) -> InvalidFileError:
    return InvalidFileError(
        f"{str(source)!r} is no baseline of this tool ({what}); write it anew with `robustreid baseline save`."
    )


def serve() -> None:
    """What the process does: read a file from standard input, and say what is wrong with it."""
    _limit_memory()
    try:
        decode(sys.stdin.buffer.read(), Path(sys.argv[1]))
    except InvalidFileError as error:
        sys.stderr.buffer.write(str(error).encode())
        sys.exit(_REFUSED)


def _limit_memory() -> None:
    """Take `MAX_MEMORY` more than there is now, and no more; where a system cannot say, the file's claims must do."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MAX_MEMORY
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
