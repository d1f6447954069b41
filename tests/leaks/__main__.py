"""``python -m tests.leaks``: are secrets anywhere but at their upstreams? ``make leaks`` runs it.

First a canary is planted in each place, in each form, and must be found; then the places are searched as they are.
The last line is ``canaries N, places P of P, hits 0``. Exit codes: 0 no secret was found, 1 one was, or the search
itself missed a planted one. Through a pipe, or with ``--json``, the result is one JSON document.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tests.e2e.far import Far
from tests.e2e.house import House
from tests.fakes.certificates import Authority
from tests.leaks.furniture import DOMAIN, LOGIN, MUTUAL, OPEN, STYLES, furnish, host
from tests.leaks.hunt import Place, hunt
from tests.leaks.scanner import Canary, Hit, needles, scan
from tests.leaks.upstreams import behaviour

MEMORY = "memory after the calls"


def found_where_planted(place: Place, canaries: list[Canary]) -> bool:
    """Whether the place was gathered, and a canary planted in the middle of it is found, whichever and however."""
    middle = len(place.data) // 2
    before, after = place.data[:middle], place.data[middle:]
    for kind, form, needle in needles(canaries):
        hits = scan({"planted": before[-100:] + needle + after[:100]}, canaries)
        if not any((hit.kind, hit.form) == (kind, form) for hit in hits):
            return False
    whole = before + needles(canaries)[0][2] + after
    return place.is_lit and bool(scan({"planted": whole}, canaries))


def result(places: Mapping[str, Place], canaries: list[Canary]) -> dict[str, Any]:
    """What there is to tell; no value in it."""
    memory = json.loads(places[MEMORY].data)
    searched = {name: place for name, place in places.items() if name != MEMORY}
    hits: list[Hit] = scan({name: place.data for name, place in searched.items()}, canaries)
    return {
        "canaries": [canary.kind for canary in canaries],
        "places": {
            name: {
                "bytes": len(place.data),
                "planted": found_where_planted(place, canaries),
                "hits": [{"kind": hit.kind, "form": hit.form} for hit in hits if hit.place == name],
            }
            for name, place in searched.items()
        },
        "hits": len(hits),
        "memory": memory,
    }


def run(folder: Path) -> dict[str, Any]:
    """The whole hunt, in an empty folder."""
    authority = Authority(folder)
    names = [host(name) for name in (*STYLES, OPEN, LOGIN)]
    (folder / "house").mkdir()
    mutual = authority.wants_clients(authority.server(host(MUTUAL)))
    with Far(authority.server(*names)) as far, Far(mutual) as closed:
        house = House(folder / "house", far.port)
        furnished = furnish(house, far.port, closed.port, authority)
        far.behave = closed.behave = behaviour(furnished.used)
        places = hunt(house, furnished)
        told = {seen.headers.get("host", "").partition(f".{DOMAIN}")[0] for seen in (*far.seen, *closed.seen)}
        assert told == {*STYLES, OPEN, LOGIN}, "an upstream was never asked"
        return result(places, furnished.canaries)


def line(told: Mapping[str, Any]) -> str:
    """The last line."""
    places = told["places"]
    found = sum(place["planted"] for place in places.values())
    return f"canaries {len(told['canaries'])}, places {found} of {len(places)}, hits {told['hits']}"


def is_clean(told: Mapping[str, Any]) -> bool:
    """Whether nothing was found, and everything would have been."""
    return told["hits"] == 0 and all(place["planted"] for place in told["places"].values())


def show(told: Mapping[str, Any]) -> None:
    """A table for people."""
    table = Table("place", "bytes", "a planted canary", "hits")
    for name, place in told["places"].items():
        hits = ", ".join(sorted({f"{hit['kind']} ({hit['form']})" for hit in place["hits"]})) or "0"
        table.add_row(name, f"{place['bytes']:,}", "found" if place["planted"] else "MISSED", hits)
    console = Console()
    console.print(table)
    memory = ", ".join(told["memory"]) or "nothing (or it may not be read)"
    console.print(
        f"Not counted: still in the sidecar's own memory after the calls: {memory}. Python does not clear memory "
        "that it frees; the process is not dumpable, so that only root can look.",
        highlight=False,
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document, as through a pipe.")
def main(as_json: bool) -> None:
    """Run canary secrets of every type through the whole product, and look for them everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        told = run(Path(folder))
    if as_json or not sys.stdout.isatty():
        click.echo(json.dumps(told, indent=1))
        click.echo(line(told), err=True)
    else:
        show(told)
        click.echo(line(told))
    sys.exit(0 if is_clean(told) else 1)


if __name__ == "__main__":
    main()
