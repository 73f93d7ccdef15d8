"""Independent checks of generated molecules: GFN2-xTB, DFT, PoseBusters."""
