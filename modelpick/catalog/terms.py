"""Which files carry terms, or may: the one rule for what is fetched, read, copied next to a model and served. Pure.

The names are those seen on the Hub: LICENSE-MODEL, license.txt, gemma_license.md, MODEL_LICENSE, EULA.txt,
acceptable_use_policy.md, tou.txt, LICENSES/Apache-2.0.txt (https://reuse.software/spec-3.3), and what licenses, terms
and agreements are called in other languages: LIZENZ.txt, AGREEMENT.md, 模型许可协议.pdf, ...
"""

import re
import unicodedata
from typing import Literal

TermsKind = Literal["license", "notice", "use_policy"]

_FOLDERS = frozenset({"license", "licenses", "licence", "licences", "tou", "terms", "legal"})
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
# License, terms, agreement, conditions in the languages of those who publish models, without accents.
_WORDS = (
    r"(?:model|code|software)?licen[cs]es?(?:agreement|text|file)?", "copying", "eulas?", "tou", "tos", "terms",
    f"conditions{_GAP}(?:of{_GAP}use|d{_GAP}utilisation|generales)", "(?:user|license)?agreements?",
    "lizenz(?:en|text|vertrag|bedingungen)?", "nutzungs(?:bedingungen|rechte)", "vereinbarung",  # de
    "licencias?", "terminos", "acuerdo", "licencas?", "termos", "acordo", "licenz[ae]", "termini", "accordo",
    "licenties?", "voorwaarden", "overeenkomst", "licens(?:villkor)?", "villkor", "lisens(?:vilkar)?", "lisenssi",
    "vilkar", "ehdot",  # above: es, pt, it; here: nl, sv, da, no, fi
    "licencj[ae]", "umowa", "licencni", "podminky", "smlouva", "licencna", "licenc(?:szerzodes)?", "feltetelek",
    "licenta", "termeni", "licenca", "licenci[jy]a", "uvjeti",  # pl, cs, sk, hu, ro, hr, sl, lt, lv
    "lisans(?:i)?", "kosullar(?:i)?", "sozlesme(?:si)?", "lisensi", "lesen", "ketentuan", "perjanjian",  # tr, id, ms
    "giay.?phep", "dieu.?khoan", "litsenziya", "litsenzija", "soglashenie", "adeia", "oroi",  # vi, ru, el in Latin
)  # fmt: skip
_LICENSE = re.compile(rf"{_START}(?:{'|'.join(_WORDS)}){_END}", re.DOTALL)
# Scripts without spaces or with endings: such a word counts wherever it stands.
_ELSEWHERE = re.compile(
    "许可|許可|授权|授權|协议|協議|条款|條款|版权|著作权|著作權"  # zh
    "|ライセンス|利用規約|使用許諾|規約|契約|라이선스|라이센스|약관|계약|허가"  # ja, ko
    "|лиценз|услови|соглашени|ліценз|угод|умов|αδεια|αδει|οροι|ορων"  # ru, uk, bg, sr, el
    "|ترخيص|رخصة|شروط|اتفاقية|مجوز|توافقنامه|רישיון|תנאי|הסכם"  # ar, fa, he
    "|लाइसेंस|अनुज्ञप्ति|शर्तें|লাইসেন্স|உரிமம்|ใบอนุญาต|สัญญา|ข้อกำหนด"  # hi, bn, ta, th
)
# Code, data and pictures that are only called so, and weights.
_NO_TERMS = (
    ".py", ".ipynb", ".js", ".json", ".jsonl", ".csv", ".parquet", ".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp",
    ".bin", ".safetensors", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".ckpt", ".npz", ".pkl", ".zip", ".gz",
    ".ts", ".c", ".cc", ".cpp", ".h", ".cu", ".java", ".go", ".rs", ".sh", ".model", ".yaml", ".yml", ".toml", ".lock",
    ".mp3", ".mp4", ".wav", ".npy", ".arrow", ".msgpack", ".tflite", ".mlmodel", ".xml", ".tsv", ".tar", ".7z",
)  # fmt: skip
# Formats that a person reads. A document of any name may hold terms, so those at the top are read too.
_DOCUMENTS = (".md", ".txt", ".rst", ".html", ".htm", ".pdf", ".docx", ".odt", ".markdown", ".adoc")
_MAYBE = re.compile(
    rf"{_START}(?:conditions?|condiciones|condicoes|condizioni|bedingungen|copyrights?|legal|rail|permissions?"
    rf"|restrictions?|disclaimer|rights|contrat|accord|usage|polic(?:y|ies)){_END}|.*(?:声明|條件|条件|注意).*",
    re.DOTALL,
)
_NO_DOCUMENTS = re.compile(r"readme\.md|requirements.*|vocab.*|merges.*|.*token.*|.*labels?.*|.*classes.*|changelog.*")


def kind_of(file_name: str) -> TermsKind | None:
    """What terms a file carries by its name within the repository, in any letter case; None: it carries none.

    Every file in a folder called LICENSES (or alike) carries terms, at whatever depth.
    """
    folder, slash, name = _plain(file_name).rpartition("/")
    if name.endswith(_NO_TERMS) or not name.strip(". ") or _leaves(folder, slash):
        return None
    if _USE_POLICY.fullmatch(name):
        return "use_policy"
    if _NOTICE.fullmatch(name):
        return "notice"
    if _LICENSE.fullmatch(name) or _ELSEWHERE.search(name):
        return "notice" if _THIRD_PARTY.search(name) else "license"
    return "license" if not _FOLDERS.isdisjoint(folder.split("/")) and not name.startswith("readme") else None


def is_document(file_name: str) -> bool:
    """Whether a file that does not call itself terms may hold some all the same: its text is read.

    A document at the top of the repository may, whatever its name; deeper down one whose name hints at it.
    """
    folder, slash, name = _plain(file_name).rpartition("/")
    if name.endswith(_NO_TERMS) or kind_of(file_name) is not None or _leaves(folder, slash):
        return False
    if _MAYBE.fullmatch(name):
        return True
    return not slash and name.endswith(_DOCUMENTS) and _NO_DOCUMENTS.fullmatch(name) is None


def hints_at_terms(file_name: str) -> bool:
    """Whether the name says that a file holds terms, or that it may: then not to have read it is a question."""
    return kind_of(file_name) is not None or _MAYBE.fullmatch(_plain(file_name).rpartition("/")[2]) is not None


def _leaves(folder: str, slash: str) -> bool:
    """Whether the path is none within the repository."""
    return bool(slash) and any(part in ("", ".", "..") for part in folder.split("/"))


def _plain(name: str) -> str:
    """Lower case, without accents."""
    if name.isascii():
        return name.lower()
    apart = unicodedata.normalize("NFKD", name.lower())
    bare = "".join(letter for letter in apart if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", bare).replace("ı", "i").replace("đ", "d").replace("ł", "l").replace("ø", "o")
