"""What `headwater molecule` refuses: two sentences, exit 2, every file as it was."""

import pytest
import torch
from cli_tools import call, two_sentences
from molecule_stubs import G, S, T, everything

from headwater.cli.molecule import checks as molecule_checks

BAD = [
    # targets and their units
    (T, "Give a target with its unit"),
    (f"{T} --gap 5.0", "--gap 5.0 has no unit. Write 5.0eV"),
    (f"{T} --gap 5D", "but gap is an energy."),
    (f"{T} --mu 2eV", "but mu is a dipole moment."),
    (f"{T} --cv 30", "Write 30cal/mol/K"),
    (f"{T} --alpha 70Bohr", "unknown unit 'Bohr'"),
    (f"{T} --gap nan", "is not finite."),
    (f"{T} --gap naneV", "does not begin with a number."),
    (f"{T} --gap 1e999eV", "is not finite."),
    (f"{T} --gap -5eV", "is negative."),
    (f"{T} --gap", "headwater molecule target --help"),
    (f"{T} --gop 5eV", "--gap"),
    (f"{T} --homo -6eV --lumo 1eV --gap 5eV", "Leave one of the three out"),
    (f"{T} --homo 1eV --lumo -1eV", "--homo is above --lumo."),
    (f"{T} --gap 5eV --weight mu=2", "Give --mu as well."),
    (f"{T} --gap 5eV --weight gop=2", "Did you mean 'gap'?"),
    (f"{T} --gap 5eV --weight gap=-1", "Give a positive number"),
    (f"{T} --gap 5eV --weight gap=nan", "Give a positive number"),
    (f"{T} --gap 5eV --weight gap", "Give a positive number"),
    (f"{T} --gap 5..6", "--gap 5 has no unit."),
    (f"{T} --gap 6..5eV", "no value between its ends."),
    (f"{T} --gap >8", "has no unit."),
    (f"{T} --qed 0.5eV", "is not a number without a unit."),
    (f"{T} --qed 0.5 --weight logp=2", "Give --logp as well."),
    (f"{T} --homo -7..-6eV --lumo 0..1eV --gap 9eV", "Leave one of the three out"),
    # counts
    (f"{T} --gap 5eV --count 0", "Give 1 to 100,000."),
    (f"{T} --gap 5eV --count 1.5", "Give a whole number"),
    (f"{T} --gap 5eV --seed -1", "--seed is -1."),
    (f"{T} --gap 5eV --steps 0", "Give 1 to 10,000."),
    (f"{T} --gap 5eV --gradients -3", "--gradients is -3. Give 0 to 1,000,000."),
    (f"{T} --gap 5eV --candidates 0", "Give 1 to 100,000."),
    (f"{T} --gap 5eV --seconds nan", "'nan' is not a number."),
    (f"{T} --gap 5eV --seconds 0", "Give 0.001 to 10,000,000."),
    (f"{T} --gap 5eV --best 2", "Give --check dft as well."),
    (f"{T} --gap 5eV --check dft --best 0", "--best is 0. Give 1 to 100,000."),
    (f"{T} --gap 5eV --check dtf", "Did you mean 'dft'?"),
    # atoms and formulae
    (f"{T} --gap 5eV --atoms 30", "Give 3 to 29"),
    (f"{T} --gap 5eV --atoms 2", "Give 3 to 29"),
    (f"{T} --gap 5eV --atoms 9 --formula CH4", "Give one of them."),
    (f"{T} --gap 5eV --formula C2H5", "an odd number of electrons"),
    (f"{T} --gap 5eV --formula C2H8", "Give at most 6 hydrogens."),
    (f"{T} --gap 5eV --formula C6H5Cl", "has the element Cl."),
    (f"{T} --gap 5eV --formula C10H22", "has 32 atoms."),
    (f"{T} --gap 5eV --formula NH4+", "has a charge."),
    ("molecule generate --formula (CH3)2CO", "has brackets"),
    ("molecule generate --formula c6h6", "is not a formula."),
    ("molecule generate --atoms 0", "Give 3 to 29"),
    ("molecule generate --gap 5eV", "headwater molecule generate --help"),
    # methods
    (f"{T} --gap 5eV --method screen", "search-then-control"),
    (f"{T} --gap 5eV --method search --gradients 4", "A search takes no gradients."),
    (f"{T} --gap 5eV --method control --gradients 0", "Give --method search."),
    (f"{T} --gap 5eV --method control --candidates 4", "Control starts from one draw."),
    (f"{T} --logp 1 --method control", "Leave --method out"),
    # a cost of one's own
    (f"{T} --cost none.py", "There is no file none.py."),
    (f"{T} --cost goood.py", "Did you mean good.py?"),
    (f"{T} --cost folder", "is a folder."),
    (f"{T} --cost ch3.xyz", "is not a Python file."),
    (f"{T} --cost scalar.py", "one value per problem"),
    (f"{T} --cost cut_off.py", "does not carry a gradient"),
    (f"{T} --cost nan.py", "Return finite floats"),
    (f"{T} --cost steep.py", "a gradient that is not finite."),
    (f"{T} --cost mixing.py", "mixes the molecules of a batch."),
    (f"{T} --cost cut_off.py", "or give --gradients 0"),
    (f"{T} --cost count.py", "or give --gradients 0"),
    (f"{T} --cost detour.py", "does not carry a gradient"),
    (f"{T} --cost plain.py", "or give --gradients 0 if it leaves torch"),
    (f"{T} --cost nan.py --gradients 0", "Return finite floats"),
    (f"{T} --cost scalar.py --gradients 0", "one value per problem"),
    (f"{T} --cost fails.py", "AttributeError"),
    (f"{T} --cost two.py", "TypeError"),
    (f"{T} --cost alone.py", "any number of molecules"),
    (f"{T} --cost other.py", "Rename loss, or define def cost("),
    (f"{T} --cost kost.py", "Did you mean 'kost'?"),
    (f"{T} --cost shape.py", "is a class."),
    (f"{T} --cost number.py", "is of type int."),
    (f"{T} --cost syntax.py", "SyntaxError"),
    (f"{T} --cost raises.py", "SystemExit: no"),
    # fragments
    (f"{G} none.xyz", "There is no file none.xyz."),
    (f"{G} folder", "unknown kind"),
    (f"{G} ch3.pdb", "unknown kind"),
    (f"{G} empty.sdf", "is empty."),
    (f"{G} text.sdf", "M  END"),
    (f"{G} cut.xyz", "is cut off"),
    (f"{G} nan.xyz", "not finite"),
    (f"{G} two.xyz", "has 2 molecules."),
    (f"{G} chlorine.xyz", "has the element Cl."),
    (f"{G} squeezed.xyz", "0.096 angstrom apart."),
    (f"{G} large.xyz", "has 29 atoms."),
    (f"{G} huge.xyz", "has 30 atoms."),
    (f"{G} whole.xyz", "Take away a hydrogen"),
    (f"{G} ch3.xyz --atoms 4", "Give 5 to 29 atoms, or a smaller fragment."),
    (f"{G} ch3.xyz --formula NH3", "leaves none to generate of 4."),
    (f"{G} ch3.xyz --formula N2H4", "has 1 C but the formula only 0."),
    (f"{G} ch3.xyz --gap 5", "has no unit."),
    (G, "headwater molecule grow --help"),
    # outputs
    (f"{T} --gap 5eV -o there.sdf", "there.sdf exists already."),
    (f"{T} --gap 5eV -o told.sdf", "told.csv exists already."),
    (f"{T} --gap 5eV -o drawn.sdf", "drawn-sheet.png exists already."),
    (f"{T} --gap 5eV -o shown.xyz", "shown.html exists already."),
    (f"{T} --gap 5eV -o placed.sdf", "placed.xyz exists already."),
    (f"{T} --gap 5eV -o noted.sdf", "noted.json exists already."),
    (f"{T} --gap 5eV -o hits.pdb", "No molecules are written as '.pdb' here."),
    (f"{T} --gap 5eV -o hits", "No molecules are written as ''"),
    (f"{T} --gap 5eV -o folder", "is a folder."),
    (f"{T} --gap 5eV -o no/folder/x.sdf", "does not exist."),
    (f"{G} ch3.xyz -o ch3.sdf --overwrite", "is also an input."),
    (f"{G} ch3.xyz -o ch3.xyz --overwrite", "is also an input."),
    # scores
    (f"{S} none.sdf", "There is no file none.sdf."),
    (f"{S} empty.sdf", "is empty."),
    (f"{S} text.sdf", "M  END"),
    (f"{S} chlorine.xyz", "has the element Cl."),
    (f"{S} huge.xyz", "has 30 atoms."),
    (f"{S} nan.xyz", "not finite"),
    (f"{S} two.xyz -o two.sdf", "No scores are written as '.sdf' here."),
    (f"{S} two.xyz -o told.csv", "told.csv exists already."),
    (f"{S} two.xyz -o noted.csv", "noted.json exists already."),
    (S, "headwater molecule score --help"),
    ("molecule tagret --gap 5eV", "Did you mean 'target'?"),
]


