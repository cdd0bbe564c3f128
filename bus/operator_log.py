"""What a process writes for its operator: a line on standard error each time, for people (human) or for programs (JSON).

Set up once in a process, by nodes/__main__.py. Loggers bear the names of nodes; libraries log through the same formatter.
"""

import json
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any

from tickmesh.bus.settings import Level, LineFormat


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


_NO_LEVELS: Mapping[str, Level] = MappingProxyType({})


def set_up(
    nodes: Sequence[str], form: LineFormat = "human", level: Level = "info", levels: Mapping[str, Level] = _NO_LEVELS
) -> None:
    """Sends everything that this process logs to standard error in this form from now on, a fault that ends it included.

    `nodes`: whose process it is, and whom it hosts. `level`: the least that is logged of them; `levels`: of single ones, or
    of a library's logger, which otherwise logs warnings and worse.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(nodes, form))
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
