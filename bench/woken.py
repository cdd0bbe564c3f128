"""The floor of every tail: how late the kernel wakes a process, by a timer and by a socket. `python -m bench.woken SECONDS`.

Two bare processes, without a mesh: one sleeps for SLEEP_S, again and again, and notes how much too late it wakes; then it sends
a byte to the other one, which notes how long that was on its way. Writes both lists (JSON, ns) to its standard output.
"""

import json
import os
import socket
import sys
import time

SLEEP_S = 0.004
STAMP = 8


def woken(seconds: float) -> dict[str, list[int]]:
    """ns by which each sleep was too long, and which each byte took."""
    ours, theirs = socket.socketpair()
    if not (child := os.fork()):
        ours.close()
        took = []
        while stamp := theirs.recv(STAMP):
            took.append(time.monotonic_ns() - int.from_bytes(stamp, "little"))
        theirs.sendall(json.dumps(took).encode())
        os._exit(0)
    theirs.close()
    late, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        due = time.monotonic_ns() + int(SLEEP_S * 1e9)
        time.sleep(SLEEP_S)
        now = time.monotonic_ns()
        late.append(now - due)
        ours.sendall(time.monotonic_ns().to_bytes(STAMP, "little"))
    ours.shutdown(socket.SHUT_WR)
    sent = b""
    while part := ours.recv(1 << 20):
        sent += part
    os.waitpid(child, 0)
    return {"timer": late, "socket": json.loads(sent)}


if __name__ == "__main__":
    print(json.dumps(woken(float(sys.argv[1]))))
