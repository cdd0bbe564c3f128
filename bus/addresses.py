"""What a host is: an IP address or a name, this machine's own or another's."""

import ipaddress


def is_address(host: str) -> bool:
    """Whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host, an IP address or a name, is this machine's own, that no other machine reaches."""
    return ipaddress.ip_address(host).is_loopback if is_address(host) else host == "localhost"
