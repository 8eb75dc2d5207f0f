"""The initialisation that the deep rectifier networks share."""

from __future__ import annotations

from minigrad import nn


def he_normal(model: nn.Module, mode: str = "fan_out") -> None:
    """Draw every convolution's weights from N(0, 2 / fan) and set its biases to zero: He et al. 2015.

    With ``fan_out`` it is the gradients' variance that stays alike through the layers, with ``fan_in`` that of the values.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
