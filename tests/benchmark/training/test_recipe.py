"""Recipe files: what they resolve to, what decides their digest, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from robustreid import UserError
from robustreid.benchmark.training.recipe import load_recipe, shipped
from robustreid.models.training.augment import Augment

Write = Callable[..., Path]
PERTURB = "perturb: {epsilon: 4/255, steps: 2, step_size: 2/255}"


def test_a_short_recipe_has_defaults(write_recipe: Write, workshop: Path) -> None:
    """Five keys are enough."""
    recipe = load_recipe(write_recipe())
    assert recipe.name == "small"
    assert recipe.spec.input_size == (128, 64)
    assert recipe.data.root == workshop / "people"
    assert recipe.plan.optimiser == "adamw"
    assert recipe.plan.margin == 0.3
    assert recipe.perturb is None
    assert recipe.store == "float32"


def test_every_key_arrives(write_recipe: Write) -> None:
    """Sections become the plan and the adversary."""
    recipe = load_recipe(
        write_recipe(
            "metric: euclidean\nseed: 7\naverage: 0.99\nstore: float16\nprecision: bfloat16\n"
            "optimiser: {name: adam, learning_rate: 0.1, weight_decay: 0, warmup_epochs: 1}\n"
            "losses: {softmax: 0.5, label_smoothing: 0, triplet: 2, margin: soft}\n"
            "augment: {flip: false, crop: 2, erase: 0.5}\n"
            "perturb: {objective: push, epsilon: 0.02, steps: 3, step_size: 1/255, references: self, share: 0.5, "
            "preserve: 1}\n"
        )
    )
    plan = recipe.plan
    assert (plan.seed, plan.epochs, plan.identities, plan.images) == (7, 3, 3, 2)
    assert (plan.optimiser, plan.learning_rate, plan.weight_decay, plan.warmup_epochs) == ("adam", 0.1, 0, 1)
    assert (plan.softmax, plan.label_smoothing, plan.triplet, plan.margin) == (0.5, 0, 2, None)
    assert plan.augment == Augment(flip=False, crop=2, erase=0.5)
    assert (plan.share, plan.preserve, plan.average, plan.precision) == (0.5, 1, 0.99, "bfloat16")
    assert recipe.perturb is not None
    ball = recipe.perturb.ball
    assert (ball.epsilon, ball.step_size) == (Fraction(1, 50), Fraction(1, 255))
    assert (ball.steps, recipe.perturb.references, ball.seed) == (3, "self", 7)
    assert (recipe.store, recipe.spec.metric, ball.precision) == ("float16", "euclidean", "bfloat16")


def test_keys_of_defences_arrive(write_recipe: Write, tmp_path: Path) -> None:
    """Input size, rounds, the neck, a metric loss, GOAT's guides, the warm-up of the ball, people who are kept out."""
    recipe = load_recipe(
        write_recipe(
            "input_size: [64, 32]\n"
            "losses: {bnneck: true, metric: {name: CircleLoss, weight: 0.5, parameters: {m: 0.4}, miner: "
            "MultiSimilarityMiner}}\n"
            "perturb: {objective: goat, push: 2, pull: 3, epsilon: 4/255, steps: 3, step_size: 2/255, "
            "warmup_epochs: 1.5, random_start: false}\n"
            "validation: {identities: 2, seed: 3, every: 2, choose: mAP_attacked, attacks: [pgd], epsilons: [4/255], "
            "side: query}\n",
            batch="batch: {identities: 3, images: 2, rounds: 2}",
        )
    )
    assert recipe.spec.input_size == (64, 32)
    assert (recipe.plan.rounds, recipe.plan.bnneck) == (2, True)
    loss = recipe.plan.metric_loss
    assert loss is not None
    assert (loss.name, loss.weight, loss.parameters, loss.miner) == (
        "CircleLoss",
        0.5,
        {"m": 0.4},
        "MultiSimilarityMiner",
    )
    assert recipe.perturb is not None
    assert (recipe.perturb.objective, recipe.perturb.push, recipe.perturb.pull) == ("goat", 2, 3)
    assert (recipe.perturb.warmup_epochs, recipe.perturb.ball.random_start) == (1.5, False)
    assert recipe.validation is not None
    assert (recipe.validation.seed, recipe.validation.every, recipe.validation.choose) == (3, 2, "mAP_attacked")


