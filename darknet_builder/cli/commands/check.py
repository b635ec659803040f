"""``darknet-builder check``: everything that is wrong or odd with a cfg and its weights."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import WEIGHTS_HELP, add_dialect, add_json
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, in_color, write_json
from darknet_builder.support.text import plural

HELP = "say everything that is wrong or odd with a cfg and its weights"
EXAMPLES = """\
exit status: 0 without errors (warnings may be there), 1 with errors.

examples:
  darknet-builder check yolov3.cfg
  darknet-builder check yolov3.cfg yolov3.weights --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    add_model(parser, weights=f"what should fit it: {WEIGHTS_HELP}")
    add_dialect(parser)
    add_json(parser, "a list of {level, text, path, line, section, key, hint}")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write one line a finding, and how many there are."""
    check_answer(args.json)
    take_model(args)
    from darknet_builder.inspection.check import check

    findings = check(args.cfg, args.weights, dialect=args.dialect)
    errors = sum(finding.level == "error" for finding in findings)
    write_json(args.json, [finding.to_dict() for finding in findings], out)
    if args.json != STDOUT:
        for finding in findings:
            out.write(f"{in_color(finding.level, out)}: {finding.text}\n")
        warnings = len(findings) - errors
        out.write(
            f"{args.cfg}: {errors} {plural(errors, 'error')}, {warnings}"
            f" {plural(warnings, 'warning')}\n"
        )
    return 1 if errors else 0
