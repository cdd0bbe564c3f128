"""Parts computed by processes of this machine: as many at a time as there are workers, in whatever order they are done."""

import os
import selectors
import time
from collections.abc import Generator, Iterable

from tickmesh.research.sweep.child import LIMIT_S, WorkerDied, WorkerProcess
from tickmesh.research.sweep.parts import PartAnswer, SweepPart, failed

ATTEMPTS = 2  # of a part whose process dies


class ProcessBackend:
    """The default: workers on this machine. `at_work`: process and part of those that compute, for who wants to watch them."""

    def __init__(self, workers: int | None = None, limit_s: float = LIMIT_S):
        """`workers`: None: one a core that this process may use. `limit_s`: of one part."""
        self.workers = workers or len(os.sched_getaffinity(0))
        self._limit_s = limit_s
        self.at_work: dict[WorkerProcess, SweepPart] = {}
        self._idle: list[WorkerProcess] = []
        self._again: list[SweepPart] = []
        self._deadlines: dict[WorkerProcess, float] = {}
        self._attempts: dict[str, int] = {}

    def run(self, parts: Iterable[SweepPart]) -> Generator[tuple[SweepPart, PartAnswer], None, None]:
        """Gives each part with its answer. A process that dies costs its part alone, which another one tries once more."""
        waiting = iter(parts)
        try:
            with selectors.DefaultSelector() as selector:
                while True:
                    while len(self.at_work) < self.workers:
                        part = self._again.pop() if self._again else next(waiting, None)
                        if part is None:
                            break
                        selector.register(self._begin(part), selectors.EVENT_READ)
                    if not self.at_work:
                        return
                    wait_s = min(self._deadlines.values()) - time.monotonic()
                    ready = {key.fileobj for key, _ in selector.select(max(wait_s, 0.0))}
                    now = time.monotonic()
                    for child in [one for one in self.at_work if one in ready or self._deadlines[one] <= now]:
                        selector.unregister(child)
                        part = self.at_work[child]
                        if (answer := self._end(child, child in ready)) is not None:
                            yield part, answer
        finally:
            self.close()

    def close(self) -> None:
        """Ends all its processes, also those in the middle of a part."""
        for child in [*self.at_work, *self._idle]:
            child.close()
        self.at_work.clear()
        self._deadlines.clear()
        self._idle.clear()

    def _begin(self, part: SweepPart) -> WorkerProcess:
        while True:
            child = self._idle.pop() if self._idle else WorkerProcess()
            try:
                child.ask(part)
            except WorkerDied:  # an idle one that somebody has killed meanwhile; a new one takes what its pipe holds
                continue
            self.at_work[child] = part
            self._deadlines[child] = time.monotonic() + self._limit_s
            return child

    def _end(self, child: WorkerProcess, is_ready: bool) -> PartAnswer | None:
        """The answer of a child that has one, died, or is too late; None where its part is tried again."""
        part = self.at_work.pop(child)
        del self._deadlines[child]
        if not is_ready:
            return failed(part, str(child.too_late(self._limit_s)))
        try:
            answer = child.answer()
        except WorkerDied as error:
            count = self._attempts[part.key] = self._attempts.get(part.key, 0) + 1
            if count < ATTEMPTS:
                self._again.append(part)
                return None
            return failed(part, f"{error}, {count} times")
        self._idle.append(child)
        assert isinstance(answer, PartAnswer)
        return answer
