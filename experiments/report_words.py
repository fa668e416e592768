"""Numbers, names and sentences of the report: what the figures of a run say in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from experiments.report_data import Run
from experiments.report_parts import (
    Estimate,
    Interval,
    Ope,
    Paired,
    Ppo,
    Simulation,
    Written,
)

#: What each policy of the simulation is, in words.
POLICIES = {
    "random": "Random order",
    "popularity": "Most popular first",
    "similarity": "Similarity shelf",
    "best_mix": "Best fixed mix",
    "mmr": "MMR",
    "linucb": "LinUCB",
    "thompson": "Thompson sampling",
    "click_regression": "Click regression",
    "ranker": "RL ranker",
    "myopic": "Myopic oracle",
    "oracle": "Oracle",
    "rollout": "Rollout oracle",
    "similarity+sft": "Similarity, SFT reasons",
    "similarity+ppo": "Similarity, PPO reasons",
    "ranker+sft": "RL ranker, SFT reasons",
    "ranker+ppo": "RL ranker, PPO reasons",
    "similarity+none": "Similarity, no reasons",
}
#: How each policy orders a page, in a sentence.
ABOUT = {
    "random": "by lot",
    "popularity": "by how often the shop's customers met an item",
    "similarity": "by the mean of the six similarity scores, as a shop without learning would",
    "best_mix": "by the weights of the six scores that earned most in training sessions",
    "mmr": "by similarity, less how alike an item is to those above it "
    "(maximal marginal relevance; Carbonell and Goldstein 1998)",
    "linucb": "by a linear model of what is clicked, learned by trying out what it was unsure of "
    "in training sessions (Li et al. 2010)",
    "thompson": "by a linear model of what is clicked, learned by acting on draws of what it held "
    "possible in training sessions (Agrawal and Goyal 2013)",
    "click_regression": "by the clicks that a regression on a log of the similarity shelf "
    "predicts, each item for itself",
    "ranker": "by a network fitted to a log and then trained by reinforcement on whole sessions",
    "myopic": "by the hidden taste: what earns most on this page alone",
    "oracle": "by the hidden taste, with what a click is worth for keeping the shopper",
    "rollout": "by the hidden taste, trying pages out in imagined futures",
}
#: Policies that look at what no shop can see: anchors, not competitors.
ANCHORS = ("myopic", "oracle", "rollout")
METRICS = {
    "return": "Return",
    "ctr": "Click-through rate",
    "purchases": "Purchases",
    "session_length": "Session length",
    "trust": "Trust at the end",
}
#: The pair that the headline is about: the first that the simulation holds.
HEADLINES = (("ranker", "similarity"), ("ranker+ppo", "similarity+sft"))
#: Figures of the stages whose own name is short of words; the others are shown by theirs.
FIGURES = {
    "peft": "adapter",
    "loss_held": "held-out loss",
    "held_loss": "held-out loss",
    "held_loss_before": "held-out loss before",
    "return_start": "return before PPO",
    "return_best": "best return",
    "env_steps": "steps in the shop",
    "history": "past interactions",
}
#: Below this share of supported claims a writer cannot be trusted without the veto.
PRECISE = 0.98
DASH = "–"
#: No line breaks between a number and its sign.
PERCENT = "\u00a0%"


def number(value: float | None, decimals: int | None = None, signed: bool = False) -> str:
    """Write a number: three significant digits, or ``decimals``; integers with thousands marks."""
    if value is None or not math.isfinite(value):
        return DASH
    if decimals is None and not isinstance(value, int):
        size = math.floor(math.log10(abs(value))) if value else 0
        if size < -4:
            return f"{value:.2e}".replace("-", "−")
        decimals = max(0, 2 - size)
    text = f"{value:{'+' if signed else ''},.{decimals or 0}f}"
    # A zero has no sign, also when rounding made it one.
    text = text.lstrip("+-") if not text.strip("+-0.,") else text
    return text.replace("-", "−")


def percent(share: float | None, decimals: int = 1) -> str:
    """Write a share in percent."""
    return DASH if share is None else f"{number(100 * share, decimals)}{PERCENT}"


def policy_name(name: str) -> str:
    """Return what a policy is called on the page."""
    return POLICIES.get(name, name)


def covered(share: float | Interval | None) -> str:
    """Write how much of a way was covered, with its interval where it has one; "" for nothing."""
    one = share if isinstance(share, Interval) else Interval(mean=share)
    if one.mean is None:
        return ""
    if one.low is None or one.high is None:
        return percent(one.mean)
    ends = f"{number(100 * one.low, 1)} to {percent(one.high)}"
    return f"{percent(one.mean)} (95{PERCENT} interval {ends})"


def way_sentence(simulate: Simulation) -> str:
    """Say how much of the way from similarity to each anchor the ranker covers."""
    oracle, myopic = covered(simulate.share_of_oracle), covered(simulate.share_of_myopic)
    said = [
        text
        for text in (
            oracle and f"{oracle} of the way from the similarity shelf to the oracle",
            myopic and f"{myopic} of the way from there to the myopic oracle"
            if oracle
            else myopic and f"{myopic} of the way from the similarity shelf to the myopic oracle",
        )
        if text
    ]
    return f"The RL ranker covers {', and '.join(said)}." if said else ""


def decimals_for(intervals: Iterable[Interval | Paired | Estimate]) -> int:
    """Return how many decimals let the narrowest interval be seen with two digits."""
    widths = [one.high - one.low for one in intervals if None not in (one.low, one.high)]  # type: ignore[operator]
    wide = [width for width in widths if width > 0 and math.isfinite(width)]
    return min(6, max(1, 1 - math.floor(math.log10(min(wide))))) if wide else 2


def covers(low: float | None, high: float | None, value: float | None = 0.0) -> bool:
    """Whether an interval holds a value; an undefined one rules nothing out."""
    return low is None or high is None or value is None or low <= value <= high


def amount(value: float, metric: str, decimals: int, signed: bool = False) -> str:
    """Write a metric's value or difference; ``decimals`` are those of what is shown."""
    if metric == "ctr":
        # A difference of shares is in points: "+1 %" could be a hundredth of the other one.
        return number(100 * value, decimals, signed) + ("\u00a0points" if signed else PERCENT)
    return number(value, decimals, signed)


