"""A worker as the site's process sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from signal import Signals

from sealora_client.training.devices.channel import Channel, ChannelClosedError
from sealora_client.training.devices.messages import Failed

_KEPT = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LD_LIBRARY_PATH", "SEALORA_CACHE", "XDG_CACHE_HOME")
_KEPT_KINDS = (
    *("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "ATEN_", "TORCH", "PYTORCH_", "CUDA_", "CUBLAS_", "CUDNN_"),
    *("NVIDIA_", "HF_HOME", "HF_HUB_CACHE", "HIP_", "ROCR_", "BNB_", "TRITON_"),
)
"""What decides how a device computes and where the base model lies. Passwords and tokens are in none of them."""
_TO_END = 5.0
_TO_TAKE = 60.0
"""Seconds."""


class WorkerLostError(Exception):
    """A worker is of no use any more; the text says why, in a few words for a sentence."""


class WorkerProcess:
    """A worker, which starts at once.

    Args:
        device: `cpu`, `cuda:0`, ...
        threads: of the CPU.

    Raises:
        WorkerLostError: it cannot be started.
    """

    def __init__(self, device: str, threads: int) -> None:
        self.device = device
        self._owner = os.getpid()
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_KINDS)}
        places = os.pathsep.join(filter(None, sys.path))
        try:
            process = subprocess.Popen(  # noqa: S603 (this Python, and a module of ours)
                [sys.executable, "-P", "-m", "sealora_client.training.devices.worker", device, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        except OSError as error:
            raise WorkerLostError(f"cannot be started ({error.strerror or type(error).__name__})") from None
        self._process = process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (pipes were asked for)
        self._channel = Channel(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))
        process.stdout.close()
        process.stdin.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def tell(self, message: object) -> None:
        """Sends a message.

        Raises:
            WorkerLostError: it did not take it.
        """
        try:
            self._channel.send(message, _TO_TAKE)
        except ChannelClosedError:
            raise WorkerLostError(self._how_it_ended()) from None
        except TimeoutError:
            raise WorkerLostError(f"took no message for {_TO_TAKE:.0f} s") from None

    def answer(self, seconds: float) -> object:
        """The next answer.

        Args:
            seconds: that it may take to be here.

        Raises:
            WorkerLostError: there is none in time, or it is `Failed`.
        """
        try:
            answer = self._channel.receive(seconds)
        except ChannelClosedError:
            raise WorkerLostError(self._how_it_ended()) from None
        except TimeoutError:
            raise WorkerLostError(f"gave no answer for {seconds:.0f} s") from None
        if isinstance(answer, Failed):
            raise WorkerLostError(f"failed: {answer.reason}")
        return answer

    def has_answer(self) -> bool:
        """Whether there is one, or will be none any more."""
        return self._channel.has_message()

    def end(self) -> None:
        """Ends the process. One that the kernel holds is left to it."""
        self.forget()
        if self._owner == os.getpid():
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_TO_END)

    def forget(self) -> None:
        """Closes the pipes: a process that was forked must not keep a worker alive."""
        self._channel.close()

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        if status < 0:
            return f"was ended by {Signals(-status).name}"
        return f"ended by itself, with status {status}"
