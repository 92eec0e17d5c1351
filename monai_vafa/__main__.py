# SPDX-License-Identifier: Apache-2.0
"""Command line: ``python -m monai_vafa COMMAND``."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import fire

from monai_vafa import commands
from monai_vafa.options import read_words
from monai_vafa.target.config import first_cause

_HELP = ("-h", "--help")
_DEBUG = "--debug"
_EXPECTED = (FileExistsError, FileNotFoundError, RuntimeError, ValueError)


def main() -> None:
    """Run a command; an error ends it with one line and exit code 1, Ctrl-C with one line and exit code 130."""
    words = [word for word in sys.argv[1:] if word != _DEBUG]
    debug = len(words) < len(sys.argv) - 1
    if any(word in _HELP for word in words):
        # Fire would take the flag for an override.
        words = [*[word for word in words if word not in _HELP], "--", "--help"]
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, format="%(message)s")
    if not debug:
        warnings.filterwarnings("ignore", message="parsing config_file")
        warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
        # An evaluation logs the traceback of a failed case and continues.
        logging.getLogger("monai_vafa.evaluation").addFilter(_without_traceback)
    try:
        result = _command(words)()
        if result is not None:
            sys.stdout.write(f"{result}\n")
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("Interrupted\n")
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        sys.exit(f"Error: {_line(error)}")


def _command(words: list[str]) -> Callable[[], Any]:
    """The command that words ask for, ready to run: Fire itself would refuse surplus words when all is done."""
    chosen: list[Callable[[], Any]] = []

    def put_off(command: Callable) -> Callable:
        return functools.wraps(command)(lambda *args, **named: chosen.append(partial(command, *args, **named)))

    made = {name: put_off(getattr(commands, name)) for name in commands.__all__}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            fire.Fire(made, command=read_words(words), name="monai_vafa")
    except fire.core.FireExit as left:
        if left.code == 0:
            sys.stderr.write(said.getvalue())
            raise
        problem = said.getvalue().partition("\n")[0].removeprefix("ERROR: ")
        raise ValueError(f"{problem}; see python -m monai_vafa COMMAND --help.") from None
    if not chosen:
        sys.exit(said.getvalue())
    return chosen[0]


def _line(error: BaseException) -> str:
    """The cause in one line, without the errors that MONAI wraps around it."""
    error = first_cause(error)
    text = " ".join(str(error).split())
    return text if type(error) in _EXPECTED else f"{type(error).__name__}: {text}"


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        record.msg = f"{record.getMessage()}: {_line(record.exc_info[1])}"
        record.args, record.exc_info = (), None
    return True


if __name__ == "__main__":
    main()
