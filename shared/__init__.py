"""Contracts that every service speaks: values, words and rules of the field, without I/O."""
