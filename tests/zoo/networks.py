"""The capture zoo: networks as people write them, with random weights, small enough to convert in a second.

From pytorchcv by module and function, from transformers by class and config. There are no pretrained weights here;
batch norms get the statistics of random images.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Network:
    """`build` gives the model in eval mode; `inputs(batch)`, arguments for it, of that batch size."""

    name: str
    kind: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Inputs]


def _images(batch: int, size: int = 64, channels: int = 3) -> Tensor:
    coarse = torch.nn.functional.interpolate(
        torch.randn(batch, channels, size // 8, size // 8), size=size, mode="bilinear"
    )
    return coarse + 0.3 * torch.randn(batch, channels, size, size)


def _tokens(batch: int, length: int = 16, vocabulary: int = 96) -> Tensor:
    return torch.randint(3, vocabulary, (batch, length))


def _mask(batch: int, length: int = 16) -> Tensor:
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, length - 3 :] = 0
    return mask


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers warns of what does not matter here, such as special tokens outside of a small vocabulary."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _with_statistics(model: nn.Module, inputs: Callable[[int], Inputs]) -> nn.Module:
    """`model` in eval mode, its batch norms with the statistics of a random batch."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        model.train()
        for norm in norms:
            norm.momentum = None
            nn.init.ones_(norm.weight)  # transformers draws them around 0, as if they were those of a linear
        with torch.no_grad():
            for _ in range(2):
                call(model, inputs(4))
    return model.eval()


def _randomize(model: nn.Module) -> None:
    """Random tokens and position embeddings, where transformers begins with zeros."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter)


_WHOLE_IMAGE = (7, 8, 10, 13, 23)  # kernels of last poolings


def _for_small_images(model: nn.Module) -> nn.Module:
    """`model` with its last pooling, made for images of one size, over whatever the size is."""
    for owner in list(model.modules()):
        for name, child in owner.named_children():
            if isinstance(child, nn.AvgPool2d) and child.kernel_size in _WHOLE_IMAGE:
                setattr(owner, name, nn.AdaptiveAvgPool2d(1))
    return model


def call(model: nn.Module, inputs: Inputs) -> Any:
    """The model's answer to positional or keyword arguments."""
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def _pytorchcv(kind: str, module: str, function: str, size: int = 64, **arguments: Any) -> Network:
    def inputs(batch: int) -> Inputs:
        return (_images(batch, size),)

    def build() -> nn.Module:
        make = getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)
        torch.manual_seed(0)
        return _with_statistics(_for_small_images(make(**arguments)), inputs)

    return Network(function, kind, build, inputs)


def _transformers(kind: str, model: str, inputs: Callable[[int], Inputs], config: str = "", **settings: Any) -> Network:
    def build() -> nn.Module:
        with _quiet():
            transformers = importlib.import_module("transformers")
            name = config or model.partition("For")[0].removesuffix("Model").removesuffix("Encoder") + "Config"
            torch.manual_seed(0)
            made = getattr(transformers, model)(getattr(transformers, name)(**settings))
            _randomize(made)
            return _with_statistics(made, inputs)

    return Network(model, kind, build, inputs)


def _text(batch: int) -> Inputs:
    return {"input_ids": _tokens(batch), "attention_mask": _mask(batch)}


def _plain_text(batch: int) -> Inputs:
    return {"input_ids": _tokens(batch)}


def _pixels(size: int = 64) -> Callable[[int], Inputs]:
    return lambda batch: {"pixel_values": _images(batch, size)}


def _pair(batch: int) -> Inputs:
    return {"input_ids": _tokens(batch), "attention_mask": _mask(batch), "decoder_input_ids": _tokens(batch, 8)}


def _speech(batch: int) -> Inputs:
    return {"input_features": torch.randn(batch, 16, 64), "decoder_input_ids": _tokens(batch, 8)}


_S: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_BERT: dict[str, Any] = {**_S, "vocab_size": 96, "max_position_embeddings": 64}
_LLAMA: dict[str, Any] = {**_BERT, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_VIT: dict[str, Any] = {**_S, "image_size": 64, "patch_size": 16}
_SWIN: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 32,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
_D: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "vocab_size": 96,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}

