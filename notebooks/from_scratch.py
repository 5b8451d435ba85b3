# %% [markdown]
# # fxquant from scratch
#
# A quantizing compiler in 250 lines, which really runs: it takes a small CNN as its author wrote it and ends with
# integer arithmetic. Each step is a function from graph to graph, shown on the same network, and held against what
# fxquant gives after the same step. In the end both give the same bytes.
#
# The real one has more of everything (ops, spellings, observers, kernels), but the same steps in the same order:
#
#     trace - normalize - fuse - observe - convert - fold - lower
#
# [Int8 by hand](int8_by_hand.py) explains the arithmetic that is used here.

# %%
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

import fxquant

torch.manual_seed(0)


class SmallNet(nn.Module):
    """A convolution, a residual block, pooling, a classifier. relu is spelled in three ways."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, x):
        x = F.max_pool2d(self.stem(x), 2)
        y = self.norm(self.conv(x)).relu()
        x = torch.relu(self.conv(y) + x)
        return self.head(F.max_pool2d(x, 2).flatten(1))


model, data = SmallNet(), torch.randn(64, 3, 16, 16)
for _ in range(20):
    model(data)  # so that the batch norms have seen something
model.eval()
with torch.no_grad():
    expected = model(data)

# %% [markdown]
# ## The graph
#
# A graph is a list of nodes in running order. A node is an op, the nodes whose values it reads, and its settings, which
# are constants. The last node is the result.


# %%
@dataclass(eq=False)
class Node:
    op: str
    inputs: list["Node"] = field(default_factory=list)
    settings: dict = field(default_factory=dict)


def users(graph, node):
    return [user for user in graph if node in user.inputs]


def show(graph):
    names = {node: f"{node.op}_{i}" for i, node in enumerate(graph)}
    for node in graph:
        settings = [f"{k}={tuple(v.shape) if isinstance(v, torch.Tensor) else v}" for k, v in node.settings.items()]
        print(f"{names[node]:13} = {node.op}({', '.join([*(names[x] for x in node.inputs), *settings])})")


# %% [markdown]
# ## Trace, and normalize on the way
#
# PyTorch hands every function that is called on an object with `__torch_function__` to that object. So an object that
# writes down what it is asked to do, and does it, turns a run of the model into a list.
#
# `relu` may arrive as `F.relu`, `torch.relu` or a method, with positional or keyword arguments. The first thing a
# compiler should do is to forget about this: `SPELLINGS` says what each function that users call means in *our* few
# ops, and no later step ever sees another spelling.

# %%
SPELLINGS = {}


def spelling(*functions):
    """The decorated function takes a call's arguments apart: op, the traced inputs, the constants."""

    def register(normal_form):
        SPELLINGS.update(dict.fromkeys(functions, normal_form))
        return normal_form

    return register


@spelling(F.conv2d)
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if (stride, dilation, groups) != ((1, 1), (1, 1), 1):
        raise NotImplementedError("stride, dilation and groups are left as an exercise")
    return "conv2d", [x], {"weight": weight, "bias": bias, "padding": padding[0]}


@spelling(F.linear)
def linear(x, weight, bias=None):
    return "linear", [x], {"weight": weight, "bias": bias}


@spelling(F.batch_norm)
def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    return "batch_norm", [x], {"mean": mean, "var": var, "gamma": weight, "beta": bias, "eps": eps}


@spelling(F.relu, torch.relu)
def relu(x, inplace=False):
    return "relu", [x], {}


@spelling(torch.add)
def add(x, y):
    return "add", [x, y], {}


@spelling(F.max_pool2d)
def max_pool2d(x, kernel_size, *_, **__):
    return "max_pool2d", [x], {"size": kernel_size}


@spelling(torch.flatten)
def flatten(x, start_dim):
    return "flatten", [x], {"start_dim": start_dim}


# %% [markdown]
# The tracer computes on example values while it writes. So whatever the model asks about a value (its rank, its size)
# has an answer. Tracing is finished in twenty lines:


