"""What is served: models and their revisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from berth.spec.adoption import Adopt
from berth.spec.engines import Engine
from berth.spec.hosts import Place
from berth.spec.sources import Source
from berth.spec.values import (
    FLAG,
    PREFIX,
    Duration,
    Fraction,
    Label,
    Name,
    SecretName,
    Section,
    ServedName,
    Size,
    Text,
    VariableName,
    Word,
    wrong,
)


class Parallel(Section):
    """How one replica is spread over several cards."""

    tensor: Annotated[int, Field(ge=1, le=1024)] = 1
    """Cards that share each layer; attention heads must divide by it."""
    pipeline: Annotated[int, Field(ge=1, le=1024)] = 1
    """Groups of cards that take the layers in turn."""
    data: Annotated[int, Field(ge=1, le=1024)] = 1
    """Copies of the model inside one engine."""
    expert: bool = False
    """Whether the experts of a mixture are divided among the cards instead of each being cut."""

    @property
    def cards(self) -> int:
        """How many cards one replica takes."""
        return self.tensor * self.pipeline * self.data


class Adapter(Section):
    """A LoRA adapter served beside its base model, under its own name."""

    name: ServedName
    """The name clients ask for."""
    source: Source
    """Where the adapter's weights come from."""


class Lora(Section):
    """LoRA adapters of a model."""

    adapters: tuple[Adapter, ...] = ()
    """The adapters that are loaded at the start."""
    max_loras: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many different adapters one batch may use."""
    max_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16
    """The largest rank among the adapters."""


Share = Annotated[
    Annotated[Fraction, Tag("|number")] | Annotated[Mapping[str, Fraction], Tag("|profiles"), Field(min_length=1)],
    Discriminator(lambda value: "|profiles" if isinstance(value, Mapping) else "|number"),
]
"""One fraction, or one for each profile."""


def _variable(value: Any) -> Any:
    if isinstance(value, bool) or (value is None):
        raise wrong(f"is {str(value).lower()}, must be text or a number; variables have no other types, quote it")
    return str(value) if isinstance(value, int | float) else value


def _flag(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | dict | None):
        return value
    if isinstance(value, tuple) and all(isinstance(item, str | int | float) for item in value):
        return value
    raise wrong("is nested, must be a number, text, true, false, a list of words or a mapping")


_FLAG_TYPES = ["string", "number", "boolean", "array", "object", "null"]

Measured = Annotated[
    Annotated[Size, Tag("|one")] | Annotated[Mapping[str, Size], Tag("|profiles")],
    Discriminator(lambda value: "|profiles" if isinstance(value, Mapping) else "|one"),
]
"""One amount of memory, or one for each profile."""

Flag = Annotated[Any, BeforeValidator(_flag), WithJsonSchema({"type": _FLAG_TYPES})]
"""The value of an engine's own flag: true is a bare flag, a list several values, a mapping is passed as JSON."""

FlagName = Annotated[str, Field(pattern=FLAG)]


def _somewhere(places: tuple[Place, ...]) -> tuple[Place, ...]:
    if not places:
        raise wrong("is empty, must name at least one host, group or cluster")
    return places


Variable = Annotated[str, BeforeValidator(_variable), WithJsonSchema({"type": ["string", "number"]})]
"""The value of an environment variable; a number is written as text."""


