"""How many of n other examples will differ, where d of n did: a margin for what the data do not show.

    d' ~ BetaBinomial(n, d + 1/2, n - d + 1/2)

is what Jeffreys' prior predicts of the share that d of n are a sample of (Brown, Cai and DasGupta 2001, "Interval
Estimation for a Binomial Proportion", section 4.3). It takes examples as independent, and none as chosen.
"""

from __future__ import annotations

import math


def expected_on_others(agreement: float, examples: int, confidence: float) -> float:
    """The agreement that as many other examples have at least, with this confidence, where `examples` have `agreement`.

    A `confidence` of 0 asks for no margin.
    """
    if not confidence:
        return agreement
    different = round((1 - agreement) * examples)
    a, b = different + 0.5, examples - different + 0.5
    total, others = 0.0, -1
    while total < confidence and others < examples:
        others += 1
        total += math.exp(
            _log_choose(examples, others) + _log_beta(others + a, examples - others + b) - _log_beta(a, b)
        )
    return 1 - others / examples


def examples_for(needed: float, confidence: float) -> int | None:
    """How many examples, all of them alike, lead to expect the agreement `needed` of others; None: no number does."""
    if needed >= 1:
        return None
    examples = 1
    while expected_on_others(1.0, examples, confidence) < needed:
        examples += max(1, examples // 20)
    return examples


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
