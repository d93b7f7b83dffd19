"""Bars as SVG, readable on a light page and on a dark one."""

import statistics
from dataclasses import dataclass
from html import escape

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 780, 256, 60
BAR, GAP, TITLE, MARGIN = 16, 7, 30, 14

#: Colours follow the reader's theme. The bars' own have contrast on both.
STYLE = """
text{font:13px system-ui,sans-serif;fill:#1d2430}.title{font-weight:600}.dim{fill:#5c6675}
.ours{fill:#2f9e99}.theirs{fill:#7c8592}.whisker{stroke:#1d2430;stroke-width:1.2}
@media (prefers-color-scheme:dark){text{fill:#e6e9ef}.dim{fill:#9aa4b5}.whisker{stroke:#e6e9ef}}
"""


@dataclass
class Panel:
    """A title, and bars: name, values of all rounds, and whether it is ours."""

    title: str
    bars: list
    digits: int

    def height(self):
        return TITLE + len(self.bars) * (BAR + GAP) + MARGIN


def draw(panels):
    """A standalone file: each bar is a median, its whisker goes from the smallest to the largest."""
    parts, top = [], MARGIN
    for panel in panels:
        parts += draw_panel(panel, top)
        top += panel.height()
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
            f"<title>CPU of the master beside other proxies, less is better</title><style>{STYLE}</style>"
            f"{''.join(parts)}</svg>\n")


def draw_panel(panel, top):
    """A title and its bars, from the zero at the left."""
    most = max(max(values) for _, values, _ in panel.bars)
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH - MARGIN) / most
    parts = [f'<text class="title" x="{MARGIN}" y="{top + 14}">{escape(panel.title)}</text>']
    for number, (name, values, is_ours) in enumerate(panel.bars):
        y = top + TITLE + number * (BAR + GAP)
        middle, text_y = y + BAR / 2, y + BAR - 4
        value = statistics.median(values)
        right = LABEL_WIDTH + max(values) * scale
        parts += [
            f'<text x="{LABEL_WIDTH - 8}" y="{text_y}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{"ours" if is_ours else "theirs"}" x="{LABEL_WIDTH}" y="{y}" '
            f'width="{value * scale:.1f}" height="{BAR}" rx="2"/>',
            f'<line class="whisker" x1="{LABEL_WIDTH + min(values) * scale:.1f}" y1="{middle}" '
            f'x2="{right:.1f}" y2="{middle}"/>',
            f'<text class="dim" x="{right + 6:.1f}" y="{text_y}">{value:.{panel.digits}f}</text>']
    return parts
