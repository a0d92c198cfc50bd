"""Structured logs: one line an event, as JSON or for a console; nothing from outside can forge a line."""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# A JWT begins with the base64 of `{"`, whatever stands around it.
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_QUERY_SECRET = re.compile(r"((?:token|ticket|access_token)=)[^&\s\"]+", re.IGNORECASE)
# Up to the last @, because a password may hold / and @; what begins with a port is none.
_URL_PASSWORD = re.compile(r"(\w+://[^:/@\s]*:)(?!\d{1,5}/)[^\s\"']+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def redact(text: str) -> str:
    """`text` without passwords in URLs, without tickets in queries and without tokens anywhere."""
    return _TOKEN.sub("***", _URL_PASSWORD.sub(r"\1***@", _QUERY_SECRET.sub(r"\1***", text)))


def configure(*, json_lines: bool, level: str) -> None:
    """Send the logs of this package and of the libraries under it to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _clean,
    ]
    renderer: Processor
    if json_lines:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "aiohttp", "hypercorn.access", "alembic", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _clean(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    """Redact every text, and keep it on one line.

    A traceback keeps its lines, indented: the text of its exception may come from outside, and must not look
    like the next event.
    """
    exception = event_dict.pop("exception", None)
    cleaned = {key: _clean_value(value) for key, value in event_dict.items()}
    if isinstance(exception, str):
        cleaned["exception"] = "\n".join(f"  {_clean_value(line)}" for line in exception.split("\n"))
    return cleaned


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", redact(value))
    if isinstance(value, dict):
        return {_clean_value(key): _clean_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean_value(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else _clean_value(repr(value))
