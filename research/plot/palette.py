"""The colours of what is drawn, on white and on a dark page: also those who see fewer colours can tell any two apart.

tests/research/plot/test_palette.py computes how far apart they are for each kind of sight, and their contrast to the page.
"""

INKS = ("ink", "dim", "line", "paper")
DRAWN = ("bid", "ask", "bought", "sold", "own", "missing")  # in one panel, one over the other
STATES = ("complete", "unproven", "repaired", "missing")  # of coverage, side by side in a strip

LIGHT = {
    "ink": "#1b1b1f", "dim": "#5f5f6b", "line": "#dcdce2", "paper": "#ffffff",
    "bid": "#1c3fd0", "ask": "#a84300", "bought": "#189a8f", "sold": "#5a0f5f", "own": "#000000",
    "missing": "#e69f00", "repaired": "#56b4e9", "unproven": "#d4d4da", "complete": "#2f8f6b",
}  # fmt: skip
DARK = {
    "ink": "#e6e6ea", "dim": "#a2a2ad", "line": "#34343c", "paper": "#16161a",
    "bid": "#4a6cf7", "ask": "#e8760a", "bought": "#2bbfa5", "sold": "#a05a9a", "own": "#ffffff",
    "missing": "#f0c24a", "repaired": "#4aa3e8", "unproven": "#44444c", "complete": "#2f7f62",
}  # fmt: skip


def style() -> str:
    """The colours as variables of a style sheet; the reader's browser says which page it likes."""

    def root(colours: dict[str, str]) -> str:
        return ":root{" + "".join(f"--{name}:{colour};" for name, colour in colours.items()) + "}"

    return f":root{{color-scheme:light dark}}\n{root(LIGHT)}\n@media(prefers-color-scheme:dark){{{root(DARK)}}}\n"
