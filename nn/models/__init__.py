"""Architectures of the notes: each file reads as its paper's table, and parameters are called as in torchvision where it has them."""

from minigrad.nn.models.alexnet import AlexNet, AlexNetOneWeirdTrick, alexnet, alexnet_one_weird_trick
from minigrad.nn.models.autoencoder import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
)
from minigrad.nn.models.classifier import RecurrentClassifier, TransformerClassifier
from minigrad.nn.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from minigrad.nn.models.fractalnet import FractalNet
from minigrad.nn.models.gan import GAN, DCGANDiscriminator, DCGANGenerator, Discriminator, Generator, gradient_penalty
from minigrad.nn.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from minigrad.nn.models.gpt import GPT, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from minigrad.nn.models.lenet import LeNet5, lenet5
from minigrad.nn.models.linear import MLP, LinearRegression, LinearSVM, LogisticRegression, Perceptron, SoftmaxRegression
from minigrad.nn.models.metric import NeighbourhoodComponents
from minigrad.nn.models.mixture import GaussianMixture, SoftKMeans, kmeans_plus_plus
from minigrad.nn.models.recurrent import CharRNN
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
from minigrad.nn.models.seq2seq import Seq2Seq
from minigrad.nn.models.transformer import Seq2SeqTransformer, attention_maps
from minigrad.nn.models.vae import VAE
from minigrad.nn.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from minigrad.nn.models.word2vec import (
    CBOW,
    SkipGram,
    cbow_windows,
    negative_samples,
    pointwise_mutual_information,
    skip_gram_pairs,
)
from minigrad.nn.models.zfnet import ZFNet, zfnet

__all__ = [
    "CBOW",
    "GAN",
    "GPT",
    "MLP",
    "VAE",
    "VGG",
    "AlexNet",
    "AlexNetOneWeirdTrick",
    "Autoencoder",
    "BasicBlock",
    "Bottleneck",
    "CharRNN",
    "ContractiveAutoencoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DenoisingAutoencoder",
    "DenseNet",
    "Discriminator",
    "FractalNet",
    "GaussianMixture",
    "Generator",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "LeNet5",
    "LinearAutoencoder",
    "LinearRegression",
    "LinearSVM",
    "LogisticRegression",
    "NeighbourhoodComponents",
    "Perceptron",
    "RecurrentClassifier",
    "ResNet",
    "Seq2Seq",
    "Seq2SeqTransformer",
    "SkipGram",
    "SoftKMeans",
    "SoftmaxRegression",
    "SparseAutoencoder",
    "SqueezeExcitation",
    "TransformerClassifier",
    "WideResNet",
    "ZFNet",
    "alexnet",
    "alexnet_one_weird_trick",
    "attention_maps",
    "cbow_windows",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "googlenet",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "gradient_penalty",
    "kmeans_plus_plus",
    "lenet5",
    "negative_samples",
    "pointwise_mutual_information",
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
    "skip_gram_pairs",
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
