"""``sidecar schemas``: the JSON Schemas of what people write and read."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.config.reference import markdown as reference
from sidecar.config.schemas import NAMES, as_file, generate, schema


@click.command()
@click.argument("name", type=click.Choice(NAMES), required=False)
@click.option("--write", type=click.Path(file_okay=False), metavar="DIR", help="Write every schema into DIR.")
@click.option("--markdown", is_flag=True, help="Print the configuration reference as Markdown tables.")
def schemas(name: str | None, write: str | None, markdown: bool) -> None:
    """Print the schema NAME, or the names of all.

    \b
    Examples:
      sidecar schemas config > config.schema.json
      sidecar schemas --write schemas
      sidecar schemas --markdown
    """
    if sum((name is not None, write is not None, markdown)) > 1:
        raise click.UsageError("give a NAME, --write or --markdown, not several")
    if markdown:
        click.echo(reference(), nl=False)
    elif write is not None:
        _write(Path(write))
    elif name is not None:
        click.echo(as_file(schema(name)), nl=False)
    else:
        click.echo("\n".join(NAMES))


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in generate().items():
        file = folder / f"{name}.schema.json"
        file.write_bytes(as_file(document))
        click.echo(f"wrote {file}", err=True)
