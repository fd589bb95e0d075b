"""What a defect of modelpick's own looks like to its user: one sentence, and a file with the traceback."""

import os
import sys
import tempfile
import traceback

from modelpick.cli.output import report_error
from modelpick.errors import EXIT_CANNOT_TELL, ModelpickError


class _DefectError(ModelpickError):
    # Nothing was answered, so nothing may be taken for a yes or a no.
    exit_code = EXIT_CANNOT_TELL


def report_crash(error: Exception, *, as_json: bool) -> int:
    """Write the traceback to a log file, name the file on stderr, and return the exit code."""
    try:
        handle, path = tempfile.mkstemp(prefix="modelpick-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as log:
            log.write(f"modelpick, Python {sys.version}\n")
            log.write("".join(traceback.format_exception(error)))
        where = f"report it with the log {path}"
    except OSError:
        where = "run it again where a log file can be written"
    defect = _DefectError(f"modelpick itself failed ({type(error).__name__}: {error})", fix=where, code="defect")
    return report_error(defect, as_json=as_json)
