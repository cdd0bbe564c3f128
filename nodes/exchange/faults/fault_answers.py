"""What a faulty venue answers, as the venue itself would (venues.md §2.2, §2.3) or a proxy before it. Pure."""

import msgspec

from tickmesh.nodes.exchange.faults.fault_plan import PlannedFault
from tickmesh.nodes.exchange.faults.hooks import RequestFault

MESSAGES = {
    -1003: "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
    -1015: "Too many new orders; current limit is 50 orders per 10 SECOND.",
    -1001: "Internal error; unable to process your request. Please try again.",
}
HTML = b"<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%d %s</h1></center>\r\n</body>\r\n</html>\r\n"
REASONS = {403: b"Forbidden", 418: b"I'm a teapot", 429: b"Too Many Requests", 502: b"Bad Gateway",
           503: b"Service Unavailable", 504: b"Gateway Time-out"}  # fmt: skip


def fault_body(fault: PlannedFault, status: int, code: int) -> bytes:
    """The body of a faulty answer: the venue's JSON with `code`, or the HTML page of a proxy."""
    if fault.html:
        reason = REASONS.get(status, b"Error")
        return HTML % (status, reason, status, reason)
    message = fault.message or MESSAGES.get(code, "Unknown error, please check your request or try again later.")
    return msgspec.json.encode({"code": code, "msg": message})


def fault_headers(fault: PlannedFault, status: int) -> dict[str, str]:
    """The headers of a faulty answer: `Retry-After` where the fault or the status has one."""
    retry = fault.retry_after_s or (30 if status in (418, 429) else 0)
    return {"Retry-After": str(retry)} if retry else {}


def refused(fault: PlannedFault) -> RequestFault:
    """The answer of a fault that refuses: its status with its own words, if it has any, or no answer at all."""
    words = fault_body(fault, fault.status, fault.code) if fault.message or fault.html else b""
    content_type = "text/html" if fault.html else "application/json"
    headers = fault_headers(fault, fault.status)
    return RequestFault(status=fault.status, cut=not fault.status, body=words, headers=headers, content_type=content_type)