# %%
class Traced:
    def __init__(self, graph, node, value):
        self.graph, self.node, self.value = graph, node, value

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        graph = next(a.graph for a in args if isinstance(a, Traced))
        op, inputs, settings = SPELLINGS[function](*args, **(kwargs or {}))
        node = Node(op, [x.node for x in inputs], settings)
        graph.append(node)
        return Traced(graph, node, MEANING[op](*(x.value for x in inputs), **settings))

    def __add__(self, other):
        return torch.add(self, other)

    def __getattr__(self, name):  # methods: those that are ops, and questions such as dim()
        function = getattr(torch, name, None)
        return (lambda *args: function(self, *args)) if function in SPELLINGS else getattr(self.value, name)


def trace(model, example):
    graph = [Node("input")]
    with torch.no_grad():
        model(Traced(graph, graph[0], example))
    return graph


# %% [markdown]
# What an op *is*, is said once, as a function of tensors. Whoever has the graph and this table can run it. That is
# the rule for all that follows: after each step the graph runs, so each step can be tested.

# %%
MEANING = {
    "conv2d": lambda x, weight, bias, padding: F.conv2d(x, weight, bias, padding=padding),
    "linear": lambda x, weight, bias: F.linear(x, weight, bias),
    "batch_norm": lambda x, mean, var, gamma, beta, eps: F.batch_norm(x, mean, var, gamma, beta, False, 0.0, eps),
    "relu": lambda x: x.clamp(min=0),
    "add": lambda x, y: x + y,
    "max_pool2d": lambda x, size: F.max_pool2d(x.float(), size).to(x.dtype),
    "flatten": lambda x, start_dim: x.flatten(start_dim),
}


@torch.no_grad()
def run(graph, x, watch=lambda node, value: None):
    values = {graph[0]: x}
    for node in graph:
        if node.op != "input":
            values[node] = MEANING[node.op](*(values[i] for i in node.inputs), **node.settings)
        watch(node, values[node])
    return values[graph[-1]]


graph = trace(model, data[:1])
show(graph)
assert torch.equal(run(graph, data), expected)

# %% [markdown]
# ## Fuse
#
# With fixed statistics a batch norm multiplies each channel by a constant and adds another one. The convolution in
# front of it can do both for free:
#
#     batch_norm(conv(x, w, b))  ->  conv(x, w * k, (b - mean) * k + beta)        k = gamma / sqrt(var + eps)
#
# That changes the weights of the convolution, so nobody else may read its value. (`self.conv` is called twice in
# `forward`, and one of the calls has no batch norm: each call is a node with settings of its own, so that goes well.)


# %%
def fuse_batch_norm(graph):
    for norm in [n for n in graph if n.op == "batch_norm"]:
        (conv,) = norm.inputs
        if conv.op != "conv2d" or len(users(graph, conv)) > 1:
            continue
        s, weight = norm.settings, conv.settings["weight"].double()
        k = s["gamma"].double() / torch.sqrt(s["var"].double() + s["eps"])
        bias = 0.0 if conv.settings["bias"] is None else conv.settings["bias"].double()
        conv.settings["weight"] = (weight * k[:, None, None, None]).float()
        conv.settings["bias"] = ((bias - s["mean"].double()) * k + s["beta"].double()).float()
        for user in users(graph, norm):
            user.inputs = [conv if x is norm else x for x in user.inputs]
        graph.remove(norm)
    return graph


graph = fuse_batch_norm(graph)
show(graph)
assert torch.allclose(run(graph, data), expected, atol=1e-5)

# %% [markdown]
# ## Observe
#
# Which values will exist as bytes? Not all of them. A relu behind a convolution will be the lower bound of the
# convolution's rounding, and an addition behind a convolution will be one more summand in front of it. So the
# convolution's own value never exists, and its range is of no interest. (To observe it all the same is a classic
# mistake, which costs half of the codes: [accuracy](../docs/accuracy.md) has an example of ten decibels.)
#
# Pooling and flatten give numbers that they were given; their output has the scale of their input.

# %%
MOVES = ("max_pool2d", "flatten")


