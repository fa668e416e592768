"""Text encoders compared: relevance for queries, and co-clicks found for items, both unseen.

``python -m experiments.measure_search_encoders FOLDER`` prints the table of docs/search.md for a
folder of Icecat products with judged queries. Clicks in answer to queries are simulated, because
that source has none; the queries are cut into folds, and each is measured by an encoder that was
tuned on clicks of the other folds' queries only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from envs.assemble import Shop, find_visitors, open_shop
from envs.behaviour import ShopConfig
from envs.catalogue import Catalogue
from envs.encoder_config import TextConfig, TuneConfig
from envs.importers.icecat import import_icecat
from envs.item_index import item_texts
from envs.shop import ShopVectorEnv
from envs.shoppers import ShopperConfig
from envs.similarity import SimilarityConfig
from envs.text_encoder import Encoder
from envs.world import World
from experiments.measure_search import FOLDS, JudgedQuery, fold_of, judged_queries, ndcg, relevance
from experiments.measure_search_stage import search_only
from experiments.simulate import Difference, Figure
from policies.baselines import Page, SlatePolicy, similarity_policy
from sft.encoder import tuned_encoder, untuned_encoder
from sft.encoder_pairs import Pairs, co_click_recall, co_clicks, held_out

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Sessions of searches whose clicks encoders are tuned on, and pages of each that count.
_SESSIONS, _PAGES = 4_000, 12


#: NDCG of each judged query (Q,), and the recall of co-clicks on held-out items, if measured.
Worth = tuple[F64, float | None]
_Way = tuple[str, Callable[[], Worth]]


@dataclass(frozen=True)
class Line:
    """What one encoder is worth."""

    name: str
    ndcg: Figure
    #: Recall of co-clicks on held-out items; None where none was measured.
    recall: float | None
    #: Seconds of making and tuning, once.
    seconds: float
    #: NDCG minus that of the first line.
    against_first: Difference


def text_ndcg(items: F32, queries: F32, judged: Sequence[JudgedQuery]) -> F64:
    """NDCG of the `text` score, (Q,), from unit rows (I, d) of items and (Q, d) of the judged."""
    return np.array(
        [
            ndcg(np.clip(items[query.items] @ row, 0, 1)[None], query.ratings)[0]
            for row, query in zip(queries, judged)
        ]
    )


def bag_of_words_scores(texts: Sequence[str], judged: Sequence[JudgedQuery]) -> list[F64]:
    """Cosines of scikit-learn's TfidfVectorizer as it comes, no SVD: the anchor, (n,) each."""
    vectorizer = TfidfVectorizer()
    items = vectorizer.fit_transform(texts)
    rows = vectorizer.transform([query.text for query in judged])
    return [
        (items[query.items] @ rows[place].T).toarray().ravel() for place, query in enumerate(judged)
    ]


def search_clicks(world: World, policy: SlatePolicy, sessions: int, seed: int) -> Pairs:
    """Return each query and item that was clicked in search sessions under ``policy``, once."""
    env = ShopVectorEnv(search_only(world), sessions)
    observation, _ = env.reset(seed=seed)
    first, asked, clicked = world.pools.first_row(2), [], []
    for _ in range(_PAGES):
        queries = env.state.anchor - first
        page = Page(observation, world, env.state, env.click_model)
        observation, *_, info = env.step(policy.slates(page))
        rows, slots = np.nonzero(info["clicks"])
        asked.append(queries[rows])
        clicked.append(info["items"][rows, slots])
    both = np.unique(np.stack([np.concatenate(asked), np.concatenate(clicked)]), axis=1)
    return Pairs(both[0].astype(np.int64), both[1].astype(np.int64))


