"""YAML as plain values with line numbers, and what is not read."""

from __future__ import annotations

from pathlib import Path

import pytest
from robustreid import UserError
from robustreid.benchmark.config.reading import MAX_VALUES, Document, parse_document, read_document

TEXT = """\
name: tiny
models:
  - a
  - {name: b,
     weights: w.onnx}
side:
- query
"""


def parse(text: str) -> Document:
    return parse_document(text, name="g.yml", folder=Path())


def test_values_are_plain_and_have_lines() -> None:
    """Every value is one of Python's own, and every place knows its line."""
    document = parse(TEXT)
    assert document.data == {"name": "tiny", "models": ["a", {"name": "b", "weights": "w.onnx"}], "side": ["query"]}
    assert [type(document.data[key]) for key in document.data] == [str, list, list]
    places = [(), ("name",), ("models", 0), ("models", 1), ("models", 1, "weights"), ("side", 0)]
    assert [document.line(place) for place in places] == [1, 1, 3, 4, 5, 7]
    assert document.line(("models", 1, "no", "such")) == 4
    assert document.where(("models", 1, "weights")) == "g.yml:5: models[1].weights"
    assert document.where(()) == "g.yml:1"


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("0x10", 16), ("2.0", 2.0), ("yes", "yes"), ("true", True), ("~", None), ("2020-01-01", "2020-01-01")],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    """Numbers, truth and null are what YAML 1.2 says; `yes` is a word and a date is its text."""
    found = parse(f"a: {text}").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_a_key_of_another_type_is_its_text() -> None:
    """`1` and `'1'` would be one key, so both at once are refused."""
    assert parse("1: a").data == {"1": "a"}
    with pytest.raises(UserError, match=r"^g\.yml:1: the key '1' stands twice; remove one of the two\.$"):
        parse("1: a\n'1': b")


def test_variables_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set variable stands for its value, wherever it is; an unset one is named with its line."""
    monkeypatch.setenv("SOME_PLACE", "/x")
    monkeypatch.delenv("NO_PLACE", raising=False)
    assert parse("a: ['${SOME_PLACE}/y', '$SOME_PLACE', '${}']").data["a"] == ["/x/y", "$SOME_PLACE", "${}"]
    with pytest.raises(UserError, match=r"^g\.yml:2: the variable NO_PLACE is not set; set it, or write the path"):
        parse("a: 1\nb: ${NO_PLACE}")


def test_an_expanded_value_is_not_expanded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a variable holds is data."""
    monkeypatch.setenv("SOME_PLACE", "${SOME_PLACE}")
    assert parse("a: ${SOME_PLACE}").data["a"] == "${SOME_PLACE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"^g\.yml:3: the key 'a' stands twice; remove one of the two\.$"),
        ("m:\n - {w: 1, w: 2}", r"^g\.yml:2: the key 'w' stands twice; remove one of the two\.$"),
        ("a: [1\nb: 2]: 3", r"^g\.yml:2: this is not YAML: .*\.$"),
        ("a: b: c", r"^g\.yml:1: this is not YAML: mapping values are not allowed here\.$"),
        ("a: b\n\tc: d", r"^g\.yml:2: this is not YAML: .*\.$"),
        ("a: 1\n---\nb: 2", r"^g\.yml:2: this is not YAML: but found another document\.$"),
        ("a: *nowhere", r"^g\.yml:1: this is not YAML: .*\.$"),
        ("a: b\0c", r"^g\.yml: this is not YAML: unacceptable character #x0000[^\n]*\.$"),
        (
            "a: !!python/object:os.system x",
            r"^g\.yml:1: YAML tags such as 'tag:yaml\.org,2002:python/object:os\.system'",
        ),
        ("a: 1\nb: !mine {c: d}", r"^g\.yml:2: YAML tags such as '!mine' are not read; write the plain value\.$"),
        ("a: !mine\n  - 1", r"^g\.yml:1: YAML tags such as '!mine' are not read"),
        ("a: !!str 5", r"^g\.yml:1: YAML tags such as 'tag:yaml\.org,2002:str' are not read"),
        ("a: &a [*a]\nb: &b {c: *b}", r""),
        ("[" * 1000, r"^g\.yml: values are nested without end"),
        ("x: &x {x: *x}", r""),
    ],
)
def test_what_is_not_read_says_where(text: str, message: str) -> None:
    """One sentence with the line, whatever is wrong; a value that holds itself ends as something finite."""
    if message:
        with pytest.raises(UserError, match=message) as caught:
            parse(text)
        assert "\n" not in str(caught.value)
    else:
        assert len(parse(text).lines) < 10


def test_aliases_do_not_explode() -> None:
    """A few lines of aliases that mean 9^12 values are refused before they are expanded."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for before, after in zip("abcdefghijkl", "bcdefghijklm", strict=True):
        bomb += f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    with pytest.raises(UserError, match=f"more than {MAX_VALUES:,} values"):
        parse(bomb)


def test_a_key_cannot_forge_a_line() -> None:
    """Line breaks and changes of direction in a key are spelled out in messages."""
    document = parse('"a\\nb\\u202e": 1')
    assert document.where(("a\nb\u202e",)) == r"g.yml:1: a\nb\u202e"


def test_files(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are not UTF-8 are refused by name; a byte-order mark is not."""
    path = tmp_path / "g.yml"
    with pytest.raises(UserError, match=r"^There is no file '.*g\.yml'; give the path of a grid file"):
        read_document(path)
    with pytest.raises(UserError, match="cannot be read: Is a directory; expected a YAML file in UTF-8"):
        read_document(tmp_path)
    path.write_bytes(b"name: \xff")
    with pytest.raises(UserError, match="cannot be read: byte 6 is not UTF-8; expected a YAML file in UTF-8"):
        read_document(path)
    path.write_bytes(b"\xef\xbb\xbfname: \xc3\xa9")
    document = read_document(path)
    assert (document.data, document.folder) == ({"name": "\u00e9"}, tmp_path)
