"""How `fawkesd --help` shows its commands, in groups, and the values that options take, in one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

# As in docs/commands.md; a command that is in none of them comes last
GROUPS = {
    "Every day": "init check-config run once status web notify pause resume reload doctor service cluster node",
    "Single photos": "cloak preview why history held retry redo approve reject recall publish",
    "People": "enroll people forget targets models",
    "Is it enough?": "audit sybil evaluate study bench",
}
_SHORT_HELP = 90  # characters; longer ones end in an ellipsis
_METAVARS = {
    "<path>": "PATH",
    "<list[Path]>": "PATH",
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<int>": "N",
    "<int range>": "N",
    "<list[int]>": "N",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
}


class Commands(TyperGroup):
    """The top level of the command line."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a command, with plain names for the values that its options take."""
        command = super().get_command(ctx, cmd_name)
        for one in [command, *(command.commands.values() if isinstance(command, TyperGroup) else ())]:
            if isinstance(one, TyperCommand):
                _name_values(one, ctx)
        return command

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the commands in groups."""
        names = self.list_commands(ctx)
        grouped = {title: text.split() for title, text in GROUPS.items()}
        rest = [name for name in names if not any(name in group for group in grouped.values())]
        for title, group in {**grouped, "Others": rest}.items():
            commands = {name: command for name in group if (command := self.get_command(ctx, name))}
            if commands:
                with formatter.section(title):
                    formatter.write_dl(
                        [(name, one.get_short_help_str(_SHORT_HELP)) for name, one in commands.items()],
                        col_max=16,
                    )


def _name_values(command: TyperCommand, ctx: Context) -> None:
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and parameter.metavar is None and not parameter.is_flag:
            parameter.metavar = _METAVARS.get(parameter.display_type(ctx))
        elif isinstance(parameter, TyperArgument) and not parameter.help:
            parameter.hidden = True  # the usage line and the text below it say all
