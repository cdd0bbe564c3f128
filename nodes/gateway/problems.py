"""What is answered to a request that is refused: problem details (RFC 9457), in the words of the command line."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"


class RequestProblem(Exception):
    """A request that is refused: the HTTP status, and a sentence with what was seen, what is allowed and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem_body(status: int, detail: str, path: str = "") -> bytes:
    """Builds the JSON of a problem. `path`: of the request, where it is known."""
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    content: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return msgspec.json.encode({**content, "instance": path} if path else content)
