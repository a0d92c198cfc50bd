"""How paths are taken apart."""

from werkzeug.routing import BaseConverter


class AnyText(BaseConverter):
    """Whatever stands there, slashes and line ends too: an id that is none is 400, not an unknown path."""

    regex = r"(?s:.+?)"
    part_isolating = False


class AnyId(AnyText):
    """The same where a path ends with the id: what asks something of an operation is a path of its own."""

    regex = r"(?s:(?!.*/(?:detener|cancelar|pasos/.*)$).+?)"
