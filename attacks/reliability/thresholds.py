"""Every flag: its threshold, when it is raised, why, and what to do; pages and docs take their words from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: A random point of this L-inf ball (in [0, 1] pixel units) is what the gradient at the clean image is compared with.
PROBE = 8 / 255
#: `zero-gradient`: the norm is under this share of that at the random point, or more than that share of entries is 0.
VANISHED_NORM = 1e-4
ZERO_ENTRIES = 0.5
#: `randomised-features`, `batch-dependent-features`: by how much of its largest entry a feature may move.
MOVED = 1e-3
#: Images on which features are compared.
CHECKED_IMAGES = 16
#: `unbounded-attack-fails`: PGD with a budget of the whole pixel range.
UNBOUNDED_STEPS = 100
UNBOUNDED_IMAGES = 32
#: How often it is looked whether the goal is reached.
UNBOUNDED_EVERY = 5
#: A step in units of budget / steps, as `pgd` has it.
UNBOUNDED_STEP_RATIO = 2.5
#: What it has to come down to: chance mAP and so many points (fractions in [0, 1]).
ABOVE_CHANCE = 0.05
#: `rounding-changes-score`: mAP of 8-bit images against that of the unrounded ones.
ROUNDING = 0.01
#: Across rows: by how much of mAP a number has to be beaten.
BLACK_BOX_BETTER = 0.01
RISE = 0.01
MORE_STEPS = 0.02

#: `robustreid inspect`: `better-fed-otherwise`: by how much of a person's AP, and by how many standard errors.
FED_BETTER = 0.08
FED_ERRORS = 2.0

#: What is looked at: the model, one cell's attack, or rows side by side.
Scope = Literal["model", "cell", "rows"]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A reason to doubt a number."""

    name: str
    scope: Scope
    raised_if: str
    why: str
    what_to_do: str


def _points(share: float) -> str:
    """A fraction in [0, 1] as points.

    >>> _points(0.01), _points(0.05)
    ('1 point', '5 points')
    """
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


