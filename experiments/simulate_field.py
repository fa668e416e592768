"""What can be simulated, by name: ``POLICY+REASONS`` in the shop of a config or of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from envs.assemble import Shop, find_visitors, open_shop, synthetic_visitors
from envs.errors import UserError, nearest
from envs.progress import Progress, silent
from envs.statistics import ShopStatistics, shop_statistics
from envs.world import World
from experiments.config import Config, SyntheticCatalogue
from experiments.config_io import load_config
from experiments.console import Console
from experiments.simulate import (
    TRAINING_SEEDS,
    Contestant,
    Evaluation,
    Player,
    evaluate,
    search_mix,
    search_stay,
    traffic,
)
from experiments.steps_shop import read_catalogue
from experiments.trained_baselines import TRAINED, Training, train_baseline
from policies.baselines import (
    SlatePolicy,
    mix_policy,
    oracle_policy,
    popularity_policy,
    random_policy,
    ranker_policy,
    similarity_policy,
)
from policies.constraints import constrained
from policies.oracles import myopic_policy, rollout_policy
from policies.ranker.scorer import SlateScorer
from policies.reasoner.book import ReasonBook, write_book
from rewards.claims import ClaimChecker
from sft.templates import TEMPLATES_OF

#: The config of the shop that is there without any.
DEFAULT_SHOP = Path(__file__).parent / "configs" / "shop.yaml"
#: Sessions that the shop's statistics are counted over; they are played once more for it.
_STATISTICS = 4_000
#: Opens a reason book; None where no reasons are shown.
OpenBook = Callable[[], ReasonBook | None]


#: Policies and reasons of a run's shop, and of one that a config describes.
RUN_POLICIES = (
    "random", "popularity", "similarity", "best_mix", *TRAINED, "ranker", "myopic", "oracle",
    "rollout",
)  # fmt: skip
RUN_BOOKS = ("ppo", "sft", "none")
CONFIG_POLICIES = tuple(name for name in RUN_POLICIES if name != "ranker")
CONFIG_BOOKS = ("none", "rules")


def check_names(names: Sequence[str], policies: Sequence[str], books: Sequence[str]) -> None:
    """Raise a UserError for a name that is not ``POLICY`` or ``POLICY+REASONS``, or is twice."""
    every = [*policies, *(f"{policy}+{book}" for policy in policies for book in books)]
    for place, name in enumerate(names):
        if name not in every:
            raise UserError(
                f"--policies {name}: no such policy; there are {', '.join(policies)}, each with "
                f"+{' or +'.join(books)} for the reasons shown.{nearest(name, every)}"
            )
        if name in names[:place]:
            raise UserError(f"--policies {name}: is named twice; name each policy once")


@dataclass(frozen=True)
class Field:
    """A shop, and the policies and reasons that can meet in it."""

    shop: Shop
    config: Config
    #: Reason books by the word after the plus; the first is meant where none is named.
    books: Mapping[str, OpenBook]
    #: The trained ranker, where there is one.
    scorer: SlateScorer | None
    #: Seed of the search for the best fixed mix.
    search_seed: int
    #: What is compared where nothing is named.
    usual: tuple[str, ...]
    #: Told how far the training of a baseline has come.
    progress: Progress = silent

    @cached_property
    def _opened(self) -> dict[str, tuple[World, ReasonBook | None]]:
        return {}

    @cached_property
    def _found(self) -> dict[str, SlatePolicy]:
        return {}

    def reasons(self, name: str) -> tuple[World, ReasonBook | None]:
        """Return the shop that shows the named reasons, and their book."""
        if name not in self._opened:
            book, bare = self.books[name](), self.shop.world(self.config.shop)
            bare = constrained(bare, self.shop.visitors.catalogue, self.config.constraints)
            self._opened[name] = (bare.with_reasons(book.arrays) if book else bare), book
        return self._opened[name]

    def policy(self, name: str) -> SlatePolicy:
        """Return the named policy; what has to be searched for is searched on training seeds."""
        if name not in self._found:
            self._found[name] = self._policies()[name]()
        return self._found[name]

    def contestants(self, names: Sequence[str]) -> list[Contestant]:
        """Return the contestants of ``POLICY`` or ``POLICY+REASONS`` names.

        Raises:
            UserError: an unknown name, or one given twice.
        """
        check_names(names, tuple(self._policies()), tuple(self.books))
        return [self._contestant(name) for name in names]

    def book_of(self, name: str) -> ReasonBook | None:
        """Return the book whose reasons the named contestant shows."""
        return self.reasons(self._split(name)[1])[1]

    def _split(self, name: str) -> tuple[str, str]:
        policy, _, book = name.partition("+")
        return policy, book or next(iter(self.books))

    def _contestant(self, name: str) -> Contestant:
        policy, book = self._split(name)
        return Contestant(name, self.policy(policy), self.reasons(book)[0])

    def _policies(self) -> dict[str, Callable[[], SlatePolicy]]:
        scorer = self.scorer
        ranker = {} if scorer is None else {"ranker": lambda: ranker_policy(scorer)}
        return {
            "random": random_policy,
            "popularity": popularity_policy,
            "similarity": similarity_policy,
            "best_mix": self._best_mix,
            **{name: partial(self._trained, name) for name in TRAINED},
            **ranker,
            "myopic": myopic_policy,
            "oracle": lambda: oracle_policy(self._stay),
            "rollout": lambda: rollout_policy(self._stay),
        }

    @cached_property
    def _stay(self) -> float:
        world, _ = self.reasons(next(iter(self.books)))
        return search_stay(world, self.config.simulate.search_sessions, TRAINING_SEEDS)

    def _trained(self, name: str) -> SlatePolicy:
        world, _ = self.reasons(next(iter(self.books)))
        training = Training(self.shop, world, self.config, self.search_seed, self.progress)
        return train_baseline(name, training).policy

    def _best_mix(self) -> SlatePolicy:
        world, _ = self.reasons(next(iter(self.books)))
        settings, rng = self.config.simulate, np.random.default_rng(self.search_seed)
        weights = search_mix(
            world, settings.search_mixes, settings.search_sessions, TRAINING_SEEDS, rng
        )
        return mix_policy("best_mix", weights)


@dataclass(frozen=True)
class Simulated:
    """A comparison and what it was made with."""

    field: Field
    contestants: list[Contestant]
    evaluation: Evaluation

    @cached_property
    def statistics(self) -> ShopStatistics:
        """Figures of the shop under the first policy."""
        first, seeds = self.contestants[0], self.evaluation.seeds[:_STATISTICS]
        return shop_statistics(
            self.field.shop.visitors.catalogue, traffic(first.world, first.policy, seeds)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``shelftalk simulate --json`` writes it."""
        visitors, config = self.field.shop.visitors, self.field.config
        return {
            "shop": {
                "name": visitors.catalogue.name,
                "locale": visitors.catalogue.locale,
                "preset": config.preset,
                "click_model": config.shop.click_model,
                "seed": config.seed,
                "items": visitors.catalogue.n_items,
                "shoppers": len(visitors.profiles.shopper_ids),
            },
            "sessions": len(self.evaluation.seeds),
            "seed": self.evaluation.seeds.start,
            "policies": self.evaluation.figures(),
            "paired": self.evaluation.paired(),
            "statistics": {"policy": self.contestants[0].name, **asdict(self.statistics)},
        }


