"""Benchmarks: ``./fleet bench NAME [--json]``. Each starts what it needs on the loopback address, ends by itself within
a minute and leaves nothing behind. Rates depend on the machine: compare ratios and CPU seconds, within one run.
"""
