"""What would stop every process of a mesh: `mesh up` looks before it starts any, `mesh doctor` at any time."""

import os
import socket

from tickmesh.bus.config import Config
from tickmesh.bus.outbox_room import OutboxRoom, room_of
from tickmesh.bus.settings import LOCAL_ORDERS
from tickmesh.bus.space import free_of
from tickmesh.nodes.process_table import hot_path
from tickmesh.nodes.runner.cores import chosen_cores
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


def check_cores(config: Config) -> None:
    """Raises ConfigError where `[latency] pin` names a core that this machine, or who calls, does not have."""
    chosen_cores(config.latency.pin, len(hot_path(config)), os.sched_getaffinity(0))


def outboxes_in_small_ram(config: Config) -> str:
    """Where outboxes lie and how they are sized, a sentence, where RAM has less for them than they would take; else ""."""
    if len(config.outbox_dirs) < 2 and config.outbox_dir.is_relative_to(config.source_dir):
        return (
            f"There is no tmpfs for outboxes: they lie in {config.outbox_dir}, and are slower. `mesh doctor` says what to do."
        )
    room = OutboxRoom(config, "any")
    if room.segment_bytes >= config.log.outbox_segment_bytes:
        return ""
    total, free = room_of(config.outbox_dir)
    beyond = (
        "what has no room there goes on on disk" if len(config.outbox_dirs) > 1 else "log.outbox_spill keeps them off the disk"
    )
    return (
        f"{config.outbox_dir.parent} has {total >> 20} MiB, {free >> 20} free: outboxes have segments of "
        f"{room.segment_bytes >> 10} KiB and fill {room.budget_bytes >> 20} MiB at most; {beyond}."
    )
