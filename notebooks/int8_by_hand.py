# %% [markdown]
# # Int8 by hand
#
# An int8 network multiplies small integers and adds them up. This notebook computes a linear layer that way, with
# nothing but a few lines of integer arithmetic, and then two of them in a row. In the end every byte is compared with
# what fxquant's kernels give. [Int8 arithmetic](../docs/int8_arithmetic.md) is the same as a reference.

# %%
import torch
from torch import nn

from fxquant import (
    QConfig,
    QConfigMapping,
    convert_fx,
    default_observer,
    default_per_channel_weight_observer,
    prepare_fx,
    without,
)

_ = torch.manual_seed(0)

# %% [markdown]
# ## A real number as a byte
#
# Two numbers say what the integers of a tensor mean. The *scale* is the distance of two neighbouring integers, and the
# *zero point* is the integer that stands for 0.0:
#
#     q = clamp(round(x / scale) + zero_point, quant_min, quant_max)
#     x = (q - zero_point) * scale


# %%
def quantize(x, scale, zero_point, quant_min=0, quant_max=255):
    return (torch.round(x / scale) + zero_point).clamp(quant_min, quant_max).int()


def dequantize(q, scale, zero_point):
    return (q - zero_point) * scale


x = torch.tensor([-1.0, 0.0, 0.26, 1.0, 20.0])
q = quantize(x, scale=0.1, zero_point=10, quant_min=-128, quant_max=127)
print(q)
print(dequantize(q, 0.1, 10))

# %% [markdown]
# Three things can happen. A multiple of the scale comes back as it was. 0.26 is *rounded* to 0.3: no number within
# the range is off by more than half a scale. And 20.0 *saturates*: its integer would be 210, which a signed byte does
# not hold, so it comes back as 11.7. 0.0 is always exact. That matters more than it seems: the padding of a
# convolution consists of zeros, and so does most of what a relu gives.
#
# `torch.round` rounds a half to the even neighbour (2.5 to 2, 3.5 to 4), so that halves cause no drift.

# %% [markdown]
# ## Where scale and zero point come from
#
# A range of real numbers is spread over 256 integers. The range must contain 0.0, or there would be no zero point. An
# *observer* watches the data for its range:


# %%
def choose_qparams(x):
    low, high = x.min().clamp(max=0.0), x.max().clamp(min=0.0)
    scale = (high - low) / 255
    return scale.item(), int(torch.round(-low / scale))


activations = torch.randn(1000) * 2 + 1
observer = default_observer()
observer(activations)
print(choose_qparams(activations))
print(observer.calculate_qparams())

# %% [markdown]
# One bit more means half the scale, hence half the error: 6 dB. The signal-to-noise ratio (SQNR) is the measure used
# everywhere in these notebooks. An outlier that doubles the range costs the same 6 dB:


# %%
def sqnr_db(reference, value):
    return (10 * torch.log10(reference.square().sum() / (reference - value).square().sum())).item()


def rounded(x):
    scale, zero_point = choose_qparams(x)
    return dequantize(quantize(x, scale, zero_point), scale, zero_point)


with_outlier = torch.cat([activations, (2 * activations.max() - activations.min())[None]])
plain_db, outlier_db = sqnr_db(activations, rounded(activations)), sqnr_db(activations, rounded(with_outlier)[:-1])
print(f"{plain_db:.1f} dB, with one outlier {outlier_db:.1f} dB")

# %% [markdown]
# ## A linear layer
#
# Put `x = s_x (q_x - z_x)` and `w = s_w (q_w - z_w)` into the sum over the K inputs of a layer, and multiply out:
#
#     sum x w = s_x s_w (sum q_x q_w - z_x sum q_w - z_w sum q_x + K z_x z_w)
#
# What the brackets hold is integers only. The last term is often quoted without its K. Here is the whole formula, on a
# layer whose weights have a zero point, too, in 64-bit integers:

# %%
K, N = 64, 8
x, w = torch.rand(5, K) * 4 - 1, torch.randn(N, K) + 0.3
(s_x, z_x), (s_w, z_w) = choose_qparams(x), choose_qparams(w)
q_x, q_w = quantize(x, s_x, z_x).long(), quantize(w, s_w, z_w).long()

bracket = q_x @ q_w.T - z_x * q_w.sum(1) - z_w * q_x.sum(1, keepdim=True) + K * z_x * z_w
assert torch.equal(bracket, (q_x - z_x) @ (q_w - z_w).T)  # the algebra is exact: not one integer differs

