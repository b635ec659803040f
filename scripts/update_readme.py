"""Write the tables of README.md and of its translation.

The sections come from the registry, the numbers of recorded networks from the parity pack.

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
FOLDERS = {
    "networks": "AlexeyAB's networks",
    "networks-pjreddie": "pjreddie's networks",
    "layers": "small networks, one for each group of options",
}
CHINESE = {
    "recorded from Darknet": "由 Darknet 记录的网络",
    "equal, layer by layer": "逐层比较，结果一致",
    "AlexeyAB's networks": "AlexeyAB 版的网络",
    "pjreddie's networks": "pjreddie 版的网络",
    "small networks, one for each group of options": "小型网络，每组选项一个",
    "{0} of {0}": "{0} / {0}",
    "section": "配置段",
    "also": "别名",
    "yes": "支持",
}
PAGES: dict[str, dict[str, str]] = {"README.md": {}, "README.zh-CN.md": CHINESE}
"""Page -> translations of the words in its tables; other words stay as they are."""


def section_table(words: dict[str, str]) -> str:
    """Every section, its other spellings, and who knows it."""
    section_title, also, yes = (words.get(text, text) for text in ("section", "also", "yes"))
    classes = {layer_class.section: layer_class for layer_class in registered_sections().values()}
    lines = [
        f"| {section_title} | {also} | {' | '.join(DIALECTS)} |",
        f"|---|---|{'---|' * len(DIALECTS)}",
    ]
    for section in sorted(classes, key=str.lower):
        layer_class = classes[section]
        aliases = ", ".join(f"`[{name}]`" for name in layer_class.spellings[1:])
        known = " | ".join(yes if dialect in layer_class.dialects else "-" for dialect in DIALECTS)
        lines.append(f"| `[{section}]` | {aliases} | {known} |")
    return "\n".join(lines)


def network_table(pack: Path, words: dict[str, str]) -> str:
    """How many recorded networks there are; the suite holds every layer of each."""
    recorded, equal, counts = (
        words.get(text, text)
        for text in ("recorded from Darknet", "equal, layer by layer", "{0} of {0}")
    )
    lines = [f"| {recorded} | {equal} |", "|---|---|"]
    for folder, text in FOLDERS.items():
        count = len(list((pack / folder).glob("*.npz")))
        lines.append(f"| {words.get(text, text)} | {counts.format(count)} |")
    return "\n".join(lines)


def insert(text: str, name: str, table: str) -> str:
    """Replace what stands between the two marks of a table."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"the page has no place for the table {name!r}")
    return pattern.sub(lambda match: match.group(1) + table + match.group(2), text)


def main() -> int:
    """Write both pages, or with ``--check`` return 1 if one of them is out of date."""
    parser = argparse.ArgumentParser(
        description="Write the tables of README.md and of its translation."
    )
    parser.add_argument("--pack", type=Path, default=ROOT.parent / "shared" / "parity")
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit status 1 if a page is out of date",
    )
    args = parser.parse_args()
    outdated = False
    for name, words in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        new = insert(text, "sections", section_table(words))
        if args.pack.is_dir():
            new = insert(new, "networks", network_table(args.pack, words))
        outdated |= new != text
        if not args.check:
            write_text(ROOT / name, new)
    return int(outdated and args.check)


if __name__ == "__main__":
    sys.exit(main())
