"""What a process writes for its operator: a line on standard error each time, for people (human) or for programs (JSON).

Set up once in a process, by nodes/__main__.py. Loggers bear the names of nodes; libraries log through the same formatter.
"""

import json
import logging
import os
import stat
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from tickmesh.bus.settings import Level, LineFormat

LINES_PER_MINUTE = 300  # of each logger


class LineFormatter(logging.Formatter):
    """Formats a log record as one line: time (UTC), level, node, sentence, for people or as JSON.

    `nodes`: those of this process, its own first; a record of a library's logger is that one's, and names the logger as well.
    """

    def __init__(self, nodes: Sequence[str], form: LineFormat):
        super().__init__()
        self.nodes = nodes
        self.form = form

    def format(self, record: logging.LogRecord) -> str:
        """Formats a record as its line; in human form a traceback follows on lines of its own."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        level, sentence = record.levelname.lower(), record.getMessage()
        is_node = record.name in self.nodes
        node = record.name if is_node else self.nodes[0]
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        if self.form == "human":
            logger = "" if is_node else f"{record.name}: "
            return f"{at} {level} {node}: {logger}{sentence}" + (f"\n{trace}" if trace else "")
        line = {"time": at, "level": level, "node": node, "message": sentence, **getattr(record, "fields", {})}
        if not is_node:
            line["logger"] = record.name
        if trace:
            line["traceback"] = trace
        return json.dumps(line, ensure_ascii=False)


class LineLimit(logging.Filter):
    """Lets at most LINES_PER_MINUTE lines of each logger through, and says how many it has left out: a log stays readable."""

    def __init__(self, most: int = LINES_PER_MINUTE):
        super().__init__()
        self.most = most
        self._counts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0, 0])  # since when, written, left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is written. Faults that end a process always are."""
        count = self._counts[record.name]
        if (now := time.monotonic()) - count[0] >= 60:
            if count[2]:
                record.msg = f"{record.getMessage()} (before it, {count[2]:.0f} lines of a minute were left out)"
                record.args = ()
            count[:] = [now, 0, 0]
        if count[1] >= self.most and record.levelno < logging.CRITICAL:
            count[2] += 1
            return False
        count[1] += 1
        return True


class LineHandler(logging.StreamHandler):  # type: ignore[type-arg]  # it is no generic class in Python 3.11
    """Writes to standard error, and never waits: where nobody reads it (supervisord hangs), lines are left out and counted."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._left_out = 0
        self._fd = -1
        if os.environ.get("SUPERVISOR_ENABLED") and stat.S_ISFIFO(os.fstat(2).st_mode):
            self._fd = 2
            os.set_blocking(2, False)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, and before it how many were lost."""
        if self._fd < 0:
            super().emit(record)
            return
        lost = f"({self._left_out} lines before this one were lost: nobody read them)\n" if self._left_out else ""
        data = f"{lost}{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except BlockingIOError:
            self._left_out += 1
        except OSError:
            self.handleError(record)
        else:
            self._left_out = 0


_NO_LEVELS: Mapping[str, Level] = MappingProxyType({})


def set_up(
    nodes: Sequence[str], form: LineFormat = "human", level: Level = "info", levels: Mapping[str, Level] = _NO_LEVELS
) -> None:
    """Sends everything that this process logs to standard error in this form from now on, a fault that ends it included.

    `nodes`: whose process it is, and whom it hosts. `level`: the least that is logged of them; `levels`: of single ones, or
    of a library's logger, which otherwise logs warnings and worse.
    """
    handler = LineHandler()
    handler.setFormatter(LineFormatter(nodes, form))
    handler.addFilter(LineLimit())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    for name, least in (dict.fromkeys(nodes, level) | dict(levels)).items():
        logging.getLogger(name).setLevel(least.upper())
    own = logging.getLogger(nodes[0])

    def on_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            own.critical("ends because of a fault in it", exc_info=(kind, error, trace))

    def on_thread_fault(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            own.critical(
                "a thread of it ended because of a fault", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
            )

    sys.excepthook, threading.excepthook = on_fault, on_thread_fault
    sys.unraisablehook = lambda args: own.error(
        "%s: %r", args.err_msg or "a fault was ignored in", args.object, exc_info=args.exc_value
    )


def log_line(node: str, level: str, sentence: str, **fields: str) -> None:
    """Writes one line of `node`, which need not be the process's own name. `fields`: further fields of a JSON line."""
    logging.getLogger(node).log(logging.getLevelNamesMapping()[level.upper()], "%s", sentence, extra={"fields": fields})


def log_alert(node: str, alert: Mapping[str, Any]) -> None:
    """Writes the line of an alert that `node` raises: its fields level, what, target, why and action."""
    what, target, why, action = (str(alert[key]) for key in ("what", "target", "why", "action"))
    about = "" if target == node else f"{target}: "
    sentence = f"{about}{what}: {why}; {action}"
    log_line(node, alert["level"], sentence, what=what, target=target, why=why, action=action)
