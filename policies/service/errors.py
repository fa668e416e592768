"""Every failure of the service as one JSON shape: ``{"error": {code, message, where?}}``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

#: Seconds after which a client that was turned away may try again.
RETRY_AFTER = 1


class ApiError(Exception):
    """What the client is told; ``where`` names the part of the request that is at fault."""

    def __init__(
        self, status: int, code: str, message: str, where: str | None = None,
        retry_after: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.where = where
        self.retry_after = retry_after

    def response(self) -> Response:
        """Return the answer."""
        error = {"code": self.code, "message": self.message}
        if self.where is not None:
            error["where"] = self.where
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return json_response({"error": error}, self.status, headers)


def bad_request(message: str, where: str | None = None) -> ApiError:
    """Return the error of a request that cannot be carried out as it is."""
    return ApiError(422, "invalid", message, where)


def unavailable(code: str, message: str) -> ApiError:
    """Return the error of a service that cannot answer now, and may soon."""
    return ApiError(503, code, message, retry_after=RETRY_AFTER)


def invalid_body(errors: Sequence[Any]) -> ApiError:
    """Return what pydantic found first as an error; the value met is not repeated."""
    first = errors[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "json_invalid":
        return ApiError(400, "malformed", "the body is not valid JSON", "body")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return bad_request(f"{first['msg']}{more}", where)


def json_response(
    content: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return plain values as JSON; what JSON cannot hold is our bug and raises."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode(), status, headers, media_type="application/json")
