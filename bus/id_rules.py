"""How the ids of each venue's streams follow one another: what arbitration has to know of a venue, and nothing more."""

from tickmesh.bus.schema import Kind

# History that others recorded, whose ids the import counts (docs/import.md): nothing of them is on another line.
COUNTED = {"hftbacktest"}
TARDIS = "tardis_"  # before the venue's name there; of these venues the trades have the venue's own ids, each the next one
TARDIS_TRADES = {"tardis_binance", "tardis_binance_usdm", "tardis_coinbase"}
# contiguous: each event begins at the last one's id + 1, a jump is a hole. rising: ids rise, holes mean nothing.
# exclusive: ids mean nothing on another line, so one line is taken at a time.
USUAL = {Kind.trade: "contiguous", Kind.depth: "contiguous", Kind.quote: "rising"}
UNUSUAL: dict[tuple[str, Kind], str] = {
    ("kraken", Kind.depth): "exclusive",
    ("kraken", Kind.quote): "exclusive",
    ("kraken_v1", Kind.trade): "exclusive",
    ("kraken_v1", Kind.depth): "exclusive",
    ("kraken_v1", Kind.quote): "exclusive",
    ("coinbase", Kind.depth): "exclusive",
}
# Quotes whose ids are the venue's own: on every line the same, so that one nobody took was never said. Others are counted
# by the feed that heard them.
VENUE_IDS = {"binance", "binance_usdm"}


def shared_ids(subject: str) -> bool:
    """Whether every line of the venue gives the same quotes of venue.instrument the same ids."""
    return subject.partition(".")[0] in VENUE_IDS


def rule(kind: int, subject: str) -> str:
    """How ids of a stream follow one another: `contiguous`, `rising` or `exclusive`; `subject` is venue.instrument."""
    venue = subject.partition(".")[0]
    if venue in COUNTED or (venue.startswith(TARDIS) and (kind != Kind.trade or venue not in TARDIS_TRADES)):
        return "exclusive"
    return UNUSUAL.get((venue, Kind(kind)), USUAL[Kind(kind)])
