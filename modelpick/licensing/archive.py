"""An archive of what verdicts were made from, to be read years later without modelpick and without the Hub.

`contents` is pure; `write` makes the folder: wholly, or not at all. The folder holds index.json (which names every file
with its hash), the policy with the company's facts, the license facts, and for every model and ancestor the texts, the
card's fields, what the gate asks to accept, config.json and where links lead.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from modelpick import files
from modelpick.catalog.model import Model
from modelpick.errors import UsageError, printable_json
from modelpick.licensing.evidence import digest_of
from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.overrides import Approval
from modelpick.licensing.policy import Policy
from modelpick.licensing.policy_file import text_of
from modelpick.licensing.verdict import Judgement
from modelpick.schema import to_json

SCHEMA_VERSION = 1
KIND = "modelpick-evidence"
INDEX = "index.json"
_README = """What this folder holds
======================

The license verdicts that modelpick gave, and everything that it looked at. Start with index.json: `results` are the
verdicts with their reasons and obligations, `files` names every file here with its SHA-256, where it came from and of
which model. `evidence_sha256` is the hash of index.json without `made_at` and itself (keys sorted, no spaces).

policy.toml is the policy with all that it inherits and the company's facts. licenses/ has the facts about each license.
models/ has one folder for each model and ancestor: texts/ as they were read, card.json (what the card states),
config.json, gate.txt (what the Hub asks to accept).

It is not legal advice.
"""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass
class _Files:
    """The files of an archive as they are collected, each under a path of its own, in any letter case."""

    contents: dict[str, bytes] = field(default_factory=dict)
    listed: list[dict[str, object]] = field(default_factory=list)

    def add(self, path: str, text: str, what: str, **about: object) -> str:
        taken = {known.lower() for known in self.contents}
        stem, suffix, number = PurePosixPath(path).with_suffix(""), PurePosixPath(path).suffix, 1
        while path.lower() in taken:
            number += 1
            path = f"{stem}-{number}{suffix}"
        data = text.encode("utf-8", "surrogatepass")
        self.contents[path] = data
        digest = hashlib.sha256(data).hexdigest()
        self.listed.append({"path": path, "sha256": digest, "bytes": len(data), "what": what, **about})
        return path


def contents(
    answers: Sequence[Judgement],
    policy: Policy,
    license_index: LicenseIndex,
    *,
    modelpick: str,
    made_at: str,
    errors: Iterable[Mapping[str, object]] = (),
    decisions: Iterable[Approval] = (),
) -> Mapping[str, bytes]:
    """File name -> bytes.

    `modelpick`: this version; `made_at`: UTC, ISO 8601; `errors`: models without an answer; `decisions`: people's
    approvals and rejections, of which those about these models are kept.
    """
    collected = _Files()
    collected.add("policy.toml", text_of(policy), "policy", name=policy.name)
    ids = {id for answer in answers for id in answer.license_ids}
    ids |= {id for answer in answers for step in answer.lineage for id in (step.license or "").split(" AND ")}
    licenses = [license_index.by_id[id] for id in sorted(ids) if id in license_index.by_id]
    for license in licenses:
        collected.add(
            f"licenses/{_safe(license.id)}.json", _json(_license(license)), "license facts", license=license.id
        )
    models = {(model.id.lower(), model.revision): model for answer in answers for model in answer.models}
    described = [_model(model, collected, license_index) for model in models.values()]
    asked = {answer.model.lower() for answer in answers}
    index = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "modelpick": modelpick,
        "policy": {**policy.as_json(), "title": policy.title, "file": "policy.toml"},
        "results": [{**answer.as_json(), "evidence": answer.evidence()} for answer in answers],
        "errors": list(errors),
        "decisions": [to_json(decision) for decision in decisions if decision.model.lower() in asked],
        "models": described,
        "files": collected.listed,
    }
    whole = {**index, "evidence_sha256": digest_of(json.loads(_json(index))), "made_at": made_at}
    return {**collected.contents, "README.txt": _README.encode(), INDEX: _json(whole).encode()}


def _model(model: Model, collected: _Files, license_index: LicenseIndex) -> dict[str, object]:
    """Adds a model's files, and describes it for the index."""
    folder = f"models/{_safe(model.id)}@{(model.revision or '')[:12] or 'commit-unknown'}"
    about = {"model": model.id, "revision": model.revision}
    texts = {
        name: collected.add(f"{folder}/texts/{_safe(name)}", text, "text", name=name, **about)
        for name, text in sorted(model.texts.items())
    }
    names = ("license", "license_name", "license_link", "datasets", "tags", "gated", "pipeline_tag", "library",
             "adapter_config", "gguf", "sources", "conflicts", "notes", "base_models", "files")  # fmt: skip
    every = to_json(model)
    collected.add(f"{folder}/card.json", _json({name: every[name] for name in names}), "card", **about)
    if model.config is not None:
        collected.add(f"{folder}/config.json", _json(model.config), "config", **about)
    if model.gate_text:
        collected.add(f"{folder}/gate.txt", model.gate_text, "gate", **about)
    link = model.license_link
    known = license_index.by_link(link) if link else None
    lead = {"address": link, "file": _target(link, texts) if link else None, "license": known.id if known else None}
    return {
        **about,
        "origin": model.origin,
        "texts": texts,
        "links": [lead] if link else [],
        "unread": [to_json(unread) for unread in model.unread],
    }


