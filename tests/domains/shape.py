"""Domains of minigrad/ops/shape.py. The parameters are those of the public function that has the row's name."""

from __future__ import annotations

from tests.domains.base import Case, Domain, Operand

ANY = (Operand(),)

DOMAINS: dict[str, Domain] = {
    "reshape": Domain(
        ANY,
        (
            Case(((2, 3),), {"shape": (3, 2)}),
            Case(((2, 3, 4),), {"shape": (4, -1)}),
            Case(((4,),), {"shape": -1}),
            Case(((),), {"shape": (1, 1)}),
            Case(((1, 1),), {"shape": ()}),
            Case(((0, 3),), {"shape": (5, 0)}),
        ),
    ),
    "permute_dims": Domain(
        ANY,
        (
            Case(((2, 3),), {"axes": (1, 0)}),
            Case(((2, 3, 4),), {"axes": (2, 0, 1)}),
            Case(((2, 1, 3, 4),), {"axes": (-2, 0, -1, 1)}),
            Case(((),), {"axes": ()}),
            Case(((0, 2),), {"axes": (1, 0)}),
        ),
    ),
    "broadcast_to": Domain(
        ANY,
        (
            Case(((3,),), {"shape": (2, 3)}),
            Case(((2, 1, 3),), {"shape": (4, 2, 5, 3)}),
            Case(((),), {"shape": (2, 2)}),
            Case(((),), {"shape": ()}),
            Case(((1,),), {"shape": 3}),
            Case(((1, 2),), {"shape": (0, 2)}),
            Case(((0,),), {"shape": (2, 0)}),
        ),
    ),
    "concat": Domain(
        ANY,
        (
            Case(((3,),)),
            Case(((2,), (3,))),
            Case(((2, 1), (2, 3), (2, 2)), {"axis": -1}),
            Case(((2, 3), (0, 3), (1, 3)), {"axis": 0}),
            Case(((1, 2, 2), (1, 1, 2)), {"axis": 1}),
            Case(((), (2, 2), (1,)), {"axis": None}),
        ),
    ),
    "stack": Domain(
        ANY,
        (
            Case(((3,),)),
            Case(((), ())),
            Case(((2, 3), (2, 3), (2, 3)), {"axis": -1}),
            Case(((2, 3), (2, 3)), {"axis": 1}),
            Case(((0, 2), (0, 2)), {"axis": 0}),
        ),
    ),
    "pad": Domain(
        ANY,
        (
            Case(((3,),), {"pad_width": 2}),
            Case(((2, 3),), {"pad_width": ((0, 1), (2, 0)), "constant_values": 1.5}),
            Case(((2, 3),), {"pad_width": (1, 0)}),
            Case(((0, 2),), {"pad_width": 1}),
            Case(((),), {"pad_width": 0}),
            Case(((4,),), {"pad_width": (2, 7), "mode": "reflect"}),
            Case(((2, 3),), {"pad_width": (1, 2), "mode": "edge"}),
            Case(((2, 3),), {"pad_width": ((0, 0), (4, 1)), "mode": "wrap"}),
            Case(((1, 2),), {"pad_width": 1, "mode": "symmetric"}),
        ),
    ),
    "flip": Domain(
        ANY,
        (
            Case(((3,),)),
            Case(((2, 3),)),
            Case(((2, 3, 2),), {"axis": -2}),
            Case(((2, 3, 2),), {"axis": (0, -1)}),
            Case(((),)),
            Case(((0, 2),), {"axis": 0}),
        ),
    ),
    "roll": Domain(
        ANY,
        (
            Case(((4,),), {"shift": 1}),
            Case(((2, 3),), {"shift": -2}),
            Case(((2, 3),), {"shift": 5, "axis": -1}),
            Case(((2, 3, 2),), {"shift": (1, -1), "axis": (0, 1)}),
            Case(((),), {"shift": 1}),
            Case(((0, 2),), {"shift": 1, "axis": 1}),
        ),
    ),
    "triu": Domain(
        ANY,
        (
            Case(((3, 3),)),
            Case(((2, 4),), {"k": 1}),
            Case(((2, 3, 2),), {"k": -1}),
            Case(((1, 1),), {"k": 2}),
            Case(((0, 3),)),
        ),
    ),
    "tril": Domain(
        ANY,
        (
            Case(((3, 3),)),
            Case(((2, 4),), {"k": 1}),
            Case(((2, 3, 2),), {"k": -1}),
            Case(((1, 1),), {"k": -2}),
            Case(((0, 3),)),
        ),
    ),
    # A complex step through a cast to a real dtype would be dropped.
    "astype": Domain(
        ANY,
        (
            Case(((2, 3),), {"dtype": "float64"}),
            Case(((),), {"dtype": "float64"}),
            Case(((0,),), {"dtype": "float64"}),
        ),
        analytic=False,
    ),
    "discretize": Domain(
        (Operand(differentiable=False),),
        (
            Case(((2, 3),), {"dtype": "int64"}),
            Case(((),), {"dtype": "bool"}),
            Case(((0,),), {"dtype": "uint8"}),
        ),
        analytic=False,
    ),
}
