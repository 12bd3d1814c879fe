"""The commands of the development tools. Each imports what it needs itself, so that all start at once."""

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def up() -> None:
    """Bring up the local cluster, or repair it."""
    from dev.cluster.up import up as bring_up

    bring_up()


@app.command()
def down() -> None:
    """Remove the local cluster from the machine. Caches stay."""
    from dev.cluster.down import down as take_down

    take_down()


@app.command("check-clean")
def check_clean() -> None:
    """List what a cluster has left on the machine; exit 1 if there is anything."""
    from dev.cluster.leftovers import report

    found = list(report())
    for line in found:
        typer.echo(line)
    raise typer.Exit(1 if found else 0)


@app.command()
def kubeconfig() -> None:
    """Print the path of the kubeconfig that commands and tests use."""
    from dev.cluster.kubeconfig import admin_kubeconfig

    typer.echo(admin_kubeconfig())


if __name__ == "__main__":
    app()
