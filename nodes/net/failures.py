"""Why a server was not reached, in words for a person: the name, the network, the port, the certificate."""

import errno
import socket
import ssl

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


class Unanswered(Exception):
    """No whole answer to a request came: the reason, as `why_unreached` gives it."""


def why_unreached(error: BaseException) -> str:
    """The reason in a sentence without its subject, the server: "its name cannot be resolved (…)"."""
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved ({error.strerror}): there is no network, or no name server answers"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): a proxy may stand between, or `ca` in [venues.…] of "
            "mesh.toml has to name the certificate to trust"
        )
    if isinstance(error, ssl.SSLError):
        return f"it speaks no TLS that is understood here ({error.reason or error})"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses the connection: nothing listens there"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.errno in NO_WAY:
        return f"no network leads there ({error.strerror})"
    return str(error) or type(error).__name__


def line_of(text: str) -> str:
    """The beginning of a text on one line."""
    return " ".join(text.split())[:160]
