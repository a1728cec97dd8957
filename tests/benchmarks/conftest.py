"""Fair comparisons: rounds of ours and of others take turns on one thread, and one table at the end names the ratios.

Times come from the timer that pytest-benchmark was given; `make bench` gives it `time.process_time`, so a loaded
machine does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
import torch
from robustreid.attacks.counts import from_counts
from robustreid.benchmark.datasets.synthetic.scene import picture
from robustreid.models.catalogue import ARCHITECTURES, INPUT_SIZES
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

Work = Callable[[], Any]


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Duel(Protocol):
    """Measures one piece of work of ours and the same work done by others, and keeps the ratios."""

    def __call__(
        self,
        ours: Work,
        peers: Mapping[str, Work],
        *,
        title: str,
        bar: float | Mapping[str, float] | None = None,
        rounds: int = 5,
        warmup_rounds: int = 1,
        count: int = 1,
        per: str = "run",
        note: str = "",
    ) -> tuple[Any, dict[str, Any]]:
        """What `ours` gave in its last round, and what each peer gave in its last.

        Where benchmarks are disabled everybody works once, nothing is timed.

        Args:
            ours: the work, as the project does it.
            peers: the same work, by who does it.
            title: what is done, for the table.
            bar: the least ratio (peer's time over ours) that counts as met, of all peers or by peer.
            rounds: how many; in each every peer works once, then we do. A ratio is the median over rounds.
            warmup_rounds: rounds before those, of everybody, that do not count.
            count: how many units of work are done; times are divided by it.
            per: what one unit is called.
            note: what a reader of the table has to know.
        """
        ...


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for PyTorch and for NumPy's products while a benchmark runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def duel(benchmark: BenchmarkFixture) -> Duel:
    """The measurement; may be used once in a test, in place of `benchmark`."""

    def measure(
        ours: Work,
        peers: Mapping[str, Work],
        *,
        title: str,
        bar: float | Mapping[str, float] | None = None,
        rounds: int = 5,
        warmup_rounds: int = 1,
        count: int = 1,
        per: str = "run",
        note: str = "",
    ) -> tuple[Any, dict[str, Any]]:
        timer = benchmark._timer
        seconds: dict[str, list[float]] = {peer: [] for peer in peers}
        found: dict[str, Any] = {}

        def peers_work() -> None:
            for peer, work in peers.items():
                started = timer()
                found[peer] = work()
                seconds[peer].append(timer() - started)

        our_own = benchmark.pedantic(  # type: ignore[no-untyped-call]
            ours, setup=peers_work, rounds=rounds, warmup_rounds=warmup_rounds
        )
        if benchmark.enabled:
            measured: Any = benchmark.stats
            mine = list(measured.stats.data)
            benchmark.extra_info["duels"] = [
                {
                    "title": title,
                    "peer": peer,
                    "ours": median(mine) / count,
                    "theirs": median(theirs[warmup_rounds:]) / count,
                    "ratios": (
                        ratios := [their / our for our, their in zip(mine, theirs[warmup_rounds:], strict=True)]
                    ),
                    "ratio": median(ratios),
                    "bar": bar.get(peer) if isinstance(bar, Mapping) else bar,
                    "per": per,
                    "note": note,
                }
                for peer, theirs in seconds.items()
            ]
        return our_own, found

    return measure


@pytest.fixture
def is_timed(benchmark: BenchmarkFixture) -> bool:
    """Whether anything is timed; where not, small sizes do."""
    return bool(benchmark.enabled)


@pytest.fixture(scope="session")
def people() -> Callable[[int, int], Tensor]:
    """A function that draws people (count, 3, 128, 64) on the 8-bit grid, each by two cameras, in one shot or another.

    They are those of the data set `synthetic` with two cameras, in its order; shot 0 is the query.
    """

    def draw(count: int, shot: int) -> Tensor:
        drawn = [picture(0, 1 + index // 2, 1 + index % 2, shot) for index in range(count)]
        return from_counts(torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous().float())

    return draw


@pytest.fixture(scope="session")
def weights(people: Callable[[int, int], Tensor], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that gives a weights file of an architecture: random, with the statistics of drawn people.

    Residual branches count little and features keep a part in common, as in a trained network. Without that a network
    is chaotic: one bit of rounding decides which way an attack goes, and no two programs could be compared.
    """
    folder = tmp_path_factory.mktemp("weights")

    def make(architecture: str) -> Path:
        path = folder / f"{architecture}.safetensors"
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                save_file(_random(architecture, people(16, 2)).state_dict(), path)
        return path

    return make


def _random(architecture: str, images: Tensor) -> nn.Module:
    network: nn.Module = ARCHITECTURES.load(architecture)().train()
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _NORMS)}
    for name, norm in norms.items():
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, std=0.1)
        if name.endswith(("bn3", "conv3.bn")):
            norm.weight.data.mul_(0.1)
    with torch.no_grad():
        network((F.interpolate(images, size=INPUT_SIZES[architecture], mode="bilinear") - 0.45) / 0.225)
    last = list(norms.values())[-1]
    if last.running_mean is not None:
        last.running_mean.mul_(0.5)
    return network


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One table of every ratio that was measured."""
    session = getattr(config, "_benchmarksession", None)
    measured = session.benchmarks if session is not None else []
    duels = [duel for found in measured for duel in found["extra_info"].get("duels", ())]
    shares = [found["extra_info"]["share"] for found in measured if "share" in found["extra_info"]]
    if duels:
        terminalreporter.section("ratios: the peer's time over ours, medians of rounds that take turns")
        head = ("what", "peer", "ours", "peer", "per", "ratio", "bar", "")
        rows = [head, *(_row(duel) for duel in duels)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            terminalreporter.write_line("  ".join(cells).rstrip())
    for share in shares:
        rates = f"{share['reached'] / 1e12:.1f} of {share['product'] / 1e12:.1f} TFLOP/s of a matrix product"
        terminalreporter.write_line(f"{share['title']}, batch {share['batch']}: {rates}, {share['share']:.0%}")


def _row(duel: Mapping[str, Any]) -> tuple[str, ...]:
    bar = duel["bar"]
    verdict = "" if bar is None else "met" if duel["ratio"] >= bar else "NOT met"
    note = f"({duel['note']})" if duel["note"] else ""
    return (
        duel["title"],
        duel["peer"],
        _time(duel["ours"]),
        _time(duel["theirs"]),
        duel["per"],
        f"{duel['ratio']:.2f}",
        "-" if bar is None else f"{bar:g}",
        " ".join(filter(None, (verdict, note))),
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
