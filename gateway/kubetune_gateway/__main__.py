"""``python -m kubetune_gateway`` and the command ``kubetune-gateway``."""

from __future__ import annotations

import typer

from .callers.cli import keys_app
from .process.compose import keys_by_environment

cli = typer.Typer(
    name="kubetune-gateway",
    help="Answers clients of OpenAI's fine-tuning API with FineTuneJobs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


cli.add_typer(keys_app(keys_by_environment), name="keys")


@cli.command()
def serve() -> None:
    """Run the gateway; its settings are environment variables named KUBETUNE_GATEWAY_*."""
    from kubetune_gateway.process.main import serve as run

    raise typer.Exit(run())


def main() -> None:
    """Entry point of the console script."""
    cli()


if __name__ == "__main__":
    main()
