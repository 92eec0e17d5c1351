# SPDX-License-Identifier: Apache-2.0
"""Train with handlers in two processes; a script, so that its processes fork from one that has no threads yet."""

from __future__ import annotations

import sys

import torch
from monai.engines import IterationEvents, SupervisedTrainer
from monai.losses import DiceCELoss
from torch.nn.parallel import DistributedDataParallel

from monai_vafa.attacks import VolumetricFrequencyAttack
from monai_vafa.handlers import AttackHandler, VAFTHandler
from monai_vafa.losses import FrequencyConsistencyLoss

ATTACK = VolumetricFrequencyAttack(steps=2, block_size=4)


def volume_of(rank):
    draw = torch.Generator().manual_seed(10 + rank)
    image = torch.rand(1, 1, 8, 8, 8, generator=draw) * 0.8 + 0.1
    return image, torch.randint(0, 3, (1, 1, 8, 8, 8), generator=draw)


class Network(torch.nn.Module):
    def __init__(self, norm=torch.nn.Identity):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), norm(4), torch.nn.Softplus())
        self.head = torch.nn.Conv3d(4, 3, 1)
        self.idle = torch.nn.Conv3d(4, 3, 1)
        self.idle.requires_grad_(norm is torch.nn.BatchNorm3d)

    def forward(self, image):
        return self.head(self.body(image))


# name: handler, what the network is made with, what DistributedDataParallel is made with
CASES = {
    # In the plain sum each volume counts by itself. The wrapper takes the mean over processes, so to be the sum over
    # the joined batch, the term must count twice.
    "mean_over_volumes": (
        lambda processes: VAFTHandler(
            attack=ATTACK, frequency_loss=FrequencyConsistencyLoss(normalize=False), frequency_weight=1e-3 * processes
        ),
        {},
        {},
    ),
    "batch_norm": (
        lambda processes: VAFTHandler(attack=ATTACK),
        {"norm": torch.nn.BatchNorm3d},
        {"find_unused_parameters": True},
    ),
    "static_graph": (lambda processes: VAFTHandler(attack=ATTACK, clean_weight=0), {}, {"static_graph": True}),
    "attack_every_batch": (lambda processes: AttackHandler(attack=ATTACK), {}, {}),
}


def train(case, image, label, wrap=None, processes=1):
    """Two iterations; returns losses, input, gradients and running statistics of each."""
    make_handler, network_options, wrapper_options = CASES[case]
    inner = Network(**network_options)
    network = inner if wrap is None else wrap(inner, **wrapper_options)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=[{"image": image, "label": label}],
        network=network,
        optimizer=torch.optim.SGD([p for p in inner.parameters() if p.requires_grad], lr=0.1),
        # the mean over volumes of each volume's loss
        loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
    )
    # not among train_handlers, which configs shorten on ranks above 0
    make_handler(processes).attach(trainer)
    seen = []

    @trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def _(engine):
        output = engine.state.output
        losses = {str(key): value.detach().clone() for key, value in output.items() if str(key).startswith("loss")}
        gradients = {name: p.grad.clone() for name, p in inner.named_parameters() if p.grad is not None}
        buffers = {name: buffer.clone() for name, buffer in inner.named_buffers()}
        seen.append({"losses": losses, "image": output["image"].clone(), "gradients": gradients, "buffers": buffers})

    trainer.run()
    return seen


def main(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    seen = {case: train(case, *volume_of(rank), wrap=DistributedDataParallel, processes=2) for case in CASES}
    torch.save(seen, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.start_processes(main, args=(sys.argv[1],), nprocs=2, start_method="fork")
