"""Report errors and likely mistakes in a cfg and its weights: ``darknet-builder check``."""

from __future__ import annotations

import argparse
from typing import TextIO

from darknet_builder.cli.arguments import WEIGHTS_HELP, add_dialect, add_json
from darknet_builder.cli.model import add_model, take_model
from darknet_builder.cli.output import STDOUT, check_answer, in_color, write_json
from darknet_builder.support.text import plural

HELP = "report errors and likely mistakes in a cfg and its weights"
EXAMPLES = """\
All findings are reported, not only the first. Warnings do not change the exit status; any error
makes it 1.

examples:
  darknet-builder check yolov3.cfg
  darknet-builder check yolov3.cfg yolov3.weights --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model(parser, weights=f"{WEIGHTS_HELP}, to check against the cfg")
    add_dialect(parser)
    add_json(parser, "all findings (level, text, path, line, section, key, hint)")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write one line for each finding and a summary; return 1 if there are errors, else 0."""
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
