"""Which accounts a mesh trades on, one a venue, and which session has which. No I/O."""

from tickmesh.bus.config import Config
from tickmesh.bus.settings import ORDER_VENUES


def venue_of_session(instance: str) -> str:
    """The venue of a session's account, by its instance: `session` alone is that of the first of ORDER_VENUES."""
    return instance or ORDER_VENUES[0]


def session_of_venue(venue: str) -> str:
    """The instance of the session of an account at a venue."""
    return "" if venue == ORDER_VENUES[0] else venue


def session_name(venue: str) -> str:
    """The process that has the account at a venue: `session`, or `session-VENUE`."""
    instance = session_of_venue(venue)
    return f"session-{instance}" if instance else "session"


def account_venues(config: Config) -> list[str]:
    """The venues that this mesh has an account at: those of instruments that it trades."""
    return list(dict.fromkeys(one.venue for one in config.traded))


def is_session(process: str) -> bool:
    """Whether a process is the session of an account."""
    return process in (session_name(venue) for venue in ORDER_VENUES)
