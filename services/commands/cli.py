"""`liuyan`: the command line. Exit code 2 for wrong usage, 1 for a failure, each with one clear line in Chinese."""

import sys
from collections.abc import Callable
from importlib import import_module

import click

from shared.helptext import ChineseGroup
from shared.version import VERSION

COMMANDS = {
    "standalone": ("services.commands.standalone", "standalone_command"),
    "replay": ("services.commands.feeding", "replay_command"),
    "keys": ("services.commands.keys", "keys_group"),
    "accounts": ("services.commands.accounts", "accounts_group"),
    "simulate": ("services.commands.feeding", "simulate_command"),
    "case": ("services.commands.case", "case_command"),
    "cases": ("services.commands.case", "cases_command"),
    "journal": ("services.commands.journal", "journal_command"),
    "notices": ("services.commands.notices", "notices_group"),
    "deadline": ("services.commands.case", "deadline_command"),
    "calendar": ("services.commands.calendar", "calendar_command"),
    "export": ("services.commands.figures", "export_command"),
    "reconcile": ("services.commands.checks", "reconcile_command"),
    "rebuild": ("services.commands.rebuild", "rebuild_command"),
    "dead-letters": ("services.commands.checks", "dead_letters_command"),
    "ingest": ("services.commands.services", "ingest_command"),
    "sla": ("services.commands.services", "sla_command"),
    "alerts": ("services.commands.services", "alerts_command"),
    "demo-kafka": ("services.commands.demo", "demo_command"),
    "broker": ("services.commands.broker", "broker_group"),
    "topics": ("services.commands.topics", "topics_group"),
}
"""Command -> where it is; imported only when it is called, so that `liuyan --help` is quick."""

HELP = {
    "standalone": "启动服务：一个进程、一个 SQLite 文件",
    "replay": "把文件里的事件送进内嵌引擎",
    "keys": "平台的推送密钥：建立、列出、作废",
    "accounts": "账号、读取令牌、操作记录",
    "simulate": "模拟一个平台，向服务推送虚构的留言",
    "case": "一个办件，截止时间逐日说明",
    "cases": "全部办件",
    "journal": "提醒：何时提出、何时解除及原因",
    "notices": "提醒的通知：列出、试发",
    "deadline": "一件留言何时到期",
    "calendar": "一年的工作日、放假与调休",
    "export": "统计期的件数与比率：json、csv、通报文字",
    "reconcile": "由日志重新计算并核对全部数字",
    "rebuild": "分布式：由办件主题重建全部表",
    "dead-letters": "不能使用的事件及原因",
    "ingest": "分布式：接收推送，写入 Kafka",
    "sla": "分布式：计算时限",
    "alerts": "分布式：整理办件，标记逾期，查询与指标",
    "demo-kafka": "分布式：在本机演示整个部署",
    "broker": "开发用的 Kafka：启动、停止、查看",
    "topics": "Kafka 的主题：建立、核对",
}


class _Commands(ChineseGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("命令"):
            formatter.write_dl([(name, HELP[name]) for name in COMMANDS])


@click.group(cls=_Commands)
@click.version_option(VERSION, prog_name="liuyan", message="%(prog)s %(version)s", help="显示版本")
def liuyan() -> None:
    """网民留言办理时限系统：每一条留言都按时得到答复。

    设置来自环境变量 LIUYAN_… 和 LIUYAN_CONFIG 指明的 TOML 文件，见 docs/settings.md。
    每个命令都有 --help。退出码：2 用法有误，1 未能完成。
    """


def main() -> None:
    """The entry point of the `liuyan` script."""
    try:
        result = liuyan.main(prog_name="liuyan", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "liuyan"
        click.echo(f"liuyan：{_explain(error)}（用法见 {where} --help）", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"liuyan：{error.format_message()}", err=True)
        sys.exit(1)
    except click.Abort:
        click.echo("liuyan：已中断", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing to say, to nobody
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _explain(error: click.UsageError) -> str:
    """The usage error in Chinese; texts that are Chinese already are kept."""
    explain: dict[type[click.UsageError], Callable[[], str]] = {
        click.NoSuchOption: lambda: f"没有选项 {getattr(error, 'option_name', '')}",
        click.MissingParameter: lambda: f"缺少 {_parameter(error)}",
        click.BadOptionUsage: lambda: f"选项 {getattr(error, 'option_name', '')} 需要一个值",
    }
    if type(error) in explain:
        return explain[type(error)]()
    message = error.message
    if isinstance(error, click.BadParameter):
        return f"{_parameter(error)} 的值不对：{_translate(message)}"
    return _translate(message)


def _parameter(error: click.UsageError) -> str:
    hint = getattr(error, "param_hint", None)
    if hint:
        return str(hint)
    parameter = getattr(error, "param", None)
    if parameter is None:
        return "参数"
    if isinstance(parameter, click.Option):
        return parameter.opts[-1]
    return str(parameter.make_metavar(error.ctx)) if error.ctx else str(parameter.name)


def _translate(message: str) -> str:
    words = (
        ("No such command ", "没有命令 "),
        ("Got unexpected extra argument", "多余的参数"),
        ("is not a valid integer range", "不是整数"),
        ("is not a valid float range", "不是数"),
        ("is not a valid integer", "不是整数"),
        ("is not a valid float", "不是数"),
        ("is not in the range", "不在范围内："),
        ("is not one of", "应为其中之一："),
        ("does not exist.", "不存在"),
        ("is a directory.", "是文件夹，不是文件"),
        ("is a file.", "是文件，不是文件夹"),
        ("is not readable.", "读不出来"),
        ("Directory ", "文件夹 "),
        ("File ", "文件 "),
    )
    for english, chinese in words:
        message = message.replace(english, chinese)
    return message.rstrip(".")


if __name__ == "__main__":
    main()
