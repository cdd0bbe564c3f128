"""`mesh export --format nautilus`: days as Parquet that nautilus_trader's ParquetDataCatalog(FOLDER) loads as it is.

FOLDER/data/<trade_tick, quote_tick, order_book_deltas>/BTCUSDT.BINANCE/<first>_<last>.parquet, one file a UTC day, and each
instrument's definition. FOLDER/nautilus.json says what is finished.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickmesh.bus.config import Config, load
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.space import refusal
from tickmesh.nodes.venues.parsing.decimals import text
from tickmesh.research.backtest.terms import assets_of
from tickmesh.storage.archive.file import folder_of, place
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.tools.arguments import moment
from tickmesh.tools.exporting.archive_days import book_before, days_to_write, definition_of_day, read_manifest, rows_of_day
from tickmesh.tools.exporting.checked_files import write_checked
from tickmesh.tools.extras import need
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

if TYPE_CHECKING:
    import pyarrow as pa

    from tickmesh.tools.exporting.nautilus_tables import NautilusInstrument

MANIFEST = "nautilus.json"
KINDS = {Kind.trade: "trade_tick", Kind.quote: "quote_tick", Kind.depth: "order_book_deltas"}
USDM = "binance_usdm"
LEFT_OUT = {Kind.trade: "trades off the book", Kind.quote: "quotes of one side", Kind.depth: "levels without a book"}


class _Place(NamedTuple):
    """Where from and where to."""

    config: Config
    archive: ArchiveReader
    folder: Path


def export(topics: list[str], start: str | None, end: str | None, to: Path | None, partial: bool) -> JsonObject:
    """Writes finished days; gives what `--json` prints. Raises Failure; what is finished then stays."""
    for topic in topics:
        if topic.partition(".")[0] not in {kind.name for kind in KINDS}:
            raise UsageFailure(
                f"{topic!r} is in no catalog: those have trade, quote and depth, of --topic trade.binance.BTCUSDT"
            )
    need("pyarrow", "export", "mesh export --format nautilus")
    config = load()
    folder = to or config.source_dir / "export-nautilus"
    if config.archive_dir.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageFailure(f"{folder} lies in the archive, whose files are the mesh's own; choose another folder with --to")
    span = moment("--start", start) if start else None, moment("--end", end) if end else None
    where = _Place(config, ArchiveReader(config.archive_dir), folder)
    made: list[JsonObject] = []
    skipped = 0
    try:
        work = [
            (kind, *one) for kind in KINDS for one in days_to_write(where.archive, _of(kind, topics), span, partial, (kind,))
            if not topics or _of(kind, topics)
        ]  # fmt: skip
        with progress("writing a catalog") as shown:
            for number, (kind, subject, day) in enumerate(work):
                shown(number, len(work))
                entry = _one(where, kind, subject, day)
                if entry is None:
                    skipped += 1
                elif entry["rows"]:
                    made.append(entry)
    except LogError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{folder} cannot be written: {refusal(error, folder)}; what is finished stays") from None
    return {"folder": str(folder), "files": made, "written": len(made), "skipped": skipped, "gone": [], "failed": []}


def _of(kind: Kind, topics: list[str]) -> list[str]:
    return [one for one in topics if one.partition(".")[0] == kind.name]


def _one(where: _Place, kind: Kind, subject: str, day: str) -> JsonObject | None:
    """Writes one file and its entry; None where it is there already."""
    from tickmesh.tools.exporting.nautilus_tables import delta_table, quote_table, trade_table

    config, archive, folder = where
    manifest = read_manifest(folder / MANIFEST)
    name = f"{kind.name}/{folder_of(kind, subject)}/{day}"
    files = [file for file in archive.files if file.folder == folder_of(kind, subject) and file.day == day]
    known = manifest.get(name)
    if known and known["log_id"] != f"{archive.log_id:016x}":
        raise Failure(
            f"{name} in {folder} was made from log {known['log_id']}, here is {archive.log_id:016x}: take another --to"
        )
    if known and known["last_seq"] == files[-1].last and (not known["path"] or (folder / known["path"]).is_file()):
        return None
    of = _instrument(where, subject, day)
    rows = rows_of_day(config, kind, subject, day)
    if kind is Kind.depth:
        table, left_out = delta_table(book_before(files[0].path), rows, of)
    else:
        table, left_out = (trade_table if kind is Kind.trade else quote_table)(rows, of)
    path = ""
    if table.num_rows:
        path = f"data/{KINDS[kind]}/{of.name.replace('/', '')}/{_file_name(table)}"
        _write(folder / path, table)
        if known and known["path"] and known["path"] != path:  # of fewer events: both together would have some twice
            (folder / known["path"]).unlink(missing_ok=True)
    entry = {
        "path": path, "rows": table.num_rows, "instrument": subject, "kind": kind.name, "day": day, "left_out": left_out,
        "nautilus": of.name, "log_id": f"{archive.log_id:016x}", "last_seq": files[-1].last,
    }  # fmt: skip
    place(folder / MANIFEST, json.dumps({**manifest, name: entry}, indent=1, sort_keys=True).encode() + b"\n", 0o644)
    return entry


def _file_name(table: "pa.Table") -> str:
    """The file's name, which says the first and the last `ts_init`: 2024-08-09T00-00-00-000000005Z_….parquet."""
    ends = (int(table["ts_init"][place].as_py()) for place in (0, table.num_rows - 1))
    return "_".join(f"{np.datetime64(ns, 'ns')}Z".replace(":", "-").replace(".", "-") for ns in ends) + ".parquet"


