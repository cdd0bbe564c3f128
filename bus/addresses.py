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
    """Whether a host, an IP address or a name, is this machine's own, that no other machine reaches.

    An IPv4 address that is mapped into IPv6 is what it maps.
    """
    if not is_address(host):
        return host == "localhost"
    address = ipaddress.ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
