"""The commands of the development tools.

Each command imports what it needs itself, so that every one starts at once and none fails for another's sake.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dev.errors import DevError

app = typer.Typer(
    name=".venv/bin/python -m dev",
    help="The development tools: the local cluster, the images and the demo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ControlPlaneOnly = Annotated[
    bool, typer.Option("--control-plane-only", help="The control plane without a node, beside the cluster.")
]


@app.command()
def preflight() -> None:
    """Say what this machine lacks for `make demo`."""
    from dev.cluster.preflight import purpose, require

    typer.echo(require(purpose()))


@app.command()
def up(
    control_plane_only: ControlPlaneOnly = False,
    kwok: Annotated[bool, typer.Option(help="With --control-plane-only: play nodes and pods.")] = False,
) -> None:
    """Start the local cluster, or repair it; when all is well, change nothing."""
    from dev.cluster import up as cluster
    from dev.cluster.preflight import require

    if kwok and not control_plane_only:
        raise typer.BadParameter("the local cluster has a real node: add --control-plane-only")
    if control_plane_only:
        typer.echo(cluster.up_control_plane(kwok=kwok))
    else:
        require()
        cluster.up()


@app.command()
def down(control_plane_only: ControlPlaneOnly = False) -> None:
    """Remove the local cluster from this machine, from whatever state it is in. Caches stay."""
    from dev.cluster import down as cluster

    if control_plane_only:
        cluster.down_control_plane()
    else:
        cluster.down()


@app.command("check-clean")
def check_clean() -> None:
    """List what a cluster has left on this machine; exit 1 if there is anything."""
    from dev.cluster.leftovers import report

    found = list(report())
    for line in found:
        typer.echo(line)
    raise typer.Exit(1 if found else 0)


@app.command()
def uninstall() -> None:
    """Remove the packages, users and files that KubeTune has installed on this machine, by its own record."""
    from dev.cluster.uninstall import uninstall as remove

    remove()


@app.command("clean-caches")
def clean_caches() -> None:
    """Delete all caches: built programs, images, models, data of the local S3 endpoint."""
    from dev.cluster.caches import clean_caches as remove

    remove()


@app.command()
def kubeconfig(control_plane_only: ControlPlaneOnly = False) -> None:
    """Print the path of the kubeconfig that commands and tests use."""
    from dev.cluster.kubeconfig import admin_kubeconfig, control_plane_kubeconfig

    typer.echo(control_plane_kubeconfig() if control_plane_only else admin_kubeconfig())


@app.command()
def env() -> None:
    """Print what to evaluate in a shell to use kubectl and helm: eval "$(.venv/bin/python -m dev env)"."""
    from dev.cluster.kubeconfig import local_kubeconfig
    from dev.target import foreign, kubectl_elsewhere, kubectl_of

    elsewhere = foreign()
    kubectl = kubectl_elsewhere(elsewhere.kubeconfig) if elsewhere else kubectl_of(local_kubeconfig())
    typer.echo(kubectl.environment)


@app.command("fake-gpus")
def fake_gpus(count: int) -> None:
    """Make the local cluster's node say that it has GPUs."""
    from dev.cluster.gpus import set_fake_gpus
    from dev.cluster.kubeconfig import local_kubeconfig
    from dev.target import kubectl_of

    set_fake_gpus(kubectl_of(local_kubeconfig()), count)


@app.command()
def cluster() -> None:
    """Start the cluster, or take that of KUBETUNE_KUBECONFIG, with this checkout's chart and no job."""
    from dev.progress import note
    from dev.session import ensure_cluster_elsewhere, ensure_local_cluster
    from dev.target import foreign

    elsewhere = foreign()
    if elsewhere is not None:
        kubectl = ensure_cluster_elsewhere(elsewhere)
        note(f"KubeTune is ready in the cluster of {kubectl.kubeconfig}.")
    else:
        kubectl = ensure_local_cluster()
        note(f"The cluster is ready. Go on with:\n\n  {kubectl.environment}")


@app.command()
def demo() -> None:
    """From nothing to an answer: cluster, images, chart, a FineTuneJob, and a table of answers."""
    from dev.demo import run
    from dev.session import ensure_cluster_elsewhere, ensure_local_cluster
    from dev.target import foreign

    elsewhere = foreign()
    if elsewhere is None:
        run.run(ensure_local_cluster(), manifest="job.yaml", surroundings=run.local_surroundings())
    else:
        kubectl = ensure_cluster_elsewhere(elsewhere, further=run.CHANGES_ELSEWHERE)
        run.run(kubectl, manifest="job-any-cluster.yaml", surroundings=run.hub_surroundings())


@app.command()
def images(
    only: Annotated[
        list[str] | None,
        typer.Option(help="operator, trainer, serving-cpu or gateway; may be given several times."),
    ] = None,
    print_json: Annotated[bool, typer.Option("--print-json", help="Print the references as JSON.")] = False,
) -> None:
    """Build the images that KUBETUNE_REGISTRY (else the local registry) does not have, and push them."""
    from dev.cluster.registry import ensure_registry
    from dev.images import values
    from dev.images.build import ensure_images
    from dev.images.table import show
    from dev.target import registry

    refs = ensure_images(only or (), registry=registry() or ensure_registry())
    if print_json:
        typer.echo(refs.to_json())
    else:
        show(refs)
        path = values.write(refs.by_name, only=only or ())
        typer.echo(f"{path} has their values. Install them with\n\n  {values.command(path)}")


