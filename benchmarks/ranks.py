"""Ranks AutoFlow among other tools by test log-loss, and lists what it wins and loses.

    python benchmarks/ranks.py accuracy.jsonl PEERS.jsonl

Reads what benchmarks/accuracy.py wrote and the peers' file (one JSON object a line: peer, dataset, log_loss,
ok). On each set the tools with a figure are ranked; a tool that failed on a set shares the last rank there,
and one that was not run on it has none. Sets without any peer are left out.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from runs import markdown
from scipy.stats import rankdata

OWN, DEFAULTS = "AutoFlow", "LightGBM defaults"
_NEAR = 1.01


def figures(results: list[dict[str, Any]], peers: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns test log-loss by set and tool, inf where a tool failed."""
    found: dict[str, dict[str, float]] = {}
    for row in results:
        runs = [run for run in peers if run["dataset"] == row["set"] and run["peer"] != "lightgbm-default"]
        if runs:
            others = {run["peer"]: run["log_loss"] if run["ok"] else float("inf") for run in runs}
            found[row["set"]] = {OWN: row["log_loss"], DEFAULTS: row["lightgbm_default"]} | others
    return found


def mean_ranks(losses: dict[str, dict[str, float]]) -> list[tuple[str, float, int, int]]:
    """Returns each tool with its mean rank, the sets that it was run on, and those that it failed on."""
    ranks: dict[str, list[float]] = defaultdict(list)
    for by_tool in losses.values():
        for tool, rank in zip(by_tool, rankdata(list(by_tool.values()), method="max"), strict=True):
            ranks[tool].append(float(rank))
    failed = {tool: sum(each.get(tool) == float("inf") for each in losses.values()) for tool in ranks}
    rows = [(tool, sum(got) / len(got), len(got), failed[tool]) for tool, got in ranks.items()]
    return sorted(rows, key=lambda row: row[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("peers", type=Path)
    arguments = parser.parse_args()
    results, peers = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (arguments.results, arguments.peers)
    )
    losses = figures(results, peers)
    rows = [[tool, f"{mean:.2f}", str(sets), str(failed)] for tool, mean, sets, failed in mean_ranks(losses)]
    print(markdown(["tool", "mean rank", "sets", "failed on"], rows) + "\n")
    ratios = {}
    for name, by_tool in losses.items():
        best = min(loss for tool, loss in by_tool.items() if tool not in (OWN, DEFAULTS))
        ratios[name] = by_tool[OWN] / best  # 0 where every peer failed
    for word, chosen in (("won", lambda ratio: ratio < 1), ("lost", lambda ratio: ratio >= 1)):
        listed = ", ".join(f"{name} ({ratio:.3f})" for name, ratio in sorted(ratios.items()) if chosen(ratio))
        print(f"{word} against the best peer, ratio of log-losses: {listed or 'none'}")
    print(
        f"within 1 % of the best peer or better: {sum(r <= _NEAR for r in ratios.values())} of {len(ratios)}"
    )


if __name__ == "__main__":
    main()
