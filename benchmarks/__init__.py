"""Benchmarks: ours beside every alternative, in turn, in one run. ``treeward bench`` runs them.

One folder a benchmark. In it ``bench.py`` has ``run`` and ``plot``, and every alternative has a
file of its own.
"""
