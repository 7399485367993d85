"""The service: serve; the actors that a cluster asks for it: replicas."""

from __future__ import annotations

import dataclasses
import importlib.util

import click

from ragformer.config import load_settings, serve_token
from ragformer.errors import ConfigError, NotFoundError
from ragformer_cli.terminal import collection_option, json_option, read_password, say, say_json

HOST, PORT = "127.0.0.1", 8000


@click.command()
@click.option("--host", default=HOST, show_default=True, metavar="ADDRESS")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, metavar="N")
@click.option(
    "--password",
    "passwords",
    multiple=True,
    metavar="TEXT",
    help="Opens encrypted files to draw their pages; - asks, or reads stdin.",
)
def serve(host: str, port: int, passwords: tuple[str, ...]) -> None:
    """Serve the collections to programs that speak the OpenAI protocol.

    A model is a collection, or collection:model. Ctrl-C stops it. On any address but this machine's
    own, RAGFORMER_SERVE_TOKEN must be set; it is then asked for as the API key.

    \b
    Example:
      ragformer serve --port 8000
      OPENAI_BASE_URL=http://127.0.0.1:8000/v1 ragformer ask --backend openai --model default ...
    """
    for needed in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        if importlib.util.find_spec(needed) is None:
            raise NotFoundError(
                f"the service needs {needed}, which is not installed;"
                " run: pip install 'ragformer[serve]'"
            )
    from ragformer.serve.app import listen, make_app, make_server
    from ragformer.serve.who import leads_here

    writer = load_settings().remote_model()  # what is wrong is said now, not to the first client
    app = make_app(host, serve_token(), passwords=tuple(map(read_password, passwords)))
    with listen(host, port) as socket:
        shown, port = f"[{host}]" if ":" in host else host, socket.getsockname()[1]
        if writer is not None and leads_here(writer.base_url, port):
            raise ConfigError(
                "this service would ask itself to write its answers, as OPENAI_BASE_URL is its own"
                " address; set RAGFORMER_BACKEND=local, or serve at another --port"
            )
        say(f"serving at http://{shown}:{port}/v1; Ctrl-C stops it")
        try:
            make_server(app).run([socket])
        except KeyboardInterrupt:  # it has stopped, in good order
            return


@click.command()
@click.argument("number", type=click.IntRange(0, 100), required=False, metavar="[N]")
@collection_option
@json_option
@click.pass_context
def replicas(
    context: click.Context, number: int | None, collection: str | None, as_json: bool
) -> None:
    """Keep N actors for each shard of a collection on its Ray cluster, or show those there are.

    Whatever asks the collection, as a service that is running, takes turns with them within a
    second, and goes on when one is lost or removed. 0 removes them all: then each process starts
    its own. The cluster is the one set as RAGFORMER_RAY_ADDRESS.

    \b
    Examples:
      ragformer replicas 3 -c archive
      ragformer replicas -c archive --json
    """
    from ragformer.cluster.actors import set_replicas

    held = set_replicas(load_settings(collection=collection), number)
    if as_json:
        say_json([dataclasses.asdict(replica) for replica in held])
    else:
        for replica in held:
            say(f"shard {replica.shard}: {replica.fault or f'on node {replica.node}'}")
        if not held:
            say("there are no replicas; each process that asks starts its own actors")
    if any(replica.fault for replica in held):
        context.exit(1)


COMMANDS: tuple[click.Command, ...] = (serve, replicas)
