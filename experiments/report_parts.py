"""What a report shows, as typed parts of a run; whatever may be missing has a default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a run; fields that it does not know are kept and not shown."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Interval(Part):
    """A mean and its 95 % interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Figure(Part):
    """A value and, where it is known, its 95 % interval."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


#: By metric.
Figures = dict[str, Figure]


class Catalogue(Part):
    """What the shop sold, and to whom."""

    notes: list[str] = []
    dropped: dict[str, int] = {}


class Ppo(Part):
    """What reinforcement learning did to the reasons, on held-out prompts."""

    reward_before: float | None = None
    reward_after: float | None = None
    reward_fallback: float | None = None
    gain: Interval | None = None
    held_out_gain: Interval | float | None = None
    kl: float | None = None
    claim_precision_before: float | None = None
    claim_precision_after: float | None = None
    distinct2_before: float | None = None
    distinct2_after: float | None = None
    veto_rate_before: float | None = None
    veto_rate_after: float | None = None
    words_before: float | None = None
    words_after: float | None = None
    claims_before: float | None = None
    claims_after: float | None = None
    unique_share_before: float | None = None
    unique_share_after: float | None = None
    distinct2_kept: float | None = None
    """Distinct-2 after PPO over that before it."""
    unit: str = "units of reward"


class Written(Part):
    """The texts of one book of reasons."""

    texts: int = 0
    fallbacks: int = 0
    vetoes: dict[str, int] = {}


class Reasons(Part):
    """The books of reasons that the shelves were simulated with."""

    sft: Written | None = None
    ppo: Written | None = None


class Paired(Part):
    """The paired difference ``a`` minus ``b`` over the same sessions, with its 95 % interval."""

    a: str
    b: str
    metric: str
    diff: float
    low: float
    high: float

    def against(self, name: str) -> Paired:
        """Return the same difference with ``name`` as the one that is taken off."""
        if self.a != name:
            return self
        turned = {"a": self.b, "b": self.a, "diff": -self.diff, "low": -self.high}
        return self.model_copy(update=turned | {"high": -self.low})


class Simulation(Part):
    """The paired simulation."""

    policies: dict[str, dict[str, Interval]] = {}
    paired: list[Paired] = []
    sessions: int | None = None
    share_of_oracle: float | Interval | None = None
    """How much of the way from the similarity shelf to the oracle the ranker covers."""
    share_of_myopic: float | Interval | None = None
    """The same to the myopic oracle, which is the best for the page at hand."""


class Estimate(Part):
    """One estimator's value of the target policy, per slate."""

    estimator: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    ess: float | None = None
    max_weight: float | None = None
    n: int | None = None
    warnings: list[str] = []


class Ope(Part):
    """Offline estimates beside the simulator's own value."""

    logging: str = "logging"
    target: str = "target"
    slates: int | None = None
    truth: float | None = None
    truth_low: float | None = None
    truth_high: float | None = None
    logging_value: float | None = None
    """The logging policy's own value per slate."""
    estimates: list[Estimate] = []
    verdict: str = ""


class Export(Part):
    """The bundle that was made."""

    bundle: str = ""
    files: int | None = None
    bytes: int | None = None


class Mark(Part):
    """A claim's place in a text, and what the checker says of it."""

    start: int
    end: int
    supported: bool
    why: str = ""


class Sample(Part):
    """One item's reason, after supervised training and after PPO."""

    title: str
    likes: list[str] = []
    facts: list[tuple[str, str]] = []
    sft: str = ""
    ppo: str = ""
    fallback: str = ""
    sft_reward: float | None = None
    ppo_reward: float | None = None
    sft_veto: str | None = None
    ppo_veto: str | None = None
    sft_claims: list[Mark] = []
    ppo_claims: list[Mark] = []


class Card(Part):
    """One place of a shelf."""

    item_id: str
    title: str
    brand: str | None = None
    item_class: str | None = Field(None, alias="class")
    price: float | None = None
    currency: str | None = None
    reason: str = ""
    source: str = "model"
    claims: list[str] = []
    scores: dict[str, float | None] = {}
    contributions: dict[str, float] = {}
    """What each group of features added to the policy's score."""
    named: list[str] = []
    """Groups that the reason names."""


class Shelf(Part):
    """One shopper's shelf, before and after."""

    shopper: str | int
    segment: str | int | None = None
    likes: list[str] = []
    scene: str = ""
    query: str | None = None
    anchor: str | None = None
    """The item whose page the shelf stands on."""
    before: list[Card] = []
    after: list[Card] = []


class StageRecord(Part):
    """What the engine wrote about a finished stage."""

    status: str = ""
    inputs_hash: str = ""
    seed: int | None = None
    versions: dict[str, str] = {}
    seconds: float | None = None
    metrics: dict[str, Any] = {}
    finished_at: str = ""


class Writing(Part):
    """What reasons for held-out items are like after supervised training alone."""

    temperature: float | None = None
    prompts: int | None = None
    samples: int | None = None
    items: int | None = None
    figures: Figures = {}
    floors: dict[str, Figures] = {}
    vetoes: dict[str, float] = {}
    fixed_sentence: str = ""


class Reason(Part):
    """A reason to read."""

    title: str
    likes: list[str] = []
    facts: list[tuple[str, str]] = []
    text: str = ""
    veto: str | None = None
    claims: list[Mark] = []
    match: bool | None = None
    other_likes: list[str] = []
    other_text: str = ""


class TaskFigure(Figure):
    """A figure of a further task, beside those of its floors."""

    about: str = ""
    floors: dict[str, float | None] = {}
    reference: float | None = None


#: By task, then by metric.
Tasks = dict[str, dict[str, TaskFigure]]


class TaskSample(Part):
    """A text of a further task to read."""

    prompt: str = ""
    text: str = ""
    reference: str = ""
    rules: str = ""


class Compared(Part):
    """Figures of the SFT and PPO texts, and their paired differences."""

    sft: Figures = {}
    ppo: Figures = {}
    fallback: Figures = {}
    paired: Figures = {}


class BestOf(Part):
    """The ceiling: the best of n SFT texts, and how much of the way to it PPO went."""

    n: int | None = None
    reward: Interval | None = None
    share: Figure | None = None


class Alarm(Part):
    """A limit that training met."""

    cycle: int
    name: str
    value: float | None = None
    limit: float | None = None
    action: str = ""


class Away(Part):
    """The gain in one held-out shop, and the share of the gain at home that is left."""

    gain: Figure | None = None
    kept: Figure | None = None


class OtherWords(Part):
    """The gains of texts whose facts were told in other words."""

    home: Figure | None = None
    held_out: Figure | None = None
    kept: Figure | None = None


class HeldOutShop(Part):
    """The gain of PPO in shops that no training saw, beside the one at home."""

    home: Figure | None = None
    held_out: Figure | None = None
    kept: Figure | None = None
    shops: dict[str, Away] = {}
    other_words: OtherWords | None = None
