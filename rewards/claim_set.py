"""How well the checker does on sentences that people labelled.

A set is a folder with, for each language, ``items_LOCALE.jsonl`` (item_id, title, class, brand,
price, features, facts) and ``sentences_LOCALE.jsonl`` (item_id, tag, half, text, claims: each with
text, start, supported). ``rewards/data/claims/README.md`` says how ours was labelled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from envs.catalogue import LOCALES, Catalogue, check_catalogue, typed_table
from envs.errors import UserError
from rewards.claims import Claim, ClaimChecker

#: The set that comes with the project.
LABELLED = Path(__file__).parent / "data" / "claims"
#: Share of the shorter of two spans that must lie in the other for both to mean the same claim.
OVERLAP = 0.5

Span = tuple[int, int]


@dataclass(frozen=True)
class Sentence:
    """A labelled sentence."""

    locale: str
    item_id: str
    #: What it tries: ``near_miss``, ``negation_false``, ...
    tag: str
    #: ``dev``, ``held`` or ``fresh``: how late the checker's author saw it (see the README).
    half: str
    text: str
    #: Place of each claim in the text and whether the item supports it.
    claims: tuple[tuple[Span, bool], ...]


@dataclass(frozen=True)
class Outcome:
    """What the checker found in a sentence, by verdict (supported or not)."""

    sentence: Sentence
    #: Claims found that are labelled so, and claims found that are not.
    right: dict[bool, int]
    wrong: dict[bool, list[str]]
    #: Labelled claims that were found, and those that were missed.
    met: dict[bool, int]
    missed: dict[bool, list[str]]


def read_sentences(folder: Path) -> list[Sentence]:
    """Read the sentences of every language that a set holds.

    Raises:
        UserError: for a folder without sentences, or a line that is none.
    """
    found: list[Sentence] = []
    for locale in LOCALES:
        path = folder / f"sentences_{locale}.jsonl"
        for number, row in _rows(path) if path.exists() else ():
            try:
                found.append(_sentence(row, locale))
            except (KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{path}, line {number}: a sentence has item_id, tag, half, text and claims "
                    f"(text, start, supported), but {error} is missing or of another kind"
                ) from error
    if not found:
        raise UserError(
            f"{folder}: holds no sentences_LOCALE.jsonl; give a folder of labelled sets"
        )
    return found


def _sentence(row: dict[str, Any], locale: str) -> Sentence:
    claims = tuple(
        ((c["start"], c["start"] + len(c["text"])), bool(c["supported"])) for c in row["claims"]
    )
    return Sentence(locale, row["item_id"], row["tag"], row["half"], row["text"], claims)


def _rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: is not valid JSON: {error}") from error


def read_items(folder: Path, locale: str) -> Catalogue:
    """Return the items of a set as a catalogue; its aspects are those of the facts."""
    items, facts, features = [], [], []
    for _, row in _rows(folder / f"items_{locale}.jsonl"):
        item = row["item_id"]
        items.append({**row, "margin": 0.0, "quality": 0.5, "description": ""})
        facts += [{"item_id": item, "strength": 0.5, **fact} for fact in row["facts"]]
        features += [
            {"item_id": item, "key": key, "value": value} for key, value in row["features"].items()
        ]
    source = str(folder)
    return check_catalogue(
        Catalogue(
            name="labelled claims",
            locale=locale,
            currency="EUR",
            aspects=sorted({fact["aspect"] for fact in facts}),
            items=typed_table(pd.DataFrame(items), "items", source),
            facts=typed_table(pd.DataFrame(facts), "facts", source),
            features=typed_table(pd.DataFrame(features), "features", source),
        ),
        source,
    )


def outcomes(folder: Path) -> list[Outcome]:
    """Check every sentence of a set."""
    sentences = read_sentences(folder)
    found = []
    for locale in sorted({sentence.locale for sentence in sentences}):
        catalogue = read_items(folder, locale)
        checker = ClaimChecker(catalogue)
        for sentence in (s for s in sentences if s.locale == locale):
            item = catalogue.item_position[sentence.item_id]
            found.append(compare(sentence, checker.check(item, sentence.text).claims))
    return found


def compare(sentence: Sentence, claims: Iterable[Claim]) -> Outcome:
    """Set the claims that were found beside those that were labelled.

    A claim that the text repeats counts once, and is right if one of its places is.
    """
    places: dict[Claim, list[Span]] = {}
    for claim in claims:
        places.setdefault(claim, []).append(claim.span)
    right, met = {True: 0, False: 0}, {True: 0, False: 0}
    wrong: dict[bool, list[str]] = {True: [], False: []}
    missed: dict[bool, list[str]] = {True: [], False: []}
    for claim, spans in places.items():
        labelled = [span for span, supported in sentence.claims if supported == claim.supported]
        if any(_meet(span, label) for span in spans for label in labelled):
            right[claim.supported] += 1
        else:
            wrong[claim.supported].append(claim.text)
    for label, supported in sentence.claims:
        found = [
            s for claim, spans in places.items() if claim.supported == supported for s in spans
        ]
        if any(_meet(span, label) for span in found):
            met[supported] += 1
        else:
            missed[supported].append(sentence.text[slice(*label)])
    return Outcome(sentence, right, wrong, met, missed)


def _meet(a: Span, b: Span) -> bool:
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared >= OVERLAP * min(a[1] - a[0], b[1] - b[0])


def measure_claims(path: Path = LABELLED) -> dict[str, dict[str, float]]:
    """Return how well claims are found on the labelled set in the folder ``path``.

    The parts are ``all``, ``dev``, ``held``, ``fresh``, ``en``, ``zh``, ``held_en`` and
    ``held_zh``; each has ``sentences`` and, for finding unsupported and supported claims,
    ``unsupported_precision``, ``unsupported_recall``, ``supported_precision``,
    ``supported_recall``, and ``exact``, the share of sentences without any mistake.

    Raises:
        UserError: for a folder that holds no such set.
    """
    found = outcomes(path)
    parts = {"all": found}
    for half in ("dev", "held", "fresh"):
        parts[half] = [o for o in found if o.sentence.half == half]
    for locale in LOCALES:
        parts[locale] = [o for o in found if o.sentence.locale == locale]
        parts[f"held_{locale}"] = [o for o in parts[locale] if o.sentence.half == "held"]
    return {name: _figures(part) for name, part in parts.items() if part}


def _figures(part: list[Outcome]) -> dict[str, float]:
    figures: dict[str, float] = {"sentences": len(part)}
    for name, verdict in (("unsupported", False), ("supported", True)):
        right = sum(o.right[verdict] for o in part)
        wrong = sum(len(o.wrong[verdict]) for o in part)
        met = sum(o.met[verdict] for o in part)
        missed = sum(len(o.missed[verdict]) for o in part)
        figures[f"{name}_precision"] = right / (right + wrong) if right + wrong else 1.0
        figures[f"{name}_recall"] = met / (met + missed) if met + missed else 1.0
    clean = [not any((*o.wrong.values(), *o.missed.values())) for o in part]
    figures["exact"] = sum(clean) / len(part)
    return figures
