"""The statistics page's charts, drawn on the server as SVG. Each stands above a table with the same numbers."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pygal
from markupsafe import Markup
from pygal.style import Style

from services.alerts.duty.pages import DASH
from services.alerts.duty.statistics import LONGEST, Handling, Line

# The library leaves a finder for its maps, which would be asked, and be warned of, at every import that others do not find.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

FONTS = '"Microsoft YaHei", "PingFang SC", "Noto Sans CJK SC", "WenQuanYi Micro Hei", SimSun, sans-serif'
STYLE = Style(
    background="#fff",
    plot_background="#fff",
    foreground="#1a1f26",
    foreground_strong="#1a1f26",
    foreground_subtle="#4a5562",
    opacity="1",
    opacity_hover="1",
    colors=("#12478a", "#b98200", "#9b1c12"),
    font_family=FONTS,
    label_font_size=15,
    major_label_font_size=15,
    value_font_size=14,
    legend_font_size=15,
    title_font_size=18,
    no_data_font_size=24,
    value_colors=("#1a1f26", "#1a1f26", "#1a1f26"),
    guide_stroke_color="#e3e8ee",
    major_guide_stroke_color="#c9d0d9",
)
WIDE = 8
"""The library takes each letter to be as wide as a Latin one: so much wider is a Chinese one."""
DASHES: tuple[dict[str, Any], ...] = ({"width": 3}, {"width": 3, "dasharray": "8, 5"})


def received_chart(months: Sequence[Line], nonce: str) -> Markup:
    chart = _chart(pygal.Bar, "每月接到留言", nonce)
    chart.x_labels = [line.slug[2:] for line in months]
    chart.y_labels = whole([line.counts.received for line in months])
    chart.add("接到", [line.counts.received for line in months])
    return _drawn(chart)


def rates_chart(months: Sequence[Line], nonce: str) -> Markup:
    """A month in which a rate does not exist is a gap."""
    chart = _chart(pygal.Line, "每月办结率和按时办结率（%）", nonce, show_legend=True, range=(0, 100))
    chart.x_labels = [line.slug[2:] for line in months]
    chart.y_labels = list(range(0, 101, 20))
    lines: tuple[tuple[str, Callable[[Line], str | None]], ...] = (
        ("办结率", lambda line: line.counts.completion_rate),
        ("按时办结率（虚线）", lambda line: line.counts.on_time_rate),
    )
    for (name, value), stroke in zip(lines, DASHES, strict=True):
        points = [None if (text := value(line)) is None else float(text) for line in months]
        chart.add(name, points, stroke_style=stroke, allow_interruptions=True)
    return _drawn(chart)


def handling_chart(handling: Handling, nonce: str) -> Markup:
    legible = max(handling.groups, default=0) < 10_000  # longer numbers lie over each other
    chart = _chart(pygal.Bar, "办理时间（工作日）", nonce, print_values=legible)
    chart.x_labels = [*map(str, range(LONGEST + 1)), f"{LONGEST}+"]
    chart.y_labels = whole(handling.groups)
    chart.add("件数", [number or None for number in handling.groups])
    return _drawn(chart)


def lines_chart(title: str, lines: Sequence[Line], nonce: str) -> Markup:
    """Bars from left to right, one for each category or county: on-time rates."""
    shown = list(reversed(lines))
    rates = [line.counts.on_time_rate for line in shown]
    labels = [f"{line.name} {rate or DASH}" for line, rate in zip(shown, rates, strict=True)]
    room = WIDE * max((sum(letter > "\xff" for letter in label) for label in labels), default=0)
    height = 120 + 40 * max(len(lines), 1)
    chart = _chart(
        pygal.HorizontalBar, title, nonce, range=(0, 100), height=height, margin_left=20 + room, print_values=False
    )
    chart.x_labels = labels
    chart.add("按时办结率", [None if rate is None else float(rate) for rate in rates])
    return _drawn(chart)


def whole(numbers: Sequence[int]) -> list[int]:
    """The marks of an axis for what is counted: about five, none of them a fraction."""
    top = max(numbers, default=0)
    exponent = 10 ** max(len(str(top // 5)) - 1, 0)
    step = next((n * exponent for n in (1, 2, 5, 10) if n * exponent * 5 >= top), 10 * exponent)
    return list(range(0, top + step, step)) if top else [0, 1]


def _chart(kind: Any, title: str, nonce: str, **options: Any) -> Any:
    settings = {"show_legend": False, "height": 360, "print_values": kind is pygal.Bar, **options}
    chart = kind(
        style=STYLE,
        js=(),
        title=title,
        width=760,
        legend_at_bottom=True,
        print_values_position="top",
        no_data_text="没有数据",
        show_minor_x_labels=True,
        truncate_label=-1,
        truncate_legend=-1,
        min_scale=4,
        disable_xml_declaration=True,
        **settings,
    )
    chart.add_xml_filter(lambda root: _harmless(root, title, nonce))
    return chart


def _harmless(root: Any, title: str, nonce: str) -> Any:
    """Without the library's scripts; its style may apply, by the page's nonce."""
    for parent in list(root.iter()):
        if parent.attrib.pop("style", None) is not None:
            parent.set("opacity", "0")  # of what its script would show
        for child in list(parent):
            if str(child.tag).endswith("script"):
                parent.remove(child)
            elif str(child.tag).endswith("style"):
                child.set("nonce", nonce)
    root.set("role", "img")
    root.set("aria-label", f"{title}，数据见下表")
    return root


def _drawn(chart: Any) -> Markup:
    return Markup(chart.render(is_unicode=True))  # noqa: S704 - the library escapes texts
