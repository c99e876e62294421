"""Train small models on real text, fit scaling laws and write the report; this takes minutes."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import sys
from pathlib import Path

import scaling

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "quickstart.py"

if __name__ == "__main__":
    sys.exit(scaling.main([str(CONFIG), *sys.argv[1:]]))
