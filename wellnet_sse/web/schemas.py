"""What bodies and parameters must look like, and how answers do."""

import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from quart import request

from wellnet_sse import strict_json
from wellnet_sse.errors import BadRequestError, UnprocessableError, UnsupportedMediaTypeError
from wellnet_sse.progress.events import (
    MAX_MESSAGE_CHARACTERS,
    MAX_STEPS,
    OPERATION_ID_RULE,
    STEP_NAME_RULE,
    Cursor,
    Status,
    is_message,
    is_operation_id,
    is_step_name,
    timestamp,
)
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.paces import Outlook

PAGE_ENTRIES = 20
MAX_PAGE_ENTRIES = 100


def _checked(check: Any, what: str) -> AfterValidator:
    def validate(text: str) -> str:
        if not check(text):
            raise ValueError(what)
        return text

    return AfterValidator(validate)


OperationIdText = Annotated[str, _checked(is_operation_id, OPERATION_ID_RULE)]
StepName = Annotated[str, _checked(is_step_name, STEP_NAME_RULE)]
Message = Annotated[str, _checked(is_message, f"hasta {MAX_MESSAGE_CHARACTERS} caracteres válidos")]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]


def _whole(number: object) -> object:
    """40.0 is 40: JSON does not tell them apart, and some languages write the one for the other."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


class Body(BaseModel):
    """A body: exact types, no surprises; keys that nobody knows are ignored, as documented clients send."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class QuitarAsignacion(Body):
    """Body of `quitar-asignacion`, and of `eliminar`."""

    id_conexion: RowId


class QuitarConexion(Body):
    """Body of `quitar-conexion`."""

    direccion_ip: Annotated[str, Field(max_length=45)]


class EliminarConfiguracion(Body):
    """Body of `configuracion/eliminar`."""

    id_conexion: RowId
    id_usuario: RowId


class NewOperation(Body):
    """Body of `POST /api/operaciones`, and of `start_operation`."""

    operation_id: OperationIdText | None = None
    steps: Annotated[list[StepName], Field(max_length=MAX_STEPS)] = Field(default_factory=list)


class SocketCommand(Body):
    """A message of a WebSocket client."""

    type: str
    operation_id: OperationIdText
    steps: Annotated[list[StepName], Field(max_length=MAX_STEPS)] = Field(default_factory=list)


class StepUpdate(Body):
    """Body of a publisher's `POST …/pasos/{step}`."""

    status: Annotated[Status, Field(strict=False)]
    message: Message
    progress: Annotated[int, Field(ge=0, le=100), BeforeValidator(_whole)] | None = None


class Empty(Body):
    """No body is needed."""


Model = TypeVar("Model", bound=Body)


async def read_body(model: type[Model]) -> Model:
    """The request's JSON body as `model`; an empty one counts as `{}`.

    Raises UnsupportedMediaTypeError (so that no foreign page can send one without a preflight),
    BadRequestError where it cannot be parsed, and UnprocessableError where it is not valid.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("El cuerpo debe enviarse con Content-Type: application/json")
    data = await request.get_data(cache=False)
    return parse(model, strict_json.load(data or b"{}", what="El cuerpo"))


def parse(model: type[Model], value: Any) -> Model:
    """The value as `model`. Raises UnprocessableError that names each field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UnprocessableError("; ".join(map(_reason, error.errors()))) from None


def _reason(problem: Any) -> str:
    if not problem["loc"]:
        return "El cuerpo debe ser un objeto JSON"
    field = ".".join(str(part) for part in problem["loc"])
    cause = problem.get("ctx", {}).get("error")
    return f"{field}: {cause or ('falta' if problem['type'] == 'missing' else 'no es válido')}"


def describe(operation: Operation, cursor: Cursor, outlook: Outlook) -> dict[str, Any]:
    """The operation as `GET /api/operaciones/{id}` answers it; what cannot be said of its end is left out."""
    foreseen = {}
    if (ends := outlook.ends) is not None:
        foreseen["estimate"] = {"p50": timestamp(ends.p50_ms), "p90": timestamp(ends.p90_ms)}
    return {
        "operation_id": operation.operation_id,
        "outcome": operation.outcome,
        "progress": operation.progress,
        "steps": [
            {
                "step": name,
                "status": step.event.status,
                "message": step.event.message,
                "progress": step.event.progress,
                "attempt": step.attempt,
                "timestamp": timestamp(step.event.at_ms),
                **({"stalled": True} if name in outlook.stalled else {}),
            }
            for name, step in operation.steps.items()
        ],
        "cursor": str(cursor) if cursor.seq else None,
        "started_at": timestamp(operation.started_ms or 0),
        "updated_at": timestamp(operation.updated_ms),
        "finished_at": None if operation.finished_ms is None else timestamp(operation.finished_ms),
        **foreseen,
    }


def page_limit(text: str | None) -> int:
    """How many a page is to have. Raises BadRequestError."""
    if not text:
        return PAGE_ENTRIES
    if re.fullmatch("[1-9][0-9]{0,2}", text) is None or int(text) > MAX_PAGE_ENTRIES:
        raise BadRequestError(f"limit debe ser un número de 1 a {MAX_PAGE_ENTRIES}")
    return int(text)
