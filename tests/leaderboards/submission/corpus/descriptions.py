"""Descriptions that are refused, and texts that no text of a submission may be."""

from __future__ import annotations

import struct
from typing import Any

Cases = dict[str, Any]


def cases(of: Any) -> Cases:
    """All of them."""
    return {**syntax(of), **keys(of), **names(of), **texts(of)}


def syntax(of: Any) -> Cases:
    """What is not read as YAML."""

    def whole(data: bytes | str, *codes: str) -> Any:
        written = data if isinstance(data, bytes) else data.encode()
        return of.content(lambda _make, files: files.update({"submission.yaml": written}), *codes)

    def gone(_make: Any, files: dict[str, bytes]) -> None:
        del files["submission.yaml"]

    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    return {
        "no description": of.content(gone, "SUB101"),
        "not UTF-8": whole(b"name: \xff\xfe", "SUB102"),
        "no YAML": whole("name: [a, b", "SUB102"),
        "two documents": whole(of.YAML + "---\na: 1\n", "SUB102"),
        "a list": whole("- a\n- b\n", "SUB107"),
        "nothing": whole("", "SUB107"),
        "deep flow": whole("[" * 8_000, "SUB102"),
        "deep blocks": whole("- " * 10_000 + "a", "SUB102"),
        "deep mappings": whole("{" * 8_000, "SUB102"),
        "many values": whole("\n".join(f"k{number}: v" for number in range(2_500)), "SUB102"),
        "a pickle for a description": whole(b"\x80\x04\x95\x10\x00\x00\x00\x00", "SUB102"),
        "a tag": of.text("name: mine", "name: !!python/object/apply:os.system [ls]", "SUB103"),
        "a harmless tag": of.text("name: mine", "name: !!str mine", "SUB103"),
        "a directive": whole("%TAG ! tag:evil,2000:\n---\n" + of.YAML, "SUB103"),
        "an anchor": of.text("name: mine", "name: &a mine", "SUB104"),
        "an alias": of.text("title: A defence, 4/255 < 8/255", "title: &a x\ncontact: *a", "SUB104", "SUB105"),
        "an alias bomb": whole(bomb, "SUB104"),
        "a merge key": of.text("trained_on", "<<: {name: other}\ntrained_on", "SUB104"),
        "a key twice": of.text("licence: MIT", "licence: MIT\nlicence: GPL-3.0-only", "SUB105"),
        "a key twice inside": of.text("  normalise: imagenet", "  normalise: none\n  normalise: none", "SUB105"),
        "a variable": of.text("A defence", "${HOME}", "SUB106"),
        "a variable in a comment": of.text("schema: 1", "# ${SECRET}\nschema: 1", "SUB106"),
    }


