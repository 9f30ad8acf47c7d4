"""Makes models.json: prunable layers and costs of every model of the catalog, by building them.

Run it from the root of a checkout, `python -m data.make_models`, after a change of the catalog;
with names, only these are built and the others stay as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Writes models.json beside this file."""
    target = Path(__file__).with_name("models.json")
    # The catalog is read when it is imported, so there has to be one: one without costs will do.
    from engine.model_catalog import uncounted

    nothing = {"layers": [], "cost": [], "refused": []}
    known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    if missing := {info.name: nothing for info in uncounted() if info.name not in known}:
        target.write_text(json.dumps({**known, **missing}))
    from engine.work.describe import with_counts

    wanted = set(sys.argv[1:]) | missing.keys() if sys.argv[1:] else None
    lines = []
    for info in uncounted():
        kept = wanted is not None and info.name not in wanted
        facts = known[info.name] if kept else with_counts(info).to_json()
        told = {key: facts[key] for key in ("layers", "cost", "refused")}
        lines.append(f"{json.dumps(info.name)}: {json.dumps(told, separators=(',', ':'))}")
        print(info.name, len(facts["layers"]), "layers", file=sys.stderr)
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
