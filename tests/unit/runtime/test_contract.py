import json
from typing import Any

import pytest

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.runtime import contract
from ogpu_provider.runtime.contract import OpenApiContract, check

INPUT = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "tags": {"type": "array", "items": {"$ref": "#/components/schemas/Tag"}},
        "mode": {"enum": ["fast", "good"]},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["a"],
}


def document(schema: Any = None, path: str = "/run/multiply/{task_address}") -> bytes:
    body = {"content": {"application/json": {"schema": schema or {"$ref": "#/components/schemas/Input"}}}}
    components = {"schemas": {"Input": INPUT, "Tag": {"type": "string", "maxLength": 3}}}
    paths = {path: {"post": {"requestBody": body}}, "/docs": {"get": {}}, "/run/other": {"post": {}}}
    return json.dumps({"openapi": "3.1.0", "paths": paths, "components": components}).encode()


def test_functions_are_the_routes_of_the_framework() -> None:
    assert OpenApiContract(document()).functions == {"multiply"}


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ('{"a": 1}', True),
        ('{"a": 1, "extra": 2, "note": null}', True),
        ('{"a": 1, "tags": ["abc"]}', True),
        ('{"a": 1, "tags": ["abcd"]}', False),
        ('{"a": "1"}', False),
        ('{"a": 1, "mode": "slow"}', False),
        ("{}", False),
        ("[]", False),
        ("", False),
        ('{"a": NaN}', False),
        ("[" * 100_000, False),
    ],
)
def test_inputs_are_checked(data: str, good: bool) -> None:
    assert (OpenApiContract(document()).violations("multiply", data) == ()) is good


def test_a_violation_names_its_place() -> None:
    (text,) = OpenApiContract(document()).violations("multiply", '{"a": 1, "tags": ["ok", 5]}')
    assert text.startswith("tags/1: ")


def test_an_unknown_function_is_a_violation() -> None:
    assert OpenApiContract(document()).violations("divide", "{}")


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"paths": {}}', b'{"paths": []}', b"[" * 100_000, b" " * (5 << 20), document(path="/x/{y}")],
)
def test_what_is_no_contract(text: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        OpenApiContract(text)
    assert caught.value.code == "engine.bad_contract"


def test_a_function_without_a_schema_takes_anything() -> None:
    text = json.dumps({"paths": {"/run/f/{t}": {"post": {}}}}).encode()
    assert OpenApiContract(text).violations("f", "[1, {}]") == ()


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://169.254.169.254/latest/meta-data"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/components/schemas/Missing"},
        {"$ref": "#"},
        {"type": 5},
        {"pattern": "(a+)+$"},
        {"properties": []},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_the_judgement_to_the_container(schema: Any) -> None:
    """Nor does it take for ever, as the expression would."""
    assert OpenApiContract(document(schema)).violations("multiply", json.dumps("a" * 5000 + "!")) == ()


def test_an_endless_schema_is_given_up() -> None:
    schemas: dict[str, Any] = {f"S{n}": {"anyOf": [{"$ref": f"#/components/schemas/S{n + 1}"}] * 9} for n in range(60)}
    schema = {"$ref": "#/components/schemas/S0", "components": {"schemas": {**schemas, "S60": {"const": 1}}}}
    check(schema, 2, steps=5000)


def test_each_check_has_steps_of_its_own_and_makes_no_class_of_its_own() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert check(schema, {"a": "x"}, steps=0) == ()  # given up at once
    assert check(schema, {"a": "x"}) == ("a: 'x' is not of type 'integer'",)
    made = contract._kind.cache_info().misses
    assert all(not check(schema, {"a": n}) for n in range(100))
    assert contract._kind.cache_info().misses == made == 1