def decimals_of(metric: str, intervals: Iterable[Interval | Paired]) -> int:
    """Return the decimals of a metric as `amount` writes it: rates are in percent."""
    decimals = decimals_for(intervals)
    return max(1, decimals - 2) if metric == "ctr" else decimals


def scalars(figures: Mapping[str, object], within: str = "") -> list[tuple[str, str]]:
    """Return the name and the text of each plain figure of a stage; seconds stand elsewhere."""
    found: list[tuple[str, str]] = []
    for key, value in figures.items():
        name = FIGURES.get(key) or key.replace("_", " ")
        name = f"{within} {name}".strip()
        if isinstance(value, dict):
            found += scalars(value, name)
        elif isinstance(value, bool | int | float | str) and key != "seconds":
            found.append((name[:1].upper() + name[1:], _text(value)))
    return found


def _text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def counted(count: int, one: str, many: str) -> str:
    """Write a count with its noun."""
    return f"{number(count)} {one if count == 1 else many}"


def summary(run: Run, writing: str = "") -> list[str]:
    """Return what the run found, a sentence each, computed from its figures.

    ``writing`` is the sentence about supervised training.
    """
    found = [_headline(run.simulate), writing, _ppo_sentence(run.ppo), _ope_sentence(run.ope)]
    sentences = [sentence for sentence in found if sentence]
    if not sentences:
        return ["This run has not come to a result yet: neither PPO nor the simulation has run."]
    return sentences


def _headline(simulate: Simulation | None) -> str:
    pair = headline_pair(simulate) if simulate else None
    if simulate is None or pair is None:
        return ""
    decimals = decimals_for([pair])
    interval = f"95{PERCENT} interval {span(pair, decimals)}"
    name, other = in_sentence(pair.a), in_sentence(pair.b)
    if covers(pair.low, pair.high):
        return (
            f"The simulation does not show whether {name} is better or worse than {other}: the "
            f"difference in return is {number(pair.diff, decimals, signed=True)} per session and "
            f"its {interval} covers 0."
        )
    word = "more" if pair.diff > 0 else "less"
    base = simulate.policies.get(pair.b, {}).get("return", Interval()).mean or 0.0
    share = f"; {percent(abs(pair.diff) / base, 0)} {word}" if base > 0 else ""
    return (
        f"{name[0].upper()}{name[1:]} earns {number(abs(pair.diff), decimals)} {word} per session "
        f"than {other} ({interval}{share}) in the simulated shop."
    )


def oriented(simulate: Simulation) -> list[Paired]:
    """Return the paired differences with the learned ranker first wherever it meets a baseline."""
    return [
        pair.against(pair.a) if _learned(pair.b) and not _learned(pair.a) else pair
        for pair in simulate.paired
    ]


def _learned(name: str) -> bool:
    # What looks at the hidden taste is no baseline: it stays the first.
    return name.startswith(("ranker", *ANCHORS))


def return_pairs(simulate: Simulation) -> list[Paired]:
    """Return the paired differences in return, oriented, in the order of the simulation."""
    return [pair for pair in oriented(simulate) if pair.metric == "return"]


def pair_label(pair: Paired) -> str:
    """Name a difference."""
    return f"{policy_name(pair.a)} − {policy_name(pair.b)}"


def headline_pair(simulate: Simulation) -> Paired | None:
    """Return the paired return difference that the run is about, learned minus similarity."""
    met = {(pair.a, pair.b): pair for pair in oriented(simulate) if pair.metric == "return"}
    return next((met[names] for names in HEADLINES if names in met), None)


