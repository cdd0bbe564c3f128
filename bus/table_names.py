"""What kinds of events are called where rows of them are asked for: as a method, a table of SQL, an address of the gateway."""

from tickmesh.bus.schema import Kind

TABLES = {  # name → kind
    "definitions": Kind.instrument, "trades": Kind.trade, "quotes": Kind.quote, "depth": Kind.depth, "gaps": Kind.gap,
    "signals": Kind.signal, "live_features": Kind.feature, "intents": Kind.intent, "orders": Kind.update, "fills": Kind.fill,
    "balances": Kind.balance, "fundings": Kind.funding, "shadows": Kind.shadow, "parents": Kind.parent, "lines": Kind.line,
    "health": Kind.health, "alerts": Kind.alert, "runs": Kind.run, "commands": Kind.command, "refusals": Kind.refusal,
}  # fmt: skip
