"""What the numbers are made with: device, threads, and the switches that keep a run the same every time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .. import UserError, __version__

if TYPE_CHECKING:
    import torch

    from .records import Environment

#: M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
#: Whether a `kept_memory` lasts.
_is_kept = False

#: Images a forward takes at once where nothing else was asked for.
BATCH_SIZES = {"cpu": 32, "cuda": 256, "mps": 64}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is done; none of it decides what a cell's numbers mean."""

    device: str = "auto"
    batch_size: int | None = None
    #: What gradients are computed in where the grid says `precision: fast`: auto, bf16, tf32 or float32.
    fast_with: str = "auto"
    #: Compile the model whose gradients `precision: fast` follows.
    compile: bool = False
    #: Threads that read and decode images; None is one a core, at most 8.
    workers: int | None = None
    #: `never`, `failed` or `always`: which cells that stand are run again.
    again: str = "never"
    #: How many attacked images to keep a cell and side, and of how many people the ranking lists.
    keep_images: int = 0
    #: Only of cells whose label this expression matches.
    keep_images_of: str | None = None
    trust_code: bool = False
    #: Only cells whose label this expression matches.
    select: str | None = None
    #: At most so many cells.
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.keep_images_of is not None and not self.keep_images:
            raise UserError("--keep-images-of says of which cells; add --keep-images N to say how many images.")


def quiet_threads() -> None:
    """Let idle threads sleep instead of spinning: on a shared machine several times faster.

    OpenMP reads this once, so it has to come before the first `import torch`; a value of the user's own stands.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def kept_memory() -> Iterator[None]:
    """While this lasts the C library keeps what is freed: it maps and clears every tensor above 32 MiB anew otherwise.

    About 7 % of the time of a ResNet-50 gradient in batches of 32 on a CPU. Afterwards large blocks are mapped again,
    and what was kept goes back to the system. Does nothing where the library is not glibc, or within another of these.
    """
    import ctypes

    global _is_kept  # noqa: PLW0603 (the C library's own switch is one of the process)
    if _is_kept:
        yield
        return

    library = None
    with suppress(OSError, AttributeError, TypeError):
        if platform.libc_ver()[0] == "glibc":
            library = ctypes.CDLL(None)
    if library is None:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, 2**30)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    _is_kept = True
    try:
        yield
    finally:
        _is_kept = False
        # Where both come to rest by themselves in a process that frees large blocks.
        library.mallopt(_MMAP_THRESHOLD, 2**25)
        library.mallopt(_TRIM_THRESHOLD, 2**26)
        library.malloc_trim(0)


def pick_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda`, `cuda:1` or `mps`. UserError where there is none of that kind."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in BATCH_SIZES or (index and (kind != "cuda" or not index.isdigit())):
        raise UserError(f"Unknown device {name!r}; expected auto, cpu, cuda, cuda:1 or mps.")
    if kind == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= n_devices:
            raise UserError(f"Device {name!r} is not there: PyTorch sees {n_devices} CUDA devices; use --device cpu.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("Device 'mps' is not there: PyTorch sees no Apple GPU; use --device cpu.")
    return torch.device(name)


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """IEEE float32 and the same kernels every time, while this lasts: a notebook's own switches come back."""
    import torch

    # These switches rather than `fp32_precision`: after that one, `torch.backends.cudnn.flags` raises.
    matmul, was_tf32 = torch.backends.cuda.matmul, torch.backends.cuda.matmul.allow_tf32
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        matmul.allow_tf32 = False
        if device.type == "cuda":
            # Resizing has no deterministic gradient kernel unless this asks for one; what has none only warns.
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
        try:
            yield
        finally:
            matmul.allow_tf32 = was_tf32
            torch.use_deterministic_algorithms(mode=was_deterministic, warn_only=was_warning)


def environment(device: torch.device) -> Environment:
    """What goes into every row's provenance."""
    import torch

    from .records import Environment

    commit, dirty = _checkout()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return Environment(
        tool_version=__version__,
        git_commit=commit,
        git_dirty=dirty,
        python=platform.python_version(),
        torch=torch.__version__,
        device=f"{device.type}: {name}",
        threads=torch.get_num_threads(),
        deterministic=device.type == "cpu",
    )


@cache
def _checkout() -> tuple[str | None, bool | None]:
    """Commit and dirty bit of this package's own checkout, never of the user's."""
    package = Path(__file__).resolve().parent.parent
    if not (package / ".git").exists():
        return None, None
    try:
        commit = _git(package, "rev-parse", "HEAD").strip()
        return commit, bool(_git(package, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(package: Path, *words: str) -> str:
    # Inside a hook of the user's, GIT_DIR names the user's repository; and reading must not take the index's lock.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(package), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20, env=own).stdout  # noqa: S603


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory so far: of the GPU, or of this process."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        # Linux: `getrusage` would also tell the memory of whoever started this process.
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
