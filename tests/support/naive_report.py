"""Measures of a backtest the slow and obvious way: exact fractions, one row after the other, quotes looked for from the end.

Nothing of research/ is used but the rows that a result has.
"""

from fractions import Fraction
from functools import lru_cache

ZERO = Fraction(0)


def good_quotes(marks):
    """(ns, mid) of quotes with both sides, as fractions."""
    return _good_quotes(tuple(marks.tolist()))


@lru_cache(maxsize=4)
def _good_quotes(rows):
    return [(ns, (Fraction(bid) + Fraction(ask)) / 2) for ns, bid, ask in rows if bid > 0 and ask >= bid]


def mid_at(quotes, ns, strictly_before=False):
    for time_ns, mid in reversed(quotes):
        if time_ns < ns or (time_ns == ns and not strictly_before):
            return mid
    return None


def worth_at(quotes, ns):
    """The mid that values a position: before the first quote it is that of the first."""
    mid = mid_at(quotes, ns)
    return quotes[0][1] if mid is None else mid


def exact(row, name):
    return Fraction(float(row[name]))


def fills_of(result, instrument, strategy=None):
    return [
        row for row in result.fills
        if row["instrument"] == instrument and (strategy is None or row["strategy"] == strategy)
    ]  # fmt: skip


def fifo(deals):
    """Trips of (side, price, quantity, fee, ns) one small unit after the other: a list of units is the queue."""
    queue, trips, realised = [], [], ZERO
    for side, price, quantity, fee, ns in deals:
        left = quantity
        while left and queue and queue[0][0] != side:
            entry = queue[0]
            part = min(left, entry[2])
            gross = (price - entry[1]) * part * entry[0]
            trips.append((entry[0], entry[4], ns, part, gross, entry[3] * part / entry[5] + fee * part / quantity))
            realised += gross
            left -= part
            entry[2] -= part
            if not entry[2]:
                queue.pop(0)
        if left:
            queue.append([side, price, left, fee, ns, quantity])
    return trips, realised, sum((e[0] * e[2] for e in queue), ZERO), sum((e[0] * e[2] * e[1] for e in queue), ZERO)


def average(deals):
    """(gross and fees of each trip from flat to flat, realised, held, cost): a fill through zero is taken apart first."""
    pieces = []
    held = ZERO
    for side, price, quantity, fee, ns in deals:
        if held * side < 0 and quantity > abs(held):
            first = abs(held)
            pieces += [
                (side, price, first, fee * first / quantity, ns),
                (side, price, quantity - first, fee - fee * first / quantity, ns),
            ]
        else:
            pieces.append((side, price, quantity, fee, ns))
        held += side * quantity
    trips, realised, held, cost, cash, fees = [], ZERO, ZERO, ZERO, ZERO, ZERO
    for side, price, quantity, fee, _ in pieces:
        if held * side < 0:
            released = cost * quantity / abs(held)
            realised += -side * price * quantity - released
            cost -= released
        else:
            cost += side * price * quantity
        held += side * quantity
        cash -= side * price * quantity
        fees += fee
        if not held:
            trips.append((cash, fees))
            cash = fees = ZERO
    return trips, realised, held, cost


def equity(result, ns):
    """(equity, gross, net) at a moment: what would be there if all were sold at the mid, less what was there at the start."""
    total = gross = net = ZERO
    for place, name in enumerate(result.instruments):
        start = Fraction(result.initial.get(name, 0.0))
        fills = fills_of(result, place)
        if not start and not fills:
            continue
        quotes = good_quotes(result.marks[name])
        cash, held = ZERO, start
        for row in fills:
            if row["time_ns"] <= ns:
                cash -= int(row["side"]) * exact(row, "price") * exact(row, "quantity") + exact(row, "fee")
                held += int(row["side"]) * exact(row, "quantity")
        worth = held * worth_at(quotes, ns)
        total += cash + worth - start * quotes[0][1]
        gross += abs(worth)
        net += worth
    return total, gross, net


def changes(result):
    """All moments at which the equity can change, with start and end."""
    times = {result.start_ns, result.end_ns, *(int(row["time_ns"]) for row in result.fills)}
    for place, name in enumerate(result.instruments):
        if result.initial.get(name, 0.0) or fills_of(result, place):
            times |= {ns for ns, _ in good_quotes(result.marks[name])}
    return sorted(ns for ns in times if result.start_ns <= ns <= result.end_ns)


def deepest_fall(values):
    """The largest of all differences between a value and a later one."""
    return max((before - later for place, before in enumerate(values) for later in values[place:]), default=ZERO)


