"""Names of instruments as people write them: brought into a venue's notation, and the names that come near an unknown one."""

import difflib
from collections.abc import Iterable

# Quote assets, for a name without a separator; the longer first: BTCUSDT is BTC-USDT, not BTCUSD-T.
QUOTES = ("FDUSD", "USDT", "USDC", "USD", "EUR", "GBP", "JPY", "CAD", "AUD", "CHF", "TRY", "BTC", "XBT", "ETH")
SEPARATORS = str.maketrans({"-": "", "/": "", "_": "", ":": "", " ": "", ".": ""})
NEAR = 5
LIKENESS_MIN = 0.6


def squeezed(name: str) -> str:
    """The letters and digits of a name, in capitals: BTCUSDT of btcusdt, BTC-USDT and BTC/USDT."""
    return name.upper().translate(SEPARATORS)


def separated(name: str, separator: str) -> str:
    """A name in capitals, with `separator` between its assets: BTC-USD of btc/usd and, by its quote asset, of BTCUSD."""
    upper = name.upper().strip()
    for other in "-/_: ":
        upper = upper.replace(other, separator)
    if separator not in upper:
        quote = next((quote for quote in QUOTES if upper.endswith(quote) and len(upper) > len(quote)), "")
        upper = f"{upper.removesuffix(quote)}{separator}{quote}" if quote else upper
    return upper


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names most like this one, the likest first: those of the same letters, then those that begin with it, then others."""
    by_letters: dict[str, list[str]] = {}
    for one in sorted(known):
        by_letters.setdefault(squeezed(one), []).append(one)
    wanted = squeezed(name)
    begun = sorted(
        (letters for letters in by_letters if wanted and letters.startswith(wanted)),
        key=lambda letters: (len(letters), letters),
    )
    like = difflib.get_close_matches(wanted, by_letters, NEAR, LIKENESS_MIN)
    letters = dict.fromkeys(one for one in (wanted, *begun, *like) if one in by_letters)
    return [one for these in letters for one in by_letters[these]][:NEAR]