without_k = bracket - K * z_x * z_w + z_x * z_w
linear_db, without_k_db = (sqnr_db(x @ w.T, integers * s_x * s_w) for integers in (bracket, without_k))
print(f"{linear_db:.1f} dB; without the K: {without_k_db:.1f} dB")

# %% [markdown]
# ## Less to compute
#
# Of the four terms only `sum q_x q_w` has to be computed for each input.
#
# - Weights are quantized *symmetrically*, from -127 to 127 with zero point 0: the third term and the fourth vanish.
# - They get a scale *for each output*, since the outputs of a layer may have weights of very different size. It costs
#   nothing: `s_w` is then a vector that multiplies the sums of the outputs one by one.
# - `z_x sum q_w` and the bias are known in advance. In units of `s_x s_w` the bias is an integer, too.
# - The output is needed as bytes. Instead of `s_x s_w` the sum is multiplied by `s_x s_w / s_y`, rounded, shifted by
#   `z_y` and clamped. This step is called *requantize*, and if a relu follows, it is free: the clamp begins at `z_y`.


# %%
def quantize_weight(w):
    scale = w.abs().amax(1) / 127
    return quantize(w, scale[:, None], 0, -127, 127), scale


def int8_linear(q_x, s_x, z_x, w, b, s_y, z_y, relu=False):
    q_w, s_w = quantize_weight(w)
    q_b = torch.round(b.double() / (s_x * s_w.double())).long()
    acc = q_x.long() @ q_w.T.long() - z_x * q_w.sum(1) + q_b
    multiplier = (s_x * s_w.double() / s_y).float()
    return (torch.round(acc.float() * multiplier) + z_y).clamp(z_y if relu else 0, 255).int()


# %% [markdown]
# ## Two layers, and no conversion between them
#
# A float model of two layers. Calibration (one call here) tells the range of its input, of the value behind the relu,
# and of its output:

# %%
model = nn.Sequential(nn.Linear(K, 32), nn.ReLU(), nn.Linear(32, N)).eval()
data = torch.rand(256, K) * 4 - 1
with torch.no_grad():
    hidden, output = model[:2](data), model(data)
(s_0, z_0), (s_1, z_1), (s_2, z_2) = map(choose_qparams, (data, hidden, output))

with torch.no_grad():
    q_0 = quantize(data, s_0, z_0)
    q_1 = int8_linear(q_0, s_0, z_0, model[0].weight, model[0].bias, s_1, z_1, relu=True)
    q_2 = int8_linear(q_1, s_1, z_1, model[2].weight, model[2].bias, s_2, z_2)
by_hand = dequantize(q_2, s_2, z_2)
hand_db = sqnr_db(output, by_hand)
print(f"{hand_db:.1f} dB; zero points {z_0}, {z_1}, {z_2}")

# %% [markdown]
# Between the layers there are bytes, and nothing else: the output's scale and zero point of the first are the input's
# of the second. That is what calibrating beforehand (*static* quantization) buys. A *dynamic* layer looks for the
# minimum and maximum of its input when the input is there. It cannot know `s_1` before the last sum of the first layer
# is done, so the sums have to be written as float, searched, and read again to be rounded.
#
# Also note `z_1 = 0`: behind a relu no integer is wasted on negative numbers.

# %% [markdown]
# ## The same from fxquant
#
# The same observers, the same data. Two passes are left out, which do more than was done above: one takes the mean
# error of the rounded weights off the biases, the other leaves outputs that nothing reads in int8 unrounded. The layers
# of the quantized model then hold the integers that were computed above:

# %%
qconfig = QConfig(activation=default_observer, weight=default_per_channel_weight_observer)
prepared = prepare_fx(model, QConfigMapping().set_global(qconfig), (data,))
prepared(data)
quantized = convert_fx(prepared, passes=[without("convert_biases"), without("convert_float_reads")])
print(quantized)

state = quantized.state_dict()
same_weights = torch.equal(state["0.weight"], quantize_weight(model[0].weight)[0])
same_outputs = torch.equal(quantized(data), by_hand)
assert same_weights
assert same_outputs  # every one, bit for bit, on every instruction set

# %% [markdown]
# ## Will the sum fit?
#
# The kernels add up in 32 bits. The largest product is 255 x 128, so K of them stay below 2^31 as long as K is at most
# 65,793. Longer sums stay in float.

# %%
longest = (2**31 - 1) // (255 * 128)
print(longest)