def simulate_field(
    field: Field, contestants: list[Contestant], seeds: range, player: Player, progress: Progress
) -> Simulated:
    """Compare contestants of the field on the sessions of ``seeds``, each against the first."""
    found = evaluate(contestants, seeds, player=player, progress=progress)
    return Simulated(field, contestants, found)


def shop_config(
    source: Path | None, preset: str | None, locale: str | None, overrides: Sequence[str]
) -> Config:
    """Read the config of a shop: ``source`` or the default one, under what the options say.

    Raises:
        UserError: a mistake in the file or the options, or a locale where the shop is not made up.
    """
    path = source or DEFAULT_SHOP
    options = [f"preset={preset}"] if preset else []
    if locale:
        kind = load_config(Config, path, overrides).catalogue.kind
        if kind != "synthetic":
            raise UserError(
                f"--locale {locale}: {path} has a catalogue of kind {kind!r}, whose language is "
                "its own; leave --locale out"
            )
        options += ["catalogue.kind=synthetic", f"catalogue.locale={locale}"]
    return load_config(Config, path, [*options, *overrides])


def field_of_config(config: Config, console: Console) -> Field:
    """Open the shop of a config, with no reasons or rule-based ones."""
    if config.shop.reasons == "choice":
        raise UserError(
            "shop.reasons: 'choice' asks policies for reasons, and those of simulate choose slates "
            "only; set shop.reasons to book or none"
        )
    rng = np.random.default_rng(config.seed)
    if isinstance(config.catalogue, SyntheticCatalogue):
        visitors = synthetic_visitors(config.catalogue, config.shoppers, rng)
    else:
        catalogue, _ = read_catalogue(config.catalogue, console.say)
        visitors = find_visitors(catalogue, config.shoppers, rng)
    shop = open_shop(visitors, config.similarity, rng, console.progress("shop"))

    def rules() -> ReasonBook:
        catalogue = shop.visitors.catalogue
        if catalogue.locale not in TEMPLATES_OF:
            raise UserError(
                f"+rules: the rule-based writer has sentences in {', '.join(TEMPLATES_OF)}, and "
                f"the shop's locale is {catalogue.locale!r}; leave +rules out"
            )
        book, _ = write_book(
            catalogue, shop.visitors.profiles, ClaimChecker(catalogue), None,
            np.arange(catalogue.n_items), np.random.default_rng(config.seed),
        )  # fmt: skip
        return book

    return Field(
        shop=shop, config=config, books={"none": lambda: None, "rules": rules}, scorer=None,
        search_seed=config.seed,
        usual=("similarity", "random", "popularity", "best_mix", "oracle"),
        progress=console.progress("baselines"),
    )  # fmt: skip
