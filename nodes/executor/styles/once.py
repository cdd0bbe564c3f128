"""Styles of one order: made at once, and with it the parent is over, but for what the order brings."""

from tickmesh.nodes.executor.drafts import build_draft
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.styles.interface import Advice, View


def once(parent: Parent, view: View) -> Advice:
    """market, limit, limit_ioc, limit_maker: see build_draft."""
    return Advice(place=build_draft(parent.style, parent.side, view.quote, parent.wanted_lots))
