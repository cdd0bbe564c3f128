"""Why a server was not reached, in words for a person: the name, the network, the port, the certificate."""

import errno
import socket
import ssl

import aiohttp

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def why_unreached(error: BaseException) -> str:
    """The reason in a sentence without its subject, the server: "its name cannot be resolved (…)"."""
    error = _cause(error)
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
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"its answer is not HTTP ({_line(error.message)}): look at the address in [venues.…] of mesh.toml"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"its answer was cut off ({_line(str(error))})"
    if isinstance(error, OSError) and error.errno in NO_WAY:
        return f"no network leads there ({error.strerror})"
    return str(error) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())[:160]


def _cause(error: BaseException) -> BaseException:
    """What aiohttp wraps into an error of its own."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error
