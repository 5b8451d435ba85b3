"""What to expect of as many other examples: a margin for what the data do not show.

How many of n others will differ, where d of n did:

    d' ~ BetaBinomial(n, d + 1/2, n - d + 1/2)

is what Jeffreys' prior predicts of the share that d of n are a sample of (Brown, Cai and DasGupta 2001, "Interval
Estimation for a Binomial Proportion", section 4.3).

The d of n is counted, or what the errors would do to other examples, if that is more: each example is judged with the
errors of all others in place of its own, since the example that a class changes for is seldom among the few at hand,

    d = max(count, n mean over i, j of [argmax(f_i + y_j - f_j) != argmax(f_i)])      f float, y int8

The ratio r = sum(e) / sum(s) of noise to signal, where the examples have e[i] and s[i]:

    r' - r ~ r t(n - 1) sqrt(2 n / (n - 1) sum((e[i] - r s[i])^2)) / sum(e)

is the variance of a ratio of sums (Cochran 1977, "Sampling Techniques", section 6.3), once for these examples and once
for the others, in decibels as it is for small differences.

All take examples as independent, and none as chosen: ten crops of one photograph say little more than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

ERRORS = 64  # that each example is judged with, drawn from all


def expected_on_others(agreement: float, examples: int, confidence: float) -> float:
    """The agreement that as many other examples have at least, with this confidence, where `examples` have `agreement`.

    A `confidence` of 0 asks for no margin.
    """
    if not confidence:
        return agreement
    different = (1 - agreement) * examples
    a, b = different + 0.5, examples - different + 0.5
    total, others = 0.0, -1
    while total < confidence and others < examples:
        others += 1
        total += math.exp(
            _log_choose(examples, others) + _log_beta(others + a, examples - others + b) - _log_beta(a, b)
        )
    return 1 - others / examples


def crossed_agreement(expected: Tensor, computed: Tensor) -> float:
    """How often the largest of a row stays where it is with the errors of other rows; both are [examples, classes]."""
    some = torch.randperm(len(expected), generator=torch.Generator().manual_seed(0))[:ERRORS]
    errors, best = (computed - expected)[some], expected.argmax(1)
    same = [float(((expected + error).argmax(1) == best).double().mean()) for error in errors]
    return sum(same) / len(same)


def decibels_on_others(signal: Sequence[float], noise: Sequence[float], confidence: float) -> float:
    """The SQNR that as many other examples have at least, with this confidence, where these have such sums of squares.

    Minus infinity of a single example, which does not tell how others differ.
    """
    examples, total = len(noise), math.fsum(noise)
    if not total:
        return math.inf
    ratio = total / math.fsum(signal) if any(signal) else math.inf
    if ratio == math.inf or not math.isfinite(total) or (examples == 1 and confidence):
        return -math.inf
    decibels = -10 * math.log10(ratio)
    if not confidence:
        return decibels
    spread = math.fsum((e - ratio * s) ** 2 for s, e in zip(signal, noise, strict=True))
    deviation = math.sqrt(2 * examples / (examples - 1) * spread) / total
    return decibels - 10 / math.log(10) * _student(confidence, examples - 1) * deviation


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


def _student(confidence: float, freedom: int) -> float:
    """The quantile of Student's t, expanded around the normal one (Abramowitz and Stegun 1964, 26.7.5): within 2 % for
    5 degrees of freedom and more at 0.9.
    """
    z = NormalDist().inv_cdf(confidence)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
