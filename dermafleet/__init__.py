"""What two processes of Dermafleet must agree on, and nothing else."""

__version__ = "0.1.0"