_CLASSIFIERS = (
    ("alexnet", "alexnet", {"size": 224}),
    ("resnet", "resnet18", {}),
    ("resnet", "resnet50", {}),
    ("preresnet", "preresnet18", {}),
    ("resnext", "resnext50_32x4d", {}),
    ("seresnet", "seresnet18", {}),
    ("cbamresnet", "cbam_resnet18", {}),
    ("sknet", "sknet50", {}),
    ("densenet", "densenet121", {}),
    ("dpn", "dpn68", {}),
    ("darknet53", "darknet53", {}),
    ("dla", "dla34", {}),
    ("hrnet", "hrnet_w18_small_v1", {}),
    ("vovnet", "vovnet27s", {}),
    ("regnet", "regnetx002", {}),
    ("regnet", "regnety002", {}),
    ("inceptionv3", "inceptionv3", {"size": 96}),
    ("xception", "xception", {"size": 96}),
    ("squeezenet", "squeezenet_v1_1", {}),
    ("mobilenet", "mobilenet_wd2", {}),
    ("mobilenetv2", "mobilenetv2_w1", {}),
    ("mobilenetv3", "mobilenetv3_small_w1", {}),
    ("mnasnet", "mnasnet_a1", {}),
    ("shufflenet", "shufflenet_g3_wd4", {}),
    ("shufflenetv2", "shufflenetv2_wd2", {}),
    ("ghostnet", "ghostnet", {}),
    ("efficientnet", "efficientnet_b0", {}),
    ("mixnet", "mixnet_s", {}),
    ("proxylessnas", "proxylessnas_cpu", {}),
    ("fbnet", "fbnet_cb", {}),
    ("hardnet", "hardnet39ds", {}),
    ("peleenet", "peleenet", {}),
    ("nasnet", "nasnet_4a1056", {}),
    ("resnesta", "resnestabc14", {}),
    ("octresnet", "octresnet10_ad2", {}),
    ("condensenet", "condensenet74_c4_g4", {}),
)
_SEGMENTERS = (
    ("fcn8sd", "fcn8sd_resnetd50b_voc", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("pspnet", "pspnet_resnetd50b_voc", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("deeplabv3", "deeplabv3_resnetd50b_voc", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("bisenet", "bisenet_resnet18_celebamaskhq", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("unet", "unet_cityscapes", {"in_size": (64, 64)}),
    ("linknet", "linknet_cityscapes", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("fastscnn", "fastscnn_cityscapes", {"in_size": (64, 64)}),
    ("lednet", "lednet_cityscapes", {"in_size": (64, 64)}),
    ("enet", "enet_cityscapes", {"in_size": (64, 64)}),
)
_DETECTORS = (
    ("centernet", "centernet_resnet18_voc", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("simplepose_coco", "simplepose_resnet18_coco", {"pretrained_backbone": False, "in_size": (64, 64)}),
    ("lwopenpose_cmupan", "lwopenpose2d_mobilenet_cmupan_coco", {"in_size": (64, 64)}),
)

NETWORKS: tuple[Network, ...] = (
    *(_pytorchcv("classification", module, name, **settings) for module, name, settings in _CLASSIFIERS),
    *(_pytorchcv("segmentation", module, name, **settings) for module, name, settings in _SEGMENTERS),
    *(_pytorchcv("detection", module, name, **settings) for module, name, settings in _DETECTORS),
    _transformers("encoder", "BertModel", _text, **_BERT),
    _transformers("encoder", "RobertaModel", _text, **_BERT),
    _transformers("encoder", "ElectraModel", _text, embedding_size=32, **_BERT),
    _transformers("encoder", "AlbertModel", _text, embedding_size=32, **_BERT),
    _transformers("encoder", "DistilBertModel", _text, vocab_size=96, dim=64, n_layers=2, n_heads=4, hidden_dim=128),
    _transformers("encoder", "MPNetModel", _text, **_BERT),
    _transformers("encoder", "DebertaV2Model", _text, relative_attention=True, pos_att_type=["p2c", "c2p"], **_BERT),
    _transformers("encoder", "SqueezeBertModel", _text, embedding_size=64, **_BERT),
    _transformers("encoder", "ModernBertModel", _text, pad_token_id=0, **_BERT),
    _transformers("encoder", "BertForSequenceClassification", _text, num_labels=5, **_BERT),
    _transformers(
        "encoder", "T5EncoderModel", _text, vocab_size=96, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4
    ),
    _transformers("vision", "ViTModel", _pixels(), **_VIT),
    _transformers("vision", "DeiTModel", _pixels(), **_VIT),
    _transformers("vision", "BeitModel", _pixels(), **_VIT),
    _transformers("vision", "Dinov2Model", _pixels(), **{k: v for k, v in _VIT.items() if k != "intermediate_size"}),
    _transformers("vision", "SwinModel", _pixels(), **_SWIN),
    _transformers("vision", "Swinv2Model", _pixels(), **_SWIN),
    _transformers("vision", "ConvNextModel", _pixels(), hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1]),
    _transformers("vision", "ConvNextV2Model", _pixels(), hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1]),
    _transformers(
        "vision", "SegformerForSemanticSegmentation", _pixels(), hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1]
    ),
    _transformers(
        "vision",
        "MobileViTModel",
        _pixels(),
        image_size=64,
        hidden_sizes=[48, 64, 80],
        neck_hidden_sizes=[16, 16, 24, 32, 40, 48, 64],
    ),
    _transformers(
        "vision",
        "PoolFormerModel",
        _pixels(),
        config="PoolFormerConfig",
        hidden_sizes=[16, 32, 40, 64],
        depths=[1, 1, 1, 1],
    ),
    _transformers("vision", "CLIPVisionModel", _pixels(), **_VIT),
    _transformers("vision", "ResNetModel", _pixels(), embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1]),
    _transformers(
        "vision", "RegNetModel", _pixels(), embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], groups_width=8
    ),
    _transformers(
        "language model",
        "GPT2LMHeadModel",
        _text,
        config="GPT2Config",
        vocab_size=96,
        n_positions=64,
        n_embd=64,
        n_layer=2,
        n_head=4,
        bos_token_id=1,
        eos_token_id=2,
    ),
    _transformers("language model", "OPTForCausalLM", _text, ffn_dim=128, word_embed_proj_dim=64, **_BERT),
    _transformers("language model", "LlamaForCausalLM", _text, **_LLAMA),
    _transformers("language model", "MistralForCausalLM", _text, **_LLAMA),
    _transformers("language model", "Qwen2ForCausalLM", _plain_text, use_cache=False, **_LLAMA),
    _transformers("language model", "Qwen3ForCausalLM", _text, head_dim=16, **_LLAMA),
    _transformers("language model", "GemmaForCausalLM", _text, head_dim=16, **_LLAMA),
    _transformers("language model", "PhiForCausalLM", _text, **_LLAMA),
    _transformers("language model", "GPTNeoXForCausalLM", _text, **_BERT),
    _transformers("language model", "BloomForCausalLM", _text, vocab_size=96, hidden_size=64, n_layer=2, n_head=4),
    _transformers(
        "sequence to sequence",
        "T5ForConditionalGeneration",
        _pair,
        vocab_size=96,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    ),
    _transformers("sequence to sequence", "BartModel", _pair, max_position_embeddings=64, **_D),
    _transformers(
        "sequence to sequence", "MarianMTModel", _pair, config="MarianConfig", max_position_embeddings=64, **_D
    ),
    _transformers(
        "speech", "WhisperModel", _speech, num_mel_bins=16, max_source_positions=32, max_target_positions=32, **_D
    ),
    _transformers(
        "speech",
        "Wav2Vec2Model",
        lambda batch: {"input_values": torch.randn(batch, 2000)},
        conv_dim=(32, 32, 32),
        conv_stride=(5, 4, 2),
        conv_kernel=(10, 8, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **{k: v for k, v in _BERT.items() if k != "max_position_embeddings"},
    ),
    _transformers(
        "detector",
        "DetrForObjectDetection",
        _pixels(),
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        num_queries=10,
        **{k: v for k, v in _D.items() if "token" not in k and k != "vocab_size"},
    ),
    _transformers(
        "detector", "YolosForObjectDetection", _pixels(), **{**_VIT, "image_size": [64, 64]}, num_detection_tokens=10
    ),
    _transformers(
        "detector",
        "RTDetrForObjectDetection",
        _pixels(),
        d_model=64,
        encoder_hidden_dim=64,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        decoder_layers=2,
        decoder_attention_heads=4,
        encoder_attention_heads=4,
        num_queries=20,
        decoder_in_channels=[64, 64, 64],
        decoder_n_points=2,
        num_denoising=0,
    ),
    _transformers(
        "image and text",
        "CLIPModel",
        lambda batch: {**_text(batch), **_pixels()(batch)},
        text_config={**_BERT, "projection_dim": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**_VIT, "projection_dim": 32},
        projection_dim=32,
    ),
)


def chosen_by(words: Sequence[str]) -> list[Network]:
    """The networks with any of `words` in their names, in whatever case; without words, all."""
    return [n for n in NETWORKS if not words or any(word.lower() in n.name.lower() for word in words)]
