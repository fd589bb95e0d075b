"""The founding article's three prompts, as one suite: what it saw, and what the model at hand says today."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from modelpick import files, schema
from modelpick.evaluation.probe.suite import Answers

Manner = Literal["writes", "fills", "completes"]


@dataclass(frozen=True, slots=True)
class Reported:
    """What the article reported of one model. `share`: how likely its word was to that model, where it says so."""

    manner: Manner
    model: str
    said: str
    share: float | None = None

    @property
    def how(self) -> str:
        """How the prompt is put, in words."""
        return {
            "writes": "goes on with the text",
            "fills": "fills the gap at its end",
            "completes": "completes it through /v1/completions",
        }[self.manner]


@dataclass(frozen=True, slots=True)
class _File:
    source: str
    asked: tuple[Reported, ...]


@cache
def _file() -> _File:
    path = files.data_file("evaluation", "article.toml")
    return schema.read(_File, files.read_toml(path, code="broken_installation"), str(path))


def reported() -> tuple[Reported, ...]:
    """The three, in the article's order."""
    return _file().asked


def source() -> str:
    """The article and its date."""
    return _file().source


@dataclass(frozen=True, slots=True)
class ArticleAnswers:
    """One model's answer to the prompt, in the only manner it can be asked."""

    manner: Manner
    answers: Answers

    @property
    def conclusion(self) -> bool | None:
        """Whether it concluded what the premises do not allow; None: it concluded nothing."""
        return self.answers.concluded[0]

    def as_json(self) -> dict[str, object]:
        """For `probe --suite article --json`: each manner, and the answer in the one that was asked."""
        case = self.answers.cases[0]
        candidates = self.answers.candidates[0] if self.answers.candidates else ()
        answer = {
            "said": self.answers.texts[0],
            "candidates": [{"word": candidate.word, "share": round(candidate.share, 4)} for candidate in candidates],
            "concluded": self.conclusion,
            "right": self.conclusion is case.follows,
        }
        return {
            "prompt": case.prompt,
            "asked": [
                {
                    "manner": row.manner,
                    "article": {"model": row.model, "said": row.said, "share": row.share},
                    "answer": answer if row.manner == self.manner else None,
                }
                for row in reported()
            ],
        }
