"""https and wss for the local venue, with a certificate that it makes itself: for clients that speak nothing else.

The certificate is not secret-worthy: it is for loopback, and made anew when it is gone or about to end.
"""

import datetime
import ipaddress
import ssl
import subprocess
from pathlib import Path

from tickmesh.bus.addresses import is_address
from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import ConfigError

DAYS = 365
RENEW_S = 7 * 86400.0


def server_context(folder: Path, host: str) -> ssl.SSLContext:
    """Makes or loads `exchange.crt` (for clients to trust) and `exchange.key` in `folder`. ConfigError when that fails."""
    certificate, key = folder / "exchange.crt", folder / "exchange.key"
    if (
        not key.exists()
        or not certificate.exists()
        or machine_wall_ns() / 1e9 - certificate.stat().st_mtime > DAYS * 86400 - RENEW_S
    ):
        folder.mkdir(parents=True, exist_ok=True)
        key.unlink(missing_ok=True)
        key.touch(mode=0o600)
        try:
            _make(certificate, key, host)
        except ImportError:
            _make_with_openssl(certificate, key, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"exchange.tls: {certificate} cannot be used: {error}; remove it to have it made anew") from None
    return context


def _make(certificate: Path, key: Path, host: str) -> None:
    """Makes the certificate with the `cryptography` package; ImportError where it is not installed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tickmesh local exchange")])
    now = datetime.datetime.fromtimestamp(machine_wall_ns() / 1e9, datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    for address in {host, "127.0.0.1", "::1"}:
        names.append(x509.IPAddress(ipaddress.ip_address(address)) if is_address(address) else x509.DNSName(address))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _make_with_openssl(certificate: Path, key: Path, host: str) -> None:
    named = f"IP:{host}" if is_address(host) else f"DNS:{host}"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(DAYS),
        "-subj", "/CN=tickmesh local exchange", "-addext", f"subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1,{named}",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        raise ConfigError(
            "exchange.tls = true needs a certificate, and there is neither the Python package `cryptography` nor the program "
            "`openssl` to make one; install one of them, or say tls = false"
        ) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        openssl_error = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()[-200:]
        raise ConfigError(f"exchange.tls: openssl could not make a certificate: {openssl_error or error}") from None
