"""Whatever its own description allows, and much that it does not, the server answers in order."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import settings

from ragformer.serve.app import make_app

from .conftest import Running

SCHEMA = schemathesis.openapi.from_dict(make_app().openapi())
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations()}
EXAMPLES = 50 if settings.get_current_profile_name() == "soak" else 10


def test_every_endpoint_is_described() -> None:
    assert set(OPERATIONS) == {
        "GET /health",
        "GET /metrics",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/chat/completions",
        "POST /v1/embeddings",
        "POST /v1/search",
        "GET /v1/documents",
        "POST /v1/documents",
        "DELETE /v1/documents/{document_id}",
        "GET /v1/documents/{document_id}/pages/{number}.png",
    }


@pytest.mark.parametrize("label", OPERATIONS)
def test_nothing_that_is_sent_breaks_it(running: Running, label: str) -> None:
    @hypothesis.given(case=OPERATIONS[label].as_strategy())
    @hypothesis.settings(max_examples=EXAMPLES, database=None)
    @hypothesis.seed(0)
    def send(case: Any) -> None:
        answer = case.call(base_url=running.root)
        assert answer.status_code not in (500, 504), answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    send()
