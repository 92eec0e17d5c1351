# SPDX-License-Identifier: Apache-2.0
"""Commands in processes of their own that start within a second, and faults that are planted in them."""

from __future__ import annotations

import errno
import itertools
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path

# Processes are forked from one that has imported all this, and nothing else.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("matplotlib.figure", "monai.bundle", "nibabel", "monai_vafa.__main__", "monai_vafa.evaluation"),
        *("monai_vafa.handlers", "monai_vafa.hardening", "monai_vafa.paper", "monai_vafa.report"),
    ]
)
MINUTES = 60


class Command:
    """
    ``python -m monai_vafa WORDS`` in a process of its own.

    Args:
        words: of the command line.
        log: file to which output and errors are appended.
        fault: is called in the process before the command.
    """

    def __init__(self, words, log, fault=None):
        self.log = Path(log)
        self._before = self.log.stat().st_size if self.log.is_file() else 0
        self.process = CONTEXT.Process(target=_command, args=([str(word) for word in words], os.fspath(log), fault))
        self.process.start()

    def wait(self, seconds=5 * MINUTES):
        """Exit code, negative for a signal; a command that hangs fails the test."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"hangs:\n{self.said[-3000:]}")
        return self.process.exitcode

    def kill(self):
        self.process.kill()
        self.process.join()

    @property
    def said(self):
        """What this command has said so far."""
        return self.log.read_bytes()[self._before :].decode() if self.log.is_file() else ""

    def wait_for(self, text, seconds=MINUTES):
        """Wait until the command has said something."""
        end = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.is_alive() and time.monotonic() < end, self.said[-3000:]
            time.sleep(0.02)


def _command(words, log, fault):
    _speak_to(log)
    from monai_vafa import __main__ as command_line

    sys.argv = ["monai_vafa", *words]
    if fault is not None:
        fault()
    command_line.main()


def call(function, *arguments, log, seconds=5 * MINUTES):
    """What a function returns in a process of its own."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_call, args=(sender, function, arguments, os.fspath(log)))
    process.start()
    sender.close()
    try:
        assert receiver.poll(seconds), "hangs"
        return receiver.recv()
    except EOFError:
        raise AssertionError(Path(log).read_text()[-3000:]) from None
    finally:
        process.kill()
        process.join()


def _call(sender, function, arguments, log):
    _speak_to(log)
    sender.send(function(*arguments))


def _speak_to(log):
    """Append all that this process says to a file, use one thread, and start workers as usual."""
    import torch

    multiprocessing.set_start_method("fork", force=True)

    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
    torch.set_num_threads(1)


def die_at_move(number, moment):
    """
    SIGKILL at a move of a finished file to its place: ``"within"`` the writing that goes before, ``"before"`` the move
    or ``"after"`` it.
    """
    move, count = os.replace, itertools.count(1)

    def moved(source, target):
        if next(count) < number:
            return move(source, target)
        if moment == "within":
            os.truncate(source, os.path.getsize(source) // 2)
        if moment == "after":
            move(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = moved


def full_disk(number):
    """No space left on the device, halfway through the writing of a file and of all that come after it."""
    import torch

    write, save, count = Path.write_bytes, torch.save, itertools.count(1)

    def written(path, content):
        full = next(count) >= number
        write(path, content[: len(content) // 2] if full else content)
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def saved(content, place):
        if next(count) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, place)

    Path.write_bytes, torch.save = written, saved


def small_files(size):
    """The operating system refuses files above a size in bytes, whatever writes them."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def kill_a_worker(number):
    """SIGKILL to a process as soon as it applies a transform, if it is the one forked at that time from this one."""
    from monai.transforms import RandSpatialCropd

    forks, crop = [], RandSpatialCropd.__call__

    def cropped(self, *args, **kwargs):
        if os.getpid() != here and len(forks) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return crop(self, *args, **kwargs)

    here = os.getpid()
    os.register_at_fork(before=lambda: forks.append(None))
    RandSpatialCropd.__call__ = cropped


def out_of_memory(number):
    """No memory for one call of the network."""
    count = itertools.count(1)

    def refuse():
        if next(count) == number:
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    _before_each_window(refuse)


def slow_network():
    """A tenth of a second for each call of the network."""
    _before_each_window(partial(time.sleep, 0.1))


def count_calls(words):
    """How often a command calls the network."""
    from monai_vafa import __main__ as command_line

    calls = []
    _before_each_window(partial(calls.append, None))
    sys.argv = ["monai_vafa", *map(str, words)]
    command_line.main()
    return len(calls)


def _before_each_window(function):
    from monai.networks.nets import UNet

    forward = UNet.forward

    def called(self, x):
        function()
        return forward(self, x)

    UNet.forward = called
