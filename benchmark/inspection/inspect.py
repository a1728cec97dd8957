"""One model, looked at from all sides in about a minute."""

from __future__ import annotations

import copy
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ... import StorageError
from ...models.base import ModelSpec
from ...models.load import PLUGIN
from ...models.load import network as build_network
from ...models.stages import AUTO
from ..evaluation import RankingScores
from ..progress import Reporter, staged
from ..runner.failures import describe
from ..runner.loading import LoadedModel, Models
from ..runtime import Settings, environment, exact, kept_memory, peak_memory_bytes, pick_device
from . import contract, feeding, following
from .findings import CHECKS, Finding, Inspection
from .sample import EPSILON, FGSM, NOISE, Sample, copied_people, drawn_people, open_sample

#: Queries on which features and gradients are compared.
_COMPARED = 8
#: Images a forward that is timed, where nothing else was asked for.
_TIMED = {"cpu": 16, "cuda": 128, "mps": 32}


def inspect_model(
    spec: ModelSpec,
    root: Path | None,
    settings: Settings,
    reporter: Reporter,
    module: nn.Module | None = None,
) -> Inspection:
    """Everything that is found of a model on a few people.

    Args:
        spec: the model.
        root: a folder in Market-1501's layout, of which a few people are taken; None for drawn people.
        settings: device, batch size, workers and whether code is trusted.
        reporter: told how far it is.
        module: the network, where it is in memory already: from images (B, 3, H, W) as `spec` normalises them to
            features (B, D). It is left as it is.

    Raises:
        UserError: the request is wrong, or a plugin does not load.
        InvalidFileError: a weights file or the data set is not what it should be.
        StorageError: the file system failed.
    """
    started = time.perf_counter()
    device = pick_device(settings.device)
    with torch.random.fork_rng(devices=[]):
        network = build_network(spec, trust_code=settings.trust_code) if module is None else copy.deepcopy(module)
    with tempfile.TemporaryDirectory(prefix="robustreid-") as temporary, exact(device), kept_memory():
        folder = Path(temporary)
        request = drawn_people() if root is None else copied_people(root, folder / "people")
        inspector = _Inspector(
            spec=spec,
            # A plugin may be any callable; what follows asks for no more.
            network=cast("nn.Module", network),
            sample=open_sample(spec, request, settings, device),
            settings=settings,
            reporter=reporter,
            folder=folder / "run",
        )
        inspector.look()
    facts = environment(device)
    data = inspector.sample.data
    return Inspection(
        label=spec.label,
        architecture=spec.architecture,
        sha256=spec.sha256,
        dataset=data.label,
        n_query=len(data.query),
        n_gallery=len(data.gallery),
        device=facts.device,
        threads=facts.threads,
        torch=facts.torch,
        findings=tuple(sorted(inspector.findings, key=lambda finding: CHECKS.index(finding.name))),
        clean_mAP=inspector.clean.mAP.value if inspector.clean else None,
        chance_mAP=inspector.clean.chance_mAP if inspector.clean else None,
        noise_mAP=inspector.attacked.score(NOISE) if inspector.attacked else None,
        fgsm_mAP=inspector.attacked.score(FGSM) if inspector.attacked else None,
        epsilon=EPSILON,
        forwards_per_second=inspector.forwards,
        gradients_per_second=inspector.gradients,
        peak_memory_bytes=peak_memory_bytes(device),
        seconds=time.perf_counter() - started,
    )


