"""`evaluate.py analyse umap`."""

import argparse

from engines.report import Report

TEXT = "Where faces lie in feature space: occluded, restored and true, by UMAP with its scores."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of its own."""


def analyse(arguments: argparse.Namespace) -> Report:
    """Not written yet."""
    raise NotImplementedError
