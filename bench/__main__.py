"""``python -m bench NAME``: run one benchmark, print a small table or one line of JSON."""

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from bench.result import Result, table
from dermafleet.errors import DermafleetError

NAMES = {
    "ingest": "broker to database at full load, against plain COPY of the same rows",
    "latency": "from the sample to the database and to a browser's stream",
    "query": "pages of a device over a month of data",
    "alerts": "the follower working off a backlog",
    "agent": "what 50 simulated machines cost",
    "detection": "how well faults are found, named and forecast, on recorded and simulated machines",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that the arguments name; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        result: Result = importlib.import_module(f"bench.{options.name}").run(options)
    except DermafleetError as error:
        print(f"bench {options.name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"bench": options.name, **result}) if options.json else table(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./fleet bench", description="Measure one thing on this machine.")
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, meaning in NAMES.items():
        sub = names.add_parser(name, help=meaning, description=meaning.capitalize() + ".")
        sub.add_argument("--json", action="store_true", help="one line of JSON")
        importlib.import_module(f"bench.{name}").add_options(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
