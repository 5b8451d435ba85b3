"""Decides which nodes of a prepared model are worth int8 on this machine: see docs/placement.md.

units.py    which nodes run in one precision, because they fold into one kernel
alone.py    a unit as a model of its own
timing.py, overhead.py, measure.py
            how long a unit takes in int8 and in float, and what the way between the two costs
problem.py  what a choice costs in all
cut.py      the cheapest choice, a minimum cut
place.py    writes the choice into the graph
race.py     runs the result against what was configured
"""

from fxquant.placement.measure import Costs, MeasuredCosts
from fxquant.placement.place import place
from fxquant.placement.problem import Kernel
from fxquant.placement.race import fastest

__all__ = ["Costs", "Kernel", "MeasuredCosts", "fastest", "place"]
