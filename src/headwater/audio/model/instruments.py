"""The instruments of the recordings: General MIDI programs, counted from 0, and the pitches each plays well."""

from __future__ import annotations

Range = tuple[int, int]
Families = dict[str, dict[int, Range]]

FAMILIES: Families = {
    "keyboard": {0: (28, 103), 1: (28, 103), 4: (28, 96), 8: (60, 108), 11: (53, 89)},
    "organ": {19: (36, 96), 20: (36, 96), 21: (53, 89)},
    "plucked": {25: (40, 84), 45: (36, 90), 46: (28, 100)},
    "mallet": {12: (45, 96), 13: (65, 108)},
    "strings": {40: (55, 100), 42: (36, 76), 43: (28, 60), 48: (36, 96)},
    "voices": {52: (43, 79), 53: (43, 79)},
    "brass": {56: (54, 86), 58: (28, 58), 60: (40, 77), 61: (40, 84)},
    "reeds": {64: (56, 88), 66: (44, 76), 69: (52, 81), 70: (34, 72), 71: (50, 91)},
    "flutes": {72: (74, 102), 73: (60, 96), 74: (60, 96)},
}
"""Those of classical scores."""
MODERN: Families = {
    "electric keyboard": {2: (28, 96), 3: (28, 103), 5: (28, 96), 16: (36, 96), 17: (36, 96), 18: (36, 96)},
    "bells": {9: (72, 108), 10: (60, 96), 14: (55, 86), 15: (48, 84), 47: (36, 60)},
    "guitar": {26: (40, 84), 28: (40, 80), 29: (40, 84), 30: (40, 84), 104: (48, 79), 108: (55, 84)},
    "bass": {32: (28, 55), 33: (28, 58), 34: (28, 58), 35: (28, 58), 36: (28, 58), 38: (28, 60)},
    "sections": {44: (40, 96), 49: (36, 96), 51: (36, 96), 54: (43, 84), 59: (54, 86), 67: (36, 68)},
    "synthesiser": {62: (40, 84), 80: (40, 96), 81: (36, 96), 87: (36, 84), 88: (36, 90), 90: (36, 90)},
}
"""Those of later music, and more sections; only training hears them."""
HELD_OUT: Families = {
    "keyboard": {6: (41, 89)},
    "plucked": {24: (40, 83)},
    "strings": {41: (48, 88)},
    "brass": {57: (40, 72)},
    "reeds": {65: (49, 80), 68: (58, 91)},
    "flutes": {75: (60, 96)},
}
"""Instruments that no training recording has: harpsichord, nylon guitar, viola, trombone, ..."""
PITCHES = {
    program: pitches
    for families in (FAMILIES, MODERN, HELD_OUT)
    for family in families.values()
    for program, pitches in family.items()
}
