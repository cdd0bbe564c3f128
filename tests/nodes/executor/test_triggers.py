"""A style that is asked when a trigger fires orders exactly what one does that is asked at every event."""

import random
from itertools import cycle

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.executor_tape import LOT, Tape, make
from tests.support.odd_venue import SUBJECTS, SYMBOLS, drive
from tests.support.parent_scene import Scene, records
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.executor.styles.interface import Trigger
from tickmesh.nodes.executor.trigger_kernel import NO_LAG, QUOTE, ROW, SKIPPED, TIME, TRADE, TRIGGER, first_fired


class AskedAlways(executor.Step):
    """A step that asks every style at every event."""

    def _prepare(self) -> None:
        super()._prepare()
        self._working.woken = lambda events, index: tuple(self._working.subjects)


class KilledNowAndThen:
    """A step that is away at some of its calls: what it has to say by the log is said when it is back, all at once."""

    def __init__(self, step: executor.Step, absences: list[tuple[int, int]]):
        self._step = step
        self._away = {call for begin, calls in absences for call in range(begin, begin + calls)}
        self._calls, self._unsaid = 0, []

    def step(self, events):
        self._calls += 1
        self._unsaid += self._step.step(events)
        if self._calls in self._away:
            return []
        said, self._unsaid = self._unsaid, []
        return said


BOUNDS = {"slippage_max_bp": 3.0, "patience_ms": 400, "lifetime_ms": 3000, "reprices_per_min": 60.0, "horizon_ms": 4000,
    "slices": 4, "participation": 0.3, "spread_max_bp": 0.1, "venue_lag_max_ms": 60}  # fmt: skip
OF_ALL = (
    StrategySettings(name="a", models=("m", "a"), order_quantity="0.003", position_max="0.02",
        styles=("post_only", "patient", "sweep", "twap", "pov", "limit"), execution=ExecutionSettings(**BOUNDS)),
    StrategySettings(name="b", models=("b", "m"), order_quantity="0.006", position_max="0.02", styles=("twap", "pov"),
        execution=ExecutionSettings(**BOUNDS | {"slice_style": "post_only", "improve_ticks": 1})),
    StrategySettings(name="c", models=("c", "m"), target_quantity="0.008", styles=("post_only", "patient", "twap"),
        execution=ExecutionSettings(**BOUNDS | {"slice_style": "market", "spread_max_bp": 0.0})),
    StrategySettings(name="d", models=("m", "a"), state="shadow", styles=("patient", "twap", "pov", "sweep"),
        order_quantity="0.004", execution=ExecutionSettings(**BOUNDS | {"slice_style": "sweep"})),
)  # fmt: skip
DEEDS = 9 * "P" + 8 * "c" + 7 * "A" + 7 * "T" + 4 * "M" + 4 * "V" + 2 * "S" + "RRRCDUQ"
RARE = "GGWWWWKL"


def deeds(seed: int) -> list[tuple[str, int]]:
    """What happens, long enough for parents to live and die; rarely a gap, a switched strategy or the kill switch."""
    pick = random.Random(seed)
    return [(pick.choice(DEEDS if pick.random() < 0.98 else RARE), pick.randrange(1001)) for _ in range(600)]


def stepped(kind=executor.Step) -> executor.Step:
    limits = {"position_max": "0.03", "daily_loss_max": "20"}
    return make(SYMBOLS[:2], OF_ALL, limits, kind, instruments=("binance.*",), orders_per_s=50.0)


ABSENCES = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 60)), max_size=4)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 60), min_size=1, max_size=9), ABSENCES, st.data())
def test_from_the_log_alone_asked_always_or_when_a_trigger_fires_all_styles_do_the_same_through_kills(
    seed, batches, absences, data
):
    """With any batches, strategies that are switched, answers that come late, and parents under way at the kill."""
    tape = Tape()
    drive(KilledNowAndThen(stepped(), absences), deeds(seed), tape, lambda step, venue: None, SUBJECTS[:2])
    always, published, working = stepped(AskedAlways), [], [0]
    for number, one in enumerate(tape.events, 1):
        published += [bytes(event) for event in always.step([one])]
        if always._working.subjects:
            working.append(number)
    told = [bytes(event.raw) for event in tape.events if event.producer == "executor"]
    assert [event[176:] for event in published[: len(told)]] == [event[176:] for event in told], "as when the log was made"
    assume(len(working) > 50)
    cut = data.draw(st.sampled_from(working))
    step, again, sizes = stepped(), [], cycle(batches)
    for part in (tape.events[:cut], tape.events[cut:]):
        saved, step = step.save(), stepped()
        step.load(saved)
        while part:
            count = next(sizes)
            again += [bytes(event) for event in step.step(part[:count])]
            part = part[count:]
    assert again == published and step.save() == always.save()


