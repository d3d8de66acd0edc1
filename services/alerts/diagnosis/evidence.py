"""Evidence over sessions: log likelihood ratios against a machine without a fault, with forgetting.

Treatments and self-tests are counted apart, because a treatment cannot tell a leak from a poor seal: without that, six
treatments would wash out what the morning's self-test showed. All logarithms are natural.
"""

import msgspec
import numpy as np

from services.alerts.diagnosis.signatures import HEALTHY, Floats, Signatures

KEPT_TREATMENT, KEPT_TEST = 0.65, 0.5
"""Share of the evidence that outlives the next session of its kind."""
KEPT_TEST_DENIAL = 0.7
"""Share of a self-test's evidence *against* a fault that outlives a treatment: a fault may have come since."""
MOST, MOST_OF_TEST = 7.0, 16.0
"""By how much a single session can make one node likelier than another: none is beyond doubt."""
MOST_STOCK, LEAST_STOCK = 25.0, -4.0
"""Bounds of what has added up: months of health must not delay the sight of a sudden fault by more than a session."""


class Evidence(msgspec.Struct):
    """Log likelihood ratio of each node to node 0; empty until there is any.

    Attributes:
        treatment, test: by kind of session, one number per node.
        sessions, tests: how many went in.
    """

    treatment: list[float] = []
    test: list[float] = []
    sessions: int = 0
    tests: int = 0


def add(evidence: Evidence, gain: Floats, *, is_test: bool) -> None:
    """Take in one session.

    Args:
        gain: (H,) its log likelihood ratios; 0 for node 0.
    """
    size = len(gain)
    treatment = np.array(evidence.treatment) if len(evidence.treatment) == size else np.zeros(size)
    test = np.array(evidence.test) if len(evidence.test) == size else np.zeros(size)
    if is_test:
        test = _sum(KEPT_TEST * test, gain, MOST_OF_TEST)
        evidence.tests += 1
    else:
        treatment = _sum(KEPT_TREATMENT * treatment, gain, MOST)
        test = np.where(test < 0, KEPT_TEST_DENIAL * test, test)
        evidence.sessions += 1
    evidence.treatment = np.round(treatment, 3).tolist()
    evidence.test = np.round(test, 3).tolist()


def _sum(stock: Floats, gain: Floats, most: float) -> Floats:
    """Both together, no node further behind the best one than allowed, relative to node 0 again."""
    total = stock + np.maximum(gain - gain.max(), -most)
    relative = total - total[0]
    relative -= max(float(relative.max()) - MOST_STOCK, 0.0)
    relative[0] = 0.0
    return np.asarray(np.maximum(relative, LEAST_STOCK))


def total(evidence: Evidence, table: Signatures) -> Floats:
    """(H,) logarithm of posterior odds of each node against node 0, priors included."""
    priors = np.array([1.0 if each is None else each.prior / len(each.levels) for each in table.hypotheses])
    if not evidence.treatment:
        return np.asarray(np.log(priors))
    test = _beside_mild(np.array(evidence.test), np.log(priors), table)
    return np.asarray(np.log(priors) + evidence.treatment + test)


def _beside_mild(test: Floats, priors: Floats, table: Signatures) -> Floats:
    """(H,) what self-tests say of each node, where something too mild to tell may stand beside it.

    Else a small leak that every self-test shows would explain away what only treatments can show.
    """
    nodes = list(zip(table.hypotheses, table.levels.tolist(), strict=True))
    is_mild = np.array([each is not None and each.severity(level) == 0 for each, level in nodes])
    faults = np.array(table.faults)
    others = is_mild & (faults[:, None] != faults)
    best = np.where(others, priors + test, -np.inf).max(axis=1)
    is_fault = ~is_mild & (faults != HEALTHY)
    return np.where(is_fault, np.maximum(test, best + np.minimum(test, 0.0)), test)


def probabilities(odds: Floats, groups: list[str]) -> dict[str, float]:
    """Probability of each fault (and of none), nodes of one name summed.

    Args:
        odds: (H,) logarithms.
        groups: (H,) name of each node.
    """
    weights = np.exp(odds - odds.max())
    weights /= weights.sum()
    sums: dict[str, float] = {}
    for name, weight in zip(groups, weights.tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + weight
    return sums
