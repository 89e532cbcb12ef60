"""Run by test_shard_runs.py under torchrun: `training_worker.py CONFIG ROOT OUTPUT`."""

import sys
from pathlib import Path

from deocclude.engines.runs.config import load_config
from deocclude.engines.training.run import train

if __name__ == "__main__":
    train(load_config(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
