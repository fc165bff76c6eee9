"""How far the opened mean is from the true one: Sealora, Flower SecAgg+ and CKKS, and next to DP noise."""

from __future__ import annotations

import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from numpy.typing import NDArray
from seal_masking import FLOWER_CLIP, FLOWER_LEVELS, FLOWER_MODULUS

from sealora_common.entropy import SystemEntropy
from sealora_common.privacy.accounting import calibrate_noise
from sealora_common.recipe import Recipe, load_recipe, parse_recipe
from sealora_common.round.clip_range import initial_range
from sealora_common.round.contribution import Contribution, ContributionLayout, site_weight
from sealora_common.secagg import OpenedSum, RingVector

DELTA_STD = 2e-3
_DEMO = Path(__file__).parents[2] / "configs/demo-icd10.yaml"
_DEMO_RECORDS = (2597, 2125, 3193)  # training records of the demo's three sites
_CKKS_DEGREE, _CKKS_MODULI, _CKKS_SCALE = 8192, (60, 40, 40), 2.0**40  # NVFlare's choice; 4096 slots a ciphertext


def measure(length: int, sites: int) -> dict[str, Any]:
    """Relative L2 errors of the mean of `sites` normal deltas, and what CKKS costs for them."""
    generator = np.random.default_rng(0)
    deltas = [generator.normal(0, DELTA_STD, length).astype(np.float32) for _ in range(sites)]
    mean = np.mean([delta.astype(np.float64) for delta in deltas], axis=0)
    default, wide = _recipe(ring_bits=16), _recipe(ring_bits=32)
    figures: dict[str, Any] = {
        "clip_range_in_std": initial_range(default) / DELTA_STD,
        "rel_error_default": _relative(_sealora_mean(default, deltas, [1.0] * sites), mean),
        "rel_error_32bit": _relative(_sealora_mean(wide, deltas, [1.0] * sites), mean),
        "flower_rel_error": _relative(_flower_mean(deltas), mean),
    }
    for bits in (12, 20, 24):
        opened = _sealora_mean(_recipe(ring_bits=bits), deltas, [1.0] * sites)
        figures[f"rel_error_{bits}bit"] = _relative(opened, mean)
    return figures | _ckks(deltas, mean)


def measure_dp_noise(length: int) -> dict[str, float]:
    """DP noise of the demo recipe on the mean delta, next to the default ring's error in the same mean.

    Every site takes the recipe's AdamW steps in all its rounds along noise alone: the data's gradient is zero. A
    round's deltas are then encoded, added and decoded as in a real round. The
    figure is the least of the rounds' ratios of L2 norms.
    """
    import torch

    from sealora_client.training.gradients.per_example import LARGEST_GRID
    from sealora_client.training.noise.rounded_gaussian import rounded_gaussian
    from sealora_client.training.optimizer import make_optimizer

    torch.set_num_threads(1)
    recipe = load_recipe(_DEMO)
    training, privacy = recipe.training, recipe.privacy
    sigma = calibrate_noise(privacy.epsilon, privacy.delta, training.sample_rate, recipe.accounted_steps)
    weights = [site_weight(recipe, records) for records in _DEMO_RECORDS]
    parameters = [torch.nn.Parameter(torch.zeros(length)) for _ in _DEMO_RECORDS]
    ratios, noises = [], []
    for _ in range(recipe.rounds):
        deltas = []
        for parameter, records in zip(parameters, _DEMO_RECORDS, strict=True):
            optimizer = make_optimizer(training, [parameter])
            before = parameter.detach().clone()
            for _ in range(training.steps_per_round):
                steps = rounded_gaussian(SystemEntropy(), length, sigma * LARGEST_GRID)
                noise = steps * (privacy.clip_norm / LARGEST_GRID)
                parameter.grad = torch.from_numpy(noise / (training.sample_rate * records)).float()
                optimizer.step()
            deltas.append((parameter.detach() - before).numpy())
        mean = np.average([delta.astype(np.float64) for delta in deltas], axis=0, weights=weights)
        error = float(np.linalg.norm(_sealora_mean(recipe, deltas, weights) - mean))
        noises.append(float(np.linalg.norm(mean)))
        ratios.append(noises[-1] / error)
    return {
        "dp_noise_to_error": min(ratios),
        "dp_noise_to_error_first_round": ratios[0],
        "dp_noise_per_coordinate": min(noises) / math.sqrt(length),
        "dp_noise_multiplier": sigma,
    }


