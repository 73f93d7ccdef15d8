"""Import this first: it lets the scripts of this folder import the modules of the folder above."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