def absorbed(graph, node):
    readers = users(graph, node)
    if len(readers) != 1 or node.op not in ("conv2d", "linear", "add"):
        return False
    return readers[0].op == "relu" or (readers[0].op == "add" and node.op == "conv2d")


def observe(graph, data):
    """What each value that will be bytes looks like: node -> (scale, zero_point)."""
    ranges = {}

    def watch(node, value):
        if not absorbed(graph, node) and node.op not in MOVES:
            ranges[node] = value.min().clamp(max=0.0), value.max().clamp(min=0.0)

    run(graph, data, watch)
    qparams = {}
    for node in graph:
        if node in ranges:
            low, high = ranges[node]
            scale = (high - low) / 255
            qparams[node] = scale.item(), int(torch.round(-low / scale))
        elif node.op in MOVES:
            qparams[node] = qparams[node.inputs[0]]
    return qparams


qparams = observe(graph, data)
for node, (scale, zero_point) in qparams.items():
    print(f"{node.op:12} scale {scale:.5f}, zero point {zero_point}")

# %% [markdown]
# fxquant has come this far with `prepare_fx` and a few batches. With the observers of the toy (minimum and maximum) it
# should have found the same numbers, and it did:

# %%
qconfig = fxquant.QConfig(fxquant.default_observer, fxquant.default_per_channel_weight_observer)
mapping = fxquant.QConfigMapping().set_global(qconfig)
prepared = fxquant.prepare_fx(model, mapping, (data,))
prepared(data)

ours = set(qparams.values())
observers = [m for m in prepared.modules() if isinstance(m, fxquant.MinMaxObserver)]
observed = {(float(scale), int(zero_point)) for scale, zero_point in (o.calculate_qparams() for o in observers)}
assert ours == observed

# %% [markdown]
# ## Convert
#
# `quantize` rounds to bytes, `dequantize` makes real numbers of them. We put a pair behind each value that was
# observed, and do the same to the weights, which get a scale for each output channel. Everything is still computed in
# float, but on numbers that bytes can hold: the graph is *simulated* int8, slow and exact, and the definition of what
# the integer program has to give.

# %%
MEANING["quantize"] = lambda x, scale, zero_point, low: (
    (torch.round(x / scale) + zero_point).clamp(low, 255).to(torch.uint8)
)
MEANING["dequantize"] = lambda q, scale, zero_point: (q.float() - zero_point) * scale


def quantize_weight(weight):
    """int8 of the same shape, and a scale for each output channel (dimension 0)."""
    scale = weight.abs().flatten(1).amax(1) / 127
    scale = scale.reshape(-1, *[1] * (weight.dim() - 1))
    return torch.round(weight / scale).clamp(-127, 127).to(torch.int8), scale


def convert(graph, qparams):
    result, real = [], {}  # real: what stands for a node's value from now on
    for node in graph:
        node = Node(node.op, [real[x] for x in node.inputs], dict(node.settings)) if node.op != "input" else node
        old = graph[len(real)]
        if "weight" in node.settings:
            q, scale = quantize_weight(node.settings["weight"])
            node.settings["weight"] = q * scale
        result.append(node)
        if old in qparams:
            scale, zero_point = qparams[old]
            quantize = Node("quantize", [node], {"scale": scale, "zero_point": zero_point, "low": 0})
            node = Node("dequantize", [quantize], {"scale": scale, "zero_point": zero_point})
            result += [quantize, node]
        real[old] = node
    return result


def sqnr_db(reference, value):
    return (10 * torch.log10(reference.square().sum() / (reference - value).square().sum())).item()


reference = convert(graph, qparams)
simulated = run(reference, data)
db = sqnr_db(expected, simulated)
print(f"{len(reference)} nodes, {db:.1f} dB")

# Two passes of fxquant do more than this: they correct biases, and leave outputs unrounded.
more_accuracy = [fxquant.without("convert_biases"), fxquant.without("convert_float_reads")]
theirs = fxquant.convert_to_reference_fx(prepared, passes=more_accuracy)(data)
steps = ((simulated - theirs).abs().max() / reference[-1].settings["scale"]).item()
print(f"the largest difference to fxquant's reference model: {steps:.0f} steps")

