"""What the measurements on a CUDA device say, in words, and whether all of them are sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sound(report: Mapping[str, Any]) -> bool:
    """Whether nothing of a case disagreed or failed."""
    parts = [report, *report.get("launches", {}).values()]
    for row in report.get("kinds", {}).values():
        parts += [row, *row["packs"].values()]
        if not row["agrees"] and "left_out" not in row:
            return False
    return not any("error" in part for part in parts)


def text(reports: Mapping[str, dict[str, Any]]) -> str:
    """Returns the reports of all cases by their titles, as a person reads them."""
    lines: list[str] = []
    for title, report in reports.items():
        if "device" in report:
            lines.append(f"{title}: {report['device']}, torch {report['torch']}, {report['date']}")
        lines += [f"{title} failed: {report['error']}"] if "error" in report else []
        for kind, row in report.get("kinds", {}).items():
            lines.append(
                f"\n{kind}: difference to one at a time after {report['steps']} step(s) "
                f"{row['difference']}, of momenta {row.get('difference_of_momenta')}"
            )
            lines += [f"  {line(row)}"] if "error" in row or "left_out" in row else []
            for size, pack in row["packs"].items():
                lines += _of_pack(size, pack, report)
        for title, found in report.get("launches", {}).items():
            lines.append(f"\n{title}, each by itself")
            lines += [_of_launch(row) for row in found.get("launches", [])] or [f"  {line(found)}"]
        if "paper_lenet_hours" in report:
            hours = report["paper_lenet_hours"]
            lines.append(
                "\nnothing to project from" if hours is None
                else f"\nthe paper's LeNet part, projected: {hours:.1f} hours"
            )  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def _of_pack(size: int, pack: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    if "ratio" not in pack:
        return [f"  K = {size}: {line(pack)}"]
    lines = [f"  K = {size}: {line(pack)}, bar {report['bar']:g}, aim {report['aim']:g}"]
    if "evaluation_rate" in pack:
        lines.append(
            f"    {pack['evaluation_rate']:,.0f} a second in evaluation, "
            f"{pack['epoch_rate']:,.0f} in epochs with their evaluations"
        )
    if "share_of_arithmetic" in pack:
        lines.append(
            f"    {pack['share_of_arithmetic']:.1%} of the arithmetic limit, at least "
            f"{pack['share_of_bandwidth_at_least']:.2%} of the bandwidth, "
            f"{pack['peak_gbytes']:.1f} GB of memory"
        )
    return lines


def _of_launch(row: Mapping[str, Any]) -> str:
    return (
        f"    {row['launch']:<14} {row['microseconds']:9.1f} us {row['share']:6.1%} "
        f"{row['gflops']:9,.0f} GFLOP/s {row['gbytes_per_second']:7,.0f} GB/s"
    )


def line(found: Mapping[str, Any]) -> str:
    """What there is to say of a row: its figures, or why it has none."""
    if "error" in found:
        return f"failed: {found['error']}"
    if "left_out" in found:
        return f"left out: {found['left_out']}"
    if "launches" in found:
        return "; ".join(
            f"{row['launch']} {row['microseconds']:.0f} us" for row in found["launches"]
        )
    if "ratio" not in found:
        return f"{'agrees' if found['agrees'] else 'DISAGREES'}, difference {found['difference']}"
    ratio = found["ratio"]
    return (
        f"{found['training_rate']:,.0f} candidate-samples a second in training, "
        f"{ratio['median']:.1f} times one at a time ({ratio['min']:.1f} .. {ratio['max']:.1f})"
    )
