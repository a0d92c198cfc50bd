"""`/docs`: both descriptions on one page of plain HTML, without a script and with nothing from elsewhere.

Made once, from the very documents that are handed out. A browser's own search finds all of it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from wellnet_sse.web.openapi_parts import Part

METHODS = ("get", "head", "post")
_CODE = re.compile("`([^`]+)`")
_BOUNDS = {"minimum": "at least", "maximum": "at most", "minLength": "at least", "maxLength": "at most"}


def page(http: Part, pushed: Part) -> str:
    """The page that shows an OpenAPI document and an AsyncAPI document."""
    environment = Environment(
        loader=PackageLoader("wellnet_sse.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": _prose, "kind": _kind, "sample": _sample}
    schemas = http["components"]["schemas"] | pushed["components"]["schemas"]
    return environment.get_template("docs.html").render(
        info=http["info"],
        pushed_info=pushed["info"],
        requests=[_Reading(http).request(*one) for one in _requests(http)],
        channels=[_Reading(pushed).channel(name) for name in pushed["channels"]],
        schemas=sorted(schemas.items()),
    )


def _requests(http: Part) -> Iterator[tuple[str, str]]:
    for path, item in http["paths"].items():
        yield from ((path, method) for method in METHODS if method in item)


class _Reading:
    """A document, and what the template shows of its parts, with each reference looked up."""

    def __init__(self, document: Part) -> None:
        self._document = document

    def request(self, path: str, method: str) -> Part:
        """One method of a path."""
        item = self._document["paths"][path]
        operation = item[method]
        parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
        answers = {status: self._found(answer) for status, answer in operation["responses"].items()}
        return {
            "id": operation["operationId"],
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "scopes": sorted(
                {
                    scope
                    for choice in operation.get("security", ())
                    for scopes in choice.values()
                    for scope in scopes
                }
            ),
            "parameters": [self._found(one) for one in parameters],
            "body": self._content(operation.get("requestBody", {})),
            "answers": [
                (status, answer["description"], self._content(answer), list(answer.get("headers", ())))
                for status, answer in answers.items()
            ],
        }

    def channel(self, name: str) -> Part:
        """One channel, with what is told and what is obeyed on it."""
        channel = self._document["channels"][name]
        here = f"#/channels/{name}"
        of_it = [it for it in self._document["operations"].values() if it["channel"]["$ref"] == here]
        return {
            "id": name,
            "address": channel["address"],
            "description": channel["description"],
            "sent": self._messages(it for it in of_it if it["action"] == "send"),
            "received": self._messages(it for it in of_it if it["action"] == "receive"),
        }

    def _messages(self, operations: Iterable[Part]) -> list[Part]:
        return [self._found(message) for operation in operations for message in operation["messages"]]

    def _content(self, part: Part) -> list[tuple[str, Part]]:
        return [(media_type, content["schema"]) for media_type, content in part.get("content", {}).items()]

    def _found(self, part: Part) -> Part:
        while "$ref" in part:
            found: Any = self._document
            for key in part["$ref"].removeprefix("#/").split("/"):
                found = found[key]
            part = found
        return part


def _prose(text: str) -> Markup:
    """A description's text, with what is between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just now


def _sample(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _kind(schema: Part) -> Markup:
    """What a schema takes, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "const" in schema:
        return Markup("<code>{}</code>").format(json.dumps(schema["const"]))
    if "enum" in schema:
        return Markup(" | ").join(Markup("<code>{}</code>").format(json.dumps(it)) for it in schema["enum"])
    for several, word in (("anyOf", Markup(" or ")), ("allOf", Markup(", "))):
        if several in schema:
            return word.join(map(_kind, schema[several]))
    return _plain_kind(schema)


def _plain_kind(schema: Part) -> Markup:
    kinds = schema.get("type", [])
    words = Markup(" or ").join([kinds] if isinstance(kinds, str) else kinds)
    if "items" in schema:
        words = Markup("array of {}").format(_kind(schema["items"]))
    for bound, word in _BOUNDS.items():
        if bound in schema:
            unit = " characters" if bound.endswith("Length") else ""
            words += f", {word} {schema[bound]}{unit}"
    if "pattern" in schema:
        words += Markup(", <code>{}</code>").format(schema["pattern"])
    if "properties" in schema and not kinds:
        shown = (Markup("<code>{}</code>: {}").format(*it) for it in _members(schema))
        words += Markup("; ").join(shown)
    return words


def _members(schema: Part) -> Iterator[tuple[str, Markup]]:
    yield from ((name, _kind(member)) for name, member in schema["properties"].items())
