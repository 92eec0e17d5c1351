# SPDX-License-Identifier: Apache-2.0
"""Train UNETR++ in two processes; a script, because spawned processes must be able to import what they run."""

from __future__ import annotations

import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from monai_vafa.networks import UNETRPP


def train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for deep_supervision in (False, True):
        torch.manual_seed(rank)
        network = UNETRPP(
            img_size=(8, 16, 16),
            patch_size=1,
            dims=(4, 8, 16, 32),
            depths=1,
            num_heads=2,
            proj_sizes=4,
            decoder_depth=1,
            decoder_proj_size=4,
            deep_supervision=deep_supervision,
        )
        parallel = DistributedDataParallel(network)
        # A parameter that was left out of one step is noticed at the start of the next.
        for _ in range(3):
            outputs = parallel(torch.rand(2, 1, 8, 16, 16))
            sum(output.square().mean() for output in (outputs if deep_supervision else [outputs])).backward()
            checksum = torch.stack([p.grad.sum() for p in network.parameters() if p.requires_grad])
            others = [torch.empty_like(checksum) for _ in range(2)]
            torch.distributed.all_gather(others, checksum)
            if not torch.equal(*others):
                raise RuntimeError(f"gradients differ between the processes, deep_supervision={deep_supervision}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(train, args=(sys.argv[1],), nprocs=2)
