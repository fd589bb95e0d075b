"""How many tokens a model takes: the one check for every command that takes a context. Pure.

The limit is `Architecture.longest`: a number of tokens, UNLIMITED, or None where it is not stated.
"""

from collections.abc import Collection
from dataclasses import replace

from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.workload import Workload


def context_problem(limit: int | None, prompt: int, answer: int = 0) -> ModelpickError | None:
    """The error for too many `prompt` and `answer` tokens in one sequence, or None. Returned, not raised.

    Code `context_unknown` (CannotTellError) where the limit is not known, `context_too_long` (UsageError) beyond it.
    """
    asked = f"{prompt:,} prompt tokens and {answer:,} new ones" if answer else f"{prompt:,} tokens"
    if limit is None:
        return CannotTellError(
            f"{asked} are requested, but the longest context of this model is not known",
            fix="give a folder that contains its config.json, or leave out --offline",
            code="context_unknown",
        )
    if prompt + answer <= limit:
        return None
    room = limit - answer
    fix = f"use --context {room} or less" if room > 0 else f"use --generate {limit - 1} or less"
    return UsageError(
        f"{asked} are requested, but the model takes at most {limit:,}",
        fix=fix + (", or lower --generate" if answer and room > 0 else ""),
        code="context_too_long",
    )


def within_limit(limit: int | None, workload: Workload, fixed: Collection[str]) -> Workload:
    """The workload with as many tokens as the model takes: what `fixed` names (context, generate) stays as it is.

    After a prompt that is named, a default answer has what the limit leaves. Where neither is named, it keeps at most
    half of the limit; a default prompt has the rest. Raises what `context_problem` returns.
    """
    if limit is not None and workload.context + workload.generate > limit:
        if "generate" not in fixed:
            most = max(limit - workload.context, 0) if "context" in fixed else limit // 2
            workload = replace(workload, generate=min(workload.generate, most))
        if "context" not in fixed and workload.generate < limit:
            workload = replace(workload, context=min(workload.context, limit - workload.generate))
    problem = context_problem(limit, workload.context, workload.generate)
    if problem is not None:
        raise problem
    return workload
