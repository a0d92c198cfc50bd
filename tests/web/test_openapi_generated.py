"""Schemathesis asks the running server what `/openapi.json` lets one ask: each answer is as described.

The requests are made out of the description, right ones and wrong ones, the same in each run. A stream has no
end that could be waited for: those are read in test_asyncapi.py.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as of_openapi

from tests.harness import ServerProcess
from wellnet_sse.web.openapi import document

REQUESTS = 10
"""Of each kind, for each method of each path."""
SECONDS = 5.0
CHECKS = [
    checks.not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
]
BOUNDED = settings(
    max_examples=REQUESTS,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations() -> dict[str, Any]:
    """Return what can be asked, by its name."""
    found: Any = schemathesis.openapi.from_dict(document()).get_all_operations()
    return {it.ok().label: it.ok() for it in found if not it.ok().label.startswith("GET /sse/")}


OPERATIONS = operations()
RIGHT = [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
WRONG = [
    (label, GenerationMode.NEGATIVE)
    for label, it in OPERATIONS.items()
    if it.path_parameters or it.query or it.body  # where something can be wrong
]


@pytest.mark.parametrize(("label", "mode"), [*RIGHT, *WRONG], ids=lambda it: getattr(it, "value", it))
def test_answers_are_as_described(server: ServerProcess, label: str, mode: GenerationMode, user: int) -> None:
    @BOUNDED
    @given(case=OPERATIONS[label].as_strategy(mode, headers={"X-User-ID": str(user)}))
    def ask(case: Any) -> None:
        case.query.pop("userId", None)  # a second name is refused before anything else is looked at
        case.call_and_validate(base_url=server.url, checks=CHECKS, timeout=SECONDS)

    ask()
