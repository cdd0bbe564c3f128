"""The independent judge: its own parsers, written from docs/messages.md and docs/archive.md and from nothing else.

It imports neither nodes/ nor storage/, nor bus.wire, bus.log and bus.segments: a fault in those must not hide itself here.
"""
