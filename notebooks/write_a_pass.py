# %% [markdown]
# # Write a pass
#
# From an idea to a pass that runs in every call: find the reason to have one, write the rule, look at what it changed,
# let the checks catch a broken version, and measure. [Add a pass](../docs/add_a_pass.md) is the reference.

# %%
import math
import statistics
import time

import torch
from torch import nn

import fxquant
from fxquant import Match, Rule, apply_rules, ops, register_pass

_ = torch.manual_seed(0)

# %% [markdown]
# ## A network, and what is wrong with it
#
# The feed-forward block of a transformer. Its author wrote the GELU by the formula that approximates it with a tanh, in
# a way of his own, with an x in front of the brackets:


# %%
class Gelu(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * x * (1.0 + 0.044715 * x**2)))


model = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), Gelu(), nn.Linear(256, 64)).eval()
data = torch.randn(64, 16, 64)


def quantize(passes=()):
    prepared = fxquant.prepare_fx(model, fxquant.get_default_qconfig_mapping(), (data,), passes=passes)
    fxquant.calibrate(prepared, [data])
    return prepared, fxquant.convert_fx(prepared)


def sqnr_db(quantized):
    with torch.inference_mode():
        return fxquant.compare(model, quantized, data).outputs.sqnr_db


_, before = quantize()
before_db = sqnr_db(before)
print(f"{before_db:.1f} dB")
print(fxquant.explain(before))

# %% [markdown]
# All of it is int8, and yet it is a pity: the formula became nine ops. Each rounds to 8 bits and each reads and writes
# all 256 features. `compare` says what that does: the square has a peak of 12 times its root mean square, so it
# loses most.

# %%
comparison = fxquant.compare(model, before, data)
for row in comparison.worst(2):
    print(f"{row.node:12} alone {row.alone.sqnr_db:.1f} dB, peak {row.accumulated.peak:.0f}")

# %% [markdown]
# ## The idea
#
# The formula is a function of one number, so it could be *one* table of 256 entries. fxquant has such an op:
# `ops.gelu(x, "tanh")`. Is it the same function? Ask before writing a compiler:

# %%
x = torch.linspace(-6, 6, 1001)
difference = (Gelu()(x) - ops.gelu(x, "tanh")).abs().max().item()
print(f"the largest difference is {difference:.1e}")

# %% [markdown]
# ## The rule
#
# A rule is the code before, the code after, and a check between. The pattern stands for the graph as `prepare_fx` has
# it once all spellings are normalized: `0.5 * x`, `x.mul(0.5)` and `torch.mul(x, 0.5)` are all `ops.mul(x, 0.5)`. The
# names of the arguments are the wildcards; `add` and `mul` match in either order.
#
# Constants may be wildcards, too. Here the factor is one, since `math.sqrt(2 / math.pi)` is 0.7979 in one source and
# 0.79788456 in another. `check` refuses what is no such number, with a reason.


# %%
class GeluWrittenOut(Rule):
    def pattern(self, x, factor):
        inner = ops.mul(ops.mul(x, factor), ops.add(ops.mul(ops.pow(x, 2), 0.044715), 1.0))
        return ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(inner), 1.0))

    def check(self, m: Match):
        if not isinstance(m.factor, float) or abs(m.factor - math.sqrt(2 / math.pi)) > 1e-4:
            m.refuse(f"the factor {m.factor} is not the square root of 2 / pi")

    def rewrite(self, m: Match, x, factor):
        return ops.gelu(x, "tanh")


# %% [markdown]
# ## The pass
#
# A pass is a function from graph to graph, with a stage in which it runs. A rewrite of float ops belongs to `normalize`
# or `fuse`, before observers are placed. `optional=True` means that it runs only where a call asks for it.


# %%
@register_pass(stage="fuse", optional=True)
def gelu_written_out(gm):
    """0.5 * x * (1 + tanh(sqrt(2 / pi) * x * (1 + 0.044715 * x ** 2))) -> gelu(x, "tanh")"""
    return apply_rules(gm, [GeluWrittenOut()])


prepared, after = quantize(passes=["gelu_written_out"])
after_db = sqnr_db(after)
print(f"{after_db:.1f} dB")
print(fxquant.explain(after))

# %% [markdown]
# Three ops are left: the table even went into the linear layer in front of it.
#
# ## What changed
#
# `diff` draws two models as one: green was added, red was removed, yellow changed. A notebook shows it:

# %%
changes = fxquant.diff(before, after)
removed = [node.op for node in changes.nodes if node.change == "removed"]
print(removed)
changes

# %% [markdown]
# ## What a mistake looks like
#
# A rule can hardly break a graph. A pass that edits nodes by hand can, and then the compiler says which pass did what,
# at which node, and leaves the model alone. This one replaces the tanh, but forgets who comes first:


# %%
@register_pass(stage="fuse", optional=True)
def out_of_order(gm):
    for node in list(gm.graph.nodes):
        if node.target is ops.tanh:
            with gm.graph.inserting_after(next(iter(node.users))):
                sigmoid = gm.graph.call_function(ops.sigmoid, (node.args[0],))
            node.replace_all_uses_with(sigmoid)
    return gm


try:
    quantize(passes=["out_of_order"])
except fxquant.errors.PassError as error:
    message = str(error)
print(message)

# %% [markdown]
# A graph can be valid and still compute something else. What `prepare_fx` returned computes in float until it is
# converted, so the test of a pass is one line:

# %%
with torch.inference_mode():
    torch.testing.assert_close(prepared(data), model(data), atol=1e-5, rtol=0)

# %% [markdown]
# ## Measure
#
# What did it bring? Less accuracy than `compare` seemed to promise: where the square is large and badly rounded, the
# tanh is 1 whatever it is given. What pays is the time:


# %%
def behind_the_gelu(quantized):
    rows = fxquant.compare(model, quantized, data).rows
    return rows[-2].accumulated.sqnr_db


@torch.inference_mode()
def milliseconds(quantized):
    times = []
    for _ in range(50):
        start = time.perf_counter()
        quantized(data)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


before_gelu_db, after_gelu_db = behind_the_gelu(before), behind_the_gelu(after)
print(f"behind the GELU {before_gelu_db:.1f} dB, with the pass {after_gelu_db:.1f} dB")
print(f"outputs         {before_db:.1f} dB, with the pass {after_db:.1f} dB")
print(f"{milliseconds(before):.2f} ms, with the pass {milliseconds(after):.2f} ms")

# %% [markdown]
# ## For everybody
#
# Without `optional=True` the pass runs in every call. Put it into a package with an entry point, and it does so
# wherever that package is installed:
#
#     [project.entry-points."fxquant.passes"]
#     my_passes = "my_passes"
#
# `fxquant passes` lists it among the built-in ones, with its file and line; `FXQUANT_DEBUG=2` shows what it changes in
# a model, and `3` where its rule refused, and why. Its test is the network above and the assertions of this notebook.