def test_a_key_at_its_default_changes_no_digest(write_recipe: Write) -> None:
    """What is written out and what is left out are one recipe; another number is another one."""
    first = load_recipe(write_recipe()).sha256
    same = load_recipe(write_recipe("losses: {bnneck: false}", batch="batch: {identities: 3, images: 2, rounds: 1}"))
    assert same.sha256 == first
    assert load_recipe(write_recipe("losses: {bnneck: true}")).sha256 != first


def test_the_fixed_model_is_part_of_the_digest(write_recipe: Write) -> None:
    """By what it is, not by what it is called; what it cannot be attacked by in advance is refused."""
    text = "perturb: {objective: OBJECTIVE, epsilon: 4/255, steps: 1, step_size: 1/255, against: MODEL}\n"

    def digest(model: str, objective: str = "push") -> str:
        return load_recipe(write_recipe(text.replace("MODEL", model).replace("OBJECTIVE", objective))).sha256

    assert digest("tiny") != digest("tiny-robust")
    assert digest("tiny") == digest("{name: tiny}")
    with pytest.raises(UserError, match=r"perturb\.objective: Unknown objective 'goat'"):
        digest("tiny", "goat")
    with pytest.raises(UserError, match=r"perturb\.against.*'tinny'.*tiny"):
        digest("tinny")


def test_shipped_recipes_resolve() -> None:
    """Every recipe that the package brings along is a right one, under its own name."""
    drawn = [name for name in shipped() if name.startswith("tiny")]
    assert {"tiny", "tiny-goat"} <= set(drawn)
    for name in drawn:
        assert load_recipe(name).name == name


