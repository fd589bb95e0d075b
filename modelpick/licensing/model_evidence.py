"""Weighs one model of a chain by itself: what it claims, and what speaks against the claim. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from modelpick.catalog.model import Model
from modelpick.licensing.conditions import Assessment, Modality, assess_claim, combine
from modelpick.licensing.facts import Facts
from modelpick.licensing.file_evidence import FileReading, read_files, settled, weigh_conflicts, weigh_files, weigh_link
from modelpick.licensing.identify import Claim, Known, identify, licenses_in, unknown
from modelpick.licensing.lineage import Ancestor
from modelpick.licensing.outcome import From, LineageStep, Obligation, Reason, Verdict, join
from modelpick.licensing.overrides import Betrayal, Family, KnownModel
from modelpick.licensing.policy import Policy
from modelpick.licensing.training_data import weigh_datasets

_TEXT_PIPELINES = frozenset(
    {"text-generation", "text2text-generation", "fill-mask", "text-classification", "feature-extraction",
     "sentence-similarity", "token-classification", "translation", "summarization", "question-answering"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Weighed:
    """`claimed`: what the card alone comes to. `total`: with everything that speaks against it.

    `implied`: ancestors nobody declared, that a name or a shape betrays.
    """

    claimed: Assessment
    total: Assessment
    implied: tuple[LineageStep, ...] = ()


def weigh(
    model: Model, ancestors: Sequence[Ancestor], policy: Policy, facts: Facts, *, ancestor: bool = False
) -> Weighed:
    """One model: its claim, what is known of it, what its name and shape betray, what it was trained on.

    `ancestors` is the chain above it. `ancestor`: whether it stands in another model's chain (then its findings come
    "from lineage").
    """
    origin: From = "lineage" if ancestor else "catalog" if model.origin == "catalog" else "card"
    id = repository_of(model)
    known = facts.known.about(id, model.revision)
    by = {_organisation(one) for one in (id, *(other.id for other in ancestors))}
    claim = identify(model.license, model.license_name, by, facts.licenses)
    modality = modality_of(model)
    claimed = _assessed(claim, origin, policy, facts, modality)
    files = read_files(model, facts) if model.texts else ()
    card, claim, origin = claim, *_settled(claim, origin, files, model, facts)
    betrayals = () if any(one.independent for one in known) else facts.families.of(id, model.config)
    parts = [claimed if claim is card else _assessed(claim, origin, policy, facts, modality)]
    if model.texts or model.gguf or model.gate_text:
        parts += weigh_files(card, files, model, policy, facts, modality)
    if model.license_link and (led := _link_elsewhere(id, model.license_link, facts)) is not None:
        parts += weigh_link(led, licenses_in(claim), policy, facts, modality)
    if model.conflicts:
        parts += weigh_conflicts(model, licenses_in(card), policy, facts, modality)
    if unknown(claim) and (owned := _known_license(id, known, betrayals, facts)) is not None:
        parts[0] = _assessed(owned, "known_models", policy, facts, modality)
    else:
        parts += [
            _assessed(_licensed(one, facts), "known_models", policy, facts, modality) for one in known if one.license
        ]
    implied: list[LineageStep] = []
    for betrayal in betrayals:
        found = {finding.id for part in parts for finding in part.findings}
        if (extra := _betrayed(betrayal, model, found, ancestors, policy, facts, modality)) is not None:
            parts.append(extra)
            implied.append(_implied_step(betrayal, extra, model.id))
    parts += _misnamed(model, parts, ancestors, policy, facts)
    parts += _disputes(known, policy)
    datasets = (*model.datasets, *(name for one in known for name in one.datasets))
    if datasets and (reasons := weigh_datasets(datasets, policy, facts)):
        parts.append(Assessment(join(reason.verdict for reason in reasons), reasons))
    if model.gated:
        parts.append(Assessment(Verdict.ALLOW, (), (_GATE,)))
    return Weighed(claimed, combine(parts), tuple(implied))


def _settled(
    claim: Claim, origin: From, files: tuple[FileReading, ...], model: Model, facts: Facts
) -> tuple[Claim, From]:
    if not files and not model.license_link:
        return claim, origin
    settled_claim, elsewhere = settled(claim, files, model, facts)
    return settled_claim, elsewhere or origin


_GATE = Obligation("gate", "accept its terms on the Hub with your own account, and keep a record of who did and when")


def weigh_missing(id: str, policy: Policy, facts: Facts) -> Weighed:
    """An ancestor that cannot be found: what known_models and its name tell of it, else a question."""
    known = facts.known.about(id)
    betrayals = facts.families.of(id, None)
    claim = _known_license(id, known, betrayals, facts)
    if claim is not None:
        total = _assessed(claim, "known_models", policy, facts, "unknown")
        return Weighed(total, combine([total, *_disputes(known, policy)]))
    demanded = Verdict(policy.rules.unknown_ancestor)
    reason = Reason("missing_ancestor", f"the base model {id} cannot be found", f"base_model: {id}", demanded)
    parts = [Assessment(demanded, (reason,))]
    parts += [
        extra
        for betrayal in betrayals
        if (extra := _betrayed(betrayal, None, set(), (), policy, facts, "unknown")) is not None
    ]
    return Weighed(parts[0], combine(parts))


def modality_of(model: Model) -> Modality:
    """Whether a model takes more than text, as far as its facts tell."""
    config = model.config or {}
    if any(key in config for key in ("vision_config", "audio_config")):
        return "multimodal"
    if "vision" in model.id.lower():
        return "multimodal"
    if model.pipeline_tag is None:
        return "text" if config.get("num_hidden_layers") else "unknown"
    return "text" if model.pipeline_tag in _TEXT_PIPELINES else "multimodal"


def _assessed(claim: Claim, origin: From, policy: Policy, facts: Facts, modality: Modality) -> Assessment:
    key = (id(policy), claim, origin, modality) if isinstance(claim, Known) else None
    if key is None:
        return assess_claim(claim, origin, policy, facts.territories, modality)
    held = facts.memo.get(key)
    if held is None or held[0] is not policy:
        held = facts.memo[key] = (policy, assess_claim(claim, origin, policy, facts.territories, modality))
    result: Assessment = held[1]
    return result


def _known_license(id: str, known: Iterable[KnownModel], betrayals: Iterable[Betrayal], facts: Facts) -> Claim | None:
    """The license of a repository whose card does not tell it: from known_models, or a family's own publisher."""
    for one in known:
        if one.license:
            return _licensed(one, facts)
    owner = _organisation(id)
    for betrayal in betrayals:
        family = betrayal.family
        if family.license and owner in (name.lower() for name in family.owners):
            said = f"{id} is {family.name}: {family.because} ({family.source})"
            return Known((facts.licenses.by_id[family.license],), said)
    return None


