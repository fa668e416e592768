"""A run folder with figures as a real run has them, for the tests of the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from envs.files import read_json, write_json

SCORES = ("text", "behaviour", "graph", "price", "scene", "quality")
GROUPS = (*SCORES, "reason", "rest", "variety")


def _near(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _policy(earned: float, ctr: float, bought: float, pages: float) -> dict[str, Any]:
    return {
        "return": _near(earned, 0.118),
        "ctr": _near(ctr, 0.0021),
        "purchases": _near(bought, 0.016),
        "session_length": _near(pages, 0.055),
        "trust": _near(0.71, 0.004),
    }


def _pair(a: str, b: str, metric: str, diff: float, half: float) -> dict[str, Any]:
    return {"a": a, "b": b, "metric": metric, "diff": diff, "low": diff - half, "high": diff + half}


def _estimate(name: str, value: float, half: float, ess: float, *warnings: str) -> dict[str, Any]:
    return {
        "estimator": name,
        "value": value,
        "low": value - half,
        "high": value + half,
        "se": half / 1.96,
        "ess": ess,
        "max_weight": 8000 / ess,
        "n": 8000,
        "warnings": list(warnings),
    }


def _figure(value: float, half: float | None = None) -> dict[str, float]:
    if half is None:
        return {"value": value}
    return {"value": value, "low": value - half, "high": value + half}


def writing() -> dict[str, Any]:
    """Return what the SFT stage says of its texts."""
    return {
        "temperature": 0.7,
        "prompts": 384,
        "samples": 4,
        "items": 96,
        "figures": {
            "claim_precision": _figure(0.955, 0.014),
            "veto_rate": _figure(0.119, 0.019),
            "profile_match": _figure(0.83, 0.032),
            "profile_match_control": _figure(0.228, 0.045),
            "profile_match_lift": _figure(0.602, 0.05),
            "shopper_swap": _figure(0.427, 0.04),
            "distinct2": _figure(0.131),
        },
        "vetoes": {"repeated claim": 0.074, "unsupported claim": 0.045},
        "floors": {
            "fixed": {"claim_precision": _figure(0.076), "profile_match_lift": _figure(0.0, 0.0)},
            "fallback": {"claim_precision": _figure(1.0), "profile_match_lift": _figure(0.61, 0.1)},
        },
        "fixed_sentence": "Its award-winning design makes it a good match for you.",
    }


def tasks() -> dict[str, Any]:
    """Return what the SFT stage says of its texts of other tasks."""
    floors = {"fixed": 21.5, "shuffled": 18.25, "rules": 61.0}
    return {
        "review_summary": {
            "rougeL": _figure(58.4) | {"about": "ROUGE-L F1, %", "floors": floors},
            "counts_match": _figure(0.97, 0.02)
            | {"about": "counts equal the reviews'", "floors": {"rules": 1.0}, "reference": 1.0},
        }
    }


def read_samples() -> list[dict[str, Any]]:
    """Return a whole ``sft/samples.json``."""
    text = "Pick it for its USB Type-C and free lunch."

    def mark(words: str, supported: bool) -> dict[str, Any]:
        start = text.index(words)
        end = start + len(words)
        return {"start": start, "end": end, "supported": supported, "why": "states a fact"}

    return [
        {
            "title": "Kestrel Trail watch",
            "likes": ["ports", "battery"],
            "facts": [["battery", "two-day battery"], ["ports", "USB Type-C"]],
            "text": text,
            "veto": "unsupported claim",
            "claims": [mark("USB Type-C", True), mark("free lunch", False)],
            "match": True,
            "other_likes": ["weight"],
            "other_text": "A sensible choice for every day.",
        },
        {
            "title": "Pulsera P1 earphones",
            "likes": ["sound"],
            "facts": [["battery", "30-hour battery"]],
            "text": "It has a 30-hour battery.",
            "veto": None,
            "claims": [{"start": 9, "end": 24, "supported": True, "why": "states a fact"}],
            "match": None,
            "other_likes": ["battery"],
            "other_text": "You get a 30-hour battery here.",
        },
    ]


def task_samples() -> dict[str, Any]:
    """Return a whole ``sft/task_samples.json``."""
    texts = {"text": "Pros: light (3).", "reference": "Pros: light (3), price (2)."}
    return {"review_summary": [{"prompt": "reviews | light ->", "rules": "Pros: light.", **texts}]}


def metrics() -> dict[str, Any]:
    """Return a whole ``metrics.json``."""
    return {
        "catalogue": {
            "items": 1012,
            "classes": 12,
            "aspects": 24,
            "facts": 9431,
            "reviews": 4120,
            "shoppers": 2000,
            "history": 18733,
            "queries": 310,
            "notes": ["Shoppers are simulated from the catalogue's aspects."],
            "dropped": {"no price": 14, "no title": 3},
        },
        "sft": {
            "base_model": "local",
            "pairs": 5200,
            "base": {"steps": 480, "held_loss_before": 5.11, "held_loss": 0.552, "seconds": 81.0},
            "adapter": {"steps": 60, "held_loss_before": 0.551, "held_loss": 0.435},
            "writing": writing(),
            "tasks": tasks(),
        },
        "ppo": {
            "reward_before": 0.792,
            "reward_after": 1.174,
            "gain": {"mean": 0.382, "low": 0.344, "high": 0.421},
            "kl": 3.41,
            "claim_precision_before": 0.931,
            "claim_precision_after": 0.994,
            "distinct2_before": 0.213,
            "distinct2_after": 0.187,
            "veto_rate_before": 0.081,
            "veto_rate_after": 0.007,
            "reward_fallback": 0.655,
            "unit": "expected reward per impression, in median margins of the catalogue",
            "held_out_gain": {"mean": 0.291, "low": 0.240, "high": 0.342},
            "distinct2_kept": 0.878,
            "best_of": {"n": 16, "reward": _near(1.401, 0.05), "share": _figure(0.627, 0.08)},
            "writing": {
                "sft": {"profile_match": _figure(0.83, 0.032), "shopper_swap": _figure(0.43, 0.04)},
                "ppo": {"profile_match": _figure(0.985, 0.01), "shopper_swap": _figure(0.57, 0.05)},
                "paired": {
                    "profile_match": _figure(0.155, 0.04),
                    "shopper_swap": _figure(0.02, 0.05),
                    "claim_precision": _figure(0.063, 0.02),
                },
            },
            "held_out_shop": {
                "home": _figure(0.382, 0.039),
                "held_out": _figure(0.301, 0.041),
                "kept": _figure(0.788, 0.06),
                "shops": {"dbn": {"gain": _figure(0.322, 0.05), "kept": _figure(0.843, 0.07)}},
                "other_words": {
                    "home": _figure(0.351, 0.04),
                    "held_out": _figure(0.274, 0.04),
                    "kept": _figure(0.717, 0.09),
                },
            },
            "training": {
                "cycles": 50,
                "alarms": [
                    {
                        "cycle": 38,
                        "name": "unique_share",
                        "value": 0.47,
                        "limit": 0.5,
                        "action": "stop",
                    }
                ],
            },
        },
        "reasons": {
            "sft": {"texts": 8096, "fallbacks": 655, "vetoes": {"unsupported claim": 655}},
            "ppo": {"texts": 8096, "fallbacks": 61, "vetoes": {"unsupported claim": 57, "copy": 4}},
        },
        "rank": {
            "return_start": 6.61,
            "return_best": 11.92,
            "iterations": 60,
            "env_steps": 491520,
        },
        "simulate": {
            "policies": {
                "random": _policy(4.02, 0.051, 0.21, 3.61),
                "popularity": _policy(5.33, 0.064, 0.28, 3.92),
                "similarity+none": _policy(5.72, 0.071, 0.31, 4.02),
                "similarity": _policy(7.13, 0.089, 0.39, 4.40),
                "best_mix": _policy(7.22, 0.091, 0.41, 4.44),
                "ranker": _policy(11.87, 0.124, 0.63, 5.02),
                "similarity+sft": _policy(6.61, 0.083, 0.36, 4.31),
                "similarity+ppo": _policy(7.13, 0.089, 0.39, 4.40),
                "ranker+sft": _policy(11.02, 0.117, 0.59, 4.92),
                "ranker+ppo": _policy(11.87, 0.124, 0.63, 5.02),
                "oracle": _policy(13.94, 0.142, 0.75, 5.31),
            },
            "paired": [
                _pair("ranker", "similarity", "return", 4.74, 0.21),
                _pair("ranker", "similarity", "ctr", 0.035, 0.0031),
                _pair("ranker", "similarity", "purchases", 0.24, 0.021),
                _pair("ranker", "similarity", "session_length", 0.62, 0.06),
                _pair("ranker", "similarity", "trust", -0.031, 0.004),
                _pair("ranker", "best_mix", "return", 4.65, 0.2),
                _pair("ranker", "popularity", "return", 6.54, 0.2),
                _pair("ranker", "random", "return", 7.85, 0.2),
                _pair("oracle", "ranker", "return", 2.07, 0.19),
                _pair("best_mix", "similarity", "return", 0.09, 0.17),
                _pair("similarity", "similarity+sft", "return", 0.52, 0.16),
                _pair("ranker", "ranker+sft", "return", 0.85, 0.15),
                _pair("ranker+sft", "similarity+sft", "return", 4.41, 0.19),
                _pair("similarity+sft", "similarity+none", "return", 0.89, 0.16),
            ],
            "sessions": 5000,
            "share_of_oracle": 0.696,
            "order": order(),
        },
        "ope": {
            "logging": "softened similarity",
            "target": "RL ranker",
            "slates": 8000,
            "truth": 2.364,
            "truth_low": 2.339,
            "truth_high": 2.389,
            "logging_value": 1.702,
            "estimates": [
                _estimate("SNIPS", 2.71, 1.9, 38.2, "one slate carries 9% of the weight"),
                _estimate("RIPS", 2.44, 0.31, 402.0),
                _estimate("DM", 2.071, 0.05, 8000.0),
                _estimate("DR", 2.391, 0.12, 402.0),
            ],
            "verdict": "DR's interval holds the truth; DM alone is too low.",
        },
        "export": {"bundle": "runs/fixture/bundle", "files": 17, "bytes": 9_400_000},
        "seconds": {
            "catalogue": 3.2,
            "similarity": 5.1,
            "sft": 104.2,
            "ppo": 121.9,
            "reasons": 22.4,
            "rank": 101.3,
            "simulate": 41.0,
            "ope": 19.7,
            "export": 6.6,
        },
        "warnings": ["rank: the entropy reached 0.02; the shelf hardly varies any more."],
    }


def order() -> dict[str, Any]:
    """Return what the simulate stage says of reasons and the order."""

    def side(named: float, top: float) -> dict[str, Any]:
        return {
            "items": 1200,
            "silent": 0.034,
            "named": _figure(named, 0.04),
            "random": _figure(0.586),
            "shuffled": _figure(0.48),
            "over_shuffled": _figure(named - 0.48, 0.008),
            "factors": {group: {"top": top, "said": 0.25} for group in GROUPS},
            "links": {
                "items": 1159,
                "linked": _figure(0.473, 0.04),
                "random": _figure(0.457),
                "over": _figure(0.016, 0.024),
            },
        }

    policies = {"similarity+sft": side(0.482, 0.46), "ranker+ppo": side(0.525, 0.153)}
    return {"pages": 240, "top": 2, "groups": list(GROUPS), "policies": policies}


def horizon() -> dict[str, Any]:
    """Return what a ranker trained for the session and one for the page do page by page."""
    variants = {
        "long": {
            "there": [1.0, 0.9, 0.8],
            "satiation": [0.1, 0.2, 0.25],
            "trust": [0.6, 0.62, 0.63],
        },
        "myopic_trained": {
            "there": [1.0, 0.85, 0.0],
            "satiation": [0.2, 0.35, None],
            "trust": [0.6, 0.58, None],
        },
    }
    lead = {"value": [-0.1, 0.0, 0.3], "low": [-0.15, -0.1, 0.1], "high": [-0.05, 0.1, 0.5]}
    return {"pages": [1, 2, 3], "variants": variants, "lead": lead}


def rounds() -> dict[str, Any]:
    """Return what the rounds stage says of two rounds."""

    def step(a: str, b: str, diff: float, half: float) -> dict[str, Any]:
        return _pair(a, b, "return", diff, half)

    first, between, last = "ranker1+reasons1", "ranker1+reasons2", "ranker2+reasons2"
    return {
        "sessions": 5000,
        "steps": [
            {
                "round": 2,
                "gain": step(last, first, 0.31, 0.11),
                "reasons": step(between, first, 0.22, 0.09),
                "ranker": step(last, between, 0.09, 0.1),
                "helped": True,
                "placement": 0.912,
            }
        ],
    }


def samples() -> list[dict[str, Any]]:
    """Return a whole ``ppo/samples.json``."""
    facts = [["weight", "weighs 90 g"], ["battery", "two-day battery"], ["ports", "USB Type-C"]]
    return [
        {
            "title": "Aurel Trail GPS watch, 42 mm",
            "likes": ["battery", "weight"],
            "facts": facts,
            "sft": "Pick it for its USB Type-C.",
            "ppo": "With two-day battery and weighs 90 g, it suits what you like.",
            "fallback": "Two-day battery.",
            "sft_reward": 0.31,
            "ppo_reward": 1.42,
            "sft_veto": None,
            "ppo_veto": None,
        },
        {
            "title": "Norvik N2 headphones",
            "likes": ["sound"],
            "facts": [["sound", "40 mm drivers"], ["battery", "30-hour battery"]],
            "sft": "You get noise cancelling and 40 mm drivers here.",
            "ppo": "Recommended for its 40 mm drivers.",
            "fallback": "40 mm drivers.",
            "sft_reward": -1.0,
            "ppo_reward": 0.94,
            "sft_veto": "unsupported claim: noise cancelling",
            "ppo_veto": None,
        },
    ]


def _card(number: int, title: str, reason: str, *claims: str, source: str = "model") -> Any:
    rng = np.random.default_rng(number)
    return {
        "item_id": f"i{number}",
        "title": title,
        "brand": "Norvik",
        "class": "USB hubs",
        "price": 19.9 + 37.5 * number,
        "currency": "EUR",
        "reason": reason,
        "source": source,
        "claims": list(claims),
        "scores": dict(zip(SCORES, rng.random(len(SCORES)).tolist())),
        "contributions": dict(zip(GROUPS, rng.normal(size=len(GROUPS)).tolist())),
        "named": ["text", "graph"] if claims else [],
    }


def shelves() -> list[dict[str, Any]]:
    """Return a whole ``simulate/shelves.json``."""
    cards = [
        _card(0, "Norvik H4 hub", "Pick it for its four ports.", "four ports"),
        _card(
            1,
            "Norvik H7 powered USB 3.2 Gen 1 hub with individual switches, aluminium, 60 W",
            "With 60 W power supply and USB Type-C, it suits you well.",
            "60 W power supply",
            "USB Type-C",
        ),
        _card(2, "Aurel Slim hub", "Weighs 41 g.", "weighs 41 g", source="fallback"),
        _card(3, "Kestrel Dock", "It has HDMI and 10 Gbit/s.", "HDMI", "10 Gbit/s"),
    ]
    return [
        {
            "shopper": "s17",
            "segment": 3,
            "likes": ["ports", "power"],
            "scene": "search",
            "query": "usb hub with power",
            "before": cards[:3],
            "after": [cards[1], cards[3], cards[0]],
        },
        {
            "shopper": "s203",
            "segment": 1,
            "likes": ["weight"],
            "scene": "similar",
            "query": None,
            "anchor": "Kestrel Dock mini",
            "before": cards[1:],
            "after": [cards[2], cards[1], cards[3]],
        },
    ]


def curves() -> dict[str, Any]:
    """Return the learning curves by stage."""

    def phase(steps: int, high: float, low: float) -> list[dict[str, float]]:
        rows: list[dict[str, float]] = []
        for step in range(0, steps + 1, steps // 12):
            loss = low + (high - low) * math.exp(-4 * step / steps)
            rows += [{"step": step, "loss": loss}, {"step": step, "held_loss": loss * 1.06}]
        return rows

    return {
        "sft": {"base": phase(480, 4.1, 0.52), "adapter": phase(60, 0.52, 0.41)},
        "ppo": [
            {
                "cycle": cycle,
                "reward": 1.17 - 0.38 * math.exp(-cycle / 14) + 0.02 * math.sin(7 * cycle),
                "reward_std": 0.4,
                "kl": 3.4 * (1 - math.exp(-cycle / 20)),
                "entropy": 0.8 * math.exp(-cycle / 50),
                "vf_loss": 0.3 * math.exp(-cycle / 9),
                "seconds": 1.2,
            }
            for cycle in range(1, 51)
        ],
        "rank": [
            {
                "iteration": iteration,
                "env_steps": 8192 * iteration,
                "return_sampled": 10.4 - 5.1 * math.exp(-iteration / 12) if iteration else None,
                "return_topk": 11.9 - 5.3 * math.exp(-iteration / 9) if not iteration % 5 else None,
                "entropy": 9.1 * math.exp(-iteration / 30) if iteration else None,
            }
            for iteration in range(61)
        ],
    }


def write_run(folder: Path) -> Path:
    """Write a finished run into ``folder`` and return it."""
    figures = metrics()
    config = {"name": "fixture", "seed": 7, "ppo": {"seconds": 90}, "shop": {"slots": 3}}
    write_json(folder / "run.json", {"version": "0.1.0", "name": "fixture", "config": config})
    write_json(folder / "metrics.json", figures)
    write_json(folder / "ppo" / "samples.json", samples())
    write_json(folder / "sft" / "samples.json", read_samples())
    write_json(folder / "sft" / "task_samples.json", task_samples())
    write_json(folder / "simulate" / "shelves.json", shelves())
    for stage, curve in curves().items():
        write_json(folder / stage / "curve.json", curve)
    for number, (stage, seconds) in enumerate(figures["seconds"].items()):
        record = {
            "status": "done",
            "inputs_hash": f"{number:x}" * 64,
            "seed": 1000 + number,
            "versions": {"python": "3.12.4", "torch": "2.13.0", "trl": "1.16.0", "ray": "2.60.0"},
            "seconds": seconds,
            "metrics": figures.get(stage, {}),
            "finished_at": f"2026-01-05T10:{number:02}:00+00:00",
        }
        write_json(folder / stage / "stage.json", record)
    return folder


def add_baselines(run: Path) -> None:
    """Add learned baselines, the myopic oracle and the look ahead to a run."""
    figures = read_json(run / "metrics.json")
    figures["simulate"]["policies"] |= {
        "myopic": _policy(13.02, 0.139, 0.72, 4.97),
        "mmr": _policy(7.31, 0.091, 0.40, 4.47),
        "linucb": _policy(9.12, 0.104, 0.49, 4.71),
        "click_regression": _policy(9.63, 0.109, 0.51, 4.76),
    }
    figures["simulate"]["paired"] += [
        _pair("ranker", "linucb", "return", 2.75, 0.2),
        _pair("myopic", "ranker", "return", 1.15, 0.2),
    ]
    figures["simulate"] |= {"share_of_myopic": _near(0.805, 0.012)}
    write_json(run / "metrics.json", figures)
    write_json(run / "rankers" / "metrics.json", {"table": {"horizon": horizon()}})


def add_round(run: Path) -> None:
    """Add a second round to a run, with samples and curves of its own."""
    figures = read_json(run / "metrics.json")
    figures |= {
        "ppo2": {
            "reward_before": 0.801,
            "reward_after": 1.213,
            "gain": {"mean": 0.412, "low": 0.371, "high": 0.453},
            "claim_precision_before": 0.928,
            "claim_precision_after": 0.991,
        },
        "reasons2": {
            "sft": {"texts": 8096, "fallbacks": 655, "vetoes": {"unsupported claim": 655}},
            "ppo": {"texts": 8096, "fallbacks": 73, "vetoes": {"unsupported claim": 73}},
        },
        "rank2": {"return_start": 6.61, "return_best": 12.04, "iterations": 60},
        "rounds": rounds(),
    }
    write_json(run / "metrics.json", figures)
    told = samples()[0] | {"title": "Told again in round 2"}
    write_json(run / "ppo2" / "samples.json", [told])
    write_json(run / "ppo2" / "curve.json", curves()["ppo"])
    write_json(run / "rank2" / "curve.json", curves()["rank"])
