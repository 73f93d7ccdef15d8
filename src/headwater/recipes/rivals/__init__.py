"""Methods of other papers, one file each, called as every recipe is."""