_REPOSITORY = re.compile(r"(?:^|://)[^/\s]*/(?P<id>[\w.-]+/[\w.-]+)(?=/|$)", re.ASCII)


def _link_elsewhere(id: str, link: str, facts: Facts) -> Known | None:
    """The license of the repository that `license_link` leads to, where it is another publisher's and is known."""
    match = _REPOSITORY.search(link)
    if match is None or _organisation(match["id"]) == _organisation(id):
        return None
    other = match["id"]
    claim = _known_license(other, facts.known.about(other), facts.families.of(other, None), facts)
    return replace(claim, said=f"license_link: {link} ({claim.said})") if isinstance(claim, Known) else None


def _licensed(entry: KnownModel, facts: Facts) -> Claim:
    said = f"known_models: {entry.because} ({entry.source}, {entry.date})"
    return Known((facts.licenses.by_id[str(entry.license)],), said)


def _betrayed(
    betrayal: Betrayal, model: Model | None, found: set[str], ancestors: Sequence[Ancestor],
    policy: Policy, facts: Facts, modality: Modality,
) -> Assessment | None:  # fmt: skip
    """What an undeclared ancestor demands; None where the publisher owns the family or the chain explains it."""
    family = betrayal.family
    owner = _organisation(repository_of(model)) if model else ""
    if owner in (name.lower() for name in family.owners) and found:
        return None
    if any(_shows(one, family, facts) for one in ancestors):
        return None
    if family.license is not None:
        if family.license in found:
            return None
        claim = Known((facts.licenses.by_id[family.license],), f"{betrayal.by}: {family.because}")
        part = _assessed(claim, "lineage", policy, facts, modality)
        reason = Reason("undeclared_ancestor", f"{betrayal.by} says {family.name}", family.source, part.verdict)
        return replace(part, reasons=(reason, *part.reasons))
    if found & set(family.licenses) or any(one.model is not None for one in ancestors):
        return None
    demanded = Verdict(policy.rules.unknown_ancestor)
    text = f"{betrayal.by} says {family.name}, which of its licenses binds is not told: {family.because}"
    return Assessment(demanded, (Reason("undeclared_ancestor", text, family.source, demanded),))


