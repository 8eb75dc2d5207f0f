"""Mutation testing of gradient rules: the mistakes that the tests do not notice.

``python -m minigrad.testing.mutate tests/`` makes the classic mistakes in every rule of the operations that the tests load, one at a
time, runs the tests that call the rule, and lists the mistakes that no test noticed. See docs/testing.md.
"""
