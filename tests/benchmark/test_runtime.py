"""What a run switches, it switches back."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.benchmark.runtime import environment, exact, peak_memory_bytes, pick_device

if TYPE_CHECKING:
    from collections.abc import Iterator


def switches() -> tuple[bool, ...]:
    """PyTorch's own switches that decide last bits."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic)


@pytest.fixture
def users_own() -> Iterator[tuple[bool, ...]]:
    """Switches as a user may have set them in a notebook."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = switches()
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = True, True, True, False
    yield switches()
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


def test_switches_come_back(users_own: tuple[bool, ...]) -> None:
    """Inside, TF32 and the search for kernels are off; afterwards everything is as the user had it."""
    with exact(torch.device("cpu")):
        inside = switches()
    assert (inside, switches()) == ((False, False, False, True), users_own)


def test_switches_come_back_after_a_failure(users_own: tuple[bool, ...]) -> None:
    """A run that ends early leaves no switch behind."""
    with pytest.raises(UserError), exact(torch.device("cpu")):
        pick_device("gpu")
    assert switches() == users_own == (True, True, True, False)


def test_devices_by_name() -> None:
    """The CPU is always there; unknown and absent devices are told with what to do."""
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(UserError, match="Unknown device 'gpu'; expected auto, cpu, cuda, cuda:1 or mps"):
        pick_device("gpu")
    with pytest.raises(UserError, match="Unknown device 'cpu:1'"):
        pick_device("cpu:1")
    with pytest.raises(UserError, match="is not there: PyTorch sees"):
        pick_device("cuda:99")


def test_provenance_says_what_the_numbers_were_made_with() -> None:
    """Versions, device and threads, and the commit of this package's checkout where it has one."""
    facts = environment(torch.device("cpu"))
    assert (facts.torch, facts.threads) == (torch.__version__, torch.get_num_threads())
    assert facts.device.startswith("cpu: ")
    assert facts.deterministic
    assert (facts.git_commit is None) == (facts.git_dirty is None)


def test_peak_memory_is_this_process_own() -> None:
    """A small child of a process that has taken much memory does not tell its parent's peak."""
    words = "import torch; from robustreid.benchmark.runtime import peak_memory_bytes as p; "
    child = [sys.executable, "-c", f"{words}print(p(torch.device('cpu')))"]
    ballast = np.ones(2**27)  # 1 GiB
    done = subprocess.run(child, capture_output=True, text=True, check=True)
    assert 50 * 2**20 < int(done.stdout) < ballast.nbytes < peak_memory_bytes(torch.device("cpu"))
