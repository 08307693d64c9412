"""The commands of the distributed form, a module each."""