_ALL = (
    Flag(
        name="zero-gradient",
        scope="cell",
        raised_if=(
            f"at the clean image the gradient's norm is under {VANISHED_NORM:g} of that at a random point within "
            f"{PROBE * 255:g}/255, or more than {100 * ZERO_ENTRIES:g} % of its entries are exactly zero"
        ),
        why="an attack that follows gradients goes nowhere: a high score says nothing",
        what_to_do="let gradients pass the stage that stops them (`adaptive: {bpda: [name]}`), or attack by scores",
    ),
    Flag(
        name="hides-gradients",
        scope="model",
        raised_if=(
            "attacks pass straight through a stage of the model, and without that its gradient would be zero, as for "
            "`zero-gradient`"
        ),
        why="who follows the model's own gradient finds nothing, which is no robustness; these rows follow another",
        what_to_do="believe these rows; numbers of the model from elsewhere may be of attacks that were stopped",
    ),
    Flag(
        name="non-finite-gradient",
        scope="model",
        raised_if="a gradient of the push objective at the clean image or at a random point is NaN or infinite",
        why="no step can be taken from it; cells whose own gradient is not finite fail",
        what_to_do="look for 0/0, the square root of 0 and overflow in the model",
    ),
    Flag(
        name="randomised-features",
        scope="model",
        raised_if=f"two forwards of one batch differ by more than {MOVED:g} of the largest entry",
        why="one gradient is one draw, and a score is one draw of many",
        what_to_do="turn dropout off; where randomness is the defence, say `is_random` or `adaptive: {eot: 20}`",
    ),
    Flag(
        name="batch-dependent-features",
        scope="model",
        raised_if=f"beside other images a feature differs by more than {MOVED:g} of its largest entry",
        why="a score then depends on who shares a batch, and attacked images change each other",
        what_to_do="put batch norm in evaluation mode",
    ),
    Flag(
        name="optimises-at-inference",
        scope="model",
        raised_if="a forward without gradients runs a backward pass of its own",
        why="the gradient through an inner optimisation is seldom the gradient of what it does",
        what_to_do="declare the loop in `bpda_stages`, and attack with more steps",
    ),
    Flag(
        name="unbounded-attack-fails",
        scope="model",
        raised_if=(
            f"PGD with budget 255/255 and {UNBOUNDED_STEPS} steps on {UNBOUNDED_IMAGES} images, from the clean ones, "
            f"does not bring their mAP to chance + {_points(ABOVE_CHANCE)}"
        ),
        why="whoever may change every pixel can always win: this attack does not see the model's gradient",
        what_to_do="look for the stage that hides it; `adaptive` goes through it",
    ),
    Flag(
        name="near-chance",
        scope="model",
        raised_if=f"clean mAP on a few people is less than {_points(ABOVE_CHANCE)} above chance",
        why="where nothing is recognised there is nothing to lose: attacked scores say nothing",
        what_to_do="look at `normalise`, the order of channels, `input_size`, the weights; try people of its own kind",
    ),
    Flag(
        name="better-fed-otherwise",
        scope="model",
        raised_if=(
            f"the mean AP of a few people is higher by more than {_points(FED_BETTER)}, and by {FED_ERRORS:g} standard "
            f"errors over people, where the network is fed in another range or order of channels"
        ),
        why="the model expects another input, so every score is of a model that nobody uses",
        what_to_do="feed it as it was trained: `normalise` in a grid, `scale` and `bgr` of `from_module`",
    ),
    Flag(
        name="changes-its-state",
        scope="model",
        raised_if="a forward changes a parameter or a buffer",
        why="a score then depends on what was asked before, and an attack trains the model",
        what_to_do="put batch norm in evaluation mode; a model that adapts while it is asked cannot be compared",
    ),
    Flag(
        name="no-better-than-noise",
        scope="model",
        raised_if=(
            f"FGSM does not leave an mAP lower by more than {_points(BLACK_BOX_BETTER)} than random noise of the same "
            f"size does, and neither is near chance"
        ),
        why="the gradient knows no more than a coin: attacks that follow it say nothing",
        what_to_do="look for a stage that hides the gradient, declare it in `bpda_stages`, or attack by scores",
    ),
    Flag(
        name="projected",
        scope="cell",
        raised_if="the final projection moved an image",
        why="the optimiser left its budget; what is scored is what was put back",
        what_to_do="correct the optimiser; with an attack that has no radius, such as `CW`, it is as it should be",
    ),
    Flag(
        name="rounding-changes-score",
        scope="cell",
        raised_if=f"mAP of the 8-bit images and of the unrounded ones differ by more than {_points(ROUNDING)}",
        why="part of the effect, or of the robustness, is in fractions of a grey level",
        what_to_do="use whole epsilons and steps of 1/255",
    ),
    Flag(
        name="both-weaker-than-gallery",
        scope="cell",
        raised_if="attacking both sides leaves a higher mAP than attacking the gallery alone",
        why="the second attack undid part of the first",
        what_to_do="believe the row of the gallery alone",
    ),
    Flag(
        name="gradients-bf16",
        scope="cell",
        raised_if="gradients were computed in bf16 (`precision: fast`)",
        why="the attack may be a little weaker; scores are float32",
        what_to_do="use `precision: exact` for what is published",
    ),
    Flag(
        name="gradients-tf32",
        scope="cell",
        raised_if="gradients were computed in TF32 (`precision: fast`)",
        why="the attack may be a little weaker; scores are float32",
        what_to_do="use `precision: exact` for what is published",
    ),
    Flag(
        name="foreign-randomness",
        scope="cell",
        raised_if="an attack of torchattacks drew random numbers, one stream a batch",
        why="another batch size or order gives other images",
        what_to_do="use the attack of this package, where there is one",
    ),
    Flag(
        name="foreign-batch",
        scope="cell",
        raised_if="an attack of torchattacks lets the images of a batch decide about each other",
        why="another batch size or order gives other images",
        what_to_do="use the attack of this package, where there is one",
    ),
    Flag(
        name="foreign-untested",
        scope="cell",
        raised_if="an attack of torchattacks is not among those that are tested here",
        why="it was written for classifiers, and nobody has looked what it does to features",
        what_to_do="compare it with `pgd` before it is believed",
    ),
    Flag(
        name="fitted-for-less",
        scope="cell",
        raised_if="a universal perturbation was fitted for a smaller epsilon than the cell's",
        why="it stays as small as it was: the row understates what a perturbation of that size can do",
        what_to_do="fit one for each epsilon (`robustreid train`)",
    ),
    Flag(
        name="black-box-beats-white-box",
        scope="rows",
        raised_if=(
            f"an adversary without the model's gradients (transfer, scores, `noise`) leaves an mAP lower by more than "
            f"{_points(BLACK_BOX_BETTER)} than every one that has them, at the same epsilon"
        ),
        why="who knows more cannot be weaker: the gradients mislead",
        what_to_do="treat the white-box rows as too weak; look for a stage that hides gradients",
    ),
    Flag(
        name="score-rises-with-epsilon",
        scope="rows",
        raised_if=f"mAP is higher by more than {_points(RISE)} than at a smaller epsilon of the same attack",
        why="the larger ball holds the smaller one: the attack misses what it could have found",
        what_to_do="take more steps or restarts; believe the lower score for both",
    ),
    Flag(
        name="more-steps-help",
        scope="rows",
        raised_if=f"the same attack with twice the steps leaves an mAP lower by more than {_points(MORE_STEPS)}",
        why="the attack had not converged",
        what_to_do="double the steps until the score stays",
    ),
)

#: By name, in the order of docs/flags.md.
FLAGS: Mapping[str, Flag] = {flag.name: flag for flag in _ALL}


def words(name: str) -> str:
    """When a flag is raised, for a page; the name alone says it where an attack of others made it up."""
    return FLAGS[name].raised_if if name in FLAGS else "raised by the attack itself"
