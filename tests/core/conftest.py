"""One thread: another process trains beside the tests."""

import torch

torch.set_num_threads(1)
