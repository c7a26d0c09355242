"""Drawings of recurrent cells, for `cgru.plot.cell_diagram`."""

from __future__ import annotations

from typing import Any

SIGMOID, TANH, INSIDE, LINE = "#A6D5F2", "#F7D488", "#F4F4F4", "#222222"
SIGMA, TIMES = r"$\sigma$", r"$\times$"

Point = tuple[float, float]


class Pen:
    """Draws the parts of a cell: boxes for functions, circles for operations, lines between."""

    def __init__(self, ax: Any) -> None:
        self.ax = ax

    def body(self, bottom: float, top: float) -> None:
        """The cell's outline."""
        from matplotlib.patches import FancyBboxPatch

        style = "round,pad=0,rounding_size=0.3"
        self.ax.add_patch(
            FancyBboxPatch((0.7, bottom), 8.3, top - bottom, style, fc=INSIDE, ec="0.6", zorder=0)
        )

    def box(self, x: float, y: float, symbol: str, function: str, name: str = "") -> None:
        """A function with what it computes."""
        from matplotlib.patches import FancyBboxPatch

        color = TANH if function == "tanh" else SIGMOID
        style = "round,pad=0,rounding_size=0.08"
        self.ax.add_patch(
            FancyBboxPatch((x - 0.6, y - 0.35), 1.2, 0.7, style, fc=color, ec=LINE, zorder=3)
        )
        text = f"{symbol} = {function}" if symbol else function
        self._text(x, y, text, fontsize=10.5)
        if name:
            self._text(x + 0.1, y + 0.52, name, fontsize=9.5, ha="left")

    def circle(self, x: float, y: float, symbol: str) -> None:
        """An operation, element by element."""
        from matplotlib.patches import Circle

        self.ax.add_patch(Circle((x, y), 0.24, fc="white", ec=LINE, zorder=3))
        self._text(x, y, symbol, fontsize=11)

    def line(self, *points: Point, arrow: bool = True) -> None:
        """What flows along these points; others that it crosses are cut."""
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=INSIDE, linewidth=6, solid_capstyle="butt", zorder=1)
        self.ax.plot(xs, ys, color=LINE, linewidth=1.6, solid_capstyle="round", zorder=1)
        if arrow:
            style = {"arrowstyle": "-|>", "color": LINE, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
            self.ax.annotate("", points[-1], points[-2], arrowprops=style, zorder=2)

    def dot(self, x: float, y: float) -> None:
        """Where a line forks."""
        self.ax.plot([x], [y], "o", color=LINE, markersize=4.5, zorder=2)

    def label(self, x: float, y: float, text: str) -> None:
        """What comes in or goes out."""
        self._text(x, y, text, fontsize=13)

    def equations(self, y: float, *lines: str) -> None:
        """What is computed, below y."""
        for place, text in enumerate(lines):
            self._text(0.9, y - 0.52 * place, text, fontsize=12, ha="left")

    def _text(self, x: float, y: float, text: str, fontsize: float, ha: str = "center") -> None:
        self.ax.text(x, y, text, ha=ha, va="center", fontsize=fontsize, color=LINE, zorder=4)


def gru(pen: Pen) -> None:
    """The gated recurrent unit."""
    pen.body(0.35, 5.1)
    pen.line((1.3, 4.5), (1.3, 1.35), (3, 1.35), (3, 1.75))
    pen.line((3, 1.35), (5, 1.35), (5, 1.75))
    pen.line((2.1, -0.1), (2.1, 1.35), arrow=False)
    pen.line((2.1, 0.75), (7.6, 0.75), (7.6, 1.75))
    pen.line((3, 4.5), (3, 3.34))
    pen.line((3, 2.45), (3, 2.86))
    pen.line((3.24, 3.1), (6.4, 3.1), (6.4, 2.1), (7, 2.1))
    pen.line((5, 2.45), (5, 4.26))
    pen.line((5, 3.75), (6.16, 3.75))
    pen.line((6.64, 3.75), (7.36, 3.75))
    pen.line((7.6, 2.45), (7.6, 3.51))
    pen.line((7.6, 3.99), (7.6, 4.26))
    pen.line((0.1, 4.5), (4.76, 4.5))
    pen.line((5.24, 4.5), (7.36, 4.5))
    pen.line((7.84, 4.5), (9.6, 4.5))
    for point in ((1.3, 4.5), (3, 4.5), (3, 1.35), (2.1, 1.35), (2.1, 0.75), (5, 3.75)):
        pen.dot(*point)
    pen.box(3, 2.1, "r", SIGMA, "reset")
    pen.box(5, 2.1, "z", SIGMA, "update")
    pen.box(7.6, 2.1, "n", "tanh", "candidate")
    for x, y, symbol in ((3, 3.1, TIMES), (5, 4.5, TIMES), (7.6, 3.75, TIMES), (7.6, 4.5, "+")):
        pen.circle(x, y, symbol)
    pen.circle(6.4, 3.75, "$1{-}$")
    pen.label(-0.35, 4.5, "$h_{t-1}$")
    pen.label(9.95, 4.5, "$h_t$")
    pen.label(2.1, -0.4, "$x_t$")
    pen.equations(
        -1.1,
        r"$z = \sigma(x_t W_z + b_z + h_{t-1} U_z + c_z)$",
        r"$r = \sigma(x_t W_r + b_r + h_{t-1} U_r + c_r)$",
        r"$n = \tanh(x_t W_n + b_n + r \times (h_{t-1} U_n + c_n))$",
        r"$h_t = z \times h_{t-1} + (1 - z) \times n$",
    )


def lstm(pen: Pen) -> None:
    """The long short-term memory."""
    pen.body(0.35, 5.1)
    for x in (2.4, 3.9, 5.4, 6.9):
        pen.line((x, 1.1), (x, 1.55))
    pen.line((0.1, 1.1), (6.9, 1.1), arrow=False)
    pen.line((1.5, -0.1), (1.5, 1.1), arrow=False)
    pen.line((2.4, 2.25), (2.4, 4.26))
    pen.line((3.9, 2.25), (3.9, 3.4), (5.16, 3.4))
    pen.line((5.4, 2.25), (5.4, 3.16))
    pen.line((5.4, 3.64), (5.4, 4.26))
    pen.line((6.9, 2.25), (6.9, 2.7), (7.96, 2.7))
    pen.line((8.2, 4.5), (8.2, 3.95))
    pen.line((8.2, 3.25), (8.2, 2.94))
    pen.line((8.2, 2.46), (8.2, 1.1), (9.6, 1.1))
    pen.line((0.1, 4.5), (2.16, 4.5))
    pen.line((2.64, 4.5), (5.16, 4.5))
    pen.line((5.64, 4.5), (9.6, 4.5))
    for point in ((2.4, 1.1), (3.9, 1.1), (5.4, 1.1), (1.5, 1.1), (8.2, 4.5)):
        pen.dot(*point)
    pen.box(2.4, 1.9, "f", SIGMA, "forget")
    pen.box(3.9, 1.9, "i", SIGMA, "input")
    pen.box(5.4, 1.9, "g", "tanh", "candidate")
    pen.box(6.9, 1.9, "o", SIGMA, "output")
    pen.box(8.2, 3.6, "", "tanh")
    for x, y, symbol in ((2.4, 4.5, TIMES), (5.4, 4.5, "+"), (5.4, 3.4, TIMES), (8.2, 2.7, TIMES)):
        pen.circle(x, y, symbol)
    pen.label(-0.35, 4.5, "$c_{t-1}$")
    pen.label(9.95, 4.5, "$c_t$")
    pen.label(-0.35, 1.1, "$h_{t-1}$")
    pen.label(9.95, 1.1, "$h_t$")
    pen.label(1.5, -0.4, "$x_t$")
    pen.equations(
        -1.1,
        r"$i, f, o = \sigma(x_t W + h_{t-1} U + b)$, each with its own W, U, b",
        r"$g = \tanh(x_t W_g + h_{t-1} U_g + b_g)$",
        r"$c_t = f \times c_{t-1} + i \times g$",
        r"$h_t = o \times \tanh(c_t)$",
    )


def simple_rnn(pen: Pen) -> None:
    """The simple recurrent network."""
    pen.body(1.5, 3.9)
    pen.line((0.1, 2.7), (4.4, 2.7))
    pen.line((2.6, 1), (2.6, 2.7), arrow=False)
    pen.line((5.6, 2.7), (9.6, 2.7))
    pen.dot(2.6, 2.7)
    pen.box(5, 2.7, "h", "tanh", "state")
    pen.label(-0.35, 2.7, "$h_{t-1}$")
    pen.label(9.95, 2.7, "$h_t$")
    pen.label(2.6, 0.7, "$x_t$")
    pen.equations(0, r"$h_t = \tanh(x_t W + h_{t-1} U + b)$")
