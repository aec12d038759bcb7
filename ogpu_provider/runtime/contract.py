"""What a source container accepts, from the OpenAPI document that its framework serves.

The framework (ogpu.service, FastAPI) has one route for each handler: POST /run/{name}/{task_address}. The schemas are
the author's and the inputs a stranger's, so checking one against the other is bounded: nothing is fetched, patterns
(which can take for ever) are left to the container, and the number of steps has a ceiling.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from ogpu_provider.domain.documents import DEPTH, nested_deeper, read_json
from ogpu_provider.domain.errors import EngineError, Retry

MAX_DOCUMENT = 4 << 20
MAX_FUNCTIONS = 500
MAX_STEPS = 200_000
MAX_TOLD = 10
_ROUTE = re.compile(r"/run/([A-Za-z_][A-Za-z0-9_]{0,127})/\{[^/{}]+\}")
_LEFT_OUT = ("pattern", "patternProperties", "uniqueItems", "propertyNames", "$dynamicRef", "$recursiveRef")

Check = Callable[[Validator, Any, Any, Any], Iterator[ValidationError] | None]


_left: ContextVar[list[int]] = ContextVar("steps left")


class _TooLong(Exception):
    pass


class OpenApiContract:
    """Parsed once. Raises EngineError `engine.bad_contract` for a document that is none."""

    def __init__(self, document: bytes) -> None:
        if len(document) > MAX_DOCUMENT:
            raise _bad(f"has more than {MAX_DOCUMENT} bytes")
        try:
            parsed: Any = read_json(document)
        except (ValueError, RecursionError) as error:
            raise _bad("is not JSON") from error
        paths = parsed.get("paths") if isinstance(parsed, dict) else None
        if not isinstance(paths, dict):
            raise _bad("has no paths")
        components = parsed.get("components")
        self._schemas: dict[str, Any] = {}
        for path, methods in paths.items():
            route = _ROUTE.fullmatch(path)
            if route and isinstance(methods, dict) and isinstance(methods.get("post"), dict):
                self._schemas[route[1]] = _input_schema(methods["post"], components)
        if not self._schemas:
            raise _bad("has no function (POST /run/{name}/{task_address})")
        if len(self._schemas) > MAX_FUNCTIONS:
            raise _bad(f"has more than {MAX_FUNCTIONS} functions")

    @property
    def functions(self) -> frozenset[str]:
        return frozenset(self._schemas)

    def violations(self, function: str, data: str) -> tuple[str, ...]:
        """Why `data` (JSON text) is not an input of `function`; at most ten reasons."""
        if function not in self._schemas:
            return (f"the source has no function {function[:80]!r}",)
        if nested_deeper(data.encode(), DEPTH):
            return (f"the input is nested deeper than {DEPTH} levels",)
        try:
            value = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            return (f"the input is not JSON: {error}"[:300],)
        return check(self._schemas[function], value)


def check(schema: Any, value: Any, steps: int = MAX_STEPS) -> tuple[str, ...]:
    """Violations of a schema. One that cannot be used (bad, or endless) finds nothing: the container will judge."""
    found: list[str] = []
    _left.set([steps])
    try:
        for error in _kind()(schema, registry=Registry()).iter_errors(value):
            where = "/".join(str(part) for part in error.absolute_path)
            found.append(f"{where or 'input'}: {error.message}"[:300])
            if len(found) >= MAX_TOLD:
                break
    except (_TooLong, Unresolvable, RecursionError):
        return tuple(found)
    except Exception:  # a schema of any shape: jsonschema raises whatever its keywords stumble over
        return tuple(found)
    return tuple(found)


@cache
def _kind() -> Any:
    """Made once: a class takes milliseconds, and every task that waits for a place is checked again and again."""
    known: Any = jsonschema.Draft202012Validator.VALIDATORS
    counted: Any = {name: _counted(each) for name, each in known.items() if name not in _LEFT_OUT}
    return jsonschema.validators.create(
        meta_schema=jsonschema.Draft202012Validator.META_SCHEMA,
        validators=counted,
        type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER,
        id_of=lambda _schema: "",
    )


def _counted(keyword: Check) -> Check:
    def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        left = _left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooLong
        return keyword(validator, value, instance, schema)

    return check


def _input_schema(operation: Mapping[str, Any], components: Any) -> Any:
    """The schema of the body, able to reach the document's components; True (anything) where there is none."""
    body: Any = operation
    for key in ("requestBody", "content", "application/json", "schema"):
        body = body.get(key) if isinstance(body, dict) else None
    if not isinstance(body, dict):
        return True
    return {**body, "components": components} if isinstance(components, dict) else body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _bad(what: str) -> EngineError:
    return EngineError(f"the container's openapi.json {what}", code="engine.bad_contract", retry=Retry.NEVER)
