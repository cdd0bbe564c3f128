"""What is held of each asset: any amount that 64 bits hold, every change once, and no asset stops the others."""

import time
from decimal import Decimal

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.support.session_scene import Venue, scenario
from tests.support.waiting import until
from tickmesh.bus.fields import record_looks
from tickmesh.bus.schema import BALANCE, Kind
from tickmesh.bus.wire import decode
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.balances import Balances
from tickmesh.nodes.venues.order_venue import Reported
from tickmesh.nodes.venues.parsing.decimals import MANTISSA_MAX, DecimalError, Unholdable
from tickmesh.nodes.venues.private import SCALE_MAX, asset_name, held_amounts

amounts = st.builds(lambda number, zeros: f"{number}{'0' * zeros}", st.integers(0, 10**12), st.integers(0, 14)) | st.integers(
    0, 10**26
).map(lambda number: f"{number // 10**8}.{number % 10**8:08d}")


def records(events) -> dict:
    return {row["asset"].decode(): row for event in events for row in decode(event).records}


@given(amounts, amounts)
def test_an_amount_is_held_exactly_at_the_least_scale_or_not_at_all(free, locked):
    whole = [int(Decimal(one).scaleb(8)) for one in (free, locked)]
    fits = [s for s in range(SCALE_MAX + 1) if all(one % 10**s == 0 and one // 10**s <= MANTISSA_MAX for one in whole)]
    if not fits:
        with pytest.raises(Unholdable):
            held_amounts(free, locked)
        return
    *mantissas, scale = held_amounts(free, locked)
    look = record_looks(Kind.balance)["free"]
    assert [look.shown(one, scale=scale) for one in mantissas] == [Decimal(free), Decimal(locked)] and scale == fits[0]


def test_the_bounds_of_what_is_held():
    most = "92233720368.54775807"
    assert held_amounts(most, "0") == (MANTISSA_MAX, 0, 0)
    assert held_amounts("92233720368.54775810", "0") == (MANTISSA_MAX // 10 + 1, 0, 1)
    assert held_amounts("420690000000000.00000000", "1.5") == (42069 * 10**14, 15_000, 4)
    for held in (("92233720368.54775808", "0"), ("420690000000000", "0.00000001"), ("-1", "0")):
        with pytest.raises(Unholdable):
            held_amounts(*held)
    with pytest.raises(DecimalError):
        held_amounts("1e5", "0")


def test_a_record_of_before_reads_as_it_was():
    """It has no scale: zeros stand there, and mean none."""
    look = record_looks(Kind.balance)["free"]
    assert look.shown(150_000_000) == look.shown(150_000_000, scale=0) == Decimal("1.5")
    assert BALANCE.fields["scale"][1] == 48, "behind all that was there"


def test_long_names_keep_apart():
    assert asset_name("1MBABYDOGE") == b"1MBABYDOGE" and asset_name("A" * 16) == b"A" * 16
    names = {asset_name(name) for name in ("A" * 17, "A" * 18, "币" * 9, "币" * 10)}
    assert len(names) == 4 and all(len(name) <= 16 and name.decode() for name in names)


def test_what_the_whole_account_has_not_any_more_is_zero_unless_the_stream_had_it_otherwise_meanwhile():
    balances = Balances({}, "binance")
    first = balances.apply([Reported("BTC", "1", "0"), Reported("USDT", "5", "1"), Reported("BNB", "2", "0")], 7, 7)
    assert set(records(first)) == {"BTC", "USDT", "BNB"}
    since = balances.changes
    balances.apply([Reported("BNB", "3", "0")], 7, 7)  # while the question was on its way
    changed = records(balances.apply_whole([Reported("USDT", "5", "1"), Reported("BNB", "2", "0")], since, 8))
    assert set(changed) == {"BTC"} and changed["BTC"]["free"] == changed["BTC"]["locked"] == 0
    assert balances.known["BNB"][0] == 300_000_000
    assert balances.apply_whole([Reported("USDT", "5", "1"), Reported("BNB", "3", "0")], balances.changes, 9) == []
    again = Account()
    for event in first:
        again.read(decode(event))
    after = Account()
    after.load(again.pack())
    assert after.balances.known == {"BTC": (10**8, 0, 0), "USDT": (5 * 10**8, 10**8, 0), "BNB": (2 * 10**8, 0, 0)}


def test_a_large_balance_and_one_that_cannot_be_held_stop_nothing(tmp_path):
    """More than 92,233,720,368.54775807 of a token: the session trades, and an alert names the balance that the log has not."""

    async def play(mesh, venue):
        venue.balances |= {"PEPE": ("420690000000000.00000000", "0.00000000"), "ODD": ("420690000000000.00000001", "0")}
        mesh.start()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        await until(lambda: mesh.alerts("balance_not_held"))
        assert mesh.balances() == {"USDT": (500_000_000, 0, 0), "PEPE": (42069 * 10**14, 0, 4)}
        assert [(level, target) for level, target, _ in mesh.alerts("balance_not_held")] == [("warning", "ODD")]
        venue.balances["ODD"] = ("1", "0")
        await venue.emit_balances("ODD")
        await until(lambda: mesh.alerts("balance_not_held")[-1][:2] == ("info", "ODD"))
        assert mesh.balances()["ODD"] == (10**8, 0, 0)

    scenario(tmp_path, play, started=False)


def test_an_asset_that_fell_to_zero_while_the_session_was_away_is_zero_in_the_log(tmp_path):
    async def play(mesh, venue):
        venue.balances["BTC"] = ("2.00000000", "1.00000000")
        mesh.start()
        await until(lambda: mesh.balances().get("BTC") == (200_000_000, 100_000_000, 0))
        await mesh.kill()
        del venue.balances["BTC"]
        mesh.start()
        await until(lambda: mesh.balances()["BTC"] == (0, 0, 0))
        assert mesh.balances()["USDT"] == (500_000_000, 0, 0)

    scenario(tmp_path, play, started=False)


def test_a_balance_of_which_the_stream_was_silent_is_found_on_schedule(tmp_path):
    """A deposit: no order of ours has moved, and no event has come."""

    async def play(mesh, venue):
        await until(lambda: mesh.balances())
        venue.balances["USDT"] = ("7.00000000", "0.00000000")
        await until(lambda: mesh.balances()["USDT"] == (700_000_000, 0, 0))
        assert not venue.received

    scenario(tmp_path, play, reconcile_all_s=0.5)


class NoBalances(Venue):
    """While `fails` it does not say what the account holds, and notes when it was asked."""

    def __init__(self):
        super().__init__()
        self.fails, self.asked_s = False, []

    def answer_question(self, path, query):
        if self.fails and path == "/api/v3/account":
            self.asked_s.append(time.monotonic())
            return web.json_response({"code": -1001, "msg": "Internal error; unable to process your request."}, status=500)
        return super().answer_question(path, query)


def test_a_whole_comparison_that_fails_is_made_again_with_the_next_round_and_not_at_once(tmp_path):
    async def play(mesh, venue):
        await until(lambda: mesh.balances())
        venue.fails = True
        await until(lambda: len(venue.asked_s) == 3)
        assert venue.asked_s[2] - venue.asked_s[0] > 2.0, "a round is of 1.5 s"
        venue.balances["USDT"] = ("7.00000000", "0.00000000")
        venue.fails = False
        await until(lambda: mesh.balances()["USDT"] == (700_000_000, 0, 0))
        assert "Internal error" in mesh.ctx.counters["last_error"]

    scenario(tmp_path, play, reconcile_all_s=0.5, reconcile_s=1.5, make=NoBalances)


def test_a_fee_that_cannot_be_held_and_a_long_name_of_an_asset_lose_no_fill(tmp_path):
    async def play(mesh, venue):
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        trade = await venue.fill("a", 40_000_000, quiet=True)
        trade["commission"] = "92233720368.54775808"
        await venue.fill("a", 60_000_000, quiet=True)
        venue.trades[1]["commissionAsset"] = "A-VERY-LONG-NAME-OF-A-TOKEN"
        await venue.emit(venue.orders["a"], "TRADE", trade)
        await until(lambda: mesh.states("a")[-1:] == ["Filled"] and len(mesh.fills("a")) == 2)
        fees = [(int(one["fee"]), one["fee_asset"]) for one in mesh.published(Kind.fill, "a")]
        assert fees == [(0, b"USDT"), (100_000, asset_name("A-VERY-LONG-NAME-OF-A-TOKEN"))]
        await until(lambda: len(mesh.alerts("not_held")) == 2)
        why = " ".join(why for *_, why in mesh.alerts("not_held"))
        assert "92233720368.54775808 USDT" in why and "A-VERY-LONG-NAME-OF-A-TOKEN" in why

    scenario(tmp_path, play)
