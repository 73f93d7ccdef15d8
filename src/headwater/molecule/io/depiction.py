"""Structures as pictures: a drawing by RDKit where bonds are certain, balls and sticks where they are not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import perceive
from headwater.molecule.structure.molecule import Molecule

Array = NDArray[np.float64]
Font = Any  # Pillow's and RDKit's classes are met at run time only: both are optional
Mol = Any

RED = "#b42318"
COLOURS = {"H": "#9aa5b1", "C": "#4a5560", "N": "#2457c5", "O": "#c8321f", "F": "#1d8a4c"}
RADII = {"H": 0.31, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57}  # covalent, angstrom


@dataclass(frozen=True)
class BondLengths:
    """How long bonds are drawn.

    Parameters
    ----------
    usual, shortest
        In all structures, and the least that this is shrunk to, pixels.
    flat
        In 2-D coordinates, angstrom.
    """

    usual: float = 76.0
    shortest: float = 52.0
    flat: float = 1.5


def load_font(size: int) -> Font:
    """RDKit's own font, so that words and structures look alike; Pillow's where RDKit has none."""
    fonts = import_optional("PIL.ImageFont", "molecules")
    file = Path(str(import_optional("rdkit.Chem.Draw", "molecules").__file__)).with_name("FreeSans.ttf")
    return fonts.truetype(str(file), size) if file.is_file() else fonts.load_default(size)


def draw_structures(molecules: Sequence[Molecule], size: tuple[int, int]) -> list[Any]:
    """A picture of each, of that many pixels; bonds have one length, but in what is too large for the shortest."""
    with import_optional("rdkit.rdBase", "molecules").BlockLogs():
        found = [_find_structure(m) for m in molecules]
        longest = [_longest_bond(mol, size) for mol, _ in found if mol is not None]
        bond = min([BondLengths.usual, *(x for x in longest if x >= BondLengths.shortest)])
        return [
            _balls(m, size, bond, note) if mol is None else _depiction(mol, size, bond)
            for m, (mol, note) in zip(molecules, found, strict=True)
        ]


def _find_structure(m: Molecule) -> tuple[Mol | None, str]:
    """The structure to draw; or None and why a drawing of it would mislead."""
    if not np.isfinite(m.positions).all():
        return None, "positions not finite"
    try:
        mol = perceive(m)
    except Misuse:  # an element that the table of bonds does not have
        mol = None
    # hydrogens are explicit in a `Molecule`: an implicit one is RDKit's own addition
    if mol is None or any(atom.GetNumImplicitHs() for atom in mol.GetAtoms()):
        return None, "no valid bonds"
    if sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()) > 2:
        return None, "open valences"
    return _flatten(mol), ""


def _flatten(mol: Mol) -> Mol:
    """The molecule without hydrogens, with clean 2-D coordinates and the wedges of its 3-D model."""
    chem, depictor = (
        import_optional("rdkit.Chem", "molecules"),
        import_optional("rdkit.Chem.rdDepictor", "molecules"),
    )
    draw = import_optional("rdkit.Chem.Draw.rdMolDraw2D", "molecules")
    mol = chem.Mol(mol)
    chem.AssignStereochemistryFrom3D(mol)
    which = chem.RemoveHsParameters()
    which.removeDefiningBondStereo = True
    mol = chem.RemoveHs(mol, which, sanitize=False)
    depictor.Compute2DCoords(mol, bondLength=BondLengths.flat, useRingTemplates=True)
    depictor.StraightenDepiction(mol)
    mol = draw.PrepareMolForDrawing(mol, kekulize=True, addChiralHs=False, wedgeBonds=True, forceCoords=False)
    if _is_cage(mol):
        for bond in mol.GetBonds():  # wedges within a cage hide its shape and tell little
            if bond.IsInRing():
                bond.SetBondDir(chem.BondDir.NONE)
    return mol


def _is_cage(mol: Mol) -> bool:
    rings = mol.GetRingInfo()
    bridges = import_optional("rdkit.Chem.rdMolDescriptors", "molecules").CalcNumBridgeheadAtoms(mol)
    return bool(bridges or any(rings.NumAtomRings(i) > 2 for i in range(mol.GetNumAtoms())))


def _longest_bond(mol: Mol, size: tuple[int, int]) -> float:
    """The bond length, in pixels, at which a structure and the letters at its rim just fit."""
    spread = np.ptp(mol.GetConformer().GetPositions(), axis=0)
    rooms = zip((size[0] - 60, size[1] - 50), spread[:2], strict=True)
    return min((BondLengths.flat * room / s for room, s in rooms if s > 0), default=BondLengths.usual)


def _depiction(mol: Mol, size: tuple[int, int], bond: float) -> Any:
    canvas = import_optional("rdkit.Chem.Draw.rdMolDraw2D", "molecules").MolDraw2DCairo(*size)
    options = canvas.drawOptions()
    options.prepareMolsBeforeDrawing = False  # `_flatten` did
    options.fixedBondLength = bond / BondLengths.flat  # RDKit means pixels per unit of length
    options.fixedFontSize = 27
    options.bondLineWidth = 3
    options.scaleBondWidth = False
    options.multipleBondOffset = 0.16
    options.padding = 0.02
    options.updateAtomPalette({9: (0.11, 0.54, 0.30), 7: (0.14, 0.34, 0.77), 8: (0.78, 0.2, 0.12)})
    canvas.DrawMolecule(mol)
    canvas.FinishDrawing()
    return import_optional("PIL.Image", "molecules").open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def _balls(m: Molecule, size: tuple[int, int], bond: float, note: str) -> Any:
    """The atoms as balls seen along the direction in which they spread least, the near before the far."""
    image = import_optional("PIL.Image", "molecules")
    fine = 3  # drawn larger and reduced, which smooths the edges
    picture = image.new("RGB", (size[0] * fine, size[1] * fine), "white")
    draw = import_optional("PIL.ImageDraw", "molecules").Draw(picture)
    if len(m) and np.isfinite(m.positions).all():
        seen = _principal(np.asarray(m.positions, dtype=np.float64))
        room = np.array([size[0] - 60, size[1] - 110]) / np.maximum(np.ptp(seen[:, :2], axis=0), 0.1)
        scale = min(bond / BondLengths.flat, *room)
        middle = (seen[:, :2].max(0) + seen[:, :2].min(0)) / 2
        at = ((seen[:, :2] - middle) * scale + [size[0] / 2, size[1] / 2 - 16]) * fine
        _sticks(draw, m, at, scale * fine)
        for i in np.argsort(seen[:, 2], kind="stable"):
            _ball(draw, m.symbols[i], (float(at[i, 0]), float(at[i, 1])), scale * fine)
    draw.text((size[0] * fine / 2, (size[1] - 16) * fine), note, RED, load_font(22 * fine), anchor="ms")
    return picture.resize(size, image.Resampling.LANCZOS)


def _principal(positions: Array) -> Array:
    """Positions along their principal axes, the widest first."""
    centred = positions - positions.mean(0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    return np.asarray(centred @ axes.T, dtype=np.float64)


def _sticks(draw: Any, m: Molecule, at: Array, scale: float) -> None:
    """Grey lines between atoms that are near, to guide the eye; they claim no bond."""
    for i in range(len(m)):
        for j in range(i):
            apart = float(np.linalg.norm(m.positions[i] - m.positions[j]))
            if apart < 1.25 * (RADII.get(m.symbols[i], 0.8) + RADII.get(m.symbols[j], 0.8)):
                draw.line([tuple(at[i]), tuple(at[j])], "#c5ccd3", round(max(0.12 * scale, 3)))


def _ball(draw: Any, symbol: str, place: tuple[float, float], scale: float) -> None:
    x, y = place
    radius = max((0.28 if symbol == "H" else 0.42) * scale, 12)
    colour = np.array([int(COLOURS.get(symbol, "#8a4fbf")[k : k + 2], 16) for k in (1, 3, 5)])
    steps = 10
    for k in range(steps):  # discs that shrink towards the light, at the upper left
        light, r = k / steps, radius * (1 - k / steps)
        fill = tuple(int(c) for c in colour + (255 - colour) * 0.55 * light**1.5)
        cx, cy = x - 0.3 * (radius - r), y - 0.3 * (radius - r)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)
    if symbol != "H":
        draw.text((x, y), symbol, "white", load_font(round(1.05 * radius)), anchor="mm", stroke_width=1)
