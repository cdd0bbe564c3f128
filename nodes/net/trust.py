"""Whose certificates a client trusts: the system's, or SSL_CERT_FILE's, and those of a file that a venue's settings name.

A context takes tens of milliseconds to make, so it is made once for each file, and anew when the file has changed.
"""

import ssl
from functools import lru_cache
from pathlib import Path


def trust(ca: Path | None = None) -> ssl.SSLContext:
    """The context of a client that trusts the system's certificates, and those in the file `ca` (PEM) if one is given.

    Raises OSError, with a sentence, for a file that cannot be read or that holds no certificate.
    """
    if ca is None:
        return _made("", 0)
    try:
        return _made(str(ca), ca.stat().st_mtime_ns)
    except ssl.SSLError:
        raise OSError(f"ca = {str(ca)!r} holds no certificate in PEM form") from None
    except OSError as error:
        raise OSError(f"ca = {str(ca)!r} cannot be read: {error.strerror or error}") from None


@lru_cache(maxsize=16)
def _made(path: str, mtime_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if path:
        context.load_verify_locations(path)
    return context
