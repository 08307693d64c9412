"""Commands and groups whose `--help` is in Chinese, headings included. Imports nothing heavy: `liuyan --help` is quick."""

import re
from typing import Any

import click

_EXTRAS = re.compile(r"\[([^\[\]]*)\]$")
_EXTRA = (
    (re.compile(r"required$"), "必填"),
    (re.compile(r"default: (.*)$"), r"默认 \1"),
    (re.compile(r"([\d.]+)<=x<=([\d.]+)$"), r"\1–\2"),
    (re.compile(r"x>=([\d.]+)$"), r"不小于 \1"),
)
"""What click itself adds to an option's explanation, in brackets at its end."""


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{heading}：\n")


class _Context(click.Context):
    formatter_class = _Formatter


class _Chinese(click.Command):
    """Help in Chinese, headings included, by `-h` as well as `--help`."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        super().__init__(*args, **{"context_settings": settings, **kwargs})

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = " ".join(self.collect_usage_pieces(ctx)).replace("[OPTIONS]", "[选项]")
        formatter.write_usage(ctx.command_path, pieces.replace("COMMAND [ARGS]...", "命令 …"), prefix="用法：")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        with formatter.section("选项"):
            formatter.write_dl([(names, _in_chinese(text)) for names, text in records])

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "显示本说明"
        return option


def _in_chinese(text: str) -> str:
    return _EXTRAS.sub(lambda found: f"[{'；'.join(map(_extra, found[1].split('; ')))}]", text)


def _extra(text: str) -> str:
    for pattern, words in _EXTRA:
        text = pattern.sub(words, text)
    return text


class ChineseCommand(_Chinese):
    """A command whose help is in Chinese."""


class ChineseGroup(_Chinese, click.Group):
    """A group whose help is in Chinese."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("命令"):
            formatter.write_dl([(name, command.get_short_help_str(60)) for name, command in commands if command])
