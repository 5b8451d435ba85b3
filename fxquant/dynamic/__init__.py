"""Modules that take and give floats and multiply integers: what `quantize_dynamic` replaces those of torch.nn by."""

from fxquant.dynamic.conv import Conv1d as Conv1d
from fxquant.dynamic.conv import Conv2d as Conv2d
from fxquant.dynamic.conv import Conv3d as Conv3d
from fxquant.dynamic.conv import ConvTranspose1d as ConvTranspose1d
from fxquant.dynamic.conv import ConvTranspose2d as ConvTranspose2d
from fxquant.dynamic.conv import ConvTranspose3d as ConvTranspose3d
from fxquant.dynamic.embedding import Embedding as Embedding
from fxquant.dynamic.embedding import EmbeddingBag as EmbeddingBag
from fxquant.dynamic.linear import Linear as Linear
from fxquant.dynamic.recurrent import GRU as GRU
from fxquant.dynamic.recurrent import LSTM as LSTM
from fxquant.dynamic.recurrent import RNN as RNN
from fxquant.dynamic.recurrent import GRUCell as GRUCell
from fxquant.dynamic.recurrent import LSTMCell as LSTMCell
from fxquant.dynamic.recurrent import RNNCell as RNNCell
from fxquant.dynamic.weight_only import WeightOnlyLinear as WeightOnlyLinear
