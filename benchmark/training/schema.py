"""The keys of a training recipe, checked all at once by pydantic; what they mean together is `recipe`'s business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ... import UserError
from ...models.base import Metric
from ...models.registry import unknown
from ...models.training.metric_losses import LOSSES, MINERS
from ...models.training.plan import OptimiserName, Precision
from ..config.problems import validate
from ..config.reading import Document
from ..config.schema import Dataset, DatasetEntry, ModelEntry, Name, Radius
from .adversaries.guided import TrainReferences

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Guides = Annotated[int, Field(ge=0, le=1_000)]
_Side = Annotated[int, Field(strict=True, ge=1)]
_Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
#: Which epoch's weights are handed out: the last one's, or the best one's by a score of the people who are kept out.
Choose = Literal["last", "mAP_clean", "mAP_attacked"]


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def check_name(value: str) -> str:
        if value not in names:
            raise ValueError(str(unknown("name", value, names)))
        return value

    return check_name


def as_named(value: Any) -> Any:
    """An entry that may be given by its name alone."""
    return {"name": value} if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BatchSection(_Section):
    """P x K."""

    identities: Annotated[int, Field(ge=2, le=1_000_000)] = 16
    images: Annotated[int, Field(ge=2, le=1_000_000)] = 4
    rounds: Count = 1


class OptimiserSection(_Section):
    """How steps are taken."""

    name: OptimiserName = "adamw"
    learning_rate: _Above0 = 2e-3
    weight_decay: _Weight = 5e-4
    warmup_epochs: _Weight = 2.0


class MetricSection(_Section):
    """A loss of pytorch-metric-learning."""

    name: Annotated[str, AfterValidator(_one_of(LOSSES))]
    weight: _Above0 = 1.0
    parameters: dict[str, float | int | bool | str] = {}
    miner: Annotated[str, AfterValidator(_one_of(MINERS))] | None = None
    miner_parameters: dict[str, float | int | bool | str] = {}


class LossesSection(_Section):
    """What is minimised."""

    softmax: _Weight = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.1
    triplet: _Weight = 1.0
    margin: _Weight | Literal["soft"] = 0.3
    #: AGW's.
    weighted: _Weight = 0.0
    bnneck: bool = False
    metric: Annotated[MetricSection, BeforeValidator(as_named)] | None = None


class AugmentSection(_Section):
    """How images are changed."""

    flip: bool = True
    crop: Annotated[int, Field(ge=0, le=1_000)] = 4
    erase: _Share = 0.0
    tone: _Share = 0.0


class PerturbSection(_Section):
    """Adversarial training."""

    objective: str = "push"
    epsilon: Radius
    steps: Count
    step_size: Radius
    random_start: bool = True
    references: TrainReferences = "train"
    #: Guides, with objective `goat`.
    push: _Guides = 4
    pull: _Guides = 1
    warmup_epochs: _Weight = 0.0
    share: _Share = 1.0
    preserve: _Weight = 0.0
    #: A model as in a grid.
    against: Annotated[ModelEntry, BeforeValidator(as_named)] | None = None


class ValidationSection(BaseModel):
    """Who is kept out of training, and the grid that they are scored by while it lasts."""

    model_config = ConfigDict(extra="allow", frozen=True)

    identities: Count
    seed: Seed = 0
    every: Count = 1
    choose: Choose = "last"
    attacks: Any
    epsilons: Any
    side: Any

    @property
    def grid(self) -> dict[str, Any]:
        """The keys that are a grid's."""
        own = {"identities", "seed", "every", "choose"}
        return {key: value for key, value in self.model_dump().items() if key not in own}


class ScoresSection(BaseModel):
    """What the card says of the result: a grid without models, checked as a grid."""

    model_config = ConfigDict(extra="allow", frozen=True)

    datasets: Any
    attacks: Any
    epsilons: Any
    side: Any


class RecipeFile(_Section):
    """A whole recipe of a network."""

    #: What is made: `perturbation` has keys of its own (`universal_recipe`).
    kind: Literal["network", "perturbation"] = "network"
    name: Name
    architecture: str
    weights: str | None = None
    metric: Metric = "cosine"
    input_size: Annotated[tuple[_Side, _Side], Field(strict=False)] | None = None
    data: Dataset
    seed: Seed = 0
    epochs: Count
    batch: BatchSection = BatchSection()
    optimiser: OptimiserSection = OptimiserSection()
    losses: LossesSection = LossesSection()
    augment: AugmentSection = AugmentSection()
    perturb: PerturbSection | None = None
    average: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    precision: Precision = "float32"
    store: Literal["float32", "float16"] = "float32"
    validation: ValidationSection | None = None
    scores: ScoresSection | None = None


#: What may stand where, for the nearest name of an unknown key.
KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(RecipeFile.model_fields),
    "data": tuple(DatasetEntry.model_fields),
    "batch": tuple(BatchSection.model_fields),
    "optimiser": tuple(OptimiserSection.model_fields),
    "losses": tuple(LossesSection.model_fields),
    "metric": tuple(MetricSection.model_fields),
    "augment": tuple(AugmentSection.model_fields),
    "perturb": tuple(PerturbSection.model_fields),
    "against": tuple(ModelEntry.model_fields),
    "validation": tuple(ValidationSection.model_fields),
    "scores": tuple(ScoresSection.model_fields),
}

_SHARE, _WEIGHT = "a number in [0, 1]", "a number from 0"
_RADIUS = "a fraction such as 4/255 or a number such as 0.02"
FIXED = {
    "seed": "a whole number from 0",
    "epochs": "a whole number from 1",
    "identities": "a whole number from 2",
    "images": "a whole number from 2",
    "rounds": "a whole number from 1",
    "input_size": "two whole numbers above 0, [height, width]",
    "bnneck": "true or false",
    "random_start": "true or false",
    "push": "a whole number from 0",
    "pull": "a whole number from 0",
    "every": "a whole number from 1",
    "learning_rate": "a number above 0",
    "weight_decay": _WEIGHT,
    "warmup_epochs": _WEIGHT,
    "softmax": _WEIGHT,
    "label_smoothing": "a number in [0, 1), 1 excluded",
    "triplet": _WEIGHT,
    "margin": "a number from 0, or soft",
    "weighted": _WEIGHT,
    "flip": "true or false",
    "crop": "a whole number of pixels from 0",
    "erase": _SHARE,
    "tone": _SHARE,
    "epsilon": _RADIUS,
    "step_size": _RADIUS,
    "steps": "a whole number from 1",
    "share": _SHARE,
    "preserve": _WEIGHT,
    "average": "a number between 0 and 1, such as 0.999",
}


def check(document: Document) -> RecipeFile:
    """The document as a recipe. UserError with one line a problem, each with its line and path."""
    if not isinstance(document.data, dict):
        raise UserError(f"{document.name}:1: expected a training recipe with the keys {', '.join(KEYS[''])}.")
    return validate(document, RecipeFile, keys=KEYS, fixed=FIXED)
