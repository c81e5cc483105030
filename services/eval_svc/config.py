"""Limits of the evaluation service, each with its reason."""

from __future__ import annotations

__all__ = [
    "CASES_BYTES_MAX",
    "CASES_MAX",
    "CLUSTERS_MIN",
    "CONFIDENCE",
    "CONTAMINATED_NAMED_MAX",
    "DRIFT_FALSE_ALARMS_DEFAULT",
    "DRIFT_REFERENCE_DEFAULT",
    "DRIFT_REFERENCE_MIN",
    "FLIPS_MAX",
    "FORMULA_CHARACTERS",
    "GATE_LEVEL",
    "HELDOUT_PASSAGES_MAX",
    "HELDOUT_QUESTIONS_MAX",
    "MAX_TOKENS_DEFAULT",
    "MAX_TOKENS_LIMIT",
    "PARENTS_MAX",
    "PARITY_PREDICATE_TYPE",
    "PASSAGE_CHARACTERS",
    "POLICY_LEVEL",
    "PREVIEW_CHARACTERS",
    "PYTHON_MEMORY_MIB",
    "PYTHON_OUTPUT_BYTES",
    "PYTHON_TIME_LIMIT_S",
    "RECORDED_OUTPUT_CHARACTERS",
    "RULES_MAX",
    "SUITES_PER_RUN_MAX",
    "UNSCORED_SHARE_MAX",
    "WAIVER_DAYS_MAX",
    "WAIVER_REASON_LENGTH_MIN",
]

# Cases and their results are held in memory while a run is compared; beyond this a server swaps.
CASES_MAX = 20_000
CASES_BYTES_MAX = 64 * 2**20

# Two-sided; a gate without a policy reads its lower bound and so passes a model at the limit 2.5 times in 100.
CONFIDENCE = 0.95
GATE_LEVEL = (1 - CONFIDENCE) / 2

# One-sided and shared by all blocking rules of a policy, so that no rule is bought by asking for many.
POLICY_LEVEL = 0.05

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
PARITY_PREDICATE_TYPE = "https://bessemer.dev/attestation/served-parity/v1"

# Rounds of learning make a version each; beyond this many the run says what it did not look at.
PARENTS_MAX = 50
RULES_MAX = 20
FLIPS_MAX = 10
CONTAMINATED_NAMED_MAX = 100
PREVIEW_CHARACTERS = 400

# Reasoning of another tool's model may be of any length; nobody reads more of it in a comparison.
RECORDED_OUTPUT_CHARACTERS = 20_000

# Unit tests of HumanEval's kind need a hundredth of a second and 20 MiB; a program that needs more than this hangs.
PYTHON_TIME_LIMIT_S = 5
PYTHON_MEMORY_MIB = 512
# Nobody reads what a program prints; beyond this it is cut off.
PYTHON_OUTPUT_BYTES = 1 << 20

# Eight scores with their weights need a tenth of this; Python's own parser is safe far beyond.
FORMULA_CHARACTERS = 1_024

# An exception that outlives a release cycle is a policy that nobody wrote down.
WAIVER_DAYS_MAX = 90
WAIVER_REASON_LENGTH_MIN = 10

# One wrong alarm in a million requests; asking for ten times as many shortens the delay by a sixth only.
DRIFT_FALSE_ALARMS_DEFAULT = 0.01

# Smaller references keep the false alarms and lose the small changes: their own error is part of the odds.
DRIFT_REFERENCE_DEFAULT = 2_000
DRIFT_REFERENCE_MIN = 50
