"""When is a string a model id? The Hub's own grammar for names, and what looks like `a/b` but is not a model. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelpick.audit.hits import AuditHit
from modelpick.audit.rules import Rules
from modelpick.audit.served import repository

# huggingface_hub.utils.validate_repo_id: letters, digits, `-`, `_`, `.`; neither `--` nor `..`; `-` and `.` neither
# first nor last; at most 96 characters in all.
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?P<org>{_PART})/(?P<name>{_PART})", re.ASCII)
_BARE = re.compile(_PART, re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,255}", re.ASCII)
_LONGEST = 96
_DEFAULT_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model id as code names it; `revision` None: whatever is newest when the code runs."""

    id: str
    revision: str | None = None


# 7B, 1.5b, 8x7B, 270m, A3B: parameters as names say them.
_SIZE = re.compile(r"(?:^|[-_.xA])\d+(?:\.\d+)?[bBmM](?:$|[-_.])")
_BETWEEN_WORDS = re.compile(r"[-_.]+")
_NUMBERS = re.compile(r"\d+.*$")


def family_words(name: str) -> frozenset[str]:
    """The words of a model's name in lower case, as they are and without numbers: Qwen3 -> qwen3, qwen."""
    words = [word for word in _BETWEEN_WORDS.split(name.lower()) if len(word) > 1]
    return frozenset(word for word in (*words, *(_NUMBERS.sub("", word) for word in words)) if len(word) > 1)


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What is known of names, besides their looks.

    `model` gives the catalog's spelling of an id, or None; `publishers` are organisations with models, `families` words
    of model names, `data_sets` ids in lower case.
    """

    model: Callable[[str], str | None]
    publishers: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    data_sets: frozenset[str] = frozenset()


def url_pattern(rules: Rules) -> re.Pattern[str]:
    """Addresses on the Hub inside any text: https://huggingface.co/org/name/resolve/..., hf.co/org/name:Q4."""
    hosts = "|".join(re.escape(host) for host in sorted(rules.words["hub_hosts"], key=len, reverse=True))
    return re.compile(rf"(?<![\w.-])(?:(?:https?|hf)://)?(?:[\w-]+:[^@\s/]*@)?(?:{hosts})/[\w./@:%-]+", re.ASCII)