def _recipe(ring_bits: int) -> Recipe:
    """The default recipe: 4 AdamW steps at 2e-3, whose public range is 0.012, six standard deviations."""
    return parse_recipe(f"{{name: bench, rounds: 1, model: {{base: none}}, sealing: {{ring_bits: {ring_bits}}}}}")


def _sealora_mean(recipe: Recipe, deltas: list[NDArray[np.float32]], weights: list[float]) -> NDArray[np.float64]:
    """The mean that the server decodes. Masks are left out: they cancel exactly."""
    layout = ContributionLayout(len(deltas[0]), len(deltas), recipe.sealing.ring_bits, initial_range(recipe))
    total = RingVector.zeros(layout.segments)
    for delta, weight in zip(deltas, weights, strict=True):
        total.add_(layout.encode(Contribution(delta, weight, heldout_loss=1.0), SystemEntropy()))
    total.reduce_()
    return layout.decode(OpenedSum(total, tuple(range(len(deltas))))).mean_delta


def _flower_mean(deltas: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The mean that Flower's server decodes, at the weight that suits it best (`max_weight` examples at every site)."""
    total = sum(quantize([delta], FLOWER_CLIP, FLOWER_LEVELS)[0].astype(np.int64) for delta in deltas)
    (decoded,) = dequantize([total % FLOWER_MODULUS], FLOWER_CLIP, FLOWER_LEVELS)
    # Each delta but the first brings the range's lower end once more.
    return (decoded - (len(deltas) - 1) * FLOWER_CLIP) / len(deltas)


def _ckks(deltas: list[NDArray[np.float32]], mean: NDArray[np.float64]) -> dict[str, Any]:
    """Error, bytes and times of CKKS. Times are scaled from `len(mean)` parameters to ten million."""
    keys = ("bytes_per_param", "rel_error", "encrypt_seconds_10m", "add_seconds_10m", "note")
    try:
        import tenseal
    except ImportError:
        reason = "TenSEAL is not installed: pip install 'sealora[bench]'"
        return dict.fromkeys([f"ckks_{key}" for key in keys], None) | {"ckks_note": reason}
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, _CKKS_DEGREE, coeff_mod_bit_sizes=list(_CKKS_MODULI), n_threads=1
    )
    context.global_scale = _CKKS_SCALE
    slots = _CKKS_DEGREE // 2
    encrypting, adding, sizes, decrypted = [], [], [], []
    for start in range(0, len(mean), slots):
        total = None
        for delta in deltas:
            piece = delta[start : start + slots].astype(np.float64)
            started = time.perf_counter()
            ciphertext = tenseal.ckks_vector(context, piece)
            encrypting.append(time.perf_counter() - started)
            if total is None:
                sizes.append(len(ciphertext.serialize()))
                total = ciphertext
                continue
            started = time.perf_counter()
            total += ciphertext
            adding.append(time.perf_counter() - started)
        assert total is not None
        decrypted.append(np.array(total.decrypt()) / len(deltas))
    pieces = 10_000_000 / slots
    return {
        "ckks_bytes_per_param": sum(sizes) / len(mean),
        "ckks_rel_error": _relative(np.concatenate(decrypted), mean),
        "ckks_encrypt_seconds_10m": statistics.median(encrypting) * pieces,
        "ckks_add_seconds_10m": statistics.median(adding) * pieces,
        "ckks_note": f"times are scaled from {len(mean)} parameters at {len(deltas)} sites",
    }


def _relative(opened: NDArray[np.float64], mean: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(opened - mean) / np.linalg.norm(mean))
