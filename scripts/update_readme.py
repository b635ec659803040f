"""Write the tables of README.md anew: sections from the registry, recorded networks from the parity
pack.

python scripts/update_readme.py [--pack DIR] [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from darknet_builder.cfg.dialects import DIALECTS
from darknet_builder.layers.base import registered_sections
from darknet_builder.network.factory import build_layers as _registers_every_section  # noqa: F401
from darknet_builder.support.files import write_text

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FOLDERS = {
    "networks": "AlexeyAB's networks",
    "networks-pjreddie": "pjreddie's networks",
    "layers": "small networks, one for each group of options",
}


def section_table() -> str:
    """Every section, its other spellings, and who knows it."""
    classes = {layer_class.section: layer_class for layer_class in registered_sections().values()}
    lines = [f"| section | also | {' | '.join(DIALECTS)} |", f"|---|---|{'---|' * len(DIALECTS)}"]
    for section in sorted(classes, key=str.lower):
        layer_class = classes[section]
        aliases = ", ".join(f"`[{name}]`" for name in layer_class.spellings[1:])
        known = " | ".join(
            "yes" if dialect in layer_class.dialects else "-" for dialect in DIALECTS
        )
        lines.append(f"| `[{section}]` | {aliases} | {known} |")
    return "\n".join(lines)


def network_table(pack: Path) -> str:
    """How many recorded networks there are; the suite holds every layer of each."""
    lines = ["| recorded from Darknet | equal, layer by layer |", "|---|---|"]
    for folder, text in FOLDERS.items():
        count = len(list((pack / folder).glob("*.npz")))
        lines.append(f"| {text} | {count} of {count} |")
    return "\n".join(lines)


def insert(text: str, name: str, table: str) -> str:
    """Replace what stands between the two marks of a table."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"README.md has no place for the table {name!r}")
    return pattern.sub(lambda match: match.group(1) + table + match.group(2), text)


def main() -> int:
    """Write README.md, or with ``--check`` say whether it is up to date."""
    parser = argparse.ArgumentParser(description="Write the tables of README.md anew.")
    parser.add_argument("--pack", type=Path, default=ROOT.parent / "shared" / "parity")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 if it is out of date"
    )
    args = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    new = insert(text, "sections", section_table())
    if args.pack.is_dir():
        new = insert(new, "networks", network_table(args.pack))
    if args.check:
        return int(new != text)
    write_text(README, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