class Namer:
    """Decides with the catalog (`known`: the canonical id, or None) and the disk (`exists`: is it a path here?)."""

    def __init__(self, rules: Rules, known: KnownNames, exists: Callable[[str], bool]) -> None:
        self._rules = rules
        self._known = known.model
        self._exists = exists
        self._facts = known

    def model(self, candidate: AuditHit) -> ModelName | None:
        """The model a candidate names, or None when it names something else."""
        text, revision = candidate.text.strip(), candidate.revision
        if candidate.place == "data":
            return None
        if candidate.place == "url":
            return self._from_url(text, revision)
        served = repository(text, candidate.how) if len(text) <= _LONGEST else None
        if served is not None and self._known(text) is None:
            return _named(self._known(served) or served, None)
        if candidate.place != "anywhere":
            text, scheme = self._without_scheme(text)
            text, revision = _split_suffix(text, revision)
            if (
                scheme is None
                and any(fnmatchcase(text.lower(), glob) for glob in self._rules.hosted)
                and not self._known(text)
            ):
                return self._behind_prefix(text, revision)
            text = self._without_prefix(text)
        if len(text) > _LONGEST:
            return None
        if (match := _ID.fullmatch(text)) is not None:
            return self._with_organisation(candidate, match["org"], match["name"], revision)
        if candidate.place != "anywhere" and _BARE.fullmatch(text):
            return self._without_organisation(candidate, text, revision)
        return None

    def data_set(self, candidate: AuditHit) -> str | None:
        """The data set on the Hub that a candidate names, or None when it names something else."""
        text = candidate.text.strip()
        if candidate.place == "url":
            host = next((host for host in self._rules.words["hub_hosts"] if f"{host}/datasets/" in text), None)
            text = "/".join(text.partition(f"{host}/datasets/")[2].split("/")[:2]) if host else ""
        elif candidate.place != "data":
            return text if text.lower() in self._facts.data_sets and _ID.fullmatch(text) else None
        text = text.removeprefix("hf://datasets/").partition("@")[0].rstrip("/")
        match = _ID.fullmatch(text) if len(text) <= _LONGEST else None
        return text if match and self._plausible(match["org"], match["name"]) and not self._exists(text) else None

    def _with_organisation(self, candidate: AuditHit, org: str, name: str, revision: str | None) -> ModelName | None:
        id = f"{org}/{name}"
        if self._known(id) is not None:
            return _named(id, revision)
        if candidate.place == "anywhere" and not self._reads_as_model(org, name):
            return None
        if not self._plausible(org, name) or self._exists(id):
            return None
        return _named(id, revision)

    def _reads_as_model(self, org: str, name: str) -> bool:
        """Two of three: a publisher of models, a size, the word of a family; neither known data nor only served."""
        low = f"{org}/{name}".lower()
        if low in self._facts.data_sets or any(fnmatchcase(low, glob) for glob in self._rules.hosted):
            return False
        words = family_words(name)
        signs = (org in self._facts.publishers, _SIZE.search(name) is not None, bool(words & self._facts.families))
        return sum(signs) > 1

    def _without_organisation(self, candidate: AuditHit, text: str, revision: str | None) -> ModelName | None:
        if self._known(text) is not None:
            return _named(text, revision)
        if candidate.place != "argument" or not self._plausible("", text) or self._exists(text):
            return None
        if candidate.organisation is not None:
            return _named(f"{candidate.organisation}/{text}", revision)
        # The Hub's few ids without an organisation are lower-case words joined by hyphens (bert-base-uncased, t5-small)
        # or end in a digit (gpt2); a variable's name or a folder seldom does.
        looks = "-" in text or text[-1].isdigit()
        first = re.split(r"[-_.]", text)[0]
        return (
            _named(text, revision)
            if candidate.bare and looks and first not in self._rules.words["local_words"]
            else None
        )

    def _plausible(self, org: str, name: str) -> bool:
        """Neither a path, nor a media type, nor a fraction, nor a place holder."""
        words = self._rules.words
        if (
            "--" in org + name
            or ".." in org + name
            or not re.search("[A-Za-z]", name)
            or (org and not re.search("[A-Za-z]", org))
        ):
            return False
        if name.rpartition(".")[2].lower() in words["extensions"] and "." in name:
            return False
        low, first = org.lower(), re.split(r"[-_]", org.lower())[0]
        return low not in words["folders"] | words["media_types"] | words["placeholders"] and first != "your"

    def _from_url(self, text: str, revision: str | None) -> ModelName | None:
        host = next((host for host in self._rules.words["hub_hosts"] if f"{host}/" in text), None)
        if host is None:
            return None
        parts = text.partition(f"{host}/")[2].rstrip("./:").split("/")
        if parts[:2] == ["api", "models"]:
            parts = parts[2:]
        if len(parts) < 2 or parts[0] in self._rules.words["hub_pages"]:
            return None
        name, revision = _split_suffix(parts[1], revision)
        name = name.removesuffix(".git")
        if len(parts) > 3 and parts[2] in ("resolve", "raw", "blob", "tree"):
            revision = parts[3]
        id = f"{parts[0]}/{name}"
        return _named(id, revision) if _ID.fullmatch(id) and len(id) <= _LONGEST else None

    def _without_scheme(self, text: str) -> tuple[str, str | None]:
        scheme = next((scheme for scheme in self._rules.hub_schemes if text.lower().startswith(scheme)), None)
        return (text[len(scheme) :], scheme) if scheme else (text, None)

    def _without_prefix(self, text: str) -> str:
        prefix, _, rest = text.partition("/")
        return rest if "/" in rest and prefix.lower() in self._rules.words["hub_prefixes"] else text

    def _behind_prefix(self, text: str, revision: str | None) -> ModelName | None:
        """What a served name stands for: together_ai/org/name is org/name, gemini/anything is nothing here."""
        rest = self._without_prefix(text)
        match = _ID.fullmatch(rest) if rest != text else None
        return _named(rest, revision) if match and self._plausible(match["org"], match["name"]) else None


def _split_suffix(text: str, revision: str | None) -> tuple[str, str | None]:
    """`org/name@rev` and `org/name:Q4_K_M` (a file of the repository) into id and revision."""
    text, _, written = text.partition("@")
    text = text.partition(":")[0]
    return text, revision or written or None


def _named(id: str, revision: str | None) -> ModelName:
    usable = revision if revision and _REVISION.fullmatch(revision) and ".." not in revision else None
    return ModelName(id, None if usable == _DEFAULT_BRANCH else usable)