class Revision(Section):
    """One way of serving a model: its weights, its engine, what is asked of it and where it runs."""

    source: Source
    """Where the weights come from."""
    engine: Engine
    """Which engine serves it: a name, or name and version and more."""
    place: Annotated[tuple[Place, ...], AfterValidator(_somewhere)]
    """Where replicas run."""
    adopt: Adopt | None = None
    """An engine that runs already and is left as it is; removed, Berth starts its own."""
    instance: Name | None = None
    """The instance type: CPU and memory of one replica."""
    quota: Name | None = None
    """The GPU quota that its cards count against."""
    context: Annotated[int, Field(ge=1, le=2**31)] | None = None
    """Tokens of prompt and answer together that one request may have; left out, what the model allows."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Requests that are worked on at a time; left out, the engine's own default."""
    task: Literal["generate", "embed", "classify", "score", "reward", "transcription"] = "generate"
    """What the model is for."""
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] = "auto"
    """The type weights are computed in."""
    quantization: Word | None = None
    """How the weights are quantized; left out, as the model's own configuration says."""
    load_format: Word | None = None
    """The format in which weights are read."""
    kv_cache_dtype: Word | None = None
    """The type the KV cache is kept in, such as fp8; left out, the model's."""
    parallel: Parallel = Parallel()
    """Over how many cards one replica is spread, and how; left out, it takes one card."""
    lora: Lora | None = None
    """LoRA adapters."""
    model_impl: Literal["auto", "native", "transformers"] = "auto"
    """Whether the engine uses its own implementation of the model or the Transformers library's."""
    trust_remote_code: bool = False
    """Run Python code that comes with the weights. It may do anything that the engine's user may."""
    cpu_offload: Size | None = None
    """Weights per card that are kept in the machine's memory instead."""
    images_per_prompt: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Images that one prompt of a vision model may have."""
    share: Share | None = None
    """Fraction of each card's total memory the engine may use, or one per profile; left out, the planner chooses."""
    kv_cache: Size | None = None
    """Memory for the KV cache on each card (on CPU: in all); left out, the planner chooses."""
    measured: Measured | None = None
    """Memory on one card that the running replica was seen to hold, or one per profile; the plan compares itself."""
    args: Mapping[FlagName, Flag] = Field(default_factory=dict)
    """The engine's own flags, checked against its version. What has a key of its own here is refused."""
    unchecked_args: Mapping[FlagName, Flag] = Field(default_factory=dict)
    """Flags that are passed on as they are, for engines or plugins that Berth does not know."""
    environment: Mapping[VariableName, Variable] = Field(default_factory=dict)
    """Environment variables of the engine."""
    secrets: Mapping[VariableName, SecretName] = Field(default_factory=dict)
    """Environment variables whose value is a secret, given by the secret's name."""
    start_timeout: Duration = 600.0
    """How long a start may take until the model answers."""
    stop_timeout: Duration = 30.0
    """How long requests in flight may take to end before the engine is killed."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        both = sorted(set(self.environment) & set(self.secrets))
        if both:
            raise wrong(f"sets {', '.join(both)} that environment sets too, must be said once", "secrets")
        if self.trust_remote_code and self.source.kind not in {"hub", "path", "oci"}:
            raise wrong(
                f"is true, must be false for {self.source.kind} weights: no pinned code comes with them",
                "trust_remote_code",
            )
        repeated = {_flag_name(name) for name in self.args} & {_flag_name(name) for name in self.unchecked_args}
        if repeated:
            raise wrong(f"repeats {', '.join(sorted(repeated))} of args, must be said once", "unchecked_args")
        return self


def _flag_name(name: str) -> str:
    return name.removeprefix("--").replace("-", "_").lower()


class Load(Section):
    """A short load test after a deployment."""

    n: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Requests in all."""
    c: Annotated[int, Field(ge=1, le=1000)] = 10
    """Requests at a time."""
    prompt: Text = "Write a short story about a lighthouse."
    """What each request asks, as a streamed chat."""
    max_tokens: Annotated[int, Field(ge=1, le=100_000)] = 64
    """The most tokens of an answer."""
    within: Duration = 600.0
    """How long all requests together may take."""
    success: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The least share of the requests that must be answered, such as 0.98."""
    ttft: Duration | None = None
    """The longest time to the first token, for 95 of 100 requests."""
    tokens_per_second: Annotated[float, Field(gt=0)] | None = None
    """The least number of tokens a second, of all requests together."""


class Prove(Section):
    """What is asked of a model after each deployment; a failure fails the update."""

    smoke: tuple[Text, ...] = ("Hello",)
    """Prompts that must be answered; an empty list asks nothing."""
    load: Load | None = None
    """A short load test."""
    timeout: Duration = 120.0
    """How long one answer may take."""


OnChange = Literal["surge", "hold", "refuse", "auto"]


class Model(Section):
    """One served model. What a revision may say can be said here, for all of its revisions."""

    aliases: tuple[ServedName, ...] = ()
    """Further names under which clients may ask for the model."""
    path_prefix: Annotated[str, Field(pattern=PREFIX)] | None = None
    """A path prefix under which the gateway serves this model alone, such as /qwen/."""
    on_change: OnChange = "auto"
    """How a running replica is replaced: surge (new before old), hold (requests wait), refuse, or what fits."""
    prove: Prove = Prove()
    """What is asked of the model after each deployment."""
    traffic: Mapping[Label, Annotated[int, Field(ge=0, le=100)]] = Field(default_factory=dict)
    """Percent of the requests that each revision gets, 100 in all."""
    idle: Literal["warm", "parked"] = "warm"
    """What becomes of a revision at 0 percent: its engines stay warm, or are parked: gone, with all they need kept."""
    representative: Label | None = None
    """The revision that speaks for the model; left out, the one with the most traffic."""
    revisions: Annotated[Mapping[Label, Revision], Field(min_length=1)]
    """Ways of serving the model; each says only what differs from the model's own settings."""

    @model_validator(mode="after")
    def _traffic(self) -> Self:
        total = sum(self.traffic.values())
        unknown = [name for name in self.traffic if name not in self.revisions]
        if unknown:
            known = ", ".join(self.revisions)
            raise wrong(f"names {unknown[0]}, must name revisions of this model ({known})", "traffic")
        if self.traffic and total != 100:
            raise wrong(f"sums to {total}, must sum to 100 percent", "traffic")
        if not self.traffic and len(self.revisions) > 1:
            raise wrong(f"is missing, must divide 100 percent among {', '.join(self.revisions)}", "traffic")
        if self.representative is not None and self.representative not in self.revisions:
            raise wrong(f"is {self.representative}, must be one of {', '.join(self.revisions)}", "representative")
        return self

    @property
    def shares(self) -> Mapping[str, int]:
        """Percent of the traffic of every revision, in the order of the file."""
        return {name: self.traffic.get(name, 0 if self.traffic else 100) for name in self.revisions}

    @property
    def parked(self) -> frozenset[str]:
        """The revisions that have no engines for as long as they have no traffic."""
        return frozenset(name for name, percent in self.shares.items() if self.idle == "parked" and percent == 0)

    @property
    def face(self) -> str:
        """The revision that speaks for the model: the named one, else the one with the most traffic."""
        return self.representative or max(self.revisions, key=lambda name: self.shares[name])


MODEL_KEYS = tuple(name for name in Model.model_fields if name != "revisions")
"""Keys of a model that are no revision's."""