@dataclass(frozen=True)
class _Bench:
    """What every encoder is measured on."""

    catalogue: Catalogue
    texts: list[str]
    judged: list[JudgedQuery]
    together: Pairs
    asked: Pairs
    held: NDArray[np.bool_]
    seed: int

    def anchor(self) -> Worth:
        """Return what `bag_of_words_scores` are worth."""
        scores = bag_of_words_scores(self.texts, self.judged)
        worth = [ndcg(row[None], query.ratings)[0] for row, query in zip(scores, self.judged)]
        return np.array(worth), None

    def frozen_or_tuned(self, config: SimilarityConfig) -> Worth:
        """Return what the config's encoder is worth, tuned on co-clicks where it has steps."""
        return self.measure(self.made(config))

    def measure(self, encoder: Encoder) -> tuple[F64, float]:
        """NDCG of each judged query (Q,), and the recall of co-clicks on held-out items."""
        items = encoder.encode(self.texts)
        rows = encoder.encode([query.text for query in self.judged])
        recall = co_click_recall(items, self.together, self.held)
        return text_ndcg(items, rows, self.judged), recall

    def made(self, config: SimilarityConfig, asked: Pairs | None = None) -> Encoder:
        """Return the config's encoder, tuned where it has steps, with query clicks if given."""
        encoder = untuned_encoder(self.texts, config, np.random.default_rng(self.seed))
        if not config.text.tune.steps:
            return encoder
        seen = self.together.only(~self.held[self.together.left] & ~self.held[self.together.right])
        none = np.empty(0, dtype=np.int64)
        return tuned_encoder(
            encoder, self.texts, self.catalogue.queries["query"].tolist(), seen,
            asked or Pairs(none, none), config, self.seed,
        )  # fmt: skip

    def crossed(self, config: SimilarityConfig, folds: I64) -> Worth:
        """As `measure`, each query under an encoder that saw no click of its fold's queries."""
        found, recalls = np.empty(len(self.judged)), []
        rows = np.array([query.row for query in self.judged])
        for fold in range(FOLDS):
            apart = np.isin(self.asked.left, rows[folds == fold])
            worth, recall = self.measure(self.made(config, self.asked.only(~apart)))
            found[folds == fold] = worth[folds == fold]
            recalls.append(recall)
        return found, float(np.mean(recalls))


def _config(encoder: str, dimensions: int, **tune: float) -> SimilarityConfig:
    text = TextConfig(encoder=encoder, tune=TuneConfig.model_validate(tune))
    return SimilarityConfig(dimensions=dimensions, text=text)


def compare_encoders(shop: Shop, seed: int, local_steps: int = 60) -> Iterator[Line]:
    """Measure encoders on a shop whose catalogue has judged queries; the first is the default."""
    catalogue, profiles = shop.visitors.catalogue, shop.visitors.profiles
    judged, _ = judged_queries(catalogue)
    rng = np.random.default_rng(seed)
    bench = _Bench(
        catalogue, item_texts(catalogue), judged, co_clicks(profiles, catalogue.n_items),
        search_clicks(shop.world(ShopConfig()), similarity_policy(), _SESSIONS, seed),
        held_out(catalogue.n_items, TuneConfig().held_out, rng), seed,
    )  # fmt: skip
    folds = fold_of(len(judged), rng)
    ways: list[_Way] = []
    for d in (64, 128):
        plain, tuned = _config("tfidf", d), _config("tfidf", d, steps=400)
        ways += [
            (f"tfidf, {d} dimensions", partial(bench.frozen_or_tuned, plain)),
            ("  tuned on co-clicks", partial(bench.frozen_or_tuned, tuned)),
            ("  and other queries' clicks", partial(bench.crossed, tuned, folds)),
        ]
    ways.append(("tfidf, no SVD (anchor)", bench.anchor))
    local = _config("local", 64)
    tuned = _config("local", 64, steps=local_steps, batch=32)
    ways += [
        ("local transformer, untuned", partial(bench.frozen_or_tuned, local)),
        ("  tuned on co-clicks", partial(bench.frozen_or_tuned, tuned)),
    ]
    return _lines(ways, seed)


def _lines(ways: Sequence[_Way], seed: int) -> Iterator[Line]:
    first: F64 | None = None
    for name, way in ways:
        started = perf_counter()
        worth, recall = way()
        seconds = perf_counter() - started
        first = worth if first is None else first
        # The same resamples for every line.
        found = relevance({"it": worth, "first": first}, np.random.default_rng(seed))
        yield Line(name, found.figures()["it"], recall, seconds, found.paired([("it", "first")])[0])


def line_text(line: Line) -> str:
    """Return a line for a person."""
    figure, other = line.ndcg, line.against_first
    recall = "     -" if line.recall is None else f"{line.recall:.4f}"
    return (
        f"{line.name:<28} {figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})  "
        f"{other['diff']:+.3f} ({other['low']:+.3f} to {other['high']:+.3f})  {recall}  "
        f"{line.seconds:6.1f}"
    )


def main() -> None:
    """Print the table for the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="folder with product.tsv, query.tsv, label.tsv")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    visitors = find_visitors(import_icecat(options.folder).catalogue, ShopperConfig(), rng)
    shop = open_shop(visitors, SimilarityConfig(item_anchors=1), rng)
    print(f"{'encoder':<28} NDCG@10 (95 %)          minus first (95 %)         recall  seconds")
    for line in compare_encoders(shop, options.seed):
        print(line_text(line), flush=True)


if __name__ == "__main__":
    main()
