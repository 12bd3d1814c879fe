"""``kubetune-gateway keys``: API keys made, listed and revoked by who may write to the bucket."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from kubetune.vocabulary.strangers import plain

from ..wire.errors import ApiError
from .keys import RANDOM_BYTES, ApiKey, KeyStore

Opened = Callable[[], AbstractAsyncContextManager[KeyStore]]
"""Opens the store of keys for one command."""

Namespace = Annotated[str, typer.Option(help="Namespace in which the key acts.")]

T = TypeVar("T")


def keys_app(opened: Opened) -> typer.Typer:
    """Return the commands, for ``add_typer(..., name="keys")``."""
    app = typer.Typer(
        help="API keys, each of which stands for a service account.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.command()
    def create(
        namespace: Namespace,
        service_account: Annotated[str, typer.Option(help="Whose rights the key has, in that namespace.")],
        name: Annotated[str, typer.Option(help="What people call the key.")] = "",
        days: Annotated[int | None, typer.Option(help="How long it lives; else until it is revoked.")] = None,
    ) -> None:
        """Make a key and print it, this once: it is kept nowhere."""

        async def made(store: KeyStore) -> str:
            return await store.create(
                namespace=namespace,
                service_account=service_account,
                name=name,
                days=days,
                now=datetime.now(UTC),
                random=secrets.token_bytes(RANDOM_BYTES),
            )

        typer.echo(_run(opened, made))

    @app.command("list")
    def list_(
        namespace: Annotated[str | None, typer.Option(help="Only keys of this namespace.")] = None,
    ) -> None:
        """List keys: their digest and last letters, and what they stand for."""
        rows: list[tuple[str, ...]] = [
            ("DIGEST", "HINT", "NAMESPACE", "SERVICE ACCOUNT", "NAME", "CREATED", "EXPIRES")
        ]
        rows += [_row(*pair) for pair in _run(opened, lambda store: store.list(namespace))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            typer.echo("  ".join(cells).rstrip())

    @app.command()
    def revoke(
        key: Annotated[str, typer.Argument(help="Its last letters, or how its digest begins.")],
        namespace: Namespace,
    ) -> None:
        """End a key; after 10 seconds no replica knows it any more."""
        gone = _run(opened, lambda store: store.revoke(key, namespace=namespace))
        typer.echo(f"Revoked the key of {gone.service_account} in {gone.namespace} that ends in {gone.hint}.")

    return app


def _run(opened: Opened, what: Callable[[KeyStore], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened() as store:
            return await what(store)

    try:
        return asyncio.run(run())
    except ApiError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from None


def _row(digest: str, key: ApiKey) -> tuple[str, ...]:
    expires = "never" if key.expires_at is None else _day(key.expires_at)
    made = _day(key.created_at)
    return digest[:12], key.hint, key.namespace, key.service_account, plain(key.name) or "-", made, expires


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
