"""The table of a run of power cuts. Pure."""

from collections import Counter

from .phases import PHASES
from .truth import BRICK, WRONG_REPORT

HEAD = ["kind", "phase", "cuts", "how the upgrade ended", "bricks", "wrong reports", "other faults"]


def table(results):
    """Lines of a table, in Markdown. `results` are pairs of the kind and the result."""
    rows = []
    for kind in dict.fromkeys(kind for kind, _ in results):
        for phase in PHASES:
            of_phase = [result for of_kind, result in results if of_kind == kind and result.cut.phase == phase]
            if of_phase:
                rows.append(_row(kind, phase, of_phase))
    rows.append(_row("all", "", [result for _, result in results]))
    widths = [max(len(row[column]) for row in [HEAD, *rows]) for column in range(len(HEAD))]
    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([line(HEAD), line(["-" * width for width in widths]), *map(line, rows)])


def _row(kind, phase, results):
    ends = Counter(result.outcome for result in results)
    faults = Counter(fault for result in results for fault in {fault for fault, _ in result.wrong})
    others = sum(count for fault, count in faults.items() if fault not in (BRICK, WRONG_REPORT))
    ended = ", ".join(f"{count} {outcome}" for outcome, count in ends.most_common())
    return [kind, phase, str(len(results)), ended, str(faults[BRICK]), str(faults[WRONG_REPORT]), str(others)]
