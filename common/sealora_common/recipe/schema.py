"""The sections of a recipe, field by field, with what each means and the range it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sealora_common.config import Name
from sealora_common.recipe.hash import NOT_AGREED, agreed_hash

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Unit = Literal["record", "person"]
ProtectingMechanismName = Literal["local", "distributed"]
MechanismName = Literal[ProtectingMechanismName, "none"]
Aggregation = Literal["ffa", "alternating", "average"]


class Section(BaseModel):
    """Base of all sections: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)


class ModelSection(Section):
    """The base model, which every site loads for itself and which is never trained."""

    base: str = Field(min_length=1)
    """`smollm2-135m-instruct`, a Hugging Face id, or a local directory."""
    revision: str | None = None
    """Commit of a Hugging Face id."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 over the base model's files (`sealora-site model digest`). A simulation fills it in."""
    quantization: Literal["nf4", "none"] = "nf4"
    """`nf4`: 4-bit NormalFloat with double quantisation (QLoRA, Dettmers et al. 2023)."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    gradient_checkpointing: bool = False


class LoraSection(Section):
    """The adapter that is trained."""

    rank: int = Field(default=8, ge=1, le=512)
    alpha: Positive = 16.0
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    last_layers: int | None = Field(default=None, ge=1)
    """Only the last so many transformer layers get an adapter; null for all. Fewer parameters carry less noise, and
    nothing is computed backwards below them."""
    aggregation: Aggregation = "ffa"
    """`ffa`: A frozen and shared, B trained. `alternating`: B and A in turn. `average`: both (inexact)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Public seed of the shared A matrices."""


class DataSection(Section):
    """How a site reads its records (JSON Lines) and shows them to the model."""

    prompt_field: str = "prompt"
    response_field: str = "response"
    split_field: str = "split"
    """A field holding `train` or `heldout`. Records without it are split by `heldout_fraction`."""
    system_prompt: str | None = None
    """System message of the model's chat template; null leaves it to the template."""
    max_tokens: int = Field(default=512, ge=8, le=131072)
    """Longer examples lose the end of the response, then the middle of the prompt; counted and reported."""
    heldout_fraction: float = Field(default=0.1, gt=0, lt=1)
    heldout_limit: int = Field(default=512, ge=1)
    """At most so many held-out records (with `person_field`: persons) are evaluated, the same ones each time. They are
    chosen by a hash under the recipe's own, wherever they stand in the file. Of one person, at most
    `privacy.records_per_person` records are, chosen likewise."""
    person_field: str | None = None
    """A field that says whose record it is (patient, customer). If set, privacy is by person, else by record."""
    fold_persons: bool = False
    """Whether identifiers of persons that differ in nothing but case, white space, invisible characters or Unicode
    form are one person; false refuses such data. To be agreed before the first run: a ledger knows persons by their
    identifiers, folded or as they are written, and does not recognise the one in the other."""

    @model_validator(mode="after")
    def _folds_what_is_there(self) -> DataSection:
        if self.fold_persons and self.person_field is None:
            raise ValueError("fold_persons folds identifiers of persons: name their field in data.person_field")
        return self

    @property
    def unit(self) -> Unit:
        """What privacy protects: one record, or all records of one person."""
        return "record" if self.person_field is None else "person"