def keys(of: Any) -> Cases:
    """Keys and values that are not what they should be."""
    plain = "adaptive_attack: null"

    def attack(entry: str, *codes: str) -> Any:
        return of.text(plain, f"adaptive_attack: {entry}", *codes)

    def plugged(_make: Any, files: dict[str, bytes]) -> None:
        files["results/grid.yml"] = b"models: [{name: mine, plugin: 'os:system'}]\n"

    def own(make: Any, files: dict[str, bytes]) -> None:
        files["submission.yaml"] = of.YAML.replace("  architecture: tinynet\n", "").encode()
        make.scored(files, architecture="plugin")

    def unnamed(_make: Any, files: dict[str, bytes]) -> None:
        files["submission.yaml"] = of.YAML.replace("  architecture: tinynet\n", "").encode()

    wrong = {
        "another schema": ("schema: 1", "schema: 2"),
        "schema true": ("schema: 1", "schema: true"),
        "an unknown key": ("licence: MIT", "licence: MIT\nlisence: MIT"),
        "a missing key": ("random_stages: []\n", ""),
        "stages not said": ("random_stages: []", "random_stages:"),
        "no authors": ("authors: [First Author, Second Author]", "authors: []"),
        "an author that is a mapping": ("[First Author, Second Author]", "[{a: b}]"),
        "a long title": ("title: A defence", f"title: {'x' * 300}"),
        "a name with a slash": ("name: mine", "name: ../mine"),
        "a name that is hidden": ("name: mine", "name: .mine"),
        "a long name": ("name: mine", f"name: {'m' * 65}"),
        "a track that is a file": ("track: market1501-query-4", "track: evil.yml"),
        "a radius that is none": ("training_epsilon: 8/255", "training_epsilon: huge"),
        "weights elsewhere": ("weights: weights.safetensors", "weights: ../weights.safetensors"),
        "weights in a grid of IR": ("weights: weights.safetensors", "weights: model.xml"),
        "another metric": ("normalise: imagenet", "metric: manhattan"),
        "a size of words": ("normalise: imagenet", "input_size: [large, larger]"),
        "a size without end": ("normalise: imagenet", "input_size: [1000000000, 8]"),
        "infinite normalisation": ("normalise: imagenet", "normalise: {mean: [.inf, 0, 0], std: [1, 1, 1]}"),
    }
    return {
        **{name: of.text(old, new, "SUB107") for name, (old, new) in wrong.items()},
        "a plugin": of.text("  architecture: tinynet", "  plugin: os:system", "SUB108"),
        "a plugin in the grid": of.results(plugged, "SUB108"),
        "an architecture that is code": of.text(
            "architecture: tinynet", "architecture: 'os:system'", "SUB107", "SUB108"
        ),
        "an objective that is code": attack("{name: a, objective: 'os:system', optimiser: pgd}", "SUB108"),
        "an unknown licence": of.text("licence: MIT", "licence: Beerware", "SUB109"),
        "http": of.text("https://arxiv.org", "http://arxiv.org", "SUB113"),
        "a link with a user": of.text("https://arxiv.org", "https://arxiv.org@evil.example", "SUB113"),
        "a link to a script": of.text("https://arxiv.org", "javascript:alert(1)//arxiv.org", "SUB112", "SUB113"),
        "a link of another script": of.text("https://arxiv.org", "https://arx\u0456v.org", "SUB113"),
        "an unknown architecture": of.text("architecture: tinynet", "architecture: tinynett", "SUB114"),
        "an unknown defence": of.text("normalise: imagenet", "defence: jpg", "SUB114"),
        "a defence out of range": of.text("normalise: imagenet", "defence: {name: jpeg, quality: 900}", "SUB114"),
        "an attack that is text": attack("[fna]", "SUB107"),
        "an attack that is deep": attack("{name: a, steps: {a: {b: c}}}", "SUB107"),
        "an attack without end": attack("{name: a, objective: push, optimiser: pgd, steps: 1000000000}", "SUB115"),
        "an attack that is infinite": attack("{name: a, rho: .inf}", "SUB115"),
        "an attack that reads a file": attack("{name: uap, perturbation: ../../secret}", "SUB115"),
        "random stages": of.text("random_stages: []", "random_stages: [noise]", "SUB116"),
        "stages without a gradient": of.text(
            "non_differentiable_stages: []", "non_differentiable_stages: [jpeg]", "SUB116"
        ),
        "no architecture": of.results(own, "SUB117"),
        "no architecture, and rows of one": of.results(unnamed, "SUB408"),
    }


def names(of: Any) -> Cases:
    """Names that a reader takes for another one; `osnet-robust` is taken."""
    same = ("tiny", "Tiny", "t1ny", "tlny", "TINY", "tiny_robust", "t1ny-r0bust", "osnet-robust", "0snet-robust")
    also = ("OSNET-ROBUST", "osnet_robust", "osnet--robust", "0SNET_R0BUST")
    return {
        **{f"the name {name}": of.text("name: mine", f"name: {name}", "SUB110") for name in (*same, *also)},
        "a name in another script": of.text("name: mine", "name: t\u0456ny", "SUB107", "SUB110"),
        "a name with an accent": of.text("name: mine", "name: t\u00edny", "SUB107", "SUB110"),
        "a name without one": of.text("name: mine", "name: \u0440\u0443", "SUB107"),
    }


