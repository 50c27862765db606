"""Every answer that Envoy itself gives, in the shape that OpenAI's clients read."""

from __future__ import annotations

import json
from typing import Any

from berth.gateway.names import LIMIT_HEADER, ROUTE_NAMESPACE
from berth.gateway.xds import Json

RETRY_AFTER_S = 5
"""What a client is told to wait after 429 and 503. OpenAI's clients obey up to a minute; an engine restarts in less."""


_SOON = str(RETRY_AFTER_S)


def _route(key: str) -> str:
    """What the metadata of the request's route say under a key."""
    return f"%METADATA(ROUTE:{ROUTE_NAMESPACE}:{key})%"


_MODEL = _route("model")


def overloaded(model: str) -> Json:
    """The metadata of a route whose model takes no more requests than its engines can."""
    return {"full": f"The model {model} has all the requests it can take; try again.", "code": "model_overloaded"}


def too_many(model: str, most: int) -> Json:
    """The metadata of a route of a client whose requests at a time are counted."""
    text = f"This API key may have {most} requests at a time to the model {model}; wait for one of them."
    return {"full": text, "code": "rate_limit_exceeded"}


def error(message: str, kind: str, code: str | None, param: str | None = None) -> Json:
    """An error as OpenAI writes it; `kind` is its `type`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def local_replies() -> Json:
    """`local_reply_config`: what becomes of the plain texts that Envoy's filters answer with.

    The first mapper that matches wins. 404 and 400 are missing on purpose: those come from routes of ours that have
    their own texts, and a mapper would write over them.
    """
    return {
        "mappers": [
            _mapper(
                _status(401),
                error("No valid API key; send the header Authorization: Bearer KEY.", _INVALID, "invalid_api_key"),
            ),
            _mapper(
                _status(403),
                error("This API key may not do this.", "permission_denied", "permission_denied"),
            ),
            _mapper(
                _flags("UO"),
                error(_route("full"), "rate_limit_error", _route("code")),
                status=429,
                retry=_SOON,
            ),
            _mapper(
                _status(413),
                error("The request body is larger than this gateway takes.", _INVALID, "request_too_large"),
            ),
            _mapper(
                _status(429),
                error(
                    f"This API key may send %RESP({LIMIT_HEADER})% requests a minute; try again later.",
                    "rate_limit_error",
                    "rate_limit_exceeded",
                ),
            ),
            _mapper(
                _status(408),
                error("The request did not arrive in time.", _INVALID, "request_timeout"),
            ),
            _mapper(
                _status(504),
                error(f"The model {_MODEL} has not answered in time.", "server_error", "model_timeout"),
            ),
            _mapper(
                _status(502),
                error(f"The answer of the model {_MODEL} could not be read.", "server_error", "bad_gateway"),
            ),
            _mapper(
                _status(503),
                error(f"The model {_MODEL} does not answer at the moment; try again.", "server_error", _DOWN),
                retry=_SOON,
            ),
            _mapper(
                _status(500),
                error("The gateway failed on this request.", "server_error", "internal_error"),
            ),
        ],
    }


def direct(status: int, body: Any) -> Json:
    """The part of a route that answers at once with this JSON, word for word."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return {
        "direct_response": {"status": status, "body": {"inline_string": text}},
        "response_headers_to_add": [_header("content-type", "application/json")],
    }


def direct_filled(status: int, body: Any) -> Json:
    """As `direct`, with Envoy's format strings in the texts filled in and escaped as JSON."""
    return {"direct_response": {"status": status, "body_format": {"json_format": body}}}


def literal(text: str) -> str:
    """A text for `direct_filled` in which nothing is filled in."""
    return text.replace("%", "%%")


_INVALID = "invalid_request_error"
_DOWN = "model_unavailable"


def _mapper(matches: Json, body: Json, *, status: int | None = None, retry: str | None = None) -> Json:
    """`retry` becomes Retry-After."""
    mapper: Json = {"filter": matches, "body_format_override": {"json_format": body}}
    if status is not None:
        mapper["status_code"] = status
    if retry is not None:
        mapper["headers_to_add"] = [_header("retry-after", retry)]
    return mapper


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _status(code: int) -> Json:
    return {
        "status_code_filter": {
            "comparison": {"op": "EQ", "value": {"default_value": code, "runtime_key": "berth.unused"}},
        },
    }


def _flags(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}
