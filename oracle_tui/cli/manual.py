"""What commands tell of themselves: arguments, options in groups, examples, exit codes, and more.

`--help` is the manual: nothing here decides what a command does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

#: Where options stand that name no group of their own.
GENERAL = "Options"
# A wider column of names would leave too little of 80 columns for the text.
_NAMES = 24
_LONGEST_SHORT_HELP = 200


class GroupedOption(click.Option):
    """An option that stands under a heading of its command's help."""

    def __init__(self, *args: Any, group: str = GENERAL, **kwargs: Any) -> None:
        """Takes what click takes, and the heading."""
        super().__init__(*args, **kwargs)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """Returns what click adds to the help, without a range: the help says it in words."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def option(*names: str, **settings: Any) -> Callable[[Decorated], Decorated]:
    """Adds an option; beside click's own settings it takes `group`, its heading in the help."""
    return click.option(*names, cls=GroupedOption, **settings)


class _Manual(click.Command):
    """A command whose help has the parts of a manual page."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[tuple[str, str]] = (),
        parts: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Takes what click takes, and what its manual has beyond that.

        Args:
            *args: click's.
            examples: Command lines, each with what it does.
            parts: Further headings, each with pairs of a term and what it means.
            **kwargs: click's.
        """
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.parts = dict(parts or {})

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what each argument is."""
        arguments = [one for one in self.get_params(ctx) if isinstance(one, click.Argument)]
        told = [(one.human_readable_name, one.help or "") for one in arguments]
        _write_part(formatter, "Arguments", told)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under their headings; those without one come last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                groups.setdefault(getattr(parameter, "group", GENERAL), []).append(record)
        for heading in sorted(groups, key=lambda group: group == GENERAL):
            _write_part(formatter, heading, groups[heading])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples and the further parts."""
        if self.examples:
            with formatter.section("Examples"):
                for command, about in self.examples:
                    # Not wrapped: a command line is to be copied.
                    formatter.write(f"{'':>{formatter.current_indent}}{command}\n")
                    with formatter.indentation(), formatter.indentation():
                        formatter.write_text(about)
        for heading, pairs in self.parts.items():
            _write_part(formatter, heading, pairs)
        super().format_epilog(ctx, formatter)


class ManualCommand(_Manual):
    """One command."""


def command(
    name: str | None = None, **manual: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function a command; it takes what click and a manual take."""
    return click.command(name, cls=ManualCommand, **manual)


class ManualGroup(_Manual, click.Group):
    """A command with commands of its own, under headings."""

    command_class = ManualCommand

    def __init__(
        self, *args: Any, headings: Mapping[str, Sequence[str]] | None = None, **kwargs: Any
    ) -> None:
        """Takes what click and a manual take, and the headings that its commands stand under."""
        super().__init__(*args, **kwargs)
        self.headings = dict(headings or {})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes each command with the first sentence of its help."""
        placed = {name for names in self.headings.values() for name in names}
        rest = [name for name in self.list_commands(ctx) if name not in placed]
        for heading, names in (*self.headings.items(), ("Commands", rest)):
            _write_part(
                formatter,
                heading,
                [
                    (name, self.commands[name].get_short_help_str(_LONGEST_SHORT_HELP))
                    for name in names
                ],
            )


def _write_part(
    formatter: click.HelpFormatter, heading: str, pairs: Sequence[tuple[str, str]]
) -> None:
    if pairs:
        with formatter.section(heading):
            formatter.write_dl(pairs, col_max=_NAMES)
