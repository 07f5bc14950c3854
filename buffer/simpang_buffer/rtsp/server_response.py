"""What the server answers with: its status codes, and the fields that every response has (RFC 2326)."""

from __future__ import annotations

from simpang_buffer.rtsp.message import Headers, Request, Response, cseq

PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    451: "Parameter Not Understood",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    551: "Option not supported",
}


def respond(status: int, request: Request | None, *fields: tuple[str, str], body: bytes = b"") -> Response:
    """A response with the request's CSeq, if it had one that can be read."""
    number = cseq(request.headers) if request is not None else None
    head = [] if number is None else [("CSeq", str(number))]
    return Response(status, _REASONS[status], Headers((*head, ("Server", "simpang"), *fields)), body)