def _target(link: str, texts: Mapping[str, str]) -> str | None:
    """The archived file that a link of the card leads to, by its last part; None where it leads elsewhere."""
    name = re.split(r"[?#]", link)[0].rstrip("/").rpartition("/")[2].lower()
    return next((path for text, path in texts.items() if text.lower().rpartition("/")[2] == name), None)


def _license(license: License) -> dict[str, Any]:
    return {name: value for name, value in to_json(license).items() if value not in (None, [], {})}


def _json(value: object) -> str:
    return printable_json(json.dumps(value, indent=1, ensure_ascii=False, default=str)) + "\n"


def _safe(name: str) -> str:
    """A name that every file system takes, and that leads nowhere else."""
    return _UNSAFE.sub("--", name).strip(".-")[:100] or "unnamed"


def seal_of(archive: Mapping[str, bytes]) -> str:
    """The hash of an archive's index, which holds the hash of every file and of the policy with the company's facts."""
    return str(json.loads(archive[INDEX])["evidence_sha256"])


def write(archive: Mapping[str, bytes], folder: Path) -> None:
    """Make the folder with all files, or leave nothing. An archive is never written over.

    Raises UsageError(code="cannot_write") for a folder that exists and is not empty, for a file of that name, for a
    full disk.
    """
    with files.new_folder(folder, fix="name a new folder: evidence is not written over") as partial:
        for path, data in archive.items():
            files.make_folder((partial / path).parent)
            files.write_atomically(partial / path, data)


def problems(folder: Path) -> tuple[str, ...]:
    """What in an archive is not as its index says, a sentence each.

    Raises UsageError(code="bad_evidence") where the folder has no index that can be read.
    """
    path = folder / INDEX
    index = files.read_json(path, code="bad_evidence", fix="name a folder that license --evidence wrote")
    if not isinstance(index, dict) or index.get("kind") != KIND or index.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"{path} is not the index of an archive of this version", fix="update modelpick", code="bad_evidence"
        )
    found = []
    unsealed = {key: value for key, value in index.items() if key not in ("evidence_sha256", "made_at")}
    if digest_of(unsealed) != index.get("evidence_sha256"):
        found.append(f"{INDEX} was changed: its hash is not the one that it states")
    for entry in index.get("files", ()):
        name = str(entry.get("path"))
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()) or not target.is_file():
            found.append(f"{name} is missing")
        elif hashlib.sha256(files.read_bytes(target, code="bad_evidence")).hexdigest() != entry.get("sha256"):
            found.append(f"{name} was changed")
    return tuple(found)