def texts(of: Any) -> Cases:
    """Terminal escapes and HTML, in every place that has text."""
    control = {
        "an escape": "\\e[31m",
        "a bell": "\\a",
        "NUL": "\\0",
        "a line break": "\\n",
        "a C1 control": "\\x9b",
        "right to left": "\\u202E",
        "an isolate": "\\u2066",
        "zero width": "\\u200B",
        "a joiner": "\\u200D",
        "a byte order mark": "\\uFEFF",
        "a tag character": "\\U000E0041",
        "a filler": "\\u3164",
        "a soft hyphen": "\\u00AD",
        "a line separator": "\\u2028",
    }
    markup = {
        "a script": "<script>alert(1)</script>",
        "an image": "<img src=x onerror=alert(1)>",
        "a comment": "<!-- x",
        "an entity": "&lt;b&gt;",
        "a number entity": "&#x3c;b",
        "a link": "[x](javascript:1)",
        "a picture": "![x]",
    }
    places = {
        "title": ("title: A defence, 4/255 < 8/255", "title: {}"),
        "contact": ("first@example.org", "{}"),
        "author": ("authors: [First Author, Second Author]", "authors: [a, {}]"),
        "trained on": ("trained_on: [market1501]", "trained_on: [{}]"),
    }
    found: Cases = {}
    for what, code, kinds in (("control", "SUB111", control), ("markup", "SUB112", markup)):
        for name, text in kinds.items():
            found[f"{what}: {name} in a title"] = of.text("title: A defence, 4/255 < 8/255", f'title: "a{text}b"', code)
        worst = next(iter(kinds.values()))
        for name, (old, new) in places.items():
            found[f"{what}: in {name}"] = of.text(old, new.format(f'"{worst}"'), code)
    stage = of.text("random_stages: []", 'random_stages: ["<b>"]', "SUB112")
    found["markup: in a stage"] = stage
    found["control: a raw escape"] = of.text("schema: 1", "schema: 1 # \x1b[2J", "SUB111")
    found["control: a raw change of direction"] = of.text("schema: 1", "schema: 1 # \u202e", "SUB111")
    found["markup: a key"] = of.text("  normalise: imagenet", '  "<b>": x', "SUB107", "SUB112")
    for column in ("reason", "attack", "dataset", "protocol", "tool_version", "device", "epsilon_label", "surrogate"):
        found[f"control: in column {column}"] = _row(of, column, "a\x1b[31mb", "SUB111")
        found[f"markup: in column {column}"] = _row(of, column, "<script>", "SUB112")
    found["markup: in flags"] = _row(of, "flags", ["projected", "<b>"], "SUB112")
    found["control: in a query"] = of.results(_query, "SUB111")
    for name in ("label", "model", "dataset"):
        found[f"markup: in a plan's {name}"] = of.results(_planned(name), "SUB112")
    found["control: in the grid"] = of.results(_grid(b"name: a # \x1b[31m\n"), "SUB111")
    found["markup: in the grid"] = of.results(_grid(b"name: <script>\n"), "SUB112")
    found["an alias in the grid"] = of.results(_grid(b"a: &a [1]\nb: *a\n"), "SUB104")
    found["weights called so"] = of.results(
        lambda make, files: files.update(
            {"weights.safetensors": make.tensors({"<b>": ("F32", [1], struct.pack("<f", float("nan")))})}
        ),
        "SUB205",
        "SUB408",
    )
    return found


def _row(of: Any, column: str, value: Any, code: str) -> Any:
    return of.results(lambda make, files: make.scored(files, **{column: value}), code)


def _query(make: Any, files: dict[str, bytes]) -> None:
    queries = make.queries()
    queries[2]["query_id"] = "query/\u202e.png"
    files[make.queries_file] = make.table(queries, make.query_schema)


def _planned(name: str) -> Any:
    return lambda make, files: files.update({"results/plan.json": make.plan(**{name: "a<b>"})})


def _grid(data: bytes) -> Any:
    return lambda _make, files: files.update({"results/grid.yml": data})
