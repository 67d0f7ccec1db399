"""Maps each game's world axes to the axes of a map, in one table with its sources.

The table holds the direction of z on a map. It also holds the direction in which a car of a given
heading looks. Positions and headings are stored as the game sends them. Code that draws a map looks
up the axes here. Without them, the maps of Assetto Corsa and of ACC are mirror images. A map has x
to the right. The height is y (up) in all of these games.

The module is plain Python, so that the server can pass the table to the page.
"""

from dataclasses import dataclass

UP, DOWN = 1, -1


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a game on a map with x to the right.

    ``z`` is UP or DOWN. A car of heading h looks along (``sin`` * sin h, ``cos`` * cos h) in x, z.
    """

    z: int
    sin: int
    cos: int
    source: str

    @property
    def heading_grows_right(self) -> bool:
        """Return whether the heading of a car that turns right grows."""
        return self.z * self.sin * self.cos > 0


# The physics pages of both games give the four contact points of the tyres, front left first. The
# car's right runs from front left to front right, without an assumption about steering. ACC at Spa,
# heading 2.5800: forward (-0.532, -0.846) by its velocity, right (1.485, -0.935) m. Assetto Corsa
# at Imola, heading 0.3693: forward (-0.361, 0.933) by its tyres, right (-1.308, -0.506) m. On a
# map, right is forward turned clockwise. Both games fit that only if z points down.
_PAGES = "contact points of the tyres, velocity and heading in captured physics pages"

AXES: dict[str, Axes] = {
    "Assetto Corsa": Axes(DOWN, -1, 1, _PAGES),
    "Assetto Corsa Competizione": Axes(DOWN, -1, 1, _PAGES),
    "Purple Sector Simulator": Axes(
        UP,
        1,
        1,
        "declared: the simulator's circuits are made so (ingest/collectors/simulator/circuit.py)",
    ),
}

#: The axes of games that the table does not list: their maps are drawn without a change.
UNKNOWN = Axes(UP, 1, 1, "")


def axes_of(game: str) -> Axes:
    """Return the axes of a game, or `UNKNOWN` if the table does not list it."""
    return AXES.get(game, UNKNOWN)
