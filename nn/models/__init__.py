"""Architectures of the notes: each file reads as its paper's table, and parameters are called as in torchvision where it has them."""

from minigrad.nn.models.alexnet import AlexNet, AlexNetOneWeirdTrick, alexnet, alexnet_one_weird_trick
from minigrad.nn.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from minigrad.nn.models.fractalnet import FractalNet
from minigrad.nn.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from minigrad.nn.models.lenet import LeNet5, lenet5
from minigrad.nn.models.linear import MLP, LinearRegression, LinearSVM, LogisticRegression, Perceptron, SoftmaxRegression
from minigrad.nn.models.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    WideResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from minigrad.nn.models.senet import SqueezeExcitation, se_resnet18, se_resnet50, se_resnet101, se_resnext50_32x4d
from minigrad.nn.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from minigrad.nn.models.zfnet import ZFNet, zfnet

__all__ = [
    "MLP",
    "VGG",
    "AlexNet",
    "AlexNetOneWeirdTrick",
    "BasicBlock",
    "Bottleneck",
    "DenseNet",
    "FractalNet",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "LeNet5",
    "LinearRegression",
    "LinearSVM",
    "LogisticRegression",
    "Perceptron",
    "ResNet",
    "SoftmaxRegression",
    "SqueezeExcitation",
    "WideResNet",
    "ZFNet",
    "alexnet",
    "alexnet_one_weird_trick",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "googlenet",
    "lenet5",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "se_resnet18",
    "se_resnet50",
    "se_resnet101",
    "se_resnext50_32x4d",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "zfnet",
]
