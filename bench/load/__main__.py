"""The load client's process: the spec comes on stdin, the report goes to stdout."""

import gc
import json
import sys
from dataclasses import asdict

from bench.load.broadcast import broadcast
from bench.load.client import Orders
from bench.load.others import idle, storm
from bench.load.spec import Spec


def main() -> None:
    """Run one round."""
    orders = Orders()
    while not orders.lines:
        orders.ready(0)
    spec = Spec(**json.loads(orders.lines.pop(0)))
    gc.disable()  # nothing here makes cycles, and a pause of ours would count as the server's latency
    run = {"broadcast": broadcast, "mixed": broadcast, "idle": idle, "storm": storm}[spec.mode]
    report = run(spec, orders)
    print(json.dumps({"report": asdict(report)}), flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
