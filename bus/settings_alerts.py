"""The sections of `mesh.toml` about alerts: `[[alerts]]`, what is a trouble, and `[[notify]]`, who is told of it."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from tickmesh.bus.setting_types import Positive, PositiveInt, Section, ZeroOrMore

Rule = Literal[
    "clock_offset", "drawdown", "gap_unrepaired", "kill_switch", "latency", "position", "process_flapping", "silent_stream",
    "spread",
]  # fmt: skip
Receiver = Literal["webhook", "command", "apprise"]
AlertLevel = Literal["warning", "critical"]
Hours = Annotated[
    str,
    Meta(
        pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?\Z",
        description="hours of this machine's zone like '22:00-07:00', or '' for none",
    ),
]
ReceiverName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\Z", description="1 to 32 of A–Z a–z 0–9 _ . -, the first no . or -")
]


class AlertRule(Section, frozen=True):
    """A trouble: the rule's value (docs/alerts.md has what it is, and its unit) has been above `above` for `for_s`.

    `of`: patterns on what the value is of. Several of one rule may stand side by side, with other bounds or levels.
    """

    rule: Rule
    above: Positive
    of: Annotated[tuple[str, ...], Meta(min_length=1, description="at least one")] = ("*",)
    for_s: ZeroOrMore = 0.0
    level: AlertLevel = "warning"
    enabled: bool = True  # false: this rule is not judged, not even by its default


class NotifySettings(Section, frozen=True):
    """A receiver of alerts. `to`: a web server (`url`), a program of one's own (`command`), or a service by Apprise (`url`)."""

    name: ReceiverName
    to: Receiver
    url: str = ""
    url_file: str = ""  # instead of url: a file (mode 0600, beside mesh.toml) that has it, as it often has a password in it
    command: tuple[str, ...] = ()  # the program and its words; it is given the alert as JSON on its input
    level: AlertLevel = "warning"  # the least it is told of
    of: Annotated[tuple[str, ...], Meta(min_length=1, description="at least one")] = ("*",)  # patterns on `what.target`
    recoveries: bool = True  # it is told when what it was told of is over
    repeat_s: ZeroOrMore = 0.0  # what goes on is told of again after so long; 0: once
    quiet: Hours = ""  # nothing then, but for what is critical; what still goes on when they are over is told of
    per_hour: PositiveInt = 30  # messages; what is beyond is counted in the next one


# Judged in every mesh; a rule of mesh.toml replaces the one of its name here.
DEFAULT_ALERTS = (
    AlertRule(rule="gap_unrepaired", above=120.0),
    AlertRule(rule="silent_stream", above=300.0, of=("quote.*", "depth.*")),
)


def with_defaults(own: Sequence[AlertRule]) -> tuple[AlertRule, ...]:
    """The rules of mesh.toml, then the default ones of those rules that it does not have."""
    named = {rule.rule for rule in own}
    return (*own, *(usual for usual in DEFAULT_ALERTS if usual.rule not in named))


def contradictions_of_notify(receivers: Sequence[NotifySettings]) -> Iterator[tuple[str, object, str]]:
    """(key, value, what is allowed) of what cannot stand together in [[notify]]."""
    names = [one.name for one in receivers]
    if len(set(names)) < len(names):
        yield "notify", names, "each name only once"
    for index, one in enumerate(receivers):
        key = f"notify[{index}]"
        if one.to == "command":
            if not one.command or one.url or one.url_file:
                yield (
                    f"{key}.command",
                    list(one.command),
                    "a program and its words like ['/usr/bin/logger', '-t', 'mesh'], and no url",
                )
        elif one.command or bool(one.url) == bool(one.url_file):
            yield f"{key}.url", one.url, f"an address, or a file of it in url_file, one of both; {one.to} has no command"
        elif one.to == "webhook" and one.url and not one.url.startswith(("http://", "https://")):
            yield f"{key}.url", one.url, "http:// or https://, and a host"
