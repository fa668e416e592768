"""The model card of a bundle: what it is, what it was measured to do, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envs.catalogue import Catalogue
from policies.bundle_files import Manifest, Retrained

_LIMITS = (
    "It was trained and evaluated in a simulated shop. The figures say how it does against that "
    "shop's assumptions about clicks, purchases and trust, not how it will do with real people; "
    "measure that in an experiment of your own before you rely on it.",
    "It knows the items and shoppers of its export. A new item needs a new export; an unknown "
    "shopper gets the shelf of the average shopper, and is told so.",
    "Reasons were checked against the facts of the catalogue: a fact that is wrong there is "
    "wrong here too. The check knows phrases and words, not meaning.",
    "It learns from what shoppers did, so it carries on what they were shown before: popular "
    "items tend to stay popular.",
    "The digests in manifest.json find damage, not forgery: take bundles only from people you "
    "trust.",
)
_WRITERS = {
    "adapter": "The language model is in `reasoner/`: a base, and a PEFT adapter on it where it "
    "has one.",
    "merged": "The language model is in `reasoner/`, with its PEFT adapter merged into it.",
    "int8": "The language model is in `reasoner/`, its weights rounded to eight bits.",
    "none": "No language model is part of this bundle.",
}
_RANKERS = {
    "full": "as it was trained.",
    "linear": "distilled to a weighted sum of features, with weights by context.",
    "pruned": "the hidden units that mattered least were cut off.",
}
_SIGN_OFF = """## Sign-off

