# SPDX-License-Identifier: Apache-2.0
# Written by tests/transforms/make_stub.py.
# ruff: noqa: E501
# fmt: off
from collections.abc import Hashable, Sequence
from typing import Literal

import torch
from monai.config import KeysCollection

from monai_vafa.attacks import Attack
from monai_vafa.attacks.objective import LossFunction
from monai_vafa.attacks.pgd import Recipe
from monai_vafa.outputs import Activation

from .attack import AttackTransform as AttackTransform
from .quantize import FrequencyQuantize as FrequencyQuantize
from .quantize import RandFrequencyQuantize as RandFrequencyQuantize
from .versions import DictionaryTransform, RandomDictionaryTransform

class AttackTransformd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, attack: Attack, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ...) -> None: ...
AttackTransformD = AttackTransformd
AttackTransformDict = AttackTransformd
class FrequencyQuantized(DictionaryTransform):
    def __init__(self, keys: KeysCollection, q: float = ..., block_size: Sequence[int] | int = ..., intensity_range: Sequence[float] | None = ..., allow_missing_keys: bool = ...) -> None: ...
FrequencyQuantizeD = FrequencyQuantized
FrequencyQuantizeDict = FrequencyQuantized
class RandFrequencyQuantized(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, prob: float = ..., q_range: Sequence[float] = ..., block_size: Sequence[int] | int = ..., intensity_range: Sequence[float] | None = ..., allow_missing_keys: bool = ...) -> None: ...
RandFrequencyQuantizeD = RandFrequencyQuantized
RandFrequencyQuantizeDict = RandFrequencyQuantized
class GN(AttackTransform):
    def __init__(self, network: torch.nn.Module | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., sigma: float = ..., recipe: Recipe = ...) -> None: ...
class GNd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module | None = ..., label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., sigma: float = ..., recipe: Recipe = ...) -> None: ...
GND = GNd
GNDict = GNd
class FGSM(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., eps: float = ..., recipe: Recipe = ...) -> None: ...
class FGSMd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., eps: float = ..., recipe: Recipe = ...) -> None: ...
FGSMD = FGSMd
FGSMDict = FGSMd
class BIM(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., recipe: Recipe = ..., step_size: float | None = ...) -> None: ...
class BIMd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., recipe: Recipe = ..., step_size: float | None = ...) -> None: ...
BIMD = BIMd
BIMDict = BIMd
class PGD(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., recipe: Recipe = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
class PGDd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., recipe: Recipe = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
PGDD = PGDd
PGDDict = PGDd
class MIFGSM(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ...) -> None: ...
class MIFGSMd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ...) -> None: ...
MIFGSMD = MIFGSMd
MIFGSMDict = MIFGSMd
class DIMIFGSM(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ..., diversity: float = ..., smallest: float = ...) -> None: ...
class DIMIFGSMd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ..., diversity: float = ..., smallest: float = ...) -> None: ...
DIMIFGSMD = DIMIFGSMd
DIMIFGSMDict = DIMIFGSMd
class SSA(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ..., copies: int = ..., rho: float = ..., sigma: float = ...) -> None: ...
class SSAd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., decay: float = ..., copies: int = ..., rho: float = ..., sigma: float = ...) -> None: ...
SSAD = SSAd
SSADict = SSAd
class SegPGD(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
class SegPGDd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
SegPGDD = SegPGDd
SegPGDDict = SegPGDd
class CosPGD(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
class CosPGDd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
CosPGDD = CosPGDd
CosPGDDict = CosPGDd
class TsallisPGD(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ..., q_start: float = ..., q_end: float = ...) -> None: ...
class TsallisPGDd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, activation: Activation = ..., ignore_label: int | None = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ..., q_start: float = ..., q_end: float = ...) -> None: ...
TsallisPGDD = TsallisPGDd
TsallisPGDDict = TsallisPGDd
class APGD(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., random_start: bool = ..., shrink_radius: bool = ...) -> None: ...
class APGDd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., random_start: bool = ..., shrink_radius: bool = ...) -> None: ...
APGDD = APGDd
APGDDict = APGDd
class PAdam(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
class PAdamd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., eps: float = ..., step_size: float | None = ..., random_start: bool = ..., restarts: int | None = ...) -> None: ...
PAdamD = PAdamd
PAdamDict = PAdamd
class MinimalNorm(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., norm: Literal['linf', 'l2'] = ..., goal: float = ..., steps: int = ...) -> None: ...
class MinimalNormd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., norm: Literal['linf', 'l2'] = ..., goal: float = ..., steps: int = ...) -> None: ...
MinimalNormD = MinimalNormd
MinimalNormDict = MinimalNormd
class Square(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., eps: float = ..., steps: int = ..., p_init: float = ...) -> None: ...
class Squared(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., eps: float = ..., steps: int = ..., p_init: float = ...) -> None: ...
SquareD = Squared
SquareDict = Squared
class VAFA(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., recipe: Literal['upstream', 'algorithm1'] = ..., q_max: float = ..., q_min: float | None = ..., q_init: float | None = ..., step_size: float = ..., block_size: int | Sequence[int] = ..., similarity: Literal['ssim'] | None = ..., rescale_slices: bool | None = ...) -> None: ...
class VAFAd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., recipe: Literal['upstream', 'algorithm1'] = ..., q_max: float = ..., q_min: float | None = ..., q_init: float | None = ..., step_size: float = ..., block_size: int | Sequence[int] = ..., similarity: Literal['ssim'] | None = ..., rescale_slices: bool | None = ...) -> None: ...
VAFAD = VAFAd
VAFADict = VAFAd
class SA2(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., rho: float = ..., step_size: float = ..., block_size: int | Sequence[int] = ..., band: Literal['all', 'low', 'middle', 'high'] = ..., loss_weight: float = ..., similarity_weight: float = ..., random_start: bool = ...) -> None: ...
class SA2d(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., rho: float = ..., step_size: float = ..., block_size: int | Sequence[int] = ..., band: Literal['all', 'low', 'middle', 'high'] = ..., loss_weight: float = ..., similarity_weight: float = ..., random_start: bool = ...) -> None: ...
SA2D = SA2d
SA2Dict = SA2d
class PFA(AttackTransform):
    def __init__(self, network: torch.nn.Module, roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., step_size: float | None = ..., block_size: int | Sequence[int] = ..., band_weights: Sequence[float] | None = ..., rmse: float = ..., contrast_masking: float = ...) -> None: ...
class PFAd(RandomDictionaryTransform):
    def __init__(self, keys: KeysCollection, network: torch.nn.Module, label_key: Hashable | None = ..., roi_size: Sequence[int] | int | None = ..., sw_batch_size: int = ..., allow_missing_keys: bool = ..., *, loss: LossFunction | None = ..., activation: Activation = ..., ignore_label: int | None = ..., targeted: bool = ..., intensity_range: Sequence[float] | None = ..., amp: Literal['bfloat16', 'float16'] | None = ..., seed: int = ..., progress: bool = ..., steps: int = ..., step_size: float | None = ..., block_size: int | Sequence[int] = ..., band_weights: Sequence[float] | None = ..., rmse: float = ..., contrast_masking: float = ...) -> None: ...
PFAD = PFAd
PFADict = PFAd
