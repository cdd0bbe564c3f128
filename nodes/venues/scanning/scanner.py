"""Reads all frames of one socket read by one call of the compiled scanner; what it does not recognise, the adapter reads."""

import ctypes
from array import array

from tickmesh.bus.compiled_objects import c_function
from tickmesh.nodes.venues.scanning import steps
from tickmesh.nodes.venues.scanning.forms import UsualForms
from tickmesh.nodes.venues.scanning.plan import ScanPlan, plan_of

OUT_BYTES = 1 << 20  # of the events of one read; a frame whose event has no room is left to the adapter
FRAMES_MAX = 4096  # of one call
_FRAME_COUNT, _RECV_NS = steps.FRAME_COUNT, steps.RECV_NS


def _view(memory: "array[int] | bytearray") -> ctypes.Array[ctypes.c_char]:
    """The memory of an array as ctypes has it; its size stays as it is from now on."""
    return (ctypes.c_char * memoryview(memory).nbytes).from_buffer(memory)


def _address(memory: "array[int] | bytearray") -> int:
    return ctypes.addressof(_view(memory))


class FrameScanner:
    """Makes events of frames in their usual forms. Not to be used by two threads at once.

    `address`: of the kernel's `scan`.
    """

    def __init__(self, address: int, forms: UsualForms):
        self._function = c_function(address)
        self._out = bytearray(OUT_BYTES)
        self._ends, self._sizes = array("q", bytes(8 * FRAMES_MAX)), array("q", bytes(8 * FRAMES_MAX))
        self._request = array("q", bytes(8 * steps.REQUEST_WORDS))
        self._request[steps.OUT_ROOM] = OUT_BYTES // 8
        self._result = array("q", [0])
        self._places = array("q", bytes(8 * steps.PLACE_COUNT))
        self._places[steps.OUT], self._places[steps.ENDS] = _address(self._out), _address(self._ends)
        self._places[steps.SIZES] = _address(self._sizes)
        # Made once: of a call for one frame, what ctypes does is the greater part.
        self._arguments = tuple(ctypes.byref(_view(one)) for one in (self._result, self._request, self._places))
        self._stale = False  # a frame went the exact way: a floor may be another now
        self.know(forms)

    def know(self, forms: UsualForms) -> None:
        """Reads these streams from now on."""
        self._plan: ScanPlan = plan_of(forms)
        self._texts = self._plan.texts
        self._places[steps.PLAN] = _address(self._plan.words)

    def _look_at_floors(self) -> None:
        self._stale = False
        for place, form in self._plan.floors:
            self._plan.words[place] = form.floor()

    def scan(self, frames: list[bytes], recv_ns: int) -> list[bytearray | None]:
        """The event of each frame, as the adapter would make it, byte for byte; None for a frame that it has to read.

        Those are to be read, by the same adapter's `decode` and in their order, before the next call.
        """
        count = len(frames)
        if self._stale:
            self._look_at_floors()
        sizes, asked = self._sizes, self._request
        if count == 1:
            joined = frames[0]
            sizes[0] = len(joined)
        elif 0 < count <= FRAMES_MAX:
            joined = b"".join(frames)
            sizes[:count] = array("q", map(len, frames))
        else:
            return [None] * count
        asked[_FRAME_COUNT], asked[_RECV_NS] = count, recv_ns
        result, request, places = self._arguments
        self._function(result, None, joined, request, places, self._texts)
        recognised, out, start = self._result[0], self._out, 0
        if recognised == count == 1:
            return [out[: self._ends[0]]]
        events: list[bytearray | None] = []
        if recognised == count:
            for end in self._ends[:count]:
                events.append(out[start:end])
                start = end
            return events
        self._stale = True
        for end in self._ends[:count]:
            if end < 0:
                events.append(None)
            else:
                events.append(out[start:end])
                start = end
        return events
