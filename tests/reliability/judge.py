# SPDX-License-Identifier: Apache-2.0
"""What may become of a call with generated input: a right result, or one of our own errors; and nothing else."""

from __future__ import annotations

import dis
import inspect
import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

import monai_vafa

REFUSALS = (ValueError, TypeError, FileNotFoundError, OSError)
SECONDS = 30
# Test -> number of cases of its slow part.
CASES: dict[str, int] = {}

PACKAGE = Path(monai_vafa.__file__).parent


class Hung(BaseException):
    """A call that took longer than any of these may; nothing catches it."""


def generated(few: int, many: int, **strategies: Any) -> Callable[[Callable], Callable]:
    """A test with ``few`` cases of these strategies, and its slow part with ``many``; other arguments are fixtures."""

    def decorate(check: Callable) -> Callable:
        CASES[f"{check.__module__}.{check.__name__}"] = many
        fixtures = [name for name in inspect.signature(check).parameters if name not in strategies]

        @pytest.mark.parametrize(
            "cases", [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
        )
        def test(cases: int, request: pytest.FixtureRequest) -> None:
            given, tried = {name: request.getfixturevalue(name) for name in fixtures}, 0

            @hypothesis.settings(
                max_examples=cases,
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                phases=(hypothesis.Phase.generate,),
            )
            @hypothesis.given(**strategies)
            def every_case(**drawn: Any) -> None:
                nonlocal tried
                tried += 1
                check(**given, **drawn)

            every_case()
            assert tried >= cases

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


def right_or_refused(
    call: Callable[[], Any],
    *inputs: Any,
    names: Collection[str],
    network: torch.nn.Module | None = None,
    wrapped: bool = False,
    also: tuple[type[Exception], ...] = (),
    homes: Collection[Path] = (PACKAGE,),
    draws: bool = False,
) -> Any:
    """
    The result of a call, or the error it was refused with.

    A refusal is raised by a line of this package and names one of ``names``: parameters, files or what is wrong.
    ``inputs`` and the network are afterwards what they were. ``wrapped``: MONAI may have put the error in others.
    ``also``: further documented errors. ``homes``: folders whose ``raise`` counts, where a class of MONAI says so.
    ``draws``: the call may take random numbers of the process.
    """
    before, state = [fingerprint(each) for each in inputs], _state(network)
    try:
        with _in_time():
            result = call()
    except Exception as error:
        while wrapped and error.__cause__ is not None and not _ours(error, homes):
            error = error.__cause__
        if not isinstance(error, REFUSALS + also) or not _ours(error, homes):
            raise AssertionError(f"not one of our errors: {type(error).__name__}: {error}") from error
        if not any(name in str(error) for name in names):
            raise AssertionError(f"the error names none of {list(names)}: {error}") from error
        result = error
    changed = [i for i, each in enumerate(inputs) if fingerprint(each) != before[i]]
    assert not changed, f"inputs {changed} have changed"
    assert _state(network)[draws:] == state[draws:], "the network or the random state has changed"
    return result


def refused(result: Any) -> bool:
    return isinstance(result, Exception)


def fingerprint(value: Any) -> Any:
    """All that a call could change of an input, comparable."""
    if isinstance(value, torch.Tensor):
        plain = value.as_tensor() if isinstance(value, MetaTensor) else value
        flat = torch.empty(plain.numel(), dtype=plain.dtype).copy_(plain.detach().reshape(-1))
        meta = (fingerprint(value.affine), repr(value.meta)) if isinstance(value, MetaTensor) else None
        raw = flat.view(torch.uint8).numpy().tobytes()
        return type(value), value.dtype, tuple(value.shape), value.stride(), value.requires_grad, raw, meta
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.strides, value.flags.writeable, value.tobytes()
    if isinstance(value, Mapping):
        return [(key, fingerprint(each)) for key, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [fingerprint(each) for each in value]
    if isinstance(value, Path):
        files = [value] if value.is_file() else sorted(path for path in value.rglob("*") if path.is_file())
        return [(str(path), path.read_bytes()) for path in files if path.suffix != ".pyc"]
    return repr(value)


def _state(network: torch.nn.Module | None) -> Any:
    """Network and global random state."""
    chance = torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()
    if network is None:
        return (chance,)
    modes = [module.training for module in network.modules()]
    weights = [(p.requires_grad, None if p.grad is None else fingerprint(p.grad)) for p in network.parameters()]
    return chance, modes, weights, fingerprint(network.state_dict())


def _ours(error: BaseException, homes: Collection[Path]) -> bool:
    """Whether a ``raise`` of this package made it, or Python did for a parameter that a class does not have."""
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    file, raised = Path(code.co_filename), dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    bound = code.co_name == "_bind" and file == Path(inspect.__file__)
    misspelt = type(error) is TypeError and "__init__() got an unexpected keyword argument" in str(error)
    return misspelt or (raised and (bound or any(map(file.is_relative_to, homes))))


@contextmanager
def _in_time():
    def stop(*_: Any) -> None:
        raise Hung(f"no answer after {SECONDS} seconds")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
