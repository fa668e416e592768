"""The table of a comparison: what each algorithm's texts are worth, and how they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.progress import Progress, silent
from experiments.algorithms_bench import Bench
from experiments.held_out_lift import lift_kept, share_kept, worth
from experiments.measure_intervals import share_of_way
from experiments.measure_panel import Said
from experiments.measure_writing import Measured, as_figures, paired
from rewards.words import tokens
from sft.metrics.figures import clustered_mean
from sft.metrics.variety import distinct_kept

F64 = NDArray[np.float64]


#: The algorithm whose reward is the end of the way.
CEILING = "best_of"


@dataclass(frozen=True)
class Cell:
    """What one algorithm wrote with one seed, and the figures of its stage."""

    algorithm: str
    seed: int
    said: Said
    figures: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A cell's texts, judged."""

    cell: Cell
    measured: Measured
    #: Uplift of each prompt at home and in each held-out shop, (prompts,).
    home: F64
    away: dict[str, F64]

    @property
    def held_out(self) -> F64:
        """Uplift of each prompt averaged over the held-out shops, (prompts,)."""
        return np.mean(list(self.away.values()), axis=0)


def make_table(bench: Bench, cells: Sequence[Cell], progress: Progress = silent) -> dict[str, Any]:
    """Judge all cells; the first one's algorithm is what the others are compared with.

    Returns:
        ``prompts``, ``samples``, ``seeds``, ``budget`` (``cycles`` or ``seconds``), ``unit``, and
        ``rows``, one an algorithm: ``reward`` and ``held_out`` (means), ``gain`` and
        ``held_out_gain`` over the first algorithm (``{value, low, high}``, paired by seed and
        prompt), ``gain_by_seed``, ``kept`` and ``lift_kept`` (share of the gain, and of the lift,
        left in the held-out shops, or None), ``distinct2_kept`` (at equal
        amounts of text), ``way`` (share of the way to the best of n, or None),
        ``kl`` (nats a text, None without a model), ``figures`` (those of
        `experiments.measure_writing`), ``paired`` (their differences from the first algorithm's),
        ``train_cpu_seconds`` and ``cpu_ms_per_text``. All means are over seeds; intervals take all
        texts about one item as one cluster.
    """
    judge, held_out = bench.judge(), bench.held_out()
    judged: dict[str, list[Judged]] = {}
    for done, cell in enumerate(cells):
        progress(done, len(cells), {})
        texts = cell.said.texts
        judged.setdefault(cell.algorithm, []).append(
            Judged(
                cell,
                judge.measure(cell.said),
                worth(bench.home, bench.panel, texts),
                {name: worth(mix, bench.panel, texts) for name, mix in held_out.items()},
            )
        )
    progress(len(cells), len(cells), {})
    first = next(iter(judged.values()))
    budget = {"cycles": bench.config.ppo.cycles, "seconds": bench.config.ppo.seconds}
    return {
        "unit": "expected reward per impression, in median margins of the catalogue",
        "prompts": bench.panel.count,
        "samples": bench.panel.samples,
        "seeds": len(first),
        "budget": {name: value for name, value in budget.items() if value is not None},
        "held_out_shops": list(held_out),
        "rows": [_row(bench, rows, first, judged.get(CEILING)) for rows in judged.values()],
    }


def _row(
    bench: Bench, cells: Sequence[Judged], first: Sequence[Judged], best: Sequence[Judged] | None
) -> dict[str, Any]:
    items = np.tile(bench.panel.prompt_items, len(cells))
    gain = np.concatenate([one.home - base.home for one, base in zip(cells, first, strict=True)])
    before, after = _homes(first), _homes(cells)
    away = np.concatenate([one.held_out - base.held_out for one, base in zip(cells, first)])
    elsewhere = [
        (
            np.concatenate([one.away[name] for one in first]),
            np.concatenate([one.away[name] for one in cells]),
        )
        for name in first[0].away
    ]
    measured = _joined([one.measured for one in cells])
    found: dict[str, Any] = {
        "algorithm": cells[0].cell.algorithm,
        "reward": float(np.mean([one.home.mean() for one in cells])),
        "held_out": float(np.mean([one.held_out.mean() for one in cells])),
        "kl": _mean([one.cell.figures["kl"] for one in cells]),
        "train_cpu_seconds": _mean([one.cell.figures["train_cpu_seconds"] for one in cells]),
        "cpu_ms_per_text": _mean([one.cell.figures["cpu_ms_per_text"] for one in cells]),
        "figures": measured.as_dict(),
    }
    if cells is first:
        return found
    rng = np.random.default_rng([bench.config.seed, 6])
    base = _joined([one.measured for one in first])
    return found | {
        "gain": clustered_mean(gain, items).as_dict(),
        "gain_by_seed": [float(part.mean()) for part in np.split(gain, len(cells))],
        "held_out_gain": clustered_mean(away, items).as_dict(),
        "kept": share_kept(gain, away, items, rng),
        "distinct2_kept": _mean([_varied(one, base) for one, base in zip(cells, first)]),
        "lift_kept": lift_kept((before, after), elsewhere, items, rng),
        "way": _way(before, after, best, items, rng),
        "paired": as_figures(paired(measured, base)),
    }


def _homes(cells: Sequence[Judged]) -> F64:
    return np.concatenate([one.home for one in cells])


def _varied(one: Judged, base: Judged) -> float | None:
    before, after = ([tokens(text) for text in each.cell.said.texts] for each in (base, one))
    return distinct_kept(before, after, 2)