@pytest.mark.parametrize("line, words", BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_refused(line, words, folder, asked, capsys):
    before = everything(folder)
    assert call(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith("Error: ") and two_sentences(err), err
    assert words in err and "Traceback" not in err and out == ""
    assert everything(folder) == before and asked == []


def test_a_cost_that_leaves_torch_runs_without_gradients(folder, asked):
    """As a score of RDKit does: numpy arrays of what carries a gradient are refused by torch."""
    assert call(f"{T} --cost plain.py --gradients 0 --count 1 --check none --quiet") == 0
    ((request, recipe),) = asked
    positions, types, mask = torch.ones(2, 29, 3), torch.ones(2, 29, 5), torch.ones(2, 29, dtype=torch.bool)
    value = request.cost(positions.requires_grad_(), types.requires_grad_(), mask)
    assert recipe.gradients == 0 and value.tolist() == [87.0, 87.0]


def test_a_missing_package_is_named_before_the_work(folder, asked, capsys, monkeypatch):
    monkeypatch.setitem(molecule_checks.PACKAGES, "dft", ("no_such_package",))
    before = everything(folder)
    assert call(f"{T} --gap 5eV --check dft") == 2
    assert "pip install headwater[dft]" in capsys.readouterr().err
    assert everything(folder) == before and asked == []
