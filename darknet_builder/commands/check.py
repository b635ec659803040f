"""``darknet-builder check``: everything that is wrong or odd with a cfg and its weights."""

from __future__ import annotations

import argparse
import json
from typing import TextIO

from darknet_builder.checking import check
from darknet_builder.dialects import DIALECTS

HELP = "say everything that is wrong or odd with a cfg and its weights"
EXAMPLES = """\
exit status: 0 without errors (warnings may be there), 1 with errors.

examples:
  darknet-builder check yolov3.cfg
  darknet-builder check yolov3.cfg yolov3.weights --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("cfg", metavar="CFG", help="the network's .cfg")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="a .weights file that should fit it")
    parser.add_argument("--dialect", choices=tuple(DIALECTS), default="alexeyab", help="default: alexeyab")
    parser.add_argument("--json", action="store_true", help="a list of {level, text} instead of lines")


def run(args: argparse.Namespace, out: TextIO) -> int:
    """Write one line a finding, and how many there are."""
    findings = check(args.cfg, args.weights, dialect=args.dialect)
    errors = sum(finding.level == "error" for finding in findings)
    if args.json:
        out.write(json.dumps([finding.to_dict() for finding in findings], indent=2) + "\n")
    else:
        for finding in findings:
            out.write(f"{finding.level}: {finding.text}\n")
        out.write(f"{args.cfg}: {errors} errors, {len(findings) - errors} warnings\n")
    return 1 if errors else 0
