"""The command line: one file per verb, imported when used. Only this package prints or exits.

Exit status: 0 done; 1 the input is at fault (one `file:line: error:` line); 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import click

from netspec import __version__
from netspec.errors import SpecError


class Verbs(click.Group):
    """A group whose commands are the modules of this package that define `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"{__name__}.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each verb with the first line of its help."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            rows.append((name, (command and command.help or "").partition("\n")[0]))
        with formatter.section("Verbs"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from netspec.errors import suggestion

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            near = suggestion(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no verb '{args[0]}'{near}" if near else e.message, ctx) from None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Caffe's nets, solvers and weights on PyTorch."""


def verb(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with -q/--quiet and -v/--verbose; the docstring is its help and ends with an example."""

    def make(function: Callable[..., Any]) -> click.Command:
        def run(quiet: bool, verbose: bool, **arguments: Any) -> Any:
            logging.getLogger("netspec").setLevel(
                logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
            )
            return function(**arguments)

        run.__doc__ = function.__doc__
        run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        quiet = click.option("-q", "--quiet", is_flag=True, help="Print results, warnings and errors only.")
        loud = click.option("-v", "--verbose", is_flag=True, help="Print details.")
        return click.command(context_settings={"help_option_names": ["-h", "--help"]}, **settings)(quiet(loud(run)))

    return make


def main(args: list[str] | None = None) -> int:
    """Runs the command line; the console script's entry point. Returns the exit status."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    try:
        result = cli(args, prog_name="netspec", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except SpecError as e:
        click.echo(str(e), err=True)
        return trouble(args, 1)
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def trouble(args: list[str] | None, status: int) -> int:
    """`diff` says 2 for trouble, as diff(1) does, since 1 means different."""
    words = [a for a in (sys.argv[1:] if args is None else args) if not a.startswith("-")]
    return 2 if words[:1] == ["diff"] else status


def run() -> None:
    """Exits with main's status."""
    sys.exit(main())
