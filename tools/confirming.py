"""What a person confirms before orders go to real venues: by typing their names on a terminal, or with --confirm."""

import sys

import typer

from tickmesh.bus.config import Config
from tickmesh.bus.trading_rules import LIVE_LIMITS
from tickmesh.nodes.orders.accounts import account_venues
from tickmesh.nodes.session import confirmation
from tickmesh.nodes.session.credentials import CredentialsUnusable, read_credentials
from tickmesh.tools.terminal import Failure, err


def require_confirmation(config: Config, live: bool = False, text: str = "", starts: bool = True) -> None:
    """Returns where no order goes to a real venue, or a person has confirmed it by these settings; else asks, with `live`.

    `text`: what was given as --confirm; `starts`: sessions are started from here, by the keys that are found here. Raises
    Failure with what would be confirmed and how, and where there is no key.
    """
    if not confirmation.is_needed(config):
        return
    for venue in account_venues(config) if starts else ():
        try:
            read_credentials(config, venue)
        except CredentialsUnusable as error:
            raise Failure(f"mode {config.mode} needs a key of {venue}: {error}") from None
    if confirmation.is_confirmed(config):
        return
    wanted = confirmation.text_to_type(config)
    if not text and live and sys.stdin.isatty() and err.is_terminal:
        err.print(f"{what_is_confirmed(config)} To go on type {wanted}", markup=False, style="bold")
        text = str(typer.prompt("confirm", err=True))
    if not text:
        raise Failure(
            f"{what_is_confirmed(config)} This is not confirmed, or settings about trading have changed since: "
            f"`mesh up --live` asks on a terminal, `mesh up --confirm {wanted!r}` is for scripts. Nothing was changed"
        )
    if text != wanted:
        raise Failure(f"{text!r} is not {wanted!r}: nothing was started or changed")
    confirmation.confirm(config)


def what_is_confirmed(config: Config) -> str:
    """A sentence with what can happen."""
    money = "real money" if config.mode == "live" else "no real money"
    limits = ", ".join(f"{name} {getattr(config.risk, name)}" for name in LIVE_LIMITS)
    traded = ", ".join(one.subject for one in config.traded)
    venues = " and ".join(account_venues(config))
    return f"Orders for {traded} would go to {venues} ({config.mode}, {money}) within {limits} {config.risk.currency}."