| | |
| --- | --- |
| Reviewed by | |
| Date | |
| `shelftalk check` run on | |
| Figures above reproduced (yes, no, which) | |
| Fit for (experiment, share of traffic, all) | |
| Not to be used for | |
| Signature | |"""
_NO_FIGURES = "No figures came with this export."
_PPO_ROWS = (
    ("Reward, before PPO", "reward_before"),
    ("Reward, after PPO", "reward_after"),
    ("Gain, paired by prompt", "gain"),
    ("KL to the SFT policy", "kl"),
    ("Claim precision, before PPO", "claim_precision_before"),
    ("Claim precision, after PPO", "claim_precision_after"),
    ("Distinct bigrams, before PPO", "distinct2_before"),
    ("Distinct bigrams, after PPO", "distinct2_after"),
)


def model_card(
    manifest: Manifest,
    catalogue: Catalogue,
    metrics: Mapping[str, Any],
    files: Mapping[str, int],
    written: Mapping[str, int],
) -> str:
    """Return the card as Markdown.

    Args:
        manifest: what the bundle is.
        catalogue: the shop it was made for.
        metrics: figures of the run by stage; what is not there is left out.
        files: size in bytes by path.
        written: how many reasons the `model` and the `fallback` wrote.
    """
    sections = [
        f"# {plain(manifest.name)}",
        _what(manifest, written),
        _data(manifest, catalogue),
        _training(manifest, metrics, written),
        _results(metrics, manifest.retrained),
        _forms(manifest),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in (*_unbeaten(manifest), *_LIMITS)),
        _reproduce(manifest),
        "## Files\n\nSHA-256 digests are in `manifest.json`.\n\n"
        + table(("file", "bytes"), [(f"`{f}`", f"{size:,}") for f, size in files.items()])
        + f"\n\n{sum(files.values()):,} bytes in all.",
        _SIGN_OFF,
    ]
    return "\n\n".join(sections) + "\n"


def plain(text: Any) -> str:
    """Return outside text so that Markdown shows it as it is, in one line."""
    words = " ".join(str(text).split())
    for sign in "\\`*_[]|#":
        words = words.replace(sign, "\\" + sign)
    # A renderer may let HTML through.
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; cells are used as they are."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: Any) -> str:
    """Return a number, or ``mean [low, high]`` of an interval; a dash for anything else."""
    if isinstance(value, Mapping):
        middle = value.get("mean", value.get("value", value.get("diff")))
        if value.get("low") is None or value.get("high") is None:
            return figure(middle)
        return f"{figure(middle)} [{figure(value['low'])}, {figure(value['high'])}]"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"


def _what(manifest: Manifest, written: Mapping[str, int]) -> str:
    settings = manifest.settings
    counts = " and ".join(
        f"{count:,} by the {plain(source)}"
        for source, count in sorted(written.items(), reverse=True)
    )
    return (
        "## What it is\n\n"
        "A shelf for a shop: given a shopper, and an item or a query where there is one, it orders "
        "the items and shows with each the reason that fits the shopper's segment. The ranker "
        "(`ranker/`, also as ONNX) scores the "
        f"{settings.pool} candidates most similar by the mean of six scores; {settings.slots} are "
        f"shown unless asked otherwise. Reasons come from `reasons.parquet`: written {counts}. The "
        "fallback is a rule-based writer that stands in wherever a model's text fails a check. "
        f"{_WRITERS[manifest.forms.reasoner]}"
    )


def _data(manifest: Manifest, catalogue: Catalogue) -> str:
    counts = catalogue.summary()
    shop = (
        f"Catalogue {plain(catalogue.name)} ({plain(catalogue.locale)}, prices in "
        f"{plain(catalogue.currency)}): {counts['items']:,} items in {counts['classes']} classes, "
        f"{counts['facts']:,} facts about {counts['aspects']} aspects; histories of "
        f"{manifest.shop['shoppers']:,} shoppers. The bundle holds the items and what their "
        "histories say of the shoppers (ids, items met with weights, averages), without times, "
        "order or reviews."
    )
    return "\n".join(["## Data\n", shop, *(f"\n- {plain(note)}" for note in catalogue.notes)])


def _training(manifest: Manifest, metrics: Mapping[str, Any], written: Mapping[str, int]) -> str:
    reasons = (
        "Reasons: supervised fine-tuning on sentences written from the facts, then, where results "
        "below tell of it, PPO against the clicks, purchases and trust that the simulated shop "
        "expects of a reason, with a veto for claims that the item's facts do not support."
        if written.get("model")
        else "Reasons: none comes from a trained model."
    )
    ranker = (
        "PPO in the same shop, over a Plackett-Luce distribution of slates."
        if manifest.retrained is None
        else "fitted to what the shelves of a feedback log earned, as below."
    )
    text = f"## Training\n\n{reasons} Ranker: {ranker}"
    if manifest.retrained is not None:
        text += f"\n\n{_log(manifest.retrained)}"
    seconds = metrics.get("seconds")
    if isinstance(seconds, Mapping) and seconds:
        spent = [(plain(stage), figure(value)) for stage, value in seconds.items()]
        text += "\n\n" + table(("stage", "seconds"), spent)
    return text


def _log(log: Retrained) -> str:
    """Say what the ranker was fitted to."""
    rows = [
        ("started from", plain(log.bundle)),
        ("impressions", f"{log.impressions:,}"),
        ("pages", f"{log.slates:,}"),
        ("visits", f"{log.sessions:,}"),
        ("shown from", plain(log.first) or "-"),
        ("shown until", plain(log.last) or "-"),
        ("shown by", plain("; ".join(log.logging_policies))),
        *((f"pages left out: {plain(why)}", f"{count:,}") for why, count in log.dropped.items()),
        ("visits held out for the comparison", f"{log.held_out:,}"),
    ]
    return (
        table(("log", "value"), rows)
        + "\n\nThe cards of the bundles before it, with what their reasons and rankers were "
        "measured to do, are in `earlier/`."
    )


def _results(metrics: Mapping[str, Any], log: Retrained | None) -> str:
    parts = [*_ppo(metrics), *_simulation(metrics), *_ope(metrics)]
    told = (
        "All figures are of a simulated shop; brackets hold 95 % intervals."
        if log is None
        else "Estimates are of the visits held out of the log, slates sampled at temperature "
        f"{figure(log.temperature)}; brackets hold 95 % intervals."
    )
    return "\n\n".join(["## Results", *((told, *parts) if parts else (_NO_FIGURES,))])


def _ppo(metrics: Mapping[str, Any]) -> list[str]:
    ppo = metrics.get("ppo") or {}
    rows = [(label, figure(ppo[key])) for label, key in _PPO_ROWS if key in ppo]
    return ["### Reasons (held-out prompts)", table(("figure", "value"), rows)] if rows else []


def _simulation(metrics: Mapping[str, Any]) -> list[str]:
    simulate = metrics.get("simulate") or {}
    columns = ("return", "ctr", "purchases", "session_length")
    rows = [
        (plain(name), *(figure(found.get(column)) for column in columns))
        for name, found in (simulate.get("policies") or {}).items()
    ]
    pairs = [
        (f"{plain(row['a'])} minus {plain(row['b'])}", plain(row["metric"]), figure(row))
        for row in simulate.get("paired") or []
    ]
    parts = []
    if rows:
        parts += ["### Simulated sessions", table(("policy", *columns), rows)]
    if pairs:
        parts += [
            "### Paired differences (same shoppers, same luck)",
            table(("difference", "metric", "value"), pairs),
        ]
    return parts


def _ope(metrics: Mapping[str, Any]) -> list[str]:
    ope = metrics.get("ope") or {}
    rows = [
        (plain(row["estimator"]), figure(row), figure(row.get("ess")))
        for row in ope.get("estimates") or []
    ]
    if "truth" in ope:
        rows.append(("truth (simulated)", figure(ope["truth"]), "-"))
    if not rows:
        return []
    verdict = [f"Verdict: {plain(ope['verdict'])}."] if ope.get("verdict") else []
    return [
        "### Off-policy estimates of the ranker",
        table(("estimator", "value", "effective sample size"), rows),
        *verdict,
    ]


def _unbeaten(manifest: Manifest) -> list[str]:
    """Say which policies the ranker was not shown to beat."""
    others = [
        plain(pair["b"])
        for pair in manifest.evaluation
        if pair["a"] == "ranker" and pair["metric"] == "return" and float(pair["low"]) <= 0
    ]
    if not others:
        return []
    return [
        f"The ranker was not shown to earn more than {', '.join(others)}: the intervals of the "
        "differences cover 0 or lie below it."
    ]


def _forms(manifest: Manifest) -> str:
    lines = [
        "## Form of the policies",
        f"Ranker: {_RANKERS[manifest.forms.ranker]} Reasoner: {manifest.forms.reasoner}.",
    ]
    if manifest.measured:
        lines.append("The results above are those of the full forms.")
    for part, figures in manifest.measured.items():
        rows = [(plain(name).replace("\\_", " "), figure(value)) for name, value in figures.items()]
        lines += [f"What the {plain(part)}'s form costs:", table(("figure", "value"), rows)]
    return "\n\n".join(lines)


def _reproduce(manifest: Manifest) -> str:
    source = manifest.source
    commands = [*source.commands, "shelftalk check BUNDLE", "shelftalk recommend BUNDLE"]
    facts = [
        ("seed", "-" if source.seed is None else str(source.seed)),
        ("SHA-256 of the configuration", source.config_sha256 or "-"),
        ("SHA-256 of the data", source.data_sha256 or "-"),
        *(
            (f"version of {plain(name)}", plain(number))
            for name, number in manifest.versions.items()
        ),
    ]
    return (
        "## How to reproduce\n\n"
        + "\n".join(["```", *commands, "```"])
        + "\n\nThe same configuration (`config.json`, where it came along; put its paths back if "
        "they were absolute) and seed train the same policies up to rounding with these library "
        "versions:\n\n" + table(("what", "value"), facts)
    )
