"""The one who asks of a worker's process: it starts it, asks one thing at a time, and has a sentence for how it ended."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import msgspec

from tickmesh.research.sweep.parts import Answer, Question
from tickmesh.research.sweep.worker import read_frame, write_frame

LIMIT_S = 3600.0  # of one part
_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}  # parts are what is parallel


class WorkerDied(Exception):
    """A worker's process ended in the middle of a part: a sentence."""


class TookTooLong(WorkerDied):
    """A worker's process was ended because it took too long."""


class WorkerProcess:
    """A worker's process. Ctrl-C does not reach it: whoever owns it closes it."""

    def __init__(self, environment: Mapping[str, str] | None = None):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tickmesh.research.sweep.worker", str(theirs_in), str(theirs_out)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors, pass_fds=(theirs_in, theirs_out),
                env={**ONE_THREAD, **os.environ, **(environment or {})}, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._in, self._out = ours_in, ours_out

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fileno(self) -> int:
        """What becomes readable when there is an answer, or when it has died: for selectors."""
        return self._in

    def ask(self, question: Question) -> None:
        """Asks. Raises WorkerDied where it is gone."""
        try:
            write_frame(self._out, question)
        except OSError:
            raise WorkerDied(self._epitaph()) from None

    def answer(self) -> Answer:
        """Waits for the answer. Raises WorkerDied where it ends instead."""
        frame = read_frame(self._in)
        if frame is None:
            raise WorkerDied(self._epitaph())
        return _decoder.decode(frame)

    def answer_within(self, limit_s: float) -> Answer:
        """Waits for the answer so long. Raises WorkerDied where it ends, TookTooLong where it does not, and is ended."""
        if not select.select([self._in], [], [], limit_s)[0]:
            raise self.too_late(limit_s)
        return self.answer()

    def too_late(self, limit_s: float) -> TookTooLong:
        """Ends it because it takes too long; gives the sentence to raise or to keep."""
        self.close()
        return TookTooLong(f"it took longer than {limit_s:g} s, and was ended; --limit allows more, shorter periods need less")

    def stop(self) -> None:
        """Ends it at once: whoever waits for its answer gets WorkerDied, and closes it."""
        self._process.kill()

    def close(self) -> None:
        """Ends it at once, and waits for that. A second call does nothing."""
        if self._in < 0:
            return
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._errors.close()
        self._in = self._out = -1

    def _epitaph(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        self.close()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        hint = ", as the system does where memory ends" if code == -signal.SIGKILL else ""
        return f"the worker's process ended {how}{hint}{f' ({lines[-1]})' if lines else ''}"
