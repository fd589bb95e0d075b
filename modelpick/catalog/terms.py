"""Which files carry terms: the one rule for what is fetched, read, copied next to a model and served. Pure.

The names are those seen on the Hub: LICENSE-MODEL, license.txt, gemma_license.md, MODEL_LICENSE, EULA.txt,
acceptable_use_policy.md, tou.txt, LICENSES/Apache-2.0.txt (https://reuse.software/spec-3.3), ...
"""

import re
from typing import Literal

TermsKind = Literal["license", "notice", "use_policy"]

_FOLDERS = frozenset({"license", "licenses", "licence", "licences", "tou", "terms"})
# Words end where a letter does not follow, so LICENSE2 and LICENSE(1).txt count and "licensed" does not.
_START, _END = r"(?:.*[^a-z])?", r"(?:[^a-z].*)?"
_GAP = "[^a-z0-9]?"
_USE_POLICY = re.compile(
    rf"{_START}(?:(?:acceptable{_GAP})?us(?:e|age){_GAP}polic(?:y|ies).*"
    rf"|(?:prohibited|acceptable|restricted){_GAP}uses?{_END}|use{_GAP}restrictions?{_END}|aup{_END})",
    re.DOTALL,
)
_THIRD_PARTY = re.compile(rf"third{_GAP}part(?:y|ies)|notice")
_NOTICE = re.compile(rf"{_START}(?:third{_GAP}part(?:y|ies).*|notices?{_END})", re.DOTALL)
_LICENSE = re.compile(
    rf"{_START}(?:(?:model|code|software)?licen[cs]es?(?:agreement|text|file)?|copying|eulas?|tou|tos|terms){_END}",
    re.DOTALL,
)
# Code, data and pictures that are only called so, and weights.
_NO_TERMS = (
    ".py", ".ipynb", ".js", ".json", ".jsonl", ".csv", ".parquet", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp",
    ".bin", ".safetensors", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".ckpt", ".npz", ".pkl", ".zip", ".gz",
)  # fmt: skip
_NO_PLAIN_TEXT = (".pdf", ".doc", ".docx", ".odt", ".rtf")


def kind_of(file_name: str) -> TermsKind | None:
    """What terms a file carries by its name within the repository, in any letter case; None: it carries none.

    A folder called LICENSES (or alike) at the top holds licenses; whatever else lies in folders belongs to something
    other than the model.
    """
    folder, slash, name = file_name.lower().rpartition("/")
    if name.endswith(_NO_TERMS) or not name.strip(". "):
        return None
    if slash and folder not in _FOLDERS:
        return None
    if _USE_POLICY.fullmatch(name):
        return "use_policy"
    if _NOTICE.fullmatch(name):
        return "notice"
    if _LICENSE.fullmatch(name):
        return "notice" if _THIRD_PARTY.search(name) else "license"
    return "license" if slash and not name.startswith("readme") else None


def is_plain_text(file_name: str) -> bool:
    """Whether a file of terms can be read here. Others (PDF, ...) are passed on as they are, and not judged."""
    return not file_name.lower().endswith(_NO_PLAIN_TEXT)