def _instrument(where: _Place, subject: str, day: str) -> "NautilusInstrument":
    """How nautilus names an instrument; writes its definition, once. Raises Failure for what it has no place for."""
    from tickmesh.tools.exporting.nautilus_tables import DECIMALS_MAX, NautilusInstrument, instrument_table

    venue, _, symbol = subject.partition(".")
    price, quantity, tick, lot = definition_of_day(where.config, subject, day)
    if not (-DECIMALS_MAX <= price <= 0 and -DECIMALS_MAX <= quantity <= 0):
        raise Failure(
            f"{subject} has exponents {price} and {quantity}; nautilus_trader holds 0 to {DECIMALS_MAX} decimals: take "
            "--format parquet"
        )
    if venue == USDM and "_" in symbol:
        raise Failure(
            f"{subject} is a dated future, whose expiry is not recorded; leave it out with --topic, or take --format parquet"
        )
    base, quote = assets_of(subject)
    perpetual = venue == USDM
    name = f"{symbol}-PERP.BINANCE" if perpetual else f"{symbol}.{venue.upper()}"
    steps = {"price_increment": text(tick or 1, price), "size_increment": text(lot or 1, quantity)}
    rest = dict.fromkeys(("lot_size", "max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price"))
    fields: dict[str, object] = {"id": name, "raw_symbol": symbol, "base_currency": base, "quote_currency": quote}
    fields |= {"settlement_currency": quote, "is_inverse": False} if perpetual else {}
    fields |= {"price_precision": -price, "size_precision": -quantity, **steps, "multiplier": "1", **rest}
    fields |= dict.fromkeys(("margin_init", "margin_maint", "maker_fee", "taker_fee"), "0")
    fields |= {"info": b"null", "ts_event": 0, "ts_init": 0}
    of = NautilusInstrument(name, (price, quantity), "CryptoPerpetual" if perpetual else "CurrencyPair", fields)
    kind = "crypto_perpetual" if perpetual else "currency_pair"
    epoch = "1970-01-01T00-00-00-000000000Z"
    path = where.folder / "data" / kind / name.replace("/", "") / f"{epoch}_{epoch}.parquet"
    if not path.is_file():
        _write(path, instrument_table(of))
    return of


def _write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    write_checked(path, lambda file: pq.write_table(table, file), lambda file: pq.ParquetFile(file).read().equals(table))


def show(result: JsonObject) -> None:
    """Prints for a person what was written, and what was left out of it."""
    if not result["written"] and not result["skipped"]:
        out.print("There is no finished day to export yet; --partial exports the present one as far as it is.")
        return
    words = f"{result['written']} files written to {result['folder']}, {result['skipped']} were there already."
    out.print(f"{words} Load them: ParquetDataCatalog({result['folder']!r})", markup=False)
    for one in result["files"]:
        lost = f"; {one['left_out']:,} {LEFT_OUT[Kind[one['kind']]]} left out" if one["left_out"] else ""
        out.print(f"  {one['path']}: {one['rows']:,} rows{lost}", markup=False)
