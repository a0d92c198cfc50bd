"""Log lines: one an event, and nothing from outside can forge one or carry a secret into it."""

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import CALM
from wellnet_sse import logs

FORGED = "x\n2026-01-01T00:00:00Z [info     ] payment_done\r\n{}\x1b[2J\u2028\x85\x00"


class Lines:
    """What is written to standard error since `configure`."""

    def __init__(self) -> None:
        self._stream = io.StringIO()

    def configure(self, kind: str) -> None:
        """Configure logs of this kind, `json` or `console`."""
        with contextlib.redirect_stderr(self._stream):
            logs.configure(json_lines=kind == "json", level="INFO")

    def take(self) -> list[str]:
        """The lines since the last time, as anything that splits at newlines sees them."""
        text = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return text.split("\n")[:-1]

    def json(self) -> dict[str, object]:
        """The only line, which is JSON."""
        (line,) = self.take()
        value: dict[str, object] = json.loads(line)
        return value


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def stderr() -> Lines:
    return Lines()


@pytest.fixture
def json_lines(stderr: Lines) -> Lines:
    stderr.configure("json")
    return stderr


log = logging.getLogger("wellnet_sse.test")


def fail(text: str) -> None:
    raise ValueError(text)


def test_an_event_is_one_json_line_with_level_time_and_extras(json_lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(operation_id="op")
    log.info("socket_failed", extra={"user_id": 7})
    line = json_lines.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line.pop("timestamp")))
    assert line == {"event": "socket_failed", "level": "info", "user_id": 7, "operation_id": "op"}


def test_the_level_is_kept_and_chatty_libraries_are_quiet(json_lines: Lines) -> None:
    log.debug("unseen")
    logging.getLogger("httpx").info("HTTP Request: GET http://10.0.0.1")
    logging.getLogger("hypercorn.access").info("GET /sse/progress?token=hunter2")
    assert json_lines.take() == []


def test_configuring_again_does_not_double_the_lines(json_lines: Lines) -> None:
    json_lines.configure("json")
    log.info("once")
    assert len(json_lines.take()) == 1


@pytest.mark.parametrize("where", ["event", "extra", "argument"])
@pytest.mark.parametrize("kind", ["json", "console"])
def test_what_comes_from_outside_stays_on_its_line(stderr: Lines, kind: str, where: str) -> None:
    stderr.configure(kind)
    if where == "event":
        log.info(FORGED)
    elif where == "extra":
        log.info("message_refused", extra={"detail": FORGED, "nested": [FORGED, {"a": FORGED}]})
    else:
        log.info("refused %s", FORGED)
    (line,) = stderr.take()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), repr(line)
    assert "payment_done" in line


@pytest.mark.parametrize("kind", ["json", "console"])
def test_the_text_of_an_exception_forges_no_line(stderr: Lines, kind: str) -> None:
    """The traceback keeps its lines, indented, so that none of them looks like another event."""
    stderr.configure(kind)
    try:
        fail(FORGED)
    except ValueError:
        log.exception("work_failed")
    lines = stderr.take()
    assert "work_failed" in lines[0]
    assert [line for line in lines[1:] if not line.startswith(" ") and line] == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", "\n".join(lines))
    assert "test_logs.py" in "".join(lines)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql+asyncpg://wellnet:hunter2@db/x", "postgresql+asyncpg://wellnet:***@db/x"),
        ("http://:hunter2@h and http://a:hunter2@h", "http://:***@h and http://a:***@h"),
        ("postgresql://u:hun/ter2@db/x", "postgresql://u:***@db/x"),
        ("postgresql://u:hun@ter2@db/x", "postgresql://u:***@db/x"),
        ("/sse/progress?token=hunter2&userId=7", "/sse/progress?token=***&userId=7"),
        ('GET "/ws?ticket=hunter2"', 'GET "/ws?ticket=***"'),
        ("?ACCESS_TOKEN=hunter2 ", "?ACCESS_TOKEN=*** "),
        ("Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.", "Authorization: Bearer ***"),
        ("Cookie: a=b; c=eyJhbGci.eyJzdWI.c2ln; d=e", "Cookie: a=b; c=***; d=e"),
        ("['eyJhbGci.eyJzdWI.c2ln']", "['***']"),
        ("http://127.0.0.1:4440/a@b", "http://127.0.0.1:4440/a@b"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_of_urls_and_tokens_of_queries_are_left_out(text: str, clean: str) -> None:
    assert logs.redact(text) == clean


@pytest.mark.parametrize("kind", ["json", "console"])
def test_secrets_are_left_out_wherever_they_stand(stderr: Lines, kind: str) -> None:
    stderr.configure(kind)
    url = "postgresql://u:hunter2@db/x"
    log.info("connecting to %s", url, extra={"url": url, "nested": {"urls": [url]}})
    try:
        fail(url)
    except ValueError:
        log.exception("failed")
    assert "hunter2" not in "\n".join(stderr.take())


@settings(CALM, max_examples=60)
@given(st.text())
def test_any_text_is_one_line_that_json_reads(json_lines: Lines, text: str) -> None:
    log.info("event", extra={"detail": text})
    assert json_lines.json()["event"] == "event"
