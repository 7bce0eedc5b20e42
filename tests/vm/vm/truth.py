"""What must hold of a payload after a power cut in an upgrade. Pure: it judges what others have seen."""

BRICK, WRONG_REPORT = "brick", "wrong report"


def judge(at_path, old, new, reports, told):
    """What is wrong; nothing where all is well.

    `at_path` is the digest of the program, `old` and `new` those of the versions; `reports` are the history's of this upgrade, and
    `told` says whether the aircraft had heard of a success before the cut.
    """
    if at_path not in (old, new):
        return [(BRICK, f"at the path is neither the old program nor the new one, but {at_path}")]
    wrong = []
    if len(reports) > 1:
        wrong.append(f"{len(reports)} reports of one upgrade")
    outcome = reports[-1]["outcome"] if reports else "none"
    if (outcome == "succeeded") != (at_path == new):
        wrong.append(f"the report is {outcome}, and at the path is the {'new' if at_path == new else 'old'} program")
    if outcome == "succeeded" and not (reports[-1]["evidence"] or {}).get("restarted"):
        wrong.append("a success without a restart")
    if told and outcome != "succeeded":
        wrong.append(f"the aircraft was told of a success, and now the report is {outcome}")
    return [(WRONG_REPORT, sentence) for sentence in wrong]


def judge_next(at_path, wanted, report):
    """What is wrong with the upgrade after that one, which nothing disturbed."""
    if report.get("outcome") != "succeeded" or at_path != wanted:
        return [("no further upgrade", f"the next upgrade ended as {report.get('outcome') or report}, at the path is {at_path}")]
    return []
