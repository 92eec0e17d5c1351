# SPDX-License-Identifier: Apache-2.0
"""What users might give: volumes of any shape, dtype, layout and content, labels, affines, damaged files, options."""

from __future__ import annotations

import gzip
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from monai.data import MetaTensor

from monai_vafa import losses

FLOATS = ("float32", "float64", "float16", "bfloat16", ">f4", ">f8")
INTEGERS = ("uint8", "int16", "int64", "bool", ">i2")
DTYPES = (*FLOATS, *INTEGERS, "complex64")
LAYOUTS = ("plain", "plain", "transposed", "reversed", "every_second", "channels_last", "expanded", "frozen")
CONTENTS = (*["unit"] * 5, "constant", "zero", "nan", "inf", "huge", "tiny", "negative", "hounsfield")
# Of a parameter that means a number, a choice or a switch: what JSON, a command line or NumPy makes of it.
VALUES = (
    *(None, True, False, 0, 1, 2, 3, 4, 8, -1, -3, 255, 10**9, 2**63, 10**400, 0.0, 0.5, 2.5, -0.5, 1e-30, 1e30, -1e30),
    *(math.nan, math.inf, -math.inf, "4", "4.0", "", "true", "None", "softmax", "sigmoid", "tuned", "upstream", "ssim"),
    *("algorithm1", "bfloat16", "float16", "float64", "$1", "@network", [], [4], [4, 4, 4], (2, 2), [0, 1], [1, 0]),
    *([0.0, math.nan], ["a", "b"], [None, None], [-1, 1], (0, 255), (1, 2, 3, 4), {}, {"a": 1}, {1}, b"4", 4j),
    *(np.int64(4), np.float32(4.5), np.float64("nan"), np.bool_(True), np.array(4.0), np.array([4, 4]), np.array([])),
    *(torch.tensor(4.0), torch.tensor([4, 4]), torch.float32, int, len, object(), "a" * 300, "é\n"),
)

# What an editor may put into a JSON file.
JSON_VALUES = (None, True, False, 0, 1, -1, 2.5, 10**9, "", "text", "$1", "@network", "$nosuch", [], [1], {}, {"a": 1})
# Of logits and labels.
LOSSES = (
    *(losses.DiceCrossEntropyLoss, losses.SoftDiceLoss, losses.CosPGDLoss, losses.SegPGDLoss),
    *(losses.MaskedCrossEntropyLoss, losses.JensenShannonLoss, losses.TsallisLoss, losses.CosineLoss),
)
# What an attack takes to be quick on volumes of 6 to 8 voxels a side.
QUICK = {"steps": 2, "block_size": 4}


class Judged(torch.nn.Module):
    """A small network of images and volumes with everything that an attack could leave a trace in."""

    def __init__(self, classes=3):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            conv, last = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Conv3d(4, classes, 1)
        self.body = torch.nn.Sequential(conv, torch.nn.BatchNorm3d(4), torch.nn.Softplus(), torch.nn.Dropout(), last)
        self.fixed = torch.nn.Parameter(torch.ones(1), requires_grad=False)
        conv.weight.grad = torch.ones_like(conv.weight)
        self.body[2].eval()

    def forward(self, x):
        volume = x.mean(1, keepdim=True)
        return self.body(volume if x.ndim == 5 else volume[..., None]).reshape(len(x), -1, *x.shape[2:]) * self.fixed


def shapes(max_dims: int = 6, voxels: int = 6000) -> st.SearchStrategy:
    """Shapes of few enough voxels."""

    def smaller(shape: tuple[int, ...]) -> tuple[int, ...]:
        sides = list(shape)
        while math.prod(sides) > voxels:
            sides[sides.index(max(sides))] //= 2
        return tuple(sides)

    return array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=12).map(smaller)


