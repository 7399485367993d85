"""What goes wrong, as OpenAI words it: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ragformer.errors import (
    ClusterError,
    EncoderMismatchError,
    InputError,
    NotFoundError,
    PasswordError,
    PdfError,
    RagformerError,
    ServerError,
    StoreBusyError,
    StoreFullError,
    StoreReadOnlyError,
)
from ragformer.serve.sending import Json

TRY_AGAIN = {"Retry-After": "1"}
_CODES = {
    401: "invalid_api_key",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    504: "timeout",
}
_STATUS: dict[type[RagformerError], int] = {
    InputError: 400,
    NotFoundError: 404,
    PasswordError: 403,
    PdfError: 422,
    StoreBusyError: 503,
    StoreFullError: 507,
    StoreReadOnlyError: 403,
    EncoderMismatchError: 409,
    ServerError: 502,
    ClusterError: 502,
}
"""A subclass before its base; what is not here is wrong with this server: 500."""

LONGEST_PATH = 100  # characters of a wrong one that an error repeats
_ADDRESSES = "questions go to /v1/chat/completions, and /openapi.json lists the other addresses"
_KIND = re.compile(r"(body|str)$|.*\[")
"""Parts of the place of a fault that no client wrote."""
_PLAINLY = {
    "": "send a JSON object, with Content-Type: application/json",
    "file": "file: send the PDF itself, in multipart/form-data, as curl -F file=@a.pdf does",
}


class ApiError(Exception):
    """A request that ends with this status and sentence."""

    def __init__(self, status: int, message: str, code: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def error_form(
    status: int, message: str, code: str = "", param: str | None = None
) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = code or _CODES.get(status, "")
    # No client can be sent half a character, which a request may hold.
    message = message.encode("utf-8", "replace").decode()
    return {"error": {"message": message, "type": kind, "param": param, "code": code or None}}


def response(
    status: int,
    message: str,
    code: str = "",
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Json:
    more = TRY_AGAIN if status == 503 else {}
    return Json(error_form(status, message, code, param), status, {**(headers or {}), **more})


def status_of(error: RagformerError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def told(error: RagformerError | ApiError) -> dict[str, Any]:
    """The error's form, for a stream whose status has been sent."""
    if isinstance(error, ApiError):
        return error_form(error.status, str(error), error.code, error.param)
    return error_form(status_of(error), str(error))


def add_handlers(app: FastAPI) -> None:
    """Give every error that leaves an endpoint this form."""

    @app.exception_handler(ApiError)
    async def _ours(_: Request, error: ApiError) -> Json:
        return response(error.status, str(error), error.code, error.param)

    @app.exception_handler(RagformerError)
    async def _known(_: Request, error: RagformerError) -> Json:
        return response(status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Json:
        # Of a value that may be one kind or another, the deepest fault is that of the kind meant.
        fault = max(error.errors(), key=lambda e: (len(e["loc"]), e["type"] != "string_type"))
        place = () if fault["type"] == "json_invalid" else fault["loc"]
        where = ".".join(str(part) for part in place if not _KIND.match(str(part)))
        said = _PLAINLY.get(where) or f"{where}: {fault['msg']}"
        return response(400, said, "invalid_value", where or None)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Json:
        said = str(error.detail)
        if error.status_code == 404:  # of the router: an endpoint raises what is ours
            said = f"there is nothing at {request.url.path[:LONGEST_PATH]}; {_ADDRESSES}"
        return response(error.status_code, said, headers=error.headers)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> Json:
        return response(500, f"unexpected {type(error).__name__}; the server's log says more")
