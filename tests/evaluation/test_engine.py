# SPDX-License-Identifier: Apache-2.0
"""The evaluator is an engine of MONAI's: handlers, metrics and tracking work on it."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.handlers import MeanDice, StatsHandler, from_engine
from monai.transforms import AsDiscreted

ATTACKS = {"gn": {"sigma": 32}}


def test_an_iteration_is_one_attack_on_one_case(evaluator):
    seen = []

    class Spy:
        def attach(self, engine):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

        def __call__(self, engine):
            seen.append((engine.state.batch[0], engine.state.output[0]))

    made = evaluator(attacks=ATTACKS, val_handlers=[Spy(), StatsHandler(iteration_log=False)])
    assert isinstance(made, Evaluator)
    made.run()
    assert [(out["case"], out["attack"]) for _, out in seen] == [
        (f"case{i}", attack) for i in range(3) for attack in ("clean", "gn")
    ]
    batch, output = seen[1]
    assert output["pred"].shape == output["label"].shape == (3, 16, 16, 20)
    assert torch.equal(output["pred"].sum(0), torch.ones(16, 16, 20))
    assert not torch.equal(batch["image"], output["image"])
    assert made.state.iteration == 6


def test_key_metric_and_the_means_of_each_attack(evaluator):
    key = {"mean_dice": MeanDice(include_background=True, output_transform=from_engine(["pred", "label"]))}
    told = []
    handler = StatsHandler(iteration_log=False, epoch_print_logger=lambda engine: told.append({**engine.state.metrics}))
    made = evaluator(attacks=ATTACKS, key_val_metric=key, val_handlers=[handler])
    made.run()
    metrics = made.state.metrics
    assert told == [metrics]
    assert metrics["mean_dice"] == pytest.approx((metrics["clean_dsc"] + metrics["gn_dsc"]) / 2, abs=1e-4)
    assert made.state.best_metric == metrics["mean_dice"]
    assert {"gn_rmse", "gn_nsd_foreground", "gn_changed_voxel_rate"} <= set(metrics)
    assert "gn_lpips" not in metrics


def test_postprocessing(evaluator):
    made = evaluator(attacks=ATTACKS, postprocessing=AsDiscreted("pred", argmax=True))
    shapes = []
    made.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: shapes.append(engine.state.output[0]["pred"].shape)
    )
    made.run()
    assert set(shapes) == {(1, 16, 16, 20)}


def test_without_a_folder_nothing_is_written(evaluator, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    made = evaluator(attacks=ATTACKS, output_dir=None)
    made.run()
    made.run()
    assert sorted(tmp_path.rglob("*")) == before
    assert made.state.metrics["clean_dsc"] > 0
    assert made.state.iteration == 6


def test_failed_cases_shorten_the_epoch(evaluator, datalist):
    made = evaluator(attacks=ATTACKS, cases=[{**datalist[0], "image": "/no/such.nii.gz"}, datalist[1]])
    made.run()
    assert made.state.iteration == 2
    assert list(made.failed) == ["such"]


def test_handler_errors_are_not_taken_for_failed_cases(evaluator):
    made = evaluator(attacks=ATTACKS)

    def fail(engine):
        raise RuntimeError("handler")

    made.add_event_handler(Events.ITERATION_COMPLETED, fail)
    with pytest.raises(RuntimeError, match="handler"):
        made.run()
    assert not made.failed