@st.composite
def volumes(
    draw: Any,
    shape: st.SearchStrategy | None = None,
    dtypes: tuple[str, ...] = DTYPES,
    layouts: tuple[str, ...] = LAYOUTS,
    contents: tuple[str, ...] = CONTENTS,
    kinds: tuple[str, ...] = ("tensor", "array", "meta"),
) -> Any:
    """A tensor, NumPy array or MetaTensor."""
    size = draw(shapes() if shape is None else shape)
    dtype, layout, content = (draw(st.sampled_from(each)) for each in (dtypes, layouts, contents))
    values = filled(size, content, draw(st.integers(0, 999)))
    if dtype in INTEGERS and dtype != "bool" and np.abs(values).max(initial=0) <= 1:
        values = values * 3  # classes rather than zeros
    return arranged(values, dtype, layout, draw(st.sampled_from(kinds)))


def filled(shape: tuple[int, ...], content: str, seed: int) -> np.ndarray:
    """Float64 values of a kind."""
    rng = np.random.default_rng(seed)
    values = rng.random(shape) * 0.8 + 0.1
    scale = {"huge": 1e30, "tiny": 1e-30, "negative": -1.0, "zero": 0.0}.get(content, 1.0)
    if content == "constant":
        values = np.full(shape, rng.choice([0.5, 1.0, 1 / 3]))
    elif content == "hounsfield":
        values = values * 3000 - 1200
    elif content in ("nan", "inf") and values.size:
        values = np.array(values)
        values.reshape(-1)[rng.integers(values.size)] = rng.choice([1, -1]) * getattr(np, content)
    return np.asarray(values * scale)


def arranged(values: np.ndarray, dtype: str, layout: str, kind: str = "tensor") -> Any:
    """The values in a dtype and in a layout of memory."""
    with np.errstate(all="ignore"):
        array = np.array(values, "float32" if dtype == "bfloat16" else dtype)
    if layout == "transposed":
        array = array.T.copy().T
    elif layout == "reversed" and array.ndim:
        array = np.flip(np.flip(array).copy())
    elif layout == "every_second" and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == "expanded" and array.ndim:
        array = np.broadcast_to(array[..., :1], array.shape)
    elif layout == "frozen":
        array.flags.writeable = False
    if dtype != "bfloat16" and (kind == "array" or array.dtype.byteorder == ">"):
        return array
    # Torch has neither negative strides nor memory that is frozen.
    kept = array.flags.writeable and layout != "reversed"
    tensor = torch.from_numpy(array if kept else array.copy())
    if layout == "expanded" and array.ndim:
        tensor = tensor[..., :1].expand(array.shape)
    if dtype == "bfloat16":
        tensor = tensor.bfloat16()
    if layout == "channels_last" and tensor.ndim in (4, 5):
        tensor = tensor.to(memory_format=torch.channels_last_3d if tensor.ndim == 5 else torch.channels_last)
    if layout == "frozen" and tensor.is_floating_point():
        tensor.requires_grad_()
    return MetaTensor(tensor, affine=torch.eye(4)) if kind == "meta" else tensor