def _shows(ancestor: Ancestor, family: Family, facts: Facts) -> bool:
    """Whether an ancestor in the chain is of this family or a sibling: then it is weighed there, nothing is hidden."""
    if ancestor.trouble not in (None, "missing_ancestor"):
        return False
    config = ancestor.model.config if ancestor.model else None
    found = facts.families.of(ancestor.id, config)
    return any(one.family.root == family.root and one.family.license is not None for one in found)


def _implied_step(betrayal: Betrayal, part: Assessment, child: str) -> LineageStep:
    return LineageStep(betrayal.family.name, "unknown", betrayal.family.license, part.verdict, child)


def _misnamed(
    model: Model, parts: Sequence[Assessment], ancestors: Sequence[Ancestor], policy: Policy, facts: Facts
) -> list[Assessment]:
    """A derived model whose name lacks the beginning its license asks for: a breach by its publisher, to be told."""
    if not ancestors:
        return []
    name = model.id.rsplit("/", 1)[-1].lower()
    found = dict.fromkeys(finding.id for part in parts for finding in part.findings)
    prefixes = {facts.licenses.by_id[id].owes.name_prefix for id in found if id in facts.licenses.by_id}
    missing = sorted(prefix for prefix in prefixes if prefix and not _begins(name, prefix))
    if not missing:
        return []
    text = f'names of derived models begin with "{missing[0]}", this one does not: its publisher breaks the license'
    return [
        Assessment(policy.rules.conditional, (Reason("name_prefix_missing", text, model.id, policy.rules.conditional),))
    ]


def _begins(name: str, prefix: str) -> bool:
    plain = name.removeprefix("meta-").replace("-", "").replace("_", "")
    return plain.startswith(prefix.lower().replace(" ", ""))


def _disputes(known: Iterable[KnownModel], policy: Policy) -> list[Assessment]:
    demanded = Verdict(policy.rules.contradiction)
    return [
        Assessment(demanded, (Reason("disputed", one.because, f"known_models: {one.source}, {one.date}", demanded),))
        for one in known
        if one.disputed
    ]


_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")


def repository_of(model: Model) -> str:
    """The model's id; of a folder what its path tells: the Hub's cache keeps the id, any other path only a name.

    A folder called meta-llama/x is not Meta's word: nobody vouches for it, and its organisation is empty.
    """
    if model.origin != "folder":
        return model.id
    path = model.id.replace("\\", "/").rstrip("/")
    cached = _CACHED.search(path)
    return f"{cached[1]}/{cached[2]}" if cached else "/" + path.rpartition("/")[2]


def _organisation(id: str) -> str:
    return id.partition("/")[0].lower() if "/" in id else ""
