"""The commands of `liuyan`, a module for each group of them."""