@st.composite
def labels(draw: Any, shape: tuple[int, ...], classes: int = 3) -> Any:
    """A class map, usually right, else with values or dtypes that no class map has."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = rng.integers(0, classes, shape).astype(float)
    dtype = draw(st.sampled_from(("int64", "int64", "uint8", *DTYPES)))
    wrong = draw(st.sampled_from((None, None, None, None, 255.0, -1.0, -200.0, 0.5, 1e9, math.nan, math.inf, classes)))
    if wrong is not None and values.size:
        values.reshape(-1)[rng.integers(values.size)] = wrong
    kinds = st.sampled_from(("tensor", "array", "meta"))
    return arranged(values, dtype, draw(st.sampled_from(LAYOUTS[:5])), draw(kinds))


def fields_of(attack: type) -> list[str]:
    """Names of the parameters of an attack."""
    return [field.name for field in fields(attack) if field.init]


def typos(name: str) -> st.SearchStrategy[str]:
    """A name with a letter left out, doubled or in capitals."""
    places = st.integers(0, len(name) - 1)
    return st.one_of(
        places.map(lambda i: name[:i] + name[i + 1 :]),
        places.map(lambda i: name[:i] + name[i] + name[i:]),
        st.just(name.upper()),
        st.just(f"{name}_"),
    ).filter(lambda typo: typo and typo != name and typo.isidentifier())


values = st.one_of(
    st.sampled_from(VALUES),
    st.floats(),
    st.integers(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-2, 9), st.floats(), st.none(), st.text(max_size=2)), max_size=4),
)


@st.composite
def affines(draw: Any) -> np.ndarray:
    """Of a scanner, turned, mirrored, sheared; or such as no scanner gives."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    kind = draw(
        st.sampled_from(
            (*["plain"] * 4, "axes", "mirrored", "turned", "sheared", "singular", "zero", "huge", "tiny", "nan", "inf")
        )
    )
    affine = np.diag([*rng.uniform(0.5, 3, 3), 1.0])
    if kind == "axes":
        affine[:3, :3] = affine[:3, :3][:, rng.permutation(3)]
    elif kind == "mirrored":
        affine[:3, :3] *= rng.choice([-1, 1], 3)
    elif kind == "turned":
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ affine[:3, :3]
    elif kind == "sheared":
        affine[:3, :3] += rng.uniform(-0.5, 0.5, (3, 3))
    elif kind == "singular":
        affine[:, 1] = affine[:, 0]
    elif kind == "zero":
        affine[:3, :3] = 0
    elif kind in ("huge", "tiny"):
        affine[:3, :3] *= 1e30 if kind == "huge" else 1e-30
    elif kind in ("nan", "inf"):
        affine[0, rng.integers(4)] = getattr(np, kind)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


@st.composite
def nifti_files(draw: Any, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of 2 to 4 axes, of any dtype and content, and an affine."""
    shapes_of_files = [*[(6, 7, 8)] * 8, (8, 8, 8), (6, 7, 8, 1), (6, 7, 8, 2), (6, 7), (6, 7, 1), (1, 1, 1)]
    size = draw(st.sampled_from(shapes_of_files)) if shape is None else shape
    dtype = draw(st.sampled_from(("float32", "float64", "int16", "uint8", ">f4", ">i2", "int32", "complex64")))
    array = filled(size, draw(st.sampled_from(CONTENTS)), draw(st.integers(0, 99)))
    with np.errstate(all="ignore"):
        array = array.astype(dtype)
    return array, draw(affines())


def nifti(array: np.ndarray, affine: np.ndarray) -> bytes:
    """A compressed NIfTI file, also with an affine that nibabel would not write."""
    content = bytearray(nib.Nifti1Image(array, np.eye(4), dtype=array.dtype).to_bytes())
    content[252:256] = np.array([0, 2], "<i2").tobytes()  # qform_code and sform_code
    content[280:328] = affine[:3].astype("<f4").tobytes()
    return gzip.compress(bytes(content), 1)


@st.composite
def damages(draw: Any) -> Any:
    """A function that damages a file: cut off, a bit turned, emptied, replaced, made a folder or taken away."""
    kind = draw(
        st.sampled_from(("cut", "cut", "bit", "bit", "bits", "empty", "text", "zeros", "folder", "gone", "twice"))
    )
    place = draw(st.floats(0, 1))
    seed = draw(st.integers(0, 999))

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        at = min(int(place * len(content)), max(len(content) - 1, 0))
        if kind in ("folder", "gone"):
            path.unlink()
            if kind == "folder":
                path.mkdir()
            return
        if kind == "cut":
            content = content[:at]
        elif kind in ("bit", "bits") and content:
            rng = np.random.default_rng(seed)
            for each in [at] if kind == "bit" else rng.integers(0, len(content), 20):
                content[each] ^= 1 << int(rng.integers(8))
        elif kind != "bit":
            content = {"empty": b"", "text": b"not what it should be\n", "zeros": bytes(len(content))}.get(
                kind, content + content
            )
        path.write_bytes(bytes(content))

    damage.__name__ = kind
    return damage
