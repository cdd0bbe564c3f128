"""What is done to a mesh that trades, and when: a pure function of the seed. Moments are seconds since the first."""

import random
from collections.abc import Sequence
from typing import Any

from tickmesh.tools.chaos.plan import AT_ONCE, CALM_S, FEEDS, USDM_FEEDS, Strike

PLACE, CANCEL = "*order.place", "*order.cancel"  # of either venue
VICTIMS = ("session", "executor", "sequencer", "model-imbalance", "model-flow", *FEEDS)
VICTIMS_OF_VENUE = {"binance_usdm": ("session-binance_usdm", *USDM_FEEDS)}  # more of them, where that is traded on
PAUSE_S = (0.3, 1.1)  # between two strikes
FAULT_EVERY = 2  # strikes with kills, on average, for one fault
REST = "GET *"

# Each at least once in every sweep: what orders meet at a venue.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "timeout_after", "length_s": 1.5, "code": -1007, "probability": 0.6},
    {"kind": "timeout_after", "length_s": 1.5, "code": -1006, "probability": 0.6},
    {"kind": "timeout_after", "length_s": 1.0, "silent": True, "probability": 0.5},
    {"kind": "timeout_before", "length_s": 1.5, "code": -1007, "probability": 0.6},
    {"kind": "timeout_before", "length_s": 1.0, "silent": True, "probability": 0.5},
    {"kind": "answer", "length_s": 1.5, "endpoint": PLACE, "status": 429, "retry_after_s": 1, "probability": 0.5},
    {"kind": "answer", "length_s": 1.5, "endpoint": PLACE, "status": 503, "probability": 0.5},
    {"kind": "answer", "length_s": 1.5, "endpoint": CANCEL, "status": 504, "probability": 0.7},
    {"kind": "answer", "length_s": 1.5, "endpoint": REST, "status": 500, "probability": 0.7},
    {"kind": "refuse", "length_s": 2.0, "endpoint": REST},
    {"kind": "skip", "length_s": 2.0, "stream": "user", "probability": 0.6},
    {"kind": "duplicate", "length_s": 2.0, "stream": "user"},
    {"kind": "reorder", "length_s": 2.0, "stream": "user", "probability": 0.5},
    {"kind": "delay", "length_s": 2.0, "stream": "user", "delay_ms": 700},
    {"kind": "garbage", "length_s": 1.0, "stream": "user", "probability": 0.3},
    {"kind": "cut", "length_s": 0.1},
    {"kind": "shutdown", "length_s": 1.0},
    {"kind": "stall", "length_s": 5.0},
    {"kind": "restart", "length_s": 1.0},
    {"kind": "halt", "length_s": 1.5},
    {"kind": "outage", "length_s": 1.5},
)

FOREIGN = "t0123456789abcdef-1-0"  # an order of the executor of a log that is lost
DEAF = {"kind": "skip", "length_s": 2.0, "stream": "user"}