# %% [markdown]
# ## Fold
#
# Now the compiler's heart. In the reference graph each op stands between a dequantize and a quantize, and together
# these are an integer op:
#
#     quantize(relu(x), q)                                        ->  quantize(x, q from zero_point on)
#     quantize(pool(dequantize(x, q)), q)                         ->  pool(x)
#     quantize(conv(dequantize(x, p), w), q)                      ->  int8_conv2d(x, w, ...)
#     quantize(conv(dequantize(x, p), w) + dequantize(r, s), q)   ->  int8_conv2d(x, w, ..., r)
#
# with `multiplier = s_x s_w / s_y` for each channel, and the bias in units of `s_x s_w`. The quantize node becomes the
# integer op; what nobody reads any more is removed.


# %%
def fold(graph):
    while sum(fold_quantize(node) for node in graph if node.op == "quantize"):
        pass  # until no rule matches
    return alive(graph)


def fold_quantize(node):
    """Rewrites one quantize node in place; whether a rule matched."""
    (x,) = node.inputs
    if x.op == "relu":
        node.inputs, node.settings["low"] = x.inputs, node.settings["zero_point"]
    elif x.op in MOVES and x.inputs[0].op == "dequantize":
        node.op, node.inputs, node.settings = x.op, x.inputs[0].inputs, x.settings
    elif x.op in ("conv2d", "linear") and x.inputs[0].op == "dequantize":
        become_integer(node, x)
    elif x.op == "add" and x.inputs[0].op == "conv2d" and x.inputs[1].op == "dequantize":
        become_integer(node, *x.inputs)
    else:
        return False
    return True


def become_integer(node, layer, residual=None):
    q, dequantize = node.settings, layer.inputs[0]
    p = dequantize.settings
    weight, weight_scale = quantize_weight(layer.settings["weight"])
    scale = p["scale"] * weight_scale.flatten().double()
    bias = torch.zeros(len(scale)) if layer.settings["bias"] is None else layer.settings["bias"]
    node.op, node.inputs = f"int8_{layer.op}", dequantize.inputs
    node.settings = {
        "weight": weight,
        "bias": torch.round(bias.double() / scale).int(),
        "multiplier": (scale / q["scale"]).float(),
        "x_zero_point": p["zero_point"],
        "zero_point": q["zero_point"],
        "low": q["low"],
    }
    if "padding" in layer.settings:
        node.settings["padding"] = layer.settings["padding"]
    if residual is not None:
        node.inputs = [*node.inputs, *residual.inputs]
        node.settings["residual"] = residual.settings["zero_point"], residual.settings["scale"] / q["scale"]


def alive(graph):
    """Those nodes that the last one needs."""
    needed = {graph[-1]}
    for node in reversed(graph):
        needed.update(node.inputs if node in needed else [])
    return [node for node in graph if node in needed]


# %% [markdown]
# What an integer op means, on integers. All sums are 32-bit integers; what follows them is the only float arithmetic
# that is left, one multiplication for each output:


# %%
def requantize(acc, multiplier, zero_point, low, residual=None, r=None):
    """acc int32, channels last -> uint8."""
    value = acc.float() * multiplier
    if r is not None:
        value = value + (r.int() - residual[0]).float() * residual[1]
    return (torch.round(value) + zero_point).clamp(low, 255).to(torch.uint8)


def int8_linear(x, r=None, *, weight, bias, multiplier, x_zero_point, **epilogue):
    acc = (x.int() - x_zero_point) @ weight.int().T + bias
    return requantize(acc, multiplier, r=r, **epilogue)


def patches(x, size, padding, border):
    """[N, C, H, W] -> [N, H, W, C * size * size]: for each output of a convolution the inputs that it sums up."""
    x = F.pad(x, [padding] * 4, value=border)
    return x.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)


