"""Each game's axes: how its world lies on a map, and where a car of a heading looks. The one table, with its sources.

Positions and headings are stored as the game tells them. Whoever draws them asks here; drawn as they come, the maps of Assetto
Corsa and of ACC are mirror images. A map has x to the right; y (up) is the height in all of these games.

Plain Python, so that the server can hand the table to the page.
"""

from dataclasses import dataclass

UP, DOWN = 1, -1


@dataclass(frozen=True, slots=True)
class Axes:
    """``z`` on a map with x to the right: UP or DOWN. A car of heading h looks along (``sin`` * sin h, ``cos`` * cos h) in x, z."""

    z: int
    sin: int
    cos: int
    source: str

    @property
    def heading_grows_right(self) -> bool:
        """Whether a car that turns right has a growing heading."""
        return self.z * self.sin * self.cos > 0


# Both games' physics pages give the four contact points of the tyres, front left first. From front left to front right is the
# car's right, and no belief about steering is in it. ACC at Spa, heading 2.5800: forward (-0.532, -0.846) by its velocity,
# right (1.485, -0.935) m. Assetto Corsa at Imola, heading 0.3693: forward (-0.361, 0.933) by its tyres, right (-1.308, -0.506) m.
# On a map right is forward turned clockwise: that is so in both only if z points down.
_PAGES = "contact points of the tyres, velocity and heading in captured physics pages"

AXES: dict[str, Axes] = {
    "Assetto Corsa": Axes(DOWN, -1, 1, _PAGES),
    "Assetto Corsa Competizione": Axes(DOWN, -1, 1, _PAGES),
    "Purple Sector Simulator": Axes(
        UP, 1, 1, "declared: the simulator's circuits are made so (ingest/collectors/simulator/circuit.py)"
    ),
}

#: Of games that the table does not know: their maps are drawn as they come.
UNKNOWN = Axes(UP, 1, 1, "")


def axes_of(game: str) -> Axes:
    """The axes of a game, `UNKNOWN` where the table does not have it."""
    return AXES.get(game, UNKNOWN)
