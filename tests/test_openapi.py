"""Requests made up from the OpenAPI document, valid and broken ones: no fault, and no answer it doesn't tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from serving_runs import write_planted

from neucf.serving.events import EventStore
from neucf.serving.http import Backend, Guard, Metrics, make_app, open_runs

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    missing_required_header,
    unsupported_method,
]
EXAMPLES = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("api")
    run = write_planted(folder / "run", min_rating=4.0)
    load = lambda: open_runs([run])  # noqa: E731
    backend = Backend(load(), load, EventStore(f"sqlite:///{folder}/events.sqlite"))
    app = make_app(backend, Guard(frozenset((asgi.HOST,))), Metrics())
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    backend.close()


OPERATIONS = [
    ("GET", "/v1/users/{user_id}/recommendations"),
    ("POST", "/v1/recommendations"),
    ("GET", "/v1/items/{item_id}/similar"),
    ("GET", "/v1/items"),
    ("POST", "/v1/events"),
    ("DELETE", "/v1/users/{user_id}/events"),
    ("GET", "/v1/users/{user_id}/history"),
    ("GET", "/v1/models"),
    ("GET", "/v1/model"),
    ("GET", "/v1/leaderboard"),
    ("GET", "/v1/map"),
    ("POST", "/v1/model:reload"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


def test_the_document_tells_of_all_that_is_served(api: Any) -> None:
    told = [(result.ok().method.upper(), result.ok().path) for result in api.get_all_operations()]
    assert sorted(told) == sorted(OPERATIONS)


BOTH = pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "broken"])


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@BOTH
def test_every_answer_is_one_that_is_told_of(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    ask_at_random(api[path][method], mode, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@BOTH
def test_every_answer_to_many_is_one_that_is_told_of(api: Any, method: str, path: str, mode: GenerationMode) -> None:
    # Anew each time: examples that nobody has tried yet.
    ask_at_random(api[path][method], mode, settings(EXAMPLES, max_examples=100, derandomize=False))


def ask_at_random(operation: Any, mode: GenerationMode, examples: settings) -> None:
    """Makes requests up for an operation, valid or broken ones, and checks every answer."""
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body or operation.path_parameters):
        return  # there is nothing to break

    @examples
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        response = case.call()
        # A list that is too long makes the address too long first, which is no status the check knows.
        checks = [check for check in CHECKS if response.status_code != 414 or check is not negative_data_rejection]
        case.validate_response(response, checks=checks)

    call()