def int8_conv2d(x, r=None, *, weight, padding, x_zero_point, **rest):
    """uint8 [N, C, H, W]. A linear layer over patches of the image, whose border is 0.0, that is, x_zero_point."""
    x = patches(x, weight.shape[-1], padding, x_zero_point)
    r = None if r is None else r.permute(0, 2, 3, 1)
    return int8_linear(x, r, weight=weight.flatten(1), x_zero_point=x_zero_point, **rest).permute(0, 3, 1, 2)


MEANING |= {"int8_linear": int8_linear, "int8_conv2d": int8_conv2d}

integers = fold(convert(graph, qparams))
show(integers)
in_integers = run(integers, data)

# %% [markdown]
# Of the many nodes a quantize, seven integer ops and a dequantize are left, and bytes flow between them. The result is
# the simulated one, but for values that lie so near to the middle of two steps that float arithmetic rounds them the
# other way. And it is fxquant's, bit for bit, without the two passes that it has for more accuracy:

# %%
quantized = fxquant.convert_fx(prepared, passes=more_accuracy)
print(f"{(in_integers != simulated).float().mean():.2%} of the outputs differ from the simulation")
assert torch.equal(in_integers, quantized(data))
print([row.op for row in fxquant.explain(quantized).rows])

# %% [markdown]
# ## Lower
#
# The integer ops still do work at each call that could be done once. `x_zero_point` is subtracted from every input,
# though it is known that this takes `x_zero_point * sum(w)` off every sum: that joins the bias. And the weights can be
# stored as the inner loop wants to read them (*prepacked*), here as the transposed matrix. The program is then a list
# of functions to call, over numbered places in memory. A value's place is taken again when its last reader has run:


# %%
def lower(graph):
    """[(function, places of the inputs, place of the output)], and how many places there are."""
    last = {x: node for node in graph for x in node.inputs}
    place, free, program, count = {}, [], [], 0
    for node in graph:
        done = [place[x] for x in dict.fromkeys(node.inputs) if last[x] is node]
        if not free:
            free, count = [count], count + 1
        place[node] = free.pop()
        if node.op != "input":
            program.append((kernel(node), [place[x] for x in node.inputs], place[node]))
        free += done
    return program, count


def kernel(node):
    """The node as a function of tensors, with all done that can be done before."""
    if not node.op.startswith("int8_"):
        return lambda *inputs: MEANING[node.op](*inputs, **node.settings)
    s = node.settings
    size, packed = s["weight"].shape[-1], s["weight"].flatten(1).int().T.contiguous()
    bias = (s["bias"] - s["x_zero_point"] * packed.sum(0)).int()
    epilogue = {name: s[name] for name in ("multiplier", "zero_point", "low", "residual") if name in s}

    def linear(x, r=None):
        return requantize(x.int() @ packed + bias, r=r, **epilogue)

    def conv2d(x, r=None):
        x = patches(x, size, s["padding"], s["x_zero_point"])
        return linear(x, None if r is None else r.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return conv2d if node.op == "int8_conv2d" else linear


def compiled(graph):
    program, count = lower(graph)

    def call(x):
        memory = [x, *[None] * (count - 1)]
        for function, inputs, output in program:
            memory[output] = function(*(memory[i] for i in inputs))
        return memory[output]

    return call, count


program, places = compiled(integers)
assert torch.equal(program(data), quantized(data))
print(f"{len(integers)} values in {places} places; {db:.1f} dB")

# %% [markdown]
# ## What is missing
#
# What fxquant adds is not another idea, but the same ones, applied to everything that users write:
#
# - Code that cannot be traced, and what becomes of it: [capture](../docs/capture.md).
# - Some eighty ops in all their spellings, in one table: [ops](../docs/ops.md).
# - Rules as patterns (`pattern`, `check`, `rewrite`) instead of the `if` and `elif` of `fold_quantize`, open to yours:
#   [write a pass](write_a_pass.py).
# - What stays float stays float with a reason, instead of a KeyError: `fxquant.explain`.
# - Kernels in C++ for the instruction sets of the day. They give the integers of these few lines:
#   [regions and programs](../docs/regions.md).
