"""Parts computed on a cluster of Dask distributed. On each worker a process of its own computes, as on one machine."""

import contextlib
import os
import queue
import tempfile
import threading
import time
import uuid
from collections.abc import Generator, Iterable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import msgspec

from tickmesh.research.libraries import library
from tickmesh.research.sweep.child import LIMIT_S, TookTooLong, WorkerDied, WorkerProcess
from tickmesh.research.sweep.identity import engine_hash
from tickmesh.research.sweep.parts import Answer, PartAnswer, SweepPart, failed
from tickmesh.research.sweep.processes import ATTEMPTS
from tickmesh.storage.query.times import ReadError

CONNECT_S = 15
CLOSE_S = 5
NO_WORKER_S = 60.0  # without any worker for so long a sweep ends; what is done is kept
LOOK_S = 2.0  # how often it is looked whether workers are there
AHEAD = 2  # parts for each thread of the cluster that are handed over, so that none waits for the way here and back
FORGOTTEN_S = 60.0  # a process of another sweep that nobody has asked for so long: whoever asked was killed
ENDED_MAX = 100  # sweeps
EXTRA = "cluster"


class ClusterBackend:
    """A scheduler at an address like tcp://10.0.0.1:8786, with its workers, which have the same tickmesh installed."""

    def __init__(self, address: str, limit_s: float = LIMIT_S):
        self._distributed = library("distributed", "a sweep on a cluster", EXTRA)
        self.address = address
        self._limit_s = limit_s

    def run(self, parts: Iterable[SweepPart]) -> Generator[tuple[SweepPart, PartAnswer], None, None]:
        """Gives each part with its answer. A worker that dies costs its parts alone, which the scheduler gives to another one.

        Raises ReadError where no scheduler answers, a worker has other code, none is left, or the scheduler is lost.
        """
        try:
            client = self._distributed.Client(self.address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ReadError(
                f"no scheduler of Dask answers at {self.address}: {error}; begin one with `dask scheduler`"
            ) from None
        sweep = uuid.uuid4().hex[:8]
        try:
            self._check_workers(client)
            yield from self._run(client, sweep, parts)
        except (OSError, CancelledError) as error:
            raise ReadError(f"the scheduler at {self.address} is lost ({error}); what is done is kept, run it again") from None
        finally:
            # Where the scheduler is gone too, children end with their workers, or when those get another sweep.
            with contextlib.suppress(OSError, RuntimeError, ValueError, CancelledError):
                client.run(end_children, sweep, on_error="ignore")
                client.close(timeout=CLOSE_S)

    def _check_workers(self, client: Any) -> None:
        deadline = time.monotonic() + NO_WORKER_S
        while not client.nthreads():
            if time.monotonic() > deadline:
                raise ReadError(f"{self.address} has no worker; begin some with `dask worker {self.address} --nthreads 1`")
            time.sleep(0.1)
        for worker, found in client.run(engine_hash, on_error="return").items():
            if isinstance(found, BaseException):
                raise ReadError(
                    f"worker {worker} cannot run tickmesh ({type(found).__name__}: {found}); install it there, the same"
                )
            if found != engine_hash():
                raise ReadError(f"worker {worker} has another version of tickmesh's code; install the same on all machines")

    def _run(self, client: Any, sweep: str, parts: Iterable[SweepPart]) -> Generator[tuple[SweepPart, PartAnswer], None, None]:
        waiting = iter(parts)
        at_work: dict[Any, SweepPart] = {}
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        encode = msgspec.msgpack.encode
        last_seen, room = time.monotonic(), AHEAD
        try:
            while True:
                if threads := sum(client.nthreads().values()):
                    last_seen, room = time.monotonic(), AHEAD * threads
                while len(at_work) < room and (part := next(waiting, None)) is not None:
                    key = f"tickmesh-{sweep}-{part.key}"
                    future = client.submit(compute_on_worker, encode(part), sweep, self._limit_s, key=key, pure=False)
                    at_work[future] = part
                    future.add_done_callback(done.put)
                if not at_work:
                    return
                try:
                    future = done.get(timeout=LOOK_S)
                except queue.Empty:
                    if time.monotonic() - last_seen > NO_WORKER_S:
                        raise ReadError(
                            f"{self.address} has had no worker for {NO_WORKER_S:g} s; what is done is kept, run it again"
                        ) from None
                    continue
                part = at_work.pop(future)
                yield part, self._answer(future, part)
        finally:
            if at_work and client.status == "running":
                client.cancel(list(at_work), force=True)

    def _answer(self, future: Any, part: SweepPart) -> PartAnswer:
        try:
            return msgspec.msgpack.decode(future.result(), type=PartAnswer)
        except self._distributed.KilledWorker as error:
            return failed(part, f"workers of the cluster died of it, again and again: {' '.join(str(error).split())}")
        except (OSError, CancelledError):
            raise  # of the scheduler, not of the part
        except Exception as error:  # noqa: BLE001 - whatever a worker raises comes out here; the next part may be well
            return failed(part, f"{type(error).__name__}: {error}")


# On the cluster's workers


class _Pool:
    """The processes of one worker of the cluster: idle ones are used again by parts of the same sweep."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[str, float, WorkerProcess]] = []  # sweep, since when, process
        self._at_work: dict[WorkerProcess, str] = {}
        self._ended: list[str] = []

    def take(self, sweep: str) -> WorkerProcess:
        """An idle process of a sweep, or a new one. Raises WorkerDied where the sweep was ended."""
        with self._lock:
            if sweep in self._ended:
                raise WorkerDied("the sweep was ended")
            now = time.monotonic()
            for one in [one for one in self._idle if one[0] != sweep and now - one[1] > FORGOTTEN_S]:
                self._idle.remove(one)
                one[2].close()
            own = next((one for one in self._idle if one[0] == sweep), None)
            if own is not None:
                self._idle.remove(own)
            child = own[2] if own is not None else WorkerProcess(_environment())
            self._at_work[child] = sweep
            return child

    def give_back(self, child: WorkerProcess, is_well: bool) -> None:
        """Takes back a process, whether it can be used again or not."""
        with self._lock:
            sweep = self._at_work.pop(child)
            if is_well and sweep not in self._ended:
                self._idle.append((sweep, time.monotonic(), child))
            else:
                child.close()

    def end(self, sweep: str) -> None:
        """Ends all processes of a sweep."""
        with self._lock:
            self._ended = [*self._ended[-ENDED_MAX:], sweep]
            for one in [one for one in self._idle if one[0] == sweep]:
                self._idle.remove(one)
                one[2].close()
            for child, own in self._at_work.items():
                if own == sweep:
                    child.stop()


_pool = _Pool()


def _environment() -> dict[str, str]:
    """Machine code is kept on this machine: the mesh's folder may be one that nobody writes into."""
    kept = Path(tempfile.gettempdir()) / f"tickmesh-kernels-{os.getuid()}"
    return {} if "NUMBA_CACHE_DIR" in os.environ else {"NUMBA_CACHE_DIR": str(kept)}


def compute_on_worker(question: bytes, sweep: str, limit_s: float) -> bytes:
    """Computes an encoded part in a process of this worker; gives the encoded answer. Runs on the cluster."""
    part = msgspec.msgpack.decode(question, type=SweepPart)
    answer: Answer = failed(part, "it was not begun")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            child = _pool.take(sweep)
        except WorkerDied as error:
            answer = failed(part, str(error))
            break
        is_well = False
        try:
            child.ask(part)
            answer = child.answer_within(limit_s)
            is_well = True
            break
        except TookTooLong as error:
            answer = failed(part, str(error))
            break
        except WorkerDied as error:
            answer = failed(part, f"{error}, {attempt} times")
        finally:
            _pool.give_back(child, is_well)
    return msgspec.msgpack.encode(answer)


def end_children(sweep: str) -> None:
    """Ends a sweep's processes on this worker of the cluster."""
    _pool.end(sweep)
