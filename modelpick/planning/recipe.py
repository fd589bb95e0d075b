"""Everything that determines a run, in one record: written to run.json, and enough to repeat the run. Pure.

A field of `RunSettings` is the setting: its name is the flag of `modelpick finetune` and the key of run.json and of a
job file. Settings of the memory estimate are defined once, in workload.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from modelpick.catalog.architecture import Kind
from modelpick.errors import UsageError
from modelpick.schema import Bounds, FormerNames, Help, Pattern, Source, read_options, to_json
from modelpick.workload import (
    LORA_METHODS,
    METHOD_HELP,
    METHOD_SOURCE,
    ONLY_LORA,
    Attention,
    Batch,
    Context,
    Dtype,
    GradientAccumulation,
    GradientCheckpointing,
    LoraDropout,
    LoraRank,
    LoraTargets,
    Objective,
    Optimizer,
    RunMethod,
    VirtualTokens,
    Workload,
    workload_from,
)

SCHEMA_VERSION = 2  # of run.json; 1 had other names for some settings (FormerNames below), and is read
_READABLE_VERSIONS = (1, SCHEMA_VERSION)
_TEXT = Pattern(r"(?s).*\S.*", "text that is not empty")
_OURS = Source("this program")
_STEPS = Bounds(1, 100_000_000)

Epochs = Annotated[
    float,
    Bounds(0.001, 1000),
    Help("Passes over the data.", metavar="X"),
    Source("published recipes: 1 to 3 (docs/data.md); LLaMA-Factory's llama3 recipe: 3, since the data here are few"),
]


EPOCHS = 3.0  # what a run takes, and what every cost of a fine-tuning counts


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One fine-tuning run. None in a file means: chosen for the device when the run starts, and written back.

    The effective batch is 16 (QLoRA, arXiv 2305.14314): `gradient_accumulation` is 16 for a micro-batch of 1.
    """

    model: Annotated[str, _TEXT, Help("Base model: a Hub id or a local folder.", metavar="MODEL"), _OURS]
    data: Annotated[
        str, _TEXT, Help("Examples to train on: JSONL, CSV, Parquet.", metavar="FILE"), Source("docs/finetuning.md")
    ]
    output: Annotated[str, _TEXT, Help("Folder for the run.", metavar="DIR", default="./run"), _OURS]
    method: Annotated[RunMethod, METHOD_HELP, METHOD_SOURCE] = "lora"
    objective: Objective = "sft"
    beta: Annotated[
        float,
        Bounds(0, 100, above=True),
        Help("How strongly dpo and kto are held to what the base says.", metavar="X"),
        Source("TRL 1.16, DPOConfig and KTOConfig: 0.1"),
    ] = 0.1
    virtual_tokens: VirtualTokens = None
    revision: Annotated[str | None, _TEXT, Help("Commit of the model on the Hub.", metavar="SHA"), _OURS] = None
    eval_data: Annotated[
        str | None, _TEXT, Help("File of held-out examples.", metavar="FILE", default="a share of the data"), _OURS
    ] = None
    columns: Annotated[
        str | None,
        _TEXT,
        Help("Columns of the data by our names: question=Frage,answer=Antwort.", metavar="OURS=THEIRS,..."),
        Source("docs/finetuning.md"),
    ] = None
    share_rows: Annotated[
        bool,
        Help("Let short examples of a micro-batch share rows, unseen by each other."),
        Source("docs/decisions/0102-examples-share-rows.md"),
    ] = True
    held_out: Annotated[
        float,
        Bounds(0, 0.5),
        Help("Share of the examples to hold out, without --eval-data.", metavar="X"),
        Source("this program: a tenth leaves most for training, more than a half would leave too little"),
    ] = 0.1
    mix: Annotated[
        str | None,
        _TEXT,
        Help(
            "Replay other examples in between, against forgetting: a file, or general (the small set that ships).",
            metavar="FILE",
        ),
        Source("this program: modelpick/datasets/data/replay.jsonl is the small set"),
    ] = None
    mix_share: Annotated[
        float,
        Bounds(0.001, 0.9),
        Help("Share of the training examples that --mix gives.", metavar="X"),
        Source("this program: benchmarks/finetune_smollm2.py prints what it keeps of general knowledge"),
    ] = 0.2
    context: Context = 1024
    batch: Batch = 1
    gradient_accumulation: Annotated[GradientAccumulation, FormerNames(("accumulation",))] = 16
    gradient_checkpointing: GradientCheckpointing = False
    lora_rank: LoraRank = 16
    lora_alpha: Annotated[
        int,
        Bounds(1, 1_000_000),
        Help("Scale of the LoRA adapters.", metavar="N", default="twice the rank"),
        Source("torchtune's and Unsloth's recipes: alpha = 2 r"),
    ] = 32
    lora_dropout: LoraDropout = 0.0
    lora_targets: LoraTargets = "all-linear"
    learning_rate: Annotated[
        float,
        Bounds(1e-9, 1),
        Help(
            "Learning rate.", "X", default="2e-4; 1e-4 above 13 billion parameters; a tenth of that for --method full"
        ),
        Source(
            'QLoRA, arXiv 2305.14314, table 9; "LoRA Without Regret": LoRA wants about 10 times the rate of full '
            "fine-tuning"
        ),
    ] = 2e-4
    scheduler: Annotated[
        Literal["cosine", "linear", "constant", "constant_with_warmup"],
        FormerNames(("schedule",)),
        Help("Learning rate schedule.", metavar="S"),
        Source("transformers 5.23, SchedulerType; cosine: LLaMA-Factory's llama3 recipe"),
    ] = "cosine"
    warmup_share: Annotated[
        float,
        Bounds(0, 0.9),
        FormerNames(("warmup",)),
        Help("Share of the steps for warm-up.", metavar="X"),
        Source("LLaMA-Factory's llama3 recipe: warmup_ratio 0.1"),
    ] = 0.1
    weight_decay: Annotated[
        float, Bounds(0, 1), Help("Weight decay.", metavar="X"), Source("transformers 5.23, TrainingArguments: 0")
    ] = 0.0
    max_grad_norm: Annotated[
        float,
        Bounds(1e-6, 1e6),
        Help("Norm to clip gradients to.", metavar="X"),
        Source("transformers 5.23, TrainingArguments: 1"),
    ] = 1.0
    optimizer: Optimizer = "adamw-fused"  # transformers' own (5.23): it needs no second copy of what is trained
    epochs: Epochs = EPOCHS
    max_steps: Annotated[int | None, _STEPS, Help("Stop after this many steps.", metavar="N"), _OURS] = None
    dtype: Dtype = "bf16"
    attention: Attention = "sdpa"
    seed: Annotated[
        int,
        Bounds(0, 2**32 - 1),
        Help("Seed of every random choice.", metavar="N"),
        Source("numpy.random.seed: 32 bits"),
    ] = 42
    save_steps: Annotated[int, _STEPS, Help("Steps between checkpoints.", metavar="N", default="20 in all"), _OURS] = 50
    log_steps: Annotated[
        int,
        _STEPS,
        Help("Steps between lines of metrics.jsonl.", metavar="N", default="a twentieth of the run, at most 10"),
        _OURS,
    ] = 5
    eval_steps: Annotated[
        int | None,
        _STEPS,
        Help(
            "Steps between evaluations on examples of their own, as many as are held out; the best checkpoint is kept.",
            metavar="N",
            default="none during training",
        ),
        _OURS,
    ] = None
    patience: Annotated[
        int | None,
        Bounds(1, 100_000),
        Help("Stop after this many evaluations in a row without a better one.", metavar="N", default="never"),
        _OURS,
    ] = None
    min_effect: Annotated[
        float,
        Bounds(0, 1),
        Help("Smallest gain that counts as better: a share of the cases, or of the loss before.", metavar="X"),
        Source("this program: a point in a hundred; an interval alone calls any gain better if the cases are many"),
    ] = 0.01
    answers: Annotated[
        int,
        Bounds(0, 100_000),
        Help("Held-out questions to answer before and after, and to score. 0: only the loss.", metavar="N"),
        Source("this program: enough to read, at seconds each on a CPU"),
    ] = 20
    probe: Annotated[int, Bounds(0, 100_000), Help("Reasoning cases to ask before and after.", metavar="N"), _OURS] = 0
    probe_shots: Annotated[
        int,
        Bounds(0, 100),
        Help("Solved cases to show when asking the cases a second time. 0: ask once.", metavar="K"),
        _OURS,
    ] = 0
    merge: Annotated[bool, Help("Also write the merged model."), _OURS] = False
    track: Annotated[
        str | None,
        _TEXT,
        Help("Also record the run: mlflow, mlflow:URI or dagshub:OWNER/REPOSITORY.", metavar="T"),
        _OURS,
    ] = None
    checkpoint_to: Annotated[
        str | None, _TEXT, Help("Also keep checkpoints in s3://bucket/prefix, or a folder.", metavar="S3"), _OURS
    ] = None
    usd_per_hour: Annotated[
        float | None, Bounds(0, 100_000), Help("Machine price, to show the cost as it runs.", metavar="X"), _OURS
    ] = None
    trust_remote_code: Annotated[bool, Help("Run the model's own Python code."), _OURS] = False
    allow_pickles: Annotated[bool, Help("Load pickled weights, which can run code."), _OURS] = False

    @property
    def effective_batch(self) -> int:
        """Examples a step learns from."""
        return self.batch * self.gradient_accumulation

    @property
    def is_lora(self) -> bool:
        """Whether low-rank adapters (and a task head) are trained."""
        return self.method in LORA_METHODS

    @property
    def has_adapter(self) -> bool:
        """Whether the base stays as it is, and what is trained is saved apart from it."""
        return self.method != "full"

    def workload(self) -> Workload:
        """The same as a workload of the memory estimate."""
        names = [name for name in SHARED if self.is_lora or name not in ONLY_LORA]
        named = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return workload_from({"task": "finetune"} | named)

    @property
    def smallest_batch(self) -> int:
        """KTO's term for the distance from the base needs the answers of a neighbour (trl 1.16, KTOTrainer)."""
        return 2 if self.objective == "kto" else 1

    def smaller_batch(self) -> "RunSettings | None":
        """Half the micro-batch (or the next divisor below), the effective batch as it was; None at the smallest."""
        if self.batch <= self.smallest_batch or self.batch // 2 < self.smallest_batch:
            return None
        sizes = range(self.batch // 2, self.smallest_batch - 1, -1)
        half = next((size for size in sizes if self.effective_batch % size == 0), None)
        return None if half is None else replace(self, batch=half, gradient_accumulation=self.effective_batch // half)

    def as_json(self) -> dict[str, object]:
        """The record as it stands in run.json."""
        return to_json(self)


SHARED = tuple(item.name for item in fields(RunSettings) if item.name in {name.name for name in fields(Workload)})
"""The settings that a run and the workload of its memory estimate have in common."""


@dataclass(frozen=True, slots=True)
class BatchHalving:
    """Memory ran out: what comes after step `after_step` was learned in micro-batches of `batch`."""

    after_step: Annotated[int, Bounds(0, _STEPS.largest)]
    batch: Batch


def in_force(settings: RunSettings, halvings: Sequence[BatchHalving], step: int) -> tuple[RunSettings, int | None]:
    """The settings in force after `step`, and the step at which the next halving takes over (None: no other one).

    A run is the same bits again only when each of its steps is taken in the micro-batches it was taken in before.
    """
    done = [halving for halving in halvings if halving.after_step <= step]
    later = [halving.after_step for halving in halvings if halving.after_step > step]
    if done:
        batch = max(done, key=lambda halving: halving.after_step).batch
        settings = replace(settings, batch=batch, gradient_accumulation=settings.effective_batch // batch)
    return settings, min(later, default=None)


def as_trained(workload: Workload, kind: Kind, *, gpu: bool) -> Workload:
    """A fine-tuning workload as train.py runs it: a decoder on a GPU through SFTTrainer's fused output matrix, whose
    kernels exist there alone.
    """
    fused = gpu and kind == "decoder" and workload.method != "prompt-tuning" and workload.objective == "sft"
    return replace(workload, stack="modelpick", loss_chunking=fused)


def settings_from(options: Mapping[str, Any]) -> RunSettings:
    """Settings from names and values; None takes the default. Raises UsageError for an unknown name or a bad value."""
    values = read_options(RunSettings, options, unknown="unknown_setting")
    for name in ("model", "data", "output"):
        if name not in values:
            raise UsageError(f"no {name} is given", fix=f"name the {name}", code="missing_setting")
    return RunSettings(**values)


def run_from_json(record: Any) -> RunSettings:
    """The settings of a run file. Raises UsageError(code="unknown_schema") for a file of another version."""
    if not isinstance(record, Mapping) or record.get("schema_version") not in _READABLE_VERSIONS:
        raise UsageError(
            f"this is not a run file of schema_version {SCHEMA_VERSION}",
            fix="run modelpick finetune again to write one",
            code="unknown_schema",
        )
    settings = record.get("settings")
    if not isinstance(settings, Mapping):
        raise UsageError(
            "the run file has no settings", fix="run modelpick finetune again to write one", code="bad_run_file"
        )
    return settings_from(settings)