def longest_below(times, values):
    """The longest time from a value to the first later one that is as high, or to the end, of values that are then undercut."""
    longest = 0
    for place, value in enumerate(values):
        if value < max(values[: place + 1]):
            continue
        end = next((later for later in range(place + 1, len(values)) if values[later] >= value), len(values))
        if end > place + 1:
            longest = max(longest, times[min(end, len(values) - 1)] - times[place])
    return longest


def markout(result, horizon_ns, maker=None):
    """(markout, spread, adverse in bps, fills with one, after the end, without a quote before)."""
    gained = kept = against = dealt = ZERO
    count = late = unquoted = 0
    for row in result.fills:
        if maker is not None and bool(row["maker"]) != maker:
            continue
        quotes = good_quotes(result.marks[result.instruments[row["instrument"]]])
        ns = int(row["time_ns"])
        before = mid_at(quotes, ns, strictly_before=True)
        if before is None:
            unquoted += 1
        elif ns + horizon_ns > result.end_ns:
            late += 1
        else:
            after = mid_at(quotes, ns + horizon_ns)
            price, quantity, side = exact(row, "price"), exact(row, "quantity"), int(row["side"])
            count += 1
            gained += (after - price if side > 0 else price - after) * quantity
            kept += (before - price if side > 0 else price - before) * quantity
            against += (before - after if side > 0 else after - before) * quantity
            dealt += price * quantity
    bps = [float(one / dealt * 10000) if dealt else None for one in (gained, kept, against)]
    return *bps, count, late, unquoted


def shortfall(result):
    """(wanted, delay, waiting, spread, fees, opportunity, parents, unpriced) of parents that are told apart order by order."""
    parents: list[list] = []
    for row in result.orders:
        fills = [fill for fill in result.fills if fill["order"] == row["order"]]
        if row["parent"] >= 0:
            own = [one for one in parents if one[0][0]["parent"] == row["parent"]]
            (own[0] if own else parents.append([]) or parents[-1]).append((row, fills, len(parents)))
            continue
        names = ("instrument", "strategy", "side")
        same = [one for one in parents if one[0][0]["parent"] < 0 and all(one[-1][0][name] == row[name] for name in names)]
        if same:
            latest = max(same, key=lambda one: int(one[-1][2]))
            left = exact(latest[0][0], "quantity") - sum(
                (exact(fill, "quantity") for _, own, _ in latest for fill in own), ZERO
            )
            old = latest[-1][0]
            if (
                old["arrival_mid"] == row["arrival_mid"] and 0 < old["ended_ns"] <= row["sent_ns"]
                and float(row["quantity"]) <= float(left) * (1 + 1e-9)
            ):  # fmt: skip
                latest.append((row, fills, len(parents) + sum(map(len, parents))))
                continue
        parents.append([(row, fills, len(parents) + sum(map(len, parents)))])
    sums = [ZERO] * 6
    unpriced = 0
    for parent in parents:
        first, last = parent[0][0], parent[-1][0]
        side, mid = int(first["side"]), float(first["arrival_mid"])
        quotes = good_quotes(result.marks[result.instruments[first["instrument"]]])
        parts = [ZERO] * 6
        wanted = exact(first, "quantity")
        if first["parent"] >= 0:
            done = sum((exact(fill, "quantity") for _, own, _ in parent for fill in own), ZERO)
            wanted = max(exact(first, "parent_wanted"), done)
        left = wanted
        known = mid > 0
        for order, fills, _ in parent:
            arrival = mid_at(quotes, int(order["arrived_ns"]) or int(order["sent_ns"]))
            for fill in fills:
                before = mid_at(quotes, int(fill["time_ns"]), strictly_before=True)
                left -= exact(fill, "quantity")
                if not known or arrival is None or before is None:
                    known = False
                    continue
                quantity = exact(fill, "quantity") * side
                parts[1] += (arrival - Fraction(mid)) * quantity
                parts[2] += (before - arrival) * quantity
                parts[3] += (exact(fill, "price") - before) * quantity
                parts[4] += exact(fill, "fee")
        end = mid_at(quotes, int(last["ended_ns"]) or result.end_ns)
        if float(left) > 1e-9 * float(wanted):
            known = known and end is not None
            parts[5] = side * left * (end - Fraction(mid)) if known else ZERO
        if not known:
            unpriced += 1
            continue
        parts[0] = wanted * Fraction(mid)
        sums = [one + part for one, part in zip(sums, parts)]
    return *(float(one) for one in sums), len(parents), unpriced
