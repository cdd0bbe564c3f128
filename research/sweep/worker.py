"""A worker's process: it reads questions from one pipe and writes answers into another, until whoever asks is gone.

`python -m tickmesh.research.sweep.worker IN OUT`, numbers of open pipes. A process of its own, and a fresh one: what it has
loaded is what it was started with, what a model does to it (a crash, memory) is its own, and no script of a person is run
again in it.
"""

import os
import queue
import struct
import sys
import threading

import msgspec

from tickmesh.research.sweep.parts import Answer, KernelAnswer, KernelQuestion, Question

HEAD = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode


def read_frame(fd: int) -> bytes | None:
    """Reads one message; None where the other end is closed, in the middle of one as well."""
    head = _read(fd, HEAD.size)
    return None if head is None else _read(fd, HEAD.unpack(head)[0])


def _read(fd: int, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        part = os.read(fd, min(size - len(found), 1 << 20))
        if not part:
            return None
        found += part
    return bytes(found)


def write_frame(fd: int, message: Question | Answer) -> None:
    """Writes one message. Raises OSError where the other end is closed."""
    data = _encode(message)
    left = memoryview(HEAD.pack(len(data)) + data)
    while left:
        left = left[os.write(fd, left) :]


def answer_to(question: Question) -> Answer:
    """Computes an answer. What a backtest needs is loaded for one only: the hashes of kernels are wanted soon."""
    if isinstance(question, KernelQuestion):
        from tickmesh.research.opening import settings_of
        from tickmesh.research.sweep.fetching import local_place
        from tickmesh.research.sweep.identity import kernel_codes

        return KernelAnswer(codes=kernel_codes(settings_of(local_place(question.place), "a sweep"), question.kernels))
    from tickmesh.research.sweep.measuring import compute

    return compute(question)


def main(words: list[str]) -> None:
    """Answers until the pipe of questions is closed."""
    source, target = map(int, words)
    questions: queue.SimpleQueue[Question] = queue.SimpleQueue()

    def read_on() -> None:
        decoder = msgspec.msgpack.Decoder(Question)
        while (frame := read_frame(source)) is not None:
            questions.put(decoder.decode(frame))
        os._exit(0)  # in the middle of a part too: nobody wants it any more

    threading.Thread(target=read_on, daemon=True).start()
    while True:
        try:
            write_frame(target, answer_to(questions.get()))
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
