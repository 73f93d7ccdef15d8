"""Rewards of pictures: colours, symmetry, sharpness, classes, likeness, texts; and judges of what rewards did."""

from headwater.image.rewards.appearance import Brightness, Contrast, Palette, Sharpness, Symmetry
from headwater.image.rewards.file_size import JpegSize
from headwater.image.rewards.guard import RewardJudge
from headwater.image.rewards.networks import ClassLogit, Likeness
from headwater.image.rewards.program import ProgramScore
from headwater.image.rewards.text import TextPictureModel, TextSimilarity, caption_model, rank_text
from headwater.image.rewards.words import NAMES, read_reward

__all__ = [
    "NAMES",
    "Brightness",
    "ClassLogit",
    "JpegSize",
    "Contrast",
    "Likeness",
    "Palette",
    "ProgramScore",
    "RewardJudge",
    "Sharpness",
    "Symmetry",
    "TextPictureModel",
    "TextSimilarity",
    "caption_model",
    "rank_text",
    "read_reward",
]