class TrainingSection(Section):
    """What a site does in one round."""

    sample_rate: Fraction = 0.05
    """Poisson sampling rate q: each record joins a step's batch with this probability, independently."""
    steps_per_round: int = Field(default=4, ge=1, le=100_000)
    micro_batch_size: int = Field(default=8, ge=1)
    """Examples in memory at once; the logical batch may be far larger."""
    learning_rate: Positive = 2e-3
    optimizer: Literal["adamw", "sgd", "paged_adamw_8bit"] = "adamw"
    """`paged_adamw_8bit` needs CUDA; on a CPU the same site uses `adamw`."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    proximal_mu: float = Field(default=0.0, ge=0)
    """FedProx (Li et al. 2020): strength of the pull towards the global adapter; 0 is off."""
    evaluate_every: int = Field(default=1, ge=1)
    """Held-out records are evaluated before round 1, then every so many rounds, and after the last one."""


class PrivacySection(Section):
    """The differential-privacy guarantee of every record (or person) of every site, trained on or held out."""

    mechanism: MechanismName = "local"
    """`local`: DP-SGD at each site. `distributed`: one step a round, each site adds a share of the noise, the sum
    carries all of it. `none`: no privacy; sites refuse it unless their policy allows it."""
    epsilon: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 8.0
    """Total over all rounds, for each site."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Must be below 1 / (number of training records, or persons) at every site."""
    clip_norm: Positive = 1.0
    """L2 clipping norm C of what one record (or person) contributes to a step."""
    clipping: Literal["flat", "per_layer"] = "flat"
    """`flat`: one norm over all trained matrices. `per_layer`: each of m matrices is clipped to C / sqrt(m)."""
    target_quantile: float | None = Field(default=None, gt=0, lt=1)
    """Adaptive clipping (Andrew et al. 2021): C follows a noisy count so that this share is not clipped."""
    spare_rounds: int = Field(default=0, ge=0, le=1000)
    """`distributed` only: rounds the noise is calibrated for beyond `rounds`. Each pays for one round that must be
    repeated because it was lost after sites had sent their masked vectors. Under `local` a site sends the same noised
    vector again, and evaluations are repeated alike: neither costs anything."""
    honest_survivors: int | None = Field(default=None, ge=1)
    """`distributed`: so many survivors of a round carry the full noise between them, besides those who read the sum
    and know their own share. Null: as many as are left when all drop out and collude that the sealing allows, one
    reading site at least."""
    records_per_person: int = Field(default=8, ge=1, le=10_000)
    """With `data.person_field`: at most so many of a sampled person's records, drawn anew, make its contribution."""
    heldout_clip: Positive = 8.0
    """Held-out loss of one record (mean nats a token; with `data.person_field` the mean over one person's records)
    is clipped to this before it is averaged and noised."""


class SealingSection(Section):
    """Secure aggregation (Bonawitz et al., CCS 2017)."""

    adversary: Literal["malicious", "curious"] = "malicious"
    """Against a malicious server more than 2/3 of the roster must answer, against a curious one more than 1/2."""
    min_survivors: int = Field(default=3, ge=2)
    """Fewest sites in an opened sum. With two, each reads the other's delta out of the sum."""
    ring_bits: int = Field(default=16, ge=12, le=32)
    """Bits a parameter on the wire."""
    clip_range: Literal["auto"] | Positive = "auto"
    """Public range of one coordinate of a delta; `auto` follows from learning rate and steps, then earlier sums."""
    rotation: bool = False
    """Randomised Hadamard rotation before rounding: keeps narrow rings accurate where a few coordinates are large."""
    weighting: Literal["records", "uniform"] = "records"
    """Weight of a site in the mean: its number of training records, or one."""
    weight_cap: int = Field(default=10_000, ge=1)
    """Records above this count no further, so that the weight has a public range; best near the largest site's number
    of them."""
    weight_floor: Fraction = 0.1
    """Least weight of a site, as a share of the cap's: a site with fewer records counts as if it had so many. The mean
    is divided by no less for each site, so that a member that lies about its weight moves it 1 / weight_floor times
    as far at most. With `weighting: uniform` every weight is one."""

    groups: int = Field(default=1, ge=1, le=333)
    """Groups that the sites are dealt into, anew each round, each sealed and opened by itself; 1, or 3 and more. What
    they are for: the groups without a lying member outvote those with one. Each needs `min_survivors` members."""
    combine: Literal["median", "trimmed_mean", "multi_krum", "near_median"] = "median"
    """What replaces the mean over several groups: coordinate by coordinate (Yin et al. 2018), or the mean of the groups
    nearest to each other (Multi-Krum, Blanchard et al. 2017) or to the coordinate-wise median."""
    trim: int = Field(default=1, ge=1)
    """How many groups with a liar `combine` withstands; `median` does not read it. `trimmed_mean` leaves out so many
    values at each end, `multi_krum` and `near_median` so many groups."""

    @model_validator(mode="after")
    def _groups_can_outvote(self) -> SealingSection:
        if self.groups == 2:
            raise ValueError("groups is 2, and of two groups none outvotes the other: take 1, or 3 and more")
        if self.groups > 1 and self.groups < self.fewest_combined:
            trim = self.trim - (self.fewest_combined - self.groups + 1) // 2
            remedy = f"take {self.fewest_combined} or more" + (f", or a trim of {trim} or less" if trim else "")
            raise ValueError(
                f"combine: {self.combine} with a trim of {self.trim} needs {self.fewest_combined} groups, and there "
                f"are {self.groups}: {remedy}"
            )
        return self

    @property
    def fewest_combined(self) -> int:
        """Fewest groups of which `combine` makes one mean. Multi-Krum's 2 trim + 3 is from Blanchard et al. 2017."""
        return {
            "median": 1,
            "trimmed_mean": 2 * self.trim + 1,
            "near_median": 2 * self.trim + 1,
            "multi_krum": 2 * self.trim + 3,
        }[self.combine]


