"""The paths from which users of torch.ao.quantization.fx import; what they hold stands elsewhere in fxquant."""
