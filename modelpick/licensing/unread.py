"""What was not read is a question: files, a card, the target of a link. And what a verdict stands on. Pure.

"Known to exist, is or may be terms, and was not wholly read" is one reason, `unread_terms`, whatever kept it away. One
thing is excused: a file behind the gate of its own publisher, where the license that the tag names is the publisher's
own. Then the verdict stands, and whoever passes the gate owes to read the text.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.licensing.conditions import Assessment
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license import License
from modelpick.licensing.license_text import LONGEST, linked
from modelpick.licensing.outcome import Basis, Obligation, Reason, Verdict
from modelpick.licensing.ownership import is_the_publishers_own
from modelpick.licensing.policy import Policy
from modelpick.licensing.statements.reading import LONGEST_TEXT

# https://huggingface.co/org/name/blob/main/LICENSE; the other words are what the Hub has in that place.
_ON_THE_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:models/)?", re.IGNORECASE)
_FILE_IN = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:/(?:blob|resolve|raw|tree)/[^/]+(?:/(?P<file>.*))?)?", re.ASCII)


def assess_unread(
    model: Model, id: str, stated: tuple[License, ...], policy: Policy, facts: LicenseFacts
) -> Assessment:
    """The questions about what was not wholly read of a repository called `id`, whose licenses are `stated`."""
    gated = [unread.name for unread in model.unread if unread.gated]
    excused = gated if gated and is_the_publishers_own(stated, id, facts) else []
    asked = [(unread.name, unread.why) for unread in model.unread if not (unread.gated and excused)]
    for name, text in model.texts.items():
        longest = LONGEST_TEXT if name.lower() == "readme.md" else LONGEST if kind_of(name) else None
        if longest is not None and len(text) > longest:
            asked.append((name, f"only its first {longest:,} characters were read"))
    owed: tuple[Obligation, ...] = ()
    if excused:
        text = f"read and keep {', '.join(excused)}, which stand behind the gate of {id}: they were not read here"
        owed = (Obligation("read_terms", text),)
    demanded = Verdict(policy.rules.unread_license)
    reasons = tuple(_unread(name, why, demanded) for name, why in asked)
    return Assessment(demanded if reasons else Verdict.ALLOW, reasons, owed)


def unread_link(
    model: Model, id: str, stated: tuple[License, ...], ancestors: Iterable[str], policy: Policy, facts: LicenseFacts
) -> Assessment | None:
    """The question about a `license_link` whose target was not read and is not known, or None.

    Read is a file of this repository that is among its texts. Known is an address of a license, and a repository that
    is judged as an ancestor or belongs to the publisher of every license that is stated.
    """
    link = (model.license_link or "").strip()
    if not link or linked(link if "://" in link else f"https://{link}", facts.licenses):
        return None
    prefix = _ON_THE_HUB.match(link)
    target = _FILE_IN.fullmatch(re.split(r"[?#]", link[prefix.end() :])[0].rstrip("/")) if prefix else None
    if target is None and "://" not in link:
        file, here = re.sub(r"^(\./|/)+|^(?:blob|resolve|raw)/[^/]+/", "", link), True
    else:
        file = unquote(target["file"] or "") if target else ""
        here = target is not None and _same_repository(target["id"], id)
    if here and (not file or (file in model.texts and file not in {unread.name for unread in model.unread})):
        return None
    if here and any(unread.name == file for unread in model.unread):
        return None  # asked about already
    if target is not None and not here:
        read = target["id"].lower() in {ancestor.lower() for ancestor in ancestors}
        if read or is_the_publishers_own(stated, target["id"], facts):
            return None
    demanded = Verdict(policy.rules.unread_license)
    return Assessment(demanded, (_unread(f"license_link {link[:120]}", "its target was not read", demanded),))


def basis_of(model: Model) -> Basis:
    """What a verdict on this model stands on: a tag alone, its card, or files of terms that were read as well."""
    if model.origin == "catalog":
        return "tag"
    return "files" if any(kind_of(name) for name in model.texts) else "card"


def _unread(name: str, why: str, demanded: Verdict) -> Reason:
    return Reason("unread_terms", f"{name} was not wholly read: {why}", name, demanded)


def _same_repository(one: str, other: str) -> bool:
    """Whether two ids are one repository's; a folder (`/name`) tells only the name."""
    if other.startswith("/"):
        return one.rpartition("/")[2].lower() == other[1:].lower()
    return one.lower() == other.lower()