def test_shipped_recipes_of_real_people_resolve(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folders they ask for; they differ in the defence and in nothing that makes scores incomparable."""
    monkeypatch.setenv("ROBUSTREID_TEST_DATA", str(real_data))
    monkeypatch.chdir(tmp_path)
    undefended = tmp_path / "runs" / "train" / "osnet-standard" / "weights.safetensors"
    undefended.parent.mkdir(parents=True)
    undefended.write_bytes(b"not read until it is needed")
    names = [name for name in shipped() if name.startswith("osnet-")]
    recipes = [load_recipe(name) for name in names]
    assert [recipe.name for recipe in recipes] == names
    assert len(names) == 4
    first = recipes[0]
    for recipe in recipes[1:]:
        assert recipe.spec.input_size == first.spec.input_size
        assert (recipe.weights, recipe.data) == (first.weights, first.data)
        changed = {"share": 1.0, "preserve": 0.0}
        assert replace(recipe.plan, **changed) == replace(first.plan, **changed)  # type: ignore[arg-type]
        assert recipe.validation is not None
        assert recipe.validation.identities == 50


def test_the_digest_is_of_what_decides(write_recipe: Write) -> None:
    """Comments, names and the way a radius is written do not count; a number, a switch or a default that changes do."""
    first = load_recipe(write_recipe(PERTURB)).sha256
    for same in (
        write_recipe(f"# a comment\n{PERTURB}", name="name: other"),
        write_recipe(PERTURB.replace("4/255", "8/510")),
        write_recipe(f"{PERTURB}\nseed: 0\nstore: float16"),
    ):
        assert first == load_recipe(same).sha256
        assert first == load_recipe(write_recipe(PERTURB)).sha256
    others = ["", PERTURB.replace("4/255", "5/255"), f"{PERTURB}\nseed: 1", f"{PERTURB}\naugment: {{flip: false}}"]
    assert first not in {load_recipe(write_recipe(extra)).sha256 for extra in others}


@pytest.mark.parametrize(
    ("extra", "parts", "said"),
    [
        ("lossses: {}", {}, "recipe.yml:6: lossses: unknown key 'lossses'. Did you mean 'losses'?"),
        ("losses: {sofmax: 1}", {}, "recipe.yml:6: losses.sofmax: unknown key 'sofmax'. Did you mean 'softmax'?"),
        ("optimiser: {learning_rate: -1}", {}, "6: optimiser.learning_rate: expected a number above 0, got -1."),
        ("optimiser: {name: sgd}", {}, "6: optimiser.name: expected one of adam, adamw, got 'sgd'."),
        ("losses: {margin: sof}", {}, "6: losses.margin: expected a number from 0, or soft, got 'sof'."),
        ("losses: {softmax: 0, triplet: 0}", {}, "6: losses: all weights are 0; expected one above 0."),
        ("augment: {flip: 3}", {}, "6: augment.flip: expected true or false, got 3."),
        ("average: 1", {}, "6: average: expected a number between 0 and 1, such as 0.999, got 1."),
        ("perturb: {steps: 2, step_size: 1/255}", {}, "6: perturb: the key 'epsilon' is missing; add it."),
        (PERTURB.replace("4/255", "4"), {}, "6: perturb.epsilon: epsilon '4' is ambiguous"),
        ("perturb: {objective: puhs, epsilon: 1/255, steps: 1, step_size: 1/255}", {}, "Did you mean 'push'?"),
        (PERTURB.replace("{", "{push: 2, "), {}, "6: perturb.push: it has no effect without `objective: goat`"),
        (PERTURB.replace("{", "{objective: goat, references: self, "), {}, "perturb.references: it has no effect"),
        (PERTURB.replace("{", "{against: tiny, warmup_epochs: 1, "), {}, "perturb.warmup_epochs: it has no effect"),
        (PERTURB.replace("{", "{objective: goat, pull: 5, "), {}, "6: perturb.pull: a batch of this recipe has 4"),
        ("", {"data": "data: {name: held-out, root: .}"}, "3: data: `held-out` is the people who are kept out"),
        ("weights: nowhere.safetensors", {}, "6: weights: The weights file"),
        ("", {"architecture": "architecture: tinnet"}, "recipe.yml:2: architecture: Unknown architecture 'tinnet'."),
        ("", {"data": "data: {name: marke1501, root: .}"}, "recipe.yml:3: data: Unknown data set 'marke1501'."),
        ("", {"data": "data: {name: market1501}"}, "3: data: Data set 'market1501' needs a `root`"),
        ("", {"data": "data: {name: mini, fromat: folder, root: .}"}, "3: data.fromat: unknown key 'fromat'."),
        ("", {"epochs": None}, "the key 'epochs' is missing; add it."),
        ("", {"epochs": "epochs: 0"}, "4: epochs: expected a whole number from 1, got 0."),
        ("", {"batch": "batch: {images: 1}"}, "5: batch.images: expected a whole number from 2, got 1."),
        ("", {"name": "name: a/b"}, "1: name: expected a name of 1 to 64 letters"),
    ],
)
def test_what_is_wrong_is_said(write_recipe: Write, extra: str, parts: dict[str, str | None], said: str) -> None:
    """Line, path, what was expected, what came, and the nearest name."""
    with pytest.raises(UserError) as raised:
        load_recipe(write_recipe(extra, **parts))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_problems_come_at_once(write_recipe: Write) -> None:
    """A line each."""
    with pytest.raises(UserError) as raised:
        load_recipe(write_recipe("seed: -1", epochs="epochs: many"))
    assert len(str(raised.value).splitlines()) == 2


def test_an_unknown_recipe_is_refused(workshop: Path) -> None:
    """A name with the nearest one, a path with what to give."""
    with pytest.raises(UserError, match=r"Unknown training recipe 'tinny'\. Did you mean 'tiny'"):
        load_recipe("tinny")
    with pytest.raises(UserError, match=r"There is no file 'none.yml'; give the path of a training recipe"):
        load_recipe("none.yml")
