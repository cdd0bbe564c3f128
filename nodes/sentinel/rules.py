"""The rules of mesh.toml (`[[alerts]]`) judged from the log: events in, alerts out. docs/alerts.md has each rule's value.

A value of one rule and one target (an instrument, a strategy, a stream) that is above its bound for as long as the rule says is
a trouble; when it is not any more, an alert of level info says so. What is in trouble already is known from the alerts in the
log, so the sentinel that takes over says nothing twice. A value of which nothing has come for NEWS_S is not judged.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_alerts import AlertRule, Rule
from tickmesh.bus.topics import topic as topic_of
from tickmesh.bus.wire import Event
from tickmesh.nodes.sentinel.restarts import SentinelAlert
from tickmesh.nodes.sentinel.vitals import PAUSE_NS, SECOND, is_feed

NEWS_NS = 15 * SECOND  # health comes every second; without it a process is in another trouble
CALM_NS = 5 * SECOND  # a value has to be right for so long before its trouble is over
AGAIN_NS = 1800 * SECOND  # what goes on is told of again, or it would count as over after an hour
DAY_NS = 86_400 * SECOND
STARTS_MAX = 1000  # of one process, that are remembered
LEVELS = ("", "warning", "critical")
WORDS: Mapping[Rule, tuple[str, str]] = {  # the sentence of a value, and what to do
    "clock_offset": (
        "the venue's clock differs from this machine's by {value:.3g} ms", "see to NTP; `mesh doctor` looks at the clock"
    ),
    "drawdown": (
        "its profit is {value:.6g} below the highest of this day (UTC), in the quote currency",
        "`mesh pnl`, `mesh strategy off NAME`; limits that act by themselves: [risk] drawdown_max",
    ),
    "gap_unrepaired": ("its oldest gap is open for {value:.0f} s", "`mesh coverage --missing`, `mesh logs backfill`"),
    "kill_switch": ("it has been on for {value:.0f} s", "`mesh status` says why; `mesh kill-switch off` lifts it"),
    "latency": (
        "99 of 100 took up to {value:.4g} ms of late", "`mesh latency` shows all hops; is the machine busy with something else?"
    ),
    "position": (
        "its position is {value:.0%} of its limit", "`mesh positions`; `mesh flatten` closes it"
    ),
    "process_flapping": ("it has begun {value:.0f} times of late", "`mesh logs` of it; `mesh status`"),
    "spread": ("bid and ask are {value:.4g} bp of the mid price apart", "spread_max_bp of a strategy keeps its orders back"),
    "silent_stream": ("nothing has come of it for {value:.0f} s", "`mesh status`; is the instrument traded? `mesh logs feed`"),
}  # fmt: skip
Target = tuple[Rule, str]


class Rules:
    """The newest value of every rule and target, since when it is wrong, and what was told of it.

    `subjects`: instruments whose streams may be silent; others' are not judged. `flapping_s`: starts of so long are counted.
    """

    def __init__(self, rules: Sequence[AlertRule], subjects: Iterable[str], flapping_s: float = 600.0):
        self._rules: dict[Rule, list[AlertRule]] = {}
        for rule in rules:
            if rule.enabled:
                self._rules.setdefault(rule.rule, []).append(rule)
        self._subjects = frozenset(subjects)
        self._values: dict[Target, tuple[float, int]] = {}  # value, and when it came (seq_ns)
        self._last_ns: dict[str, int] = {}  # when a stream last brought something
        self._flapping_ns = int(flapping_s * SECOND)
        self._starts: dict[str, deque[int]] = {}  # of a process: when its lives began to work (seq_ns)
        self._halted: dict[str, frozenset[str]] = {}  # instruments that a feed says are not traded
        self._peaks: dict[str, tuple[int, float]] = {}  # of a strategy: the day (UTC), and its highest profit
        self._wrong: dict[Target, dict[int, int]] = {}  # place of a rule among those of its name → since when it is broken
        self._right: dict[Target, int] = {}  # since when none is
        self._raised: dict[Target, tuple[str, int]] = {}  # the level that the log has of it, and since when
        self._now_ns = 0

    def take(self, events: Iterable[Event]) -> None:
        """Takes in events of the log in their order."""
        for event in events:
            if event.seq_ns - self._now_ns > PAUSE_NS:
                self._begin_anew(event.seq_ns)
            self._now_ns = event.seq_ns
            if (reader := _READERS.get(event.kind)) is not None:
                reader(self, event)

    def _begin_anew(self, at_ns: int) -> None:
        """The log stood still: nothing was late meanwhile."""
        self._last_ns = dict.fromkeys(self._last_ns, at_ns)
        self._wrong.clear()
        self._right.clear()

    def look(self) -> list[SentinelAlert]:
        """What is to be told now: what began, got worse, goes on, or is over. Now is the time of the log's newest event."""
        out = [self._over(target) for target in list(self._raised) if target[0] not in self._rules]  # mesh.toml has it no more
        for target, (value, at_ns) in self._judged():
            level = self._level(target, value) if self._now_ns - at_ns <= NEWS_NS else ""
            raised, raised_ns = self._raised.get(target, ("", 0))
            worse = LEVELS.index(level) > LEVELS.index(raised)
            if worse or (level and self._now_ns - raised_ns >= AGAIN_NS):
                out.append(self._alert(target, level, value))
            elif raised and not level and self._calm(target):
                out.append(self._over(target))
        return out

    def _judged(self) -> list[tuple[Target, tuple[float, int]]]:
        now_ns = self._now_ns
        streams: dict[Target, tuple[float, int]] = {}
        for topic, last_ns in self._last_ns.items():
            subject = topic.partition(".")[2]
            if subject in self._subjects and not any(subject in halted for halted in self._halted.values()):
                streams["silent_stream", topic] = (now_ns - last_ns) / SECOND, now_ns
        raised = [name for rule, name in self._raised if rule == "process_flapping"]
        starts: dict[Target, tuple[float, int]] = {
            ("process_flapping", name): (self._begun_lately(name), now_ns) for name in dict.fromkeys((*self._starts, *raised))
        }
        return [*self._values.items(), *streams.items(), *starts.items()]

    def _begun_lately(self, process: str) -> int:
        starts = self._starts.get(process, ())
        return sum(self._now_ns - at_ns <= self._flapping_ns for at_ns in starts)

    def _level(self, target: Target, value: float) -> str:
        """The worst level of the rules that are broken for long enough."""
        rule_name, name = target
        since = self._wrong.setdefault(target, {})
        level, broken = "", False
        for index, rule in enumerate(self._rules.get(rule_name, ())):
            if not matches(rule.of, name) or not value > rule.above:
                since.pop(index, None)
                continue
            broken = True
            if self._now_ns - since.setdefault(index, self._now_ns) >= rule.for_s * SECOND:
                level = max(level, rule.level, key=LEVELS.index)
        if broken:
            self._right.pop(target, None)
        else:
            self._right.setdefault(target, self._now_ns)
        return level

    def _calm(self, target: Target) -> bool:
        return self._now_ns - self._right.get(target, self._now_ns) >= CALM_NS

    def _alert(self, target: Target, level: str, value: float) -> SentinelAlert:
        rule, name = target
        why, action = WORDS[rule]
        self._raised[target] = level, self._now_ns
        bound = min(one.above for one in self._rules[rule] if matches(one.of, name))
        why = f"{why.format(value=value)}; its rule allows {bound:g}"
        return {"level": level, "what": rule, "target": name, "why": why, "action": action}

    def _over(self, target: Target) -> SentinelAlert:
        rule, name = target
        del self._raised[target]
        return {"level": "info", "what": rule, "target": name, "why": "it is within its rule again", "action": "none"}

    # -- what events have of values

    def _alerts(self, event: Event) -> None:
        content = event.map()
        rule = next((rule for rule in WORDS if rule == content.get("what")), None)
        target = str(content.get("target", ""))
        if rule is None or not event.subject.startswith("sentinel-"):
            return
        if content.get("level") == "info":
            self._raised.pop((rule, target), None)
        else:
            self._raised[rule, target] = str(content.get("level")), event.seq_ns

    def _line(self, event: Event) -> None:
        for row in event.records:
            if row["events"]:
                topic = topic_of(int(row["stream"]), event.subject)
                self._last_ns[topic] = max(self._last_ns.get(topic, 0), int(row["end_ns"]))

    def _run(self, event: Event) -> None:
        self._starts.setdefault(event.subject, deque(maxlen=STARTS_MAX)).append(event.seq_ns)

    def _health(self, event: Event) -> None:
        beat, name = event.map(), event.subject
        if is_feed(name):
            self._put("clock_offset", name, abs(float(beat.get("clock_offset_ms", 0.0))))
            self._halted[name] = frozenset(beat.get("not_trading", {}))
        if "oldest_gap_s" in beat:
            self._put("gap_unrepaired", name, float(beat["oldest_gap_s"]))
        for rule in ("spread", "position"):
            for target, value in beat.get(_FIELDS[rule], {}).items():
                self._put(rule, target, float(value))
        if (kill := beat.get("kill_switch")) is not None:
            since_ns = int(kill.get("since_ns", 0))
            self._put("kill_switch", name, (self._now_ns - since_ns) / SECOND if kill.get("on") else 0.0)
        if (hops := beat.get("hop_p99_ms")) is not None:
            unseen = {target: 0.0 for rule, target in self._values if rule == "latency"}  # nothing of late: nothing is slow
            for hop, p99_ms in (unseen | hops).items():
                self._put("latency", hop, float(p99_ms))
        for strategy, one in beat.get("strategies", {}).items():
            self._put("drawdown", strategy, self._below_peak(strategy, float(one.get("profit", 0.0))))

    def _put(self, rule: Rule, target: str, value: float) -> None:
        if rule in self._rules:
            self._values[rule, target] = value, self._now_ns

    def _below_peak(self, strategy: str, profit: float) -> float:
        day = self._now_ns // DAY_NS
        known, peak = self._peaks.get(strategy, (day, profit))
        peak = max(peak, profit) if known == day else profit
        self._peaks[strategy] = day, peak
        return peak - profit


_FIELDS: Mapping[str, str] = {"spread": "spread_bp", "position": "position_share"}  # of `health`
_READERS: dict[int, Callable[[Rules, Event], None]] = {
    Kind.alert: Rules._alerts,
    Kind.line: Rules._line,
    Kind.run: Rules._run,
    Kind.health: Rules._health,
}


def rules_of(config: Config) -> Rules:
    """The rules of a mesh. A capture that is replayed has an end, after which nothing comes: its streams are not judged."""
    subjects = () if config.exchange.replay else (one.subject for one in config.instruments)
    return Rules(config.alerts, subjects, config.sentinel.flapping_s)


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns is for this target: of a stream `trade.binance.BTCUSDT`, also by its instrument alone."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.partition(".")[2], pattern) for pattern in patterns)
