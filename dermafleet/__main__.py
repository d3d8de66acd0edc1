"""``python -m dermafleet``: the same as the ``dermafleet`` command, wherever the checkout was moved to."""

from dermafleet.cli import main

main()
