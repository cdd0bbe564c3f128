"""What would stop every process of a mesh: `mesh up` looks before it starts any, `mesh doctor` at any time."""

import socket

from tickmesh.bus.config import Config
from tickmesh.bus.settings import LOCAL_ORDERS
from tickmesh.bus.space import free_of
from tickmesh.tools.terminal import Failure

FREE_BYTES_MIN = 256 << 20  # a log segment, an outbox segment each, and an archive file, with room to notice
FREE_INODES_MIN = 200  # each of these files takes one, and each instrument's of a cut


def check_room(config: Config) -> None:
    """Raises Failure where the data folder's disk has too little room to begin."""
    free = free_of(config.source_dir)
    if free.bytes < FREE_BYTES_MIN or free.inodes < FREE_INODES_MIN:
        raise Failure(
            f"the disk of {config.source_dir} has {free} free; at least {FREE_BYTES_MIN} bytes and {FREE_INODES_MIN} inodes "
            "are needed"
        )


def check_port(config: Config) -> None:
    """Raises Failure where the local exchange is to have a port that somebody has. Of a mesh that is up, that is itself."""
    if (port := config.exchange.port) and config.mode in LOCAL_ORDERS:
        with socket.socket() as probe_socket:
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe_socket.bind((config.exchange.host, port))
            except OSError as error:
                raise Failure(f"exchange.port {port}: {error.strerror}; 0 takes any free one") from None
