"""Who is asking. The one seam between the documented number and signed tokens."""

from quart.wrappers.base import BaseRequestWebsocket

from wellnet_sse.errors import BadRequestError, UnauthenticatedError
from wellnet_sse.progress.events import UserId, parse_user_id

USER_HEADER = "X-User-ID"
USER_QUERY = "userId"


class Identity:
    """Mode `documented`: the number in `userId` or `X-User-ID` is trusted, as the source document says."""

    def user(self, connection: BaseRequestWebsocket) -> UserId:
        """The user who asks. Raises UnauthenticatedError, and BadRequestError where two are named."""
        user_id = self.user_if_named(connection)
        if user_id is None:
            raise UnauthenticatedError("Falta el usuario: indique userId o X-User-ID")
        return user_id

    def user_if_named(self, connection: BaseRequestWebsocket) -> UserId | None:
        """The same, or None where nobody is named."""
        named = connection.args.getlist(USER_QUERY) + connection.headers.getlist(USER_HEADER)
        if not named:
            return None
        users = {parse_user_id(text) for text in named}
        if None in users:
            raise UnauthenticatedError("El usuario debe ser un número entero positivo")
        if len(users) > 1:
            raise BadRequestError("userId y X-User-ID nombran usuarios distintos")
        return users.pop()
