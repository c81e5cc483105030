"""Limits of the evaluation service, each with its reason."""

from __future__ import annotations

__all__ = [
    "CASES_BYTES_MAX",
    "CASES_MAX",
    "CLUSTERS_MIN",
    "CONFIDENCE",
    "DRIFT_FALSE_ALARMS_DEFAULT",
    "DRIFT_REFERENCE_DEFAULT",
    "DRIFT_REFERENCE_MIN",
    "FLIPS_MAX",
    "HELDOUT_PASSAGES_MAX",
    "HELDOUT_QUESTIONS_MAX",
    "MAX_TOKENS_DEFAULT",
    "MAX_TOKENS_LIMIT",
    "PASSAGE_CHARACTERS",
    "PREVIEW_CHARACTERS",
    "RULES_MAX",
    "SUITES_PER_RUN_MAX",
    "UNSCORED_SHARE_MAX",
]

# Cases and their results are held in memory while a run is compared; beyond this a server swaps.
CASES_MAX = 20_000
CASES_BYTES_MAX = 64 * 2**20

# Two-sided; a gate that reads the lower bound therefore passes a model at the limit 2.5 times in 100.
CONFIDENCE = 0.95

# Below this the spread between clusters is too uncertain for a verdict: Cameron & Miller 2015, section VI.
CLUSTERS_MIN = 10

# More of these and a score says more about the failures than about the model.
UNSCORED_SHARE_MAX = 0.02

# Taken unless a request says otherwise: 64,000 tokens, three minutes for 135 million parameters on two cores.
HELDOUT_PASSAGES_MAX = 128
PASSAGE_CHARACTERS = 2_048

# Taken unless a request says otherwise: sees a difference of 7 points.
HELDOUT_QUESTIONS_MAX = 400

MAX_TOKENS_DEFAULT = 64
MAX_TOKENS_LIMIT = 4_096

SUITES_PER_RUN_MAX = 20
RULES_MAX = 20
FLIPS_MAX = 10
PREVIEW_CHARACTERS = 400

# One wrong alarm in a million requests; asking for ten times as many shortens the delay by a sixth only.
DRIFT_FALSE_ALARMS_DEFAULT = 0.01

# Smaller references keep the false alarms and lose the small changes: their own error is part of the odds.
DRIFT_REFERENCE_DEFAULT = 2_000
DRIFT_REFERENCE_MIN = 50
