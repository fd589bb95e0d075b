"""The license, judged again before money is spent, under the policy that the plan was made under. I/O."""

from dataclasses import replace

from modelpick.aws.spec import LicenseClaim, Spec
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, UsageError
from modelpick.licensing import license_check
from modelpick.licensing.judge_models import judge_pairs, policy_in_force
from modelpick.licensing.load import policy_names
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.memory.estimate import architecture_of
from modelpick.memory.formats import format_problem
from modelpick.planning.plan_file import FIX, Plan
from modelpick.planning.plan_parts import PlannedPolicy
from modelpick.planning.setups import checkpoint_problem, download_gb

_SAME_SIZE = 1.05  # the Hub's and the catalog's count of one model's weights may differ a little


def policy_of(planned: PlannedPolicy, wanted: str | None) -> Policy:
    """The policy that a plan was made under: `wanted` (the user's --policy), the settings' choice, or ours of its name.

    Raises UsageError (`other_policy`) where none of them has the plan's hash.
    """
    policy = policy_in_force(wanted)
    if policy.sha256 != planned.sha256 and planned.name in policy_names():
        policy = policy_in_force(planned.name)
    if policy.sha256 != planned.sha256:
        raise UsageError(
            f"the plan was made under the policy {planned.name}, but {policy.path} or the company's facts have changed",
            fix="give that policy's file with --policy, or make the plan again",
            code="other_policy",
        )
    return replace(policy, product=None).for_product(planned.product)


def require(spec: Spec) -> Judgement:
    """Refuse a machine whose model may not be used: model and ancestors are judged again, in the region it runs in.

    Returns the judgement; its `revision` is the commit that was judged, which is what shall run.

    Raises LicenseDeniedError (`license_denied`, exit 1) for deny, ModelpickError (`needs_review`, exit 1) for review,
    UsageError (`license_changed`, `other_model`, `other_format`) where verdict, licenses, size or format of the weights
    are not those of the plan, and RemoteError for an unknown model.
    """
    claim = spec.license
    name = f"{spec.model}@{claim.revision}" if claim.revision else spec.model
    pair = judge_pairs([name], policy=claim.policy.in_region(spec.region), offline=claim.offline)[0]
    if isinstance(pair, ModelpickError):
        raise pair
    model, judgement = pair
    try:
        license_check.require(judgement, policy=claim.policy.name)
        if not claim.offline:  # --offline says that nothing is asked; the machine reads the terms before it begins
            license_check.require_read(judgement)
    except license_check.LicenseReviewError as error:
        raise ModelpickError(
            error.message, fix=f"modelpick policy approve {spec.model}, then make the plan again", code="needs_review"
        ) from None
    if judgement.verdict is not claim.verdict or set(judgement.license_ids) != set(claim.license_ids):
        raise UsageError(
            f"the plan says {_said(claim.verdict.value, claim.license_ids)} of {spec.model}, and its license is "
            f"judged {_said(judgement.verdict.value, judgement.license_ids)} now",
            fix=FIX,
            code="license_changed",
        )
    _refuse_other_model(claim, model)
    _refuse_other_format(claim, model)
    return judgement


def _refuse_other_model(claim: LicenseClaim, model: Model) -> None:
    """A plan that was made for a model of another size: its memory, disk and price are not this model's."""
    size = download_gb(model, 0)
    if claim.download_gb and size and not 1 / _SAME_SIZE <= claim.download_gb / size <= _SAME_SIZE:
        raise UsageError(
            f"the plan is for weights of {claim.download_gb:.1f} GB, and {model.id} has {size:.1f} GB",
            fix=FIX,
            code="other_model",
        )


def _refuse_other_format(claim: LicenseClaim, model: Model) -> None:
    """A catalog may know the format of a quantized repository by its name alone; its config.json says another, and the
    server would stop at its start on a machine that is paid for."""
    for workload in claim.workloads if model.config is not None else ():
        architecture = architecture_of(model)
        problem = checkpoint_problem(model, architecture, workload.method) or format_problem(architecture, workload)
        if problem is not None:
            raise UsageError(
                f"the plan is for {workload.method} weights of {model.id}: {problem.message}",
                fix=f"plan {model.id} itself without --offline, or the unquantized model with another --method",
                code="other_format",
            )


def pinned(plan: Plan, judgement: Judgement) -> Plan:
    """The plan with the judged commit in it: the judged commit runs, not the Hub's newest one.

    Unchanged where no commit is known, as of a folder or with --offline.
    """
    revision = plan.model.revision or judgement.revision
    return replace(plan, model=replace(plan.model, revision=revision))


def _said(verdict: str, license_ids: tuple[str, ...]) -> str:
    return f"{verdict} ({', '.join(license_ids) or 'no license'})"
