from __future__ import annotations

import re

from bessemer.artifacts.report_panels import Heat, Lamp, Mark, Multiple, Panels


def html(panels: Panels) -> str:
    return panels.html().split("<body>")[1]


def test_panels_escape_everything_they_are_given():
    panels = Panels("t")
    evil = "<script>x</script>"
    panels.lights([Lamp(evil, evil, evil, evil)])
    panels.marked_table([evil], [[Mark(evil, evil)], [Heat(evil, 1)], [evil]])
    panels.waterfall(evil, (evil, 3), {evil: 1.0}, ())
    panels.multiples([Multiple(evil, [0, 1], [1], 0, 1, evil)])
    panels.points([evil, (Mark(evil, evil), evil)])
    panels.fold(evil)
    panels.unfold()
    assert "<script" not in html(panels)
    assert html(panels).count("&lt;script&gt;") > 15


def test_waterfall_steps_down_to_its_subtotals():
    panels = Panels("t")
    panels.waterfall(
        "tokens",
        ("delivered", 100.0),
        {"copies": 40.0, "used": 60.0, "repeated": 15.0, "unique": 45.0},
        ("used", "unique"),
    )
    bars = [
        (float(x), float(width))
        for x, width in re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', html(panels))
    ]
    left = bars[0][0]
    scale = bars[0][1] / 100
    expected = [(0, 100), (60, 40), (0, 60), (45, 15), (0, 45)]
    for (x, width), (first, size) in zip(bars, expected, strict=True):
        assert abs(x - left - first * scale) < 0.11
        assert abs(width - size * scale) < 0.11
    assert "60 (60%)" in html(panels)


def test_multiples_set_apart_what_lies_outside():
    panels = Panels("t")
    panels.multiples([Multiple("html", [0.0, 0.5, 1.0], [3, 1], 0.0, 0.5)])
    assert re.findall(r'fill="var\(--(c\d)\)"', html(panels)) == ["c0", "c1"]
    assert len(re.findall('class="bound"', html(panels))) == 2
