"""What is done to a mesh that trades, and when: a pure function of the seed. Moments are seconds since the first."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from tickmesh.tools.chaos.plan import AT_ONCE, CALM_S, FEEDS, USDM_FEEDS, Strike, is_hosting
from tickmesh.tools.chaos.sweep_mesh import HOST

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


def victims_of(venues: Sequence[str]) -> tuple[str, ...]:
    """The processes that are killed in a mesh that trades at these venues."""
    return (*VICTIMS, *(name for venue in venues for name in VICTIMS_OF_VENUE.get(venue, ())))


def sessions_of(venues: Sequence[str]) -> tuple[str, ...]:
    """Names the sessions of a mesh that trades at these venues."""
    return tuple(name for name in victims_of(venues) if name.startswith("session"))


def guests_of(seed: int, venues: Sequence[str]) -> tuple[str, ...]:
    """Names whom the sequencer hosts in the sweep of this seed: of every third the executor and the sessions."""
    return ("executor", *sessions_of(venues)) if is_hosting(seed) else ()


def on_host(strikes: Iterable[Strike], guests: Sequence[str]) -> list[Strike]:
    """Replaces kills of guests by one of their host."""
    hosts = dict.fromkeys(guests, HOST)
    return [one._replace(kill=tuple(dict.fromkeys(hosts.get(name, name) for name in one.kill))) for one in strikes]


def plan(kills: int, seed: int, venues: Sequence[str] = ("binance",)) -> list[Strike]:
    """Draws the strikes of a sweep of orders from its seed: `kills` SIGKILLs, every fault at least once, the coda not yet."""
    draw = random.Random(seed)
    groups = _groups(kills, draw, venues)
    faults = list(FAULTS)
    draw.shuffle(faults)
    faults += [draw.choice(FAULTS) for _ in range(len(groups) // FAULT_EVERY - len(faults))]
    turns = ["kill"] * len(groups) + ["fault"] * len(faults)
    draw.shuffle(turns)
    strikes, at_s = [], CALM_S
    for turn in turns:
        kill = groups.pop(0) if turn == "kill" else ()
        fault = {} if kill else {**faults.pop(0), "seed": draw.randrange(1 << 30)}
        strikes.append(Strike(round(at_s, 3), kill=kill, fault=fault))
        at_s += draw.uniform(*PAUSE_S)
    return strikes


def _groups(kills: int, draw: random.Random, venues: Sequence[str]) -> list[tuple[str, ...]]:
    """Who dies together: first executor and session, and each victim alone, as far as `kills` reaches, then as drawn.

    As drawn, nobody dies in two strikes one after the other: he would have to be waited for.
    """
    victims = victims_of(venues)
    often = (*victims, *2 * sessions_of(venues), "executor")  # these more often than others
    first: list[tuple[str, ...]] = [(name,) for name in victims]
    draw.shuffle(first)
    first.insert(0, ("executor", "session"))
    groups: list[tuple[str, ...]] = []
    left = kills
    while left > 0:
        there = [name for name in often if not groups or name not in groups[-1]]
        group = first.pop(0) if first else tuple(dict.fromkeys(draw.sample(there, draw.choice(AT_ONCE))))
        groups.append(group[:left])
        left -= len(groups[-1])
    return groups
