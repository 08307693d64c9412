"""The commands of `liuyan`, a module for each group of them: the one place that knows both forms."""