# The last strikes, whatever the seed, on a mesh that has come back whole: each recovery path is taken for certain.
CODA = (
    # The acknowledgement is lost and the stream says nothing: found by query, its fills among own trades.
    Strike(0.0, fault={"kind": "timeout_after", "length_s": 2.0, "code": -1007}),
    Strike(0.0, fault=DEAF),
    # It never came there: Unknown until nothing can be on its way any more.
    Strike(5.0, fault={"kind": "timeout_before", "length_s": 2.0, "code": -1007}),
    # Nobody is connected: intents are cancelled before they are sent, or expire, those too whose executor is dead.
    Strike(10.0, fault={"kind": "refuse", "length_s": 4.0}),
    Strike(10.1, fault={"kind": "cut", "length_s": 0.1}),
    Strike(11.0, kill=("executor",)),
    # Cancels come to nothing: they are sent again.
    Strike(17.0, fault={"kind": "answer", "length_s": 4.0, "endpoint": CANCEL, "status": 504}),
    # The venue asks for a pause.
    Strike(22.0, fault={"kind": "answer", "length_s": 1.0, "endpoint": PLACE, "status": 429, "retry_after_s": 1}),
    # The stream says everything twice, then in another order.
    Strike(24.0, fault={"kind": "duplicate", "length_s": 2.0, "stream": "user"}),
    Strike(26.0, fault={"kind": "reorder", "length_s": 2.0, "stream": "user"}),
    # The sequencer hangs while the session adopts an order, and dies: what that has published is in its outbox alone.
    Strike(29.0, hang=("sequencer",)),
    Strike(29.5, foreign=FOREIGN),
    Strike(30.5, kill=("session",)),
    Strike(34.0, wake=("sequencer",)),
    Strike(37.0, kill=("executor", "session")),
    Strike(41.0, command=("strategy", "taker", "shadow", "--why", "the sweep")),
    Strike(42.0, command=("kill-switch", "on", "--why", "the sweep")),
    Strike(46.0, command=("kill-switch", "off")),
    Strike(47.0, command=("strategy", "taker", "on", "--why", "the sweep")),
    Strike(49.0, kill=("sequencer",)),
    # The venue's clock jumps, which stamps the ledger, too: by itself, or nobody could say who was connected when.
    Strike(55.0, fault={"kind": "clock", "length_s": 2.0, "offset_ms": 3000}),
    Strike(61.0, fault={"kind": "clock", "length_s": 2.0, "offset_ms": -3000}),
    Strike(67.0, kill=("model-flow",)),
)


def victims_of(venues: Sequence[str]) -> tuple[str, ...]:
    """The processes that are killed in a mesh that trades at these venues."""
    return (*VICTIMS, *(name for venue in venues for name in VICTIMS_OF_VENUE.get(venue, ())))


def sessions_of(venues: Sequence[str]) -> tuple[str, ...]:
    """Names the sessions of a mesh that trades at these venues."""
    return tuple(name for name in victims_of(venues) if name.startswith("session"))


def coda(venues: Sequence[str]) -> list[Strike]:
    """The closing strikes of every sweep: where the session dies, those of all venues do."""
    sessions = sessions_of(venues)
    return [
        one._replace(kill=(*(name for name in one.kill if name != "session"), *sessions)) if "session" in one.kill else one
        for one in CODA
    ]


def plan(kills: int, seed: int, venues: Sequence[str] = ("binance",)) -> list[Strike]:
    """Draws the strikes of a sweep of orders from its seed: `kills` SIGKILLs, every fault at least once, the coda not yet."""
    draw = random.Random(seed)
    groups = _groups(kills, draw, venues)
    faults = list(FAULTS)
    draw.shuffle(faults)
    faults += [draw.choice(FAULTS) for _ in range(len(groups) // FAULT_EVERY - len(faults))]
    acts = [Strike(0.0, kill=group) for group in groups] + [Strike(0.0, fault=fault) for fault in faults]
    draw.shuffle(acts)
    strikes, at_s = [], CALM_S
    for act in acts:
        fault = {**act.fault, "seed": draw.randrange(1 << 30)} if act.fault else {}
        strikes.append(act._replace(at_s=round(at_s, 3), fault=fault))
        at_s += draw.uniform(*PAUSE_S)
    return strikes


def _groups(kills: int, draw: random.Random, venues: Sequence[str]) -> list[tuple[str, ...]]:
    """Who dies together: first executor and session, and each victim alone, as far as `kills` reaches, then as drawn."""
    victims = victims_of(venues)
    often = (*victims, *2 * sessions_of(venues), "executor")  # these more often than others
    first: list[tuple[str, ...]] = [(name,) for name in victims]
    draw.shuffle(first)
    first.insert(0, ("executor", "session"))
    groups, left = [], kills
    while left > 0:
        group = first.pop(0) if first else tuple(dict.fromkeys(draw.sample(often, draw.choice(AT_ONCE))))
        groups.append(group[:left])
        left -= len(groups[-1])
    return groups
