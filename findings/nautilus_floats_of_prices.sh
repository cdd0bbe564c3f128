#!/usr/bin/env bash
# nautilus_trader 1.231.0: a price or a quantity as a float is not the nearest float of its decimals.
#
# Price("59998.2") holds 59998.2 exactly, as an integer of 128 bits. float() of it, and as_double(), multiply that by 10^-16 in floating
# point, so the result is one or more units in the last place beside 59998.2: it is unequal to float("59998.2"), to the same price in a
# pandas frame, and to what another program makes of the same text. A set or a join by such floats has misses; as_decimal() has none.
#
# Needs the package index, and Python 3.12 or newer. Fails when nautilus_trader does otherwise.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
for python in python3.14 python3.13 python3.12 python3; do
	command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nautilus_trader==1.231.0 2>"$folder/pip.log" ||
	{ cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from importlib.metadata import version

from nautilus_trader.model.objects import Price, Quantity

print("nautilus_trader", version("nautilus_trader"))
price = Price.from_str("59998.2")
print("  Price 59998.2:", price.as_decimal(), float(price), price.as_double())
texts = [f"{number / 10:.1f}" for number in range(1, 1_000_001)]
for of in (Price, Quantity):
    other = sum(float(of.from_str(text)) != float(text) for text in texts)
    print(f"  {of.__name__} 0.1 to 100000.0: {other} of {len(texts)} are another float")
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: a sixth of the prices are another float"
nautilus_trader 1.231.0
  Price 59998.2: 59998.2 59998.200000000004 59998.200000000004
  Price 0.1 to 100000.0: 166996 of 1000000 are another float
  Quantity 0.1 to 100000.0: 166996 of 1000000 are another float
SEEN