@app.command()
def release(
    out: Annotated[Path, typer.Option(help="The folder to write, made anew.")] = Path("dist"),
    archives: Annotated[
        str, typer.Option(help="The images to write archives of, with commas between; none when empty.")
    ] = "operator,trainer,serving-cpu,gateway",
) -> None:
    """Write dist/: chart, install.yaml, digests, bills of materials, image archives, checksums."""
    from dev.cluster.registry import ensure_registry
    from dev.release.run import Options
    from dev.release.run import release as write
    from dev.target import registry

    named = registry()
    write(
        Options(
            out=out.resolve(),
            pushed_to=named or ensure_registry(),
            registry=named or "",
            archives=[name for name in archives.split(",") if name],
        )
    )
    typer.echo(out)


@app.command()
def audit(
    service: Annotated[str, typer.Option(help="The database that is asked: pypi or osv.")] = "pypi",
) -> None:
    """Ask for known vulnerabilities of all that is locked; exit 1 if there are any, 3 if not all is known."""
    from dev.audit import SERVICES
    from dev.audit import audit as ask

    if service not in SERVICES:
        raise typer.BadParameter(f"{service} is none of {', '.join(SERVICES)}", param_hint="--service")
    raise typer.Exit(ask(service))


@app.command("refresh-base")
def refresh_base() -> None:
    """Let the next build of the images have all of Debian's fixes until today."""
    from dev.images.base import DATE_FILE, refresh

    typer.echo(f"{DATE_FILE} says {refresh()}: commit it, and the next build makes the base image anew.")


@app.command()
def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A part that docs/benchmarks.md lists, such as cli; may be given several times."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Jobs at once (burst, cpu).")] = 100,
    repeats: Annotated[int, typer.Option(help="Runs of each kind (burst, training, dashboards).")] = 3,
    gate: Annotated[float, typer.Option(help="Seconds for all prepare pods to run (burst, cpu).")] = 30,
    finished: Annotated[int, typer.Option(help="Jobs that there are (idle, dashboards).")] = 1000,
    idle_seconds: Annotated[float, typer.Option(help="How long nothing happens (idle).")] = 120,
    profile: Annotated[Path | None, typer.Option(help="Profile the operator into this file.")] = None,
    print_json: Annotated[bool, typer.Option("--print-json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure numbers of docs/benchmarks.md and print each beside its command."""
    from dev.bench import figures
    from dev.bench.run import Options, run

    options = Options(
        jobs=jobs,
        repeats=repeats,
        gate=gate,
        finished=finished,
        idle_seconds=idle_seconds,
        profile=profile.resolve() if profile else None,
    )
    found = run(only or (), options)
    if print_json:
        typer.echo(figures.to_json(found))


@app.command()
def dashboards(
    out: Annotated[Path, typer.Option(help="The folder that gets the pictures.")],
    prometheus: Annotated[str, typer.Option(help="Where Prometheus answers.")] = "http://127.0.0.1:9090",
    job: Annotated[str | None, typer.Option(help="The FineTuneJob; the first when it is not said.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Its namespace; all when it is not said.")] = None,
    shown: Annotated[str, typer.Option("--range", help="The time that is shown: 90s, 30m, 6h, 2d.")] = "1h",
    end: Annotated[
        float | None, typer.Option(help="Its end in Unix seconds; now when it is not said.")
    ] = None,
    scrape: Annotated[str, typer.Option(help="How often Prometheus scrapes.")] = "15s",
) -> None:
    """Draw the chart's Grafana dashboards, light and dark, without Grafana."""
    from dev.viewer.run import view
    from dev.viewer.variables import seconds

    wanted = {"namespace": namespace, "finetunejob": job}
    for path in view(
        prometheus,
        out,
        {name: value for name, value in wanted.items() if value},
        seconds=seconds(shown),
        end=end,
        scrape=seconds(scrape),
    ):
        typer.echo(path)


@app.command("gpu-check")
def gpu_check(
    device: Annotated[str, typer.Option(help="cuda or cpu.")] = "cuda",
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Tiny models: whether the check itself works.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = Path("gpu-check.json"),
) -> None:
    """Compare the estimate of memory with a GPU, and measure its speed, in under ten minutes."""
    from dev.fit.gpu_check import check

    match device:
        case "cuda":
            result = check("cuda", tiny=tiny, out=out)
        case "cpu" if tiny:
            result = check("cpu", tiny=True, out=out)
        case "cpu":
            raise typer.BadParameter(
                "add --tiny: the models of the check are for a GPU", param_hint="--device"
            )
        case _:
            raise typer.BadParameter(f"{device} is neither cuda nor cpu", param_hint="--device")
    typer.echo(out)
    raise typer.Exit(1 if any("error" in part for part in result["parts"]) else 0)


@app.command()
def model() -> None:
    """Make the demo's model unless it is there, and print the path of its folder."""
    from dev.images.model import ensure_demo_model

    typer.echo(ensure_demo_model())


@app.command()
def lock() -> None:
    """Resolve the dependencies again and write requirements/*.txt."""
    from dev.lock import lock as write

    write()


@app.command()
def docs(out: Annotated[Path | None, typer.Option(help="The folder to write, made anew.")] = None) -> None:
    """Build the documentation as a site; a broken link, or a page that no table lists, fails."""
    from dev.docs.build import SITE, build

    site = out.resolve() if out else SITE
    build(site)
    typer.echo(site / "index.html")


@app.command()
def generate(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is not up to date.")
    ] = False,
) -> None:
    """Write the generated files: CRD, its copy in the chart, tables of the documentation."""
    from dev.generate import generate as write

    raise typer.Exit(write(check=check))


def main() -> None:
    """Run a command; an error that a person can do something about is shown as its message alone."""
    try:
        app()
    except DevError as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