class ServerSection(Section):
    """The server's optimiser on the opened mean (FedOpt family, Reddi et al. 2021)."""

    optimizer: Literal["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"] = "fedavg"
    learning_rate: Positive = 1.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """FedAvgM's momentum; beta_1 of FedAdam and FedYogi."""
    beta_2: float = Field(default=0.99, ge=0, lt=1)
    tau: Positive = 1e-3


class SitesSection(Section):
    """Who takes part and how long the server waits for them."""

    minimum: int = Field(default=3, ge=2, le=1000)
    """Fewest sites of a federation."""
    training_timeout: Positive = 3600.0
    """Seconds a site has for a round's training."""
    stage_timeout: Positive = 300.0
    """Seconds a site has for each later stage of a round."""
    round_attempts: int = Field(default=3, ge=1, le=100)
    """How often a round is tried before the run stops (it can be resumed)."""
    simulated: Annotated[dict[Name, str], NOT_AGREED] = Field(default_factory=dict)
    """Simulation only: site name -> its JSONL file. Not part of the recipe's hash."""


class Recipe(Section):
    """A whole recipe."""

    name: Name
    rounds: int = Field(ge=1, le=100_000)
    model: ModelSection
    lora: LoraSection = LoraSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    privacy: PrivacySection = PrivacySection()
    sealing: SealingSection = SealingSection()
    server: ServerSection = ServerSection()
    sites: SitesSection = SitesSection()

    @model_validator(mode="after")
    def _sections_agree(self) -> Recipe:
        if self.lora.aggregation == "alternating" and self.server.optimizer != "fedavg":
            raise ValueError(
                f"lora.aggregation: alternating works with server.optimizer: fedavg only, not "
                f"{self.server.optimizer!r} (its momentum would move the half that rests)"
            )
        # Late, for the mechanisms' grid reads recipes.
        from sealora_common.privacy.mechanisms import mechanism_of

        mechanism_of(self).require(self)
        if self.sites.minimum < self.sealing.groups * self.sealing.min_survivors and self.sealing.groups > 1:
            raise ValueError(
                f"sites.minimum is {self.sites.minimum}, but sealing.groups is {self.sealing.groups} and each group "
                f"needs sealing.min_survivors {self.sealing.min_survivors} of its own: set sites.minimum to "
                f"{self.sealing.groups * self.sealing.min_survivors} or more, or take fewer groups"
            )
        if self.sites.minimum < self.sealing.min_survivors:
            raise ValueError(
                f"sites.minimum is {self.sites.minimum}, below sealing.min_survivors "
                f"{self.sealing.min_survivors}: no round could ever be opened"
            )
        return self

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what the parties agree on, see `recipe.hash`; the order of fields is no part of it."""
        return agreed_hash(self)

    @property
    def accounted_steps(self) -> int:
        """DP-SGD steps the noise is calibrated for: those of all rounds and of the spare ones."""
        return self.accounted_rounds * self.training.steps_per_round

    @property
    def accounted_rounds(self) -> int:
        """Rounds of training the noise is calibrated for: those of the recipe and the spare ones."""
        return self.rounds + self.privacy.spare_rounds

    def evaluates(self, round_number: int) -> bool:
        """Whether held-out records are evaluated in this round (first is 1; after the last comes one more)."""
        return (round_number - 1) % self.training.evaluate_every == 0 or round_number > self.rounds

    @property
    def accounted_evaluations(self) -> int:
        """Evaluations the noise on the held-out loss is calibrated for; a repeated one sends what the first sent."""
        return sum(self.evaluates(number) for number in range(1, self.rounds + 2))

    def with_model_digest(self, model_digest: str) -> Recipe:
        """A copy whose hash covers the base model with this digest (hex SHA-256)."""
        return self.model_copy(update={"model": self.model.model_copy(update={"digest": model_digest})})
