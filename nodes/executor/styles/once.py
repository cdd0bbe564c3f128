"""Styles of one order: made at once, and what becomes of it is what becomes of the parent."""

from tickmesh.nodes.executor.drafts import build_draft
from tickmesh.nodes.executor.parents import Parent
from tickmesh.nodes.executor.styles.interface import Advice, View


def once(parent: Parent, view: View) -> Advice:
    """market, limit, limit_ioc, limit_maker: see build_draft."""
    if parent.placed:
        return Advice(ended="unfilled")  # but for what its order still brings
    return Advice(place=build_draft(parent.style, parent.side, view.quote, parent.wanted_lots))
