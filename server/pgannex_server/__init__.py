"""The pgannex server: one process per database host that keeps the models."""

__version__ = "0.1.0"
