"""When the archive is cut: so seldom that files stay few, so early that neither log nor memory grows. A pure function."""

from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.settings import RecorderSettings

DAY_S = 86_400
LEAST_S = 60.0  # between two cuts for their age
SPACE_BYTES = 64 << 20  # of log that a cut gives back when the disk is low; archived it is a tenth of that


class Waiting(NamedTuple):
    """What the log has and the archive has not: `age_s` of the oldest event, `midnight` between it and the newest."""

    events: int
    bytes: int
    age_s: float
    midnight: bool = False
    low: bool = False  # the disk


def files_expected(config: Config) -> int:
    """Returns how many files a cut has when all that is configured published: one a folder, two for nodes and the account."""
    lines = config.feed.lines * len({one.venue for one in config.instruments}) if config.feed.raw else 0
    return len(config.instruments) + lines + 2


def interval_s(settings: RecorderSettings, files: int) -> float:
    """The age at which a cut is due that makes so many files."""
    return settings.segment_s or max(LEAST_S, files * DAY_S / settings.segment_files_per_day)


def due(settings: RecorderSettings, files: int, waiting: Waiting) -> str:
    """Why a cut that makes `files` files is due now: midnight, events, bytes, space or age; "" when none is."""
    if waiting.events <= 0:
        return ""
    if waiting.midnight:
        return "midnight"
    if waiting.events >= settings.segment_events:
        return "events"
    if waiting.bytes >= settings.segment_bytes:
        return "bytes"
    if waiting.low and waiting.bytes >= SPACE_BYTES:
        return "space"
    return "age" if waiting.age_s >= interval_s(settings, files) else ""
