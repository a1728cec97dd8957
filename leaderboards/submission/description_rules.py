"""What is asked of `submission.yaml`, and of every text that comes with a submission."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from ...benchmark.config.reading import Document, Place
from ...models.catalogue import ARCHITECTURES
from ...models.defences.catalogue import DEFENCES, DefenceError, parse_one
from ...models.registry import nearest
from .findings import Fault, shown
from .licences import LICENCES
from .lookalikes import lookalike
from .paths import DESCRIPTION
from .rules import Bundle, met, rule
from .texts import Hostility, hostility

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}")
#: Numbers of an attack that somebody else will compute: steps, restarts, samples.
_LARGEST = 10_000


@rule("SUB101")
def has_a_description(bundle: Bundle) -> Iterable[Fault]:
    """There is a `submission.yaml` at the top.

    Write one with `robustreid submit init DIR`.
    """
    if not bundle.has(DESCRIPTION) and not bundle.is_unread(DESCRIPTION):
        yield Fault(code="SUB101", place=DESCRIPTION, problem="is missing")


@rule("SUB102", requires=["SUB101"])
def is_yaml(bundle: Bundle) -> Iterable[Fault]:
    """`submission.yaml` and `results/grid.yml` are YAML in UTF-8, of at most 32 KiB, 4,000 values and 12 levels.

    Compare it with what `robustreid submit init` writes.
    """
    return met(bundle, "SUB102")


@rule("SUB103", requires=["SUB101"])
def has_no_tags(bundle: Bundle) -> Iterable[Fault]:
    """They have no YAML tags or directives, such as `!!python/object`.

    Write the plain value: a tag asks whoever reads it to build something.
    """
    return met(bundle, "SUB103")


@rule("SUB104", requires=["SUB101"])
def has_no_aliases(bundle: Bundle) -> Iterable[Fault]:
    """They have no anchors, aliases or merge keys.

    Write the value out: a few lines of aliases can mean billions of values.
    """
    return met(bundle, "SUB104")


@rule("SUB105", requires=["SUB101"])
def has_every_key_once(bundle: Bundle) -> Iterable[Fault]:
    """No key stands twice in one mapping.

    Remove one of the two.
    """
    return met(bundle, "SUB105")


@rule("SUB106", requires=["SUB101"])
def has_no_variables(bundle: Bundle) -> Iterable[Fault]:
    """`submission.yaml` names no `${VARIABLE}`.

    Write the value itself: what a variable holds on another machine is nobody's business.
    """
    return met(bundle, "SUB106")


@rule("SUB107", requires=["SUB101"])
def has_the_keys(bundle: Bundle) -> Iterable[Fault]:
    """Every key is known, and is what it should be; none is missing.

    Compare it with docs/submitting.md, or with what `robustreid submit init` writes.
    """
    document = bundle.document
    for place, problem in bundle.key_problems:
        if document is not None and "plugin" not in place:  # which SUB108 is about
            yield Fault(code="SUB107", place=document.where(place), problem=problem)


@rule("SUB108")
def names_no_code(bundle: Bundle) -> Iterable[Fault]:
    """Nothing names code: no `plugin`, no `package:callable`.

    Send safetensors for a known architecture, or ONNX. Code of your own runs on your machine only, by
    `robustreid submit score --plugin package:callable --trust-code`.
    """
    for document in filter(None, (bundle.document, bundle.grid)):
        for place, value in _values(document.data):
            is_code = isinstance(value, str) and place[:1] != ("code",) and _REFERENCE.fullmatch(value)
            if "plugin" in place or (is_code and {"model", "models", "adaptive_attack", "attacks"} & set(place)):
                yield Fault(code="SUB108", place=document.where(place), problem="names code")


@rule("SUB109", requires=["SUB101"])
def has_a_known_licence(bundle: Bundle) -> Iterable[Fault]:
    """`licence` is a common SPDX identifier, or `proprietary`.

    Write one of https://spdx.org/licenses in its own spelling, such as MIT, Apache-2.0 or CC-BY-NC-4.0.
    """
    licence = _of(bundle.document, "licence")
    if bundle.document is not None and isinstance(licence, str) and licence not in LICENCES:
        problem = f"the licence {shown(licence, 60)!r} is not known.{nearest(licence, LICENCES)}"
        yield Fault(code="SUB109", place=bundle.document.where(("licence",)), problem=problem)


@rule("SUB110", requires=["SUB101"])
def has_a_name_of_its_own(bundle: Bundle) -> Iterable[Fault]:
    """`name` does not look like that of a model of the zoo, or of an entry of the board.

    Take another one: upper and lower case, l, I and 1, O and 0, rn and m, and letters of other scripts do not tell
    names apart.
    """
    name = _of(bundle.document, "name")
    other = lookalike(name, bundle.taken) if isinstance(name, str) else None
    if bundle.document is not None and other is not None:
        what = "is" if name == other else "looks like"
        problem = f"the name {shown(name, 80)!r} {what} {shown(other, 80)!r}, which is taken"
        yield Fault(code="SUB110", place=bundle.document.where(("name",)), problem=problem)


@rule("SUB111")
def has_no_hidden_characters(bundle: Bundle) -> Iterable[Fault]:
    """No text holds control characters, terminal escapes, changes of direction or letters that nobody sees.

    Remove them; a text is one line.
    """
    yield from met(bundle, "SUB111")
    yield from _hostile_texts(bundle, "control", "SUB111")


@rule("SUB112")
def has_no_markup(bundle: Bundle) -> Iterable[Fault]:
    """No text holds HTML, entities, links of Markdown or `javascript:`.

    Write plain text; a row whose reason holds markup is written anew by running its cell again.
    """
    return _hostile_texts(bundle, "markup", "SUB112")


@rule("SUB113", requires=["SUB101"])
def has_https_links(bundle: Bundle) -> Iterable[Fault]:
    """`paper` and `code` are https links to a named host.

    Write the whole link, such as https://arxiv.org/abs/1706.06083.
    """
    for key in ("paper", "code"):
        link = _of(bundle.document, key)
        if bundle.document is not None and isinstance(link, str) and not is_https(link):
            problem = f"{shown(link, 100)!r} is no https link"
            yield Fault(code="SUB113", place=bundle.document.where((key,)), problem=problem)


@rule("SUB114", requires=["SUB107"])
def has_a_model_that_fits(bundle: Bundle) -> Iterable[Fault]:
    """`model` names an architecture and defences of this package, and no architecture beside a program.

    See `robustreid ls models` and `robustreid ls defences`.
    """
    document, description = bundle.document, bundle.description
    if document is None or description is None:
        return
    architecture = description.model_entry.get("architecture")
    if architecture is not None:
        where = document.where(("model", "architecture"))
        if description.is_program:
            problem = f"names an architecture, and {description.weights} brings its own"
            yield Fault(code="SUB114", place=where, problem=problem)
        elif architecture not in ARCHITECTURES:
            problem = f"the architecture {architecture!r} is not known.{nearest(architecture, ARCHITECTURES.names())}"
            yield Fault(code="SUB114", place=where, problem=problem)
    for index, entry in enumerate(description.model_entry.get("defence") or ()):
        problem = _wrong_defence(entry)
        if problem:
            yield Fault(code="SUB114", place=document.where(("model", "defence", index)), problem=problem)


@rule("SUB115", requires=["SUB107"])
def has_an_attack_that_can_be_run(bundle: Bundle) -> Iterable[Fault]:
    """`adaptive_attack` is made of names and finite numbers of at most 10,000, and reads no file.

    Write it as in a grid, such as {name: mine, objective: push, optimiser: apgd, steps: 100, eot: 20}.
    """
    document, description = bundle.document, bundle.description
    if document is None or description is None or description.adaptive_attack is None:
        return
    for key, value in description.adaptive_attack.items():
        where = document.where(("adaptive_attack", key))
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int | float) and not (math.isfinite(each) and abs(each) <= _LARGEST):
                yield Fault(
                    code="SUB115", place=where, problem=f"{each} is not finite, or too large for anybody to run"
                )
        if key == "perturbation":
            yield Fault(code="SUB115", place=where, problem="reads a file")


@rule("SUB117", requires=["SUB107"], level="note")
def can_be_built_by_others(bundle: Bundle) -> Iterable[Fault]:
    """Weights as safetensors name the architecture that they are for.

    Name it where it is one of `robustreid ls models`, or export to ONNX: else nobody can verify your scores.
    """
    document, description = bundle.document, bundle.description
    if document is None or description is None or description.is_program:
        return
    if description.model_entry.get("architecture") is None:
        problem = "names no architecture, so that only its authors can run it"
        yield Fault(code="SUB117", place=document.where(("model",)), problem=problem)


def is_https(link: str) -> bool:
    """Whether a link leads to a named host by https, and hides nothing.

    >>> is_https("https://arxiv.org/abs/1706.06083"), is_https("https://user@example.org"), is_https("http://a.org")
    (True, False, False)
    """
    try:
        parts = urlsplit(link)
        port = parts.port
    except ValueError:
        return False
    plain = link.isascii() and not re.search(r"[\s\\<>\"'`{}|^]", link)
    return plain and parts.scheme == "https" and port is None and bool(_HOST.fullmatch(parts.netloc))


def _wrong_defence(entry: dict[str, Any]) -> str:
    """What is wrong with it; one of an installed distribution is not read, because reading it runs its code."""
    if entry["name"] not in DEFENCES.table:
        return f"the defence {entry['name']!r} is not known.{nearest(entry['name'], DEFENCES.table)}"
    try:
        parse_one(entry)
    except DefenceError as error:
        return str(error)
    return ""


def _hostile_texts(bundle: Bundle, kind: Hostility, code: str) -> Iterator[Fault]:
    for place, text in _texts(bundle):
        found = hostility(text)
        if found is not None and found[0] == kind:
            yield Fault(code=code, place=place, problem=f"holds {found[1]}")


def _texts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    document = bundle.document
    if document is not None:
        for place, value in _values(document.data):
            yield from ((document.where(place), part) for part in place if isinstance(part, str))
            if isinstance(value, str):
                yield document.where(place), value
    if bundle.results is not None:
        from .results import texts_of

        yield from texts_of(bundle.results, bundle.grid.text if bundle.grid else "")


def _values(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value of a document that is none of values, with its place."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _values(item, (*place, key))
    else:
        yield place, value


def _of(document: Document | None, key: str) -> Any:
    return document.data.get(key) if document is not None and isinstance(document.data, dict) else None


DESCRIPTION_RULES = (
    *(has_a_description, is_yaml, has_no_tags, has_no_aliases, has_every_key_once, has_no_variables, has_the_keys),
    *(names_no_code, has_a_known_licence, has_a_name_of_its_own, has_no_hidden_characters, has_no_markup),
    *(has_https_links, has_a_model_that_fits, has_an_attack_that_can_be_run, can_be_built_by_others),
)
