"""MobileNetV2 and EfficientNet-Lite0 as a user would write them, for 1000 classes.

The parameters are named as in the public checkpoints: torchvision's for MobileNetV2, efficientnet-lite-pytorch's for
EfficientNet-Lite0. Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks"; Tan and Le 2019,
"EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (Lite: relu6, no squeeze-and-excitation).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

# expansion, output channels, repeats, stride of the first
MOBILENET_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# expansion, kernel size, output channels, repeats, stride of the first
EFFICIENTNET_LITE0_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def conv_bn_relu6(inputs: int, outputs: int, kernel_size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the image's size (for stride 1), its normalization and its activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection without activation; with a skip where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [conv_bn_relu6(inputs, hidden)] if expansion != 1 else []
        layers += [
            conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.use_skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_skip else y


class MobileNetV2(nn.Module):
    """[N, 3, 224, 224] (any size of at least 32) -> logits [N, 1000]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [conv_bn_relu6(3, channels, 3, 2)]
        for expansion, outputs, repeats, first_stride in MOBILENET_V2_STAGES:
            for i in range(repeats):
                layers.append(InvertedResidual(channels, outputs, first_stride if i == 0 else 1, expansion))
                channels = outputs
        layers.append(conv_bn_relu6(channels, 1280))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        logits: Tensor = self.classifier(x)
        return logits


def pad_for_stride_2(x: Tensor, kernel_size: int) -> Tensor:
    """TensorFlow's "SAME" padding of an image of even size: one row and column more below and right."""
    before = (kernel_size - 2) // 2
    after = kernel_size - 2 - before
    return F.pad(x, (before, after, before, after))


class MBConv(nn.Module):
    """EfficientNet's inverted residual, with TensorFlow's padding."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.kernel_size, self.stride = kernel_size, stride
        self.use_expansion = expansion != 1
        self.use_skip = stride == 1 and inputs == outputs
        if self.use_expansion:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=1e-3)
        padding = kernel_size // 2 if stride == 1 else 0
        self._depthwise_conv = nn.Conv2d(hidden, hidden, kernel_size, stride, padding, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.act = nn.ReLU6()

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        if self.use_expansion:
            x = self.act(self._bn0(self._expand_conv(x)))
        if self.stride == 2:
            x = pad_for_stride_2(x, self.kernel_size)
        x = self.act(self._bn1(self._depthwise_conv(x)))
        y: Tensor = self._bn2(self._project_conv(x))
        return y + inputs if self.use_skip else y


class EfficientNetLite0(nn.Module):
    """[N, 3, 224, 224] (any size divisible by 32) -> logits [N, 1000]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        channels = 32
        self._conv_stem = nn.Conv2d(3, channels, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(channels, eps=1e-3)
        blocks: list[nn.Module] = []
        for expansion, kernel_size, outputs, repeats, first_stride in EFFICIENTNET_LITE0_STAGES:
            for i in range(repeats):
                blocks.append(MBConv(channels, outputs, kernel_size, first_stride if i == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, classes)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self._bn0(self._conv_stem(pad_for_stride_2(x, 3))))
        x = self._blocks(x)
        x = self.act(self._bn1(self._conv_head(x)))
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        logits: Tensor = self._fc(self._dropout(x))
        return logits
