"""Charts as SVG, by hand: horizontal bars for a case, lines for a curve."""

import math
from html import escape

WIDTH = 760
COLOURS = {"plait": "#0b6e6e", "peer": "#9aa5b1", "info": "#d9dee3"}
PLAIT_LINES = ["#0b6e6e", "#35b5a5"]
LINES = ["#9c4a1a", "#4a5fa5", "#8a7a1f", "#7a3f7d", "#5b6770", "#b0475f"]
STYLE = ("<style>text{font:13px sans-serif;fill:#222}.title{font-weight:bold;font-size:15px}"
         ".small{font-size:11px;fill:#555}line{stroke:#222}.grid{stroke:#e3e6ea}</style>")


def number(n):
    """Short but exact enough: 5.85, 42.1, 512, 38.1k, 2.4M."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if n >= limit:
            scaled = n / (1e6 if unit == "M" else 1e3)
            return f"{scaled:.3g}{unit}" if scaled < 1000 else f"{scaled:.0f}{unit}"
    return f"{n:.0f}" if n >= 100 or n == int(n) else f"{n:.3g}"


def power(n):
    """A point of a curve: 8, 512, 64Ki, 1Mi."""
    for limit, unit in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if n >= limit and n % limit == 0:
            return f"{n // limit}{unit}"
    return str(n)


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def document(height, title, notes, parts):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}">', STYLE,
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', text(16, 26, title, kind="title")]
    foot = [text(16, height - 14 * (len(notes) - i), note, kind="small")
            for i, note in enumerate(notes)]
    return "\n".join(head + parts + foot + ["</svg>"]) + "\n"


class Scale:
    """Maps low..high to a range of pixels, linearly from 0 or logarithmically."""

    def __init__(self, low, high, start, end, logarithmic):
        self.low, self.high, self.start, self.end = low, high, start, end
        self.logarithmic = logarithmic

    def at(self, value):
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = value / self.high
        return self.start + part * (self.end - self.start)

    def ticks(self):
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            ticks = [step * 10.0 ** i for i in decades for step in steps]
            return [tick for tick in ticks if self.low <= tick <= self.high]
        step = 10 ** math.floor(math.log10(self.high))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if self.high / s <= 6)
        return [i * step for i in range(int(self.high / step) + 1)]


def scale_for(values, start, end):
    low, high = min(values), max(values)
    if high / low > 20:
        return Scale(low / 2, high * 1.1, start, end, True)
    return Scale(0, high * 1.05, start, end, False)


def bars(title, rows, notes):
    """rows: (subject, role, median, least, most)."""
    rows = sorted(rows, key=lambda row: row[2])
    scale = scale_for([row[3] for row in rows] + [row[4] for row in rows], 220, WIDTH - 90)
    top, bottom = 48, 48 + 28 * len(rows)
    parts = []
    for tick in scale.ticks():
        parts.append(line(scale.at(tick), top - 4, scale.at(tick), bottom, "grid"))
        parts.append(text(scale.at(tick), bottom + 14, number(tick), "middle", "small"))
    for i, row in enumerate(rows):
        parts += bar(top + 28 * i, row, scale)
    kind = "logarithmic scale" if scale.logarithmic else "linear scale"
    title = f"{title}, less is better ({kind})"
    return document(bottom + 34 + 14 * len(notes), title, notes, parts)


def bar(y, row, scale):
    subject, role, median, least, most = row
    end, middle = scale.at(median), y + 10
    return [
        text(210, y + 15, subject, "end"),
        f'<rect x="{scale.start}" y="{y}" width="{max(1, end - scale.start):.1f}" height="20" '
        f'fill="{COLOURS[role]}"/>',
        line(scale.at(least), middle, scale.at(most), middle),
        text(max(end, scale.at(most)) + 8, y + 15, number(median)),
    ]


def curve(title, lines, notes):
    """lines: {subject: {x: y}}, both axes logarithmic."""
    left, right, top, bottom = 70, WIDTH - 190, 48, 348
    xs = sorted({x for points in lines.values() for x in points})
    ys = [y for points in lines.values() for y in points.values()]
    across = Scale(xs[0], max(xs[-1], xs[0] + 1), left, right, True)
    up = Scale(min(ys) / 1.5, max(ys) * 1.5, bottom, top, True)
    parts = [text(across.at(x), bottom + 18, power(x), "middle", "small") for x in xs]
    for tick in up.ticks():
        parts.append(line(left, up.at(tick), right, up.at(tick), "grid"))
        parts.append(text(left - 8, up.at(tick) + 4, number(tick), "end", "small"))
    parts += [line(left, top, left, bottom), line(left, bottom, right, bottom)]
    labels = label_places({name: up.at(points[max(points)]) for name, points in lines.items()})
    colours = iter(LINES * len(lines))
    plait_colours = iter(PLAIT_LINES * len(lines))
    for name, points in lines.items():
        colour = next(plait_colours if name.startswith("plait") else colours)
        parts += path(points, across, up, colour)
        label = text(right + 12, labels[name] + 4, name)
        parts.append(label.replace("<text", f'<text style="fill:{colour}"'))
    title = f"{title}, less is better (logarithmic scales)"
    return document(bottom + 40 + 14 * len(notes), title, notes, parts)


def path(points, across, up, colour):
    places = [(across.at(x), up.at(y)) for x, y in sorted(points.items())]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'] + [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]


def label_places(wanted):
    """Moves labels down until none covers another."""
    places, last = {}, -1000
    for name in sorted(wanted, key=wanted.get):
        last = places[name] = max(wanted[name], last + 16)
    return places
