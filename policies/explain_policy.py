"""Why a slate policy orders a page as it does, for policies that read the observation alone."""

from __future__ import annotations

from dataclasses import replace

from policies.baselines import I64, Page, SlatePolicy
from policies.explain import Explanation, explain, feature_groups


def explain_policy(policy: SlatePolicy, page: Page, places: I64) -> Explanation:
    """Explain the candidates at ``places`` (B, k) of B pages by the policy's own scores.

    The scores must follow from the observation: a policy that looks at the sessions themselves
    (the oracles, the random order) has no contributions.

    Raises:
        ValueError: where the policy gives scores for the sessions instead, or for a masked place.
    """
    return explain(
        lambda observation: policy.score(replace(page, observation=observation)),
        page.observation,
        places,
        feature_groups(),
    )
