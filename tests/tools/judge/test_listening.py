"""What the judge expects a mesh to have received: by venue, and not from an exchange that was killed."""

from tickmesh.tools.judge.exchange_ledger import LedgerContents
from tickmesh.tools.judge.listening import ListeningTimes

SPOT, USDM = "btcusdt@trade", "binance_usdm.btcusdt@trade"


def contents(*rows: tuple) -> LedgerContents:
    """A ledger's contents of rows (kind, ms, values…)."""
    ledger = LedgerContents()
    for number, (kind, ms, *values) in enumerate(rows, 1):
        ledger.take([number, kind, ms, *values])
    return ledger


def test_a_connection_receives_what_is_of_its_venue():
    ledger = contents(
        ("client", 1000, 1, "opened", "/stream"),
        ("client", 1000, 1, "subscribed", SPOT),
        ("client", 21_000, 1, "closed", ""),
        ("client", 31_000, 3, "opened", "/binance_usdm/public/stream"),
        ("client", 31_000, 3, "subscribed", USDM),
    )
    times = ListeningTimes(ledger)
    assert [times.was_received(SPOT, ms) for ms in (5000, 40_000)] == [True, False]
    assert [times.was_received(USDM, ms) for ms in (5000, 40_000)] == [False, True]


def test_the_connections_of_an_exchange_that_was_killed_ended_with_its_last_row():
    """Their end is in no row, and the numbers of connections begin again."""
    ledger = contents(
        ("client", 1000, 1, "opened", "/stream"),
        ("trade", 9000, "BTCUSDT", 1, 100, 5, 1, 9000),
        ("head", 30_000, 2, "synthetic", {}, 0),
        ("start", 30_100, "BTCUSDT", 0, 1, 0),
        ("start", 30_100, "binance_usdm.BTCUSDT", 0, 0, 0),
        ("client", 31_000, 1, "opened", "/stream"),
    )
    times = ListeningTimes(ledger)
    assert [times.was_received(SPOT, ms) for ms in (5000, 8900, 20_000, 40_000)] == [True, False, False, True]
