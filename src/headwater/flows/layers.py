"""Layers that move: one state of several layers, which a flow sees in several arrangements at once.

    v(layer l, pixel p) = mean over the arrangements j that show it of v_j(render_j(layers), t) at its place there
    render_j: each place of the canvas has the pixel of the topmost layer whose form, moved by its offset, covers it

Every place of a rendering shows one pixel of one layer, so that a rendering of independent noise is independent
noise. A pixel that no arrangement shows has the velocity 0 and keeps its noise.

(Layered Scene Diffusion, Ren et al. 2024, section 3.2; there layers have prompts of their own by attention, here
every arrangement has a flow.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import require_alike
from headwater.flows.flow import Flow
from headwater.problem.batch import select

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Scene:
    """Layers with a form each, from the back to the front; the first covers the canvas.

    Parameters
    ----------
    forms
        Where each layer is, before it moves: bool `[layers, h, w]`; the first is true everywhere and does not move.

    Raises
    ------
    Misuse
        If the forms are not bool `[layers, h, w]`, or the first does not cover the canvas.

    Examples
    --------
    A background of zeros and a dot of ones, moved by a column:

    >>> forms = torch.tensor([[[True, True, True]], [[True, False, False]]])
    >>> layers = torch.stack([torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3)], dim=1)
    >>> Scene(forms).render(layers, [(0, 1)]).flatten().tolist()
    [0.0, 1.0, 0.0]
    """

    forms: Tensor

    def __post_init__(self) -> None:
        if self.forms.ndim != 3 or self.forms.dtype != torch.bool or not bool(self.forms[:1].all()):
            raise Misuse(
                f"The forms are {self.forms.dtype} {list(self.forms.shape)}, or the first has holes.",
                "Give bool [layers, h, w], from the back to the front, the first true everywhere.",
            )

    def shown(self, offsets: Offsets) -> tuple[Tensor, Tensor]:
        """Which layer each place of the canvas shows, and which pixel of it, int64 `[h, w]` each.

        Parameters
        ----------
        offsets
            Rows and columns by which each layer but the first moves; what leaves the canvas is not shown.

        Raises
        ------
        Misuse
            If there is not one offset for each layer but the first.
        """
        count, h, w = self.forms.shape
        if len(offsets) != count - 1:
            raise Misuse(
                f"There are {len(offsets)} offsets for {count} layers.",
                "Give one for each layer but the first, which stays.",
            )
        forms, rows, columns = self.forms.cpu(), torch.arange(h)[:, None], torch.arange(w)
        layer = torch.zeros(h, w, dtype=torch.int64)
        pixel = (rows * w + columns).clone()
        for number, (down, right) in enumerate(offsets, 1):
            row, column = (rows - down).expand(h, w), (columns - right).expand(h, w)
            inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
            seen = inside & forms[number, row.clamp(0, h - 1), column.clamp(0, w - 1)]
            layer = torch.where(seen, number, layer)
            pixel = torch.where(seen, row * w + column, pixel)
        return layer, pixel

    def render(self, layers: Tensor, offsets: Offsets) -> Tensor:
        """The picture `[batch, c, h, w]` of layers `[batch, layers, c, h, w]` in an arrangement; see `shown`."""
        layer, pixel = self.shown(offsets)
        return pick(layers, layer, pixel)


def pick(layers: Tensor, layer: Tensor, pixel: Tensor) -> Tensor:
    """The pixels `[batch, c, h, w]` of layers `[batch, layers, c, h, w]` with these numbers, int64 `[h, w]` each."""
    b, count, c, h, w = layers.shape
    flat = layers.transpose(1, 2).reshape(b, c, count * h * w)
    return flat[:, :, (layer * h * w + pixel).flatten().to(layers.device)].reshape(b, c, h, w)


@dataclass(frozen=True, eq=False)
class LayeredVelocity:
    """The mean velocity of the arrangements on layers `[batch, layers, c, h, w]`."""

    flows: tuple[Flow, ...]
    places: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        b, count, c, h, w = x.shape
        total = x.new_zeros(b, c, count * h * w)
        seen = x.new_zeros(count * h * w)
        for flow, (layer, pixel) in zip(self.flows, self.places, strict=True):
            index = (layer * h * w + pixel).flatten().to(x.device)
            total = total.index_add(2, index, flow(pick(x, layer, pixel), t).flatten(2))
            seen = seen.index_add(0, index, torch.ones_like(index, dtype=x.dtype))
        return (total / seen.clamp(min=1)).reshape(b, c, count, h, w).transpose(1, 2)

    def select(self, index: Tensor) -> LayeredVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, flows=tuple(select(flow, index) for flow in self.flows))


def arrange_layers(scene: Scene, arrangements: Sequence[tuple[Flow, Offsets]]) -> Flow:
    """The flow of layers that several arrangements share: what is drawn once and can be moved afterwards.

    Its samples are layers; `scene.render` makes a picture of them in any arrangement, also in one that was not among
    those given, as long as it shows no pixel that none of those showed: such a pixel is noise. The more arrangements
    a layer is drawn in, the less it depends on what lies around it. An evaluation is one of every arrangement's flow.
    The mean of velocities belongs to no law that is known, unless the pixels are independent.

    Parameters
    ----------
    scene
        The forms of the layers.
    arrangements
        Flows of events `[c, h, w]` on one path, each with the offsets of the layers in its picture; the same flow may
        stand there several times.

    Returns
    -------
    flow
        With events `[layers, c, h, w]`.

    Raises
    ------
    Misuse
        If there is no arrangement, the flows differ in shape or path, or are of another size than the scene.

    References
    ----------
    Ren et al., "Move anything with layered scene diffusion", CVPR 2024, section 3.2.

    Examples
    --------
    >>> from headwater import Flow
    >>> from headwater.flows.layers import Scene
    >>> forms = torch.tensor([[[True, True, True]], [[True, False, False]]])
    >>> flow = Flow(lambda x, t: -x, shape=(1, 1, 3))
    >>> layers = arrange_layers(Scene(forms), [(flow, [(0, 0)]), (flow, [(0, 2)])])
    >>> layers.shape
    (2, 1, 1, 3)
    """
    if not arrangements:
        raise Misuse(
            "No arrangement was given.", "Give one or more, each a flow with the offsets of its layers."
        )
    flows = require_alike([flow for flow, _ in arrangements])
    first = flows[0]
    if len(first.shape) != 3 or first.shape[1:] != tuple(scene.forms.shape[1:]) or first.support is not None:
        raise Misuse(
            f"The flow has events {list(first.shape)} and the scene {list(scene.forms.shape[1:])}.",
            "Give a flow of pictures [c, h, w] of the scene's size, without a support.",
        )
    places = tuple(scene.shown(offsets) for _, offsets in arrangements)
    return Flow(LayeredVelocity(flows, places), (len(scene.forms), *first.shape), first.path, first.range)