@dataclass(kw_only=True)
class _Inspector:
    """Goes through the checks and keeps what they find."""

    spec: ModelSpec
    #: As its author wrote it.
    network: nn.Module
    sample: Sample
    settings: Settings
    reporter: Reporter
    #: Where the attacks may write.
    folder: Path
    findings: list[Finding] = field(default_factory=list)
    clean: RankingScores | None = None
    attacked: following.Attacked | None = None
    forwards: float | None = None
    gradients: float | None = None

    def look(self) -> None:
        """All checks; where the model gives no features the others are left out."""
        with staged(self.reporter, f"inspecting {self.spec.label}", 5) as stage:
            # What this package reads from a file it puts in evaluation mode itself.
            handed_over = contract.training_parts(self.network) if self.spec.architecture == PLUGIN else []
            model = self._model()
            before = contract.tensors(model.embedder.network)
            images = self.sample.queries(_COMPARED)[1]
            self._note("features", lambda: contract.features_and_type(model.embedder, images))
            if self._fails():
                return
            self._promises(model, images)
            stage.advance(1)
            self._costs(model)
            stage.advance(1)
            self._note("people", lambda: self._people(model, stage.advance))
            if not self._fails():
                self._note("attack", self._attack)
            stage.advance(1)
            self._note("state", lambda: [contract.state(model.embedder.network, before)])
            self._note("mode", lambda: [contract.mode(handed_over, model.embedder)])

    def _model(self) -> LoadedModel:
        device = self.sample.device
        models = Models(
            device=device,
            settings=self.settings,
            reporter=self.reporter,
            modules={self.spec.label: self.network},
            adaptive=AUTO,
        )
        return models.scored(self.spec)

    def _fails(self) -> bool:
        return any(finding.verdict == "fails" for finding in self.findings)

    def _note(self, name: str, look: Callable[[], list[Finding]]) -> None:
        """Keep what a check finds; a model that raises in it cannot be scored."""
        try:
            self.findings += look()
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever a model raises, its cells would fail)
            self.reporter.note(traceback.format_exc())
            remedy = "mend the model; its cells would fail in the same way"
            self.findings.append(Finding(name=name, verdict="fails", measured=describe(error), remedy=remedy))

    def _promises(self, model: LoadedModel, images: Tensor) -> None:
        embedder = model.embedder
        self._note("sizes", lambda: [contract.sizes(embedder, images)])
        self._note("determinism", lambda: [contract.determinism(embedder, images)])
        is_random = any(finding.flag == "randomised-features" for finding in self.findings)
        self._note("batch", lambda: [contract.batch(embedder, images, is_random=is_random)])
        self._note("inference", lambda: [contract.inference(embedder, images)])

    def _people(self, model: LoadedModel, advance: Callable[[float], None]) -> list[Finding]:
        clean = self.sample.features(model.embedder)
        queries, self.clean = self.sample.scores(clean, self.spec)
        found = [feeding.people(clean, self.clean, self.sample)]
        found.append(feeding.fed_otherwise(model.embedder, self.sample, queries))
        advance(1)
        found.append(following.gradient(model, self.sample, clean, _COMPARED))
        advance(1)
        return found

    def _attack(self) -> list[Finding]:
        if self.clean is None:
            raise ValueError("expected the clean scores before the attacked ones")
        self.attacked = following.attack(self.sample, self.network, self.folder, self.settings)
        known = [finding.flag for finding in self.findings if finding.flag is not None]
        more = following.flags_of_rows(self.attacked, known)
        return [*more, following.attacked(self.attacked, self.clean.mAP.value, self.clean.chance_mAP)]

    def _costs(self, model: LoadedModel) -> None:
        device = self.sample.device
        images = self.sample.queries(_COMPARED)[1]
        count = self.settings.batch_size or _TIMED[device.type]
        images = images.repeat(-(-count // len(images)), 1, 1, 1)[:count]
        size = f"{images.shape[2]}x{images.shape[3]}"

        def speed() -> list[Finding]:
            self.forwards = following.forwards_per_second(model, images)
            self.gradients = following.gradients_per_second(model, images)
            gradients = "no gradient" if self.gradients is None else f"{self.gradients:.1f} gradients"
            measured = f"{self.forwards:.1f} forwards and {gradients} a second, {count} images of {size} at once"
            return [Finding(name="speed", verdict="fine", measured=measured)]

        def memory() -> list[Finding]:
            kind = "GPU" if device.type == "cuda" else "process"
            measured = f"{peak_memory_bytes(device) / 2**20:,.0f} MiB at most, {kind}, data and libraries included"
            return [Finding(name="memory", verdict="fine", measured=measured)]

        self._note("speed", speed)
        self._note("memory", memory)
