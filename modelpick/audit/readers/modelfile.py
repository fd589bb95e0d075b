"""Ollama's Modelfiles: FROM and ADAPTER name what a model is made of. Pure.

https://github.com/ollama/ollama/blob/main/docs/modelfile.md, read on 2026-11-29.
"""

import re

from modelpick.audit.hits import AuditHit, Hits, Lines
from modelpick.audit.rules import Rules

_MADE_OF = re.compile(r"^[ \t]*(FROM|ADAPTER)[ \t]+[\"']?([^\s\"'#]+)", re.I | re.M)


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a Modelfile: an Ollama name, an address on the Hub, or org/name."""
    at = Lines(text)
    for match in _MADE_OF.finditer(text):
        is_address = "/" in match[2] and "." in match[2].partition("/")[0]
        yield AuditHit(match[2], *at.at(match.start(2)), "url" if is_address else "argument", match[1].upper())