def _way(
    before: F64, after: F64, best: Sequence[Judged] | None, items: NDArray[np.int64],
    rng: np.random.Generator,
) -> dict[str, float] | None:  # fmt: skip
    share = None if best is None else share_of_way(before, after, _homes(best), items, rng)
    return None if share is None else share.as_dict()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _joined(parts: Sequence[Measured]) -> Measured:
    """Return the texts of all seeds as one set; figures of a whole set are averaged."""
    first = parts[0]
    return Measured(
        items=np.concatenate([part.items for part in parts]),
        rows={name: np.concatenate([part.rows[name] for part in parts]) for name in first.rows},
        shares={
            name: (
                np.concatenate([part.shares[name][0] for part in parts]),
                np.concatenate([part.shares[name][1] for part in parts]),
            )
            for name in first.shares
        },
        whole={n: float(np.mean([part.whole[n] for part in parts])) for n in first.whole},
        checked=[found for part in parts for found in part.checked],
        vetoes=[why for part in parts for why in part.vetoes],
    )


# --- printing ------------------------------------------------------------------------------------

#: Rewards are shown per so many impressions.
_PER = 1_000
_HEAD = (
    "algorithm", "reward", "gain over SFT", "gain by seed", "way to best of n", "held-out gain",
    "gain kept", "lift kept", "KL",
    "claim precision", "distinct-2", "kept", "profile match", "swap test", "vetoed",
    "training, CPU s",
    "writing, CPU ms",
)  # fmt: skip


def printed_rows(table: dict[str, Any]) -> list[list[str]]:
    """Return the table as texts, the head first."""
    return [list(_HEAD), *(_printed(row) for row in table["rows"])]


def _printed(row: dict[str, Any]) -> list[str]:
    figures = row["figures"]

    def share(name: str, digits: int = 3) -> str:
        return f"{figures[name]['value']:.{digits}f}" if name in figures else "-"

    return [
        row["algorithm"],
        f"{_PER * row['reward']:.3f}",
        _span(row.get("gain"), _PER),
        " ".join(f"{_PER * gain:+.3f}" for gain in row.get("gain_by_seed", ())) or "-",
        _kept(row.get("way")),
        _span(row.get("held_out_gain"), _PER),
        _kept(row.get("kept")),
        _kept(row.get("lift_kept")),
        "-" if row["kl"] is None else f"{row['kl']:.2f}",
        share("claim_precision"),
        share("distinct2"),
        _share(row.get("distinct2_kept")),
        share("profile_match"),
        share("shopper_swap"),
        share("veto_rate"),
        "-" if not row["train_cpu_seconds"] else f"{row['train_cpu_seconds']:.0f}",
        f"{row['cpu_ms_per_text']:.2f}",
    ]


def _span(figure: dict[str, float] | None, unit: float) -> str:
    if figure is None:
        return "-"
    value = f"{unit * figure['value']:+.3f}"
    if "low" not in figure:
        return value
    return f"{value} ({unit * figure['low']:+.3f} to {unit * figure['high']:+.3f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _kept(figure: dict[str, float] | None) -> str:
    # Without an interval the gain at home may be nought, and its share anything.
    return f"{figure['value']:.0%}" if figure is not None and "low" in figure else "-"


def notes(table: dict[str, Any]) -> list[str]:
    """Return what a reader of the table must know."""
    budget = ", ".join(f"{value:g} {name}" for name, value in table["budget"].items())
    return [
        f"Sampled texts for {table['prompts']:,} prompts about items that no training saw, "
        f"{table['samples']} a prompt; means over {table['seeds']} "
        f"seed{'s' if table['seeds'] > 1 else ''}, each algorithm with {budget} of training.",
        f"Reward: uplift in median margins per {_PER:,} impressions. Gains are paired by seed and "
        "prompt, with 95 % intervals clustered by item; how much training itself varies, the gains "
        "by seed show.",
        f"Held-out gain: the mean over shops that no training saw (read as "
        f"{', '.join(table['held_out_shops'])}; weights and tastes drawn anew). Gain kept: the "
        "share of the gain that is left there; lift kept: the same of the relative gain, which "
        "leaves out how much any text counts in a shop.",
        "Way to best of n: share of the way from SFT's reward to that of the best of n SFT texts.",
        "Kept, beside distinct-2: the share of SFT's at equal amounts of text (rarefied), since "
        "longer texts repeat more.",
        "KL from SFT in nats a text; of best_of it is the upper bound log n - (n - 1)/n.",
    ]


def as_markdown(table: dict[str, Any]) -> str:
    """Return the table with its notes as Markdown."""
    head, *rows = printed_rows(table)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text + "\n\n" + "\n".join(f"- {note}" for note in notes(table)) + "\n"


def as_html(table: dict[str, Any], name: str) -> str:
    """Return the table with its notes as a page of its own; ``name`` is that of the run."""
    head, *rows = printed_rows(table)

    def line(cells: Sequence[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    body = "\n".join([line(head, "th"), *(line(row, "td") for row in rows)])
    said = "\n".join(f"<li>{escape(note)}</li>" for note in notes(table))
    title = f"Algorithms side by side: {escape(name)}"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 1rem }}
div {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #8884 }}
th:first-child, td:first-child {{ text-align: left }}
</style>
<h1>{title}</h1>
<div><table>
{body}
</table></div>
<ul>
{said}
</ul>
</html>
"""