def in_sentence(name: str) -> str:
    """Return a policy's name as it stands inside a sentence."""
    words = policy_name(name)
    return "the " + (words if words[:2].isupper() else words[:1].lower() + words[1:])


def span(one: Interval | Paired | Estimate, decimals: int) -> str:
    """Write the ends of an interval."""
    return f"{number(one.low, decimals)} to {number(one.high, decimals)}"


def _ppo_sentence(ppo: Ppo | None) -> str:
    if ppo is None or ppo.gain is None or ppo.gain.mean is None:
        return ""
    decimals = decimals_for([ppo.gain])
    gain = ppo.gain.mean
    interval = f"95{PERCENT} interval {span(ppo.gain, decimals)}"
    if covers(ppo.gain.low, ppo.gain.high):
        text = (
            f"PPO is not shown to help: it changed what a reason is worth on held-out prompts by "
            f"{number(gain, decimals, signed=True)} ({ppo.unit}), but the {interval} covers 0"
        )
    else:
        word = "raised" if gain > 0 else "lowered"
        text = (
            f"On held-out prompts PPO {word} what a reason is worth by "
            f"{number(abs(gain), decimals)} ({interval}; {ppo.unit})"
        )
    if ppo.claim_precision_after is None:
        return text + "."
    only = "but only " if ppo.claim_precision_after < PRECISE else ""
    share = percent(ppo.claim_precision_after)
    return f"{text}; {only}{share} of its claims are supported by the item."


def _ope_sentence(ope: Ope | None) -> str:
    named = {one.estimator: one for one in ope.estimates} if ope else {}
    one = named.get("DR") or next(iter(named.values()), None)
    if ope is None or one is None or one.value is None or ope.truth is None:
        return ""
    decimals = decimals_for([one])
    # An interval that is not there holds no truth.
    known = None not in (one.low, one.high)
    inside = "holds" if known and covers(one.low, one.high, ope.truth) else "misses"
    return (
        f"From the log alone, {one.estimator} puts the new ranker at "
        f"{number(one.value, decimals)} per slate (95{PERCENT} interval "
        f"{span(one, decimals)}), which {inside} the true "
        f"{number(ope.truth, decimals)}."
    )


def risks(run: Run, pairs: Sequence[Paired]) -> list[str]:
    """Return what speaks against trusting the run, a sentence each, from its figures."""
    return [*_worse_elsewhere(run.simulate), *_texts_at_risk(run), *_blind_ends(pairs)]


def _worse_elsewhere(simulate: Simulation | None) -> list[str]:
    """Metrics other than the return in which the learned shelf is surely worse."""
    pair = headline_pair(simulate) if simulate else None
    if simulate is None or pair is None:
        return []
    return [
        f"{METRICS.get(one.metric, one.metric)} is lower under {in_sentence(one.a)} than under "
        f"{in_sentence(one.b)}: {_difference(one)}."
        for one in oriented(simulate)
        if (one.a, one.b) == (pair.a, pair.b) and one.metric != "return" and one.high < 0
    ]


def _difference(one: Paired) -> str:
    decimals = decimals_of(one.metric, [one])
    low, mean, high = (
        amount(value, one.metric, decimals, signed=True) for value in (one.low, one.diff, one.high)
    )
    return f"{mean} (95{PERCENT} interval {low} to {high})"


def _texts_at_risk(run: Run) -> list[str]:
    books = (run.reasons.sft, run.reasons.ppo) if run.reasons else (None, None)
    found = [_book_sentence(name, book) for name, book in zip(("SFT", "PPO"), books) if book]
    ppo = run.ppo
    if ppo and ppo.claim_precision_after is not None and ppo.claim_precision_after < 1:
        wrong = percent(1 - ppo.claim_precision_after)
        found.append(
            f"Before the veto, {wrong} of the claims that the PPO model makes are not supported."
        )
    if ppo and ppo.reward_fallback is not None and ppo.reward_after is not None:
        better = "more" if ppo.reward_after > ppo.reward_fallback else "no more"
        found.append(
            f"Without any model, the rule-based text would be worth {number(ppo.reward_fallback)}"
            f"; PPO's is worth {better} than that: {number(ppo.reward_after)}."
        )
    return found


def _book_sentence(name: str, book: Written) -> str:
    share = percent(book.fallbacks / book.texts) if book.texts else DASH
    vetoes = ", ".join(f"{why} {number(count)}" for why, count in book.vetoes.items() if count)
    return (
        f"{name} reasons: of {counted(book.texts, 'text', 'texts')}, {number(book.fallbacks)} "
        f"({share}) were replaced by the rule-based text"
        f"{f'; vetoes: {vetoes}' if vetoes else '; none was vetoed'}."
    )


def _blind_ends(pairs: Sequence[Paired]) -> list[str]:
    unsure = [pair_label(pair) for pair in pairs if covers(pair.low, pair.high)]
    if not unsure:
        return []
    return [f"This run does not tell apart: {'; '.join(unsure)}."]