@pytest.mark.parametrize("style", ["patient", "pov"])
def test_an_event_that_is_passed_over_hides_no_later_one(style):
    """Trades are read for pov alone: patience is over at one that is passed over, and the quote after it in the list tells."""
    scene = Scene(style, patience_ms=1000, participation=1.0, slices=9)
    scene.signal()
    scene.see(scene.tape.trade(LOT // 2))
    scene.accept(scene.intents[0])
    early = scene.tape.quote()
    scene.tape.now_ns += 1_000_000_000
    (cancel,) = records(scene.step.step([early, scene.tape.trade(1), scene.tape.quote()]), Kind.intent)
    assert cancel["target_id"] == scene.intents[0]["client_order_id"]


PRICES, TIMES = st.integers(0, 12), st.integers(0, 12)
TRIGGERS = st.lists(
    st.builds(
        Trigger, TIMES | st.just(99), PRICES | st.just(-1), PRICES | st.just(99), PRICES | st.just(-1), PRICES | st.just(99),
        PRICES | st.just(-1), PRICES | st.just(99), st.integers(0, 60) | st.just(999), st.integers(-9, 9) | st.just(-99),
        st.integers(-9, 9) | st.just(99),
    ),
    min_size=1, max_size=4,
)  # fmt: skip
ROWS = st.lists(
    st.tuples(st.sampled_from([SKIPPED, TIME, QUOTE, QUOTE, TRADE, TRADE]), st.integers(-1, 3), TIMES,
        st.integers(-9, 9) | st.just(NO_LAG), PRICES, PRICES, PRICES, st.integers(0, 3), st.integers(1, 9)),
    max_size=30,
)  # fmt: skip


def plain(trigger: Trigger, slot: int, row: dict[str, int], volume: int) -> bool:
    """What a trigger waits for, word by word."""
    if row["what"] == SKIPPED:
        return False
    if row["time_ns"] >= trigger.time_ns:
        return True
    if row["slot"] != slot:
        return False
    late = row["lag_ns"] != NO_LAG and not trigger.lag_low_ns < row["lag_ns"] < trigger.lag_high_ns
    bid = row["what"] == QUOTE and not trigger.bid_low < row["bid_ticks"] < trigger.bid_high
    ask = row["what"] == QUOTE and not trigger.ask_low < row["ask_ticks"] < trigger.ask_high
    through = row["what"] == TRADE and (row["low_ticks"] <= trigger.trade_low or row["high_ticks"] >= trigger.trade_high)
    return bool(late or bid or ask or through or (row["what"] == TRADE and volume >= trigger.volume_lots))


@settings(max_examples=300)
@given(TRIGGERS, ROWS)
def test_the_kernel_finds_the_first_event_at_which_a_trigger_fires_and_which_ones(triggers, drawn):
    rows = np.array(sorted(drawn, key=lambda row: row[2]), ROW) if drawn else np.zeros(0, ROW)
    rows["high_ticks"] += rows["low_ticks"]
    armed = np.array([(slot, *trigger) for slot, trigger in enumerate(triggers)], TRIGGER)
    volumes, fired = np.zeros(4, "i8"), np.ones(len(armed), "u1")
    found = first_fired(rows, 0, len(rows), armed, volumes, fired)
    traded, expected = [0] * 4, (len(rows), [False] * len(triggers))
    for index, row in enumerate(rows):
        named = {name: int(row[name]) for name in ROW.names}
        if named["what"] == TRADE and named["slot"] >= 0:
            traded[named["slot"]] += named["lots"]
        hits = [plain(trigger, slot, named, traded[slot]) for slot, trigger in enumerate(triggers)]
        if any(hits):
            expected = index, hits
            break
    assert (found, fired.astype(bool).tolist()) == expected and volumes.tolist() == traded
