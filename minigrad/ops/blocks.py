from minigrad.blocks import *  # noqa: F403
from minigrad.blocks import in_pieces, in_rows, renew, reuse  # noqa: F401
