"""The end of every sweep of orders, whatever the seed: scenes on a mesh that has come back whole, for each recovery path."""

from collections.abc import Sequence
from typing import NamedTuple

from tickmesh.tools.chaos.orders_plan import CANCEL, PLACE, on_host, sessions_of
from tickmesh.tools.chaos.plan import Strike

FOREIGN = "t0123456789abcdef-1"  # and a number: an order of the executor of a log that is lost
# A refusal of this order alone: after others the session would wait before the next one
DENIED = {"status": 400, "code": -2010, "message": "Order would immediately match and take."}
DEAF = {"kind": "skip", "length_s": 2.0, "stream": "user"}
TIMES = 3  # how often a scene is played at most, until its paths were used
SHOWN_S = 5.0  # within that the log shows that they were: an order Unknown is believed absent, health is said


class Scene(NamedTuple):
    """Strikes that belong together, in seconds since the scene began, and the recovery paths that they lead to."""

    name: str
    strikes: tuple[Strike, ...]
    paths: tuple[str, ...] = ()


SCENES = (
    Scene(
        "the acknowledgement is lost and the stream says nothing: found by query, fills among own trades",
        (Strike(0.0, fault={"kind": "timeout_after", "length_s": 1.5, "code": -1007}), Strike(0.0, fault=DEAF)),
        ("found_by_query", "fill_by_query"),
    ),
    Scene(
        "it never came there: Unknown until nothing can be on its way any more",
        (Strike(0.0, fault={"kind": "timeout_before", "length_s": 1.5, "code": -1007}),),
        ("found_absent",),
    ),
    Scene(
        "the venue says that it has rejected what it carries out: it works there, and is over for the log",
        (
            Strike(0.0, fault=DEAF),
            Strike(0.0, fault={"kind": "timeout_after", "length_s": 0.7, **DENIED}),
        ),
        ("strays_cancelled",),
    ),
    Scene(
        "nobody is connected: intents are cancelled before they are sent, or expire, those too whose executor is dead",
        (
            Strike(0.0, fault={"kind": "refuse", "length_s": 4.0}),
            Strike(0.1, fault={"kind": "cut", "length_s": 0.1}),
            Strike(1.0, kill=("executor",)),
        ),
        ("expired_unsent", "cancelled_unsent"),
    ),
    # By itself: a hosted executor dies with its session, which then connects for the first time.
    Scene(
        "every connection is cut: a session that lives on connects again",
        (Strike(0.0, fault={"kind": "cut", "length_s": 0.1}),),
        ("reconnect",),
    ),
    Scene(
        "cancels come to nothing: they are sent again",
        (Strike(0.0, fault={"kind": "answer", "length_s": 3.5, "endpoint": CANCEL, "status": 504}),),
        ("cancelled_again",),
    ),
    Scene(
        "the venue asks for a pause",
        (Strike(0.0, fault={"kind": "answer", "length_s": 1.0, "endpoint": PLACE, "status": 429, "retry_after_s": 1}),),
        ("order_pause",),
    ),
    Scene(
        "the stream says everything twice, then in another order, while a limit is tightened",
        (
            Strike(0.0, command=("limit", "maker", "position_notional", "180")),
            Strike(0.0, fault={"kind": "duplicate", "length_s": 2.0, "stream": "user"}),
            Strike(2.0, fault={"kind": "reorder", "length_s": 2.0, "stream": "user"}),
            Strike(4.0, command=("limit", "maker", "position_notional")),
        ),
        ("repeated", "limit_tightened"),
    ),
    Scene(
        "the sequencer hangs while the session adopts an order, and dies: what that has published is in its outbox alone",
        (
            Strike(0.0, hang=("sequencer",)),
            Strike(0.3, foreign=FOREIGN),
            Strike(1.3, kill=("session",)),
            Strike(1.4, wake=("sequencer",)),
        ),
        ("adopted", "outbox_tail"),
    ),
    Scene(
        "all who trade die, and a person has every position closed: who comes back does it",
        (
            Strike(0.0, kill=("executor", "model-flow", "session")),
            Strike(0.1, command=("flatten", "--all", "--why", "the sweep")),
        ),
        ("checkpoint", "session_checkpoint", "positions_closed"),
    ),
    Scene(
        "a strategy is only tried, and the kill switch is on",
        (
            Strike(0.0, command=("strategy", "taker", "shadow", "--why", "the sweep")),
            Strike(2.5, command=("kill-switch", "on", "--why", "the sweep")),
            Strike(5.0, command=("kill-switch", "off")),
            Strike(5.0, command=("strategy", "taker", "on", "--why", "the sweep")),
        ),
        ("strategy_switched", "kill_switch"),
    ),
    Scene("the sequencer dies while all publish", (Strike(0.5, kill=("sequencer",)),), ("outbox_read",)),
    # The venue's clock jumps, which stamps the ledger, too: by itself, or nobody could say who was connected when.
    Scene("the venue's clock is ahead", (Strike(0.0, fault={"kind": "clock", "length_s": 1.5, "offset_ms": 3000}),)),
    Scene("the venue's clock is behind", (Strike(0.0, fault={"kind": "clock", "length_s": 1.5, "offset_ms": -3000}),)),
)


def coda(venues: Sequence[str], guests: Sequence[str] = ()) -> list[Scene]:
    """The scenes that close a sweep: where the session dies, those of all venues do; where a guest does, its host does."""
    sessions = sessions_of(venues)

    def with_all(one: Strike) -> Strike:
        others = tuple(name for name in one.kill if name != "session")
        return one._replace(kill=(*others, *sessions)) if "session" in one.kill else one

    return [Scene(one.name, tuple(on_host(map(with_all, one.strikes), guests)), unhosted(one.paths, guests)) for one in SCENES]


def unhosted(paths: Sequence[str], guests: Sequence[str]) -> tuple[str, ...]:
    """The recovery paths that there are: who is hosted has no outbox, so none is read."""
    return tuple(name for name in paths if name != "outbox_tail" or not guests)
