"""How far the data to come will lie beyond a range that few values were seen of: room_for(n) * range holds it.

    room_for(n) = 255 / round(255 / room)       n: the number of values seen

    room = 1 + 8 / sqrt(n)      n > 576       close to the least expected error for normal, half-normal, uniform values
           4/3                  576 >= n > 4  bounds what rounding loses where nothing lies beyond
           255/127              4 >= n        what 0..127 leaves: of those to come, two fifths or more lie beyond so few

The more is seen, the less is new. Saturating costs far more than rounding: of a normal distribution the error of a
range taken as it is, is 3 times that of the range with headroom after 100 values, twice after 1000, the same after
100,000. The range takes a whole number of the 255 steps, so that its greatest value stays on the grid.
"""

from __future__ import annotations

import math

MOST = 255 / 127
_FEW = 4
_USUAL = 4 / 3
_STEPS = 255


def room_for(values: int) -> float:
    """By how much to widen the range of so many values."""
    room = MOST if values <= _FEW else min(_USUAL, 1 + 8 / math.sqrt(values))
    return _STEPS / round(_STEPS / room)
