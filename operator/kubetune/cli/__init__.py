"""The command line. Everything heavy is imported inside commands: ``kubetune --help`` answers at once."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="kubetune",
    help="Fine-tunes language models on Kubernetes: from a dataset to a served model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Rich takes longer to load than everything else together
    pretty_exceptions_enable=False,
)


@app.command()
def operator() -> None:
    """Run the operator; its settings are environment variables named KUBETUNE_*."""
    from kubetune.cli.operator import run_operator

    raise typer.Exit(run_operator())


@app.command()
def version() -> None:
    """Print the version."""
    from kubetune import __version__

    typer.echo(__version__)


def main() -> None:
    """Entry point of the console script."""
    app()
