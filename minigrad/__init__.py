from minigrad.tensor import Tensor, tensor, asarray
from minigrad.transforms import *
from minigrad.ops import *
from minigrad.creation import *
from minigrad import random
from minigrad.random import manual_seed
from minigrad.primitive import primitive
