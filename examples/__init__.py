"""Runnable examples; the tests run each of them. ``python -m examples.figures`` draws the figures of the notes into out/."""
